"""A strategy's weights on their way to the engine: shared out by an optimiser, then sized, each where it is asked for.

Both read what is known at the close of the traded row, and nothing of the portfolio's own value: the engine's brake
does. They read scores only where the strategy does: one of bars alone holds the same, whatever model stands beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from types import ModuleType
from typing import NamedTuple

import numpy as np

from gnn_assets.backtests.costs import Costs
from gnn_assets.backtests.portfolios import optimised
from gnn_assets.backtests.signals import Signals
from gnn_assets.backtests.sizing import sized
from gnn_assets.core.config import BacktestsConfig
from gnn_assets.core.errors import DataError
from gnn_assets.core.sessions import SessionCalendar

_SCORES = "scores"


@dataclass(frozen=True, eq=False)
class Known:
    """What optimisers and sizes are made from, over S sessions and N names.

    Args:
        signals: scores and bars; bars may begin long before the first traded row.
        fill_returns_SxN: float64, log return from the last fill price there was to this row's; NaN without one.
        costs: over the same rows.
        sessions: the row axis; None where nobody told.
        calendar: the exchange's sessions; only needed for gaps.

    Known at: row d at the close of session d.
    """

    signals: Signals
    fill_returns_SxN: np.ndarray
    costs: Costs
    sessions: Sequence[date] | None
    calendar: SessionCalendar | None


class Shaped(NamedTuple):
    """Weights as they are traded.

    Args:
        weights_RxN: float64 (R, N), shares of the portfolio's value.
        unsolved_R: bool (R,), rows for which the optimiser found nothing: they hold what the last solved one held.
    """

    weights_RxN: np.ndarray
    unsolved_R: np.ndarray


def shapes(config: BacktestsConfig) -> bool:
    """Whether anything is made of a strategy's weights before they are traded."""
    return any(value is not None for value in _asked(config).values())


def unshaped(config: BacktestsConfig) -> BacktestsConfig:
    """The settings with which a strategy's weights are traded as they are: the brake is off, too."""
    sizing = config.sizing
    plain = {
        "volatility": None,
        "name_cap": None,
        "sector_cap": None,
        "correlation": sizing.correlation.model_copy(update={"limit": None}),
        "kelly": sizing.kelly.model_copy(update={"form": None}),
        "gap": sizing.gap.model_copy(update={"days": None}),
    }
    return config.model_copy(
        update={
            "sizing": sizing.model_copy(update=plain),
            "portfolios": config.portfolios.model_copy(update={"method": None}),
            "brake": config.brake.model_copy(update={"drawdown": None}),
        }
    )


def require_shapeable(strategy: ModuleType, signals: Signals, *, config: BacktestsConfig) -> None:
    """Refuses what can be told before anything is traded.

    Raises:
        DataError: if an optimiser is to share out short positions, or max_ratio to do so without scores; if returns are
            to be read where there are no bars.
    """
    method = config.portfolios.method
    if method is not None and strategy.SIGNED:
        raise DataError.of(
            "backtests.portfolios.method",
            expected="a strategy that is long only",
            was=f"{method} of {config.strategy}",
            do="set it to null, or choose another backtests.strategy",
        )
    if method == "max_ratio" and _SCORES not in strategy.NEEDS:
        raise DataError.of(
            "backtests.portfolios.method",
            expected="a strategy that reads scores, for max_ratio",
            was=config.strategy,
            do="choose another method, or another backtests.strategy",
        )
    if signals.told_bars is None:
        asked = _asked(config)
        for name in ("portfolios.method", "sizing.volatility", "sizing.correlation.limit", "sizing.gap.days"):
            if asked[name] is not None:
                raise DataError.of(
                    f"backtests.{name}",
                    expected="bars, for the close-to-close returns it reads",
                    was="none",
                    do="set it to null, or give them",
                )


def shaped(
    weights_RxN: np.ndarray,
    rows_R: np.ndarray,
    strategy: ModuleType,
    *,
    known: Known,
    sectors_RxN: np.ndarray | None,
    config: BacktestsConfig,
) -> Shaped:
    """What is traded of a strategy's weights.

    Args:
        weights_RxN: float64 (R, N), a strategy's weights, shares of the portfolio's value; finite.
        rows_R: int (R,), ascending rows of what is known that are traded.
        strategy: whose weights these are.
        known: what optimisers and sizes are made from.
        sectors_RxN: int (R, N), the sector of each name, −1 where it is not known; only needed for a cap on sectors.
        config: `portfolios` and `sizing`.

    Known at: row r at the close of its session.

    Raises:
        DataError: if a setting needs what is not there.
    """
    require_shapeable(strategy, known.signals, config=config)
    scores_SxN = known.signals.told_scores_TxN if _SCORES in strategy.NEEDS else None
    bars, unsolved_R = known.signals.told_bars, np.zeros(len(rows_R), dtype=bool)
    # Without bars nothing is asked for that reads them.
    returns_SxN = known.fill_returns_SxN if bars is None else bars.close_return_TxN
    if config.portfolios.method is not None:
        weights_RxN, failures = optimised(
            weights_RxN, rows_R, returns_SxN, costs=known.costs, config=config, scores_TxN=scores_SxN
        )
        unsolved_R[list(failures)] = True
    weights_RxN = sized(
        weights_RxN,
        rows_R,
        returns_TxN=returns_SxN,
        fill_returns_TxN=known.fill_returns_SxN,
        costs=known.costs,
        config=config,
        scores_TxN=scores_SxN,
        sectors_RxN=sectors_RxN,
        sessions=known.sessions,
        calendar=known.calendar,
    )
    return Shaped(weights_RxN, unsolved_R)


def _asked(config: BacktestsConfig) -> dict[str, object]:
    sizing = config.sizing
    return {
        "portfolios.method": config.portfolios.method,
        "sizing.correlation.limit": sizing.correlation.limit,
        "sizing.volatility": sizing.volatility,
        "sizing.name_cap": sizing.name_cap,
        "sizing.sector_cap": sizing.sector_cap,
        "sizing.kelly.form": sizing.kelly.form,
        "sizing.gap.days": sizing.gap.days,
    }
