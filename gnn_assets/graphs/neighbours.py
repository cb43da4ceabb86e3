"""Between neighbour arrays, as kernels and networks use them, and the long table that is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from jaxtyping import Float32, Int16, Int32, Int64

from gnn_assets.graphs.schema import CORRELATION_GRAPHS


@dataclass(frozen=True)
class Neighbours:
    """The k strongest partners of each series, session by session.

    Args:
        sessions_S: int64 (S,), row of the returns at which each trailing window ends.
        dst_SxNxk: int32, position of the neighbour, strongest first; -1 where there is none.
        corr_SxNxk: float32, correlation with it; NaN where there is none.
        overlap_SxNxk: int16, sessions both had a value on; 0 where there is none.
    """

    sessions_S: Int64[np.ndarray, " S"]
    dst_SxNxk: Int32[np.ndarray, "S N k"]
    corr_SxNxk: Float32[np.ndarray, "S N k"]
    overlap_SxNxk: Int16[np.ndarray, "S N k"]


def graph_frame(neighbours: Neighbours, sessions: Sequence[date], symbols: Sequence[str]) -> pl.DataFrame:
    """The stored table of a kernel's result; absent neighbours have no row.

    Args:
        neighbours: result over the axes below.
        sessions: the row axis (T) that `neighbours.sessions_S` points into.
        symbols: the column axis (N).

    Returns:
        A frame of `CORRELATION_GRAPHS`.
    """
    at, src, rank = np.nonzero(neighbours.dst_SxNxk >= 0)
    names = pl.Series(symbols, dtype=pl.String)
    return CORRELATION_GRAPHS.conform(
        pl.DataFrame(
            {
                "session": pl.Series(sessions, dtype=pl.Date).gather(neighbours.sessions_S[at]),
                "src": names.gather(src),
                "rank": rank.astype(np.int16),
                "dst": names.gather(neighbours.dst_SxNxk[at, src, rank]),
                "corr": neighbours.corr_SxNxk[at, src, rank],
                "overlap": neighbours.overlap_SxNxk[at, src, rank],
            }
        )
    )


def stored_neighbours(frame: pl.DataFrame, *, sessions: Sequence[date], symbols: Sequence[str], k: int) -> Neighbours:
    """Fixed-degree arrays of a stored graph, as the kernel gave them.

    Args:
        frame: a frame of `CORRELATION_GRAPHS`; rows of other sessions or symbols, or of rank `k` and beyond, are
            left out.
        sessions: sessions wanted, with an edge or without; they are rows 0 to S - 1 of the result.
        symbols: the node axis (N).
        k: neighbours a node.
    """
    shape = (len(sessions), len(symbols), k)
    dst = np.full(shape, -1, dtype=np.int32)
    corr = np.full(shape, np.nan, dtype=np.float32)
    overlap = np.zeros(shape, dtype=np.int16)
    rows = pl.DataFrame({"session": pl.Series(sessions, dtype=pl.Date)}).with_row_index("row")
    nodes = pl.DataFrame({"symbol": pl.Series(symbols, dtype=pl.String)}).with_row_index("node")
    edges = (
        frame.filter(pl.col("rank") < k)
        .join(rows, on="session")
        .join(nodes.rename({"symbol": "src", "node": "from"}), on="src")
        .join(nodes.rename({"symbol": "dst", "node": "to"}), on="dst")
    )
    place = tuple(edges[name].to_numpy() for name in ("row", "from", "rank"))
    for array, name in ((dst, "to"), (corr, "corr"), (overlap, "overlap")):
        array[place] = edges[name].to_numpy()
    return Neighbours(np.arange(len(sessions)), dst, corr, overlap)


def graph_arrays(
    frame: pl.DataFrame, *, sessions: Sequence[date], symbols: Sequence[str], k: int
) -> tuple[Int32[np.ndarray, "T N k"], Float32[np.ndarray, "T N k"]]:
    """What a network reads of a stored graph; arguments as for `stored_neighbours`.

    Returns:
        int32 (T, N, k) position of each neighbour, -1 where absent; float32 (T, N, k) correlation, 0 where absent.
    """
    found = stored_neighbours(frame, sessions=sessions, symbols=symbols, k=k)
    return found.dst_SxNxk, np.nan_to_num(found.corr_SxNxk, copy=False)
