"""Who is served after whatever happens to a candidate, told by the real assets on a small platform.

One home is materialized to the end of November; each test goes on from a copy of it. MLflow, whose database takes
longer than everything else together, has its own test.
"""

import dataclasses
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from gnn_assets.core.checks import Check
from gnn_assets.core.config import build_config
from gnn_assets.core.settings import Settings
from gnn_assets.definitions import build_definitions
from gnn_assets.defs import bars as bars_assets
from gnn_assets.defs import mirror as mirror_asset
from gnn_assets.defs import models as models_assets
from gnn_assets.defs import registry as registry_assets
from gnn_assets.defs.io import current_version
from gnn_assets.defs.operate import failures_of as step_failures
from gnn_assets.defs.recipe import champion_config, recipe_hash
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.tables import TABLES
from gnn_assets.defs.verify import verify_session
from gnn_assets.models.features.groups import returns as returns_features
from gnn_assets.models.features.standardise import standardise
from gnn_assets.models.zoo import high_pass, reversal
from gnn_assets.registry.pointer import Champion
from gnn_assets.registry.promotion import Evidence

TINY = {
    "clock": {"session": "2022-11-30"},
    "bars": {"from_session": "2020-06-01"},
    "graphs": {"window": 40, "min_overlap": 30, "factors": {"window": 40, "refresh_weeks": 1}},
    "models": {
        "features": {"windows": [2, 5, 20], "short": 5, "long": 20},
        "folds": {"train": 128, "validation": 32, "test": 126},
        "training": {"epochs": 2, "ensemble": 1},
        "targets": {"window": 20},
        "lightgbm": {"trees": 5},
    },
    "backtests": {"bootstrap_resamples": 50, "min_sessions": 60},
    "forecasts": {"min_calibration_sessions": 20, "history_sessions": 2},
}
NOVEMBER, DECEMBER = date(2022, 11, 30), date(2022, 12, 28)
NEWER = {"clock": {"session": DECEMBER}}
# Whatever the paired interval and two trainings of a tiny network say, so that a test decides what the gate does.
LENIENT = {"gate": {"non_inferiority_margin": 2.0, "refit_agreement": 0.0}}
STRICT = {"gate": {"max_rmse_ratio": 1e-9}}
SERVING = ("forecasts", "correlation_graphs", "returns")


@dataclass(frozen=True)
class Done:
    """What a run did: asset → whether it was reused, failed step → sentence, asset → check → whether it passed."""

    success: bool
    reused: dict[str, bool]
    failures: dict[str, str]
    checks: dict[str, dict[str, bool]]


def platform_at(home: Path, *overrides: Mapping[str, Any]) -> Platform:
    return Platform(settings=Settings(profile="test", home=home), config=build_config("test", TINY, *overrides))


def run(platform: Platform, job: str = "everything") -> Done:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral(tempdir=str(platform.settings.home)) as instance:
        result = (
            build_definitions(platform)
            .resolve_job_def(job)
            .execute_in_process(instance=instance, raise_on_error=False, run_config=quiet)
        )
    checks: dict[str, dict[str, bool]] = {}
    for made in result.get_asset_check_evaluations():
        checks.setdefault(made.asset_key.to_user_string(), {})[made.check_name] = made.passed
    return Done(
        success=result.success,
        reused={
            event.materialization.asset_key.to_user_string(): bool(event.materialization.metadata["reused"].value)
            for event in result.get_asset_materialization_events()
        },
        failures=step_failures(result),
        checks=checks,
    )


def champion_of(platform: Platform) -> Champion:
    champion = platform.champion.current()
    assert champion is not None
    return champion


def forecasts_of(platform: Platform) -> pl.DataFrame:
    return platform.lake.read(TABLES["forecasts"])


def newest_of(platform: Platform) -> pl.DataFrame:
    forecasts = forecasts_of(platform)
    return forecasts.filter(pl.col("session") == forecasts["session"].max())


def versions_of(platform: Platform) -> dict[str, str]:
    return {name: current_version(platform, name) for name in platform.config.ages}


def events_of(platform: Platform, *kinds: str) -> list[dict[str, Any]]:
    return [event for event in platform.ledger.read("events") if event["event"] in kinds]


@pytest.fixture(scope="module", autouse=True)
def _no_mlflow() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mirror_asset, "mirror", lambda champion, **_: f"run of {champion.version}")
        yield


@pytest.fixture(scope="module")
def november(tmp_path_factory) -> tuple[Path, Done]:
    """A home in which everything was materialized once."""
    home = tmp_path_factory.mktemp("gate") / "home"
    return home, run(platform_at(home))


