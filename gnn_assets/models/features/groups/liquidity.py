"""How dear it is to trade: price impact, bid-ask bounce, sessions without a move.

References:
    Y. Amihud, Illiquidity and stock returns, Journal of Financial Markets 5 (2002).
    R. Roll, A Simple Implicit Measure of the Effective Bid-Ask Spread, Journal of Finance 39 (1984).
    F. Abdi, A. Ranaldo, A Simple Estimation of Bid-Ask Spreads from Daily Close, High, and Low Prices, Review of
    Financial Studies 30 (2017).
"""

import numpy as np

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named
from gnn_assets.models.features.trailing import lagged, trailing_mean, trailing_sum
from gnn_assets.models.graph import Graph

NEEDS = ("high", "low", "close", "volume")
GRAPH = True


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """Illiquidity, its product with the last residual, the close's distance from the middle of the range."""
    residual, share = graph.residual_TxN, config.min_share
    short, long = config.short, config.long
    value = np.where(bars.value_TxN > 0, bars.value_TxN, np.nan)
    returns = bars.close_return_TxN
    impact = trailing_mean(np.abs(returns) / value, long, min_share=share)
    with np.errstate(invalid="ignore", divide="ignore"):
        log_impact = np.log(np.where(impact > 0, impact, np.nan))
    # Half the range times the place in it: how far the close stands above the middle (log).
    above = 0.5 * bars.close_location_TxN * bars.range_TxN
    # The bounce: the close's distance from the middle goes back at the next middle.
    bounce = trailing_mean(above * (lagged(above, 1) + returns - above), long, min_share=share)
    covariance = trailing_mean(returns * lagged(returns, 1), long, min_share=share)
    still = trailing_mean(np.where(np.isfinite(returns), (returns == 0).astype(float), np.nan), short, min_share=share)
    rank = _rank_share(log_impact)
    return {
        "illiquidity": log_impact,
        "illiquidity_return": rank * residual,
        "above_middle": above,
        "above_middle_lag1": lagged(above, 1),
        "bounce": bounce,
        "roll": -covariance,
        "still_share": still,
        "illiquidity_location": rank * above,
        "illiquidity_return5": rank * trailing_sum(residual, 5, min_share=share),
    }


def _rank_share(values_TxN: np.ndarray) -> np.ndarray:
    """Share of the session's symbols at or below each, between 0 and 1; NaN where absent."""
    order = np.argsort(np.argsort(np.where(np.isfinite(values_TxN), values_TxN, np.inf), axis=1), axis=1)
    count = np.maximum(np.isfinite(values_TxN).sum(axis=1, keepdims=True), 1)
    return np.where(np.isfinite(values_TxN), (order + 0.5) / count, np.nan)
