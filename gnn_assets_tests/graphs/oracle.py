"""What a window means, worked out the slow way by libraries that had nothing to do with the kernel."""

from itertools import permutations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from gnn_assets.graphs.neighbours import Neighbours
from gnn_assets.graphs.window import Window

# A standard deviation below this share of the root mean square is no spread.
CONSTANT = 1e-8


def oracle_correlation(window: Window, *, min_overlap: int) -> tuple[np.ndarray, np.ndarray]:
    """Every receiver's correlation with every sender.

    Args:
        window: what is compared; what is not finite is missing.
        min_overlap: fewer shared rows give NaN; at least 2.

    Returns:
        float64 (N, N), NaN on the diagonal and where there is no correlation; int (N, N) shared rows.
    """
    receivers = _scaled(window.receivers_WxN)
    senders = receivers if window.senders_WxN is None else _scaled(window.senders_WxN)
    if window.senders_WxN is None and window.weights_W is None:
        corr_NxN = _by_pandas(receivers, ranked=window.ranked, min_overlap=min_overlap)
    else:
        corr_NxN = _pair_by_pair(receivers, senders, window, min_overlap=min_overlap)
    np.fill_diagonal(corr_NxN, np.nan)
    overlap_NxN = np.isfinite(receivers).T.astype(int) @ np.isfinite(senders).astype(int)
    return np.clip((1 - window.shrinkage) * corr_NxN, -1, 1), overlap_NxN


def oracle_neighbours(
    window: Window, *, k: int, min_abs_corr: float, min_overlap: int, signed: bool = False, row: int = 0
) -> Neighbours:
    """The neighbours of one session, by sorting every pair.

    Args:
        window: what is compared.
        k: most neighbours a receiver has.
        min_abs_corr: a weaker correlation is no edge.
        min_overlap: fewer shared rows give no edge.
        signed: whether the strength is the correlation itself rather than its size.
        row: what the one session is called.
    """
    corr_NxN, overlap_NxN = oracle_correlation(window, min_overlap=min_overlap)
    n_series = len(corr_NxN)
    dst = np.full((1, n_series, k), -1, dtype=np.int32)
    corr = np.full((1, n_series, k), np.nan, dtype=np.float32)
    overlap = np.zeros((1, n_series, k), dtype=np.int16)
    for i, published_N in enumerate(corr_NxN.astype(np.float32)):
        strength_N = _strength(published_N, signed=signed)
        edges = sorted(np.flatnonzero(strength_N >= max(min_abs_corr, 0.0)), key=lambda j, s=strength_N: (-s[j], j))[:k]
        dst[0, i, : len(edges)] = edges
        corr[0, i, : len(edges)] = published_N[edges]
        overlap[0, i, : len(edges)] = overlap_NxN[i, edges]
    return Neighbours(np.array([row], dtype=np.int64), dst, corr, overlap)


def assert_neighbours_agree(
    result: Neighbours,
    at: int,
    window: Window,
    *,
    k: int,
    min_abs_corr: float,
    min_overlap: int,
    signed: bool = False,
    tolerance: float = 1e-6,
) -> None:
    """Same values, and the same neighbours but for differences below `tolerance` at the k-th place or the threshold.

    Args:
        result: what is judged; its shapes, order, ties and padding are held exactly.
        at: which session of `result`.
        window: what that session compares.
        k: most neighbours a receiver has.
        min_abs_corr: a weaker correlation is no edge.
        min_overlap: fewer shared rows give no edge.
        signed: whether the strength is the correlation itself rather than its size.
        tolerance: how far a value may be from the oracle's.
    """
    oracle, shared = oracle_correlation(window, min_overlap=min_overlap)
    n_series = len(oracle)
    arrays = (result.dst_SxNxk, result.corr_SxNxk, result.overlap_SxNxk)
    assert {array[at].shape for array in arrays} == {(n_series, k)}
    for i in range(n_series):
        dst, corr, overlap = (array[at, i] for array in arrays)
        edges = dst[dst >= 0]
        degree = len(edges)
        assert (dst[degree:] == -1).all(), f"receiver {i}: a gap in {dst}"
        assert np.isnan(corr[degree:]).all(), f"receiver {i}: a correlation without a neighbour in {corr}"
        assert (overlap[degree:] == 0).all(), f"receiver {i}: an overlap without a neighbour in {overlap}"
        assert len(set(edges.tolist())) == degree, f"receiver {i}: a neighbour twice in {edges}"
        np.testing.assert_array_equal(overlap[:degree], shared[i, edges], err_msg=f"overlaps of receiver {i}")
        # No edge is NaN: a pair without a correlation cannot pass for one.
        assert np.isfinite(oracle[i, edges]).all(), f"receiver {i}: no correlation with one of {edges}"
        np.testing.assert_allclose(
            corr[:degree], oracle[i, edges], rtol=0, atol=tolerance, err_msg=f"values of receiver {i}"
        )
        strength = _strength(corr[:degree], signed=signed)
        assert (strength >= max(min_abs_corr, 0.0)).all(), f"receiver {i}: below the threshold in {strength}"
        order = list(zip((-strength).tolist(), edges.tolist(), strict=True))
        assert order == sorted(order), f"receiver {i}: not strongest first, then by position: {order}"
        left_out = np.setdiff1d(np.flatnonzero(np.isfinite(oracle[i])), edges)
        weakest = strength[-1] if degree == k else max(min_abs_corr, 0.0)
        stronger = left_out[_strength(oracle[i, left_out], signed=signed) > weakest + tolerance]
        assert not stronger.size, f"receiver {i}: {stronger} left out for {edges}"


