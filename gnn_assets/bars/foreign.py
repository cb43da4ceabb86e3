"""Tables that others wrote, CSV or Parquet: read strictly, in pieces, dates and numbers in whatever type they came.

Nothing is guessed. What cannot be read is refused in one sentence that names the file.
"""

import csv
import re
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from gnn_assets.core.errors import AccessRefused, Malformed, Upstream

FORMATS = (".csv", ".parquet")

_PIECE = 1 << 22  # bytes of a CSV read at once
_ROWS = 1 << 17  # rows of a Parquet file read at once
_HEADER = 1 << 16  # bytes a CSV's first line may have
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
_DATE = "%Y-%m-%d"
_DATE_LENGTH = len("2020-01-02")
_MOMENT = "%Y-%m-%dT%H:%M:%S%.f"
_LOOKS_LIKE_MOMENT = r"^\s*\d{4}-\d{2}-\d{2}[T ]\d{2}:"
_SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class Column:
    """One column of a file, and what it is to be.

    Args:
        name: its name in the file.
        value: the date or number made of it.
        unreadable: whether a row holds something that is none.
        expected: what a row must hold, in words.
        refuses_moments: whether it could make dates of moments, knew it their zone.
    """

    name: str
    value: pl.Expr
    unreadable: pl.Expr
    expected: str
    refuses_moments: bool


@contextmanager
def readable(name: str) -> Generator[None]:
    """Makes one typed sentence of whatever reading a file raises.

    Raises:
        AccessRefused: without the right to read it. Upstream: if the system cannot. Malformed: if it is broken.
    """
    try:
        yield
    except PermissionError as error:
        raise AccessRefused.of(
            f"files, {name}", expected="the right to read it", was="refused", do="grant it to this user"
        ) from error
    except OSError as error:
        # Arrow calls a broken file an OSError too, but one that the system has given no number.
        if error.errno is None:
            raise _broken(name, error) from error
        raise Upstream(f"files, {name}: cannot be read ({_reason(error)}); see to the disk or the network.") from error
    except (
        pl.exceptions.PolarsError,
        # A BaseException: polars panics where it meets what it thought impossible.
        pl.exceptions.PanicException,
        pa.ArrowException,
        csv.Error,
        UnicodeDecodeError,
    ) as error:
        raise _broken(name, error) from error


def pieces(path: Path, wanted: Collection[str], *, words: Collection[str] = ()) -> Iterator[pl.DataFrame]:
    """The wanted columns of a file, so many rows at a time; those of a CSV are all text.

    Args:
        path: a file with a suffix of `FORMATS`.
        wanted: names of columns.
        words: those that hold the same few words over and over; they may come as categories.

    Raises:
        Malformed: if a column is missing or doubled, or a quote of a CSV is not closed on its line; see `readable` for
            the rest.
    """
    if path.suffix.lower() == ".csv":
        header = _header(path)
        _refuse_missing(path, wanted, header)
        for piece in _csv_pieces(path, header):
            yield piece.select(wanted)
        return
    # Over some broken files polars' own reader asks for so much memory that the process is aborted, error or no error.
    present = parquet.read_metadata(path).schema.names
    _refuse_missing(path, wanted, present)
    with parquet.ParquetFile(path, read_dictionary=[word for word in words if word in present]) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=list(wanted)):
            yield pl.DataFrame(batch)


def date_column(path: Path, name: str, kind: pl.DataType, *, zone: str | None) -> Column:
    """The dates of a column of dates or moments.

    Args:
        path: the file, for messages.
        name: the column.
        kind: its type.
        zone: IANA zone that moments are dates of; a moment that names no zone is taken as local there.

    Raises:
        Malformed: if the type holds no dates, or moments and no zone is known.
    """
    column, date = pl.col(name), None
    if kind in {pl.Date, pl.Null}:
        date = column.cast(pl.Date)
    elif isinstance(kind, pl.Datetime) and zone is not None:
        date = (column.dt.convert_time_zone(zone) if kind.time_zone else column).dt.date()
    elif kind in _TEXTS:
        date = _date_of_text(_text(column), zone)
    if date is None:
        moments = isinstance(kind, pl.Datetime)
        raise Malformed.of(
            _place(path, name),
            expected="dates, or ISO dates as text",
            was=f"moments ({kind})" if moments else str(kind),
            do=_DO_ZONE if moments else "convert the column, or correct sources.files.columns",
        )
    # A row without a date belongs to no session, and must not be passed over in silence.
    return Column(name, date, date.is_null(), "a date such as 2020-01-02", refuses_moments=zone is None)


