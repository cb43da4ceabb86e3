"""A small market for the tests of graphs: three groups that move together, with gaps."""

from datetime import date
from functools import cache

import numpy as np
import polars as pl

from gnn_assets.bars.schema import RETURNS
from gnn_assets.graphs.correlation import Neighbours, correlation_neighbours
from gnn_assets.graphs.neighbours import graph_frame
from gnn_assets.graphs.statistics import graph_statistics
from gnn_assets.store.panel import from_panel, to_panel
from gnn_assets_tests.bars import market

SESSIONS = market.sessions(100)
SYMBOLS = ("A", "B", "C", "D", "E", "F")
WINDOW, K = 30, 2


@cache
def panel() -> np.ndarray:
    rng = np.random.default_rng(11)
    groups = np.repeat(rng.normal(size=(len(SESSIONS), 3)), 2, axis=1)
    returns = 0.01 * (groups + 0.7 * rng.normal(size=groups.shape))
    returns[rng.random(returns.shape) < 0.03] = np.nan
    returns[0] = np.nan
    return returns


def returns_frame(panel_TxN: np.ndarray) -> pl.DataFrame:
    frame = from_panel(panel_TxN, "close_return", sessions=SESSIONS, symbols=SYMBOLS)
    return RETURNS.conform(
        frame.with_columns(fill_return="close_return", held_return="close_return", source=pl.lit("simulated"))
    )


def kernel(returns: pl.DataFrame) -> Neighbours:
    return correlation_neighbours(returns_panel(returns), window=WINDOW, k=K, min_abs_corr=0.3, min_overlap=20)


def returns_panel(returns: pl.DataFrame) -> np.ndarray:
    return to_panel(returns, "close_return", sessions=SESSIONS, symbols=SYMBOLS)


def graph_sessions() -> tuple[date, ...]:
    return SESSIONS[WINDOW - 1 :]


def stages(returns: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Both tables of the graphs stage."""
    neighbours = kernel(returns)
    statistics = graph_statistics(neighbours, returns_TxN=returns_panel(returns), sessions=SESSIONS)
    return {"graph": graph_frame(neighbours, SESSIONS, SYMBOLS), "statistics": statistics}
