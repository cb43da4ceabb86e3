"""Look-ahead planted in the real functions, and the stage whose tripwire it runs into.

Each leak is what somebody could write by mistake; the stage that uses it is run for real, and publishes nothing.
"""

import dataclasses
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gnn_assets.bars import remade
from gnn_assets.bars.schema import RETURNS
from gnn_assets.defs import bars as bars_assets
from gnn_assets.defs.io import current_version
from gnn_assets.defs.resources import Platform
from gnn_assets.forecasts import publish
from gnn_assets.graphs.measures import pearson
from gnn_assets.models.features import build
from gnn_assets.models.features.groups import returns as returns_features
from gnn_assets.models.graph import Graph
from gnn_assets_tests.defs.ridge_home import DATA, copy_of, on, platform_at, run, served_on

pytestmark = pytest.mark.slow

NEWEST = date(2022, 12, 1)
WATCHED = ("returns", "correlation_graphs", "oos_predictions", "forecasts")


@pytest.fixture(scope="module")
def ready(ridge_flow, tmp_path_factory) -> Path:
    """A home in which a session has come since everything was made: its bars, returns and graphs are there."""
    home = copy_of(ridge_flow, tmp_path_factory.mktemp("tripwires") / "home")
    assert run(platform_at(home, on(NEWEST)), *DATA).success
    return home


@pytest.fixture
def platform(ready, tmp_path) -> Platform:
    return platform_at(copy_of(ready, tmp_path / "home"), on(NEWEST))


def adjusted_by_hindsight(patch) -> None:
    """Returns less the mean of all there ever were."""
    honest = bars_assets.returns_of

    def returns_of(*given, **named):
        centred = pl.col("close_return") - pl.col("close_return").mean().over("symbol")
        return RETURNS.conform(honest(*given, **named).with_columns(centred))

    for module in (bars_assets, remade):
        patch.setattr(module, "returns_of", returns_of)


def told_of_tomorrow(patch) -> None:
    """Each return is the next session's, as one shift too many makes it."""
    honest = bars_assets.returns_of

    def returns_of(*given, **named):
        ahead = pl.col("fill_return").shift(-1).over("symbol", order_by="session")
        return RETURNS.conform(honest(*given, **named).with_columns(ahead))

    for module in (bars_assets, remade):
        patch.setattr(module, "returns_of", returns_of)


def graph_of_tomorrow(patch) -> None:
    """The window of a session ends a session later."""
    honest = pearson.window_at

    def window_at(returns_TxN, row, *, config):
        return honest(returns_TxN, min(row + 1, len(returns_TxN) - 1), config=config)

    patch.setattr(pearson, "window_at", window_at)


def feature_of_tomorrow(patch) -> None:
    """The newest return is the one to come."""
    honest = returns_features.features

    def features(bars, graph, config):
        named = dict(honest(bars, graph, config))
        ahead = np.append(bars.close_return_TxN[1:], np.zeros_like(named["return_lag0"][:1]), 0)
        return {**named, "return_lag0": ahead}

    patch.setattr(returns_features, "features", features)


def neighbours_of_tomorrow(patch) -> None:
    """What models see of the graph is a session ahead."""
    honest = Graph.of.__func__

    def of(cls, close_return_TxN, arrays, **named):
        graph = honest(cls, close_return_TxN, arrays, **named)
        ahead = np.append(np.arange(1, len(close_return_TxN)), len(close_return_TxN) - 1)
        return dataclasses.replace(graph, neighbours_TxNxK=graph.neighbours_TxNxK[ahead])

    patch.setattr(Graph, "of", classmethod(of))


def normalised_over_everything(patch) -> None:
    """Features less their mean over the whole history, as well as across the session."""
    for name, honest in build._SCALINGS.items():

        def scaled(values_TxN, mask_TxN, honest=honest):
            finite_TxN = np.where(np.isfinite(values_TxN), values_TxN, 0.0)
            return honest(values_TxN - finite_TxN.mean(axis=0), mask_TxN)

        patch.setitem(build._SCALINGS, name, scaled)


def calibrated_by_hindsight(patch) -> None:
    """The line is fitted on every outcome there is."""
    honest = publish.fit_calibration

    def fit_calibration(*given, sessions, session, **named):
        made = honest(*given, sessions=sessions, session=sessions[-1], **named)
        return dataclasses.replace(made, session=session)

    patch.setattr(publish, "fit_calibration", fit_calibration)


LEAKS = {
    "returns": [adjusted_by_hindsight, told_of_tomorrow],
    "correlation_graphs": [graph_of_tomorrow],
    "oos_predictions": [feature_of_tomorrow, neighbours_of_tomorrow, normalised_over_everything],
    "forecasts": [
        *(feature_of_tomorrow, neighbours_of_tomorrow, normalised_over_everything),
        calibrated_by_hindsight,
    ],
}


def test_without_a_leak_every_tripwire_holds(platform):
    """Over more sessions than one: which of them is looked at depends on the newest."""
    done = run(platform, "gnn_weights", *WATCHED)
    assert done.success, done.failures
    for asset in WATCHED:
        check = done.checks[asset]["no_look_ahead"]
        assert (check.passed, check.metadata["value"].value) == (True, 0)
    assert {session for session, _ in served_on(platform)} == {NEWEST}


@pytest.mark.parametrize(
    ("asset", "leak"),
    [(asset, leak) for asset, leaks in LEAKS.items() for leak in leaks],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_a_planted_leak_is_an_error_of_its_stage_and_nothing_of_it_is_published(platform, monkeypatch, asset, leak):
    # What the home holds was made without it; another setting has the stage made anew.
    if asset in DATA:
        platform = platform_at(
            platform.settings.home, on(NEWEST), {"bars": {"min_symbol_coverage": 0.7}, "graphs": {"k": 4}}
        )
    before = current_version(platform, asset)
    leak(monkeypatch)
    # What is scored was trained with the leak as well.
    done = run(platform, *(("gnn_weights", asset) if asset == "oos_predictions" else (asset,)))
    assert done.failed(asset) == ["no_look_ahead"]
    assert "no_look_ahead failed" in done.failures[asset]
    assert current_version(platform, asset) == before