@pytest.fixture
def home(november, tmp_path) -> Path:
    return Path(shutil.copytree(november[0], tmp_path / "home"))


@pytest.fixture
def first(november) -> Champion:
    return champion_of(platform_at(november[0]))


@pytest.fixture
def judged(monkeypatch) -> list[Evidence]:
    """All the evidence the gate is shown, in order."""
    shown: list[Evidence] = []
    judge = registry_assets.judge
    monkeypatch.setattr(
        registry_assets, "judge", lambda evidence, *, config: shown.append(evidence) or judge(evidence, config=config)
    )
    return shown


@pytest.mark.parametrize(
    "same",
    [
        {"execution": {"commission_bps": 9.0}},
        {"graphs": {"max_density_change": 0.1}},
        {"models": {"ridge": {"penalty": 10.0}}},
        {"models": {"baselines": ["ridge"]}},
        {"gate": {"max_rmse_ratio": 2.0}},
    ],
)
def test_what_the_candidate_does_not_train_by_makes_no_other_recipe(same):
    assert recipe_hash(build_config("test", same)) == recipe_hash(build_config("test"))


@pytest.mark.parametrize(
    "other",
    [
        {"universe": {"file": "other.yaml"}},
        {"execution": {"horizon": 1}},
        {"execution": {"fill": "open_next"}},
        {"graphs": {"k": 3}},
        {"models": {"seed": 1}},
        {"models": {"high_pass": {"hidden": 4}}},
        {"models": {"lightgbm": {"trees": 10}}},
        {"models": {"training": {"epochs": 3}}},
        {"graphs": {"factors": {"count": 4}}},
        {"models": {"candidate": "ridge"}},
    ],
)
def test_what_the_candidate_trains_by_makes_another_recipe(other):
    assert recipe_hash(build_config("test", other)) != recipe_hash(build_config("test"))


def test_a_candidate_with_settings_of_its_own_has_them_in_its_recipe():
    ridge = {"models": {"candidate": "ridge"}}
    first, second = (build_config("test", ridge, {"models": {"ridge": {"penalty": size}}}) for size in (1.0, 2.0))
    assert recipe_hash(first) != recipe_hash(second)


@pytest.mark.slow
def test_the_first_candidate_is_promoted_by_rule_bootstrap(november):
    home, done = november
    platform = platform_at(home)
    assert done.success, done.failures
    assert not any(done.reused.values())
    champion = champion_of(platform)
    assert (champion.rule, champion.data_end) == ("bootstrap", str(NOVEMBER))
    assert champion.version == current_version(platform, "gnn_weights")
    (event,) = events_of(platform, "promoted", "refused", "kept")
    assert (event["event"], event["rule"], event["candidate"]) == ("promoted", "bootstrap", champion.version)
    newest = newest_of(platform)
    assert set(newest["champion"]) == {champion.version}
    assert set(newest["session"]) == {NOVEMBER}
    assert newest.height == 20


@pytest.mark.slow
def test_the_same_again_computes_nothing_and_moves_nothing(home, first):
    platform = platform_at(home)
    done = run(platform)
    assert done.success, done.failures
    assert set(done.reused.values()) == {True}
    assert len(platform.champion.versions.history()) == 1
    assert len(events_of(platform, "promoted", "refused")) == 1


@pytest.mark.slow
def test_a_promotion_whose_run_was_killed_before_the_ledger_is_told_by_the_next(home, first):
    platform = platform_at(home)
    (told,) = events_of(platform, "promoted")
    for path in platform.ledger.folder.glob("events*"):
        path.unlink()
    assert run(platform, "retrain").success
    assert run(platform, "retrain").success
    (again,) = events_of(platform, "promoted")
    own = ("id", "recorded_at")
    assert {key: told[key] for key in told if key not in own} == {key: again[key] for key in again if key not in own}


