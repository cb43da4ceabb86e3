"""Checks of the graphs stage: pure functions of what it published.

Of half a market gone wrong for a day, density tells little: where a symbol has more strong partners than the k that
are kept, it stays full whatever they are. Who the neighbours are changes at once, so churn has a check of its own.
"""

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial

import numpy as np
import polars as pl
from jaxtyping import Float

from gnn_assets.core.checks import Check
from gnn_assets.core.config import GraphsConfig
from gnn_assets.graphs.neighbours import Neighbours

_SHOWN = 10
# From a median absolute deviation to a standard deviation, for a normal distribution.
_NORMAL = 1.4826


def graphs_checks(
    neighbours: Neighbours,
    statistics: pl.DataFrame,
    *,
    sessions: Sequence[date],
    symbols: Sequence[str],
    config: GraphsConfig,
    directed: bool,
) -> tuple[Check, ...]:
    """Whether every session's graph is a possible one, changes at a possible pace and uses nothing from its future.

    Args:
        neighbours: the graphs to check.
        statistics: a frame of `GRAPH_STATISTICS` of these sessions and of those before them.
        sessions: the row axis (T) that `neighbours.sessions_S` points into.
        symbols: the nodes (N).
        config: limits.
        directed: whether the measure of a pair depends on who receives: then `symmetric` asks nothing.
    """
    days = [sessions[row] for row in neighbours.sessions_S]

    def edges(name: str, description: str, rule: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Check:
        count, places = _found(neighbours, rule)
        offenders = []
        for at, node, rank in places:
            partner, corr = (array[at, node, rank] for array in (neighbours.dst_SxNxk, neighbours.corr_SxNxk))
            offenders.append(f"{days[at]} {symbols[node]} {symbols[partner]} {corr}")
        return Check(name, not count, count, 0, description, offenders=tuple(offenders))

    shape = partial(_misshapen, k=config.k, signed=config.signed)
    n_misshapen, places = _found(neighbours, shape)
    late = statistics.filter(pl.col("data_end") > pl.col("session"))
    return (
        edges("correlations_finite", "Edges whose correlation is not a number.", _infinite),
        edges("correlations_in_range", "Edges with |r| above 1.", _excessive),
        Check(
            "degree_bounds",
            not n_misshapen,
            n_misshapen,
            0,
            f"Nodes with more than {config.k} neighbours, a gap in their ranks, a weaker neighbour before a stronger, "
            "themselves or one neighbour twice.",
            offenders=tuple(
                f"{days[at]} {symbols[node]} {(neighbours.dst_SxNxk[at, node] >= 0).sum()}" for at, node in places
            ),
        ),
        _density_history(statistics, days, config=config),
        _churn_history(statistics, days, config=config),
        Check(
            "data_end_not_later",
            late.is_empty(),
            late.height,
            0,
            "Sessions whose graph used data from after them.",
            offenders=_rows(late, "session", "data_end"),
        ),
        edges(
            "symmetric",
            "Nothing is asked: the measure is a directed one." if directed else "Edges whose way back says another r.",
            _nowhere if directed else _unequal,
        ),
    )


def tripwire(
    neighbours: Neighbours,
    returns_TxN: Float[np.ndarray, "T N"],
    *,
    sessions: Sequence[date],
    symbols: Sequence[str],
    make: Callable[[np.ndarray, np.ndarray], Neighbours],
) -> Check:
    """Makes the graph of the session in the middle again from nothing later than itself, and compares every bit.

    Args:
        neighbours: the graphs to check.
        returns_TxN: the returns they were made from.
        sessions: the row axis (T).
        symbols: the column axis (N).
        make: how they were made: returns cut off after a row, and an array of that row alone, to its graph.
    """
    middle = len(neighbours.sessions_S) // 2
    rows = neighbours.sessions_S[middle : middle + 1]
    differing: set[int] = set()
    for row in rows:
        again = make(returns_TxN[: row + 1], rows)
        for name in ("dst_SxNxk", "corr_SxNxk", "overlap_SxNxk"):
            stored, made = (getattr(graph, name)[at] for graph, at in ((neighbours, middle), (again, 0)))
            differing.update(node for node in range(len(symbols)) if stored[node].tobytes() != made[node].tobytes())
    return Check(
        "no_look_ahead",
        not differing,
        len(differing),
        0,
        "Nodes whose neighbours differ when they are made again without anything later.",
        offenders=tuple(f"{sessions[row]} {symbols[node]}" for row in rows for node in sorted(differing)[:_SHOWN]),
    )


def _found(
    neighbours: Neighbours, rule: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[int, list[tuple[int, ...]]]:
    """How often a rule is broken, and where first; a session at a time, for the memory of one."""
    count, places = 0, []
    for at, graph in enumerate(zip(neighbours.dst_SxNxk, neighbours.corr_SxNxk, strict=True)):
        broken = rule(*graph)
        here = np.count_nonzero(broken)
        if here and len(places) < _SHOWN:
            places += [(at, *place) for place in np.argwhere(broken)[: _SHOWN - len(places)].tolist()]
        count += int(here)
    return count, places


def _infinite(dst_Nxk: np.ndarray, corr_Nxk: np.ndarray) -> np.ndarray:
    return (dst_Nxk >= 0) & ~np.isfinite(corr_Nxk)


def _excessive(dst_Nxk: np.ndarray, corr_Nxk: np.ndarray) -> np.ndarray:
    # What is not a number is not in range either.
    return (dst_Nxk >= 0) & ~(np.abs(corr_Nxk) <= 1)


def _unequal(dst_Nxk: np.ndarray, corr_Nxk: np.ndarray) -> np.ndarray:
    partner_Nxk = np.maximum(dst_Nxk, 0)
    back_Nxkxk = dst_Nxk[partner_Nxk] == np.arange(len(dst_Nxk), dtype=dst_Nxk.dtype)[:, None, None]
    there_Nxk = (dst_Nxk >= 0) & back_Nxkxk.any(axis=2)
    return there_Nxk & (corr_Nxk != corr_Nxk[partner_Nxk, back_Nxkxk.argmax(axis=2)])


def _nowhere(dst_Nxk: np.ndarray, corr_Nxk: np.ndarray) -> np.ndarray:  # noqa: ARG001
    return np.zeros(dst_Nxk.shape, dtype=bool)


def _misshapen(dst_Nxk: np.ndarray, corr_Nxk: np.ndarray, *, k: int, signed: bool) -> np.ndarray:
    edge_Nxk = dst_Nxk >= 0
    first, second = dst_Nxk[:, :-1], dst_Nxk[:, 1:]
    strength_Nxk = corr_Nxk if signed else np.abs(corr_Nxk)
    strong, weak = strength_Nxk[:, :-1], strength_Nxk[:, 1:]
    disorder = edge_Nxk[:, :-1] & edge_Nxk[:, 1:] & ((weak > strong) | ((weak == strong) & (second < first)))
    gap = edge_Nxk[:, 1:] & ~edge_Nxk[:, :-1]
    ordered_Nxk = np.sort(dst_Nxk, axis=1)
    twice = (ordered_Nxk[:, 1:] == ordered_Nxk[:, :-1]) & (ordered_Nxk[:, 1:] >= 0)
    itself = dst_Nxk == np.arange(len(dst_Nxk))[:, None]
    return (edge_Nxk.sum(axis=1) > k) | (disorder | gap | twice).any(axis=1) | itself.any(axis=1)


def _density_history(statistics: pl.DataFrame, days: Sequence[date], *, config: GraphsConfig) -> Check:
    """Move of the share of possible neighbours, `k` a node at most, from the session before."""
    others = (pl.col("symbols") - 1).clip(lower_bound=1)
    filled = pl.col("degree_mean") / pl.min_horizontal(others, pl.lit(config.k))
    moves = statistics.sort("session").select("session", move=filled.diff().abs()).filter(_among(days))
    jumps = moves.filter(pl.col("move") > config.max_density_change)
    return Check(
        "density_history",
        jumps.is_empty(),
        float(moves["move"].max() or 0),  # ty: ignore[invalid-argument-type]
        config.max_density_change,
        "Largest move, from the session before, of the share of possible neighbours that are there; markets move more "
        "slowly, data that go missing do not.",
        # It cannot tell a torn market from bad data, and a session that is refused is there again tomorrow.
        severity="warn",
        offenders=_rows(jumps, "session", "move"),
    )


def _churn_history(statistics: pl.DataFrame, days: Sequence[date], *, config: GraphsConfig) -> Check:
    """Churn beyond the median of the sessions before, by an absolute and by a robust measure of its spread."""
    ordered = statistics.sort("session")
    churn_S = ordered["churn"].fill_null(np.nan).to_numpy()
    beyond: list[tuple[date, float, float]] = []
    for row in np.nonzero(ordered.select(_among(days)).to_series().to_numpy())[0]:
        earlier = churn_S[max(row - config.history_sessions, 0) : row]
        earlier = earlier[np.isfinite(earlier)]
        if len(earlier) < config.min_history_sessions:
            continue
        usual = float(np.median(earlier))
        spread = _NORMAL * float(np.median(np.abs(earlier - usual)))
        limit = usual + max(config.max_churn_excess, config.max_churn_deviations * spread)
        beyond.append((ordered["session"][int(row)], float(churn_S[row]), float(churn_S[row]) - limit))
    jumps = [case for case in beyond if case[2] > 0]
    return Check(
        "churn_history",
        not jumps,
        max((excess for _, _, excess in beyond), default=0.0),
        0.0,
        f"Largest churn above its limit: {config.max_churn_excess} and {config.max_churn_deviations} robust deviations "
        f"above the median of up to {config.history_sessions} sessions before; neighbours change more slowly, bad data "
        "do not.",
        severity="warn",
        offenders=tuple(f"{day} {churn}" for day, churn, _ in jumps[:_SHOWN]),
    )


def _among(days: Sequence[date]) -> pl.Expr:
    return pl.col("session").is_in(pl.Series(days, dtype=pl.Date).implode())


def _rows(frame: pl.DataFrame, *shown: str) -> tuple[str, ...]:
    """The first rows as text, for people."""
    rows = frame.select(shown).head(_SHOWN).iter_rows()
    return tuple(" ".join(str(value) for value in row) for row in rows)
