"""Nobody can be gone back to: a baseline of the champion's own bundle stands in, says so on every row, and not for long.

The home has one champion, a ridge regression with three baselines, and a session has come since. Each test breaks
something in a copy of it, then has the forecasts made.
"""

import shutil
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gnn_assets import notebook
from gnn_assets.backtests.schema import BACKTEST_SCORES
from gnn_assets.core.errors import ModelError, StoreError
from gnn_assets.defs import fallback
from gnn_assets.defs import forecasts as forecasts_assets
from gnn_assets.defs.fallback import DEGRADED_CHECK
from gnn_assets.defs.history import story
from gnn_assets.defs.ready import readiness
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.status import stale_sentence
from gnn_assets.defs.switching import promote_by_hand, to_follow
from gnn_assets.defs.verify import card_of, verify_session
from gnn_assets.forecasts.schema import FORECAST_SCORES, FORECASTS, SERVED_FORECASTS
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.models.zoo import lightgbm, reversal, ridge
from gnn_assets.store.lake import Lake
from gnn_assets_tests.defs.ridge_home import (
    DATA,
    FLOW,
    NOVEMBER,
    another,
    champion_of,
    copy_of,
    events_of,
    newest_of,
    on,
    platform_at,
    run,
    served_on,
)

pytestmark = pytest.mark.slow

NEWEST, NEXT = date(2022, 12, 1), date(2022, 12, 2)
BASELINES = {
    "models": {"baselines": ["equal_weight", "lightgbm", "reversal"], "lightgbm": {"trees": 5}},
    "forecasts": {"history_sessions": 2},
}


@pytest.fixture(scope="module")
def one_champion(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("fallback") / "home"
    done = run(platform_at(home, BASELINES), *FLOW)
    assert done.success, done.failures
    assert run(platform_at(home, BASELINES, on(NEWEST)), *DATA).success
    return home


@pytest.fixture
def platform(one_champion, tmp_path) -> Platform:
    return platform_at(copy_of(one_champion, tmp_path / "home"), BASELINES, on(NEWEST))


def weights_of(platform: Platform) -> Path:
    return platform.weights.root / "artefacts" / champion_of(platform).version


def damage(platform: Platform, *models: str) -> None:
    """Flips a bit of every part of some models, as it may happen to any file."""
    files = [path for model in models for path in weights_of(platform).rglob(f"{model}*.safetensors")]
    assert files
    for path in files:
        path.chmod(0o644)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)


def by_ic(platform: Platform) -> list[str]:
    """The baselines with an IC, the best first, as the stored scores say."""
    scores = platform.lake.read(BACKTEST_SCORES).filter(pl.col("metric") == "ic", pl.col("fold") == -1)
    return [name for name in scores.drop_nulls("value").sort("value", descending=True)["model"] if name != "ridge"]


def nothing_but_nan(patch, *plugins) -> None:
    for plugin in plugins:
        honest = plugin.predict
        patch.setattr(
            plugin, "predict", lambda *given, honest=honest, **named: honest(*given, **named) * np.float32("nan")
        )


def raising(patch, *plugins) -> None:
    def predict(*_given, **_named):
        raise ValueError("shapes (3,) and (4,) not aligned")

    for plugin in plugins:
        patch.setattr(plugin, "predict", predict)


def who_serves(platform: Platform) -> tuple[str, bool, str]:
    (told,) = set(newest_of(platform).select("served_by", "degraded", "status").iter_rows())
    return told


def test_from_a_flipped_bit_to_the_restored_file(platform, tmp_path, monkeypatch):
    """Who serves and why is on every row, in a check, in the ledger; the restored file is served by the next run."""
    champion, best = champion_of(platform).version, by_ic(platform)[0]
    shutil.copytree(weights_of(platform), tmp_path / "backup")
    damage(platform, "ridge")
    done = run(platform, "forecasts")
    assert done.success, done.failures
    assert done.failed("forecasts") == [DEGRADED_CHECK]
    assert served_on(platform) == {(NEWEST, champion)}
    rows = platform.lake.read(FORECASTS)
    assert rows["degraded"].all()
    assert set(rows["served_by"].str.split("/").list.first()) == {best}
    assert who_serves(platform) == (f"{best}/refit", True, "degraded")
    # The card names who scored: it comes back bit for bit, and so does a past session, which is the tripwire.
    assert card_of(platform, NEWEST)["model"] == best
    assert verify_session(platform, NEWEST).matches
    assert done.checks["forecasts"]["no_look_ahead"].passed
    # It is no stale data, and whoever loads it is told.
    assert stale_sentence(platform, "forecasts") == ""
    monkeypatch.setattr(notebook, "_platform", lambda: platform)
    with pytest.warns(UserWarning, match=f"was {best}/refit of {champion[:12]}; its rows say so in `degraded`"):
        assert notebook.load("forecasts", refuse_stale=True).equals(rows)
    check = done.checks["forecasts"][DEGRADED_CHECK]
    assert check.severity.value == "WARN"
    (event,) = events_of(platform, "degraded")
    assert (event["champion"], event["served_by"], event["session"]) == (champion, f"{best}/refit", str(NEWEST))
    assert event["reason"].startswith(f"bad_output: no forecasts: champion {champion[:12]} cannot forecast")
    assert event["reason"] in check.metadata["value"].value

    # Nobody goes live on it.
    (covered,) = (line for line in readiness(platform) if line.name == "symbols_covered")
    assert (covered.passed, covered.value) == (False, "0 of 20 symbols")

    # The champion is asked again, and what stands in is not an episode of its own each day.
    before = done.versions["forecasts"]
    done = run(platform, "forecasts")
    assert done.versions["forecasts"] == before
    assert len(events_of(platform, "degraded")) == 1
    assert len(platform.champion.moves()) == 1

    shutil.rmtree(weights_of(platform))
    shutil.copytree(tmp_path / "backup", weights_of(platform))
    done = run(platform, "forecasts")
    assert done.failed("forecasts") == []
    assert who_serves(platform) == ("ridge/refit", False, "ok")
    (event,) = events_of(platform, "recovered")
    assert (event["champion"], event["served_by"]) == (champion, "ridge/refit")
    # Before its fill, the champion's word is the last one.
    assert [line.split()[0] for line in story(platform, "forecasts", last=9)] == (
        ["made", "degraded", "made", "recovered", "made"]
    )
    entered = platform.lake.read(SERVED_FORECASTS).filter(pl.col("session") == NEWEST)
    assert set(entered["served_by"]) == {"ridge/refit"}