@pytest.mark.slow
def test_newer_data_are_judged_by_rule_refresh_and_the_pointer_moves(home, first, judged):
    platform = platform_at(home, NEWER, LENIENT)
    done = run(platform)
    assert done.success, done.failures
    champion = champion_of(platform)
    assert (champion.rule, champion.data_end) == ("refresh", str(DECEMBER))
    assert champion.version != first.version
    assert champion.config_hash == first.config_hash == recipe_hash(champion_config(platform, champion))
    # Since November the served refit is held against the fold that had not seen these sessions.
    ((own, other),) = [(evidence.candidate.portfolio, evidence.champion.portfolio) for evidence in judged]
    since = own.join(other, on="session", suffix="_served").filter(pl.col("session") > NOVEMBER)
    known = since.drop_nulls(["ic", "ic_served"])
    assert since["session"].max() == DECEMBER
    assert since.height - known.height == platform.config.execution.purge
    assert (known["ic"] != known["ic_served"]).all()
    before = own.join(other, on="session").filter(pl.col("session") <= NOVEMBER).drop_nulls(["ic", "ic_right"])
    assert before["ic"].equals(before["ic_right"], check_names=False)
    assert [made.version for made in platform.champion.versions.history()] == [first.version, champion.version]
    event = events_of(platform, "promoted")[-1]
    assert (event["rule"], event["champion"], event["candidate"]) == ("refresh", first.version, champion.version)
    newest = newest_of(platform)
    assert set(newest["champion"]) == {champion.version}
    assert set(newest["session"]) == {DECEMBER}


@pytest.mark.slow
def test_a_refused_refresh_leaves_the_champion_and_it_goes_on_serving_newer_sessions(home, first):
    platform = platform_at(home, NEWER, STRICT)
    done = run(platform)
    assert done.success, done.failures
    assert champion_of(platform) == first
    (event,) = events_of(platform, "refused")
    assert (event["rule"], event["champion"]) == ("refresh", first.version)
    assert "rmse_over_naive failed" in event["reason"]
    # The refusal is seen, and stops nothing.
    assert done.checks["champion"]["rmse_over_naive"] is False
    assert done.reused["champion"] is True
    assert done.reused["forecasts"] is False
    newest = newest_of(platform)
    assert set(newest.select("session", "champion", "served_by").iter_rows()) == {
        (DECEMBER, first.version, "blend/refit")
    }
    assert verify_session(platform, DECEMBER).matches
    # The same refusal again is no second event.
    assert run(platform, "retrain").success
    assert len(events_of(platform, "refused")) == 1


@pytest.mark.slow
def test_a_refresh_whose_weights_were_shuffled_is_refused_though_its_folds_are_sound(home, first, monkeypatch):
    """Twenty new sessions are too few for the paired interval to tell: only what the refit says itself does."""
    honest = models_assets.train_candidate

    def shuffled(*given, **settings):
        made = honest(*given, **settings)
        generator, refit = np.random.default_rng(0), f"{first.model}/refit"
        parts = {
            part: {name: _shuffled(array, generator) for name, array in arrays.items()} if part == refit else arrays
            for part, arrays in made.parts.items()
        }
        return dataclasses.replace(made, parts=parts)

    monkeypatch.setattr(models_assets, "train_candidate", shuffled)
    platform = platform_at(home, NEWER, LENIENT)
    done = run(platform)
    # The champion stays, and so does the end of its data.
    assert {name for name, passed in done.checks["champion"].items() if not passed} == {"refit_agrees", "age"}
    assert champion_of(platform) == first


