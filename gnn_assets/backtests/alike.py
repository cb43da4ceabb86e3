"""Names that move as one count as one: of those, only the best is held, or all of them share its part."""

import numpy as np

from gnn_assets.backtests.risk import correlations
from gnn_assets.core.config import SizingConfig


def thinned(
    weights_RxN: np.ndarray,
    rows_R: np.ndarray,
    returns_TxN: np.ndarray,
    *,
    scores_TxN: np.ndarray | None,
    config: SizingConfig,
) -> np.ndarray:
    """Weights in which no two names of a side are correlated beyond the limit, or those that are share one part.

    Each side goes through its names from the best to the worst. A name correlated beyond the limit with a better one
    that is held gives way to it, to the best of several: it is left out, or it joins those that share the best one's
    weight in equal parts. Either way what was its own stays cash. Names whose correlation is not known are held.

    Args:
        weights_RxN: float64 (R, N), shares of the portfolio's value, negative for short positions.
        rows_R: int (R,), rows of the returns.
        returns_TxN: float (T, N), close-to-close log returns, NaN where absent.
        scores_TxN: float (T, N), the best is the highest for long positions and the lowest for short ones; a name
            without a score is worse than any with one. None: the best is the largest. Equal ones in index order.
        config: the forecast's window and half-life, limit and way.

    Returns:
        float64 (R, N).

    Known at: row r at the close of its session.
    """
    limit = config.correlation.limit
    assert limit is not None
    thinned_RxN = weights_RxN.copy()
    for place, row in enumerate(rows_R):
        for sign in (1.0, -1.0):
            sizes_N = sign * weights_RxN[place]
            names_M = np.flatnonzero(sizes_N > 0.0)
            merit_M = sizes_N[names_M] if scores_TxN is None else sign * scores_TxN[row, names_M]
            names_M = names_M[np.argsort(-np.where(np.isfinite(merit_M), merit_M, -np.inf), kind="stable")]
            alike_MxM = correlations(returns_TxN, int(row), names_M, config=config.forecast) > limit
            leaders_M = _leaders(alike_MxM)
            leads_M = leaders_M == np.arange(len(names_M))
            sizes_M = sizes_N[names_M[leaders_M]]
            if config.correlation.way == "share":
                sizes_M = sizes_M / np.bincount(leaders_M, minlength=len(names_M))[leaders_M]
            else:
                sizes_M = np.where(leads_M, sizes_M, 0.0)
            thinned_RxN[place, names_M] = sign * sizes_M
    return thinned_RxN


def _leaders(alike_MxM: np.ndarray) -> np.ndarray:
    """The name (M,) that each gives way to, itself if to none; names from the best to the worst."""
    leaders_M = np.arange(len(alike_MxM))
    for name in range(len(alike_MxM)):
        better = alike_MxM[name, :name] & (leaders_M[:name] == np.arange(name))
        if better.any():
            leaders_M[name] = int(np.argmax(better))
    return leaders_M
