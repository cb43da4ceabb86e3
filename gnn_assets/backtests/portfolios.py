"""Portfolios by optimisation: a strategy says which names are held, an optimiser how much of each.

Each row that is traded, a session of a fold's test part, is optimised by itself on the trailing window known by its
close; nothing is fitted on the fold. All methods share the one forecast of risk (`risk`):

    min_variance      the least variance
    max_ratio         the largest ratio of expected return, net of the costs of getting there, to volatility
    hierarchical      hierarchical risk parity
    risk_budgeting    every name contributes the same to the variance

The expected return of a name is information coefficient x volatility x standard score: what a forecast is worth that
correlates so much with what follows.

Where an optimiser finds nothing, the row holds what the last solved one held, cash before the first, and says so.

References:
    R. Grinold, R. Kahn, Active Portfolio Management, McGraw-Hill 2000, ch. 10 (expected returns), 14 (costs).
"""

from typing import NamedTuple

import numpy as np

from gnn_assets.backtests.costs import Costs
from gnn_assets.backtests.holding import held
from gnn_assets.backtests.risk import covariance, measured
from gnn_assets.core.config import BacktestsConfig
from gnn_assets.core.errors import DataError, ModelError

# A tenth held ten times over is a whole, whatever its binary digits are.
_ROUNDING = 1e-12
_PERIODS_A_YEAR = {"week": 52, "month": 12}


class Optimised(NamedTuple):
    """Portfolios of traded rows.

    Args:
        weights_RxN: float64 (R, N), shares of the portfolio's value, at least 0.
        failures: row of the weights → why it was not solved, and holds what the last solved one held.
    """

    weights_RxN: np.ndarray
    failures: dict[int, str]


def optimised(
    weights_RxN: np.ndarray,
    rows_R: np.ndarray,
    returns_TxN: np.ndarray,
    *,
    costs: Costs,
    config: BacktestsConfig,
    scores_TxN: np.ndarray | None = None,
) -> Optimised:
    """Shares out what a strategy invests on each row among the names it holds there.

    Names whose risk cannot be told, for too few returns or for a price that stands still, are left out. A row in which the strategy holds nothing stays cash;
    names that together may not hold it all, for `max_weight`, hold as much as each may.

    Args:
        weights_RxN: float64 (R, N), a strategy's weights, shares of the portfolio's value, at least 0.
        rows_R: int (R,), ascending rows of the returns that are traded.
        returns_TxN: float (T, N), close-to-close log returns, NaN where absent.
        costs: over the same rows.
        config: `portfolios`, the forecast of risk, `max_weight`, the calendar of rebalances.
        scores_TxN: float (T, N), unitless, NaN where absent; only needed by max_ratio.

    Known at: row r at the close of its session; it depends on the given rows up to r.

    Raises:
        DataError: if weights are negative, or scores are lacking.
    """
    if (weights_RxN < 0.0).any():
        raise DataError.of(
            "backtests.portfolios.method",
            expected="a strategy that is long only",
            was="negative weights",
            do="set it to null, or choose another backtests.strategy",
        )
    if config.portfolios.method == "max_ratio" and scores_TxN is None:
        raise DataError.of(
            "backtests.portfolios.method", expected="scores, for max_ratio", was="none", do="choose another method"
        )
    made_RxN, failures = np.zeros(weights_RxN.shape), {}
    solved_N, at = np.zeros(weights_RxN.shape[1]), -1
    for place, row in enumerate(rows_R):
        before_N = held(solved_N, returns_TxN[at + 1 : row + 1])[1]
        try:
            solved_N = _row(
                weights_RxN[place], int(row), returns_TxN, before_N, costs=costs, config=config, scores_TxN=scores_TxN
            )
        except ModelError as error:
            failures[place] = str(error)
            # What was held stays, but for what the strategy holds no more: a name that left must be sold.
            solved_N = np.where(weights_RxN[place] > 0, solved_N, 0.0)
        made_RxN[place], at = solved_N, row
    return Optimised(made_RxN, failures)


def expected_returns(
    scores_N: np.ndarray, volatility_N: np.ndarray, *, horizon: int, information_coefficient: float
) -> np.ndarray:
    """Expected return of a session (N,), from scores of all names.

    Args:
        scores_N: float (N,), unitless, NaN where absent.
        volatility_N: float (N,), standard deviation of a session's return.
        horizon: sessions the scores look ahead: so long a return has root of so many times the volatility.
        information_coefficient: correlation of scores and returns over the horizon.

    Returns:
        float64 (N,), simple returns; 0 without a score, and where all scores are the same.
    """
    there_N = np.isfinite(scores_N)
    spread = scores_N[there_N].std() if there_N.any() else 0.0
    if not spread > 0.0:
        return np.zeros(len(scores_N))
    standard_N = np.where(there_N, (scores_N - scores_N[there_N].mean()) / spread, 0.0)
    return information_coefficient * volatility_N * standard_N / np.sqrt(horizon)


def _row(
    target_N: np.ndarray,
    row: int,
    returns_TxN: np.ndarray,
    before_N: np.ndarray,
    *,
    costs: Costs,
    config: BacktestsConfig,
    scores_TxN: np.ndarray | None,
) -> np.ndarray:
    from gnn_assets.backtests import optimisers

    weights_N, total = np.zeros(len(target_N)), target_N.sum()
    if total == 0.0:
        return weights_N
    forecast, method = config.sizing.forecast, config.portfolios.method
    assert method is not None
    names_M = np.flatnonzero((target_N > 0.0) & measured(returns_TxN, row, config=forecast))
    if not len(names_M):
        raise ModelError(f"{method}: no name whose risk can be told")
    cap = min(config.max_weight / total, 1.0)
    if cap * len(names_M) <= 1.0 + _ROUNDING:
        weights_N[names_M] = cap * total
        return weights_N
    covariance_MxM = covariance(returns_TxN, row, names_M, config=forecast)
    expected_N = np.zeros(len(target_N))
    if scores_TxN is not None:
        volatility_N = np.zeros(len(target_N))
        volatility_N[names_M] = np.sqrt(np.diag(covariance_MxM))
        expected_N = expected_returns(
            scores_TxN[row].astype(np.float64),
            volatility_N,
            horizon=costs.execution.horizon,
            information_coefficient=config.portfolios.information_coefficient,
        )
    problem = optimisers.Problem(
        method=method,
        covariance_MxM=covariance_MxM,
        expected_M=expected_N[names_M],
        cost_M=_rates(target_N, row, costs)[names_M] / _sessions_held(config),
        before_M=before_N[names_M] / total,
        max_weight=cap,
    )
    weights_N[names_M] = total * optimisers.solved(problem)
    return weights_N


def _rates(target_N: np.ndarray, row: int, costs: Costs) -> np.ndarray:
    """Cost of trading each name, as a share of the value, at the size the strategy would trade; 0 of other names."""
    values_N = costs.execution.capital * target_N
    return costs.of_trades(values_N, row=row) / np.where(values_N > 0.0, values_N, 1.0)


def _sessions_held(config: BacktestsConfig) -> float:
    """Sessions from one rebalance to the next, over which a trade's cost is spread."""
    if config.rebalance == "sessions":
        return config.rebalance_sessions
    return config.sessions_per_year / _PERIODS_A_YEAR[config.rebalance]
