"""Edges through time: each session's neighbours today and as they were, with their ages."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Int16, Int32, Int64

from gnn_assets.graphs.neighbours import Neighbours


@dataclass(frozen=True, eq=False)
class TemporalNeighbours:
    """Neighbours from snapshots at L lags, k from each, youngest snapshot first: K = k · L.

    Args:
        sessions_S: int64 (S,), row of the returns each session stands at.
        dst_SxNxK: int32, position of the neighbour, strongest first within a snapshot; -1 where there is none.
        corr_SxNxK: float32, correlation with it at the snapshot; NaN where there is none.
        age_SxNxK: int16, sessions from the snapshot to the session; -1 where there is none.
    """

    sessions_S: Int64[np.ndarray, " S"]
    dst_SxNxK: Int32[np.ndarray, "S N K"]
    corr_SxNxK: Float32[np.ndarray, "S N K"]
    age_SxNxK: Int16[np.ndarray, "S N K"]


def temporal_neighbours(
    neighbours: Neighbours, *, lags: Sequence[int], sessions: Sequence[int] | np.ndarray | None = None
) -> TemporalNeighbours:
    """Joins, for every session, the snapshots so many sessions before it.

    A neighbour that is in several snapshots is there once for each, with each age: that a tie has held for a quarter
    is what attention over ages is to learn from, and the correlations of the snapshots differ. A neighbour of an old
    snapshot that has left the market since stays an edge; it has no value that could come along it.

    Args:
        neighbours: snapshots, each named by its row of the returns; in any order, not necessarily of every row.
        lags: ages wanted (sessions), from 0 on and ascending.
        sessions: rows wanted; those of `neighbours` when None. Ask for a batch at a time: the result is L times as
            large as the snapshots.

    Returns:
        TemporalNeighbours; absent throughout where there is no snapshot of that row.

    Known at: the close of each session; no snapshot of a later one is read.

    Raises:
        ValueError: if a lag is negative, or they do not ascend.
    """
    if any(lag < 0 for lag in lags) or any(later <= lag for lag, later in pairwise(lags)):
        raise ValueError(f"lags: expected ascending numbers from 0 on, was {list(lags)}")
    rows_S = neighbours.sessions_S if sessions is None else np.asarray(sessions, dtype=np.int64)
    snapshot_of = {int(row): snapshot for snapshot, row in enumerate(neighbours.sessions_S)}
    _, n_symbols, k = neighbours.dst_SxNxk.shape
    shape = (len(rows_S), n_symbols, k * len(lags))
    dst = np.full(shape, -1, dtype=np.int32)
    corr = np.full(shape, np.nan, dtype=np.float32)
    age = np.full(shape, -1, dtype=np.int16)
    for position, row in enumerate(rows_S):
        for place, lag in enumerate(lags):
            snapshot = snapshot_of.get(int(row) - lag)
            if snapshot is None:
                continue
            columns = slice(place * k, (place + 1) * k)
            dst[position, :, columns] = neighbours.dst_SxNxk[snapshot]
            corr[position, :, columns] = neighbours.corr_SxNxk[snapshot]
            age[position, :, columns] = np.where(neighbours.dst_SxNxk[snapshot] >= 0, lag, -1)
    return TemporalNeighbours(rows_S, dst, corr, age)
