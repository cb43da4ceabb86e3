"""Returns and settings for the tests of measures."""

import numpy as np

from gnn_assets.core.config import GraphsConfig, build_config
from gnn_assets.core.plugins import load_plugin
from gnn_assets.graphs.correlation import MEASURES
from gnn_assets.graphs.window import Window

WINDOW, LAG = 40, 2
SETTINGS = {
    "window": WINDOW,
    "k": 4,
    "min_abs_corr": 0.2,
    "min_overlap": 20,
    "exponential": {"half_life": 15.0},
    "lead_lag": {"lag": LAG},
}


def config_of(measure: str, **changed) -> GraphsConfig:
    return build_config("test", {"graphs": {**SETTINGS, "measure": measure, **changed}}).graphs


def market(n_sessions=60, n_series=12, *, missing=0.0, common=0.7, seed=0) -> np.ndarray:
    """Log returns with a market, with the first half of the series ahead of the second, and with gaps."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(size=(n_sessions, n_series)) + common * rng.normal(size=(n_sessions, 1))
    half = n_series // 2
    returns[LAG:, n_series - half :] += returns[:-LAG, :half]
    returns[rng.random(returns.shape) < missing] = np.nan
    return 0.01 * returns


def window_of(returns_TxN: np.ndarray, *, config: GraphsConfig, row: int = -1) -> Window:
    """What the measure makes of one session, the last by default."""
    return load_plugin(MEASURES, config.measure).window_at(returns_TxN, row % len(returns_TxN), config=config)