def test_twice_in_a_row_it_is_two_episodes(platform, monkeypatch):
    later = platform_at(platform.settings.home, BASELINES, on(NEXT))
    for number, (today, above) in enumerate([(platform, ()), (later, DATA)], start=1):
        with monkeypatch.context() as patch:
            raising(patch, ridge)
            assert run(today, *above, "forecasts").success
        assert len(events_of(platform, "degraded")) == number
        assert run(today, "forecasts").success
        assert [event["event"] for event in events_of(platform, "degraded", "recovered")] == (
            ["degraded", "recovered"] * number
        )


def test_a_plugin_that_raises_raises_for_former_champions_too(platform, monkeypatch):
    champion = champion_of(platform)
    second = another(platform, champion, 2)
    raising(monkeypatch, ridge)
    done = run(platform, "forecasts")
    assert done.success, done.failures
    assert who_serves(platform) == (f"{by_ic(platform)[0]}/refit", True, "degraded")
    (event,) = events_of(platform, "degraded")
    assert "expected scores, was ValueError: shapes (3,) and (4,) not aligned" in event["reason"]
    assert (event["champion"], champion_of(platform).version) == (second.version, second.version)
    assert events_of(platform, "rolled_back") == []


def nan_refit(parts):
    nothing = {name: np.full_like(array, np.nan) for name, array in parts["ridge/refit"].items()}
    return {**parts, "ridge/refit": nothing}


def test_weights_of_nothing_but_nan_and_no_former_champion(platform):
    """The file is whole and what it says is not: only the check on the forecasts sees it."""
    first = weights_of(platform)
    another(platform, champion_of(platform), 2, alter=nan_refit)
    shutil.rmtree(first)
    done = run(platform, "forecasts")
    assert done.success, done.failures
    assert who_serves(platform) == (f"{by_ic(platform)[0]}/refit", True, "degraded")
    (event,) = events_of(platform, "degraded")
    assert event["reason"] == f"bad_output: forecasts_finite 40 > 0 on {NEWEST}"


def test_where_a_part_is_missing_a_baseline_whose_parts_are_damaged_too_is_passed_over(platform):
    (weights_of(platform) / "ridge.refit.safetensors").unlink()
    damage(platform, "lightgbm")
    assert run(platform, "forecasts").success
    assert who_serves(platform) == ("reversal/refit", True, "degraded")


@pytest.mark.parametrize("gone", ["manifest", "predictions"])
def test_where_the_bundle_is_gone_a_model_with_nothing_to_train_serves_without_it(platform, gone):
    folder = weights_of(platform) if gone == "manifest" else platform.lake.root / OOS_PREDICTIONS.name / "files"
    shutil.rmtree(folder)
    done = run(platform, "forecasts")
    assert done.success, done.failures
    assert who_serves(platform) == ("reversal/untrained", True, "degraded")
    assert done.checks["forecasts"]["no_look_ahead"].passed
    assert verify_session(platform, NEWEST).matches


def test_what_hurts_every_model_alike_is_the_datas_fault_and_equal_weight_does_not_hide_it(platform, monkeypatch):
    nothing_but_nan(monkeypatch, ridge, lightgbm, reversal)
    done = run(platform, "forecasts")
    assert "forecasts_finite" in done.failed("forecasts")
    assert "and no baseline: nothing was moved, the last good forecasts stay" in done.failures["forecasts"]
    assert served_on(platform) == {(NOVEMBER, champion_of(platform).version)}
    assert who_serves(platform) == ("ridge/refit", False, "ok")
    assert events_of(platform, "degraded") == []


