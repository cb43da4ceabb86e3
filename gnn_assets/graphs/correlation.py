"""Pairwise-complete rolling correlation, and each symbol's strongest partners.

For two series the correlation is taken over the sessions of the window on which both have a value, with both means
and both variances taken over exactly these sessions. Filling gaps with a mean instead would change one neighbour in
twenty. Every session is computed from its own window alone, so the result for a session has the same bits whether it
is asked for alone, among others, or long before later data exist.
"""

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from gnn_assets.graphs.neighbours import Neighbours

# A series counts as constant when its standard deviation is below this share of its root mean square: beyond that,
# float64 input no longer determines a correlation to six digits.
CONSTANT = 1e-8
# Variances by sums lose digits when the shared sessions lie far from the series' own mean; below this share of the
# sum of squares the pair is computed again from its values.
_CANCELLED = 1e-6


def correlation_neighbours(
    returns_TxN: np.ndarray,
    *,
    window: int,
    k: int,
    min_abs_corr: float,
    min_overlap: int,
    sessions: Sequence[int] | np.ndarray | None = None,
) -> Neighbours:
    """The k neighbours with the largest |r| of every series, at every session asked for.

    Threshold, order and ties are those of the published float32 value: |r| at least `min_abs_corr`, larger |r|
    first, equal |r| by position. A series that is constant over the shared sessions has no correlation.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        window: trailing sessions a correlation is taken over.
        k: most neighbours a series has.
        min_abs_corr: weaker correlations are no edges.
        min_overlap: fewer shared sessions give no edge; at least 2.
        sessions: rows whose trailing window is wanted, each from `window` - 1 on; all of them when None.

    Returns:
        Neighbours with S = T − window + 1 sessions by default (none if the window is longer than the data).

    Known at: the close of each session; later rows are never read.

    Raises:
        ValueError: if a row has no full trailing window.
    """
    n_sessions, n_series = returns_TxN.shape
    rows_S = np.asarray(range(window - 1, n_sessions) if sessions is None else sessions, dtype=np.int64)
    if rows_S.size and not (window - 1 <= rows_S.min() and rows_S.max() < n_sessions):
        raise ValueError(
            f"sessions: expected rows from {window - 1} to {n_sessions - 1}, was {rows_S.min()} to {rows_S.max()}"
        )
    shape = (len(rows_S), n_series, k)
    dst = np.full(shape, -1, dtype=np.int32)
    corr = np.full(shape, np.nan, dtype=np.float32)
    overlap = np.zeros(shape, dtype=np.int16)
    # One thread: how a product is divided among threads changes its last bits.
    with threadpool_limits(limits=1, user_api="blas"):
        for position, row in enumerate(rows_S):
            # A fresh copy: the same layout, and so the same bits, wherever the window lies.
            values_WxN = np.array(returns_TxN[row - window + 1 : row + 1], dtype=np.float64, order="C")
            corr_NxN, overlap_NxN = pairwise_correlation(values_WxN)
            corr_NxN[overlap_NxN < min_overlap] = np.nan
            best_Nxk = _strongest(corr_NxN, k=k, min_abs_corr=min_abs_corr)
            present = best_Nxk >= 0
            source = np.nonzero(present)[0]
            dst[position] = best_Nxk
            corr[position][present] = corr_NxN[source, best_Nxk[present]]
            overlap[position][present] = overlap_NxN[source, best_Nxk[present]]
    return Neighbours(rows_S, dst, corr, overlap)