def number_column(path: Path, name: str, kind: pl.DataType) -> Column:
    """The numbers of a column of numbers of any type, or of text; null where it is empty.

    Args:
        path: the file, for messages.
        name: the column.
        kind: its type.

    Raises:
        Malformed: if the type holds no numbers.
    """
    column = pl.col(name)
    if kind.is_numeric() or kind == pl.Null:
        return Column(name, column.cast(pl.Float64), pl.lit(False), "a number", refuses_moments=False)
    if kind in _TEXTS:
        number = _text(column).cast(pl.Float64, strict=False)
        return Column(name, number, number.is_null() & _text(column).is_not_null(), "a number", refuses_moments=False)
    raise Malformed.of(
        _place(path, name),
        expected="numbers",
        was=str(kind),
        do="convert the column, or correct sources.files.columns",
    )


def unreadable(path: Path, column: Column, values: pl.Series) -> Malformed:
    """The error for the first of some values that `column` could not make anything of."""
    told = values.cast(pl.String)[0]
    moment = column.refuses_moments and told is not None and re.match(_LOOKS_LIKE_MOMENT, told) is not None
    return Malformed.of(
        _place(path, column.name),
        expected=column.expected,
        was="nothing" if told is None else _short(("the moment " if moment else "") + repr(told)),
        do=_DO_ZONE if moment else "correct the file",
    )


_DO_ZONE = "write dates, or set sources.files.timezone to the zone whose dates are meant"


def _header(path: Path) -> list[str]:
    with path.open("rb") as file:
        first = file.readline(_HEADER).decode("utf-8-sig")
    return next(csv.reader([first]), [])


def _refuse_missing(path: Path, wanted: Collection[str], present: list[str]) -> None:
    for name in wanted:
        if present.count(name) != 1:
            names = _short(", ".join(present)) or "no columns at all"
            raise Malformed.of(
                f"files, {path.name}",
                expected=f"one column {name!r}",
                was=f"{present.count(name)} of them among {names}",
                do="correct sources.files.columns, or the file",
            )


def _csv_pieces(path: Path, header: list[str]) -> Iterator[pl.DataFrame]:
    # Arrow's reader counts the fields of every row; polars' fills short rows with nulls.
    reader = arrow_csv.open_csv(
        path,
        read_options=arrow_csv.ReadOptions(block_size=_PIECE),
        convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
    )
    for batch in reader:
        piece = pl.DataFrame(batch)
        # A quote that is never closed swallows the rows after it, line breaks and all.
        if piece.select(pl.any_horizontal(pl.all().str.contains("\n", literal=True)).any()).item():
            raise Malformed(f"files, {path.name}: a quote is opened and not closed on its line; correct the file.")
        yield piece


def _text(column: pl.Expr) -> pl.Expr:
    """Text without blanks around it; null where nothing is left."""
    text = column.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def _date_of_text(text: pl.Expr, zone: str | None) -> pl.Expr:
    date = pl.when(text.str.len_chars() == _DATE_LENGTH).then(text.str.to_date(_DATE, strict=False))
    if zone is None:
        return date
    moment = text.str.replace(" ", "T", literal=True)
    local = moment.str.to_datetime(_MOMENT, time_unit="us", strict=False)
    aware = moment.str.to_datetime(f"{_MOMENT}%#z", time_zone="UTC", strict=False)
    return pl.coalesce(date, local.dt.date(), aware.dt.convert_time_zone(zone).dt.date())


def _broken(name: str, error: BaseException) -> Malformed:
    return Malformed(f"files, {name}: is broken ({_reason(error)}); make the file anew.")


def _place(path: Path, name: str) -> str:
    return f"files, {path.name}, column {name!r}"


def _reason(error: BaseException) -> str:
    return _short(str(error).strip().partition("\n")[0], 2 * _SHOWN)


def _short(text: str, length: int = _SHOWN) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
