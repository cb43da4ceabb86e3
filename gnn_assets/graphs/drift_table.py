"""The history of a graph's drift: every session's distance from its reference, beside the limit known by then.

The reference is the graph of a window that ended one or more whole windows before, so that the two share no session.
The limit is made anew with the first session of each calendar year, from the returns before it alone. A session's row
depends on nothing later than itself; one whose returns are unchanged is taken over as it stands.
"""

import hashlib
from collections.abc import Sequence
from datetime import date
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from gnn_assets.core.config import GraphsConfig
from gnn_assets.core.hashing import json_hash
from gnn_assets.graphs.drift import compared_columns, correlations_at, drift_limit, open_episodes, reference_row
from gnn_assets.graphs.drift_null import distances
from gnn_assets.graphs.schema import GRAPH_DRIFT

_HASH_DIGITS = 16
_PAIR = 2  # fewer symbols have no correlation


def graph_drift(
    returns_TxN: Float[np.ndarray, "T N"],
    *,
    sessions: Sequence[date],
    symbols: Sequence[str],
    config: GraphsConfig,
    recipe: str,
    before: pl.DataFrame,
) -> pl.DataFrame:
    """Every session's distance from its reference graph, beside the limit that was known by then.

    Args:
        returns_TxN: float64 log returns.
        sessions: the row axis.
        symbols: the column axis.
        config: how the graphs are made and compared.
        recipe: names the code and the settings; rows of another recipe are made again.
        before: a frame of `GRAPH_DRIFT` that was made before; may be empty. It saves work and changes no bit.

    Returns:
        A frame of `GRAPH_DRIFT`, from the first session of the first calendar year before which there are
        `drift.history_windows` windows of returns; empty if there is none yet. A year before which fewer than two
        symbols have a history has no rows.

    Known at: the close of each session.
    """
    hashes = returns_hashes(returns_TxN, sessions=sessions, symbols=symbols, recipe=recipe)
    current = dict(zip(sessions, hashes, strict=True))
    kept = {
        row["session"]: row
        for row in before.iter_rows(named=True)
        if current.get(row["session"]) == row["returns_hash"]
    }
    limits = {row["calibrated_on"]: row["limit"] for row in kept.values()}
    rows: list[dict[str, Any]] = []
    for first, end in _spans(sessions, history=config.drift.history_windows * config.window):
        columns = compared_columns(returns_TxN[:first], symbols=symbols, config=config)
        if columns.size < _PAIR:
            continue
        compared_TxM = returns_TxN[:end, columns]
        limit = limits.get(sessions[first])
        if limit is None:
            limit = drift_limit(compared_TxM[:first], config=config)
        # Each graph is wanted twice: as the session's own, and later as the reference.
        graph_at = cache(partial(correlations_at, compared_TxM, config=config))
        for row in range(first, end):
            reference = reference_row(row, config=config)
            stored = kept.get(sessions[row])
            statistic = stored["statistic"] if stored else float(distances(graph_at(row), graph_at(reference))[0])
            rows.append(
                {
                    "session": sessions[row],
                    "statistic": statistic,
                    "limit": limit,
                    "alarm": statistic > limit,
                    "reference": sessions[reference],
                    "calibrated_on": sessions[first],
                    "compared": columns.size,
                    "returns_hash": hashes[row],
                }
            )
    above_S = np.array([row["alarm"] for row in rows], dtype=bool)
    for row, start in zip(rows, open_episodes(above_S, quiet_sessions=config.drift.quiet_sessions), strict=True):
        row["episode"] = rows[start]["session"] if start >= 0 else None
    return GRAPH_DRIFT.conform(pl.DataFrame(rows, schema=dict(GRAPH_DRIFT.columns)))


def returns_hashes(
    returns_TxN: Float[np.ndarray, "T N"], *, sessions: Sequence[date], symbols: Sequence[str], recipe: str
) -> list[str]:
    """For each session, a name for all returns up to it, with their dates and symbols, and for a recipe.

    Args:
        returns_TxN: float64 log returns; all that is missing is alike.
        sessions: the row axis.
        symbols: the column axis.
        recipe: whatever else counts.
    """
    values = np.where(np.isfinite(returns_TxN), returns_TxN, np.nan).astype(np.float64)
    digest = hashlib.sha256(json_hash([recipe, list(symbols)]).encode())
    hashes = []
    for session, values_N in zip(sessions, values, strict=True):
        digest.update(session.isoformat().encode())
        digest.update(values_N.tobytes())
        hashes.append(digest.hexdigest()[:_HASH_DIGITS])
    return hashes


def alarms_by_year(drift: pl.DataFrame) -> pl.DataFrame:
    """Alarm sessions and episodes of each calendar year.

    Args:
        drift: a frame of `GRAPH_DRIFT`.
    """
    return (
        drift.group_by(year=pl.col("session").dt.year(), maintain_order=True)
        .agg(
            sessions=pl.len(),
            alarm_sessions=pl.col("alarm").sum(),
            episodes_begun=(pl.col("episode") == pl.col("session")).sum(),
            limit=pl.col("limit").first(),
            largest=pl.col("statistic").max(),
        )
        .sort("year")
    )


def _spans(sessions: Sequence[date], *, history: int) -> list[tuple[int, int]]:
    """The rows from each calibration to the next: it is made with a year's first session, once there is a history."""
    starts = [row for row in range(max(history, 1), len(sessions)) if sessions[row].year != sessions[row - 1].year]
    return list(pairwise([*starts, len(sessions)]))
