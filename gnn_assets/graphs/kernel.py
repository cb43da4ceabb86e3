"""The k strongest neighbours of every series of one window: a float32 product rules out, float64 decides.

Half of the product of a window with itself is taken in float32, a block of rows at a time, by the platform's BLAS.
Its error is bounded, so it can tell which pairs cannot be among the k strongest; the few others are computed in
float64, in an order of summation of our own. The published values are therefore exact to float32, and for equal
windows the same on every machine, for every number of threads and whatever else is computed beside them. Where series have gaps, the sums
over the rows that a pair does not share are taken off before a pair is judged: r is pairwise-complete.

The neighbours of another session, offered first, raise the bar at once; they change the time it takes, never the
result.
"""

import numpy as np
from jaxtyping import Float32

from gnn_assets.graphs import compiled
from gnn_assets.graphs.compiled import LANES, Pool, Scratch, Side, Terms
from gnn_assets.graphs.window import Window

_BLOCK = 128  # receivers whose products are held at once: with 3,000 senders they fill 1.5 MB, a core's own cache
_POOLED = 32  # pairs beyond k that a receiver's pool holds before it is sorted
_PAIRS = 8192  # pairs collected before they are judged; judging raises the limits
# Of a float32 sum over W terms, in units of (W + 16) half ulps: the largest error of any quantity that `scan` compares
# is below 45 of them where a pair shares a thirty-second of the window's weight; other pairs are looked at anyway.
_SLACK_ULPS = 64


def write_strongest(
    window: Window,
    *,
    k: int,
    min_abs_corr: float,
    min_overlap: int,
    signed: bool,
    before_Nxk: np.ndarray | None,
    dst_Nxk: np.ndarray,
    corr_Nxk: np.ndarray,
    overlap_Nxk: np.ndarray,
) -> None:
    """Finds the k strongest neighbours of every receiver of a window.

    Args:
        window: what is compared.
        k: most neighbours a receiver has.
        min_abs_corr: least strength of an edge.
        min_overlap: fewer shared sessions give no edge; at least 2.
        signed: whether strength is r instead of |r|.
        before_Nxk: int32, neighbours of a session near by, to be looked at first; None without one.
        dst_Nxk: int32, all -1, where the neighbours are written.
        corr_Nxk: float32, all NaN, likewise.
        overlap_Nxk: int16, all 0, likewise.

    Known at: the last row of the window.
    """
    terms = _terms(window, min_abs_corr=min_abs_corr, min_overlap=min_overlap, signed=signed)
    receivers, senders = _sides(window, terms)
    n_receivers, capacity = len(receivers.position_M), k + _POOLED
    pool = Pool(
        key_MxP=np.empty((n_receivers, capacity), dtype=np.uint64),
        note_MxP=np.empty((n_receivers, capacity), dtype=np.int16),
        size_M=np.zeros(n_receivers, dtype=np.int64),
        limit_M=np.full(n_receivers, min_abs_corr / terms.kept, dtype=np.float32),
    )
    if before_Nxk is not None:
        _raise_limits(before_Nxk, receivers, senders, terms, pool)
    _scan_blocks(receivers, senders, terms, pool, k)
    compiled.settle(pool, k, receivers.position_M, terms.n_series, dst_Nxk, corr_Nxk, overlap_Nxk)


def correlation_matrix(window: Window, *, min_overlap: int) -> Float32[np.ndarray, "N N"]:
    """The published correlation of every pair of a window: receivers down, senders across.

    Args:
        window: what is compared.
        min_overlap: fewer shared sessions give no correlation; at least 2.

    Returns:
        float32 (N, N) in [-1, 1]; NaN on the diagonal and where there is none.

    Known at: the last row of the window.
    """
    terms = _terms(window, min_abs_corr=0.0, min_overlap=min_overlap, signed=False)
    receivers, senders = _sides(window, terms)
    n_senders = len(senders.position_M)
    corr_NxN = np.full((terms.n_series, terms.n_series), np.nan, dtype=np.float32)
    pairs_2xP = np.stack([np.zeros(n_senders), np.arange(n_senders)]).astype(np.int32)
    exact_P, corr_P = np.empty(n_senders), np.empty(n_senders, dtype=np.float32)
    overlap_P = np.empty(n_senders, dtype=np.int16)
    for receiver, position in enumerate(receivers.position_M):
        pairs_2xP[0] = receiver
        compiled.correlate(pairs_2xP, n_senders, receivers, senders, terms, exact_P, corr_P, overlap_P)
        corr_NxN[position, senders.position_M] = corr_P
    np.fill_diagonal(corr_NxN, np.nan)
    return corr_NxN


