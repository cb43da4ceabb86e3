"""How a table's rows become Parquet files, a month each, and back."""

from io import BytesIO

import polars as pl

from gnn_assets.core.errors import CorruptArtefact, DataError, SchemaMismatch
from gnn_assets.core.hashing import sha256_hex
from gnn_assets.store.manifests import StoredFile
from gnn_assets.store.schema import Table

WHOLE = "all"  # the "month" of a table that is not monthly


def checked(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in the table's shape, sorted by key.

    Raises:
        SchemaMismatch: if columns or dtypes differ.
        DataError: if two rows have the same key, or a key or the session of a monthly table is null.
    """
    rows = table.conform(frame)
    needed = dict.fromkeys([*table.key, "session"] if table.monthly else table.key)
    nulls = [name for name in needed if rows[name].has_nulls()]
    repeated = 0 if nulls else rows.select(pl.struct(table.key).is_duplicated().sum()).item()
    if nulls or repeated:
        raise DataError.of(
            f"table {table.name}",
            expected=f"one row a key ({', '.join(table.key)})",
            was=f"null in {', '.join(nulls)}" if nulls else f"{repeated} rows that share theirs",
            do="leave such rows out",
        )
    return rows


def by_month(table: Table, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Rows split by the file they belong to, order kept; no rows, no files."""
    if rows.is_empty():
        return {}
    if not table.monthly:
        return {WHOLE: rows}
    months = rows["session"].dt.strftime("%Y-%m").alias("__month")
    parts = rows.with_columns(months).partition_by("__month", as_dict=True, include_key=False)
    return {str(month): part for (month,), part in parts.items()}


def encoded(month: str, rows: pl.DataFrame, *, content: str) -> tuple[StoredFile, bytes]:
    """The rows of one file as Parquet bytes, and the name that their hash gives them.

    Args:
        month: what `by_month` calls the file.
        rows: its rows.
        content: their content hash.
    """
    buffer = BytesIO()
    rows.write_parquet(buffer, compression="zstd", statistics=False)
    data = buffer.getvalue()
    digest = sha256_hex(data)
    return StoredFile(month, f"{month}-{digest[:16]}.parquet", digest, content, rows.height), data


def decoded(table: Table, file: StoredFile, data: bytes) -> pl.DataFrame:
    """The rows in the verified bytes of one file.

    Raises:
        CorruptArtefact: if the bytes are no Parquet after all.
        SchemaMismatch: if the columns are not those declared; nothing is cast.
    """
    try:
        frame = pl.read_parquet(BytesIO(data))
    # polars panics on some bytes with an exception that is no `Exception`.
    except (pl.exceptions.PanicException, Exception) as error:
        raise CorruptArtefact.of(
            f"table {table.name}, file {file.name}",
            expected="Parquet",
            was=f"unreadable ({type(error).__name__})",
            do="materialise it again",
        ) from error
    if frame.schema != pl.Schema(table.columns):
        raise SchemaMismatch.of(
            f"table {table.name}, file {file.name}",
            expected="its declared columns",
            was="; ".join(table.difference(frame.schema)) or "the declared ones in another order",
            do="materialise it again with the present code",
        )
    return frame
