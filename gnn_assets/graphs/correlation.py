"""Correlation graphs session by session: each symbol's strongest partners over a trailing window.

For two series a correlation is taken over the sessions of the window on which both have a value, with both means and
both variances taken over exactly these sessions. Filling gaps with a mean instead would change one neighbour in
twenty. Every session is computed from its own window alone, so the result for a session has the same bits whether it
is asked for alone, among others, or long before later data exist.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
from jaxtyping import Float

from gnn_assets.core.config import GraphsConfig
from gnn_assets.core.plugins import load_plugin
from gnn_assets.graphs import measures
from gnn_assets.graphs.kernel import write_strongest
from gnn_assets.graphs.neighbours import Neighbours
from gnn_assets.graphs.one_thread import one_thread
from gnn_assets.graphs.window import Window

MEASURES = measures.__name__
_MOST = np.iinfo(np.int16).max  # neighbours and sessions are counted in 16 bits


def correlation_neighbours(
    returns_TxN: Float[np.ndarray, "T N"],
    *,
    window: int,
    k: int,
    min_abs_corr: float,
    min_overlap: int,
    sessions: Sequence[int | np.integer] | np.ndarray | None = None,
    threads: int = 1,
) -> Neighbours:
    """The k neighbours with the largest pairwise-complete |r| (Pearson) of every series, at every session asked for.

    Threshold, order and ties are those of the published float32 value: |r| at least `min_abs_corr`, larger |r|
    first, equal |r| by position. A series that is constant over the shared sessions has no correlation: one whose
    standard deviation is at most 1e-8 of its root mean square.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        window: trailing sessions a correlation is taken over.
        k: most neighbours a series has.
        min_abs_corr: weaker correlations are no edges.
        min_overlap: fewer shared sessions give no edge; at least 2.
        sessions: rows whose trailing window is wanted, each from `window` - 1 on; all of them when None.
        threads: how many sessions are computed at a time; changes no bit.

    Returns:
        Neighbours with S = T − window + 1 sessions by default (none if the window is longer than the data).

    Known at: the close of each session; later rows are never read.

    Raises:
        ValueError: if a row has no full trailing window, or a setting is out of its range.
    """
    return neighbours_of(
        lambda row: Window(returns_TxN[row - window + 1 : row + 1]),
        _rows(sessions, lookback=window, n_sessions=len(returns_TxN)),
        n_series=returns_TxN.shape[1],
        k=k,
        min_abs_corr=min_abs_corr,
        min_overlap=min_overlap,
        threads=threads,
    )


def measured_neighbours(
    returns_TxN: Float[np.ndarray, "T N"],
    *,
    config: GraphsConfig,
    sessions: Sequence[int | np.integer] | np.ndarray | None = None,
    threads: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Neighbours:
    """The same by the measure that is configured.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        config: measure, window and limits.
        sessions: rows whose graph is wanted, each with the measure's whole lookback behind it; all of them when None.
        threads: how many sessions are computed at a time; changes no bit.
        progress: told the share done after each session, from any of the threads.

    Known at: the close of each session; later rows are never read.

    Raises:
        PluginError: if there is no such measure.
        ValueError: if a row lacks its lookback.
    """
    measure = load_plugin(MEASURES, config.measure)
    return neighbours_of(
        lambda row: measure.window_at(returns_TxN, row, config=config),
        _rows(sessions, lookback=measure.lookback(config), n_sessions=len(returns_TxN)),
        n_series=returns_TxN.shape[1],
        k=config.k,
        min_abs_corr=config.min_abs_corr,
        min_overlap=config.min_overlap,
        signed=config.signed,
        threads=threads,
        progress=progress,
    )


def lookback_of(config: GraphsConfig) -> int:
    """Trailing sessions that a session's graph reads, its own included.

    Raises:
        PluginError: if there is no such measure.
    """
    return load_plugin(MEASURES, config.measure).lookback(config)


def neighbours_of(
    window_at: Callable[[int], Window],
    rows_S: np.ndarray,
    *,
    n_series: int,
    k: int,
    min_abs_corr: float,
    min_overlap: int,
    signed: bool = False,
    threads: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Neighbours:
    """The strongest neighbours in the windows of some sessions, each session warm-started by the one before.

    Args:
        window_at: row → what is compared at that session.
        rows_S: int64, rows wanted.
        n_series: N.
        k: most neighbours a series has.
        min_abs_corr: least strength of an edge.
        min_overlap: fewer shared sessions give no edge; at least 2.
        signed: whether strength is r instead of |r|.
        threads: how many sessions are computed at a time; changes no bit.
        progress: told the share done after each session, from any of the threads.

    Raises:
        ValueError: if a setting is out of its range.
    """
    for name, value, least, most in (
        ("k", k, 1, _MOST),
        ("min_abs_corr", min_abs_corr, 0, 1),
        ("min_overlap", min_overlap, 2, _MOST),
        ("threads", threads, 1, _MOST),
    ):
        if not least <= value <= most:
            raise ValueError(f"{name}: expected {least} to {most}, was {value}")
    shape = (len(rows_S), n_series, k)
    dst = np.full(shape, -1, dtype=np.int32)
    corr = np.full(shape, np.nan, dtype=np.float32)
    overlap = np.zeros(shape, dtype=np.int16)
    done = count(1)

    def fill(first: int, end: int) -> None:
        before_Nxk = None
        for at in range(first, end):
            write_strongest(
                window_at(int(rows_S[at])),
                k=k,
                min_abs_corr=min_abs_corr,
                min_overlap=min_overlap,
                signed=signed,
                before_Nxk=before_Nxk,
                dst_Nxk=dst[at],
                corr_Nxk=corr[at],
                overlap_Nxk=overlap[at],
            )
            before_Nxk = dst[at]
            if progress is not None:
                progress(next(done) / len(rows_S))

    # Threads share sessions out, so the products of one session must not ask for more of them.
    with one_thread():
        ends = np.linspace(0, len(rows_S), threads + 1).astype(int).tolist()
        if threads == 1:
            fill(*ends)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fill, ends[:-1], ends[1:]))
    return Neighbours(rows_S, dst, corr, overlap)


def _rows(sessions: Sequence[int | np.integer] | np.ndarray | None, *, lookback: int, n_sessions: int) -> np.ndarray:
    if not 1 < lookback <= _MOST:
        raise ValueError(f"window: expected 2 to {_MOST} sessions, was {lookback}")
    rows_S = np.asarray(range(lookback - 1, n_sessions) if sessions is None else sessions, dtype=np.int64)
    if rows_S.size and not (lookback - 1 <= rows_S.min() and rows_S.max() < n_sessions):
        raise ValueError(
            f"sessions: expected rows from {lookback - 1} to {n_sessions - 1}, was {rows_S.min()} to {rows_S.max()}"
        )
    return rows_S
