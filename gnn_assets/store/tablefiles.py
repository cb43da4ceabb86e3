"""What is stored of one table, manifests and Parquet files, and all of it checked when read."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, SchemaMismatch
from gnn_assets.store.files import read_verified
from gnn_assets.store.layout import WHOLE, decoded, may_hold
from gnn_assets.store.manifests import Manifest, StoredFile, read_manifest, refuse_newer
from gnn_assets.store.schema import Table


class TableFiles:
    """Manifests and Parquet files of one table.

    Args:
        folder: the table's, in the lake.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, file: StoredFile) -> Path:
        """Where a file is stored."""
        return self.folder / "files" / file.name

    def bytes_of(self, file: StoredFile) -> bytes:
        """Its verified bytes.

        Raises:
            MissingArtefact, CorruptArtefact: as `read_verified`; a damaged file is moved to quarantine.
        """
        return read_verified(self.path(file), file.sha256, quarantine=self.folder / "quarantine")

    def check(self, files: Iterable[StoredFile]) -> None:
        """Reads and hashes files, some at once: most of the time that one more session costs goes here.

        Raises:
            MissingArtefact, CorruptArtefact: as `bytes_of`.
        """
        with ThreadPoolExecutor() as readers:
            for _ in readers.map(self._check, files):
                pass

    def frame_of(self, table: Table, file: StoredFile) -> pl.DataFrame:
        """Its rows.

        Raises:
            MissingArtefact, CorruptArtefact, SchemaMismatch: as `bytes_of` and `decoded`.
        """
        return decoded(table, file, self.bytes_of(file))

    def is_whole(self, file: StoredFile) -> bool:
        """Whether it is stored, and undamaged."""
        try:
            self._check(file)
        except (MissingArtefact, CorruptArtefact):
            return False
        return True

    def manifest_path(self, version: str) -> Path:
        """Where the manifest of a version is stored."""
        return self.folder / "manifests" / f"{version}.json"

    def manifest(self, version: str) -> Manifest:
        """What a version is.

        Raises:
            MissingArtefact, CorruptArtefact, NewerSchema: as `read_manifest`.
        """
        return read_manifest(self.manifest_path(version))

    def holds(self, version: str) -> bool:
        """Whether all of a version is stored and whole."""
        try:
            self.check(self.manifest(version).files)
        except (MissingArtefact, CorruptArtefact):
            return False
        return True

    def readable(self, table: Table, versions: Iterable[str | None]) -> Iterator[Manifest]:
        """Manifests whose files may be kept; a damaged one is written anew, a newer one must not be overruled.

        Raises:
            NewerSchema: if a newer release wrote one of them.
        """
        for version in dict.fromkeys(filter(None, versions)):
            try:
                manifest = self.manifest(version)
            except (MissingArtefact, CorruptArtefact):
                continue
            refuse_newer(table, manifest)
            yield manifest

    def before(self, table: Table, manifest: Manifest, since: date) -> tuple[list[StoredFile], dict[str, pl.DataFrame]]:
        """What a version of a monthly table says before a session.

        Returns:
            The files of whole months, unread, and the rows of the month that `since` cuts, if there are any.

        Raises:
            SchemaMismatch: if it was written when the table was not monthly.
            MissingArtefact, CorruptArtefact: if the file of the month that is cut is gone or damaged.
        """
        if any(file.month == WHOLE for file in manifest.files):
            raise SchemaMismatch.of(
                f"table {table.name}, version {manifest.version}",
                expected="a file a month",
                was="one of all sessions",
                do="materialise all of it again",
            )
        cut = f"{since:%Y-%m}"
        # Nothing of the month is wanted where `since` is its first day.
        stay = [file for file in manifest.files if may_hold(file, first=None, last=since - timedelta(days=1))]
        begun = {
            file.month: self.frame_of(table, file).filter(pl.col("session") < since)
            for file in stay
            if file.month == cut
        }
        whole = [file for file in stay if file.month != cut]
        return whole, {month: rows for month, rows in begun.items() if rows.height}

    def _check(self, file: StoredFile) -> None:
        self.bytes_of(file)  # let go at once: a table is never held whole
