"""Forecasts and returns as panels make them, for what is said of forecasts once their outcome is known."""

import numpy as np
import polars as pl

from gnn_assets.bars.schema import RETURNS
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.store.panel import from_panel


def names(panel_TxN):
    return [f"S{number:02}" for number in range(panel_TxN.shape[1])]


def forecast_rows(
    scores_TxN, calendar, *, execution, version="v1", expected_TxN=None, lower=-0.02, upper=0.02, until=None
):
    """FORECASTS rows of the calendar's first sessions; a score expects itself unless told otherwise.

    `lower` and `upper` are the interval's ends, less what is expected; rows after the session `until` are left out.
    """
    expected_TxN = scores_TxN if expected_TxN is None else expected_TxN
    axes = {"sessions": calendar.sessions[: len(scores_TxN)], "symbols": names(scores_TxN)}
    rows = from_panel(scores_TxN, "score", **axes).join(
        from_panel(expected_TxN, "expected_return", **axes), on=["session", "symbol"]
    )
    if until is not None:
        rows = rows.filter(pl.col("session") <= until)
    days = rows["session"].to_list()
    expected = pl.col("expected_return")
    return FORECASTS.conform(
        rows.with_columns(
            pl.col("score").cast(pl.Float32),
            horizon=pl.lit(execution.horizon, dtype=pl.Int16),
            lower=expected + lower,
            upper=expected + upper,
            rank=pl.lit(1, dtype=pl.Int32),
            target_start=pl.Series([calendar.offset(day, execution.fill_lag) for day in days], dtype=pl.Date),
            target_end=pl.Series([calendar.offset(day, execution.purge) for day in days], dtype=pl.Date),
            champion=pl.lit(version),
            graph_session="session",
            source=pl.lit("simulated"),
            served_by=pl.lit("refit"),
            degraded=pl.lit(False),
            status=pl.lit("ok"),
            verdict=pl.lit("SCALE"),
            card_id=pl.lit(""),
        )
    )


def return_rows(returns_TxN, calendar):
    """RETURNS rows of the calendar's first sessions, the same at the close and at the fill."""
    rows = from_panel(
        returns_TxN, "fill_return", sessions=calendar.sessions[: len(returns_TxN)], symbols=names(returns_TxN)
    )
    return RETURNS.conform(
        rows.with_columns(
            close_return=pl.col("fill_return"), held_return=pl.col("fill_return"), source=pl.lit("simulated")
        )
    )


def panels(n_sessions, n_names, *, correlation=0.3, seed=3):
    """Scores (unit variance) and fill returns whose sum over each target of one session they foretell a little."""
    rng = np.random.default_rng(seed)
    returns_TxN = rng.normal(scale=0.01, size=(n_sessions, n_names))
    ahead_TxN = np.roll(returns_TxN, -2, axis=0) / 0.01
    noise_TxN = rng.normal(size=returns_TxN.shape)
    return correlation * ahead_TxN + np.sqrt(1 - correlation**2) * noise_TxN, returns_TxN
