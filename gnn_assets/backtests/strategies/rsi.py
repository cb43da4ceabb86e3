"""Bought when it fell too far too fast, sold when it rose so.

References: J. W. Wilder, New Concepts in Technical Trading Systems, Trend Research 1978.
"""

import numpy as np
import polars as pl
import polars_talib as talib

from gnn_assets.backtests.signals import Signals
from gnn_assets.backtests.slots import latched, slots
from gnn_assets.core.config import BacktestsConfig
from gnn_assets.models.features.indicators import indicators

NEEDS = ("returns",)
SIGNED = False


def target_weights(signals: Signals, rows_R: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Fills a name's slot from the session its index is below `low` until one on which it is above `high`."""
    own = config.strategies.rsi
    rsi_TxN = indicators(signals.bars, {"rsi": talib.rsi(pl.col("close"), timeperiod=own.window)})["rsi"]
    on_TxN = latched(rsi_TxN < own.low, rsi_TxN > own.high)
    return slots(on_TxN, np.isfinite(rsi_TxN), rows_R, cap=config.max_weight)
