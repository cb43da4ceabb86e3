"""A small configuration and a small market, so that every model trains in a second."""

import numpy as np

from gnn_assets.core.config import Config, build_config
from gnn_assets.models.dataset import Dataset, build_dataset
from gnn_assets_tests.simulation import lead_lag_market

SMALL = {
    "execution": {"fill": "close_next", "horizon": 2},
    "graphs": {"window": 20, "min_overlap": 15, "k": 3},
    "models": {
        "features": {"return_windows": [1, 5], "volatility_window": 5, "range_window": 5},
        "folds": {"train": 64, "validation": 20, "test": 30},
        "network": {"hidden": 8, "heads": 2, "layers": 1},
        "training": {"epochs": 3, "patience": 2, "sessions_per_step": 16, "ensemble": 2},
    },
}
CONFIG = build_config("test", SMALL)
PURGE = CONFIG.execution.purge


def changed(section: str, **values: object) -> Config:
    """The small configuration with settings of one part of `models` changed."""
    return build_config("test", SMALL, {"models": {section: values}})


def small_data(*, seed: int = 1, n_sessions: int = 165, config: Config = CONFIG, gaps: bool = True) -> Dataset:
    """A lead-lag market of nine symbols; with gaps, one symbol lacks a few returns."""
    market = lead_lag_market(seed=seed, n_sessions=n_sessions, n_clusters=3, cluster_size=3)
    if gaps:
        market.returns_TxN[40:43, 2] = np.nan
        market.returns_TxN[-25, 4] = np.nan
    return build_dataset(
        market.returns_TxN,
        market.returns_TxN,
        market.graph_frame(config.graphs),
        sessions=market.sessions,
        symbols=market.symbols,
        features=config.models.features,
        execution=config.execution,
        k=config.graphs.k,
    )


def silent(share: float, text: str) -> None:
    """Progress nobody reads."""
