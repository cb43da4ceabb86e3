"""A version of a table in the making, month by month."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Self

import polars as pl

from gnn_assets.core.clock import Clock
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.core.hashing import content_hash
from gnn_assets.store.files import failpoint, refusal_named, staging, sync_folder, write_synced
from gnn_assets.store.layout import encoded
from gnn_assets.store.manifests import (
    Manifest,
    StoredFile,
    as_published,
    columns_as_text,
    data_version,
    write_manifest,
)
from gnn_assets.store.schema import Table
from gnn_assets.store.tablefiles import TableFiles
from gnn_assets.store.versions import Lineage, Writer


class Draft:
    """A version of a table in the making, a context manager: what is not published is gone at its end.

    New files wait in a temporary folder, on the disk already, until `publish` names them with the table's lock held.
    So a draft may be made without the lock, and never holds more than the month that is being added.

    Args:
        table: its contract.
        stored: the table's files.
        clock: tells the moment a version is first written.
        near: versions whose files are kept where a month says the same.

    Raises:
        NewerSchema: if a newer release wrote one of them.
    """

    def __init__(self, table: Table, stored: TableFiles, *, clock: Clock, near: Iterable[str | None]) -> None:
        self._table = table
        self._stored = stored
        self._clock = clock
        self._known = _by_content(stored.readable(table, near))
        self._files: dict[str, StoredFile] = {}
        self._staged: dict[str, Path] = {}
        self._folder: Path | None = None
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def keep(self, files: Iterable[StoredFile]) -> None:
        """Makes stored files of whole months part of the version.

        Raises:
            MissingArtefact, CorruptArtefact: if one of them is gone or damaged.
        """
        kept = {file.month: file for file in files}
        self._stored.check(kept.values())  # a version is never born damaged
        self._files |= kept

    def add(self, month: str, rows: pl.DataFrame) -> None:
        """Makes the rows of a month part of the version; only what no near version says is written.

        Args:
            month: what `by_month` calls it.
            rows: all of its rows, as `checked` returns them.

        Raises:
            DiskFull, ReadOnly: if they cannot be written.
        """
        content = content_hash(rows, exclude=self._table.provenance)
        file = self._known.get((month, content))
        if file is None or not self._stored.is_whole(file):
            file, data = encoded(month, rows, content=content)
            self._staged[month] = self._write(file.name, data)
        self._files[month] = file

    def publish(self, writer: Writer, *, lineage: Lineage | None, data_end: date | None, run_id: str) -> Manifest:
        """Names the new files, writes the manifest, then moves the pointer.

        Args:
            writer: the right to do so.
            lineage: what the version was made from.
            data_end: last session the data cover.
            run_id: run that publishes it.

        Raises:
            NewerSchema: if a newer release wrote the current version.
            MissingArtefact: if a file that was to be kept has been cleaned up, or found damaged, meanwhile.
            DiskFull, ReadOnly: the previous version stays current.
        """
        columns = columns_as_text(self._table)
        hashes = {month: file.content_hash for month, file in self._files.items()}
        version = data_version(self._table.name, self._table.schema_version, columns, hashes)
        current = writer.current.version if writer.current else None
        earlier = list(self._stored.readable(self._table, (current, version)))
        self._settle(_by_content(earlier))
        manifest = Manifest(
            table=self._table.name,
            version=version,
            schema_version=self._table.schema_version,
            columns=columns,
            files=tuple(self._files[month] for month in sorted(self._files)),
            rows=sum(file.rows for file in self._files.values()),
            data_end=None,
            written_at=self._clock.now(),
        )
        same = next((old for old in earlier if old.version == version and old.files == manifest.files), None)
        if same is None:
            write_manifest(self._stored.manifest_path(version), manifest)
            failpoint("lake:manifest-written")
        if version != current:
            # Files or manifest may be those of a writer that died before their names were durable.
            for name in ("files", "manifests") if self._files else ("manifests",):
                sync_folder(self._stored.folder / name)
        note = {"data_end": data_end.isoformat() if data_end else None}
        return as_published(same or manifest, writer.publish(version, lineage=lineage, run_id=run_id, note=note))

    def _write(self, name: str, data: bytes) -> Path:
        if self._folder is None:
            self._folder = self._ending.enter_context(staging(self._stored.folder / "files"))
        path = self._folder / name
        with refusal_named(self._folder, need=len(data)):
            write_synced(path, data)
        return path

    def _settle(self, known: Mapping[tuple[str, str], StoredFile]) -> None:
        """Gives the new files their names; the lock is held, so that nobody cleans up what is there."""
        for month, file in self._files.items():
            if month not in self._staged:
                # Read and hashed when it was added, perhaps before the lock was taken.
                if not self._stored.path(file).is_file():
                    raise MissingArtefact.of(
                        str(self._stored.path(file)),
                        expected="the file that was whole when this version was begun",
                        was="none",
                        do="materialise it again",
                    )
                continue
            # Somebody may have published the same meanwhile, or long ago: the first files stay.
            first = known.get((month, file.content_hash))
            if first is not None and self._stored.is_whole(first):
                self._files[month] = first
                del self._staged[month]
        if self._staged:
            with refusal_named(self._stored.folder, need=0):
                for path in self._staged.values():
                    path.replace(self._stored.folder / "files" / path.name)
            sync_folder(self._stored.folder / "files")
            failpoint("lake:files-written")


def _by_content(manifests: Iterable[Manifest]) -> dict[tuple[str, str], StoredFile]:
    return {(file.month, file.content_hash): file for manifest in manifests for file in manifest.files}
