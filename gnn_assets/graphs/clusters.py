"""An order of symbols in which those that move together stand together."""

import numpy as np
from jaxtyping import Float
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform


def clustered(corr_NxN: Float[np.ndarray, "N N"]) -> np.ndarray:
    """Leaves of the average-linkage tree over Mantegna's distance sqrt(2 (1 - r)).

    Args:
        corr_NxN: correlations in [-1, 1]; pairs without one count as uncorrelated.

    Returns:
        int (N,), positions in order.

    References:
        R. N. Mantegna (1999), Hierarchical structure in financial markets, Eur. Phys. J. B 11.
    """
    if len(corr_NxN) < 2:  # noqa: PLR2004 - a tree needs two leaves
        return np.arange(len(corr_NxN))
    known_NxN = np.nan_to_num(corr_NxN.astype(np.float64))
    # A directed measure says two things of a pair; the tree takes their mean.
    distance_NxN = np.sqrt(2 * (1 - np.clip((known_NxN + known_NxN.T) / 2, -1, 1)))
    np.fill_diagonal(distance_NxN, 0.0)
    return leaves_list(linkage(squareform(distance_NxN, checks=False), method="average"))
