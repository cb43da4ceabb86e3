"""The asset forecast_scores on a small platform: what was served, what other versions said meanwhile, and its ledger.

Ridge is candidate, as it trains in no time. One home goes through it all: a champion promoted at the end of November, a
candidate of another recipe refused, and a fortnight later the champion still serving. Each test goes on from a copy.
"""

import shutil
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import CorruptArtefact, LockTimeout
from gnn_assets.core.settings import Settings
from gnn_assets.defs import backtests, bars, forecast_scores, forecasts, graphs, models, registry, shadows
from gnn_assets.defs.forecast_scores import served_portfolio
from gnn_assets.defs.io import stage_asset
from gnn_assets.defs.probing import live_scores
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.shadows import shadows_of
from gnn_assets.defs.switching import promote_by_hand
from gnn_assets.defs.tables import TABLES
from gnn_assets.forecasts import live_scores as scoring
from gnn_assets.monitoring.live import live_signals

pytestmark = pytest.mark.slow

TINY = {
    "clock": {"session": "2022-11-30"},
    "bars": {"from_session": "2021-10-01"},
    "graphs": {"window": 40, "min_overlap": 30, "factors": {"window": 40, "refresh_weeks": 1}},
    "models": {
        "candidate": "ridge",
        "baselines": ["equal_weight"],
        "features": {
            "groups": ["returns"],
            "compared": ["return_sum5"],
            "windows": [2, 5, 20],
            "short": 5,
            "long": 20,
        },
        "folds": {"train": 80, "validation": 20, "test": 60},
        "targets": {"window": 20},
    },
    "backtests": {"bootstrap_resamples": 50, "min_sessions": 20},
    "forecasts": {"min_calibration_sessions": 20, "history_sessions": 2},
    # Whatever the paired interval of a tiny model says, so that a test decides what the gate does.
    "gate": {"non_inferiority_margin": 2.0, "refit_agreement": -1.0},
    "live": {"window_sessions": 5},
}
OTHER_RECIPE = {"graphs": {"window": 30, "min_overlap": 20, "k": 3}, "gate": {"max_rmse_ratio": 1e-9}}
LATER = {"clock": {"session": "2022-12-14"}}
LATEST = {"clock": {"session": "2022-12-15"}}
NOVEMBER, DECEMBER = date(2022, 11, 30), date(2022, 12, 14)
STAGES = {
    stage.name: stage
    for module in (bars, graphs, models, backtests, registry, forecasts, forecast_scores)
    for stage in module.STAGES
    if stage.name != "score_cards"
}
DAY = ("universe", "market_bars", "returns", "correlation_graphs", "forecasts", "forecast_scores")
RETRAIN = (
    *("correlation_graphs", "gnn_weights", "oos_predictions"),
    *("portfolio_returns", "backtest_scores", "champion"),
)


def platform_at(home, *overrides):
    return Platform(settings=Settings(profile="test", home=home), config=build_config("test", TINY, *overrides))


def run(platform, *names, raise_on_error=True):
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral(tempdir=str(platform.settings.home)) as instance:
        return dg.materialize(
            [stage_asset(stage, platform.config) for stage in STAGES.values() if stage.name in names],
            instance=instance,
            resources={"platform": platform},
            run_config=quiet,
            raise_on_error=raise_on_error,
        )


def told(result):
    """Metadata of forecast_scores, as plain values, and its checks."""
    (made,) = result.asset_materializations_for_node("forecast_scores")
    checks = {
        check.check_name: check
        for check in result.get_asset_check_evaluations()
        if check.asset_key.to_user_string() == "forecast_scores"
    }
    return {name: value.value for name, value in made.metadata.items()}, checks


def scores_of(platform):
    return platform.lake.read(TABLES["forecast_scores"])


def by_version(scores):
    """(version, served) → its sessions."""
    parts = scores.partition_by("version", "served", as_dict=True)
    return {key: sorted(set(rows["session"])) for key, rows in parts.items()}


