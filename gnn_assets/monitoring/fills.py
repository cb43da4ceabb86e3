"""What trading really cost, as the user's broker reported it, held against what the backtests reckon with.

The platform trades nothing itself, so it knows of costs only what it is told: one file, a row for each symbol's trades
of a session. The file is read as a whole and refused as a whole: of costs that are half right no alarm can be trusted.
What is held against the model are commission, half spread and slippage, the part that every trade pays; the engine's
market impact, which depends on the size of each trade, is not in the model here, and so shows as excess.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl
from jaxtyping import Float

from gnn_assets.bars.foreign import readable
from gnn_assets.bars.venues import exchange_of, with_moments
from gnn_assets.core.config import ExecutionConfig, LiveDriftConfig
from gnn_assets.core.errors import DataError, SourceError
from gnn_assets.core.hashing import sha256_hex
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets.monitoring.change import cost_drift, cost_limit
from gnn_assets.monitoring.reasons import Reason, Signal
from gnn_assets.store.panel import to_panel

COLUMNS: Mapping[str, pl.DataType] = MappingProxyType(
    {"session": pl.Date(), "symbol": pl.String(), "traded": pl.Float64(), "paid": pl.Float64()}
)
_KEY = ("session", "symbol")
_SHOWN = 60  # characters of a value in a message
_WORDS = (pl.String, pl.Categorical, pl.Enum)


@dataclass(frozen=True)
class Fills:
    """A broker's report that was found in order.

    Args:
        rows: the columns of `COLUMNS`, a row each session and symbol, sorted: ``traded``, the value bought or sold, and
            ``paid``, commission, spread and slippage together (both quote currency).
        file: its name.
        sha256: of its bytes, 64 hex digits.
    """

    rows: pl.DataFrame
    file: str
    sha256: str


@dataclass(frozen=True, eq=False)
class Costs:
    """What trades cost, by the broker and by the model.

    Args:
        sessions: those with trades, ascending: the row axis.
        symbols: those that were traded, sorted: the column axis.
        paid_TxN: float64, what was paid (quote currency); NaN where nothing was traded.
        modelled_TxN: float64, what the model says of the same trades (quote currency); NaN likewise.
        traded_TxN: float64, value bought or sold (quote currency); NaN likewise.
    """

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    paid_TxN: Float[np.ndarray, "T N"]
    modelled_TxN: Float[np.ndarray, "T N"]
    traded_TxN: Float[np.ndarray, "T N"]

    def panels(self, rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Paid, modelled and traded at some of the sessions."""
        return self.paid_TxN[rows], self.modelled_TxN[rows], self.traded_TxN[rows]


def read_fills(path: Path, *, universe: pl.DataFrame, exchanges: Exchanges, now: datetime) -> Fills:
    """Reads what the broker reported.

    Args:
        path: a file whose name ends in .csv or .parquet, with exactly the columns of `COLUMNS`, in any order. Several
            rows of one session and symbol add up.
        universe: a frame of `UNIVERSE`; its symbols are known, whether or not they are members still.
        exchanges: the calendars; a date must be a session of the symbol's own exchange.
        now: aware UTC moment.

    Returns:
        Complete sessions alone: of one that is not over, the broker knows a part.

    Known at: close and grace of the newest session in it.

    Raises:
        DataError: if the file cannot be read, its columns are others or hold something else, or a row is not in order;
            it names the file, the row (1 is the first below the header) and what to do.
    """
    try:
        # All of it: polars may find out late, and by a panic, that a date of a broken file is none.
        with readable(path.name):
            data, told = _told(path)
            dated = _in_order(path, told, universe=universe, exchanges=exchanges, now=now)
    except SourceError as error:
        raise DataError(f"live.fills: {error}") from error
    complete = dated.filter(pl.col("available_at") <= now)
    rows = complete.group_by(_KEY, maintain_order=True).agg(pl.col("traded", "paid").sum()).sort(_KEY)
    return Fills(rows, path.name, sha256_hex(data))


def costs_of(fills: Fills, *, execution: ExecutionConfig) -> Costs:
    """What the trades cost beside what the model says of them: so many basis points a side of the value traded.

    Args:
        fills: of `read_fills`.
        execution: commission, half spread and slippage.
    """
    rows = fills.rows
    sessions, symbols = (tuple(rows[name].unique().sort()) for name in _KEY)
    paid_TxN, traded_TxN = (to_panel(rows, name, sessions=sessions, symbols=symbols) for name in ("paid", "traded"))
    return Costs(sessions, symbols, paid_TxN, execution.cost_per_side * traded_TxN, traded_TxN)


def cost_signal(fills: Fills, *, execution: ExecutionConfig, config: LiveDriftConfig, hysteresis: float) -> Signal:
    """Whether the newest trades cost more than the model says, beyond what chance did to those before them.

    Args:
        fills: of `read_fills`.
        execution: commission, half spread and slippage.
        config: `drift`: window, reference, rate.
        hysteresis: share of the limit by which a value must be back before its alarm ends.

    Returns:
        ``cost_drift``: basis points of the value traded at the newest `drift.window` sessions with trades, above the
        model, against a limit that the sessions with trades before them set. NaN where either are too few. The evidence
        names the file, its hash and, of an alarm, the symbols that cost most above the model (quote currency).

    Known at: the newest session with trades.
    """
    costs = costs_of(fills, execution=execution)
    limit = cost_limit(*costs.panels(slice(None, -config.window)), config=config, hysteresis=hysteresis)
    drift = cost_drift(limit, *costs.panels(slice(None)), symbols=costs.symbols, config=config)
    return Signal(
        reason=Reason.COST_DRIFT,
        asset="fills",
        value=drift.value,
        limit=drift.limit,
        worse="above",
        window=f"{drift.window} with trades",
        evidence="; ".join(_evidence(fills, costs, drift.offenders)),
    )


