"""Bought below the lower band, sold at the mean.

References: J. Bollinger, Bollinger on Bollinger Bands, McGraw-Hill 2001.
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
    """Fills a name's slot from the session it closes below the lower band until one on which it is at the mean."""
    own, close = config.strategies.bollinger, pl.col("close")
    bands = talib.bbands(close, timeperiod=own.window, nbdevup=own.deviations, nbdevdn=own.deviations)
    lower, middle = bands.struct.field("lowerband"), bands.struct.field("middleband")
    above = indicators(signals.bars, {"lower": close - lower, "middle": close - middle})
    on_TxN = latched(above["lower"] < 0, above["middle"] >= 0)
    return slots(on_TxN, np.isfinite(above["lower"]), rows_R, cap=config.max_weight)
