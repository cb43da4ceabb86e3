"""The graph path is real: where only neighbours foretell, the network with graph sees it and the one without cannot."""

import numpy as np
import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.models.candidate import candidate_folds, predict_out_of_sample, train_candidate
from gnn_assets.models.dataset import build_dataset
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.models.synthetic import silent
from gnn_assets_tests.simulation import lead_lag_market

CONFIG = build_config(
    "sample",
    {
        "execution": {"fill": "close_same", "horizon": 1},
        "models": {
            "folds": {"train": 640, "validation": 100, "test": 500},
            "network": {"hidden": 16, "layers": 1},
            "training": {"epochs": 14, "patience": 5, "ensemble": 2},
        },
    },
)


def _mean_ic(scores_SxN, labels_SxN):
    return np.mean([np.corrcoef(score, label)[0, 1] for score, label in zip(scores_SxN, labels_SxN, strict=True)])


@pytest.mark.slow
def test_neighbours_that_lead_are_found_through_the_graph_and_only_through_it():
    market = lead_lag_market(seed=1, n_sessions=1300)
    models = CONFIG.models
    purge = CONFIG.execution.purge
    data = build_dataset(
        market.returns_TxN,
        market.returns_TxN,
        market.graph_frame(CONFIG.graphs),
        sessions=market.sessions,
        symbols=market.symbols,
        features=models.features,
        execution=CONFIG.execution,
        k=CONFIG.graphs.k,
    )
    folds = candidate_folds(data, config=models, purge=purge)
    trained = train_candidate(data, folds=folds, config=models, purge=purge, progress=silent)
    scored = predict_out_of_sample(
        trained.parts.__getitem__, data, folds=folds, facts=trained.facts, config=models, version="v"
    )
    tested = slice(folds[0].test.start, len(market.sessions) - purge)
    ic = {
        model: _mean_ic(
            to_panel(
                scored.filter(pl.col("model") == model), "score", sessions=market.sessions, symbols=market.symbols
            )[tested],
            data.labels_TxN[tested],
        )
        for model in (models.candidate, f"{models.candidate}_no_graph", "ridge")
    }
    oracle = _mean_ic(market.oracle_TxN[tested], data.labels_TxN[tested])
    print({**ic, "oracle": oracle})
    assert oracle > 0.15
    assert ic["graph_attention"] > 0.8 * oracle
    assert abs(ic["graph_attention_no_graph"]) < 0.15 * oracle
    assert abs(ic["ridge"]) < 0.15 * oracle


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
