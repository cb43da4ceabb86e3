"""A small configuration and a small market, so that every model trains in a second."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gnn_assets.core.config import Config, build_config
from gnn_assets.graphs.correlation import correlation_neighbours
from gnn_assets.graphs.factors import factor_loadings
from gnn_assets.models.bars import Bars
from gnn_assets.models.dataset import Dataset, Recipe, build_dataset
from gnn_assets.models.graph import Graph
from gnn_assets_tests.simulation import Market, lead_lag_market

SMALL = {
    "execution": {"fill": "close_next", "horizon": 2},
    "graphs": {
        "window": 20,
        "min_overlap": 15,
        "k": 3,
        "factors": {"window": 20, "refresh_weeks": 1, "count": 2, "projected": 1},
    },
    "models": {
        "candidate": "high_pass",
        "baselines": ["equal_weight", "reversal", "ridge"],
        "features": {
            "groups": ["returns", "residuals"],
            "compared": ["return_lag0"],
            "lags": 1,
            "windows": [2, 5],
            "short": 4,
            "long": 8,
            "history": 3,
        },
        "targets": {"window": 8},
        "folds": {"train": 64, "validation": 20, "test": 30},
        "graph_attention": {"hidden": 8, "heads": 2, "layers": 1},
        "high_pass": {"hidden": 8, "narrow": 4},
        "mlp": {"hidden": 8, "layers": 1},
        "lightgbm": {"trees": 5, "leaves": 4, "min_leaf_share": 0.01},
        "training": {
            "targets": ["residual"],
            "epochs": 3,
            "patience": 2,
            "sessions_per_step": 16,
            "average": 0.5,
            "ensemble": 2,
            "retry_delay_seconds": 0,
        },
    },
}
CONFIG = build_config("test", SMALL)
PURGE = CONFIG.execution.purge


def changed(section: str, **values: object) -> Config:
    """The small configuration with settings of one part of `models` changed."""
    return build_config("test", SMALL, {"models": {section: values}})


def recipe_of(config: Config) -> Recipe:
    """What a dataset is made by under a configuration."""
    return Recipe(
        features=config.models.features,
        targets=config.models.targets,
        projected=config.graphs.factors.projected,
        execution=config.execution,
    )


def graph_of(market: Market, config: Config) -> Graph:
    """The graph that a market's own returns show."""
    graphs = config.graphs
    found = correlation_neighbours(
        market.returns_TxN,
        window=graphs.window,
        k=graphs.k,
        min_abs_corr=graphs.min_abs_corr,
        min_overlap=graphs.min_overlap,
    )
    shape = (len(market.sessions), len(market.symbols), graphs.k)
    neighbours, corr = np.full(shape, -1, dtype=np.int32), np.zeros(shape, dtype=np.float32)
    neighbours[found.sessions_S] = found.dst_SxNxk
    corr[found.sessions_S] = np.nan_to_num(found.corr_SxNxk)
    factors = factor_loadings(market.returns_TxN, sessions=market.sessions, config=graphs.factors)
    return Graph(market.sessions, market.returns_TxN, neighbours, corr, factors)


def market_data(market: Market, *, config: Config = CONFIG) -> Dataset:
    """A simulated market as models see it: closes alone, traded at the close."""
    bars = Bars(market.sessions, market.symbols, market.returns_TxN)
    return build_dataset(bars, graph_of(market, config), market.returns_TxN, recipe=recipe_of(config))


def small_market(*, seed: int = 1, n_sessions: int = 165, gaps: bool = True) -> Market:
    """A lead-lag market of nine symbols; with gaps, one symbol lacks a few returns."""
    market = lead_lag_market(seed=seed, n_sessions=n_sessions, n_clusters=3, cluster_size=3)
    if gaps:
        market.returns_TxN[40:43, 2] = np.nan
        market.returns_TxN[-25, 4] = np.nan
    return market


def small_data(*, seed: int = 1, n_sessions: int = 165, config: Config = CONFIG, gaps: bool = True) -> Dataset:
    """The small market as models see it."""
    return market_data(small_market(seed=seed, n_sessions=n_sessions, gaps=gaps), config=config)


def features_changed(data: Dataset, change: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    """The data with every feature (T, N) changed."""
    own, linked = ({name: change(column) for name, column in each.items()} for each in (data.own, data.linked))
    return replace(data, own=own, linked=linked)


def poisoned(data: Dataset, row: int) -> Dataset:
    """The data with an infinite feature in one session."""
    name = data.feature_names[0]
    column = data.own[name].copy()
    column[row, 0] = np.inf
    return replace(data, own={**data.own, name: column})


def silent(share: float, text: str) -> None:
    """Progress nobody reads."""
