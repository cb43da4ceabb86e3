"""Features of one session set against those of the other symbols, and against nothing else.

References:
    W. J. Conover, Practical Nonparametric Statistics, 3rd ed., Wiley 1999, ch. 5.10 (normal scores of ranks).
"""

from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.special import ndtri

# Spread below this share of the largest value is rounding, not information.
_ROUNDING = 1e-12
# The median distance from the median, over the deviation, of the normal distribution.
_NORMAL_SPREAD = 0.6744897501960817
# Sessions ranked at once: enough of them that numpy is asked seldom, few enough that they stay in the cache.
_BLOCK = 128


def standardise(values_TxN: Float[np.ndarray, "T N"], mask_TxN: Bool[np.ndarray, "T N"]) -> Float64[np.ndarray, "T N"]:
    """Each row less its mean over its deviation, both over the masked-in symbols.

    Args:
        values_TxN: float (T, N); any value where masked out.
        mask_TxN: bool (T, N).

    Returns:
        float64 (T, N); 0 where masked out, and in a row whose values are all equal.
    """
    inside = np.where(mask_TxN, values_TxN, 0.0)
    count = np.maximum(mask_TxN.sum(axis=1, keepdims=True), 1)
    centred = np.where(mask_TxN, inside - inside.sum(axis=1, keepdims=True) / count, 0.0)
    deviation = np.sqrt(np.square(centred).sum(axis=1, keepdims=True) / count)
    spread = deviation > _ROUNDING * np.abs(inside).max(axis=1, keepdims=True, initial=0.0)
    return np.where(spread, centred / np.where(spread, deviation, 1.0), 0.0)


def rank_scores(values_TxN: Float[np.ndarray, "T N"], mask_TxN: Bool[np.ndarray, "T N"]) -> Float64[np.ndarray, "T N"]:
    """Normal scores of each row's midranks: a value of any size counts by its place alone.

    Args:
        values_TxN: float (T, N); what is not finite is missing.
        mask_TxN: bool (T, N).

    Returns:
        float64 (T, N), the normal quantile of (midrank - 1/2) / count; 0, the middle, where missing or masked out.
    """
    there_TxN = mask_TxN & np.isfinite(values_TxN)
    scores_TxN = np.zeros(there_TxN.shape)
    for start in range(0, len(scores_TxN), _BLOCK):
        block = slice(start, start + _BLOCK)
        if there_TxN[block].any():
            _fill_scores(scores_TxN[block], values_TxN[block], there_TxN[block])
    return scores_TxN


def _fill_scores(
    scores_SxN: Float64[np.ndarray, "S N"], values_SxN: Float[np.ndarray, "S N"], there_SxN: Bool[np.ndarray, "S N"]
) -> None:
    order_SxN = np.argsort(np.where(there_SxN, values_SxN, np.inf), axis=1)  # what is missing comes last
    ordered_SxN = np.take_along_axis(values_SxN, order_SxN, axis=1)
    count_S = there_SxN.sum(axis=1)
    n_symbols = there_SxN.shape[1]
    place_N = np.arange(n_symbols)
    ranked_SxN = place_N < count_S[:, None]
    # Where a run of equal values begins, and where the one after it does.
    begins_SxN = np.ones(there_SxN.shape, dtype=bool)
    begins_SxN[:, 1:] = (ordered_SxN[:, 1:] != ordered_SxN[:, :-1]) | ~ranked_SxN[:, 1:]
    first_SxN = np.maximum.accumulate(np.where(begins_SxN, place_N, 0), axis=1)
    after_SxN = np.full(there_SxN.shape, n_symbols)
    after_SxN[:, :-1] = np.where(begins_SxN, place_N, n_symbols)[:, 1:]
    after_SxN = np.minimum.accumulate(after_SxN[:, ::-1], axis=1)[:, ::-1]
    # Midranks lie on a grid of halves, one grid for each number of values.
    counts, own_S = np.unique(count_S, return_inverse=True)
    grids = [_quantiles(count) for count in counts.tolist()]
    grid_starts = np.cumsum([0, *(len(grid) for grid in grids[:-1])])
    rows, places = np.nonzero(ranked_SxN)
    midranks = first_SxN[rows, places] + after_SxN[rows, places] - 1
    scores_SxN[rows, order_SxN[rows, places]] = np.concatenate(grids)[grid_starts[own_S[rows]] + midranks]


@cache
def _quantiles(count: int) -> Float64[np.ndarray, " G"]:
    """Normal quantiles of 1, 2, ... 2 count - 1 in units of 1 / (2 count)."""
    return ndtri(np.arange(1, 2 * count) / (2 * count))


def robust_scores(
    values_TxN: Float[np.ndarray, "T N"], mask_TxN: Bool[np.ndarray, "T N"]
) -> Float64[np.ndarray, "T N"]:
    """Each row less its median, over the median distance from it in units of a normal deviation.

    Args:
        values_TxN: float (T, N); what is not finite is missing.
        mask_TxN: bool (T, N).

    Returns:
        float64 (T, N); 0 where missing or masked out, and in a row half of whose values are equal.
    """
    there = mask_TxN & np.isfinite(values_TxN)
    inside = np.where(there.any(axis=1, keepdims=True), np.where(there, values_TxN, np.nan), 0.0)
    distance = inside - np.nanmedian(inside, axis=1, keepdims=True)
    spread = np.nanmedian(np.abs(distance), axis=1, keepdims=True) / _NORMAL_SPREAD
    return np.where(there & (spread > 0), distance / np.where(spread > 0, spread, 1.0), 0.0)
