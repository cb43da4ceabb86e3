"""What happened inside the session and over night: where the return was made, and where the close came to lie.

References:
    D. Lou, C. Polk, S. Skouras, A tug of war: Overnight versus intraday expected returns, Journal of Financial
    Economics 134 (2019).
"""

import numpy as np

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named, lags
from gnn_assets.models.features.trailing import trailing_deviation, trailing_mean, trailing_sum
from gnn_assets.models.graph import Graph

NEEDS = ("open", "high", "low", "close")
GRAPH = False


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """Overnight and intraday returns, the close's place in the range, shadows, ranges against their own past."""
    del graph
    share, short, long = config.min_share, config.short, config.long
    intraday, overnight, width = bars.intraday_TxN, bars.overnight_TxN, bars.range_TxN
    location = bars.close_location_TxN
    sums = {
        f"{name}_sum{window}": trailing_sum(values, window, min_share=share)
        for name, values in (("intraday", intraday), ("overnight", overnight))
        for window in (5, short, long)
    }
    usual = trailing_mean(width, long, min_share=share)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            **lags("intraday", intraday, 2),
            **lags("overnight", overnight, 2),
            **lags("location", location, 2),
            **sums,
            "location_mean5": trailing_mean(location, 5, min_share=share),
            f"location_mean{short}": trailing_mean(location, short, min_share=share),
            "location_width": location * width,
            "tug_of_war": sums[f"overnight_sum{short}"] - sums[f"intraday_sum{short}"],
            "bounce_share": trailing_mean(width, short, min_share=share)
            / trailing_deviation(bars.close_return_TxN, short, min_share=share),
            "range_lag0": width,
            "range_ratio": width / usual,
            "range_ratio5": trailing_mean(width, 5, min_share=share) / usual,
            f"range_mean{short}": trailing_mean(width, short, min_share=share),
            "body_share": intraday / np.where(width > 0, width, np.nan),
        }
