"""What the common directions leave of returns, and how a symbol hangs on them.

References:
    M. Avellaneda, J.-H. Lee, Statistical arbitrage in the US equities market, Quantitative Finance 10 (2010).
    D. Blitz, J. Huij, S. Lansdorp, M. Verbeek, Short-term residual reversal, Journal of Financial Markets 16 (2013).
"""

import numpy as np

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named, lags, sums
from gnn_assets.models.features.trailing import lagged, trailing_deviation, trailing_mean
from gnn_assets.models.graph import Graph

NEEDS = ()
GRAPH = True


def features(bars: Bars, graph: Graph, config: FeaturesConfig) -> Named:
    """Residual returns, session by session and summed; the last ones over their deviation; their autocorrelation.

    ``reversal_drive`` is the residual's trailing first autocorrelation times its last value: what the symbol's own
    habit says of the next one.
    """
    residual = graph.residual_TxN
    share = config.min_share
    deviation = trailing_deviation(residual, config.long, min_share=share)
    total = trailing_deviation(bars.close_return_TxN, config.long, min_share=share)
    product = trailing_mean(residual * lagged(residual, 1), config.long, min_share=share)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = residual / deviation
        autocorrelation = product / np.square(deviation)
        own_share = deviation / total
    return {
        **lags("residual", residual, config.lags),
        **sums("residual", residual, config),
        **lags("scaled_residual", scaled, 1),
        "residual_deviation": deviation,
        "residual_share": own_share,
        "autocorrelation": autocorrelation,
        "reversal_drive": autocorrelation * residual,
        "residual_weekly": trailing_mean(
            np.stack([lagged(residual, back) for back in (4, 9, 14, 19)]).reshape(4, -1), 4, min_share=0.5
        )[-1].reshape(residual.shape),
        "beta": _beta(bars, graph),
    }


def _beta(bars: Bars, graph: Graph) -> np.ndarray:
    beta = np.full(bars.close_return_TxN.shape, np.nan)
    for row, session in enumerate(bars.sessions):
        fit = graph.factors.known_at(session)
        if fit is not None:
            beta[row] = graph.factors.beta_RxN[fit]
    return beta
