"""The asset model_drift on a small platform: what it publishes, what it takes over, what it finds, what it shows."""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import CorruptArtefact
from gnn_assets.core.settings import Settings
from gnn_assets.defs import bars, graphs, models
from gnn_assets.defs import model_drift as drift_asset
from gnn_assets.defs.io import current_version, stage_asset
from gnn_assets.defs.resources import Platform
from gnn_assets.graphs.schema import CORRELATION_GRAPHS
from gnn_assets.models.features.groups import returns as returns_features
from gnn_assets.models.zoo import reversal
from gnn_assets.monitoring import family, watch
from gnn_assets.monitoring.model_drift import drift_signals
from gnn_assets.monitoring.schema import MODEL_DRIFT
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.versions import Lineage

pytestmark = pytest.mark.slow

# A champion that has nothing to train: what is watched is the real thing, and costs seconds.
SMALL = {
    "clock": {"session": "2022-06-30"},
    "bars": {"from_session": "2021-01-04"},
    "graphs": {"window": 40, "min_overlap": 30, "factors": {"window": 40, "refresh_weeks": 1}},
    "models": {
        "candidate": "reversal",
        "baselines": ["equal_weight"],
        "features": {"groups": ["returns", "residuals"], "windows": [2, 5, 20], "short": 5, "long": 20},
        "folds": {"train": 128, "validation": 32, "test": 126},
        "targets": {"window": 20},
    },
    "drift": {"window": 21, "history_windows": 4, "paths": 40, "path_sessions": 126, "sessions_per_alarm": 126},
}
NEWER, NEWEST = {"clock": {"session": "2022-09-29"}}, {"clock": {"session": "2022-09-30"}}
KINDS = ["feature_drift", "prediction_drift", "residual_drift"]
BEFORE = (*bars.STAGES, *graphs.STAGES)


def platform_at(home, *overrides):
    return Platform(settings=Settings(profile="test", home=home), config=build_config("test", SMALL, *overrides))


def run(platform, *stages):
    """Some stages; what the last of them said: metadata and checks."""
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral(tempdir=str(platform.settings.home)) as instance:
        result = dg.materialize(
            [stage_asset(stage, platform.config) for stage in stages],
            instance=instance,
            resources={"platform": platform},
            run_config=quiet,
        )
    name = stages[-1].name
    (made,) = result.asset_materializations_for_node(name)
    evaluations = result.get_asset_check_evaluations()
    checks = {check.check_name: check for check in evaluations if check.asset_key.to_user_string() == name}
    return made.metadata, checks


def watch_champion(platform):
    return run(platform, *drift_asset.STAGES)


def crown(platform):
    """Whoever was trained last is served."""
    version = current_version(platform, "gnn_weights")
    facts = platform.weights.facts(version)
    champion = Champion(
        version=version,
        model=facts["recipe"]["models"]["candidate"],
        rule="bootstrap",
        reason="nobody was served yet",
        verdict="ITERATE",
        config_hash=facts["config_hash"],
        oos_predictions=current_version(platform, "oos_predictions"),
        portfolio_returns="p",
        backtest_scores="s",
        data_end=facts["data_end"],
    )
    lineage = Lineage(inputs={}, code_version="c", config_hash="h")
    platform.champion.promote(champion, expected=None, lineage=lineage, run_id="run")


