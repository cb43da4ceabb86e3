"""In a name while its fast exponential average lies above the slow one.

References: G. Appel, Technical Analysis: Power Tools for Active Investors, FT Press 2005.
"""

import numpy as np
import polars as pl
import polars_talib as talib

from gnn_assets.backtests.signals import Signals
from gnn_assets.backtests.slots import slots
from gnn_assets.core.config import BacktestsConfig
from gnn_assets.models.features.indicators import indicators

NEEDS = ("returns",)
SIGNED = False


def target_weights(signals: Signals, rows_R: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Fills the slots of the names whose price average over `fast` sessions lies above that over `slow` ones."""
    own, close = config.strategies.ema_cross, pl.col("close")
    spans = {"fast": own.fast, "slow": own.slow}
    lines = indicators(signals.bars, {name: talib.ema(close, timeperiod=span) for name, span in spans.items()})
    distance_TxN = lines["fast"] - lines["slow"]
    return slots(distance_TxN > 0, np.isfinite(distance_TxN), rows_R, cap=config.max_weight)
