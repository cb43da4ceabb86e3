"""In a name while it is above the cloud and its conversion line above its base line.

References: N. Elliott, Ichimoku Charts, Harriman House 2007.
"""

import numpy as np
import polars as pl
import polars_talib as talib

from gnn_assets.backtests.signals import Signals
from gnn_assets.backtests.slots import slots
from gnn_assets.core.config import BacktestsConfig
from gnn_assets.models.features.indicators import indicators

NEEDS = ("returns", "high", "low", "close")
SIGNED = False


def target_weights(signals: Signals, rows_R: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Fills the slots of the names that close above both edges of the cloud, with the conversion line above the base line.

    A line is the middle of the highest high and the lowest low of its sessions. The cloud over a session was drawn
    `base` sessions before it: between the mean of both lines and the middle of `span` sessions.
    """
    own = config.strategies.ichimoku
    conversion, base, span = (
        talib.midprice(pl.col("high"), pl.col("low"), timeperiod=sessions)
        for sessions in (own.conversion, own.base, own.span)
    )
    edges = ((conversion + base) / 2).shift(own.base), span.shift(own.base)
    above = indicators(
        signals.bars,
        {"cloud": pl.col("close") - pl.max_horizontal(*edges), "base": conversion - base, "edge": edges[1]},
    )
    known_TxN = np.logical_and.reduce([np.isfinite(values_TxN) for values_TxN in above.values()])
    return slots((above["cloud"] > 0) & (above["base"] > 0), known_TxN, rows_R, cap=config.max_weight)
