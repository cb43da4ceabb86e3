"""Indicators chartists read, of adjusted highs, lows, closes and volumes, by TA-Lib.

References:
    J. W. Wilder, New Concepts in Technical Trading Systems, Trend Research 1978 (ADX, true range).
    D. Lambert, Commodity Channel Index, Commodities 1980. G. Quong, A. Soudack, Volume-weighted RSI: money flow, 1989.
"""

import polars as pl
import polars_talib as talib

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.indicators import indicators
from gnn_assets.models.features.series import Named
from gnn_assets.models.graph import Graph

NEEDS = ("high", "low", "close", "volume")
GRAPH = False


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """Directional movement, true range over price, channel and money flow indices; periods as their authors gave them."""
    del graph, config
    bar = pl.col("high"), pl.col("low"), pl.col("close")
    return indicators(
        bars,
        {
            "adx": talib.adx(*bar, timeperiod=14),
            "true_range": talib.natr(*bar, timeperiod=14),
            "channel_index": talib.cci(*bar, timeperiod=20),
            "money_flow": talib.mfi(*bar, pl.col("volume"), timeperiod=14),
        },
    )
