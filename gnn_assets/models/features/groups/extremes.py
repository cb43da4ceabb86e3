"""How far the close stands below the trailing high and above the trailing low.

References:
    T. J. George, C.-Y. Hwang, The 52-Week High and Momentum Investing, Journal of Finance 59 (2004).
"""

import numpy as np

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named
from gnn_assets.models.features.trailing import trailing_highest, trailing_lowest
from gnn_assets.models.graph import Graph

NEEDS = ()
GRAPH = False
_SHORTEST = 5  # shorter ranges are the lagged returns told again


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """``below_high(w)`` and ``above_low(w)``: log distances to the extreme closes of the last w sessions, 0 or more."""
    del graph
    # Relative to its first session a symbol's log price is the sum of its returns; a gap counts as no move.
    price = np.cumsum(np.nan_to_num(bars.close_return_TxN), axis=0)
    price = np.where(np.isfinite(bars.close_return_TxN), price, np.nan)
    made = {}
    for window in config.windows:
        if window >= _SHORTEST:
            made[f"below_high{window}"] = trailing_highest(price, window) - price
            made[f"above_low{window}"] = price - trailing_lowest(price, window)
    return made
