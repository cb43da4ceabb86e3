"""Correlation of what the market leaves unexplained.

Most of the correlation of two stocks is the market's. Each series is regressed on the equal-weight mean of the series
present, and the residuals are compared: edges are then sectors and pairs rather than everybody with a high beta, and
negative values are common. Everything is estimated inside the window alone. With few series a name is itself a good
part of the mean, and residuals are pushed towards opposites: two series alone always give -1. Cost: O(W N).

References:
    W. F. Sharpe (1963), A simplified model for portfolio analysis, Management Science 9: the one-factor model.
    C. Borghesi, M. Marsili, S. Miccichè (2007), Emergence of time-horizon invariant correlation structure in financial
    returns by subtraction of the market mode, Phys. Rev. E 76: networks of residuals from the mean of all stocks.
"""

import numpy as np
from jaxtyping import Float

from gnn_assets.core.config import GraphsConfig
from gnn_assets.graphs.window import Window, trailing

_CONSTANT = 1e-8  # a standard deviation below this share of the root mean square is none, as everywhere in the graphs
_LEAST_SESSIONS = 3  # a line passes through any two points


def lookback(config: GraphsConfig) -> int:
    """Trailing sessions read: the window."""
    return config.window


def window_at(returns_TxN: Float[np.ndarray, "T N"], row: int, *, config: GraphsConfig) -> Window:
    """Residuals of each series of the trailing window from its line on the market.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        row: the session.
        config: `window` is used.

    Known at: the close of the session.
    """
    return Window(_residuals(trailing(returns_TxN, row, length=config.window)))


def _residuals(rows_WxN: np.ndarray) -> np.ndarray:
    """Intercept and slope are taken over the rows a series is present on.

    Returns:
        float64 (W, N), in the units of the rows; NaN where missing and throughout a series with fewer than three
        rows or no change of the market over them; 0 throughout a series that the line leaves nothing of.
    """
    present_WxN = np.isfinite(rows_WxN)
    count_N = np.maximum(present_WxN.sum(axis=0), 1)
    values_WxN = np.where(present_WxN, rows_WxN, 0.0)
    present_W = np.maximum(present_WxN.sum(axis=1), 1)
    market_W = values_WxN.sum(axis=1) / present_W
    market_WxN = np.where(present_WxN, market_W[:, None], 0.0)
    factor_WxN = np.where(present_WxN, market_WxN - market_WxN.sum(axis=0) / count_N, 0.0)
    own_WxN = np.where(present_WxN, values_WxN - values_WxN.sum(axis=0) / count_N, 0.0)
    variation_N = (factor_WxN**2).sum(axis=0)
    # Held against what it is a mean of: where returns cancel, rounding leaves a market of noise.
    power_W = (values_WxN**2).sum(axis=1) / present_W
    fitted_N = (count_N >= _LEAST_SESSIONS) & (variation_N > _CONSTANT**2 * (power_W @ present_WxN))
    slope_N = (factor_WxN * own_WxN).sum(axis=0) / np.where(fitted_N, variation_N, 1.0)
    residuals_WxN = own_WxN - slope_N * factor_WxN
    # What rounding leaves of a series that is constant or the market itself would correlate like any other.
    nothing_N = (residuals_WxN**2).sum(axis=0) <= _CONSTANT**2 * (values_WxN**2).sum(axis=0)
    residuals_WxN[:, nothing_N] = 0.0
    residuals_WxN[~(present_WxN & fitted_N)] = np.nan
    return residuals_WxN
