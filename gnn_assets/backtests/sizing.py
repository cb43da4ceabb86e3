"""From a strategy's weights to those that are traded: how much of them, and how much of each name.

In this order, each step only where its setting is not null:

1. Names that move as one count as one (`alike`).
2. The portfolio is scaled to the volatility wanted, as far as leverage lets, and cut or filled up to the caps by name
   and sector (`caps`). Where that made it wilder again, it is scaled down: caps and volatility both hold.
3. Past outcomes say how much of it is held (`kelly`).
4. Less is held over long closures of the exchange (`gaps`).

The last two only ever make a portfolio smaller, so caps, leverage and volatility hold at the end. The brake after
losses is the engine's: it must see the value of the portfolio.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np

from gnn_assets.backtests.alike import thinned
from gnn_assets.backtests.caps import capped
from gnn_assets.backtests.costs import Costs
from gnn_assets.backtests.gaps import gap_sizes
from gnn_assets.backtests.kelly import kelly_sizes
from gnn_assets.backtests.risk import covariance, measured
from gnn_assets.core.config import BacktestsConfig
from gnn_assets.core.errors import DataError
from gnn_assets.core.sessions import SessionCalendar


def sized(
    weights_RxN: np.ndarray,
    rows_R: np.ndarray,
    *,
    returns_TxN: np.ndarray,
    fill_returns_TxN: np.ndarray,
    costs: Costs,
    config: BacktestsConfig,
    scores_TxN: np.ndarray | None = None,
    sectors_RxN: np.ndarray | None = None,
    sessions: Sequence[date] | None = None,
    calendar: SessionCalendar | None = None,
) -> np.ndarray:
    """Sizes the weights of every traded row as `config.sizing` says; with nothing set they come back as they are.

    Args:
        weights_RxN: float64 (R, N), a strategy's weights, shares of the portfolio's value; finite.
        rows_R: int (R,), ascending rows of the returns that are traded.
        returns_TxN: float (T, N), close-to-close log returns, NaN where absent.
        fill_returns_TxN: float (T, N), log return from the previous row's fill price to this row's; NaN without one.
        costs: over the same rows.
        config: `sizing`, the cap on every name, the calendar of rebalances, sessions a year.
        scores_TxN: float (T, N), NaN where absent: which of two names that move as one is the better.
        sectors_RxN: int (R, N), the sector of each name, −1 where it is not known; only needed for a cap on sectors.
        sessions: the row axis; only needed for gaps.
        calendar: the exchange's sessions; likewise.

    Returns:
        float64 (R, N), finite.

    Known at: row r at the close of its session.

    Raises:
        DataError: if a setting needs sectors, sessions or a calendar that are not there.
    """
    sizing = config.sizing
    if sizing.sector_cap is not None and sectors_RxN is not None and sectors_RxN.size and (sectors_RxN < 0).all():
        raise DataError.of(
            "backtests.sizing.sector_cap",
            expected="the sector of each name",
            was="a universe that knows none of them",
            do="set it to null, or correct the universe file",
        )
    if sizing.correlation.limit is not None:
        weights_RxN = thinned(weights_RxN, rows_R, returns_TxN, scores_TxN=scores_TxN, config=sizing)
    if sizing.volatility is not None:
        leverage = costs.execution.leverage
        weights_RxN = steadied(
            weights_RxN, rows_R, returns_TxN, sectors_RxN=sectors_RxN, leverage=leverage, config=config
        )
    elif sizing.name_cap is not None or sizing.sector_cap is not None:
        weights_RxN = _capped(weights_RxN, sectors_RxN, config)
    if sizing.kelly.form is not None:
        sizes_R = kelly_sizes(weights_RxN, rows_R, fill_returns_TxN, costs=costs, config=config)
        weights_RxN = sizes_R[:, None] * weights_RxN
    if sizing.gap.days is not None:
        if sessions is None or calendar is None:
            raise DataError.of(
                "backtests.sizing.gap.days",
                expected="the sessions of the rows and their calendar",
                was="none",
                do="set it to null, or give them",
            )
        sizes_R = gap_sizes(
            rows_R, returns_TxN, sessions=sessions, calendar=calendar, execution=costs.execution, config=config
        )
        weights_RxN = sizes_R[:, None] * weights_RxN
    return weights_RxN


def steadied(
    weights_RxN: np.ndarray,
    rows_R: np.ndarray,
    returns_TxN: np.ndarray,
    *,
    sectors_RxN: np.ndarray | None,
    leverage: float,
    config: BacktestsConfig,
) -> np.ndarray:
    """Weights within the caps whose forecast volatility is the one wanted, or less where leverage or caps forbid more.

    A name whose risk cannot be told, for too few returns or for a price that stands still, is not held. A portfolio
    that is not expected to move at all is scaled to the leverage.

    Args:
        weights_RxN: float64 (R, N), shares of the portfolio's value, negative for short positions.
        rows_R: int (R,), rows of the returns.
        returns_TxN: float (T, N), close-to-close log returns, NaN where absent.
        sectors_RxN: int (R, N), the sector of each name; only read where sectors have a cap.
        leverage: most of long and short value together (share of the portfolio).
        config: `sizing`, the cap on every name, sessions a year.

    Returns:
        float64 (R, N).

    Known at: row r at the close of its session.
    """
    target, forecast = config.sizing.volatility, config.sizing.forecast
    assert target is not None
    steadied_RxN = np.zeros(weights_RxN.shape)
    for place, row in enumerate(rows_R):
        held_N = (weights_RxN[place] != 0.0) & measured(returns_TxN, int(row), config=forecast)
        names_M = np.flatnonzero(held_N)
        if not len(names_M):
            continue
        covariance_MxM = config.sessions_per_year * covariance(returns_TxN, int(row), names_M, config=forecast)
        weights_N = np.where(held_N, weights_RxN[place], 0.0)
        most = leverage / np.abs(weights_N).sum()
        weights_N *= min(_times(target, weights_N[names_M], covariance_MxM), most)
        sectors_1xN = None if sectors_RxN is None else sectors_RxN[place : place + 1]
        weights_N = _capped(weights_N[None], sectors_1xN, config)[0]
        steadied_RxN[place] = weights_N * min(_times(target, weights_N[names_M], covariance_MxM), 1.0)
    return steadied_RxN


def _times(target: float, weights_M: np.ndarray, covariance_MxM: np.ndarray) -> float:
    """How many times the weights have the volatility wanted."""
    variance = float(weights_M @ covariance_MxM @ weights_M)
    return target / np.sqrt(variance) if variance > 0.0 else np.inf


def _capped(weights_RxN: np.ndarray, sectors_RxN: np.ndarray | None, config: BacktestsConfig) -> np.ndarray:
    name_cap = config.max_weight if config.sizing.name_cap is None else config.sizing.name_cap
    return capped(weights_RxN, sectors_RxN, name_cap=name_cap, sector_cap=config.sizing.sector_cap)
