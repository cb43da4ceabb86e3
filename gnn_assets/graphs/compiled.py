"""Compiled loops of the correlation kernel; `kernel` says what they are for and calls them.

Products of float64 are summed in a tree of fixed shape, never in an order a compiler or a library may choose, so that
equal windows give a published value of the same bits on every machine.

Nothing in here carries shape annotations: a checked wrapper around a compiled function would no longer compile.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

# A series counts as constant when its standard deviation is below this share of its root mean square: beyond that,
# float64 input no longer determines a correlation to six digits.
CONSTANT = 1e-8
# Where less than this share of a series' variance lies in the shared sessions, sums of parts have lost too many
# digits, and the pair is computed again from its values.
CANCELLED = 1e-6
# Where the shared sessions weigh less than this share of the window, float32 sums bound nothing: such a pair is
# always looked at closely.
THIN = 1 / 64
# Float32 sums that only rule pairs out have no NaN, and their last digits are covered by the slack.
_FILTER = {"nnan", "ninf", "nsz", "arcp", "contract"}
LANES = 8  # partial sums that a product of two series ends in
_LARGEST_EXPONENT = 1000  # of a power of two that is applied to subnormal numbers


class Side(NamedTuple):
    """Series of a window, those that can have a neighbour: with gaps first, complete ones after them.

    Args:
        unit_WxM: float32, deviations from the mean times the root of the weight, of norm one; 0 where missing.
        weighted_WxM: float32, the same times the root of the weight again.
        exact_MxL: float64, as `unit_WxM`, a series a row, filled up with zeros.
        order_MxW: int16, sessions by ascending value, -1 after the last present; empty unless ranked.
        gap_start_M: int64 (M + 1,), where a series' gaps begin in `gaps`.
        gaps: int16, missing sessions of each series, ascending.
        gap_weight_M: float64, weight of the missing sessions.
        missing_MxL: bool.
        values_WxN: float64, the window itself; not finite where missing.
        scale_M: float64, a power of two by which a series is scaled before it is squared.
        lacked_WxG: float32, one where one of the G series with gaps is missing.
        level_M: float64, mean over norm.
        position_M: int64, column of the window.
    """

    unit_WxM: np.ndarray
    weighted_WxM: np.ndarray
    exact_MxL: np.ndarray
    order_MxW: np.ndarray
    gap_start_M: np.ndarray
    gaps: np.ndarray
    gap_weight_M: np.ndarray
    missing_MxL: np.ndarray
    values_WxN: np.ndarray
    scale_M: np.ndarray
    lacked_WxG: np.ndarray
    level_M: np.ndarray
    position_M: np.ndarray


class Terms(NamedTuple):
    """What holds for every pair of a window.

    Args:
        weight_L: float64, weight of each session, 0 beyond the window.
        root_L: float64, its root.
        total: sum of the weights.
        n_rows: sessions of the window.
        n_series: columns of the window.
        min_overlap: fewest shared sessions.
        min_strength: float64, least strength of an edge.
        kept: one minus the shrinkage.
        slack: float32, more than the error of any float32 sum below.
        signed: whether strength is r instead of |r|.
        ranked: whether pairs are compared by ranks over what they share.
        symmetric: whether receivers and senders are the same.
    """

    weight_L: np.ndarray
    root_L: np.ndarray
    total: float
    n_rows: int
    n_series: int
    min_overlap: int
    min_strength: float
    kept: float
    slack: np.float32
    signed: bool
    ranked: bool
    symmetric: bool


class Pool(NamedTuple):
    """Pairs that may be among the strongest of each receiver, in no order until `settle` sorts them.

    Args:
        key_MxP: uint64, bits of the strength, then the distance of the sender's column from the last: sorts by
            strength and then by position, without equal keys.
        note_MxP: int16, shared sessions; negative where the correlation is.
        size_M: int64, how many there are.
        limit_M: float32, what |r| or r must reach, before shrinkage, to matter to a receiver.
    """

    key_MxP: np.ndarray
    note_MxP: np.ndarray
    size_M: np.ndarray
    limit_M: np.ndarray


class Scratch(NamedTuple):
    """Room that a scan needs, made once a window.

    Args:
        bar_C: float32, what a pair must reach to matter to one of its ends.
        excess_C: float32, by how much a pair may exceed it.
        sum_C: float32.
        square_C: float32.
        lacked_C: float32, weight of the sessions that each sender lacks.
        marks_C: uint8, whether a pair must be looked at; a multiple of eight of them.
        pairs_2xP: int32, receivers above, senders below.
        exact_P: float64.
        corr_P: float32.
        overlap_P: int16.
    """

    bar_C: np.ndarray
    excess_C: np.ndarray
    sum_C: np.ndarray
    square_C: np.ndarray
    lacked_C: np.ndarray
    marks_C: np.ndarray
    pairs_2xP: np.ndarray
    exact_P: np.ndarray
    corr_P: np.ndarray
    overlap_P: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def moments(values_WxN, weight_W):
    """Of each column over its own present rows: their number, a power of two as scale, mean, norm, constancy."""
    n_rows, n_series = values_WxN.shape
    count_N = np.zeros(n_series, dtype=np.int64)
    largest_N = np.zeros(n_series)
    for t in range(n_rows):
        for i in range(n_series):
            value = abs(values_WxN[t, i])
            if value < np.inf:
                count_N[i] += 1
                largest_N[i] = max(largest_N[i], value)
    # A power of two is exact, and keeps squares away from overflow and underflow.
    scale_N = np.empty(n_series)
    for i in range(n_series):
        scale_N[i] = math.ldexp(1.0, min(-math.frexp(largest_N[i])[1], _LARGEST_EXPONENT))
    total_N, mean_N = np.zeros(n_series), np.zeros(n_series)
    for t in range(n_rows):
        for i in range(n_series):
            if abs(values_WxN[t, i]) < np.inf:
                total_N[i] += weight_W[t]
                mean_N[i] += weight_W[t] * (values_WxN[t, i] * scale_N[i])
    for i in range(n_series):
        if count_N[i]:
            mean_N[i] /= total_N[i]
    squares_N = np.zeros(n_series)
    for t in range(n_rows):
        for i in range(n_series):
            if abs(values_WxN[t, i]) < np.inf:
                deviation = values_WxN[t, i] * scale_N[i] - mean_N[i]
                squares_N[i] += weight_W[t] * deviation * deviation
    constant_N = squares_N <= CONSTANT**2 * (squares_N + total_N * mean_N**2)
    return count_N, scale_N, mean_N, np.sqrt(squares_N), constant_N


@njit(cache=True, nogil=True, error_model="numpy")
def fill_side(side, mean_M, norm_M, root_L, weight_L):
    """Writes the arrays of a `Side` from its `values_WxN`; those that pad or sum are zero before."""
    values_WxN, position_M, scale_M = side.values_WxN, side.position_M, side.scale_M
    unit_WxM, weighted_WxM, exact_MxL = side.unit_WxM, side.weighted_WxM, side.exact_MxL
    missing_MxL, lacked_WxG, gaps = side.missing_MxL, side.lacked_WxG, side.gaps
    gap_weight_M, next_M = side.gap_weight_M, side.gap_start_M[:-1].copy()
    for t in range(values_WxN.shape[0]):
        root = root_L[t]
        for m in range(position_M.size):
            value = values_WxN[t, position_M[m]]
            if abs(value) < np.inf:
                unit = (value * scale_M[m] - mean_M[m]) / norm_M[m] * root
                exact_MxL[m, t] = unit
                unit_WxM[t, m] = unit
                weighted_WxM[t, m] = unit * root
            else:
                unit_WxM[t, m] = 0.0
                weighted_WxM[t, m] = 0.0
                missing_MxL[m, t] = True
                lacked_WxG[t, m] = 1.0
                gaps[next_M[m]] = t
                gap_weight_M[m] += weight_L[t]
                next_M[m] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _two_pass(first_W, second_W, shared_W, weight_L, n_rows):
    """Correlation over the shared rows from deviations about their means; NaN if either is constant there."""
    total = mean_a = mean_b = 0.0
    for t in range(n_rows):
        if shared_W[t]:
            total += weight_L[t]
            mean_a += weight_L[t] * first_W[t]
            mean_b += weight_L[t] * second_W[t]
    mean_a /= total
    mean_b /= total
    square_a = square_b = product = raw_a = raw_b = 0.0
    for t in range(n_rows):
        if shared_W[t]:
            a, b = first_W[t] - mean_a, second_W[t] - mean_b
            square_a += weight_L[t] * a * a
            square_b += weight_L[t] * b * b
            product += weight_L[t] * (a * b)
            raw_a += weight_L[t] * first_W[t] * first_W[t]
            raw_b += weight_L[t] * second_W[t] * second_W[t]
    if square_a <= CONSTANT**2 * raw_a or square_b <= CONSTANT**2 * raw_b:
        return np.nan
    return product / (math.sqrt(square_a) * math.sqrt(square_b))


@njit(cache=True, nogil=True, error_model="numpy")
def midranks(values_W, order_W, shared_W):
    """Ranks of the shared values from 1 on, tied ones sharing the middle; `order_W` sorts the series' own."""
    ranks_W = np.zeros(values_W.size)
    below = 0
    at = 0
    n_present = order_W.size
    while at < n_present:
        if order_W[at] < 0:
            break
        if not shared_W[order_W[at]]:
            at += 1
            continue
        end, tied = at, 0
        while end < n_present and order_W[end] >= 0 and values_W[order_W[end]] == values_W[order_W[at]]:
            tied += shared_W[order_W[end]]
            end += 1
        for q in range(at, end):
            if shared_W[order_W[q]]:
                ranks_W[order_W[q]] = below + (tied + 1) / 2
        below += tied
        at = end
    return ranks_W