def table_of(platform):
    return platform.lake.read(MODEL_DRIFT)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A home with a champion trained to the end of June."""
    home = tmp_path_factory.mktemp("model_drift") / "home"
    platform = platform_at(home)
    run(platform, *BEFORE, *models.STAGES)
    crown(platform)
    return home


@pytest.fixture(scope="module")
def watched(served, tmp_path_factory):
    """The same at the end of September, its champion watched; and what the asset said."""
    home = Path(shutil.copytree(served, tmp_path_factory.mktemp("watched") / "home"))
    run(platform_at(home, NEWER), *BEFORE)
    return home, *watch_champion(platform_at(home, NEWER))


@pytest.fixture(scope="module")
def a_session_on(watched, tmp_path_factory):
    """The same a session later, its champion still to be watched on it."""
    home = Path(shutil.copytree(watched[0], tmp_path_factory.mktemp("a_session_on") / "home"))
    run(platform_at(home, NEWEST), *BEFORE)
    return home


@pytest.fixture
def home(a_session_on, tmp_path) -> Path:
    return Path(shutil.copytree(a_session_on, tmp_path / "home"))


def test_each_kind_has_a_row_for_each_session_since_the_champion_s_data_ended(watched):
    home, metadata, checks = watched
    platform = platform_at(home, NEWER)
    drift = table_of(platform)
    live = list(platform.calendar.between(date(2022, 7, 1), date(2022, 9, 29)))
    assert drift["session"].unique().sort().to_list() == live
    assert drift.group_by("session").agg(pl.col("kind").sort())["kind"].to_list() == [KINDS] * len(live)
    assert set(drift["version"]) == {current_version(platform, "champion")}
    assert drift["limit"].null_count() == 0
    assert metadata["data_end"].value == "2022-09-29"
    assert metadata["live_sessions"].value == len(live)
    assert metadata["newest"].value.count("\n") == 4
    assert metadata["drift"].value.startswith("![")
    assert set(checks) == {*KINDS, "no_look_ahead", "age"}
    assert checks["no_look_ahead"].passed, checks["no_look_ahead"].description
    newest = {row["kind"]: row for row in drift.tail(3).iter_rows(named=True)}
    for kind in KINDS:
        assert checks[kind].severity == dg.AssetCheckSeverity.WARN
        assert checks[kind].passed is (newest[kind]["value"] <= newest[kind]["limit"])
        assert checks[kind].metadata["threshold"].value == pytest.approx(newest[kind]["limit"], abs=1e-6)


def test_the_same_again_computes_nothing(watched, monkeypatch):
    monkeypatch.setattr(drift_asset, "_made_before", lambda *_: pytest.fail("computed again"))
    metadata, _ = watch_champion(platform_at(watched[0], NEWER))
    assert metadata["reused"].value is True


def test_one_more_session_takes_over_what_was_made_and_gives_the_bytes_of_one_that_was_made_at_once(home, monkeypatch):
    newest, before = platform_at(home, NEWEST), table_of(platform_at(home))
    calibrated = []
    calibrate = family._calibrated
    monkeypatch.setattr(family, "_calibrated", lambda *a, **k: calibrated.append(1) or calibrate(*a, **k))
    watch_champion(newest)
    assert calibrated == []
    after = table_of(newest)
    assert after.height == before.height + len(KINDS)
    assert after.head(before.height).equals(before)
    forget(newest)
    watch_champion(newest)
    assert len(calibrated) == 2  # features and scores
    assert table_of(newest).equals(after)


def forget(platform):
    """Rows and limits are gone, as in a home that never had any."""
    shutil.rmtree(platform.data / "lake" / "model_drift")
    platform.checkpoints.clear("model_drift")


def test_a_damaged_table_only_costs_time(home, monkeypatch):
    def damaged(*_, **__):
        raise CorruptArtefact("model_drift: expected its bytes, was others; make it again.")

    newest, before = platform_at(home, NEWEST), table_of(platform_at(home))
    monkeypatch.setattr(drift_asset, "stored", damaged)
    watch_champion(newest)
    assert table_of(newest).head(before.height).equals(before)


def _tomorrow_s(features):
    return lambda *a: {name: np.roll(values, -1, axis=0) for name, values in features(*a).items()}


def _reference_that_grows(judged):
    """What the folds said is measured by how much came after it."""

    def grown(data, predictions, *, known):
        said = judged(data, predictions, known=known)
        return replace(said, scores_TxN=said.scores_TxN * len(data.sessions))

    return grown


def _known_too_soon(watched):
    return lambda data, **given: replace(watched(data, **given), purge=0)


@pytest.mark.parametrize(
    ("place", "leak", "kind"),
    [
        pytest.param((returns_features, "features"), _tomorrow_s, "feature_drift", id="a feature of tomorrow"),
        pytest.param((watch, "_judged"), _reference_that_grows, "prediction_drift", id="a reference of today"),
        pytest.param((drift_asset, "watched"), _known_too_soon, "residual_drift", id="an outcome to come"),
    ],
)
def test_the_tripwire_finds_what_looks_ahead(home, monkeypatch, place, leak, kind):
    monkeypatch.setattr(*place, leak(getattr(*place)))
    platform = platform_at(home, NEWEST)
    forget(platform)
    with pytest.raises(dg.Failure, match=f"no_look_ahead failed: value 1.*{kind}"):
        watch_champion(platform)
    assert platform.lake.manifest(MODEL_DRIFT) is None


def test_limits_of_other_settings_are_not_recalled(home):
    before = table_of(platform_at(home))
    seldom = platform_at(home, NEWEST, {"drift": {"sessions_per_alarm": 1260}})
    watch_champion(seldom)
    after = table_of(seldom)
    for kind in KINDS:
        (one,), (other,) = (rows.filter(pl.col("kind") == kind)["limit"].unique() for rows in (before, after))
        assert other != one


def test_an_alarm_warns_names_offenders_and_publishes_all_the_same(home, monkeypatch):
    # What is said lies closer together than it ever did out of sample.
    predict = reversal.predict
    monkeypatch.setattr(reversal, "predict", lambda *a, **k: predict(*a, **k) / 8)
    platform = platform_at(home, NEWEST)
    forget(platform)
    _, checks = watch_champion(platform)
    assert not checks["prediction_drift"].passed
    assert "score" in checks["prediction_drift"].metadata["offenders"].value
    newest = table_of(platform).tail(len(KINDS))
    (signal,) = (one for one in drift_signals(newest) if one.reason == "prediction_drift")
    assert signal.firing
    assert checks["no_look_ahead"].passed


def test_a_champion_without_a_session_since_its_data_ended_is_not_judged(served, tmp_path):
    platform = platform_at(Path(shutil.copytree(served, tmp_path / "home")))
    metadata, checks = watch_champion(platform)
    assert table_of(platform).is_empty()
    assert metadata["data_end"].value == "2022-06-30"
    assert all(check.passed for check in checks.values())
    assert "no session since" in checks["feature_drift"].description


def test_a_champion_of_another_recipe_is_watched_by_its_own_features_and_graphs(watched, tmp_path, monkeypatch):
    first = platform_at(watched[0])
    before, graph = table_of(first), first.lake.read(CORRELATION_GRAPHS)
    home = shutil.copytree(watched[0], tmp_path / "home")
    other = platform_at(home, NEWER, {"graphs": {"k": 3, "window": 30}, "models": {"features": {"windows": [3]}}})
    run(other, *BEFORE)
    seen = []
    dataset_on = drift_asset.dataset_on
    monkeypatch.setattr(
        drift_asset, "dataset_on", lambda p, graph, *a, **k: seen.append(graph) or dataset_on(p, graph, *a, **k)
    )
    watch_champion(other)
    assert table_of(other).drop("inputs_hash").equals(before.drop("inputs_hash"))
    assert seen[0].equals(graph.filter(pl.col("session") > date(2022, 6, 30)))


def test_outcomes_of_another_fill_are_not_the_champion_s(home):
    other = platform_at(home, NEWEST, {"execution": {"fill": "close_same"}})
    _, checks = watch_champion(other)
    residual = table_of(other).filter(pl.col("kind") == "residual_drift")
    assert residual["limit"].null_count() == residual["value"].null_count() == residual.height
    assert checks["residual_drift"].metadata["value"].value == "not known"
    assert checks["no_look_ahead"].passed