def _terms(window: Window, *, min_abs_corr: float, min_overlap: int, signed: bool) -> Terms:
    n_rows, n_series = window.receivers_WxN.shape
    # A power of two: products are summed by halves.
    lanes = max(1 << (n_rows - 1).bit_length(), LANES)
    weight_L = np.zeros(lanes)
    weight_L[:n_rows] = 1.0 if window.weights_W is None else window.weights_W / window.weights_W.max()
    return Terms(
        weight_L=weight_L,
        root_L=np.sqrt(weight_L),
        total=float(weight_L.sum()),
        n_rows=n_rows,
        n_series=n_series,
        min_overlap=min_overlap,
        min_strength=min_abs_corr,
        kept=1.0 - window.shrinkage,
        slack=np.float32(_SLACK_ULPS * (n_rows + 16) * 2.0**-24),
        signed=signed,
        ranked=window.ranked,
        symmetric=window.senders_WxN is None,
    )


def _sides(window: Window, terms: Terms) -> tuple[Side, Side]:
    receivers = _side(window.receivers_WxN, terms)
    return receivers, receivers if window.senders_WxN is None else _side(window.senders_WxN, terms)


def _side(values_WxN: np.ndarray, terms: Terms) -> Side:
    n_rows, lanes = terms.n_rows, len(terms.weight_L)
    values_WxN = np.ascontiguousarray(values_WxN, dtype=np.float64)
    if terms.ranked:
        values_WxN = _ranks(values_WxN)
    count_N, scale_N, mean_N, norm_N, constant_N = compiled.moments(values_WxN, terms.weight_L)
    usable_N = (count_N >= terms.min_overlap) & ~constant_N
    gappy_N = usable_N & (count_N < n_rows)
    position_M = np.concatenate([np.flatnonzero(gappy_N), np.flatnonzero(usable_N & ~gappy_N)])
    n_series, n_gappy = len(position_M), int(gappy_N.sum())
    gap_start_M = np.zeros(n_series + 1, dtype=np.int64)
    np.cumsum(n_rows - count_N[position_M], out=gap_start_M[1:])
    unit_WxM = np.empty((n_rows, n_series), dtype=np.float32)
    side = Side(
        unit_WxM=unit_WxM,
        weighted_WxM=np.empty_like(unit_WxM),
        exact_MxL=np.zeros((n_series, lanes)),
        order_MxW=_order(values_WxN[:, position_M].T if terms.ranked else np.empty((n_series, 0))),
        gap_start_M=gap_start_M,
        gaps=np.empty(gap_start_M[-1], dtype=np.int16),
        gap_weight_M=np.zeros(n_series),
        missing_MxL=np.zeros((n_series, lanes), dtype=bool),
        values_WxN=values_WxN,
        scale_M=scale_N[position_M],
        lacked_WxG=np.zeros((n_rows, n_gappy), dtype=np.float32),
        level_M=mean_N[position_M] / norm_N[position_M],
        position_M=position_M,
    )
    compiled.fill_side(side, mean_N[position_M], norm_N[position_M], terms.root_L, terms.weight_L)
    return side