def _shuffled(array: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The same numbers in a random order; of the text of a booster, its leaves' values."""
    if array.dtype != np.uint8:
        return generator.permutation(array.ravel()).reshape(array.shape)
    text = re.sub(r"tree_sizes=.*\n", "", array.tobytes().decode())
    leaves = re.findall(r"leaf_value=(.*)", text)
    values = iter(generator.permutation([value for line in leaves for value in line.split()]))
    mixed = re.sub(
        r"leaf_value=(.*)", lambda line: "leaf_value=" + " ".join(next(values) for _ in line[1].split()), text
    )
    return np.frombuffer(mixed.encode(), dtype=np.uint8).copy()


def unseen(monkeypatch) -> None:
    """The look-ahead check of `oos_predictions` finds nothing."""
    monkeypatch.setattr(
        models_assets,
        "_tripwire",
        lambda *_: Check("no_look_ahead", passed=True, value=0, threshold=0, description="Not looked at."),
    )


@pytest.mark.slow
def test_a_model_that_knows_the_outcome_is_caught_however_good_its_evidence_is(home, first, monkeypatch):
    """Its training ended in time and its folds are what they say: only asking it again without the future tells."""

    honest = reversal.predict

    def foresight(arrays, data, *, sessions, config):
        scores_SxN = honest(arrays, data, sessions=sessions, config=config)
        outcomes_SxN = data.labels_TxN[sessions.start : sessions.stop].astype(np.float64)
        known_SxN = np.isfinite(scores_SxN) & np.isfinite(outcomes_SxN)
        return np.where(known_SxN, standardise(outcomes_SxN, known_SxN), scores_SxN).astype(np.float32)

    monkeypatch.setattr(reversal, "predict", foresight)
    platform = platform_at(home, {"models": {"candidate": "reversal"}})
    refused = run(platform)
    assert [name for name, passed in refused.checks["oos_predictions"].items() if not passed] == ["no_look_ahead"]
    assert "champion" not in refused.checks
    # Two sessions are drawn there, and two here: the gate asks again, in case the first draw saw nothing.
    unseen(monkeypatch)
    done = run(platform)
    assert [name for name, passed in done.checks["champion"].items() if not passed] == ["no_look_ahead"]
    (event,) = events_of(platform, "refused")
    assert "no_look_ahead failed: value 40, threshold 0." in event["reason"]
    assert "look-ahead of a feature, of the graph or of the model" in event["reason"]
    assert champion_of(platform) == first


@pytest.mark.slow
def test_a_feature_that_knows_the_next_return_is_caught(home, first, monkeypatch):
    honest = returns_features.features

    def tomorrow(bars, graph, config):
        named = dict(honest(bars, graph, config))
        assert "return_lag0" in named
        return {
            **named,
            "return_lag0": np.append(bars.close_return_TxN[1:], np.zeros_like(named["return_lag0"][:1]), 0),
        }

    monkeypatch.setattr(returns_features, "features", tomorrow)
    platform = platform_at(home, {"models": {"candidate": "ridge"}})
    assert run(platform).checks["oos_predictions"]["no_look_ahead"] is False
    unseen(monkeypatch)
    assert run(platform).checks["champion"]["no_look_ahead"] is False
    assert champion_of(platform) == first


@pytest.mark.slow
def test_symbols_that_did_not_come_through_count_as_not_scored(home, first, judged, monkeypatch):
    honest = models_assets.core_symbols
    monkeypatch.setattr(models_assets, "core_symbols", lambda run: honest(run)[:-5])
    platform = platform_at(home, NEWER, LENIENT)
    done = run(platform)
    assert done.checks["champion"]["symbols_scored"] is False
    assert [len(evidence.symbols) for evidence in judged] == [20]
    assert pl.Series(judged[0].newest_scores_N).is_finite().to_list() == [True] * 15 + [False] * 5
    assert champion_of(platform) == first


@pytest.mark.slow
def test_another_recipe_is_judged_by_rule_replace_and_the_old_champion_serves_by_its_own_recipe(
    home, first, judged, monkeypatch
):
    """Another size of network, other features, another graph: none of it may touch what is served."""
    old = platform_at(home)
    before, prior = forecasts_of(old).drop("card_id"), {row["id"] for row in old.ledger.read("trials")}
    changed = {
        "models": {"high_pass": {"hidden": 4}, "features": {"clip": 2.0, "windows": [2, 5, 10]}},
        "graphs": {"window": 30, "min_overlap": 20, "k": 3},
    }
    platform = platform_at(home, changed)
    # A gate that dies over the evidence has counted the try, and counts it once.
    with monkeypatch.context() as patch:
        patch.setattr(registry_assets, "judge", lambda *_, **__: 1 / 0)
        assert list(run(platform).failures) == ["champion"]
    assert len(events_of(platform, "gate_try")) == 1
    done = run(platform, "retrain")
    assert done.success, done.failures
    assert len(events_of(platform, "gate_try")) == 1
    assert champion_of(platform) == first
    (event,) = events_of(platform, "refused")
    assert (event["rule"], event["champion"]) == ("replace", first.version)
    assert event["candidate"] == current_version(platform, "gnn_weights") != first.version
    assert "superior" in event["reason"]
    assert forecasts_of(platform).drop("card_id").equals(before)
    assert verify_session(platform, NOVEMBER).matches
    # Every attempt makes the next one's evidence dearer.
    again = platform_at(home, changed, {"backtests": {"seed": 8}})
    assert run(again, "retrain").success
    other = platform_at(home, {"models": {"training": {"epochs": 1}}})
    assert run(other).success
    assert [evidence.candidates_judged for evidence in judged] == [1, 1, 2]
    assert {row["version"] for row in platform.ledger.read("trials") if row["id"] not in prior} == {
        evidence.candidate.version for evidence in judged
    }
    # The old recipe again finds its champion in place: nothing is trained, nothing is told anew.
    back = run(old)
    assert back.success, back.failures
    # Those that were refused meanwhile are followed in the shadow.
    assert {asset for asset, reused in back.reused.items() if not reused} <= {"forecast_scores"}
    assert champion_of(old) == first
    assert [event["event"] for event in events_of(old, "promoted", "refused")] == ["promoted", *["refused"] * 3]


@pytest.mark.slow
def test_a_training_that_runs_into_nan_changes_nothing_and_the_last_champion_serves_the_next_session(
    home, first, monkeypatch
):
    honest = high_pass.fit_network

    def exploding(build, size, data, *, config, **settings):
        wild = config.training.model_copy(update={"learning_rate": 1e9})
        return honest(build, size, data, config=config.model_copy(update={"training": wild}), **settings)

    monkeypatch.setattr(high_pass, "fit_network", exploding)
    before = current_version(platform_at(home), "gnn_weights")
    platform = platform_at(home, NEWER)
    done = run(platform)
    assert not done.success
    assert list(done.failures) == ["gnn_weights"]
    assert "loss_finite failed" in done.failures["gnn_weights"]
    assert "NaN at epoch 1" in done.failures["gnn_weights"]
    assert done.checks["gnn_weights"]["loss_finite"] is False
    assert set(done.reused) == {"universe", "market_bars", "returns", "correlation_graphs", "graph_drift"}
    assert current_version(platform, "gnn_weights") == before
    assert champion_of(platform) == first
    (event,) = events_of(platform, "stage_refused")
    assert event["asset"] == "gnn_weights"
    assert set(newest_of(platform)["session"]) == {NOVEMBER}
    assert run(platform, "publish_forecasts").success
    assert set(newest_of(platform).select("session", "champion").iter_rows()) == {(DECEMBER, first.version)}


@pytest.mark.slow
def test_a_check_that_blocks_keeps_the_last_good_version_and_stops_what_is_downstream(home, first, monkeypatch):
    bad = Check("returns_finite", passed=False, value=3, threshold=0, description="Rows without a finite return.")
    fine = bars_assets.returns_checks
    monkeypatch.setattr(bars_assets, "returns_checks", lambda *given, **settings: (bad, fine(*given, **settings)[1]))
    platform = platform_at(home, NEWER)
    before = versions_of(platform)
    done = run(platform)
    assert not done.success
    assert list(done.failures) == ["returns"]
    assert done.failures["returns"].startswith("returns: not published, the last good version stays. returns_finite")
    assert set(done.reused) == {"universe", "market_bars"}
    assert done.checks["returns"] == {
        "returns_finite": False,
        "returns_coverage": True,
        "no_look_ahead": True,
        "age": True,
    }
    after = versions_of(platform)
    assert {name for name in after if after[name] != before[name]} == {"market_bars"}
    assert champion_of(platform) == first
    assert set(newest_of(platform)["session"]) == {NOVEMBER}
    (event,) = events_of(platform, "stage_refused")
    assert event["asset"] == "returns"
    assert "returns_finite failed: value 3, threshold 0." in event["reason"]
    # Once the data are good again the flow goes on by itself from where it stopped.
    monkeypatch.setattr(bars_assets, "returns_checks", fine)
    assert run(platform, "refresh_data").success
    assert versions_of(platform)["returns"] != before["returns"]


@pytest.mark.slow
def test_a_mirror_that_cannot_be_written_is_a_warning_and_is_tried_again(home, first, monkeypatch):
    def broken(*_, **__):
        raise OSError("database is locked")

    shutil.rmtree(home / "data" / "mlflow")
    platform = platform_at(home)
    with monkeypatch.context() as patch:
        patch.setattr(mirror_asset, "mirror", broken)
        done = run(platform)
    assert done.success, done.failures
    assert done.checks["mlflow_mirror"]["mirrored"] is False
    (event,) = events_of(platform, "mirror_failed")
    assert event["reason"] == "database is locked"
    assert set(newest_of(platform)["champion"]) == {first.version}
    again = run(platform, "retrain")
    assert again.checks["mlflow_mirror"]["mirrored"] is True


def test_the_asset_graph_is_as_it_was_agreed(tmp_path, snapshot):
    """Names, groups, dependencies and checks: a change here is a change of the platform's face."""
    graph = build_definitions(platform_at(tmp_path)).resolve_asset_graph()
    shown = {
        f"{node.group_name}/{node.key.to_user_string()}": {
            "deps": sorted(key.to_user_string() for key in node.parent_keys),
            "checks": sorted(check.name for check in node.check_keys),
        }
        for node in sorted(graph.asset_nodes, key=lambda node: (node.group_name, node.key))
    }
    assert shown == snapshot
