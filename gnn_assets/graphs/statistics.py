"""One row of numbers a session that say what the graph looks like and how it changed."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from gnn_assets.graphs.neighbours import graph_arrays
from gnn_assets.graphs.schema import GRAPH_STATISTICS


def graph_statistics(
    frame: pl.DataFrame, *, returns: pl.DataFrame, sessions: Sequence[date], symbols: Sequence[str]
) -> pl.DataFrame:
    """Density, degrees and change of each session's graph.

    Args:
        frame: a frame of `CORRELATION_GRAPHS`.
        returns: the frame of `RETURNS` the graph was made from.
        sessions: sessions with a graph, ascending; one without any edge counts too.
        symbols: the nodes.

    Returns:
        A frame of `GRAPH_STATISTICS`, one row a session.

    Known at: the session's close plus grace.

    References:
        P. Jaccard, "The distribution of the flora in the alpine zone", New Phytologist 11 (1912), 37-50 (churn);
        R. Wilson, P. Zhu, "A study of graph spectra for comparing graphs and trees", Pattern Recognition 41 (2008),
        2833-2841 (spectral distance).
    """
    k = 1 + int(frame["rank"].max() or 0)  # ty: ignore[invalid-argument-type]
    dst_SxNxk, corr_SxNxk = graph_arrays(frame, sessions=sessions, symbols=symbols, k=k)
    degrees_SxN = (dst_SxNxk >= 0).sum(axis=2)
    n_symbols = len(symbols)
    pairs = n_symbols * (n_symbols - 1)
    # Eigenvalues, too, change their last bits with the number of threads.
    with threadpool_limits(limits=1, user_api="blas"):
        churn, distance = _changes(dst_SxNxk, corr_SxNxk)
    statistics = pl.DataFrame(
        {
            "session": pl.Series(sessions, dtype=pl.Date),
            "symbols": pl.repeat(n_symbols, len(sessions), dtype=pl.Int32, eager=True),
            "density": degrees_SxN.sum(axis=1) / max(pairs, 1),
            "degree_min": degrees_SxN.min(axis=1).astype(np.int32),
            "degree_mean": degrees_SxN.mean(axis=1),
            "degree_max": degrees_SxN.max(axis=1).astype(np.int32),
            "churn": pl.Series(churn, dtype=pl.Float64),
            "spectral_distance": pl.Series(distance, dtype=pl.Float64),
        }
    )
    known = (
        returns.filter(pl.col("close_return").is_not_null() & pl.col("symbol").is_in(list(symbols)))
        .select(pl.col("session").unique().sort().alias("data_end"))
        .with_columns(session=pl.col("data_end"))
    )
    return GRAPH_STATISTICS.conform(statistics.sort("session").join_asof(known.sort("session"), on="session"))


def laplacian_spectrum(dst_Nxk: np.ndarray, corr_Nxk: np.ndarray) -> np.ndarray:
    """Ascending eigenvalues of D − A, where A holds |corr| of every pair joined in either direction.

    Args:
        dst_Nxk: int32 (N, k), -1 where absent.
        corr_Nxk: float32 (N, k).

    Returns:
        float64 (N,).
    """
    src, rank = np.nonzero(dst_Nxk >= 0)
    weights = np.zeros((len(dst_Nxk), len(dst_Nxk)))
    weights[src, dst_Nxk[src, rank]] = np.abs(corr_Nxk[src, rank])
    weights = np.maximum(weights, weights.T)
    return np.linalg.eigvalsh(np.diag(weights.sum(axis=1)) - weights)


def jaccard_distance(before: np.ndarray, after: np.ndarray) -> float:
    """1 − |both| / |either| of two sets of edges; 0 when both are empty.

    Args:
        before: int (E,), distinct edge numbers.
        after: int (F,), distinct edge numbers.
    """
    shared = len(np.intersect1d(before, after, assume_unique=True))
    either = len(before) + len(after) - shared
    return 1 - shared / either if either else 0.0


def _changes(dst_SxNxk: np.ndarray, corr_SxNxk: np.ndarray) -> tuple[list[float | None], list[float | None]]:
    churn: list[float | None] = []
    distance: list[float | None] = []
    previous: tuple[np.ndarray, np.ndarray] | None = None
    for dst_Nxk, corr_Nxk in zip(dst_SxNxk, corr_SxNxk, strict=True):
        src, rank = np.nonzero(dst_Nxk >= 0)
        edges = src * len(dst_Nxk) + dst_Nxk[src, rank]
        spectrum = laplacian_spectrum(dst_Nxk, corr_Nxk)
        churn.append(None if previous is None else jaccard_distance(previous[0], edges))
        distance.append(None if previous is None else float(np.linalg.norm(spectrum - previous[1])))
        previous = edges, spectrum
    return churn, distance
