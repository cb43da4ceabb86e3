"""Every table of the lake by name, and reading one that may not be there yet."""

from typing import Any

import polars as pl

from gnn_assets.backtests.schema import BACKTEST_SCORES, HYPOTHESES, PORTFOLIO_RETURNS, SCORE_CARDS
from gnn_assets.bars.schema import (
    BARS_ASKED,
    CORPORATE_ACTIONS,
    MARKET_BARS,
    QUARANTINE,
    RETURNS,
    SYMBOL_STATUS,
    UNIVERSE,
)
from gnn_assets.defs.resources import Platform
from gnn_assets.forecasts.schema import FORECAST_SCORES, FORECASTS, SERVED_FORECASTS
from gnn_assets.graphs.schema import CORRELATION_GRAPHS, GRAPH_DRIFT, GRAPH_STATISTICS
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.monitoring.orders import RETRAIN_DECISION
from gnn_assets.monitoring.schema import MODEL_DRIFT
from gnn_assets.store.schema import Table

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        UNIVERSE,
        MARKET_BARS,
        CORPORATE_ACTIONS,
        BARS_ASKED,
        QUARANTINE,
        SYMBOL_STATUS,
        RETURNS,
        CORRELATION_GRAPHS,
        GRAPH_STATISTICS,
        GRAPH_DRIFT,
        OOS_PREDICTIONS,
        PORTFOLIO_RETURNS,
        BACKTEST_SCORES,
        SCORE_CARDS,
        HYPOTHESES,
        FORECASTS,
        SERVED_FORECASTS,
        FORECAST_SCORES,
        MODEL_DRIFT,
        RETRAIN_DECISION,
    )
}


def stored(platform: Platform, table: Table, **selection: Any) -> pl.DataFrame:
    """Rows of a table, or none if it was never published."""
    if platform.lake.manifest(table) is None:
        return table.empty().select(selection.get("columns", list(table.columns)))
    return platform.lake.read(table, **selection)
