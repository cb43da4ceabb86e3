"""What followed unusual moves: news moves a price on, where a move without news turns back.

References:
    V. Bernard, J. Thomas, Post-Earnings-Announcement Drift, Journal of Accounting Research 27 (1989).
    W. Chan, Stock price reaction to news and no-news, Journal of Financial Economics 70 (2003).
"""

import numpy as np

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named
from gnn_assets.models.features.trailing import lagged, trailing_deviation, trailing_sum
from gnn_assets.models.graph import Graph

NEEDS = ()
GRAPH = True


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """Sums of residual moves larger than `event_size` deviations, and of the smaller ones."""
    del bars
    residual, share = graph.residual_TxN, config.min_share
    usual = lagged(trailing_deviation(residual, config.long, min_share=share), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = residual / usual
    event = np.abs(scaled) > config.event_size
    large = np.where(np.isfinite(residual), np.where(event, np.clip(scaled, -8, 8), 0.0), np.nan)
    small = np.where(np.isfinite(residual), np.where(event, 0.0, residual), np.nan)
    return {
        "event_lag0": large,
        **{
            f"event_sum{window}": trailing_sum(large, window, min_share=share)
            for window in (5, config.short, config.long)
        },
        **{f"quiet_sum{window}": trailing_sum(small, window, min_share=share) for window in (5, config.short)},
    }
