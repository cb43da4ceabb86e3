"""A champion that cannot serve: who is served instead, at once and without a person, and what readers see meanwhile.

The home served three champions, one after another, and a session has come since: its bars, returns and graphs are
there, its forecasts are not. Each test breaks something in a copy of it, then has the forecasts made.
"""

from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from gnn_assets.backtests.schema import PORTFOLIO_RETURNS
from gnn_assets.core.errors import CorruptArtefact
from gnn_assets.defs.candidates import first_scored
from gnn_assets.defs.following import following_sensor
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.switching import decisions, promote_by_hand, roll_back_for
from gnn_assets.defs.verify import verify_session
from gnn_assets.graphs.schema import CORRELATION_GRAPHS
from gnn_assets.models.zoo import ridge
from gnn_assets.registry.switch import held_out
from gnn_assets_tests.defs.ridge_home import (
    DATA,
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

NEWEST = date(2022, 12, 1)
REFIT = "ridge/refit"


@pytest.fixture(scope="module")
def served_three(ridge_flow, tmp_path_factory) -> Path:
    home = copy_of(ridge_flow, tmp_path_factory.mktemp("faults") / "home")
    platform = platform_at(home)
    for number in (2, 3):
        another(platform, champion_of(platform), number)
    assert run(platform, "forecasts").success
    assert run(platform_at(home, on(NEWEST)), *DATA).success
    return home


@pytest.fixture
def platform(served_three, tmp_path) -> Platform:
    return platform_at(copy_of(served_three, tmp_path / "home"), on(NEWEST))


@pytest.fixture
def versions(served_three) -> list[str]:
    return [move.champion.version for move in platform_at(served_three).champion.moves()]


def damage(platform: Platform, version: str) -> None:
    """Flips a bit of every file of arrays."""
    files = sorted((platform.weights.root / "artefacts" / version).rglob("*.safetensors"))
    assert files
    for path in files:
        path.chmod(0o644)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)


def broken_refit(parts):
    """Weights that were saved whole, and hold nothing but NaN."""
    nothing = {name: np.full_like(array, np.nan) for name, array in parts[REFIT].items()}
    return {**parts, REFIT: nothing}


def misshapen_refit(parts):
    longer = {name: np.concatenate([array, array]) for name, array in parts[REFIT].items()}
    return {**parts, REFIT: longer}


def asked(platform: Platform, instance: dg.DagsterInstance) -> list[tuple[str, ...]]:
    """The runs the sensor asks for, each as its assets; it says why."""
    context = dg.build_sensor_context(instance=instance, resources={"platform": platform})
    found = following_sensor(platform.config)(context)
    requests = found if isinstance(found, list) else []
    assert {request.tags["reason"] for request in requests} <= {"bad_output"}
    return [tuple(key.to_user_string() for key in request.asset_selection) for request in requests]


def test_from_damaged_weights_the_platform_goes_back_at_once_and_everything_follows(platform, versions, tmp_path):
    _, second, third = versions
    damage(platform, third)
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        assert asked(platform, instance) == []
        done = run(platform, "forecasts", instance=instance)
        assert list(done.failures) == ["forecasts"]
        assert f"champion {third[:12]} cannot forecast" in done.failures["forecasts"]
        assert f"Gone back to {second[:12]}, whose forecasts are made next." in done.failures["forecasts"]
        # Until these are made, readers have the last good ones.
        assert champion_of(platform).version == second
        assert served_on(platform) == {(NOVEMBER, third)}
        (event,) = events_of(platform, "rolled_back")
        told = {name: event[name] for name in ("candidate", "champion", "rule", "by", "move")}
        assert told == {
            "candidate": second,
            "champion": third,
            "rule": "rollback",
            "by": "the platform",
            "move": 4,
        }
        assert event["reason"].startswith(f"bad_output: no forecasts: champion {third[:12]} cannot forecast")
        assert event["reason"].endswith(f"on {NEWEST}")

        shown, judged = asked(platform, instance)
        assert (shown, judged) == (("mlflow_mirror", "forecasts"), ("champion",))
        assert run(platform, *shown, instance=instance).success
        assert served_on(platform) == {(NEWEST, second)}
        assert verify_session(platform, NEWEST).matches
        assert asked(platform, instance) == [judged]
        # The gate leaves the broken one out, though it is the newest candidate, and Dagster hears who is served.
        done = run(platform, *judged, instance=instance)
        assert done.success, done.failures
        assert "not_held_out" in done.failed("champion")
        assert done.versions["champion"] == second
        assert asked(platform, instance) == []
    assert len(platform.champion.moves()) == 4


def test_scores_that_are_not_finite_are_seen_by_the_check_and_gone_back_from(platform, versions):
    third = champion_of(platform).version
    fourth = another(platform, champion_of(platform), 4, alter=broken_refit).version
    done = run(platform, "forecasts")
    assert set(done.failed("forecasts")) == {"forecasts_finite", "forecasts_in_range"}
    sentence = done.failures["forecasts"]
    assert "forecasts_finite failed: value 40, threshold 0." in sentence
    assert f"Gone back to {third[:12]}, whose forecasts are made next." in sentence
    assert champion_of(platform).version == third
    assert champion_of(platform).reason == f"bad_output: forecasts_finite 40 > 0 on {NEWEST}"
    assert served_on(platform) == {(NOVEMBER, third)}
    assert run(platform, "forecasts").success
    assert served_on(platform) == {(NEWEST, third)}
    # It is left out, with all there was before it; what is scored from now on is judged as ever.
    found = {version: held_out(first_scored(platform, version), decisions(platform)) for version in (*versions, fourth)}
    assert all(found.values())
    fifth = another(platform, champion_of(platform), 5).version
    assert held_out(first_scored(platform, fifth), decisions(platform)) is None


