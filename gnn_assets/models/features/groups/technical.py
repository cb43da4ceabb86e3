"""Indicators chartists read, of the adjusted close, by TA-Lib.

References:
    J. W. Wilder, New Concepts in Technical Trading Systems, Trend Research 1978 (RSI).
    G. Appel, Technical Analysis: Power Tools for Active Investors, FT Press 2005 (MACD).
    J. Bollinger, Bollinger on Bollinger Bands, McGraw-Hill 2001.
"""

import polars as pl
import polars_talib as talib

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.indicators import indicators
from gnn_assets.models.features.series import Named
from gnn_assets.models.graph import Graph

NEEDS = ()
GRAPH = False


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """RSI, MACD histogram over price, place between the Bollinger bands; periods as their authors gave them."""
    del graph, config
    close = pl.col("close")
    bands, macd = talib.bbands(close, timeperiod=20), talib.macd(close)
    lower, upper = bands.struct.field("lowerband"), bands.struct.field("upperband")
    return indicators(
        bars,
        {
            "rsi3": talib.rsi(close, timeperiod=3),
            "rsi14": talib.rsi(close, timeperiod=14),
            "macd": macd.struct.field("macdhist") / close,
            "band_place": (close - lower) / (upper - lower),
        },
    )
