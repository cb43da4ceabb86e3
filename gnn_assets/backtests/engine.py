"""The portfolio a row of scores would have held, and what it would have earned, net of costs.

Session by session, at the moment of the fill: the weights that were held earn the return from the last fill price to
this one; then, if a signal fills here, the portfolio trades to its target and pays for it.
"""

from typing import NamedTuple

import numpy as np

from gnn_assets.core.config import BacktestsConfig, ExecutionConfig
from gnn_assets.core.plugins import load_plugin

STRATEGIES = "gnn_assets.backtests.strategies"


class Simulation(NamedTuple):
    """One portfolio through time; row t is the session at whose end the return was earned.

    Args:
        gross_T: float64 (T,), simple return before costs.
        net_T: float64 (T,), simple return after costs.
        turnover_T: float64 (T,), value bought plus value sold at this session's fill, over the portfolio's value.
    """

    gross_T: np.ndarray
    net_T: np.ndarray
    turnover_T: np.ndarray


def simulate(
    scores_TxN: np.ndarray, fill_returns_TxN: np.ndarray, *, execution: ExecutionConfig, config: BacktestsConfig
) -> Simulation:
    """Trades the configured strategy on every `rebalance_sessions`-th row of scores, starting with row 0.

    A signal of row d fills at the fill price of row d + fill lag and earns from the row after that. Between
    rebalances weights drift with prices. A row of scores without a single finite one is no signal: nothing is traded.
    A held name without a return is kept at its last value until it trades again, and can be sold at that value; what
    it lost or gained across a gap is not seen. The cost comes off the whole portfolio in proportion, so weights after
    a trade are the targets; what is not invested earns nothing.

    Args:
        scores_TxN: float (T, N), unitless, NaN where there is no score.
        fill_returns_TxN: float (T, N), log return from the previous row's fill price to this row's, NaN where missing.
        execution: fill lag and cost per side.
        config: strategy and rebalance interval.

    Known at: row t depends on scores up to row t − fill lag and on returns up to row t.
    """
    target_weights = load_plugin(STRATEGIES, config.strategy).target_weights
    simple_TxN = np.where(np.isnan(fill_returns_TxN), 0.0, np.expm1(fill_returns_TxN))
    sessions, names = scores_TxN.shape
    gross_T, turnover_T = np.zeros(sessions), np.zeros(sessions)
    weights_N = np.zeros(names)
    for t in range(sessions):
        gross_T[t] = weights_N @ simple_TxN[t]
        weights_N = weights_N * (1.0 + simple_TxN[t]) / (1.0 + gross_T[t])
        signal = t - execution.fill_lag
        if signal < 0 or signal % config.rebalance_sessions or not np.isfinite(scores_TxN[signal]).any():
            continue
        target_N = target_weights(scores_TxN[signal], config=config)
        turnover_T[t] = np.abs(target_N - weights_N).sum()
        weights_N = target_N
    cost_T = (1.0 + gross_T) * turnover_T * execution.cost_per_side
    return Simulation(gross_T=gross_T, net_T=gross_T - cost_T, turnover_T=turnover_T)
