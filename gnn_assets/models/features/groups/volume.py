"""Traded value against its own past, and what it says of the return it came with.

References:
    J. Y. Campbell, S. J. Grossman, J. Wang, Trading Volume and Serial Correlation in Stock Returns, Quarterly Journal
    of Economics 108 (1993).
"""

import numpy as np

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named, lags
from gnn_assets.models.features.trailing import trailing_deviation, trailing_mean, trailing_sum
from gnn_assets.models.graph import Graph

NEEDS = ("close", "volume")
GRAPH = True


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """Volume surprises, their products with residual returns, size and trend of traded value."""
    share, short, long = config.min_share, config.short, config.long
    residual = graph.residual_TxN
    value = np.where(bars.value_TxN > 0, bars.value_TxN, np.nan)
    log_value = np.log(value)
    usual, spread = (statistic(log_value, long, min_share=share) for statistic in (trailing_mean, trailing_deviation))
    surprise = log_value - usual
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = surprise / spread
    mean5 = trailing_mean(surprise, 5, min_share=share)
    return {
        **lags("volume_surprise", surprise, 1),
        "volume_scaled": scaled,
        "volume_mean5": mean5,
        f"volume_mean{short}": trailing_mean(surprise, short, min_share=share),
        "volume_return": scaled * residual,
        "volume_return5": trailing_sum(scaled * residual, 5, min_share=share),
        f"volume_return{short}": trailing_sum(scaled * residual, short, min_share=share),
        "volume_mean5_return5": mean5 * trailing_sum(residual, 5, min_share=share),
        "value": usual,
        "value_spread": spread,
    }
