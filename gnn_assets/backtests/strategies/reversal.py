"""The losers of the past days.

References: B. Lehmann, Fads, Martingales, and Market Efficiency, Quarterly Journal of Economics 105 (1990).
"""

import numpy as np

from gnn_assets.backtests.past_returns import past_return
from gnn_assets.backtests.ranks import picked, picks_of
from gnn_assets.backtests.signals import Signals
from gnn_assets.core.config import BacktestsConfig

NEEDS = ("returns",)
SIGNED = False


def target_weights(signals: Signals, rows_R: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Holds the `config.held` names with the lowest return over `window` sessions."""
    scores_TxN = -past_return(signals.bars, config.strategies.reversal.window, skip=0)
    picks = picks_of(held=config.held, hysteresis=config.hysteresis, cap=config.max_weight)
    return picked(scores_TxN, rows_R, picks)
