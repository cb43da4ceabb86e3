"""What the variants of a sweep share, each part made once: returns, ranks, targets, liquidity, rows that are traded."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from types import ModuleType
from typing import NamedTuple

import numpy as np

from gnn_assets.backtests.calendar import rebalances
from gnn_assets.backtests.compiled import Market, Picks, Ranks, Rules, Targets
from gnn_assets.backtests.costs import Costs
from gnn_assets.backtests.ranks import ranked
from gnn_assets.backtests.shaping import Known, shaped, shapes
from gnn_assets.backtests.signals import Signals, known_rows, load_strategy
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig
from gnn_assets.core.errors import DataError
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.models.bars import Bars

# A fall that no portfolio takes: it has nothing to lose beyond everything.
_NEVER = 2.0
# Everything a strategy may read of the section; the rest is about what becomes of its weights, scores and intervals.
_STRATEGY = ("strategy", "held", "hysteresis", "max_weight", "strategies", "rebalance", "rebalance_sessions")
# Everything an optimiser or a size reads of it besides.
_SHAPE = ("portfolios", "sizing", "sessions_per_year")


class Made(NamedTuple):
    """Targets made before the simulation.

    Args:
        targets: weights that are not 0.
        unsolved_T: bool (T,), signals for which the optimiser found nothing.
    """

    targets: Targets
    unsolved_T: np.ndarray


@dataclass(eq=False)
class Bench:
    """What the variants of a sweep share.

    Args:
        moves_TxN: float64, log return from the last price there was; NaN without one.
        simple_TxN: float64, the same as simple returns.
        signals: over the axis of the bars, or of the returns without bars.
        first: row of the signals that is the first row of the returns.
        sessions: of the signals; None where nobody told.
        sectors_TxN: int, the sector of each name; None where nobody told.
        calendar: the exchange's sessions; likewise.
    """

    moves_TxN: np.ndarray
    simple_TxN: np.ndarray
    signals: Signals
    first: int
    sessions: Sequence[date] | None
    sectors_TxN: np.ndarray | None
    calendar: SessionCalendar | None
    _signal_rows: dict[tuple, np.ndarray] = field(default_factory=dict)
    _costs: dict[int, Costs] = field(default_factory=dict)
    _markets: dict[int, Market] = field(default_factory=dict)
    _weights: dict[tuple, np.ndarray] = field(default_factory=dict)
    _made: dict[tuple, Made] = field(default_factory=dict)
    _strategies: dict[str, ModuleType] = field(default_factory=dict)
    _ranks: Ranks | None = None

    @classmethod
    def of(
        cls,
        scores_TxN: np.ndarray | None,
        held_returns_TxN: np.ndarray,
        *,
        bars: Bars | None,
        sessions: Sequence[date] | None,
        sectors_TxN: np.ndarray | None,
        calendar: SessionCalendar | None,
    ) -> "Bench":
        """The bench of some returns; the arguments are those of `engine.simulate`.

        Raises:
            DataError: if they do not fit the returns.
        """
        shape = held_returns_TxN.shape
        first = 0 if bars is None else len(bars.sessions) - shape[0]
        for name, values_TxN in (("scores", scores_TxN), ("sectors", sectors_TxN)):
            _require_shape(name, values_TxN, shape)
        if bars is not None:
            _require_shape("bars", bars.close_return_TxN[max(first, 0) :], shape)
            sessions = bars.sessions
            if scores_TxN is not None:
                scores_TxN = np.concatenate([np.full((first, shape[1]), np.nan), scores_TxN])
        moves_TxN = held_returns_TxN.astype(np.float64)
        return cls(
            moves_TxN=moves_TxN,
            # One layout in memory for the compiled engine, whatever the caller's.
            simple_TxN=np.ascontiguousarray(np.expm1(moves_TxN)),
            signals=Signals(scores_TxN, bars),
            first=first,
            sessions=sessions,
            sectors_TxN=sectors_TxN,
            calendar=calendar,
        )

    def rank(self, configs: Sequence[BacktestsConfig]) -> None:
        """Ranks the scores of every row on which one of the configurations trades what it picks."""
        wanted = [self.signal_rows(config) for config in configs if self._picks(config)]
        if wanted:
            rows_T = np.zeros(len(self.simple_TxN) + self.first, dtype=bool)
            rows_T[self.first :] = np.logical_or.reduce(wanted)
            ranks = ranked(self.signals.scores_TxN, np.flatnonzero(rows_T))
            self._ranks = ranks._replace(row_T=ranks.row_T[self.first :])

    def inputs(
        self, execution: ExecutionConfig, config: BacktestsConfig
    ) -> tuple[Market, Ranks, Targets, Picks, np.ndarray, Rules]:
        """What the compiled engine takes, books apart."""
        picks, ranks, targets = self._picks(config), _NO_RANKS, _NO_TARGETS
        if picks and self._ranks is not None:
            ranks = self._ranks
        else:
            targets = self._made_targets(execution, config).targets
        rows_T, rules = self.signal_rows(config), _rules(execution, config)
        return self._market(execution), ranks, targets, picks or _NO_PICKS, rows_T, rules

    def unsolved(self, execution: ExecutionConfig, config: BacktestsConfig) -> np.ndarray:
        """Signals (T,) for which the optimiser found nothing."""
        if self._picks(config):
            return np.zeros(len(self.simple_TxN), dtype=bool)
        return self._made_targets(execution, config).unsolved_T

    def signal_rows(self, config: BacktestsConfig) -> np.ndarray:
        """Rows (T,) of the returns whose signal is traded."""
        key = (config.strategy, config.rebalance, config.rebalance_sessions)
        if key not in self._signal_rows:
            known_T = known_rows(self.signals, self._strategy(config))[self.first :]
            sessions = None if self.sessions is None else self.sessions[self.first :]
            self._signal_rows[key] = known_T & rebalances(len(self.simple_TxN), sessions=sessions, config=config)
        return self._signal_rows[key]

    def _strategy(self, config: BacktestsConfig) -> ModuleType:
        # Found once: a name is looked up in the folder of plug-ins.
        if config.strategy not in self._strategies:
            self._strategies[config.strategy] = load_strategy(config, self.signals)
        return self._strategies[config.strategy]

    def _picks(self, config: BacktestsConfig) -> Picks | None:
        """What the engine picks by itself; None where targets are made."""
        strategy = self._strategy(config)
        return strategy.picks(config) if hasattr(strategy, "picks") and not shapes(config) else None

    def _costs_of(self, execution: ExecutionConfig) -> Costs:
        """Costs over the axis of the signals."""
        window = execution.liquidity_sessions
        if window not in self._costs:
            n_sessions = len(self.simple_TxN) + self.first
            self._costs[window] = Costs.of(self.signals.told_bars, execution=execution, n_sessions=n_sessions)
        return replace(self._costs[window], execution=execution)

    def _market(self, execution: ExecutionConfig) -> Market:
        window = execution.liquidity_sessions
        if window not in self._markets:
            costs = self._costs_of(execution)
            self._markets[window] = Market(
                self.simple_TxN, costs.traded_TxN[self.first :], costs.volatility_TxN[self.first :]
            )
        return self._markets[window]

    def _strategy_weights(self, config: BacktestsConfig) -> np.ndarray:
        """The strategy's weights on the rows that are traded (R, N)."""
        key = tuple(getattr(config, name) for name in _STRATEGY)
        if key not in self._weights:
            rows_R = np.flatnonzero(self.signal_rows(config))
            self._weights[key] = self._strategy(config).target_weights(self.signals, rows_R + self.first, config=config)
        return self._weights[key]

    def _made_targets(self, execution: ExecutionConfig, config: BacktestsConfig) -> Made:
        key = tuple(getattr(config, name) for name in _STRATEGY)
        if shapes(config):
            # Costs, fill and leverage shape them too.
            key += (execution, *(getattr(config, name) for name in _SHAPE))
        if key not in self._made:
            rows_T, weights_RxN = self.signal_rows(config), self._strategy_weights(config)
            rows_R, unsolved_T = np.flatnonzero(rows_T), np.zeros(len(rows_T), dtype=bool)
            if shapes(config):
                weights_RxN, unsolved_T[rows_R] = shaped(
                    weights_RxN,
                    rows_R + self.first,
                    self._strategy(config),
                    known=self._known(execution),
                    sectors_RxN=None if self.sectors_TxN is None else self.sectors_TxN[rows_R],
                    config=config,
                )
            at_P, name_P = np.nonzero(weights_RxN)
            counts_T = np.zeros(len(rows_T) + 1, dtype=np.int64)
            np.add.at(counts_T, rows_R[at_P] + 1, 1)
            targets = Targets(np.cumsum(counts_T), name_P.astype(np.int32), weights_RxN[at_P, name_P])
            self._made[key] = Made(targets, unsolved_T)
        return self._made[key]

    def _known(self, execution: ExecutionConfig) -> Known:
        before_FxN = np.full((self.first, self.moves_TxN.shape[1]), np.nan)
        return Known(
            signals=self.signals,
            fill_returns_SxN=np.concatenate([before_FxN, self.moves_TxN]),
            costs=self._costs_of(execution),
            sessions=self.sessions,
            calendar=self.calendar,
        )


def _rules(execution: ExecutionConfig, config: BacktestsConfig) -> Rules:
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
        financing=costs.financing(config),
        delisting_sessions=execution.delisting.sessions,
        delisting_return=execution.delisting.simple_return,
        leverage=execution.leverage,
        drawdown=_NEVER if brake.drawdown is None else brake.drawdown,
        exposure=brake.exposure,
        restore=brake.restore,
    )


def _require_shape(name: str, values_TxN: np.ndarray | None, shape: tuple[int, ...]) -> None:
    if values_TxN is not None and values_TxN.shape != shape:
        raise DataError.of(
            name, expected=f"sessions and names of the returns, {shape}", was=values_TxN.shape, do="align them"
        )


_NO_RANKS = Ranks(np.empty(0, np.int32), np.empty((0, 0), np.int32), np.empty(0, np.int32), np.empty(0, bool))
_NO_TARGETS = Targets(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0))
_NO_PICKS = Picks(held=0, limit=0, long=0.0, short=0.0, cap=0.0)
