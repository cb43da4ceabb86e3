"""Whether a session's correlation graph is farther from its reference than chance explains.

The distance of two dated graphs, the pairs behind it, the symbols it is taken over, its limit, and the episodes of its
alarms. `drift_null` says why this distance and how the limit comes about; `drift_table` puts a history together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from gnn_assets.core.config import GraphsConfig
from gnn_assets.core.hashing import sha256_hex
from gnn_assets.graphs.drift_null import distances, episode_limit, null_statistics, rolling_correlations


@dataclass(frozen=True)
class Move:
    """A pair whose correlation moved.

    Args:
        first: one symbol.
        second: the other.
        before: correlation in the reference graph.
        now: correlation in the graph.
    """

    first: str
    second: str
    before: float
    now: float


def correlations_at(
    returns_TxN: Float[np.ndarray, "T N"], row: int, *, config: GraphsConfig
) -> Float[np.ndarray, "P 1"]:
    """Every pair's correlation over the window that ends with a session.

    Args:
        returns_TxN: float64 log returns; what is not finite is missing.
        row: the session, from `window` - 1 on.
        config: window and overlap.

    Returns:
        float64, the pairs in the order of `np.triu_indices`; NaN for a pair without a correlation.

    Known at: the close of the session; later rows are never read.
    """
    window_WxN = returns_TxN[row - config.window + 1 : row + 1]
    return rolling_correlations(window_WxN, window=config.window, min_overlap=config.min_overlap)


def graph_distance(returns_TxN: Float[np.ndarray, "T N"], *, row: int, reference: int, config: GraphsConfig) -> float:
    """How far the graph of one session lies from that of another: the drift statistic.

    Args:
        returns_TxN: float64 log returns; what is not finite is missing.
        row: session of the graph, from `window` - 1 on.
        reference: session of the reference graph; nearer than `drift.reference_windows` windows the two may share
            returns, and lie closer than the limit allows for.
        config: window and overlap of both.

    Returns:
        Root mean square difference of the correlations of all pairs, from 0 to 2; NaN if no pair has both.

    Known at: the close of the later of the two sessions; later rows are never read.
    """
    now, before = (correlations_at(returns_TxN, last, config=config) for last in (row, reference))
    return float(distances(now, before)[0])


def largest_moves(
    returns_TxN: Float[np.ndarray, "T N"],
    *,
    symbols: Sequence[str],
    row: int,
    reference: int,
    config: GraphsConfig,
    most: int,
) -> list[Move]:
    """The pairs whose correlation differs most between two sessions' graphs, the largest move first.

    Args:
        returns_TxN: float64 log returns.
        symbols: the column axis.
        row: session of the graph.
        reference: session of the reference graph.
        config: window and overlap of both.
        most: pairs wanted.

    Known at: the close of the later of the two sessions.
    """
    now_P, before_P = (correlations_at(returns_TxN, last, config=config)[:, 0] for last in (row, reference))
    moves_P = np.abs(now_P - before_P)
    first, second = np.triu_indices(len(symbols), 1)
    # A stable sort puts NaN last and leaves equal moves in the order of symbols.
    order = np.argsort(-moves_P, kind="stable")[:most]
    return [
        Move(symbols[first[pair]], symbols[second[pair]], float(before_P[pair]), float(now_P[pair]))
        for pair in order
        if np.isfinite(moves_P[pair])
    ]


def compared_columns(
    history_HxN: Float[np.ndarray, "H N"], *, symbols: Sequence[str], config: GraphsConfig
) -> Int[np.ndarray, " M"]:
    """Columns whose pairs are compared, by what was known at the end of a history.

    A symbol must have its share of returns, `min_overlap` of a `window`, in the whole history and in its last window.
    Where there are more than `drift.symbols`, a hash of seed and name draws among them: one that enters or leaves
    changes no more than one place.

    Args:
        history_HxN: float64 log returns.
        symbols: the column axis.
        config: window, overlap, number of symbols, seed.
    """
    known = np.isfinite(history_HxN)
    needed = config.min_overlap / config.window
    enough_N = (known.mean(axis=0) >= needed) & (known[-config.window :].mean(axis=0) >= needed)
    drawn = sorted(
        np.flatnonzero(enough_N), key=lambda column: sha256_hex(f"{config.drift.seed} {symbols[column]}".encode())
    )
    return np.array(sorted(drawn[: config.drift.symbols]), dtype=np.int64)


def drift_limit(history_HxM: Float[np.ndarray, "H M"], *, config: GraphsConfig) -> float:
    """The distance that a market like this one passes by chance in one alarm episode of `drift.sessions_per_alarm`.

    Args:
        history_HxM: float64 log returns that were known when the limit was made, of the symbols compared.
        config: window, overlap, and everything of `drift`.

    Known at: the last session of the history.
    """
    drift = config.drift
    # A session on which nobody has a return is none, and complete histories cost half.
    known_HxM = history_HxM[np.isfinite(history_HxM).any(axis=1)]
    statistics_RxS = null_statistics(
        known_HxM,
        window=config.window,
        lag=drift.reference_windows * config.window,
        min_overlap=config.min_overlap,
        config=drift,
    )
    return episode_limit(
        statistics_RxS, quiet_sessions=drift.quiet_sessions, sessions_per_alarm=drift.sessions_per_alarm
    )


def open_episodes(above_S: Bool[np.ndarray, " S"], *, quiet_sessions: int) -> Int[np.ndarray, " S"]:
    """Session by session, the first session of the alarm episode that is open; -1 outside of one.

    An episode begins with a session above its limit, and ends with the `quiet_sessions`-th in a row that is not.

    Args:
        above_S: whether each session's statistic is above its limit.
        quiet_sessions: sessions in a row within the limit that end an episode.
    """
    begun = np.full(above_S.size, -1, dtype=np.int64)
    start, last = -1, -quiet_sessions - 1
    for position, above in enumerate(above_S):
        if above:
            start = start if position - last <= quiet_sessions else position
            last = position
        if position - last < quiet_sessions:
            begun[position] = start
    return begun


def reference_row(row: int, *, config: GraphsConfig) -> int:
    """The session whose graph a session's is held against by default: whole windows before."""
    return row - config.drift.reference_windows * config.window
