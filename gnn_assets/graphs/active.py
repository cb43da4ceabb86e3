"""Symbols that enter and leave: the columns worth holding while one window is worked on."""

import numpy as np


def active_symbols(returns_TxN: np.ndarray, row: int, *, window: int, min_overlap: int) -> np.ndarray:
    """Columns with enough returns in the trailing window for a symbol to have an edge at all.

    Two symbols share no more sessions than either has, so leaving the others out changes nothing about these. A
    history in which thousands of names came and went then costs, window by window, what the names of a window cost.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        row: the session the window ends at.
        window: trailing sessions.
        min_overlap: fewer returns give no edge.

    Returns:
        int64, positions of the columns, ascending.

    Known at: the close of the session; later rows are never read.
    """
    present_WxN = np.isfinite(returns_TxN[max(row - window + 1, 0) : row + 1])
    return np.flatnonzero(present_WxN.sum(axis=0) >= min_overlap)