@njit(cache=True, nogil=True, error_model="numpy")
def _looked_at_alone(receivers, i, senders, j, terms):
    """Correlation of a pair with gaps from its own shared rows, nothing precomputed."""
    first_W = receivers.values_WxN[:, receivers.position_M[i]] * receivers.scale_M[i]
    second_W = senders.values_WxN[:, senders.position_M[j]] * senders.scale_M[j]
    shared_W = (np.abs(first_W) < np.inf) & (np.abs(second_W) < np.inf)
    if terms.ranked:
        first_W = midranks(first_W, receivers.order_MxW[i], shared_W)
        second_W = midranks(second_W, senders.order_MxW[j], shared_W)
    return _two_pass(first_W, second_W, shared_W, terms.weight_L, terms.n_rows)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _over_gaps(exact_MxL, i, gaps, first, end, root_L):
    """Sum and sum of squares of a series over the rows that the other one lacks."""
    total = squares = 0.0
    for at in range(first, end):
        value = exact_MxL[i, gaps[at]]
        total += root_L[gaps[at]] * value
        squares += value * value
    return total, squares


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _is_flat(variance, squares, total_lacked, level, weight):
    """Whether a series is constant over the rows of a pair, told from sums over the rows the other one lacks."""
    raw = 1.0 - squares - 2.0 * level * total_lacked + weight * level * level
    return variance <= CONSTANT**2 * raw


