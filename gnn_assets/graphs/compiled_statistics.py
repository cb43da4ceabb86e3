"""Compiled loops of the graph statistics: one session's graph at a time, without the interpreter's lock.

No array carries a jaxtyping annotation here: its import hook must not wrap a compiled function.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

# A node moves for a gain of more than this share of its strength: less is rounding.
_GAIN = 1e-9
# Partial sums: a sum in one register waits for itself.
_LANES = 4


class Pairs(NamedTuple):
    """A symmetric matrix of weights by sparse rows.

    Args:
        start: uint32 (N + 1,), where each row begins in the other two.
        column: uint32, ascending within a row.
        value: float64, positive.
    """

    start: np.ndarray
    column: np.ndarray
    value: np.ndarray


class _Search(NamedTuple):
    """Where a search for communities stands: per node, per label, and room to work in."""

    labels: np.ndarray
    strength: np.ndarray
    due: np.ndarray
    total: np.ndarray
    link: np.ndarray
    near: np.ndarray


@njit(cache=True, nogil=True)
def undirected(dst_Nxk: np.ndarray, corr_Nxk: np.ndarray) -> Pairs:
    """The pairs joined in either direction.

    A pair weighs its larger |corr|; one of weight zero is no pair.
    """
    n_nodes, k = dst_Nxk.shape
    first = np.zeros(n_nodes + 1, np.uint32)
    for i in range(n_nodes):
        for rank in range(k):
            j = dst_Nxk[i, rank]
            if 0 <= j < n_nodes and j != i and abs(corr_Nxk[i, rank]) > 0:
                first[i + 1] += 1
                first[j + 1] += 1
    for i in range(n_nodes):
        first[i + 1] += first[i]
    both = np.empty(first[n_nodes], np.uint32)
    strength = np.empty(first[n_nodes], np.float64)
    place = first[:-1].copy()
    for i in range(n_nodes):
        for rank in range(k):
            j = dst_Nxk[i, rank]
            if 0 <= j < n_nodes and j != i and abs(corr_Nxk[i, rank]) > 0:
                both[place[i]] = j
                both[place[j]] = i
                strength[place[i]] = strength[place[j]] = abs(corr_Nxk[i, rank])
                place[i] += 1
                place[j] += 1
    return _ordered(first, both, strength)


@njit(cache=True, nogil=True)
def _ordered(first: np.ndarray, both: np.ndarray, strength: np.ndarray) -> Pairs:
    """The same rows with ascending columns, a pair that is there twice once.

    The transpose of a symmetric matrix, filled row by row, is itself with its columns in order.
    """
    n_nodes = len(first) - 1
    column = np.empty_like(both)
    value = np.empty_like(strength)
    place = first[:-1].copy()
    for i in range(n_nodes):
        for at in range(first[i], first[i + 1]):
            j = both[at]
            last = place[j]
            if last > first[j] and column[last - 1] == i:
                value[last - 1] = max(value[last - 1], strength[at])
            else:
                column[last], value[last] = i, strength[at]
                place[j] += 1
    start = np.zeros(n_nodes + 1, np.uint32)
    for i in range(n_nodes):
        size = place[i] - first[i]
        start[i + 1] = start[i] + size
        for at in range(size):
            column[start[i] + at] = column[first[i] + at]
            value[start[i] + at] = value[first[i] + at]
    return Pairs(start, column[: start[n_nodes]].copy(), value[: start[n_nodes]].copy())


@njit(cache=True, nogil=True)
def closed_walks(pairs: Pairs) -> np.ndarray:
    """Mean over the nodes of the diagonals of S, S², S³ and S⁴, where I − S is the normalised Laplacian.

    A node without an edge has the eigenvalue 0 there (Chung's convention), and 1 in every power of S.
    """
    start, column, _ = pairs
    n_nodes = len(start) - 1
    scaled, isolated = _normalised(pairs)
    row = np.zeros(n_nodes + _LANES)  # of S², up to its diagonal
    stop = start[:-1].copy()  # of the columns up to i, in each row
    second, third = 0.0, 0.0
    fourth = np.zeros(_LANES)
    for i in range(n_nodes):
        for at in range(start[i], start[i + 1]):
            j, weight = column[at], scaled[at]
            stop[j] += 1
            for further in range(start[j], stop[j]):
                row[column[further]] += weight * scaled[further]
        for at in range(start[i], stop[i]):
            third += 2 * scaled[at] * row[column[at]]
        second += row[i]
        fourth[0] -= row[i] * row[i]
        for j in range(0, i + 1, _LANES):
            for lane in range(_LANES):
                fourth[lane] += 2 * row[j + lane] * row[j + lane]
        row[: i + 1] = 0
    return (np.array([0.0, second, third, fourth.sum()]) + isolated) / n_nodes


@njit(cache=True, nogil=True)
def _normalised(pairs: Pairs) -> tuple[np.ndarray, int]:
    """Each weight over the roots of the strengths of its two nodes, and how many nodes have none."""
    start, column, value = pairs
    root = np.sqrt(_strengths(pairs))
    scaled = np.empty_like(value)
    for i in range(len(root)):
        for at in range(start[i], start[i + 1]):
            scaled[at] = value[at] / (root[i] * root[column[at]])
    return scaled, (root == 0).sum()


@njit(cache=True, nogil=True)
def _strengths(pairs: Pairs) -> np.ndarray:
    """Sum of the weights of each row."""
    strength = np.zeros(len(pairs.start) - 1)
    for i in range(len(strength)):
        for at in range(pairs.start[i], pairs.start[i + 1]):
            strength[i] += pairs.value[at]
    return strength


@njit(cache=True, nogil=True)
def louvain(pairs: Pairs, first_N: np.ndarray) -> np.ndarray:
    """Communities from those of `first_N` on: nodes move, then whole communities, until neither gains modularity.

    Returns the community of each node, numbered by its first node; -1 for a node without an edge. What comes out,
    handed in as `first_N`, comes out again: so two partitions of one graph are compared without the luck of a search.
    """
    labels = _numbered(pairs, first_N)
    while True:
        _move(pairs, labels)
        labels = _numbered(pairs, labels)
        merged = False
        while True:
            coarse = _merged(pairs, labels)
            group = np.arange(len(coarse.start) - 1).astype(np.int32)
            if not _move(coarse, group):
                break
            merged = True
            for i in range(len(labels)):
                if labels[i] >= 0:
                    labels[i] = group[labels[i]]
            labels = _numbered(pairs, labels)
        if not merged:
            return labels


@njit(cache=True, nogil=True)
def _numbered(pairs: Pairs, labels: np.ndarray) -> np.ndarray:
    """The labels as 0, 1, ... in order of appearance; a connected node that has none gets its own."""
    n_nodes = len(labels)
    number = np.full(n_nodes, -1, np.int32)
    numbered = np.full(n_nodes, -1, np.int32)
    n_labels = 0
    for i in range(n_nodes):
        if pairs.start[i] == pairs.start[i + 1]:
            continue
        label = labels[i]
        if label >= 0 and number[label] >= 0:
            numbered[i] = number[label]
            continue
        if label >= 0:
            number[label] = n_labels
        numbered[i] = n_labels
        n_labels += 1
    return numbered


@njit(cache=True, nogil=True)
def _merged(pairs: Pairs, labels: np.ndarray) -> Pairs:
    """The graph whose nodes are the communities; its diagonal is what stays inside."""
    start, column, value = pairs
    n_labels = labels.max() + 1 if len(labels) else 0
    between = np.zeros((n_labels, n_labels))
    for i in range(len(labels)):
        for at in range(start[i], start[i + 1]):
            between[labels[i], labels[column[at]]] += value[at]
    rows, columns = np.nonzero(between)
    first = np.zeros(n_labels + 1, np.uint32)
    weight = np.empty(len(rows))
    for at in range(len(rows)):
        first[rows[at] + 1] += 1
        weight[at] = between[rows[at], columns[at]]
    for i in range(n_labels):
        first[i + 1] += first[i]
    return Pairs(first, columns.astype(np.uint32), weight)


@njit(cache=True, nogil=True)
def _move(pairs: Pairs, labels: np.ndarray) -> bool:
    """Moves one node after another to the label it gains most by, until none gains; true if any moved."""
    n_nodes = len(labels)
    strength = _strengths(pairs)
    total = np.zeros(n_nodes)
    for i in range(n_nodes):
        if labels[i] >= 0:
            total[labels[i]] += strength[i]
    due = np.empty(n_nodes, np.bool_)
    search = _Search(labels, strength, due, total, np.zeros(n_nodes), np.empty(n_nodes + 1, np.uint32))
    ever, settled = False, False
    while not settled:
        # Totals change for nodes no move was near to, too: all are asked once more at the end.
        due[:] = True
        settled = not _sweep(pairs, search)
        ever = ever or not settled
        while due.any():
            _sweep(pairs, search)
    return ever


@njit(cache=True, nogil=True)
def _sweep(pairs: Pairs, search: _Search) -> bool:
    """Asks every node that is due, in order; neighbours of one that moved become due. True if any moved."""
    start, column, _ = pairs
    labels, strength, due, total, link, near = search
    whole = strength.sum()
    moved = False
    for i in range(len(labels)):
        asked = due[i] and labels[i] >= 0
        due[i] = False
        if not asked:
            continue
        n_near = _links(pairs, search, i)
        home = labels[i]
        total[home] -= strength[i]
        share = strength[i] / whole
        best, gain = home, link[home] - share * total[home] + _GAIN * strength[i]
        for position in range(n_near):
            label = near[position]
            other = link[label] - share * total[label]
            if other > gain:
                best, gain = label, other
            link[label] = 0
        total[best] += strength[i]
        if best != home:
            labels[i] = best
            moved = True
            for at in range(start[i], start[i + 1]):
                due[column[at]] = due[column[at]] or labels[column[at]] != best
    return moved


@njit(cache=True, nogil=True)
def _links(pairs: Pairs, search: _Search, i: int) -> int:
    """Weight of a node's edges into each label, in `link`; the labels it has any to, in `near`; how many they are."""
    start, column, value = pairs
    labels, link, near = search.labels, search.link, search.near
    n_near = 0
    for at in range(start[i], start[i + 1]):
        if column[at] == i:
            continue
        label = labels[column[at]]
        # Written anyhow, counted when new: a branch here would be guessed wrong half of the time.
        near[n_near] = label
        n_near += link[label] == 0
        link[label] += value[at]
    return n_near


@njit(cache=True, nogil=True)
def shared_edges(before_Nxk: np.ndarray, after_Nxk: np.ndarray) -> int:
    """Directed edges that are in both graphs."""
    shared = 0
    mark = np.full(len(after_Nxk), -1, np.int64)
    for i in range(len(after_Nxk)):
        for j in before_Nxk[i]:
            if j >= 0:
                mark[j] = i
        for j in after_Nxk[i]:
            if j >= 0 and mark[j] == i:
                shared += 1
    return shared


@njit(cache=True, nogil=True)
def component_sizes(pairs: Pairs) -> np.ndarray:
    """Nodes of each connected component, by its first node; one for a node without an edge."""
    start, column, _ = pairs
    n_nodes = len(start) - 1
    seen = np.zeros(n_nodes, np.bool_)
    stack = np.empty(n_nodes, np.uint32)
    sizes = np.zeros(n_nodes, np.int64)
    n_components = 0
    for first in range(n_nodes):
        if seen[first]:
            continue
        seen[first] = True
        stack[0], n_stack = first, 1
        while n_stack:
            n_stack -= 1
            i = stack[n_stack]
            sizes[n_components] += 1
            for at in range(start[i], start[i + 1]):
                j = column[at]
                if not seen[j]:
                    seen[j] = True
                    stack[n_stack] = j
                    n_stack += 1
        n_components += 1
    return sizes[:n_components].copy()
