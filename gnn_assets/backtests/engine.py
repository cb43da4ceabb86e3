"""The portfolio a strategy would have held, and what it would have earned, net of costs.

What a strategy wants is first shaped, where an optimiser or a size is asked for (`shaping`). Then, session by session,
at the moment of the fill:

1. The weights that were held earn the return from the last fill price to this one; lent shares and borrowed cash are
   paid for. A name without a price keeps its last value. When it has one again it moves by what it lost or gained over
   the gap. After `delisting.sessions` without one a long position takes `delisting.simple_return` and becomes cash, a
   short one is closed at its last value.
2. The brake, if one is set, is pulled or let go by the value that is known when the signal is.
3. If a signal fills here, or the brake moved, the portfolio trades to its target, scaled to the leverage allowed, and
   pays for it. A name without a price cannot be traded: its weight stays, and if too little is left for the others,
   they shrink in proportion. A trade above `max_participation` is cut, to nothing where a name's volume is not known;
   if sales were cut, purchases shrink until long and short value together are no more than the target's.

Every cost comes off the whole portfolio in proportion, so weights after a trade are the targets. What is not invested
earns nothing. A portfolio that has lost everything stays at nothing.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from typing import NamedTuple

import numpy as np

from gnn_assets.backtests import compiled
from gnn_assets.backtests.bench import Bench
from gnn_assets.backtests.compiled import Books
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig
from gnn_assets.core.errors import ConfigError
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.models.bars import Bars


class Simulation(NamedTuple):
    """One portfolio through time; row t is the session at whose end the return was earned.

    Net is gross less commission, slippage, borrow and financing, all of them shares of the portfolio's value before the
    session.

    Args:
        gross_T: float64 (T,), simple return before costs.
        net_T: float64 (T,), simple return after costs.
        turnover_T: float64 (T,), value bought plus value sold at this session's fill, over the portfolio's value.
        commission_T: float64 (T,), commission and half spread.
        slippage_T: float64 (T,), slippage and impact.
        borrow_T: float64 (T,), paid for lent shares.
        financing_T: float64 (T,), paid for borrowed cash.
        long_T: float64 (T,), value held long after the fill, over the portfolio's value.
        short_T: float64 (T,), value sold short after the fill, likewise, as a positive number.
        held_T: int64 (T,), names held after the fill.
        without_impact_T: float64 (T,), the part of the turnover whose impact is not known and was left out.
        unsolved_T: bool (T,), signals for which the optimiser found nothing: they are what its last solution was.
    """

    gross_T: np.ndarray
    net_T: np.ndarray
    turnover_T: np.ndarray
    commission_T: np.ndarray
    slippage_T: np.ndarray
    borrow_T: np.ndarray
    financing_T: np.ndarray
    long_T: np.ndarray
    short_T: np.ndarray
    held_T: np.ndarray
    without_impact_T: np.ndarray
    unsolved_T: np.ndarray


class Variant(NamedTuple):
    """One portfolio of a sweep."""

    execution: ExecutionConfig
    config: BacktestsConfig


def simulate(
    scores_TxN: np.ndarray | None,
    held_returns_TxN: np.ndarray,
    *,
    execution: ExecutionConfig,
    config: BacktestsConfig,
    bars: Bars | None = None,
    sessions: Sequence[date] | None = None,
    sectors_TxN: np.ndarray | None = None,
    calendar: SessionCalendar | None = None,
) -> Simulation:
    """Trades the configured strategy on every rebalance row, the first row included.

    A signal of row d fills at the fill price of row d + fill lag and earns from the row after that. Between
    rebalances weights drift with prices. A row in which nothing is known that the strategy needs is no signal:
    nothing is traded.

    Args:
        scores_TxN: float (T, N), unitless, NaN where there is no score; None for a strategy that reads bars alone.
        held_returns_TxN: float (T, N), log return of who holds a name, from its last fill price, however long ago, to this
            row's; NaN without a price.
        execution: fill lag, costs, participation, delistings, leverage.
        config: strategy, rebalance calendar, optimiser, sizes, brake, sessions a year.
        bars: of the same names, up to the last row and from it or earlier: what strategies, optimisers and sizes read
            besides scores, and what impact and participation are taken from.
        sessions: the row axis; only needed by a rebalance by week or month and by sizes for gaps, and bars tell it too.
        sectors_TxN: int (T, N), the sector of each name, −1 where it is not known; only needed by a cap on sectors.
        calendar: the exchange's sessions; only needed by sizes for gaps.

    Known at: row t depends on scores and bars up to row t − fill lag and on returns up to row t.

    Raises:
        PluginError: if there is no such strategy.
        DataError: if scores or bars lack what the strategy needs, or do not fit the returns; if an optimiser or a size
            needs what is not there.
        ConfigError: if rows without dates are to be rebalanced by week or month.
    """
    return sweep(
        scores_TxN,
        held_returns_TxN,
        [Variant(execution, config)],
        threads=1,
        bars=bars,
        sessions=sessions,
        sectors_TxN=sectors_TxN,
        calendar=calendar,
    )[0]


def sweep(
    scores_TxN: np.ndarray | None,
    held_returns_TxN: np.ndarray,
    variants: Sequence[Variant],
    *,
    threads: int,
    bars: Bars | None = None,
    sessions: Sequence[date] | None = None,
    sectors_TxN: np.ndarray | None = None,
    calendar: SessionCalendar | None = None,
) -> tuple[Simulation, ...]:
    """Simulates many variants on the same returns: each is bit for bit what `simulate` makes of it alone.

    Scores are ranked once, whatever the number of names held, the rebalance calendar, the hysteresis and the costs.

    Args:
        variants: settings of each portfolio; all with the fill that the returns are of.
        threads: portfolios simulated at a time; their number changes no bit.

    The other arguments, what is known when and what is raised are those of `simulate`.
    """
    fills = sorted({variant.execution.fill for variant in variants})
    if len(fills) > 1:
        raise ConfigError.of(
            "execution.fill",
            expected="one fill for all variants: returns are of one",
            was=", ".join(fills),
            do="sweep each apart",
        )
    bench = Bench.of(
        scores_TxN,
        held_returns_TxN,
        bars=bars,
        sessions=sessions,
        sectors_TxN=sectors_TxN,
        calendar=calendar,
    )
    bench.rank([variant.config for variant in variants])
    runs = [partial(compiled.simulate, *bench.inputs(*variant)) for variant in variants]
    books = [_blank(len(held_returns_TxN)) for _ in variants]
    if threads == 1 or len(runs) == 1:
        for run, book in zip(runs, books, strict=True):
            run(book)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda run, book: run(book), runs, books))
    return tuple(Simulation(*book, bench.unsolved(*variant)) for variant, book in zip(variants, books, strict=True))


def _blank(n_sessions: int) -> Books:
    blank = {name: np.zeros(n_sessions, dtype=np.int64 if name == "held_T" else np.float64) for name in Books._fields}
    return Books(**blank)
