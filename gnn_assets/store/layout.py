"""How a table's rows become Parquet files, a month each, and back."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from datetime import date
from io import BytesIO
from threading import Lock

import polars as pl
from cachetools import LRUCache, cached

from gnn_assets.core.errors import CorruptArtefact, DataError, SchemaMismatch
from gnn_assets.core.hashing import sha256_hex
from gnn_assets.store.manifests import StoredFile
from gnn_assets.store.schema import Table

WHOLE = "all"  # the "month" of a table that is not monthly
# What was decoded is kept for the next reader in this process: stages read the same months of small tables many times
# over. Of a large market's tables it holds a part, which is no loss.
_KEPT_BYTES = 64 * 2**20


def checked(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in the table's shape, sorted by key.

    Raises:
        SchemaMismatch: if columns or dtypes differ.
        DataError: if two rows have the same key, or a key or the session of a monthly table is null.
    """
    table.conform(frame.clear())
    rows = frame.select(*table.columns)
    needed = dict.fromkeys([*table.key, "session"] if table.monthly else table.key)
    nulls = [name for name in needed if rows[name].has_nulls()]
    repeated = 0
    # Rows that each come after the one before are sorted, and none shares its key: seen in a third of a sort's time.
    if not nulls and not _ascending(rows, table.key):
        rows = rows.sort(table.key)
        repeated = _repeated(rows, table.key)
    if nulls or repeated:
        raise DataError.of(
            f"table {table.name}",
            expected=f"one row a key ({', '.join(table.key)})",
            was=f"null in {', '.join(nulls)}" if nulls else f"{repeated} rows that share theirs",
            do="leave such rows out",
        )
    return rows


def _ascending(rows: pl.DataFrame, key: Sequence[str]) -> bool:
    """Whether each row has a greater key than the one before; no key is null."""
    greater = pl.lit(value=False)
    for name in reversed(key):
        before = pl.col(name).shift(1)
        greater = (pl.col(name) > before) | ((pl.col(name) == before) & greater)
    return rows.select(greater.slice(1).all()).item()


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


def in_months(
    table: Table, frames: Iterable[pl.DataFrame], *, since: date | None
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Frames of one month each, in ascending order, as `by_month` gives them; one without rows is passed over.

    Args:
        table: its contract; monthly.
        frames: taken one at a time.
        since: first session that they may hold.

    Raises:
        SchemaMismatch, DataError: as `checked`, and if a frame has rows of two months, of a month that is not after
            the one before, or before `since`.
    """
    newest = ""
    for frame in frames:
        months = by_month(table, frame)
        if not months:
            continue
        (month, rows), *others = months.items()
        first = f"{rows['session'].min()}"
        if others:
            was = f"a frame of {', '.join(months)}"
        elif month <= newest:
            was = f"{month} after {newest}"
        elif since is not None and first < since.isoformat():
            was = f"a row of {first}"
        else:
            newest = month
            yield month, rows
            continue
        raise DataError.of(
            f"table {table.name}",
            expected=f"frames of a month each, in order{f', from {since} on' if since else ''}",
            was=was,
            do="hand them over so",
        )


def _split(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    sessions = rows["session"]
    if rows.height and not sessions.has_nulls():
        # The month of each of half a million rows takes longer than sorting and checking them.
        first, last = f"{sessions.min()}"[:7], f"{sessions.max()}"[:7]
        if first == last:
            return {first: rows}
    months = rows.with_columns(sessions.dt.strftime("%Y-%m").alias("__month"))
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
    # Equal rows are equal bytes, however many chunks they came in.
    rows.rechunk().write_parquet(buffer, compression="zstd", statistics=False)
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
    frame = _frame(table, file, data, None if columns is None else tuple(columns)).clone()
    return frame.filter(*where) if where else frame


def _as_decoded(table: Table, file: StoredFile, _data: bytes, columns: tuple[str, ...] | None) -> Hashable:
    # The bytes were verified to have this hash.
    return file.sha256, columns, *table.columns.items()


def _kept_bytes(frame: pl.DataFrame) -> int:
    # A column costs a kibibyte before it has a row.
    return int(frame.estimated_size()) + 1024 * (frame.width + 1)


@cached(LRUCache(_KEPT_BYTES, getsizeof=_kept_bytes), key=_as_decoded, lock=Lock())
def _frame(table: Table, file: StoredFile, data: bytes, columns: tuple[str, ...] | None) -> pl.DataFrame:
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
    return frame


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
