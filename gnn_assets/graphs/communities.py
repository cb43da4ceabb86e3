"""How far two partitions of the same nodes agree."""

import numpy as np
from jaxtyping import Int


def partition_change(before_N: Int[np.ndarray, " N"], after_N: Int[np.ndarray, " N"]) -> float | None:
    """1 − the adjusted Rand index of two partitions, over the nodes that are in both; None if there is none.

    0 for the same partition, about 1 for partitions that agree no more than by chance. The index is a ratio of whole
    numbers, and so has the same bits everywhere; the adjusted mutual information, which weighs small communities
    more, needs a sum over every possible table.

    Args:
        before_N: community of each node, -1 for a node in none.
        after_N: the same, later; the numbers themselves mean nothing.

    References:
        L. Hubert, P. Arabie, "Comparing partitions", Journal of Classification 2 (1985), 193-218.
    """
    both = (before_N >= 0) & (after_N >= 0)
    if not both.any():
        return None
    width = int(after_N.max()) + 1
    cells = np.bincount(before_N[both].astype(np.int64) * width + after_N[both])
    together = _squares(cells)
    first, second = (_squares(np.bincount(labels[both])) for labels in (before_N, after_N))
    nodes = int(both.sum())
    # Ordered pairs of nodes: together in both, in the first only, in the second only, in neither.
    same, lost, new = together - nodes, first - together, second - together
    apart = nodes**2 - first - second + together
    if lost == new == 0:
        return 0.0
    agreement = 2 * (same * apart - lost * new)
    return 1 - agreement / ((same + lost) * (lost + apart) + (same + new) * (new + apart))


def _squares(counts: np.ndarray) -> int:
    return int(counts @ counts)
