"""Checks of graph drift: pure functions of what it published."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl
from jaxtyping import Float

from gnn_assets.core.checks import Check
from gnn_assets.core.config import GraphsConfig
from gnn_assets.graphs.drift import Move
from gnn_assets.graphs.drift_table import graph_drift

_SHOWN = 10


def drift_checks(drift: pl.DataFrame, moves: Sequence[Move], *, config: GraphsConfig) -> tuple[Check, ...]:
    """Whether every distance is a number, and whether the newest is one that chance explains.

    Args:
        drift: a frame of `GRAPH_DRIFT`.
        moves: the newest session's pairs that moved most, the largest move first.
        config: window and rate.
    """
    unknown = drift.filter(~(pl.col("statistic").is_finite() & pl.col("limit").is_finite()))
    return (
        Check(
            "statistic_finite",
            unknown.is_empty(),
            unknown.height,
            0,
            "Sessions whose distance from the reference, or its limit, is not a number.",
            offenders=tuple(str(session) for session in unknown["session"].head(_SHOWN)),
        ),
        _drift(drift, moves, config=config),
    )


def drift_tripwire(
    drift: pl.DataFrame,
    returns_TxN: Float[np.ndarray, "T N"],
    *,
    sessions: Sequence[date],
    symbols: Sequence[str],
    config: GraphsConfig,
    recipe: str,
) -> Check:
    """Makes a session in the middle again from nothing later than itself, its limit included, and compares every bit.

    Args:
        drift: a frame of `GRAPH_DRIFT`.
        returns_TxN: float64 log returns it was made from.
        sessions: the row axis.
        symbols: the column axis.
        config: how it was made.
        recipe: the code and settings it was made by.
    """
    other = drift.clear()
    chosen = "any session"
    if not drift.is_empty():
        middle = drift.row(drift.height // 2, named=True)
        chosen, keep = middle["session"], sessions.index(middle["session"]) + 1
        again = graph_drift(
            returns_TxN[:keep],
            sessions=sessions[:keep],
            symbols=symbols,
            config=config,
            recipe=recipe,
            # What was made under earlier limits is taken over, so that one limit is made again and not all.
            before=drift.filter(pl.col("calibrated_on") < middle["calibrated_on"]),
        )
        stored = drift.filter(pl.col("session") <= chosen)
        other = pl.concat([again, stored]).filter(~pl.struct(pl.all()).is_duplicated())
    return Check(
        "no_look_ahead",
        other.is_empty(),
        other["session"].n_unique(),
        0,
        f"Sessions up to {chosen} that differ when they are made again without anything later.",
        offenders=tuple(str(session) for session in other["session"].unique().sort().head(_SHOWN)),
    )


def _drift(drift: pl.DataFrame, moves: Sequence[Move], *, config: GraphsConfig) -> Check:
    settings = config.drift
    rate = f"one alarm episode in {settings.sessions_per_alarm} sessions of a market that does not change"
    if drift.is_empty():
        needed = settings.history_windows * config.window
        return Check(
            "drift",
            True,
            "no limit yet",
            "none",
            f"A limit, {rate}, needs {needed} sessions of returns before the first of a calendar year.",
            severity="warn",
        )
    newest = drift.row(-1, named=True)
    begun = f"; the alarm episode began on {newest['episode']}" if newest["episode"] else ""
    return Check(
        "drift",
        not newest["alarm"],
        round(newest["statistic"], 4),
        round(newest["limit"], 4),
        f"Root mean square difference between the correlations of the {config.window} sessions to {newest['session']} "
        f"and those to {newest['reference']}; the limit is what chance passes in {rate}{begun}.",
        severity="warn",
        offenders=tuple(
            f"{move.first} {move.second} {move.before:+.2f} to {move.now:+.2f}" for move in moves if newest["alarm"]
        )[:_SHOWN],
    )
