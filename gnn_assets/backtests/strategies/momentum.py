"""The winners of the past year, its last month left out.

References: N. Jegadeesh, S. Titman, Returns to Buying Winners and Selling Losers, Journal of Finance 48 (1993).
"""

import numpy as np

from gnn_assets.backtests.past_returns import past_return
from gnn_assets.backtests.ranks import picked, picks_of
from gnn_assets.backtests.signals import Signals
from gnn_assets.core.config import BacktestsConfig

NEEDS = ("returns",)
SIGNED = False


def target_weights(signals: Signals, rows_R: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Holds the `config.held` names with the highest return over `window` sessions without the newest `skip`."""
    own = config.strategies.momentum
    scores_TxN = past_return(signals.bars, own.window - own.skip, skip=own.skip)
    picks = picks_of(held=config.held, hysteresis=config.hysteresis, cap=config.max_weight)
    return picked(scores_TxN, rows_R, picks)
