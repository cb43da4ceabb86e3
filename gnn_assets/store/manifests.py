"""Manifests: what a version of a table is, file by file, and whether this code may read it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from pathlib import Path

from gnn_assets.core.errors import CorruptArtefact, NewerSchema, SchemaMismatch
from gnn_assets.core.hashing import json_hash
from gnn_assets.store.files import write_atomic
from gnn_assets.store.schema import Table
from gnn_assets.store.sealed import read_sealed, seal
from gnn_assets.store.versions import Publication


@dataclass(frozen=True)
class StoredFile:
    """One Parquet file of a version.

    Args:
        month: "2020-03", or "all" where the table is not monthly.
        name: file name.
        sha256: of its bytes.
        content_hash: of its rows, provenance left out.
        rows: how many.
    """

    month: str
    name: str
    sha256: str
    content_hash: str
    rows: int


@dataclass(frozen=True)
class Manifest:
    """What a published version is.

    Args:
        table: its name.
        version: its data version.
        schema_version: of the table it was written with.
        columns: name → dtype as text.
        files: in order of month.
        rows: in all files.
        data_end: last session the data cover, as its newest publication said; None where that means nothing.
        written_at: aware UTC moment the version was first written.
    """

    table: str
    version: str
    schema_version: int
    columns: Mapping[str, str]
    files: tuple[StoredFile, ...]
    rows: int
    data_end: date | None
    written_at: datetime


def data_version(
    table_name: str, schema_version: int, columns: Mapping[str, str], content_hashes: Mapping[str, str]
) -> str:
    """The version of a table whose months hash to `content_hashes`: 32 hex digits.

    The columns count by themselves, too: an empty table has no month to tell them.
    """
    return json_hash([table_name, schema_version, dict(columns), dict(content_hashes)])[:32]


def as_published(manifest: Manifest, publication: Publication) -> Manifest:
    """The manifest with what its publication says about it."""
    data_end = publication.note.get("data_end")
    return replace(manifest, data_end=date.fromisoformat(data_end) if data_end else None)


def columns_as_text(table: Table) -> dict[str, str]:
    """The declared columns as a manifest writes them: name → dtype."""
    return {name: str(dtype) for name, dtype in table.columns.items()}


def column_differences(table: Table, manifest: Manifest) -> list[str]:
    """How stored columns differ from those declared, a phrase each."""
    declared = columns_as_text(table)
    names = sorted({*declared, *manifest.columns})
    return [
        f"{name} is {manifest.columns.get(name, 'missing')} instead of {declared.get(name, 'absent')}"
        for name in names
        if manifest.columns.get(name) != declared.get(name)
    ]


def refuse_newer(table: Table, manifest: Manifest) -> None:
    """Raises NewerSchema if a newer release wrote it."""
    if manifest.schema_version > table.schema_version:
        raise NewerSchema.of(
            f"table {table.name}",
            expected=f"schema version {table.schema_version} or older",
            was=f"{manifest.schema_version}, written by a newer release",
            do="install that release, or materialise into another home",
        )


def refuse_other_columns(table: Table, manifest: Manifest) -> None:
    """Raises SchemaMismatch if its columns are not those declared, NewerSchema if a newer release wrote it."""
    refuse_newer(table, manifest)
    differences = column_differences(table, manifest)
    if differences:
        raise SchemaMismatch.of(
            f"table {table.name}",
            expected="its declared columns",
            was="; ".join(differences),
            do="materialise it again with the present code",
        )


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Writes what a version is; `data_end` belongs to its publications.

    Raises:
        DiskFull: nothing was written.
    """
    body = {
        "table": manifest.table,
        "version": manifest.version,
        "schema_version": manifest.schema_version,
        "columns": dict(manifest.columns),
        "files": [asdict(file) for file in manifest.files],
        "written_at": manifest.written_at.isoformat(),
    }
    write_atomic(path, seal(body))


def read_manifest(path: Path) -> Manifest:
    """Reads what a version is.

    Args:
        path: `manifests/<version>.json` in the table's folder.

    Raises:
        MissingArtefact, NewerSchema: as `read_sealed`.
        CorruptArtefact: if it is damaged, or is that of another version.
    """
    body = read_sealed(path)
    files = tuple(StoredFile(**file) for file in body["files"])
    hashes = {file.month: file.content_hash for file in files}
    if data_version(body["table"], body["schema_version"], body["columns"], hashes) != path.stem:
        raise CorruptArtefact.of(
            str(path), expected=f"the manifest of {path.stem}", was="that of another", do="materialise it again"
        )
    return Manifest(
        table=body["table"],
        version=body["version"],
        schema_version=body["schema_version"],
        columns=body["columns"],
        files=files,
        rows=sum(file.rows for file in files),
        data_end=None,
        written_at=datetime.fromisoformat(body["written_at"]),
    )
