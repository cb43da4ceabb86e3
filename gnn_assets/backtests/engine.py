"""The portfolio a strategy would have held, and what it would have earned, net of costs.

Session by session, at the moment of the fill:

1. The weights that were held earn the return from the last fill price to this one; lent shares are paid for. A name
   without a price keeps its last value. When it has one again it moves by what it lost or gained over the gap. After
   `delisting.sessions` without one a long position takes `delisting.simple_return` and becomes cash, a short one is
   closed at its last value.
2. The brake, if one is set, is pulled or let go by the value that is known when the signal is.
3. If a signal fills here, or the brake moved, the portfolio trades to its target, scaled to the leverage allowed, and
   pays for it. A name without a price cannot be traded: its weight stays, and if too little is left for the others,
   they shrink in proportion. A trade above `max_participation` is cut; if sales were cut, purchases shrink until long
   and short value together are no more than the target's.

Every cost comes off the whole portfolio in proportion, so weights after a trade are the targets. What is not invested
earns nothing. A portfolio that has lost everything stays at nothing.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from types import ModuleType
from typing import NamedTuple

import numpy as np

from gnn_assets.backtests import compiled
from gnn_assets.backtests.calendar import rebalances
from gnn_assets.backtests.compiled import Books, Market, Picks, Ranks, Rules, Targets
from gnn_assets.backtests.costs import Costs
from gnn_assets.backtests.ranks import ranked
from gnn_assets.backtests.signals import Signals, known_rows, load_strategy
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig
from gnn_assets.core.errors import ConfigError, DataError
from gnn_assets.models.bars import Bars

# A fall that no portfolio takes: it has nothing to lose beyond everything.
_NEVER = 2.0


class Simulation(NamedTuple):
    """One portfolio through time; row t is the session at whose end the return was earned.

    Net is gross less commission, slippage and borrow, all of them shares of the portfolio's value before the session.

    Args:
        gross_T: float64 (T,), simple return before costs.
        net_T: float64 (T,), simple return after costs.
        turnover_T: float64 (T,), value bought plus value sold at this session's fill, over the portfolio's value.
        commission_T: float64 (T,), commission and half spread.
        slippage_T: float64 (T,), slippage and impact.
        borrow_T: float64 (T,), paid for lent shares.
        long_T: float64 (T,), value held long after the fill, over the portfolio's value.
        short_T: float64 (T,), value sold short after the fill, likewise, as a positive number.
        held_T: int64 (T,), names held after the fill.
        without_impact_T: float64 (T,), the part of the turnover whose impact is not known and was left out.
    """

    gross_T: np.ndarray
    net_T: np.ndarray
    turnover_T: np.ndarray
    commission_T: np.ndarray
    slippage_T: np.ndarray
    borrow_T: np.ndarray
    long_T: np.ndarray
    short_T: np.ndarray
    held_T: np.ndarray
    without_impact_T: np.ndarray


class Variant(NamedTuple):
    """One portfolio of a sweep."""

    execution: ExecutionConfig
    config: BacktestsConfig


def simulate(
    scores_TxN: np.ndarray | None,
    fill_returns_TxN: np.ndarray,
    *,
    execution: ExecutionConfig,
    config: BacktestsConfig,
    gap_returns_TxN: np.ndarray | None = None,
    bars: Bars | None = None,
    sessions: Sequence[date] | None = None,
) -> Simulation:
    """Trades the configured strategy on every rebalance row, the first row included.

    A signal of row d fills at the fill price of row d + fill lag and earns from the row after that. Between
    rebalances weights drift with prices. A row in which nothing is known that the strategy needs is no signal:
    nothing is traded.

    Args:
        scores_TxN: float (T, N), unitless, NaN where there is no score; None for a strategy that reads bars alone.
        fill_returns_TxN: float (T, N), log return from the previous row's fill price to this row's; NaN without a price.
        execution: fill lag, costs, participation, delistings, leverage.
        config: strategy, rebalance calendar, brake, sessions a year.
        gap_returns_TxN: float (T, N), log return from the last fill price before a gap to this row's, the first after
            it; NaN elsewhere. Without it a name that comes back trades from its second session on, and what it lost or
            gained over the gap is not seen.
        bars: of the same names, up to the last row and from it or earlier: what strategies read besides scores, and
            what impact and participation are taken from.
        sessions: the row axis; only a rebalance by week or month needs it, and bars tell it too.

    Known at: row t depends on scores and bars up to row t − fill lag and on returns up to row t.

    Raises:
        PluginError: if there is no such strategy.
        DataError: if scores or bars lack what the strategy needs, or do not fit the returns.
        ConfigError: if rows without dates are to be rebalanced by week or month.
    """
    return sweep(
        scores_TxN,
        fill_returns_TxN,
        [Variant(execution, config)],
        threads=1,
        gap_returns_TxN=gap_returns_TxN,
        bars=bars,
        sessions=sessions,
    )[0]


def sweep(
    scores_TxN: np.ndarray | None,
    fill_returns_TxN: np.ndarray,
    variants: Sequence[Variant],
    *,
    threads: int,
    gap_returns_TxN: np.ndarray | None = None,
    bars: Bars | None = None,
    sessions: Sequence[date] | None = None,
) -> tuple[Simulation, ...]:
    """Simulates many variants on the same returns: each is bit for bit what `simulate` makes of it alone.

    Scores are ranked once, whatever the number of names held, the rebalance calendar, the hysteresis and the costs.

    Args:
        variants: settings of each portfolio; all with the fill that the returns are of.
        threads: portfolios simulated at a time; their number changes no bit.

    The other arguments, what is known when and what is raised are those of `simulate`.
    """
    for variant in variants:
        _require_unsized(variant.config)
    fills = sorted({variant.execution.fill for variant in variants})
    if len(fills) > 1:
        raise ConfigError.of(
            "execution.fill",
            expected="one fill for all variants: returns are of one",
            was=", ".join(fills),
            do="sweep each apart",
        )
    bench = _Bench.of(scores_TxN, fill_returns_TxN, gap_returns_TxN=gap_returns_TxN, bars=bars, sessions=sessions)
    bench.rank([variant.config for variant in variants])
    runs = [partial(compiled.simulate, *bench.inputs(variant)) for variant in variants]
    books = [_blank(len(fill_returns_TxN)) for _ in variants]
    if threads == 1 or len(runs) == 1:
        for run, book in zip(runs, books, strict=True):
            run(book)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda run, book: run(book), runs, books))
    return tuple(Simulation(*book) for book in books)


def _require_unsized(config: BacktestsConfig) -> None:
    """Refuses settings that no portfolio follows yet, instead of leaving them out in silence."""
    sizing = config.sizing
    asked = {
        "sizing.volatility": sizing.volatility,
        "sizing.name_cap": sizing.name_cap,
        "sizing.sector_cap": sizing.sector_cap,
        "sizing.correlation.limit": sizing.correlation.limit,
        "sizing.kelly.form": sizing.kelly.form,
        "sizing.gap.days": sizing.gap.days,
        "portfolios.method": config.portfolios.method,
    }
    for name, value in asked.items():
        if value is not None:
            raise ConfigError.of(
                f"backtests.{name}",
                expected="null: backtests do not follow it yet",
                was=value,
                do="leave it out; gnn_assets.backtests.sizing and portfolios can be called by hand",
            )


@dataclass(eq=False)
class _Bench:
    """What the variants of a sweep share, each part made once.

    Args:
        simple_TxN: float64, simple return from the last price; NaN without one.
        signals: over the axis of the bars, or of the returns without bars.
        first: row of the signals that is the first row of the returns.
        sessions: of the returns; None where nobody told.
    """

    simple_TxN: np.ndarray
    signals: Signals
    first: int
    sessions: Sequence[date] | None
    _signal_rows: dict[tuple, np.ndarray] = field(default_factory=dict)
    _markets: dict[int, Market] = field(default_factory=dict)
    _targets: dict[tuple, Targets] = field(default_factory=dict)
    _strategies: dict[str, ModuleType] = field(default_factory=dict)
    _ranks: Ranks | None = None

    @classmethod
    def of(
        cls,
        scores_TxN: np.ndarray | None,
        fill_returns_TxN: np.ndarray,
        *,
        gap_returns_TxN: np.ndarray | None,
        bars: Bars | None,
        sessions: Sequence[date] | None,
    ) -> "_Bench":
        shape = fill_returns_TxN.shape
        first = 0 if bars is None else len(bars.sessions) - shape[0]
        _require_shape("scores", scores_TxN, shape)
        _require_shape("gap_returns", gap_returns_TxN, shape)
        if bars is not None:
            _require_shape("bars", bars.close_return_TxN[max(first, 0) :], shape)
            sessions = bars.sessions[first:]
            if scores_TxN is not None:
                scores_TxN = np.concatenate([np.full((first, shape[1]), np.nan), scores_TxN])
        moves_TxN = fill_returns_TxN.astype(np.float64)
        if gap_returns_TxN is not None:
            moves_TxN = np.where(np.isnan(moves_TxN), gap_returns_TxN, moves_TxN)
        # One layout in memory for the compiled engine, whatever the caller's.
        return cls(np.ascontiguousarray(np.expm1(moves_TxN)), Signals(scores_TxN, bars), first, sessions)

    def rank(self, configs: Sequence[BacktestsConfig]) -> None:
        """Ranks the scores of every row that one of the configurations trades on."""
        wanted = [self.signal_rows(config) for config in configs if _picks(self._strategy(config), config)]
        if wanted:
            rows_T = np.zeros(len(self.simple_TxN) + self.first, dtype=bool)
            rows_T[self.first :] = np.logical_or.reduce(wanted)
            ranks = ranked(self.signals.scores_TxN, np.flatnonzero(rows_T))
            self._ranks = ranks._replace(row_T=ranks.row_T[self.first :])

    def inputs(self, variant: Variant) -> tuple[Market, Ranks, Targets, Picks, np.ndarray, Rules]:
        """What the compiled engine takes, books apart."""
        execution, config = variant
        picks = _picks(self._strategy(config), config)
        ranks, targets = _NO_RANKS, _NO_TARGETS
        if picks and self._ranks is not None:
            ranks = self._ranks
        else:
            targets = self._made_targets(config)
        return self._market(execution), ranks, targets, picks or _NO_PICKS, self.signal_rows(config), _rules(variant)

    def signal_rows(self, config: BacktestsConfig) -> np.ndarray:
        """Rows (T,) of the returns whose signal is traded."""
        key = (config.strategy, config.rebalance, config.rebalance_sessions)
        if key not in self._signal_rows:
            known_T = known_rows(self.signals, self._strategy(config))[self.first :]
            calendar_T = rebalances(len(self.simple_TxN), sessions=self.sessions, config=config)
            self._signal_rows[key] = known_T & calendar_T
        return self._signal_rows[key]

    def _strategy(self, config: BacktestsConfig) -> ModuleType:
        # Found once: a name is looked up in the folder of plug-ins.
        if config.strategy not in self._strategies:
            self._strategies[config.strategy] = load_strategy(config, self.signals)
        return self._strategies[config.strategy]

    def _market(self, execution: ExecutionConfig) -> Market:
        window = execution.liquidity_sessions
        if window not in self._markets:
            costs = Costs.of(self.signals.told_bars, execution=execution, n_sessions=len(self.simple_TxN))
            self._markets[window] = Market(self.simple_TxN, costs.traded_TxN, costs.volatility_TxN)
        return self._markets[window]

    def _made_targets(self, config: BacktestsConfig) -> Targets:
        """The strategy's weights, those that are not 0."""
        # Everything a strategy may read; the rest of the section is about scores and intervals.
        rows_T, names = self.signal_rows(config), ("strategy", "held", "hysteresis", "max_weight", "strategies")
        key = (*(getattr(config, name) for name in names), config.rebalance, config.rebalance_sessions)
        if key not in self._targets:
            rows_R = np.flatnonzero(rows_T)
            weights_RxN = self._strategy(config).target_weights(self.signals, rows_R + self.first, config=config)
            at_P, name_P = np.nonzero(weights_RxN)
            counts_T = np.zeros(len(rows_T) + 1, dtype=np.int64)
            np.add.at(counts_T, rows_R[at_P] + 1, 1)
            self._targets[key] = Targets(np.cumsum(counts_T), name_P.astype(np.int32), weights_RxN[at_P, name_P])
        return self._targets[key]


