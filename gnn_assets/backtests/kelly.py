"""Kelly sizes: what share of the portfolio past outcomes speak for.

    binary     f = p − (1 − p) / b, with p the share of wins and b the mean win over the mean loss
    moments    f = mean / variance

The first is the share of the portfolio to put at risk when a loss loses all that was put up, the second the size that
makes wealth grow fastest when outcomes are small and near a normal distribution. Both are of the estimate, which
flatters: a fraction of it is taken, and never more than a cap. A size is never below 0: to bet against a strategy is
another strategy.

References:
    J. L. Kelly, A New Interpretation of Information Rate, Bell System Technical Journal 35(4), 1956.
    E. O. Thorp, The Kelly Criterion in Blackjack, Sports Betting, and the Stock Market, 2006, ch. 7.
    L. MacLean, E. Thorp, W. Ziemba, Good and bad properties of the Kelly criterion, Quantitative Finance 10(7), 2010.
"""

import numpy as np

from gnn_assets.backtests.costs import Costs
from gnn_assets.backtests.holding import held
from gnn_assets.core.config import BacktestsConfig, KellyConfig


def kelly_size(outcomes_K: np.ndarray, *, config: KellyConfig) -> float:
    """The share of the strategy's weights that past outcomes speak for, between 0 and the cap.

    Args:
        outcomes_K: float (K,), simple returns of past trades; those that are not finite do not count.
        config: form, fraction, cap, fewest outcomes.

    Returns:
        0 with too few outcomes. Else, before fraction and cap: `binary`: 1 with wins alone, 0 without a win; breaking
        even is neither win nor loss, and is not counted. `moments`: outcomes that do not vary are no risk, and speak
        for all there is if they are gains, for nothing if they are not.
    """
    outcomes_K = outcomes_K[np.isfinite(outcomes_K)]
    if config.form == "binary":
        outcomes_K = outcomes_K[outcomes_K != 0.0]
    if len(outcomes_K) < config.min_outcomes:
        return 0.0
    full = _binary(outcomes_K) if config.form == "binary" else _moments(outcomes_K)
    return min(config.fraction * max(full, 0.0), config.cap)


def kelly_sizes(
    weights_RxN: np.ndarray,
    rows_R: np.ndarray,
    fill_returns_TxN: np.ndarray,
    *,
    costs: Costs,
    config: BacktestsConfig,
) -> np.ndarray:
    """The Kelly size of each row (R,), from what earlier rows earned net of costs by then.

    Args:
        weights_RxN: float64 (R, N), what each row would hold at full size.
        rows_R: int (R,), ascending rows of the returns.
        fill_returns_TxN: float (T, N), log return from the previous row's fill price to this row's; NaN without one.
        costs: over the rows of the returns.
        config: `sizing.kelly`, sessions a year.

    Known at: row r depends on outcomes that ended by the close of its own session: those of rows whose successor was
        filled by then.
    """
    outcomes_R = outcomes(weights_RxN, rows_R, fill_returns_TxN, costs=costs, config=config)
    ends_R = np.append(rows_R[1:] + costs.execution.fill_lag, np.iinfo(np.int64).max)
    return np.array([kelly_size(outcomes_R[ends_R <= row], config=config.sizing.kelly) for row in rows_R])


def outcomes(
    weights_RxN: np.ndarray,
    rows_R: np.ndarray,
    fill_returns_TxN: np.ndarray,
    *,
    costs: Costs,
    config: BacktestsConfig,
) -> np.ndarray:
    """What each row earned from its fill to the next row's, net of the costs of its trades, of lent shares and of borrowed cash.

    The arguments are those of `kelly_sizes`.

    Returns:
        float64 (R,), simple returns; NaN for the last row, and where the next fill is beyond the returns.

    Known at: the close of the session of the next row's fill.
    """
    execution = costs.execution
    outcomes_R, before_N = np.full(len(rows_R), np.nan), np.zeros(weights_RxN.shape[1])
    for place, (row, end) in enumerate(zip(rows_R[:-1], rows_R[1:] + execution.fill_lag, strict=True)):
        if end >= len(fill_returns_TxN):
            break
        weights_N, start = weights_RxN[place], row + execution.fill_lag
        trades_N = execution.capital * np.abs(weights_N - before_N)
        paid = costs.of_trades(trades_N, row=row).sum() / execution.capital
        lent, borrowed = np.maximum(-weights_N, 0.0).sum(), max(np.maximum(weights_N, 0.0).sum() - 1.0, 0.0)
        paid += (lent * costs.borrow(config) + borrowed * costs.financing(config)) * (end - start)
        gain, before_N = held(weights_N, fill_returns_TxN[start + 1 : end + 1])
        outcomes_R[place] = gain - paid
    return outcomes_R


def _binary(outcomes_K: np.ndarray) -> float:
    wins_W, losses_L = outcomes_K[outcomes_K > 0.0], -outcomes_K[outcomes_K < 0.0]
    if not len(losses_L):
        return 1.0
    if not len(wins_W):
        return 0.0
    share = len(wins_W) / len(outcomes_K)
    return float(share - (1.0 - share) * losses_L.mean() / wins_W.mean())


def _moments(outcomes_K: np.ndarray) -> float:
    mean, variance = outcomes_K.mean(), outcomes_K.var(ddof=1)
    # A mean rounds: of equal numbers the variance need not come out as 0.
    if variance == 0.0 or (outcomes_K == outcomes_K[0]).all():
        return np.inf if mean > 0.0 else 0.0
    return float(mean / variance)