def _evidence(fills: Fills, costs: Costs, worst: tuple[str, ...]) -> Iterator[str]:
    yield f"{fills.file}, sha256 {fills.sha256}"
    known = costs.sessions
    yield f"{len(known)} sessions with trades, {known[0]} to {known[-1]}" if known else "no session with trades"
    if worst:
        yield f"most above the model: {', '.join(worst)}"


def _told(path: Path) -> tuple[bytes, pl.DataFrame]:
    """The file's bytes, and what they say as it stands: all text in a CSV."""
    if not path.is_file():
        raise DataError.of(
            f"live.fills {path}", expected="a file", was="none", do="put it there, or set live.fills to null"
        )
    # Read once, so that the hash is that of what was looked at, whoever writes meanwhile.
    data = path.read_bytes()
    if path.suffix == ".csv":
        return data, pl.read_csv(BytesIO(data), infer_schema=False)
    # Over some broken files polars' own reader asks for so much memory that the process is aborted.
    return data, pl.read_parquet(BytesIO(data), use_pyarrow=True)


def _in_order(
    path: Path, told: pl.DataFrame, *, universe: pl.DataFrame, exchanges: Exchanges, now: datetime
) -> pl.DataFrame:
    """The rows as `COLUMNS` has them, each with what its exchange's calendar says of it, once none is refused."""
    _refuse_columns(path, told)
    venues = exchange_of(universe)
    parsed = told.select(_parsed(name, told.schema[name]) for name in COLUMNS)
    dated = with_moments(parsed, exchanges=exchanges, exchange_of=venues)
    begun = {symbol: _begun(exchanges.of(venue), now) for symbol, venue in venues.items()}
    _refuse_rows(path, told, dated, checks=_checks(begun))
    return dated


def _refuse_columns(path: Path, told: pl.DataFrame) -> None:
    if sorted(told.columns) != sorted(COLUMNS):
        raise DataError.of(
            f"live.fills {path}",
            expected=f"the columns {', '.join(COLUMNS)}",
            was=", ".join(told.columns) or "none",
            do="name them so, and leave the others out",
        )
    for name, kind in COLUMNS.items():
        was = told.schema[name]
        numbers, words = (kind.is_numeric() and was.is_numeric()), (kind == pl.String and was in _WORDS)
        if not (numbers or words or was in (kind, pl.String)):
            raise DataError.of(
                f"live.fills {path}, column {name!r}", expected=f"{kind}, or text", was=was, do="convert the column"
            )


def _parsed(name: str, was: pl.DataType) -> pl.Expr:
    """The values of a column; null where the text says none."""
    column, kind = pl.col(name), COLUMNS[name]
    if kind == pl.Date and was == pl.String:
        return column.str.to_date("%Y-%m-%d", strict=False)
    return column.cast(kind, strict=False)


def _begun(calendar: SessionCalendar, now: datetime) -> date:
    """The newest session that has opened."""
    return calendar.sessions[bisect_right(calendar.opens, now) - 1]


def _checks(begun: Mapping[str, date]) -> Iterator[tuple[str, pl.Expr, str, str]]:
    """Column, whether its value is in order, what is expected, what to do.

    Args:
        begun: every known symbol → the newest session that has opened on its exchange.
    """
    traded, paid = pl.col("traded"), pl.col("paid")
    latest = pl.col("symbol").replace_strict(dict(begun), default=None, return_dtype=pl.Date)
    correct = "correct the row"
    yield "symbol", latest.is_not_null(), "a symbol of the universe", "correct it, or leave out what is not in it"
    yield "session", pl.col("position").is_not_null(), "a session of the symbol's exchange as 2020-01-02", correct
    yield "session", pl.col("session") <= latest, "a session that has begun", correct
    yield "traded", traded.is_finite() & (traded > 0), "a number above 0 (quote currency)", correct
    yield "paid", paid.is_finite(), "a number (quote currency)", correct


def _refuse_rows(
    path: Path, told: pl.DataFrame, dated: pl.DataFrame, *, checks: Iterator[tuple[str, pl.Expr, str, str]]
) -> None:
    for name, good, expected, do in checks:
        bad = dated.select(~good.fill_null(value=False)).to_series().arg_true()
        if len(bad):
            # As text: not every date of polars is one of Python.
            (was,) = told[name].slice(bad[0], 1).cast(pl.String)
            raise DataError.of(
                f"live.fills {path}, row {bad[0] + 1}, column {name!r}",
                expected=expected,
                was="nothing" if was is None else was[:_SHOWN],
                do=do if len(bad) == 1 else f"{do} ({len(bad)} rows are like it)",
            )