def test_nor_does_it_where_the_models_that_looked_at_the_data_raised(platform, monkeypatch):
    raising(monkeypatch, ridge, lightgbm, reversal)
    assert "and no baseline" in run(platform, "forecasts").failures["forecasts"]
    assert who_serves(platform) == ("ridge/refit", False, "ok")


def test_equal_weight_stands_in_where_nobody_else_could_even_be_opened(platform, monkeypatch):
    honest = fallback.of_champion

    def gone(*given, **named):
        raise ModelError("gone")

    def opened(home, champion, **named):
        return honest(home, champion, **named) if champion.model == "equal_weight" else gone()

    damage(platform, "ridge")
    monkeypatch.setattr(fallback, "of_champion", opened)
    monkeypatch.setattr(fallback, "_without_weights", gone)
    assert run(platform, "forecasts").success
    assert who_serves(platform) == ("equal_weight/refit", True, "degraded")
    assert newest_of(platform)["score"].unique().to_list() == [0.0]
    assert verify_session(platform, NEWEST).matches


def test_killed_between_ledger_and_publication_the_episode_is_told_once(platform, monkeypatch):
    damage(platform, "ridge")
    honest = Lake.publish

    def killed(lake, table, *given, **named):
        if table.name == FORECASTS.name:
            raise StoreError("killed")
        return honest(lake, table, *given, **named)

    monkeypatch.setattr(Lake, "publish", killed)
    assert not run(platform, "forecasts").success
    assert len(events_of(platform, "degraded")) == 1
    assert served_on(platform) == {(NOVEMBER, champion_of(platform).version)}
    monkeypatch.undo()
    assert run(platform, "forecasts").success
    assert len(events_of(platform, "degraded")) == 1


def test_killed_between_publication_and_ledger_the_recovery_is_told_by_the_next_run(platform, monkeypatch):
    with monkeypatch.context() as patch:
        raising(patch, ridge)
        assert run(platform, "forecasts").success

    def killed(_name):
        raise StoreError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(forecasts_assets, "failpoint", killed)
        assert not run(platform, "forecasts").success
    assert who_serves(platform) == ("ridge/refit", False, "ok")
    assert events_of(platform, "recovered") == []
    assert run(platform, "forecasts").success
    assert len(events_of(platform, "recovered")) == 1


def test_a_former_champion_is_degraded_until_somebody_chooses_it(platform):
    """Gone back to for a fault it serves, and says that nobody has chosen it; a person confirms it, and it is chosen."""
    first = champion_of(platform)
    second = another(platform, first, 2)
    damage(platform, "ridge")
    assert not run(platform, "forecasts").success
    assert champion_of(platform).version == first.version != second.version
    done = run(platform, "forecasts")
    assert done.failed("forecasts") == [DEGRADED_CHECK]
    assert who_serves(platform) == ("ridge/refit", True, "degraded")
    (event,) = events_of(platform, "degraded")
    assert event["reason"].startswith(f"bad_output: no forecasts: champion {second.version[:12]} cannot forecast")
    # What it says is its own, to the bit but for the word.
    assert verify_session(platform, NEWEST).matches
    assert "forecasts" not in to_follow(platform)

    promote_by_hand(platform, first.version, reason="good enough")
    assert to_follow(platform)["forecasts"] == "none"
    done = run(platform, "forecasts")
    assert done.failed("forecasts") == []
    assert who_serves(platform) == ("ridge/refit", False, "ok")
    assert len(events_of(platform, "recovered")) == 1
    assert "forecasts" not in to_follow(platform)


def test_a_promoted_challenger_ends_it(platform):
    first, backup = champion_of(platform), platform.settings.home / "backup"
    shutil.copytree(weights_of(platform), backup)
    damage(platform, "ridge")
    assert run(platform, "forecasts").success
    shutil.rmtree(weights_of(platform))
    shutil.copytree(backup, weights_of(platform))
    second = another(platform, first, 2)
    assert run(platform, "forecasts").success
    assert who_serves(platform) == ("ridge/refit", False, "ok")
    (event,) = events_of(platform, "recovered")
    assert event["champion"] == second.version


def test_what_a_baseline_said_counts_as_served_and_never_as_the_champions(platform, monkeypatch):
    champion, best = champion_of(platform).version, by_ic(platform)[0]
    with monkeypatch.context() as patch:
        raising(patch, ridge)
        assert run(platform, "forecasts").success
    # The champion is sound again, and is scored on the session as the shadow that it was then.
    assert run(platform, "forecast_scores").success
    scores = platform.lake.read(FORECAST_SCORES).filter(pl.col("session") == NEWEST)
    told = set(scores.select("version", "served").unique().iter_rows())
    assert told == {(f"{best}/{champion}", True), (champion, False)}
    # Another day, and it serves.
    later = platform_at(platform.settings.home, BASELINES, on(NEXT))
    assert run(later, *DATA, "forecasts", "forecast_scores").success
    scores = later.lake.read(FORECAST_SCORES).filter("served")
    assert {(NEWEST, f"{best}/{champion}"), (NEXT, champion)} <= set(scores.select("session", "version").iter_rows())