def test_weights_of_another_shape_are_gone_back_from(platform):
    third = champion_of(platform).version
    another(platform, champion_of(platform), 4, alter=misshapen_refit)
    done = run(platform, "forecasts")
    assert "cannot forecast" in done.failures["forecasts"]
    assert champion_of(platform).version == third
    assert champion_of(platform).by == "the platform"


def test_a_former_champion_that_is_broken_as_well_is_passed_over(platform, versions):
    first, second, third = versions
    damage(platform, third)
    damage(platform, second)
    run(platform, "forecasts")
    assert champion_of(platform).version == first


def test_a_former_champion_that_is_whole_and_cannot_forecast_is_passed_over(platform, versions):
    """Its files are what was saved, and what was saved says nothing: only asking it tells."""
    third = versions[2]
    another(platform, champion_of(platform), 4, alter=broken_refit)
    fifth = another(platform, champion_of(platform), 5).version
    damage(platform, fifth)
    run(platform, "forecasts")
    assert champion_of(platform).version == third


def test_where_nobody_is_whole_nothing_moves_and_the_last_good_forecasts_stay(platform, versions):
    for version in versions:
        damage(platform, version)
    before = platform.champion.moves()
    for _ in range(2):
        done = run(platform, "forecasts")
        assert (
            "No former champion does better on the same market, and no baseline: nothing was moved"
            in done.failures["forecasts"]
        )
    assert platform.champion.moves() == before
    assert events_of(platform, "rolled_back") == []
    assert served_on(platform) == {(NOVEMBER, versions[2])}


def test_where_nobody_is_whole_a_sound_challenger_is_served_by_its_hard_checks(platform, versions):
    """There is nobody to be compared with: evidence that nobody can read must not keep the platform dark."""
    for version in versions:
        damage(platform, version)
    assert not run(platform, "forecasts").success
    chain = ("gnn_weights", "oos_predictions", "portfolio_returns", "backtest_scores", "champion")
    done = run(platform, *chain)
    assert done.success, done.failures
    served = champion_of(platform)
    assert served.version not in versions
    assert served.rule == "bootstrap"
    assert run(platform, "forecasts").success
    assert served_on(platform) == {(NEWEST, served.version)}


def test_damaged_evidence_stops_the_gate_and_never_its_comparison(platform, versions):
    """The champion can serve: a candidate must not get past it because a table of it cannot be read."""
    assert run(platform, "forecasts").success
    table = champion_of(platform).portfolio_returns
    for path in (platform.lake.root / "portfolio_returns").rglob("*.parquet"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.chmod(0o644)
        path.write_bytes(content)
    with pytest.raises(CorruptArtefact):
        platform.lake.read(PORTFOLIO_RETURNS, version=table)
    before = champion_of(platform)
    done = run(platform, "gnn_weights", "oos_predictions", "portfolio_returns", "backtest_scores", "champion")
    assert list(done.failures) == ["champion"]
    assert champion_of(platform) == before


def test_where_the_data_hurt_everybody_nothing_moves(platform, versions, monkeypatch):
    honest = ridge.predict
    monkeypatch.setattr(ridge, "predict", lambda *given, **named: honest(*given, **named) * np.float32(np.nan))
    done = run(platform, "forecasts")
    assert "forecasts_finite" in done.failed("forecasts")
    assert "No former champion does better on the same market" in done.failures["forecasts"]
    assert champion_of(platform).version == versions[2]
    assert events_of(platform, "rolled_back") == []
    assert served_on(platform) == {(NOVEMBER, versions[2])}
    # Once the data are good again, so are the forecasts.
    monkeypatch.undo()
    assert run(platform, "forecasts").success
    assert served_on(platform) == {(NEWEST, versions[2])}


def test_a_damaged_graph_is_no_fault_of_the_champion(platform, versions):
    current = platform.lake.versions(CORRELATION_GRAPHS.name).current()
    assert current is not None
    newest = max(platform.lake.root.rglob("correlation_graphs/**/*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    newest.chmod(0o644)
    newest.write_bytes(newest.read_bytes()[:-1])
    assert "cannot forecast" not in run(platform, "forecasts").failures["forecasts"]
    assert champion_of(platform).version == versions[2]
    assert events_of(platform, "rolled_back") == []


def test_whoever_was_gone_back_from_is_not_gone_back_to_until_a_person_puts_it_in_place_again(platform, versions):
    first, second, third = versions
    for broken, then in ((third, second), (second, first)):
        assert roll_back_for(platform, "bad_output", version=broken).champion.version == then
    # Both later ones are whole by now; they were not when it counted.
    assert roll_back_for(platform, "bad_output", version=first) is None
    assert champion_of(platform).version == first
    promote_by_hand(platform, second, reason="mended")
    promote_by_hand(platform, first, reason="no better")
    assert roll_back_for(platform, "bad_output", version=first).champion.version == second


def test_a_fault_of_somebody_who_is_served_no_more_moves_nothing(platform, versions):
    before = platform.champion.moves()
    assert roll_back_for(platform, "bad_output", version=versions[0]) is None
    assert platform.champion.moves() == before


def test_all_the_while_readers_see_one_champion_and_finite_forecasts(platform, versions):
    """After each step, whatever it did."""

    def seen() -> None:
        newest = newest_of(platform)
        assert newest["champion"].n_unique() == 1
        assert newest.height == 20
        assert newest.filter(~pl.col("expected_return").is_finite()).is_empty()

    for version in reversed(versions):
        damage(platform, version)
        seen()
        run(platform, "forecasts")
        seen()
    assert champion_of(platform).version == versions[0]