@njit(cache=True, nogil=True, error_model="numpy")
def correlate(pairs_2xP, n_pairs, receivers, senders, terms, exact_P, corr_P, overlap_P):
    """Writes the published correlation of pairs, NaN where there is none, and how many sessions they share.

    In three passes: the products, which wait for memory, stand in a loop without a branch.

    Args:
        pairs_2xP: int32, receivers above, senders below.
        n_pairs: how many of the columns count.
        exact_P: float64, scratch.
        corr_P: float32.
        overlap_P: int16.
    """
    _products(pairs_2xP, n_pairs, receivers.exact_MxL, senders.exact_MxL, exact_P)
    if receivers.gaps.size or senders.gaps.size:
        _without_gaps(pairs_2xP, n_pairs, receivers, senders, terms, exact_P, overlap_P)
    else:
        overlap_P[:n_pairs] = terms.n_rows
    kept = terms.kept
    for at in range(n_pairs):
        corr_P[at] = kept * min(max(exact_P[at], -1.0), 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _products(pairs_2xP, n_pairs, first_MxL, second_MxL, exact_P):
    """Sums of products by a tree of fixed shape: halves are folded until a few sums are left."""
    half = first_MxL.shape[1] // 2
    lane_H = np.empty(half)
    for at in range(n_pairs):
        own_L, other_L = first_MxL[pairs_2xP[0, at]], second_MxL[pairs_2xP[1, at]]
        own_H, other_H = own_L[half:], other_L[half:]
        for t in range(half):
            lane_H[t] = own_L[t] * other_L[t] + own_H[t] * other_H[t]
        width = half // 2
        while width >= LANES // 2:
            for t in range(width):
                lane_H[t] += lane_H[t + width]
            width //= 2
        exact_P[at] = (lane_H[0] + lane_H[2]) + (lane_H[1] + lane_H[3])


@njit(cache=True, nogil=True, error_model="numpy")
def _without_gaps(pairs_2xP, n_pairs, receivers, senders, terms, exact_P, overlap_P):
    """Makes correlations over shared rows of products over all rows, and counts the shared rows."""
    exact_i, exact_j = receivers.exact_MxL, senders.exact_MxL
    start_i, start_j = receivers.gap_start_M, senders.gap_start_M
    gaps_i, gaps_j, missing_i = receivers.gaps, senders.gaps, receivers.missing_MxL
    lacked_i, lacked_j = receivers.gap_weight_M, senders.gap_weight_M
    level_i, level_j = receivers.level_M, senders.level_M
    weight_L, root_L = terms.weight_L, terms.root_L
    n_rows, total_weight, min_overlap, ranked = terms.n_rows, terms.total, terms.min_overlap, terms.ranked
    for at in range(n_pairs):
        i, j = pairs_2xP[0, at], pairs_2xP[1, at]
        first_i, end_i, first_j, end_j = start_i[i], start_i[i + 1], start_j[j], start_j[j + 1]
        both, both_weight = 0, 0.0
        for gap in range(first_j, end_j):
            if missing_i[i, gaps_j[gap]]:
                both += 1
                both_weight += weight_L[gaps_j[gap]]
        overlap = n_rows - (end_i - first_i) - (end_j - first_j) + both
        overlap_P[at] = overlap
        if overlap < min_overlap:
            exact_P[at] = np.nan
        elif end_i > first_i or end_j > first_j:
            total = total_weight - (lacked_i[i] + lacked_j[j]) + both_weight
            sum_i, squares_i = _over_gaps(exact_i, i, gaps_j, first_j, end_j, root_L)
            sum_j, squares_j = _over_gaps(exact_j, j, gaps_i, first_i, end_i, root_L)
            variance_i = 1.0 - squares_i - sum_i * sum_i / total
            variance_j = 1.0 - squares_j - sum_j * sum_j / total
            if ranked or total < THIN * total_weight or min(variance_i, variance_j) < CANCELLED:
                exact_P[at] = np.inf  # looked at alone below: a call in here would slow down every pair
            elif _is_flat(variance_i, squares_i, sum_i, level_i[i], total) or _is_flat(
                variance_j, squares_j, sum_j, level_j[j], total
            ):
                exact_P[at] = np.nan
            else:
                exact_P[at] = (exact_P[at] - sum_i * sum_j / total) / math.sqrt(variance_i * variance_j)
    for at in range(n_pairs):
        if exact_P[at] == np.inf:
            exact_P[at] = _looked_at_alone(receivers, pairs_2xP[0, at], senders, pairs_2xP[1, at], terms)


@njit(cache=True, nogil=True, error_model="numpy")
def pairs_before(before_Nxk, position_M, place_N, symmetric, pairs_2xP, mutual_P):
    """Writes the pairs of another session's graph, one that runs both ways once; returns their number.

    Args:
        before_Nxk: int32, columns of the neighbours, -1 where absent.
        position_M: int64, column of each receiver.
        place_N: int64, where a column stands among the senders; -1 where it does not.
        symmetric: whether receivers and senders are the same.
        pairs_2xP: int32, receivers above, senders below.
        mutual_P: bool, whether a pair runs both ways.
    """
    n_pairs = 0
    for i in range(position_M.size):
        for rank in range(before_Nxk.shape[1]):
            sender = before_Nxk[position_M[i], rank]
            if sender < 0 or place_N[sender] < 0:
                continue
            mutual = False
            if symmetric:
                for back in range(before_Nxk.shape[1]):
                    mutual |= before_Nxk[sender, back] == position_M[i]
            if mutual and place_N[sender] < i:
                continue
            pairs_2xP[0, n_pairs] = i
            pairs_2xP[1, n_pairs] = place_N[sender]
            mutual_P[n_pairs] = mutual
            n_pairs += 1
    return n_pairs


@njit(cache=True, nogil=True, error_model="numpy")
def raise_limits(pairs_2xP, mutual_P, n_pairs, k, corr_P, signed, kept, limit_M):
    """Raises a receiver's limit to the weakest of k pairs it has: no weaker one can be among its k strongest.

    Args:
        pairs_2xP: int32, receivers above, senders below.
        mutual_P: bool, whether a pair is one of the sender's, too.
        n_pairs: how many of the columns count.
        k: how many neighbours a receiver may have.
        corr_P: float32, their published correlations.
    """
    count_M = np.zeros(limit_M.size, dtype=np.int64)
    weakest_M = np.full(limit_M.size, np.inf, dtype=np.float32)
    for at in range(n_pairs):
        strength = corr_P[at] if signed else abs(corr_P[at])
        if strength >= 0:  # a NaN is not
            for end in range(2 if mutual_P[at] else 1):
                i = pairs_2xP[end, at]
                count_M[i] += 1
                weakest_M[i] = min(weakest_M[i], strength)
    for i in range(limit_M.size):
        if count_M[i] == k:
            limit_M[i] = max(limit_M[i], np.float32(weakest_M[i] / kept))


@njit(cache=True, nogil=True, error_model="numpy")
def _pool(n_pairs, receivers, senders, terms, pool, k, scratch):
    """Computes pairs exactly and hands each to its receiver's pool, in a symmetric measure to those of both its ends."""
    pairs_2xP, corr_P, overlap_P = scratch.pairs_2xP, scratch.corr_P, scratch.overlap_P
    correlate(pairs_2xP, n_pairs, receivers, senders, terms, scratch.exact_P, corr_P, overlap_P)
    position_i, position_j = receivers.position_M, senders.position_M
    key_MxP, note_MxP, size_M, limit_M = pool.key_MxP, pool.note_MxP, pool.size_M, pool.limit_M
    last, capacity = np.uint64(terms.n_series - 1), pool.key_MxP.shape[1]
    signed, symmetric, slack, kept = terms.signed, terms.symmetric, terms.slack, terms.kept
    for at in range(n_pairs):
        corr = corr_P[at]
        # Adding zero makes zero of a negative zero.
        strength = np.float32((corr if signed else abs(corr)) + 0.0)
        i, j = pairs_2xP[0, at], pairs_2xP[1, at]
        # A NaN is not as large as anything.
        if not (strength >= terms.min_strength and strength >= 0) or position_i[i] == position_j[j]:
            continue
        bits = (np.uint64(strength.view(np.uint32)) + np.uint64(1)) << np.uint64(32)
        note = np.int16(-overlap_P[at] if corr < 0 else overlap_P[at])
        for end in range(2 if symmetric else 1):
            own, other = (j, position_i[i]) if end else (i, position_j[j])
            if size_M[own] == capacity:
                _settle(own, pool, k, kept)
            # Written in any case and counted only if it matters to this end: a branch could not be predicted.
            place = size_M[own]
            key_MxP[own, place] = bits | (last - np.uint64(other))
            note_MxP[own, place] = note
            size_M[own] = place + (strength >= kept * limit_M[own] - slack)


@njit(cache=True, nogil=True, error_model="numpy")
def _strength(key):
    """The strength that a key begins with."""
    return np.uint32((key >> np.uint64(32)) - np.uint64(1)).view(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _settle(i, pool, k, kept):
    """Sorts a receiver's pool, keeps its k strongest and raises the limit to the weakest of them."""
    key_P, note_P, size = pool.key_MxP[i], pool.note_MxP[i], pool.size_M[i]
    for at in range(1, size):
        key, note = key_P[at], note_P[at]
        place = at
        while place and key_P[place - 1] < key:
            key_P[place] = key_P[place - 1]
            note_P[place] = note_P[place - 1]
            place -= 1
        key_P[place], note_P[place] = key, note
    pool.size_M[i] = min(size, k)
    if size >= k:
        pool.limit_M[i] = max(pool.limit_M[i], np.float32(_strength(key_P[k - 1]) / kept))


@njit(cache=True, nogil=True, error_model="numpy")
def settle(pool, k, position_M, n_series, dst_Nxk, corr_Nxk, overlap_Nxk):
    """Writes the k strongest of every pool, strongest first, where its receiver's column is."""
    last = n_series - 1
    for i in range(pool.size_M.size):
        key_P, note_P = pool.key_MxP[i, : pool.size_M[i]], pool.note_MxP[i]
        column = position_M[i]
        for at in range(key_P.size):
            key = key_P[at]
            # No two keys are equal, so the number of larger ones is the rank: for some thirty of them counting without
            # a branch is several times as fast as sorting.
            rank = 0
            for other in range(key_P.size):
                rank += key_P[other] > key
            if rank < k:
                note = note_P[at]
                dst_Nxk[column, rank] = last - np.int64(key & np.uint64(0xFFFFFFFF))
                corr_Nxk[column, rank] = -_strength(key) if note < 0 else _strength(key)
                overlap_Nxk[column, rank] = abs(note)


@njit(cache=True, nogil=True, error_model="numpy")
def scan(first, start, products_BxC, sums_BxG, squares_BxG, common_BxG, receivers, senders, terms, pool, k, scratch):
    """Looks closely at every pair of a block that float32 sums do not rule out.

    A pair matters only if its strength reaches the limit of one of its ends. With P, S and Q the products, sums and
    squares over the rows both have, r² = (P - S_i S_j / w)² / ((Q_i - S_i² / w) (Q_j - S_j² / w)); every part is
    known here to within `slack`, so that the test can err in one direction only: to look for nothing.

    Args:
        first: receiver of the block's first row.
        start: sender of its first column.
        products_BxC: float32, sums of products of units over the window.
        sums_BxG: float32, over the rows that gappy sender g lacks, sum of the receiver's weighted units.
        squares_BxG: float32, the same of squared units.
        common_BxG: float32, weight of the rows that both lack.
        scratch: room for more pairs than there are senders.
    """
    n_columns, n_pairs = products_BxC.shape[1], 0
    n_gappy = max(senders.lacked_WxG.shape[1] - start, 0)
    limit_M, symmetric, signed, slack = pool.limit_M, terms.symmetric, terms.signed, terms.slack
    bar_C, excess_C = scratch.bar_C[:n_columns], scratch.excess_C[:n_columns]
    marks_C = scratch.marks_C[: -(-n_columns // 8) * 8]
    marks_C[n_columns:] = 0
    words = marks_C.view(np.uint64)
    receiver_P, sender_P = scratch.pairs_2xP[0], scratch.pairs_2xP[1]
    for b in range(products_BxC.shape[0]):
        i = first + b
        begin = i + 1 - start if symmetric else 0
        if n_pairs + n_columns >= scratch.pairs_2xP.shape[1]:
            _pool(n_pairs, receivers, senders, terms, pool, k, scratch)
            n_pairs = 0
        own = limit_M[i]
        if symmetric:
            other_C = limit_M[start : start + n_columns]
            for c in range(n_columns):
                bar_C[c] = min(own, other_C[c])
        else:
            bar_C[:] = own
        reach_C = products_BxC[b]
        if receivers.gap_start_M[i + 1] > receivers.gap_start_M[i] or begin < n_gappy:
            _excess_with_gaps(
                b,
                i,
                start,
                n_gappy,
                products_BxC,
                sums_BxG,
                squares_BxG,
                common_BxG,
                receivers,
                senders,
                terms,
                scratch,
            )
        elif signed:
            for c in range(n_columns):
                excess_C[c] = reach_C[c] + slack - bar_C[c]
        else:
            for c in range(n_columns):
                excess_C[c] = abs(reach_C[c]) + slack - bar_C[c]
        for c in range(n_columns):
            marks_C[c] = excess_C[c] >= 0
        marks_C[:begin] = 0
        for word in range(begin // 8, words.size):
            if words[word]:
                # Without a branch: which of eight it is cannot be predicted.
                for c in range(8 * word, 8 * word + 8):
                    receiver_P[n_pairs] = i
                    sender_P[n_pairs] = start + c
                    n_pairs += marks_C[c]
    _pool(n_pairs, receivers, senders, terms, pool, k, scratch)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FILTER)
def _excess_with_gaps(
    b, i, start, n_gappy, products_BxC, sums_BxG, squares_BxG, common_BxG, receivers, senders, terms, scratch
):
    """Writes (|cov| + slack)² - bar² (var_i - slack) (var_j - slack); 0 for a pair that must be looked at anyway."""
    product_C = products_BxC[b]
    n_columns = product_C.size
    bar_C, excess_C = scratch.bar_C[:n_columns], scratch.excess_C[:n_columns]
    if terms.ranked:
        excess_C[:] = 0.0
        return
    slack, zero, one, signed = terms.slack, np.float32(0.0), np.float32(1.0), terms.signed
    # Sums of every sender over the rows that the receiver lacks.
    sum_C, square_C = scratch.sum_C[:n_columns], scratch.square_C[:n_columns]
    sum_C[:] = 0.0
    square_C[:] = 0.0
    for at in range(receivers.gap_start_M[i], receivers.gap_start_M[i + 1]):
        weighted_C = senders.weighted_WxM[receivers.gaps[at], start:]
        unit_C = senders.unit_WxM[receivers.gaps[at], start:]
        for c in range(n_columns):
            sum_C[c] += weighted_C[c]
            square_C[c] += unit_C[c] * unit_C[c]
    weight = np.float32(terms.total - receivers.gap_weight_M[i])
    # Twice what counts as thin: float32 is not sure of the last digits of a weight.
    thin = np.float32(2 * THIN * terms.total)
    sum_G, square_G, common_G, lacked_G = sums_BxG[b], squares_BxG[b], common_BxG[b], scratch.lacked_C[start:]
    # One array written and few read in a loop: the compiler gives up where it would have to tell too many apart.
    for c in range(n_gappy):
        common_G[c] += weight - lacked_G[c]
    for c in range(n_gappy):
        inverse = one / max(common_G[c], thin)
        cov = product_C[c] - sum_G[c] * sum_C[c] * inverse
        var_i = max(one - square_G[c] - sum_G[c] * sum_G[c] * inverse - slack, zero)
        var_j = max(one - square_C[c] - sum_C[c] * sum_C[c] * inverse - slack, zero)
        reach = max(cov if signed else abs(cov), -slack) + slack
        excess = reach * reach - bar_C[c] * bar_C[c] * var_i * var_j
        excess_C[c] = max(excess, zero) if common_G[c] < thin else excess
    inverse = one / max(weight, thin)
    # The receiver has all it needs of a complete sender: its own variance there is one.
    var_i = one - slack
    for c in range(n_gappy, n_columns):
        var_j = max(one - square_C[c] - sum_C[c] * sum_C[c] * inverse - slack, zero)
        reach = max(product_C[c] if signed else abs(product_C[c]), -slack) + slack
        excess = reach * reach - bar_C[c] * bar_C[c] * var_i * var_j
        excess_C[c] = max(excess, zero) if weight < thin else excess
