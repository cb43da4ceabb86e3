"""How much a symbol moves, and how that has changed.

References:
    A. Ang, R. Hodrick, Y. Xing, X. Zhang, The Cross-Section of Volatility and Expected Returns, Journal of Finance 61
    (2006).
    T. Bali, N. Cakici, R. Whitelaw, Maxing out, Journal of Financial Economics 99 (2011): the largest return.
"""

import numpy as np

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named
from gnn_assets.models.features.trailing import (
    trailing_deviation,
    trailing_highest,
    trailing_lowest,
    trailing_mean,
)
from gnn_assets.models.graph import Graph

NEEDS = ()
GRAPH = False


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """Deviations over windows and their ratios, skewness, the largest and smallest return."""
    del graph
    returns, share = bars.close_return_TxN, config.min_share
    short, long = config.short, config.long
    week, month, quarter = (trailing_deviation(returns, window, min_share=share) for window in (5, short, long))
    cube = trailing_mean(returns**3, long, min_share=share)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "volatility5": week,
            f"volatility{short}": month,
            f"volatility{long}": quarter,
            "volatility_ratio5": week / quarter,
            f"volatility_ratio{short}": month / quarter,
            "skewness": cube / quarter**3,
            "scaled_return": returns / quarter,
            f"highest_return{short}": trailing_highest(returns, short),
            f"lowest_return{short}": trailing_lowest(returns, short),
        }
