"""How a table's rows become Parquet files, a month each, and back."""

from collections.abc import Iterable, Sequence
from datetime import date
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
    repeated = 0 if nulls else _repeated(rows, table.key)
    if nulls or repeated:
        raise DataError.of(
            f"table {table.name}",
            expected=f"one row a key ({', '.join(table.key)})",
            was=f"null in {', '.join(nulls)}" if nulls else f"{repeated} rows that share theirs",
            do="leave such rows out",
        )
    return rows


def _repeated(rows: pl.DataFrame, key: Sequence[str]) -> int:
    """How many rows share their key with another; they are sorted by it, so the other is a neighbour."""
    as_before = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in key).fill_null(False)
    return rows.select((as_before | as_before.shift(-1, fill_value=False)).sum()).item()


def by_month(table: Table, frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The frame as the files it belongs to, each in the table's shape and sorted by key; no rows, no files.

    Raises:
        SchemaMismatch, DataError: as `checked`.
    """
    if not table.monthly or "session" not in table.key:
        rows = checked(table, frame)
        if not table.monthly:
            return {} if rows.is_empty() else {WHOLE: rows}
        return _split(rows)
    table.conform(frame.clear())
    # Rows of one key share their month, so months can be checked one by one, and the whole is never sorted as well.
    months = _split(frame.select(*table.columns))
    return {month: checked(table, months.pop(month)) for month in sorted(months)}


def _split(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    months = rows.with_columns(pl.col("session").dt.strftime("%Y-%m").alias("__month"))
    parts = months.partition_by("__month", as_dict=True, include_key=False)
    return {str(month): part for (month,), part in parts.items()}


def may_hold(file: StoredFile, *, first: date | None, last: date | None) -> bool:
    """Whether a file may have sessions from `first` to `last`."""
    if file.month == WHOLE:
        return True
    return (first is None or f"{first:%Y-%m}" <= file.month) and (last is None or file.month <= f"{last:%Y-%m}")


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


def decoded(
    table: Table,
    file: StoredFile,
    data: bytes,
    *,
    columns: Sequence[str] | None = None,
    where: Sequence[pl.Expr] = (),
) -> pl.DataFrame:
    """The rows in the verified bytes of one file.

    Args:
        table: its contract.
        file: what the manifest says of it.
        data: its bytes.
        columns: those wanted; all when None.
        where: conditions over wanted columns that a row must meet.

    Raises:
        CorruptArtefact: if the bytes are no Parquet after all.
        SchemaMismatch: if the columns are not those declared; nothing is cast.
    """
    try:
        stored = pl.Schema(pl.read_parquet_schema(BytesIO(data)))
        known = stored == pl.Schema(table.columns)
        frame = pl.read_parquet(BytesIO(data), columns=None if columns is None else [*columns]) if known else None
    # polars panics on some bytes with an exception that is no `Exception`.
    except (pl.exceptions.PanicException, Exception) as error:
        raise CorruptArtefact.of(
            f"table {table.name}, file {file.name}",
            expected="Parquet",
            was=f"unreadable ({type(error).__name__})",
            do="materialise it again",
        ) from error
    if frame is None:
        raise SchemaMismatch.of(
            f"table {table.name}, file {file.name}",
            expected="its declared columns",
            was="; ".join(table.difference(stored)) or "the declared ones in another order",
            do="materialise it again with the present code",
        )
    return frame.filter(*where) if where else frame


def sorted_by_key(table: Table, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The rows of files in order of month, each sorted by key, as one frame sorted by key.

    Args:
        table: its contract.
        frames: at least one; all with the same columns, the key's among them.
    """
    rows = pl.concat(frames)
    # Files are months: among rows that agree in what the key has before `session`, they are in order already.
    prefix = table.key[: table.key.index("session")] if table.monthly and "session" in table.key else table.key
    if rows.n_chunks() == 1 or not prefix:
        return rows.rechunk()
    order = rows.select(pl.arg_sort_by(prefix, maintain_order=True)).to_series()
    # Column by column, each freed once it is copied: a table of millions of rows is never held twice.
    return pl.DataFrame([rows.drop_in_place(name).gather(order) for name in rows.columns])
