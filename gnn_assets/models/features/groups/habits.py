"""What a symbol itself used to do after what it has just done.

Thin names bounce between bid and ask, others run on: how much of a move comes back is a trait of the symbol. Each
feature is the slope, through the origin and over a trailing window, of the symbol's residual return on what preceded it
by a session, times what stands there now: the habit's forecast of the next residual.

References:
    R. Roll, A Simple Implicit Measure of the Effective Bid-Ask Spread, Journal of Finance 39 (1984).
    D. Avramov, T. Chordia, A. Goyal, Liquidity and Autocorrelations in Individual Stock Returns, Journal of Finance 61
    (2006): reversal is the illiquid names'.
"""

import numpy as np

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.graphs.factors import residual_returns
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named
from gnn_assets.models.features.trailing import lagged, trailing_mean, trailing_sum
from gnn_assets.models.graph import Graph

NEEDS = ("open", "high", "low", "close")
GRAPH = True


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """``habit_x(w)``: slope over w sessions on x, times x; for moves over night and inside the session, and places."""
    residual = graph.residual_TxN
    deviation = np.sqrt(trailing_mean(np.square(residual), config.long, min_share=config.min_share))
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.clip(residual / deviation, -config.clip, config.clip)
    preceding = {
        "residual": np.clip(residual, -config.clip * deviation, config.clip * deviation),
        "intraday": residual_returns(bars.intraday_TxN, graph.factors, sessions=bars.sessions),
        "overnight": residual_returns(bars.overnight_TxN, graph.factors, sessions=bars.sessions),
        "location": bars.close_location_TxN,
        "middle": 0.5 * bars.close_location_TxN * bars.range_TxN,
        "before": lagged(residual, 1),
        "week": trailing_sum(residual, 5, min_share=config.min_share),
    }
    made: Named = {}
    for name, values in preceding.items():
        before = lagged(values, 1)
        for window in (config.long, config.windows[-1]):
            together = trailing_mean(scaled * before, window, min_share=config.min_share)
            square = trailing_mean(np.square(before), window, min_share=config.min_share)
            with np.errstate(invalid="ignore", divide="ignore"):
                slope = together / square
            made[f"habit_{name}{window}"] = slope * values
            if window != config.long:
                made[f"slope_{name}{window}"] = slope
    return made
