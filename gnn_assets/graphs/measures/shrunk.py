"""Ledoit-Wolf correlation: every value drawn towards zero by as much as the window's noise calls for.

With many more series than sessions the largest sample correlations are largely luck. The intensity estimates how much:
one number a session, so that the order of the neighbours stays Pearson's, while the threshold rises when the window
says little. Each value itself stays pairwise-complete; for the intensity alone, a missing cell counts as the series'
mean. Cost: O(W² N), by the W x W matrix of the sessions' products instead of the N x N one of the series'.

References:
    O. Ledoit, M. Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices, J. Multivariate
    Anal. 88, lemmas 3.2 to 3.5. The series are standardised here, which makes the target the identity of a
    correlation matrix.
"""

import numpy as np
from jaxtyping import Float

from gnn_assets.core.config import GraphsConfig
from gnn_assets.graphs.window import Window, trailing

_CONSTANT = 1e-8  # a standard deviation below this share of the root mean square is none, as everywhere in the graphs
# Nothing but noise: the values vanish, and keep their order.
_MOST = float(np.nextafter(1.0, 0.0))


def lookback(config: GraphsConfig) -> int:
    """Trailing sessions read: the window."""
    return config.window


def window_at(returns_TxN: Float[np.ndarray, "T N"], row: int, *, config: GraphsConfig) -> Window:
    """The trailing window with its intensity.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        row: the session.
        config: `window` is used, and `min_overlap`: a series with fewer sessions has no edge and no say in the
            intensity.

    Known at: the close of the session.
    """
    rows_WxN = trailing(returns_TxN, row, length=config.window)
    return Window(rows_WxN, shrinkage=_intensity(_standardised(rows_WxN, min_overlap=config.min_overlap)))


def _standardised(rows_WxN: np.ndarray, *, min_overlap: int) -> np.ndarray:
    """Deviations from each series' own mean in units of its own standard deviation, 0 where missing.

    Returns:
        float64 (W, M), the series with enough sessions and a spread.
    """
    rows_WxM = rows_WxN[:, np.isfinite(rows_WxN).sum(axis=0) >= min_overlap]
    present_WxM = np.isfinite(rows_WxM)
    count_M = present_WxM.sum(axis=0)
    values_WxM = np.where(present_WxM, rows_WxM, 0.0)
    centred_WxM = np.where(present_WxM, values_WxM - values_WxM.sum(axis=0) / count_M, 0.0)
    deviation_M = np.sqrt((centred_WxM**2).sum(axis=0) / count_M)
    spread_M = deviation_M > _CONSTANT * np.sqrt((values_WxM**2).sum(axis=0) / count_M)
    return centred_WxM[:, spread_M] / deviation_M[spread_M]


def _intensity(standardised_WxM: np.ndarray) -> float:
    """Estimated share, in [0, 1), of the distance from the identity that is noise (b² / d² of the paper)."""
    n_sessions, n_series = standardised_WxM.shape
    if n_series <= 1:
        return 0.0
    gram_WxW = standardised_WxM @ standardised_WxM.T
    squares_W = np.diag(gram_WxW)
    # Norms of the N x N matrices, by their equals: the squared norm of X'X is that of XX'.
    of_sample = (gram_WxW**2).sum() / n_sessions**2
    of_sessions = (squares_W**2).sum() / n_sessions
    noise = (of_sessions - of_sample) / n_sessions
    distance = of_sample - (squares_W.sum() / n_sessions) ** 2 / n_series
    if noise <= 0:  # below by rounding alone
        return 0.0
    return _MOST if noise >= distance else float(noise / distance)
