"""Checks of the graphs stage: pure functions of what it published."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.core.checks import Check
from gnn_assets.core.config import GraphsConfig
from gnn_assets.graphs.correlation import correlation_neighbours
from gnn_assets.graphs.neighbours import graph_frame

_SHOWN = 10


def graphs_checks(graph: pl.DataFrame, statistics: pl.DataFrame, *, config: GraphsConfig) -> tuple[Check, ...]:
    """Whether every session's graph is a possible one, changes at a possible pace and uses nothing from its future.

    Args:
        graph: a frame of `CORRELATION_GRAPHS`.
        statistics: a frame of `GRAPH_STATISTICS` of the same sessions.
        config: limits.
    """
    infinite = graph.filter(~pl.col("corr").is_finite().fill_null(False))
    excessive = graph.filter(pl.col("corr").abs() > 1)
    degrees = graph.group_by("session", "src").agg(
        degree=pl.len(),
        gap=pl.col("rank").max() + 1 - pl.len(),
        self_edge=(pl.col("src") == pl.col("dst")).any(),
        repeated=pl.col("dst").is_duplicated().any(),
    )
    misshapen = degrees.filter(
        (pl.col("degree") > config.k) | (pl.col("gap") != 0) | pl.col("self_edge") | pl.col("repeated")
    ).sort("session", "src")
    changes = _density_changes(statistics, k=config.k)
    jumps = changes.filter(pl.col("change") > config.max_density_change)
    largest_change = float(changes["change"].max() or 0)  # ty: ignore[invalid-argument-type]
    late = statistics.filter(pl.col("data_end") > pl.col("session"))
    there = graph.select("session", "src", "dst", "corr")
    back = there.rename({"src": "dst", "dst": "src", "corr": "corr_back"})
    unequal = there.join(back, on=("session", "src", "dst")).filter(pl.col("corr") != pl.col("corr_back"))
    return (
        _none("correlations_finite", infinite, "Edges whose correlation is not a number.", "src", "dst"),
        _none("correlations_in_range", excessive, "Edges with |r| above 1.", "src", "dst", "corr"),
        _none(
            "degree_bounds",
            misshapen,
            f"Nodes with more than {config.k} neighbours, a gap in their ranks, themselves or one neighbour twice.",
            "src",
            "degree",
        ),
        Check(
            "density_change",
            jumps.is_empty(),
            largest_change,
            config.max_density_change,
            "Largest move, between two sessions, of the share of possible neighbours that are there; markets move "
            "more slowly, bad data do not.",
            offenders=_rows(jumps, "session", "change"),
        ),
        _none("data_end_not_later", late, "Sessions whose graph used data from after them.", "data_end"),
        _none("symmetric", unequal, "Pairs whose correlation differs by direction.", "src", "dst", "corr", "corr_back"),
    )


def tripwire(
    graph: pl.DataFrame,
    returns_TxN: np.ndarray,
    *,
    sessions: Sequence[date],
    symbols: Sequence[str],
    config: GraphsConfig,
) -> Check:
    """Makes the graph of a session in the middle again from nothing later than itself, and compares every bit.

    Args:
        graph: a frame of `CORRELATION_GRAPHS`.
        returns_TxN: float (T, N), the returns the graph was made from.
        sessions: the row axis.
        symbols: the column axis.
        config: how it was made.
    """
    row = max((config.window - 1 + len(sessions)) // 2, config.window - 1)
    past = correlation_neighbours(
        returns_TxN[: row + 1],
        window=config.window,
        k=config.k,
        min_abs_corr=config.min_abs_corr,
        min_overlap=config.min_overlap,
        sessions=np.array([row]),
    )
    again = graph_frame(past, sessions, symbols)
    stored = graph.filter(pl.col("session") == sessions[row]).select(again.columns).sort("src", "rank")
    other = pl.concat([again, stored]).filter(~pl.struct(pl.all()).is_duplicated())
    return _none(
        "no_look_ahead",
        other,
        f"Edges of {sessions[row]} that differ when they are made again without anything later.",
        "src",
        "dst",
        "corr",
    )


def _density_changes(statistics: pl.DataFrame, *, k: int) -> pl.DataFrame:
    """Move of the share of possible neighbours, `k` a node at most, from the session before."""
    others = (pl.col("symbols") - 1).clip(lower_bound=1)
    filled = pl.col("density") * others / pl.min_horizontal(others, pl.lit(k))
    return statistics.sort("session").select("session", change=filled.diff().abs())


def _none(name: str, rows: pl.DataFrame, description: str, *shown: str) -> Check:
    return Check(name, rows.is_empty(), rows.height, 0, description, offenders=_rows(rows, "session", *shown))


def _rows(frame: pl.DataFrame, *shown: str) -> tuple[str, ...]:
    """The first rows as text, for people."""
    rows = frame.select(shown).head(_SHOWN).iter_rows()
    return tuple(" ".join(str(value) for value in row) for row in rows)
