"""The lake: tables as immutable, content-hashed Parquet files behind a manifest and a pointer.

    data/lake/<table>/
      files/2020-03-1f2e3d4c5b6a7988.parquet   rows of one month (`all-...` where a table is not monthly)
      manifests/<version>.json                 what a version is: its files with their hashes, rows, columns
      publications/ current memo/ pins/        when and why: see `versions`
      quarantine/                              damaged files, moved out of the way

A version is the hash of what the table says, provenance left out: equal content is the equal version, and a second
write of it keeps the first files. No write touches a file that a reader may hold; a manifest only changes to replace
a file that was lost or damaged by one that says the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl

from gnn_assets.core.clock import Clock
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, NewerSchema, SchemaMismatch
from gnn_assets.store.draft import Draft
from gnn_assets.store.layout import by_month, checked, decoded, in_months, may_hold, sorted_by_key
from gnn_assets.store.manifests import (
    Manifest,
    StoredFile,
    as_published,
    column_differences,
    refuse_newer,
    refuse_other_columns,
)
from gnn_assets.store.schema import MOMENT, Table
from gnn_assets.store.tablefiles import TableFiles
from gnn_assets.store.versions import Lineage, Publication, Versions, Writer


class Lake:
    """All tables below one folder.

    Args:
        root: folder of the lake.
        clock: tells the moment of a publication.
        lock_timeout_seconds: longest wait for another writer of the same table.
    """

    def __init__(self, root: Path, *, clock: Clock, lock_timeout_seconds: float) -> None:
        self.root = root
        self._clock = clock
        self._lock_timeout_seconds = lock_timeout_seconds

    def versions(self, table_name: str) -> Versions:
        """The publications of one table."""
        return Versions(
            self.root / table_name,
            clock=self._clock,
            lock_timeout_seconds=self._lock_timeout_seconds,
            complete=self._files(table_name).holds,
        )

    def publish(
        self, table: Table, frame: pl.DataFrame, *, lineage: Lineage | None, data_end: date | None, run_id: str = ""
    ) -> Manifest:
        """Makes `frame` the table's content.

        Args:
            table: its contract.
            frame: exactly the declared columns; keys unique and without nulls.
            lineage: what it was made from.
            data_end: last session the data cover.
            run_id: run that publishes it.

        Raises:
            SchemaMismatch: if the columns differ, NewerSchema if a newer release wrote the current version.
            DataError: if two rows have the same key or a key is null.
            LockTimeout, DiskFull, ReadOnly: the previous version stays current.
        """
        months = by_month(table, frame)
        with self.versions(table.name).writing() as writer:
            return self._write(table, months, writer, lineage=lineage, data_end=data_end, run_id=run_id)

    def publish_from(
        self,
        table: Table,
        months: Iterable[pl.DataFrame],
        *,
        since: date | None = None,
        base: str | None = None,
        lineage: Lineage | None,
        data_end: date | None,
        run_id: str = "",
    ) -> Manifest:
        """Makes a version's rows before `since`, followed by those of `months`, the table's content.

        What comes out is what `publish` would make of the same rows at once, the version included; but no more than
        a month is held, and months wholly before that of `since` keep their files.

        Args:
            table: its contract; monthly, with `session` in the key.
            months: frames in ascending order, each of one calendar month; taken one at a time, so they may be
                computed as they are asked for.
            since: first session that `months` may hold.
            base: published version whose rows before `since` stay; none of any when None.
            lineage: what the new content was made from.
            data_end: last session the data cover.
            run_id: run that publishes it.

        Raises:
            SchemaMismatch: if columns differ, those of `base` included, NewerSchema if a newer release wrote them.
            DataError: if two rows have the same key or a key is null, or if a frame has rows of two months, of a
                month that is not after the one before, or before `since`.
            MissingArtefact: if `base` was never published, or was cleaned up.
            CorruptArtefact: if a file of `base` is damaged; `months` from the beginning, without a base, heals it.
            LockTimeout, DiskFull, ReadOnly, whatever `months` raises: the previous version stays current.
        """
        if not table.monthly or "session" not in table.key:
            raise ValueError(f"publish_from: expected a monthly table with a key that has session, was {table.name}.")
        if base is not None and since is None:
            raise ValueError("publish_from: expected the first session that is new with the version it follows.")
        # Made before the lock is taken: computing the months may take far longer than another writer would wait. The
        # new files wait in a folder that no sweeper takes from the living, and get their names under the lock. Those
        # that stay are read and hashed here, so that damage is met before the work; under the lock, where nobody
        # cleans up, they must be there still.
        current = next(self.versions(table.name).good(), None)
        with self._draft(table, near=(base, current.version if current else None)) as draft:
            begun: dict[str, pl.DataFrame] = {}
            if base is not None and since is not None:
                publication = self._publication(table.name, base)
                if publication is None:
                    raise _absent(table, f"a publication of version {base}")
                kept, begun = self._files(table.name).before(table, self._described(table, publication), since)
                draft.keep(kept)
            for month, rows in in_months(table, months, since=since):
                draft.add(month, sorted_by_key(table, [begun.pop(month), rows]) if month in begun else rows)
            for month, rows in begun.items():
                draft.add(month, rows)
            with self.versions(table.name).writing() as writer:
                return draft.publish(writer, lineage=lineage, data_end=data_end, run_id=run_id)

    def append(
        self, table: Table, rows: pl.DataFrame, *, lineage: Lineage | None, data_end: date | None, run_id: str = ""
    ) -> Manifest:
        """Adds rows; only the months they touch are rewritten. Without rows or a new `data_end` nothing is.

        Raises:
            DataError: if a key is already stored.
            CorruptArtefact: if a stored file is damaged; `publish` with the whole content heals it.
            SchemaMismatch, LockTimeout, DiskFull: as for `publish`.
        """
        added = by_month(table, rows)
        with self.versions(table.name).writing() as writer:
            stored = self._described(table, writer.current) if writer.current else None
            if stored is not None and not added and stored.data_end == data_end:
                return stored
            kept = {file.month: file for file in stored.files} if stored else {}
            touched = {}
            for month, new in added.items():
                old = [self._files(table.name).frame_of(table, kept.pop(month))] if month in kept else []
                touched[month] = checked(table, pl.concat([*old, new]))
            return self._write(
                table, touched, writer, kept=kept.values(), lineage=lineage, data_end=data_end, run_id=run_id
            )

    def upsert(
        self,
        table: Table,
        rows: pl.DataFrame,
        *,
        run_id: str = "",
        reduce: Callable[[pl.DataFrame], pl.DataFrame] = lambda merged: merged,
    ) -> Manifest:
        """Adds rows, replacing those with an equal key.

        Nothing publishes such a table whole, so damage must not stop it for ever: where the current publication is
        damaged the rows are added to the newest whole one, or to none if there is no other. What only the damaged
        one said is gone from the table; its files are kept in quarantine.

        Args:
            table: its contract.
            rows: exactly the declared columns.
            run_id: run that adds them.
            reduce: leaves out rows that need not be kept, so that a table written every day does not grow for ever.

        Raises:
            SchemaMismatch, DataError, LockTimeout, DiskFull: as for `append`.
        """
        new = checked(table, rows)
        with self.versions(table.name).writing() as writer:
            old = self._newest_whole(table)
            merged = reduce(pl.concat([old.join(new, on=table.key, how="anti"), new]))
            return self._write(
                table, by_month(table, checked(table, merged)), writer, lineage=None, data_end=None, run_id=run_id
            )

    def reuse(self, table: Table, lineage: Lineage, *, run_id: str = "") -> Manifest | None:
        """The version made earlier from the same inputs, code and configuration, made current again.

        Returns:
            Its manifest; None if there is none, or if it is damaged or of other columns and must be made again.

        Raises:
            NewerSchema: if a newer release wrote the current version: it must not be overruled.
            LockTimeout, DiskFull, ReadOnly: the previous version stays current.
        """
        versions = self.versions(table.name)
        try:
            current = self.manifest(table)
        except CorruptArtefact:
            current = None  # what is damaged overrules nothing; publishing again heals it
        if current is not None:
            refuse_newer(table, current)
        if not versions.memo_path(lineage.key).is_file():
            return None
        # With the lock held nobody cleans up between the look and the publication.
        with versions.writing() as writer:
            remembered = versions.recall(lineage.key)
            if remembered is None:
                return None
            version, note = remembered
            manifest = self._files(table.name).manifest(version)
            if column_differences(table, manifest):
                return None
            publication = writer.publish(version, lineage=lineage, run_id=run_id, note=note)
        return as_published(manifest, publication)

    def read(
        self,
        table: Table,
        *,
        version: str | None = None,
        as_of: datetime | None = None,
        columns: Sequence[str] | None = None,
        first: date | None = None,
        last: date | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """The table's rows, sorted by key: current, of a version, or as they were at a moment.

        Of a monthly table only the files that may hold wanted sessions are read; each of them is checked whole.

        Args:
            table: its contract.
            version: a published version.
            as_of: aware UTC moment. A table with a column `known_at` only ever grows and says of every row when it was
                known: its current rows with `known_at` by then are read, whenever they were published. Of any other
                table the newest publication made by then is read.

        Known at: `as_of`, where it is given.

        Raises:
            MissingArtefact: if nothing of the kind was published.
            CorruptArtefact: if a file's bytes are not those published; it is moved to quarantine.
            SchemaMismatch: if stored columns are not those declared, NewerSchema if a newer release wrote them.
        """
        if version is not None and as_of is not None:
            raise ValueError("read: expected a version or a moment, was both.")
        dated = as_of is not None and "known_at" in table.columns
        if as_of is not None and not dated:
            publication = self.versions(table.name).as_of(as_of)
        else:
            publication = self._publication(table.name, version)
        if publication is None:
            which = f" of version {version}" if version else "" if as_of is None or dated else f" by {as_of}"
            raise _absent(table, f"a publication{which}")
        conditions = [] if where is None else [where]
        if dated:
            conditions.append(pl.col("known_at") <= pl.lit(as_of, dtype=MOMENT))
        if first is not None:
            conditions.append(pl.col("session") >= first)
        if last is not None:
            conditions.append(pl.col("session") <= last)
        manifest = self._described(table, publication)
        files = [file for file in manifest.files if may_hold(file, first=first, last=last)]
        return self._load(table, files, columns=columns, where=conditions)

    def last_good(self, table: Table) -> tuple[Manifest, pl.DataFrame]:
        """The newest publication that is whole, with its rows: what may be served while a damaged one is repaired.

        Raises:
            MissingArtefact: if nothing was published.
            CorruptArtefact: if no publication is whole.
            SchemaMismatch: if a whole one has other columns than declared.
        """
        damaged: dict[str, Exception] = {}
        for publication in self.versions(table.name).good():
            if publication.version in damaged:
                continue
            try:
                manifest = self._described(table, publication)
                return manifest, self._load(table, manifest.files)
            except (CorruptArtefact, MissingArtefact) as error:
                damaged[publication.version] = error
        raise (CorruptArtefact if damaged else MissingArtefact).of(
            f"table {table.name}",
            expected="one whole publication",
            was=f"{len(damaged)} damaged and none whole" if damaged else "none",
            do="materialise it again",
        ) from next(iter(damaged.values()), None)

    def manifest(self, table: Table, version: str | None = None) -> Manifest | None:
        """What the current version is, or a published one; None if there is none.

        Raises:
            CorruptArtefact: if pointer, publication or manifest is damaged.
            NewerSchema: if a newer release wrote them.
        """
        publication = self._publication(table.name, version)
        if publication is None:
            return None
        return as_published(self._files(table.name).manifest(publication.version), publication)

    def _publication(self, table_name: str, version: str | None) -> Publication | None:
        versions = self.versions(table_name)
        if version is None:
            return versions.current()
        return next((made for made in versions.good() if made.version == version), None)

    def _newest_whole(self, table: Table) -> pl.DataFrame:
        """Rows of the newest publication that can be read, or none: what an `upsert` starts from."""
        damaged = False
        for publication in self.versions(table.name).good():
            try:
                return self._load(table, self._described(table, publication).files)
            except (CorruptArtefact, MissingArtefact):
                damaged = True
            except SchemaMismatch as error:
                # Older than the damaged one, it may have the columns of then; in its place, it is a mistake to report.
                if isinstance(error, NewerSchema) or not damaged:
                    raise
        return table.empty()

    def _described(self, table: Table, publication: Publication) -> Manifest:
        manifest = as_published(self._files(table.name).manifest(publication.version), publication)
        refuse_other_columns(table, manifest)
        return manifest

    def _files(self, table_name: str) -> TableFiles:
        return TableFiles(self.root / table_name)

    def _bytes(self, table_name: str, file: StoredFile) -> bytes:
        return self._files(table_name).bytes_of(file)

    def _draft(self, table: Table, *, near: Iterable[str | None]) -> Draft:
        return Draft(table, self._files(table.name), clock=self._clock, near=near)

    def _write(
        self,
        table: Table,
        months: Mapping[str, pl.DataFrame],
        writer: Writer,
        *,
        kept: Iterable[StoredFile] = (),
        lineage: Lineage | None,
        data_end: date | None,
        run_id: str,
    ) -> Manifest:
        """Publishes the rows of some months, and the files of untouched ones."""
        with self._draft(table, near=(writer.current.version if writer.current else None,)) as draft:
            draft.keep(kept)
            for month, rows in months.items():
                draft.add(month, rows)
            return draft.publish(writer, lineage=lineage, data_end=data_end, run_id=run_id)

    def _load(
        self,
        table: Table,
        files: Sequence[StoredFile],
        *,
        columns: Sequence[str] | None = None,
        where: Sequence[pl.Expr] = (),
    ) -> pl.DataFrame:
        wanted = list(table.columns) if columns is None else list(columns)
        # What rows are chosen and ordered by is read as well, and left out again.
        asked = [name for condition in where for name in condition.meta.root_names()]
        needed = list(dict.fromkeys([*wanted, *table.key, *asked]))
        strangers = [name for name in needed if name not in table.columns]
        if strangers:
            raise ValueError(f"read: expected columns of {table.name}, was {', '.join(strangers)}.")
        if not files:
            return table.empty().select(wanted)
        frames = (decoded(table, file, self._bytes(table.name, file), columns=needed, where=where) for file in files)
        return sorted_by_key(table, frames).select(wanted)


def _absent(table: Table, expected: str) -> MissingArtefact:
    return MissingArtefact.of(f"table {table.name}", expected=expected, was="none", do="materialise it first")
