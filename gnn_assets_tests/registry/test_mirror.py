"""The champion's story in a real MLflow: written once, found again, complete. One database serves every test."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gnn_assets.registry.mirror import EXPERIMENT, mirror
from gnn_assets.registry.pointer import Champion

pytestmark = [
    pytest.mark.slow,
    # MLflow's own store asks SQLAlchemy 2.1 for a loader that it deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]

CHAMPION = Champion(
    version="w1",
    model="graph_attention",
    rule="bootstrap",
    reason="w1 against no champion yet by rule bootstrap: passed.",
    verdict="ITERATE",
    config_hash="recipe",
    oos_predictions="p1",
    portfolio_returns="r1",
    backtest_scores="s1",
    data_end="2022-12-28",
)
PARAMETERS = {"graphs.k": 5, "models.network.hidden": 8, "models.baselines": ["ridge"], "symbol[^GSPC]": "context"}
METRICS = {"ic": 0.02, "sharpe_net": -0.3}
EPOCHS = 400
CURVES = {
    "graph_attention/fold_00": [
        {"epoch": epoch, "loss": -0.01 * epoch, "validation_ic": 0.001 * epoch} for epoch in range(1, EPOCHS + 1)
    ],
    "graph_attention/refit": [
        {"epoch": epoch, "loss": -0.02 * epoch, "validation_ic": None} for epoch in range(1, EPOCHS + 1)
    ],
}


def write(folder: Path, champion: Champion = CHAMPION) -> str:
    return mirror(champion, folder=folder, parameters=PARAMETERS, metrics=METRICS, curves=CURVES)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("mirror") / "mlflow"
    return folder, write(folder)


@pytest.fixture
def client(written) -> Iterator:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{written[0] / 'mlflow.db'}")


def test_a_run_tells_who_is_served_and_why(written, client):
    run = client.get_run(written[1])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "champion w1"
    told = {name: run.data.tags[name] for name in ("gnn_weights_version", "rule", "reason", "verdict")}
    assert told == {
        "gnn_weights_version": "w1",
        "rule": "bootstrap",
        "reason": CHAMPION.reason,
        "verdict": "ITERATE",
    }


def test_settings_and_figures_are_there_under_names_mlflow_allows(written, client):
    data = client.get_run(written[1]).data
    assert data.params == {
        "graphs.k": "5",
        "models.network.hidden": "8",
        "models.baselines": "['ridge']",
        "symbol__GSPC_": "context",
    }
    assert {name: data.metrics[name] for name in METRICS} == METRICS


def test_every_epoch_of_every_part_is_a_point_of_its_curve(written, client):
    for part, rows in CURVES.items():
        for figure in ("loss", "validation_ic"):
            points = client.get_metric_history(written[1], f"{part}/{figure}")
            wanted = [(row["epoch"], row[figure]) for row in rows if row[figure] is not None]
            assert sorted((point.step, point.value) for point in points) == wanted


def test_a_champion_is_written_once_and_found_again(written, client):
    folder, run_id = written
    assert write(folder) == run_id
    (experiment,) = client.search_experiments(filter_string=f"name = '{EXPERIMENT}'")
    assert len(client.search_runs([experiment.experiment_id], filter_string="tags.gnn_weights_version = 'w1'")) == 1


def test_a_champion_put_back_by_hand_is_told_by_whom_and_why(written, client):
    folder, _ = written
    run_id = write(folder, replace(CHAMPION, version="w3"))
    assert client.get_run(run_id).data.tags["by"] == "gate"
    back = replace(CHAMPION, version="w3", rule="rollback", reason="two bad days", by="ann@desk")
    assert write(folder, back) == run_id
    tags = client.get_run(run_id).data.tags
    assert {name: tags[name] for name in ("rule", "reason", "by", "verdict")} == {
        "rule": "rollback",
        "reason": "two bad days",
        "by": "ann@desk",
        "verdict": "ITERATE",
    }


def test_another_champion_gets_a_run_of_its_own(written, client):
    folder, first = written
    second = write(folder, replace(CHAMPION, version="w2", rule="refresh"))
    assert second != first
    assert client.get_run(second).data.tags["rule"] == "refresh"
    assert client.get_run(second).info.experiment_id == client.get_run(first).info.experiment_id


def test_nothing_is_written_outside_the_folder_given(written, tmp_path, monkeypatch):
    folder, _ = written
    monkeypatch.chdir(tmp_path)
    write(folder)
    assert list(tmp_path.iterdir()) == []
    assert {entry.name for entry in folder.iterdir()} <= {"mlflow.db", "artifacts"}
