"""A small market with opens, highs, lows and volumes, each in the session's own prices."""

from dataclasses import replace

import numpy as np

from gnn_assets.core.config import Config, build_config
from gnn_assets.core.plugins import plugin_names
from gnn_assets.models.bars import Bars
from gnn_assets.models.dataset import Dataset, Recipe, build_dataset
from gnn_assets.models.features import groups
from gnn_assets.models.graph import Graph
from gnn_assets_tests.models.synthetic import graph_of
from gnn_assets_tests.simulation import Market, weekdays

GROUPS = groups.__name__
FIELDS = ("open", "high", "low", "close", "volume")
CONFIG = build_config(
    "test",
    {
        "execution": {"fill": "close_same", "horizon": 1},
        "graphs": {
            "window": 20,
            "min_overlap": 12,
            "k": 3,
            "min_abs_corr": 0.0,
            "factors": {"window": 25, "refresh_weeks": 1, "count": 3, "projected": 2},
        },
        "models": {
            "features": {
                "groups": list(plugin_names(GROUPS)),
                "compared": ["return_lag0", "residual_lag0"],
                "lags": 1,
                "windows": [2, 5, 10],
                "short": 4,
                "long": 8,
                "history": 5,
            },
            "targets": {"window": 8},
        },
    },
)


def candles(*, seed: int = 0, n_sessions: int = 90, n_symbols: int = 8) -> Bars:
    """Random walks on two common directions, without gaps; now and then a close does not move."""
    rng = np.random.default_rng(seed)
    shape = (n_sessions, n_symbols)
    common = rng.normal(size=(n_sessions, 2)) @ rng.normal(size=(2, n_symbols))
    returns = 0.01 * (common + rng.standard_t(3, size=shape))
    returns[rng.random(shape) < 0.05] = 0.0
    close = 50 * np.exp(returns.cumsum(axis=0))
    values = {"open": close * np.exp(0.01 * rng.normal(size=shape)), "close": close}
    values["high"] = np.fmax(values["open"], close) * np.exp(np.abs(0.005 * rng.normal(size=shape)))
    values["low"] = np.fmin(values["open"], close) * np.exp(-np.abs(0.005 * rng.normal(size=shape)))
    values["volume"] = rng.lognormal(10, 0.5, size=shape)
    returns[0] = np.nan
    return Bars(weekdays(n_sessions), tuple(f"S{number}" for number in range(n_symbols)), returns, values)


def graph_for(bars: Bars, config: Config = CONFIG) -> Graph:
    """The graph that the bars' own returns show."""
    returns = bars.close_return_TxN
    return graph_of(Market(bars.sessions, bars.symbols, returns, np.zeros_like(returns)), config)


def with_fields(bars: Bars, *names: str) -> Bars:
    """The bars of a source that has some fields only."""
    return replace(bars, values={name: values for name, values in bars.values.items() if name in names})


def up_to(bars: Bars, end: int) -> Bars:
    """The bars before row `end`, as they were told when no later one was there."""
    return Bars(
        bars.sessions[:end],
        bars.symbols,
        bars.close_return_TxN[:end],
        {name: values[:end] for name, values in bars.values.items()},
    )


def features_changed_by(config: Config, **values: object) -> Config:
    """The configuration with settings of its features changed."""
    models = config.models
    return config.model_copy(
        update={"models": models.model_copy(update={"features": models.features.model_copy(update=values)})}
    )


def candle_data(bars: Bars, *, config: Config = CONFIG) -> Dataset:
    """The market as models see it, traded at the close."""
    return build_dataset(bars, graph_for(bars, config), bars.close_return_TxN, recipe=Recipe.of(config))
