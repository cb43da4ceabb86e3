"""The residual return taken apart: what came over night, and what inside the session.

References:
    D. Lou, C. Polk, S. Skouras, A tug of war: Overnight versus intraday expected returns, Journal of Financial
    Economics 134 (2019); here of what the common directions leave of each.
"""

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.graphs.factors import residual_returns
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named, lags
from gnn_assets.models.features.trailing import trailing_sum
from gnn_assets.models.graph import Graph

NEEDS = ("open", "close")
GRAPH = True


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """Residual intraday and overnight returns, session by session and summed."""
    made: Named = {}
    for name, values in (("residual_intraday", bars.intraday_TxN), ("residual_overnight", bars.overnight_TxN)):
        residual = residual_returns(values, graph.factors, sessions=bars.sessions)
        made |= lags(name, residual, 2)
        for window in (5, config.short):
            made[f"{name}_sum{window}"] = trailing_sum(residual, window, min_share=config.min_share)
    return made
