"""Exponentially weighted correlation: the same, with the latest sessions counting most.

Where groups form and dissolve faster than the window: a session `half_life` sessions old counts half as much as
today's, and none leaves the window with a jump. The price is a noisier value, as from a shorter window. Cost: that
of Pearson's.

References:
    J.P. Morgan/Reuters (1996), RiskMetrics technical document, 4th ed., section 5.2.
    F. Pozzi, T. Di Matteo, T. Aste (2012), Exponential smoothing weighted correlations, Eur. Phys. J. B 85.
    They state the decay as a rate; a half-life h is the rate ln 2 / h.
"""

import numpy as np
from jaxtyping import Float

from gnn_assets.core.config import GraphsConfig
from gnn_assets.graphs.window import Window, trailing


def lookback(config: GraphsConfig) -> int:
    """Trailing sessions read: the window."""
    return config.window


def window_at(returns_TxN: Float[np.ndarray, "T N"], row: int, *, config: GraphsConfig) -> Window:
    """The trailing window, each session weighted by 0.5 ** (age / half-life), the session's own by 1.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        row: the session.
        config: `window` and `exponential.half_life` are used.

    Known at: the close of the session.
    """
    rows_WxN = trailing(returns_TxN, row, length=config.window)
    age_W = np.arange(config.window - 1, -1, -1)
    return Window(rows_WxN, weights_W=0.5 ** (age_W / config.exponential.half_life))
