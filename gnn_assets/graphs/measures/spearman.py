"""Spearman's rank correlation: how far two series order their shared sessions alike.

For markets with wild sessions: a crash counts as one rank, however deep it was, and any increasing change of units
leaves the value as it is. Ranks are taken anew over the sessions a pair shares, so that a gap in one series moves no
rank of a pair without it. Cost: the kernel ranks each series once, and a pair with gaps once more if it comes near
the strongest.

References:
    C. Spearman (1904), The proof and measurement of association between two things, Am. J. Psychol. 15.
"""

import numpy as np
from jaxtyping import Float

from gnn_assets.core.config import GraphsConfig
from gnn_assets.graphs.window import Window, trailing


def lookback(config: GraphsConfig) -> int:
    """Trailing sessions read: the window."""
    return config.window


def window_at(returns_TxN: Float[np.ndarray, "T N"], row: int, *, config: GraphsConfig) -> Window:
    """The trailing window, to be compared by ranks.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        row: the session.
        config: `window` is used.

    Known at: the close of the session.
    """
    return Window(trailing(returns_TxN, row, length=config.window), ranked=True)
