"""Indicators chartists read, from the adjusted close, by TA-Lib.

References:
    J. W. Wilder, New Concepts in Technical Trading Systems, Trend Research 1978 (RSI, ADX).
    G. Appel, Technical Analysis, FT Press 2005 (MACD). J. Bollinger, Bollinger on Bollinger Bands, 2001.
"""

import numpy as np
import polars as pl
import polars_talib as talib

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named
from gnn_assets.models.graph import Graph

NEEDS = ()
GRAPH = False


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """RSI, MACD over price, place in the Bollinger bands."""
    del graph, config
    returns = bars.close_return_TxN
    # A price beyond any number is no error: it has no indicators.
    with np.errstate(over="ignore"):
        price = np.exp(np.cumsum(np.nan_to_num(returns), axis=0))
    frame = pl.DataFrame(price, schema=[str(column) for column in range(price.shape[1])])
    close = pl.all()
    made = {
        "rsi3": frame.select(talib.rsi(close, timeperiod=3)),
        "rsi14": frame.select(talib.rsi(close, timeperiod=14)),
    }
    return {name: np.where(np.isfinite(returns), values.to_numpy(), np.nan) for name, values in made.items()}
