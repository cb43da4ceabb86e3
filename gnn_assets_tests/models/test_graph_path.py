"""The graph path is real: where only neighbours foretell, a network with the graph sees it and one without cannot."""

import numpy as np
import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.models.checkpoint import NO_CHECKPOINT
from gnn_assets.models.zoo import graph_attention, high_pass
from gnn_assets_tests.models.synthetic import market_data, silent
from gnn_assets_tests.simulation import lead_lag_market

# No feature is made of the graph, and next to nothing taken off a score: what is found is found by listening.
CONFIG = build_config(
    "sample",
    {
        "execution": {"fill": "close_same", "horizon": 1},
        "graphs": {"factors": {"window": 60, "refresh_weeks": 8, "count": 1, "projected": 1}},
        "models": {
            "features": {"groups": ["returns"], "compared": [], "lags": 2, "windows": [2, 5], "short": 5, "long": 10},
            "folds": {"train": 640, "validation": 100, "test": 200},
            "graph_attention": {"hidden": 16, "layers": 1, "dropout": 0.0},
            "high_pass": {"hidden": 16, "narrow": 8, "feature_dropout": 0.0, "dropout": 0.0},
            "training": {"targets": ["residual"], "epochs": 10, "ensemble": 1, "learning_rate": 5e-3},
        },
    },
)
TRAIN, VALIDATION, TEST = range(150, 790), range(791, 891), range(892, 1092)


def _mean_ic(scores_SxN, labels_SxN):
    return np.mean([np.corrcoef(score, label)[0, 1] for score, label in zip(scores_SxN, labels_SxN, strict=True)])


@pytest.fixture(scope="module")
def market():
    return lead_lag_market(seed=1, n_sessions=1093)


@pytest.fixture(scope="module")
def data(market):
    return market_data(market, config=CONFIG)


def _tested_ic(model, data):
    fitted = model.fit(
        data,
        train=TRAIN,
        validation=VALIDATION,
        config=CONFIG.models,
        seed=1,
        epochs=None,
        progress=silent,
        checkpoint=NO_CHECKPOINT,
    )
    scores = model.predict(fitted.arrays, data, sessions=TEST, config=CONFIG.models)
    return _mean_ic(scores, data.labels_TxN[TEST.start : TEST.stop])


@pytest.mark.slow
@pytest.mark.parametrize("model", [graph_attention, high_pass])
def test_neighbours_that_lead_are_found_through_the_graph_and_only_through_it(model, market, data):
    oracle_SxN = market.oracle_TxN[TEST.start : TEST.stop].astype(np.float32)
    oracle = _mean_ic(data.project_off(oracle_SxN, TEST), data.labels_TxN[TEST.start : TEST.stop])
    found, alone = _tested_ic(model, data), _tested_ic(model, data.seen("identity", seed=0))
    assert oracle > 0.15
    assert found > 0.8 * oracle, alone
    assert abs(alone) < 0.15 * oracle, found


@pytest.mark.slow
def test_in_the_simulation_own_returns_foretell_nothing_and_the_graph_is_found():
    market = lead_lag_market(seed=2, n_sessions=4000)
    ahead = market.returns_TxN[1:]
    for back in (1, 2, 3):
        assert abs(_mean_ic(market.returns_TxN[: -back or None][: len(ahead) - back + 1], ahead[back - 1 :])) < 0.012
    edges = market.graph_frame(CONFIG.graphs).filter(pl.col("session") == market.sessions[-1])
    cluster = {symbol: number // 6 for number, symbol in enumerate(market.symbols)}
    same = [cluster[src] == cluster[dst] for src, dst in edges.select("src", "dst").iter_rows()]
    assert len(same) >= 250
    assert np.mean(same) > 0.99
