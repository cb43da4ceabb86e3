"""Pearson's correlation: how far two series of returns move together in a straight line.

The measure of the correlation network since Mantegna, and the one to beat: every session counts the same, one wild
session can make or undo an edge, and what two series owe to the market alone counts as much as what they share beyond
it. Cost: a copy of the window.

References:
    K. Pearson (1896), Mathematical contributions to the theory of evolution III, Phil. Trans. R. Soc. A 187.
    R. N. Mantegna (1999), Hierarchical structure in financial markets, Eur. Phys. J. B 11.
"""

import numpy as np
from jaxtyping import Float

from gnn_assets.core.config import GraphsConfig
from gnn_assets.graphs.window import Window, trailing


def lookback(config: GraphsConfig) -> int:
    """Trailing sessions read: the window."""
    return config.window


def window_at(returns_TxN: Float[np.ndarray, "T N"], row: int, *, config: GraphsConfig) -> Window:
    """The trailing window as it is.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        row: the session.
        config: `window` is used.

    Known at: the close of the session.
    """
    return Window(trailing(returns_TxN, row, length=config.window))
