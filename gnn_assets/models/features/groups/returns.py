"""Own returns: session by session, and summed over trailing windows.

References:
    N. Jegadeesh, Evidence of Predictable Behavior of Security Returns, Journal of Finance 45 (1990).
    N. Jegadeesh, S. Titman, Returns to Buying Winners and Selling Losers, Journal of Finance 48 (1993).
"""

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named, lags, sums
from gnn_assets.models.graph import Graph

NEEDS = ()
GRAPH = False


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """``return_lag(l)`` and ``return_sum(w)``: log returns."""
    del graph
    returns = bars.close_return_TxN
    return {**lags("return", returns, config.lags), **sums("return", returns, config)}