def _scaled(values_WxN: np.ndarray) -> np.ndarray:
    """Float64 with NaN for missing; a power of two a column, which is exact, keeps squares within range."""
    values = np.where(np.isfinite(values_WxN), values_WxN, np.nan).astype(np.float64)
    largest_N = np.max(np.abs(values), axis=0, initial=0.0, where=np.isfinite(values))
    return np.ldexp(values, -np.frexp(largest_N)[1])


def _by_pandas(values_WxN: np.ndarray, *, ranked: bool, min_overlap: int) -> np.ndarray:
    corr_NxN = (
        pd.DataFrame(values_WxN)
        .corr(method="spearman" if ranked else "pearson", min_periods=min_overlap)
        .to_numpy(dtype=np.float64, copy=True)
    )
    if not ranked:  # pandas knows no series as constant but one without any spread
        for i, values_W in enumerate(values_WxN.T):
            shared_WxN = np.isfinite(values_W)[:, None] & np.isfinite(values_WxN)
            constant_N = _constant(np.where(shared_WxN, values_W[:, None], 0.0), shared_WxN.astype(np.float64))
            corr_NxN[i, constant_N] = corr_NxN[constant_N, i] = np.nan
    return corr_NxN


def _pair_by_pair(
    receivers_WxN: np.ndarray, senders_WxN: np.ndarray, window: Window, *, min_overlap: int
) -> np.ndarray:
    n_rows, n_series = receivers_WxN.shape
    weights_W = np.ones(n_rows) if window.weights_W is None else window.weights_W
    corr_NxN = np.full((n_series, n_series), np.nan)
    for i, j in permutations(range(n_series), 2):
        both_2xW = np.stack([receivers_WxN[:, i], senders_WxN[:, j]])
        shared_W = np.isfinite(both_2xW).all(axis=0)
        if shared_W.sum() < min_overlap:
            continue
        both_2xW, weights = both_2xW[:, shared_W], weights_W[shared_W]
        if window.ranked:
            both_2xW = rankdata(both_2xW, axis=1)
        if _constant(both_2xW.T, weights[:, None]).any():
            continue
        covariance = np.cov(both_2xW, aweights=weights, ddof=0)
        corr_NxN[i, j] = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    return corr_NxN


def _constant(values_WxN: np.ndarray, weights_WxN: np.ndarray) -> np.ndarray:
    """Whether each column, over the rows that have a weight, is without spread."""
    total_N = np.maximum(weights_WxN.sum(axis=0), np.finfo(np.float64).tiny)
    mean_N = (weights_WxN * values_WxN).sum(axis=0) / total_N
    variance_N = (weights_WxN * (values_WxN - mean_N) ** 2).sum(axis=0) / total_N
    return variance_N <= CONSTANT**2 * (weights_WxN * values_WxN**2).sum(axis=0) / total_N


def _strength(corr: np.ndarray, *, signed: bool) -> np.ndarray:
    return (corr if signed else np.abs(corr)).astype(np.float64)
