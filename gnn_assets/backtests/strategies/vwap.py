"""In a name while it closes above what was paid for it on average.

References: S. Berkowitz, D. Logue, E. Noser, The Total Cost of Transactions on the NYSE, Journal of Finance 43 (1988).
"""

import numpy as np
import polars as pl

from gnn_assets.backtests.signals import Signals
from gnn_assets.backtests.slots import slots
from gnn_assets.core.config import BacktestsConfig
from gnn_assets.models.features.indicators import indicators

NEEDS = ("returns", "high", "low", "close", "volume")
SIGNED = False


def target_weights(signals: Signals, rows_R: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Fills the slots of the names that close above their volume-weighted average price over `window` sessions.

    A session's price is the mean of its high, low and close.
    """
    window, close, volume = config.strategies.vwap.window, pl.col("close"), pl.col("volume")
    paid = (pl.col("high") + pl.col("low") + close) / 3 * volume
    average = paid.rolling_sum(window) / volume.rolling_sum(window)
    above_TxN = indicators(signals.bars, {"above": close / average - 1})["above"]
    return slots(above_TxN > 0, np.isfinite(above_TxN), rows_R, cap=config.max_weight)