def pairwise_correlation(values_WxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pearson correlation of every pair over the rows on which both are finite.

    Args:
        values_WxN: float64 (W, N).

    Returns:
        float32 (N, N) in [-1, 1], NaN on the diagonal, without two shared rows or for a series constant over them;
        int (N, N) shared rows.
    """
    present = np.isfinite(values_WxN)
    # A power of two a column is exact and keeps squares away from overflow and underflow.
    largest_N = np.max(np.abs(values_WxN), axis=0, initial=0.0, where=present)
    scaled = np.where(present, np.ldexp(values_WxN, -np.frexp(largest_N)[1]), 0.0)
    mean_N = scaled.sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    # Centring each column on its own mean changes no correlation and keeps the sums below small.
    centred = np.where(present, scaled - mean_N, 0.0)
    if present.all():
        return _complete(centred, mean_N)
    return _with_gaps(scaled, centred, present.astype(np.float64), mean_N)


def _complete(centred_WxN: np.ndarray, mean_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n_rows, n_series = centred_WxN.shape
    products = centred_WxN.T @ centred_WxN
    variance_N = np.einsum("wn,wn->n", centred_WxN, centred_WxN)
    constant_N = variance_N <= CONSTANT**2 * (variance_N + n_rows * mean_N**2)
    deviation_N = np.where(constant_N, np.nan, np.sqrt(variance_N))
    return _rounded(products / (deviation_N[:, None] * deviation_N)), np.full((n_series, n_series), n_rows)


def _with_gaps(
    scaled_WxN: np.ndarray, centred_WxN: np.ndarray, present_WxN: np.ndarray, mean_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Entry (i, j) of every sum runs over the rows on which both i and j are present."""
    count = present_WxN.T @ present_WxN
    total = centred_WxN.T @ present_WxN
    squares = (centred_WxN**2).T @ present_WxN
    products = centred_WxN.T @ centred_WxN
    shared = np.maximum(count, 1)
    variance = squares - total**2 / shared
    covariance = products - total * total.T / shared
    cancelled = variance <= _CANCELLED * squares
    raw_squares = squares + 2 * mean_N[:, None] * total + count * mean_N[:, None] ** 2
    constant = ~cancelled & (variance <= CONSTANT**2 * raw_squares)
    deviation = np.sqrt(np.where(cancelled | constant, np.nan, variance))
    corr = covariance / (deviation * deviation.T)
    for i, j in np.argwhere(np.triu(cancelled | cancelled.T, 1) & ~(constant | constant.T) & (count > 1)):
        rows = (present_WxN[:, i] * present_WxN[:, j]).astype(bool)
        corr[i, j] = corr[j, i] = _two_pass(scaled_WxN[rows, i], scaled_WxN[rows, j])
    return _rounded(corr), count.astype(np.int64)


def _two_pass(first_W: np.ndarray, second_W: np.ndarray) -> float:
    """Correlation of two complete series from deviations about their means; NaN if either is constant."""
    deviations = first_W - first_W.mean(), second_W - second_W.mean()
    norms = [float(np.sqrt(deviation @ deviation)) for deviation in deviations]
    for norm, values in zip(norms, (first_W, second_W), strict=True):
        if norm <= CONSTANT * float(np.sqrt(values @ values)):
            return np.nan
    return float(deviations[0] @ deviations[1]) / (norms[0] * norms[1])


def _rounded(corr_NxN: np.ndarray) -> np.ndarray:
    """The published value: within [-1, 1], float32, without the diagonal."""
    published = np.clip(corr_NxN, -1, 1).astype(np.float32)
    np.fill_diagonal(published, np.nan)
    return published


def _strongest(corr_NxN: np.ndarray, *, k: int, min_abs_corr: float) -> np.ndarray:
    """Positions of the k largest |r| of each row, -1 where there are fewer.

    The bits of a non-negative float32 grow with its value, so |r| in the high half of an integer and the distance
    from the last position in the low half sort by |r| and then by position, without two equal keys.
    """
    n_series = len(corr_NxN)
    strength = np.abs(corr_NxN)
    edge = strength.astype(np.float64) >= min_abs_corr
    bits = np.where(edge, strength, 0).view(np.uint32).astype(np.uint64) + np.uint64(1)
    keys = np.where(edge, (bits << np.uint64(32)) | np.arange(n_series - 1, -1, -1, dtype=np.uint64), np.uint64(0))
    if k < n_series:
        keys = np.partition(keys, n_series - k, axis=1)[:, n_series - k :]
    keys = np.sort(keys, axis=1)[:, ::-1]
    best = np.full((n_series, k), -1, dtype=np.int32)
    position = n_series - 1 - (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    best[:, : keys.shape[1]] = np.where(keys > 0, position, -1)
    return best
