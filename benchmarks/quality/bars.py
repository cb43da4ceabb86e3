"""Any Parquet file of daily bars as dense arrays: one set for features, with dirt taken out, one as found for labels."""

import io
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Integer

from benchmarks.quality.dirt import LARGEST_JUMP, believed
from gnn_assets.core.errors import DataError
from gnn_assets.core.hashing import sha256_hex
from gnn_assets.models.bars import Bars

_KEY = ("symbol", "session")
_FIELDS = ("open", "high", "low", "close", "volume")
_DROPPED = (
    "without symbol or session",
    "without a close above 0",
    "given twice, word for word",
    "contradicting another of the same symbol and session",
    "on dates with too few symbols",
)
# Dates whose count of bars a date is held against, and the share of their median that makes it a session.
_DATES_BEFORE = 20
_LEAST_SHARE = 0.5
_Panel = Float64[np.ndarray, "T N"]


@dataclass(frozen=True, eq=False)
class Market:
    """What a file of bars says, over T sessions and N symbols.

    Args:
        sessions: the row axis.
        symbols: the column axis.
        found: field → float64 (T, N): prices above 0 and volumes of 0 or more as the file has them, NaN where it has
            none; for labels. A field without any value is absent from the mapping.
        sha256: of the file, 64 hex digits.
        dropped: why bars were left out → how many.

    Known at:
        Row d at the close of session d.
    """

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    found: dict[str, _Panel]
    sha256: str
    dropped: dict[str, int]

    def bars(self, until: int) -> Bars:
        """Bars for features: the sessions before row `until`, and the symbols that had a bar by then.

        Absent there: a high and low that do not hold open and close between them; an open, high or low further from
        the close than a factor of 3; all but the close of a bar that repeats the session before; a return from close
        to close beyond a factor of 3 or across a missing session.
        """
        found = {name: values_TxN[:until] for name, values_TxN in self.found.items()}
        seen = np.flatnonzero(np.isfinite(found["close"]).any(axis=0))
        found = {name: values_TxN[:, seen] for name, values_TxN in found.items()}
        returns_TxN = np.full(found["close"].shape, np.nan)
        returns_TxN[1:] = np.diff(np.log(found["close"]), axis=0)
        returns_TxN[np.abs(returns_TxN) > LARGEST_JUMP] = np.nan
        return Bars(
            sessions=self.sessions[:until],
            symbols=tuple(self.symbols[column] for column in seen),
            close_return_TxN=returns_TxN,
            values=believed(found),
        )


def read_market(path: Path) -> Market:
    """Reads a file of bars.

    Args:
        path: Parquet with symbol, session and close, and any of open, high, low and volume; other columns are left
            alone.

    Raises:
        DataError: if there is no such file, it is no Parquet, a column is missing or of no use, or no bar is left.
    """
    if not path.is_file():
        raise DataError.of(str(path), expected="a Parquet file of bars", was="no file", do="give the path of one")
    data = path.read_bytes()
    rows, dropped = _usable(_typed(data, path))
    if rows.is_empty():
        raise DataError.of(str(path), expected="bars with a close above 0", was="none", do="give another file")
    sessions, symbols = (rows[name].unique().sort() for name in ("session", "symbol"))
    at = sessions.search_sorted(rows["session"]).to_numpy(), symbols.search_sorted(rows["symbol"]).to_numpy()
    found = {}
    for name in rows.columns[len(_KEY) :]:
        values_TxN = np.full((sessions.len(), symbols.len()), np.nan)
        values_TxN[at] = rows[name].fill_null(np.nan).to_numpy()
        values_TxN[values_TxN < 0 if name == "volume" else values_TxN <= 0] = np.nan
        if np.isfinite(values_TxN).any():
            found[name] = values_TxN
    return Market(
        sessions=tuple(sessions), symbols=tuple(symbols), found=found, sha256=sha256_hex(data), dropped=dropped
    )


def is_session(counts_D: Integer[np.ndarray, " D"]) -> Bool[np.ndarray, " D"]:
    """Which dates of a file are sessions: those on which about as many symbols trade as usual.

    A date is one if at least half as many symbols have a bar as in the median of the 20 dates before it. The first 20
    dates are held against their own median: only there does a later date count.

    Args:
        counts_D: symbols with a bar, one number for each date that has any, in order of time.

    Returns:
        bool (D,).
    """
    usual_D = np.full(len(counts_D), np.median(counts_D[:_DATES_BEFORE]))
    if len(counts_D) > _DATES_BEFORE:
        windows_DxB = np.lib.stride_tricks.sliding_window_view(counts_D[:-1], _DATES_BEFORE)
        usual_D[_DATES_BEFORE:] = np.median(windows_DxB, axis=1)
    return counts_D >= _LEAST_SHARE * usual_D


def _typed(data: bytes, path: Path) -> pl.DataFrame:
    """The columns that are used, as text, dates and float64; NaN and infinity as null."""
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except pl.exceptions.PolarsError as error:
        raise DataError.of(
            str(path), expected="a Parquet file of bars", was="not readable as one", do="give the path of one"
        ) from error
    missing = [name for name in (*_KEY, "close") if name not in frame.columns]
    if missing:
        raise DataError.of(
            str(path),
            expected="columns symbol, session and close",
            was=f"no {' and no '.join(missing)} (but {', '.join(frame.columns)})",
            do="rename or add them",
        )
    fields = [pl.col(name).cast(pl.Float64) for name in _FIELDS if name in frame.columns]
    try:
        return frame.select(
            pl.col("symbol").cast(pl.String),
            _date(frame.schema["session"]),
            *(pl.when(field.is_finite()).then(field) for field in fields),
        )
    except pl.exceptions.PolarsError as error:
        raise DataError.of(
            str(path),
            expected="symbols as text, sessions as dates, prices and volumes as numbers",
            was=", ".join(f"{name} {dtype}" for name, dtype in frame.schema.items()),
            do="cast the columns",
        ) from error


def _date(dtype: pl.DataType) -> pl.Expr:
    """The session as a date; of a moment, the date in its own time zone."""
    return pl.col("session").str.to_date() if dtype == pl.String else pl.col("session").dt.date()


def _usable(rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    named = rows.drop_nulls(_KEY)
    priced = named.filter(pl.col("close") > 0)
    once = priced.unique()
    # Of two different bars neither is known to be the right one.
    agreed = once.filter(pl.struct(_KEY).is_unique())
    dates = agreed.group_by("session").len().sort("session")
    if dates.is_empty():
        return agreed, {}
    held = dates.filter(pl.Series(is_session(dates["len"].to_numpy())))
    left = agreed.join(held, on="session", how="semi")
    heights = [frame.height for frame in (rows, named, priced, once, agreed, left)]
    lost = (before - after for before, after in pairwise(heights))
    return left, {why: count for why, count in zip(_DROPPED, lost, strict=True) if count}