def refused(platform):
    (event,) = [event for event in platform.ledger.read("events") if event["event"] == "refused"]
    return event["candidate"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The home, and what forecast_scores said in the middle of December."""
    home = tmp_path_factory.mktemp("scores") / "home"
    run(platform_at(home), *STAGES)
    run(platform_at(home, OTHER_RECIPE), *RETRAIN)
    return home, *told(run(platform_at(home, LATER), *DAY))


@pytest.fixture
def home(made, tmp_path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "home"))


def test_rows_are_what_was_served_what_would_have_been_and_what_others_said(made):
    platform = platform_at(made[0], LATER)
    champion, other = platform.champion.current().version, refused(platform)
    scores = scores_of(platform)
    found = by_version(scores)
    assert found.pop((champion, True)) == [NOVEMBER, DECEMBER]
    since = list(platform.calendar.between(date(2022, 12, 1), DECEMBER))
    # No run came to the days between: what the champion would have said is known of them, calibrated for the newest.
    assert found.pop((champion, False)) == since[:-1]
    assert found == {(other, False): since}
    calibrated = scores.filter(pl.col("expected_return").is_not_null())
    assert sorted(set(calibrated["session"])) == [NOVEMBER, date(2022, 12, 12), date(2022, 12, 13), DECEMBER]
    assert set(calibrated["version"]) == {champion}
    shadow = scores.filter(pl.col("version") == other)
    assert shadow.select("expected_return", "lower", "upper", "error", "covered").null_count().row(0) == (200,) * 5
    known = shadow.filter(pl.col("realised").is_not_null())
    assert known["target_end"].max() == DECEMBER
    assert known.height == 20 * (len(since) - platform.config.execution.purge)


def test_what_was_served_is_what_was_published(made):
    platform = platform_at(made[0], LATER)
    same = ["session", "symbol", "horizon", "score", "expected_return", "lower", "upper", "target_end"]
    served = platform.lake.read(TABLES["served_forecasts"])
    assert scores_of(platform).filter("served").select(same).equals(served.select(same))
    newest = platform.lake.read(TABLES["forecasts"]).filter(pl.col("session") == DECEMBER)
    assert served.filter(pl.col("session") == DECEMBER).equals(newest)


def test_a_shadow_of_the_stored_graphs_recipe_is_the_gates_live_track(made):
    """The champion itself, asked as a shadow: its graphs are those that are stored."""
    platform = platform_at(made[0], LATER)
    champion = platform.champion.current()
    inputs = {name: platform.versions(name).current().version for name in ("returns", "correlation_graphs")}
    models.start_jax(platform)
    data = models.dataset_of(
        platform, inputs, symbols=platform.weights.facts(champion.version)["symbols"], config=platform.config
    )
    since, scores_SxN = live_scores(platform, champion, data, config=platform.config)
    assert data.sessions[since.start] == date(2022, 12, 1)
    served = scores_of(platform).filter("served", pl.col("session") == DECEMBER)
    np.testing.assert_array_equal(scores_SxN[-1], served["score"].to_numpy())


def test_it_shows_measures_by_role_the_ledger_and_pictures_and_passes_its_checks(made):
    home, metadata, checks = made
    platform = platform_at(home, LATER)
    champion, other = platform.champion.current().version[:12], refused(platform)[:12]
    assert f"| {champion} | champion |" in metadata["live_measures"]
    assert f"| {other} | refused |" in metadata["live_measures"]
    assert f"| {other} | refused | 10 |  |" in metadata["shadows"]
    (refusal, first) = metadata["shadow_ledger"].splitlines()[2:]
    assert refusal.startswith(f"| 2022-11-30 | refused | replace | {champion} | {other} |")
    assert first.startswith(f"| 2022-11-30 | promoted | bootstrap | {champion} |  |  |  |")
    assert all(metadata[name].startswith("![") for name in ("running_sharpe", "cumulated_ic"))
    assert metadata["data_end"] == str(DECEMBER)
    assert set(checks) == {"scores_finite", "outcomes_known", "no_look_ahead", "age"}
    assert all(check.passed for check in checks.values())
    assert checks["outcomes_known"].severity == dg.AssetCheckSeverity.WARN
    assert checks["no_look_ahead"].severity == dg.AssetCheckSeverity.ERROR


def test_the_alarms_are_read_from_what_is_stored(made):
    platform = platform_at(made[0], LATER)
    held = served_portfolio(platform)
    assert held["session"].to_list() == list(platform.calendar.between(date(2022, 12, 1), DECEMBER))
    assert held.equals(served_portfolio(platform, version=platform.versions("forecast_scores").current().version))
    found = live_signals(scores_of(platform), held, session=DECEMBER, config=platform.config)
    sharpe, accuracy, coverage = (signal.value for signal in found)
    assert np.isfinite(sharpe)
    # Of what was served one session has an outcome, and the window has five.
    assert np.isnan(accuracy)
    assert np.isnan(coverage)


def test_the_same_again_computes_nothing(home, monkeypatch):
    monkeypatch.setattr(forecast_scores, "scored_shadows", lambda *_: pytest.fail("computed again"))
    metadata, checks = told(run(platform_at(home, LATER), "forecast_scores"))
    assert metadata["reused"] is True
    assert checks["no_look_ahead"].passed


def test_a_new_champion_changes_nothing_that_was_served_and_no_outcome_that_was_known(home):
    before = scores_of(platform_at(home, LATER))
    first = platform_at(home).champion.current().version
    platform = platform_at(home, LATEST)
    champion = promote_by_hand(platform, refused(platform), reason="a test").champion.version
    metadata, checks = told(run(platform, *DAY))
    scores = scores_of(platform)
    # The forecasts of the past are the new champion's by now.
    assert set(platform.lake.read(TABLES["forecasts"])["champion"]) == {champion}
    kept = ["session", "symbol", "version", "score", "expected_return", "lower", "upper"]
    assert by_version(scores)[first, True] == [NOVEMBER, DECEMBER]
    assert by_version(scores)[champion, True] == [date(2022, 12, 15)]
    old = scores.filter("served", pl.col("version") == first)
    assert old.select(kept).equals(before.filter("served").select(kept))
    known = before.filter(pl.col("realised").is_not_null())
    assert not known.is_empty()
    assert scores.join(known, on=before.columns, how="semi", nulls_equal=True).height == known.height
    # What the new one said in the shadow is known still, and the first one goes there where it was not served.
    assert by_version(scores)[champion, False] == list(platform.calendar.between(date(2022, 12, 1), DECEMBER))
    assert NOVEMBER not in by_version(scores)[first, False]
    assert DECEMBER not in by_version(scores)[first, False]
    assert f"| {first[:12]} | former |" in metadata["shadows"]
    newest = metadata["shadow_ledger"].splitlines()[2]
    assert newest.startswith(f"| 2022-12-15 | promoted | manual | {champion[:12]} | {first[:12]} |")
    assert all(check.passed for check in checks.values())


def test_a_shadow_whose_weights_are_damaged_is_left_out_and_told(home):
    platform = platform_at(home, LATER)
    other = refused(platform)
    for file in (platform.data / "lake" / "gnn_weights").rglob(f"*{other}*/*.safetensors"):
        file.write_bytes(b"damaged")
    metadata, checks = told(run(platform, "forecast_scores"))
    assert {version for version, _ in by_version(scores_of(platform))} == {platform.champion.current().version}
    assert "damaged" in metadata["shadows"] or "was others" in metadata["shadows"]
    assert checks["no_look_ahead"].passed


def test_a_shadow_that_fails_as_it_is_scored_is_left_out_and_told(home, monkeypatch):
    def damaged(*_, **__):
        raise CorruptArtefact("weights: expected its bytes, was others; train again.")

    platform = platform_at(home, LATER, {"live": {"shadows": 3}})
    monkeypatch.setattr(shadows, "live_scores", damaged)
    metadata, _ = told(run(platform, "forecast_scores"))
    assert {version for version, _ in by_version(scores_of(platform))} == {platform.champion.current().version}
    assert "was others; train again." in metadata["shadows"]


def test_a_lock_is_no_fault_of_the_shadow(home, monkeypatch):
    def busy(*_, **__):
        raise LockTimeout("another process is writing.")

    monkeypatch.setattr(shadows, "live_scores", busy)
    platform = platform_at(home, LATER, {"live": {"shadows": 3}, "runtime": {"retries": 0}})
    assert not run(platform, "forecast_scores", raise_on_error=False).success


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ({"universe": {"file": "other.yaml"}}, "universe sp500_sample.yaml"),
        ({"execution": {"fill": "open_next"}}, "filled at close_next"),
    ],
)
def test_a_shadow_of_another_universe_or_fill_cannot_be_scored(made, setting, why):
    (reason,) = shadows_of(platform_at(made[0], LATER, setting)).values()
    assert why in reason


def test_the_last_champion_is_a_shadow_however_many_were_refused_since(home, monkeypatch):
    platform = platform_at(home, LATER, {"live": {"shadows": 2}})
    first = platform.champion.current().version
    champion = promote_by_hand(platform, refused(platform), reason="a test").champion.version
    monkeypatch.setattr(shadows, "scored", lambda _: {"newest": {}, "newer": {}, champion: {}, first: {}})
    assert list(shadows_of(platform)) == [first, "newest"]


def test_no_more_shadows_than_asked_for_on_no_more_sessions(home):
    assert shadows_of(platform_at(home, LATER, {"live": {"shadows": 0}})) == {}
    platform = platform_at(home, LATER, {"live": {"shadow_sessions": 3}})
    run(platform, "forecast_scores")
    last = list(platform.calendar.between(date(2022, 12, 12), DECEMBER))
    assert by_version(scores_of(platform))[refused(platform), False] == last


def test_an_outcome_that_reads_on_is_not_published(home, monkeypatch):
    honest = scoring.realised_labels

    def leaking(fill_returns_TxN, *, execution):
        return honest(fill_returns_TxN, execution=execution.model_copy(update={"horizon": execution.horizon + 1}))

    monkeypatch.setattr(scoring, "realised_labels", leaking)
    refuses(home)


def test_a_shadow_that_reads_on_is_not_published(home, monkeypatch):
    honest = shadows.dataset_on

    def leaking(*given, **settings):
        """Features of the session after."""
        data = honest(*given, **settings)
        for columns in (data.own, data.linked):
            columns.update({name: np.roll(values_TxN, -1, axis=0) for name, values_TxN in columns.items()})
        return data

    monkeypatch.setattr(shadows, "dataset_on", leaking)
    refuses(home)


def refuses(home):
    """Under another setting nothing is reused, and nothing of what is made is published."""
    platform = platform_at(home, LATER, {"live": {"shadows": 3}})
    before = scores_of(platform)
    result = run(platform, "forecast_scores", raise_on_error=False)
    assert not result.success
    (check,) = [made for made in result.get_asset_check_evaluations() if made.check_name == "no_look_ahead"]
    assert not check.passed
    assert scores_of(platform).equals(before)