def _ranks(values_WxN: np.ndarray) -> np.ndarray:
    """Midranks of each column among its own present rows; NaN where missing."""
    ranks_WxN = np.full_like(values_WxN, np.nan)
    for column, order_W in enumerate(_order(values_WxN.T)):
        present_W = np.isfinite(values_WxN[:, column])
        ranks_WxN[present_W, column] = compiled.midranks(values_WxN[:, column], order_W, present_W)[present_W]
    return ranks_WxN


def _order(values_NxW: np.ndarray) -> np.ndarray:
    """Rows of each series by ascending value, -1 after its last present one."""
    values_NxW = np.where(np.isfinite(values_NxW), values_NxW, np.inf)
    order_NxW = np.argsort(values_NxW, axis=1, kind="stable").astype(np.int16)
    order_NxW[~np.isfinite(np.sort(values_NxW, axis=1))] = -1
    return order_NxW


def _raise_limits(before_Nxk: np.ndarray, receivers: Side, senders: Side, terms: Terms, pool: Pool) -> None:
    """Lets receivers that have k neighbours in another session's graph begin with what those are worth now."""
    k = before_Nxk.shape[1]
    place_N = np.full(terms.n_series, -1, dtype=np.int64)
    place_N[senders.position_M] = np.arange(len(senders.position_M))
    most = len(receivers.position_M) * k
    pairs_2xP, mutual_P = np.empty((2, most), dtype=np.int32), np.empty(most, dtype=bool)
    n_pairs = compiled.pairs_before(before_Nxk, receivers.position_M, place_N, terms.symmetric, pairs_2xP, mutual_P)
    exact_P, corr_P, overlap_P = (
        np.empty(n_pairs),
        np.empty(n_pairs, dtype=np.float32),
        np.empty(n_pairs, dtype=np.int16),
    )
    compiled.correlate(pairs_2xP, n_pairs, receivers, senders, terms, exact_P, corr_P, overlap_P)
    compiled.raise_limits(pairs_2xP, mutual_P, n_pairs, k, corr_P, terms.signed, terms.kept, pool.limit_M)


def _scan_blocks(receivers: Side, senders: Side, terms: Terms, pool: Pool, k: int) -> None:
    n_receivers, n_senders = len(receivers.position_M), len(senders.position_M)
    products = np.empty(_BLOCK * n_senders, dtype=np.float32)
    n_pairs = n_senders + _PAIRS
    scratch = Scratch(
        *np.empty((4, n_senders), dtype=np.float32),
        lacked_C=senders.gap_weight_M.astype(np.float32),
        marks_C=np.zeros(-(-n_senders // 8) * 8, dtype=np.uint8),
        pairs_2xP=np.empty((2, n_pairs), dtype=np.int32),
        exact_P=np.empty(n_pairs),
        corr_P=np.empty(n_pairs, dtype=np.float32),
        overlap_P=np.empty(n_pairs, dtype=np.int16),
    )
    weight_W = terms.weight_L[: terms.n_rows].astype(np.float32)
    for first in range(0, n_receivers, _BLOCK):
        rows = slice(first, min(first + _BLOCK, n_receivers))
        start = first if terms.symmetric else 0
        size = (rows.stop - first, n_senders - start)
        products_BxC = products[: size[0] * size[1]].reshape(size)
        unit_BxW = receivers.unit_WxM[:, rows].T
        np.matmul(unit_BxW, senders.unit_WxM[:, start:], out=products_BxC)
        lacked_WxG = senders.lacked_WxG[:, start:]
        common_BxG = np.zeros((size[0], lacked_WxG.shape[1]), dtype=np.float32)
        both = slice(first, min(rows.stop, receivers.lacked_WxG.shape[1]))
        if both.start < both.stop:
            common_BxG[: both.stop - first] = (receivers.lacked_WxG[:, both] * weight_W[:, None]).T @ lacked_WxG
        compiled.scan(
            first,
            start,
            products_BxC,
            receivers.weighted_WxM[:, rows].T @ lacked_WxG,
            (unit_BxW * unit_BxW) @ lacked_WxG,
            common_BxG,
            receivers,
            senders,
            terms,
            pool,
            k,
            scratch,
        )