def _picks(strategy: ModuleType, config: BacktestsConfig) -> Picks | None:
    return strategy.picks(config) if hasattr(strategy, "picks") else None


def _rules(variant: Variant) -> Rules:
    execution, config = variant
    brake = config.brake
    nothing = np.empty((0, 0))
    costs = Costs(execution, nothing, nothing)
    return Rules(
        lag=execution.fill_lag,
        commission=costs.commission,
        slippage=costs.slippage,
        impact=execution.impact,
        capital=execution.capital,
        participation=execution.max_participation,
        borrow=costs.borrow(config),
        delisting_sessions=execution.delisting.sessions,
        delisting_return=execution.delisting.simple_return,
        leverage=execution.leverage,
        drawdown=_NEVER if brake.drawdown is None else brake.drawdown,
        exposure=brake.exposure,
        restore=brake.restore,
    )


def _blank(n_sessions: int) -> Books:
    blank = {name: np.zeros(n_sessions, dtype=np.int64 if name == "held_T" else np.float64) for name in Books._fields}
    return Books(**blank)


def _require_shape(name: str, values_TxN: np.ndarray | None, shape: tuple[int, ...]) -> None:
    if values_TxN is not None and values_TxN.shape != shape:
        raise DataError.of(
            name, expected=f"sessions and names of the returns, {shape}", was=values_TxN.shape, do="align them"
        )


_NO_RANKS = Ranks(np.empty(0, np.int32), np.empty((0, 0), np.int32), np.empty(0, np.int32), np.empty(0, bool))
_NO_TARGETS = Targets(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0))
_NO_PICKS = Picks(held=0, limit=0, long=0.0, short=0.0, cap=0.0)
