"""The go / no-go list: each line says no when what it looks at is broken, and nothing but everything is a go."""

import json

import pytest
from typer.testing import CliRunner

from gnn_assets.backtests.verdict import Verdict
from gnn_assets.cli import app
from gnn_assets.core.config import build_config
from gnn_assets.core.settings import Settings
from gnn_assets.defs import ready
from gnn_assets.defs.ready import readiness
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.switching import promote_by_hand
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets_tests.defs import switching_home

pytestmark = pytest.mark.slow


def platform_at(home, **changes):
    return Platform(settings=Settings(profile="test", home=home.path), config=build_config("test", changes))


def failed(platform):
    return {line.name: line for line in readiness(platform) if not line.passed}


@pytest.fixture
def genuine():
    """Forecasts are recomputed, which takes seconds; elsewhere they count as verified."""


@pytest.fixture(autouse=True)
def verified(request, monkeypatch):
    if "genuine" not in request.fixturenames:
        monkeypatch.setattr(ready, "verify_session", lambda *_of: Verified)


@pytest.fixture
def scaling(monkeypatch):
    """A champion that would have earned the best word."""
    monkeypatch.setattr(ready, "verdict_on", lambda *_tables, **_of: Verdict("SCALE", "it does"))


def test_a_whole_platform_with_a_champion_that_scales_is_a_go(demo_home, scaling, genuine, monkeypatch):
    assert failed(platform_at(demo_home)) == {}
    for name, value in demo_home.environment().items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["ready", "--json"])
    assert done.exit_code == 0
    told = json.loads(done.output)
    assert told["ready"] is True
    assert {"champion", "verdict", "thresholds_unchanged", "forecasts_verified", "symbols_covered"} <= {
        line["name"] for line in told["lines"]
    }


@pytest.mark.parametrize("word", ["ITERATE", "NOT_ENOUGH_DATA", "KILL"])
def test_any_word_below_the_one_asked_for_is_a_no_go(demo_home, word, monkeypatch):
    monkeypatch.setattr(ready, "verdict_on", lambda *_tables, **_of: Verdict(word, "because"))
    assert list(failed(platform_at(demo_home))) == ["verdict"]
    lenient = failed(platform_at(demo_home, verdict={"ready": "ITERATE"}))
    assert ("verdict" in lenient) == (word != "ITERATE")


def test_the_verdict_is_computed_and_what_to_do_is_said(demo_home, monkeypatch):
    for name, value in demo_home.environment().items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["ready"])
    line = failed(platform_at(demo_home))["verdict"]
    assert line.value.split(":")[0] in {"ITERATE", "NOT_ENOUGH_DATA", "KILL"}
    assert done.exit_code == 1
    assert "NO-GO" in done.output
    assert "do not trade it" in " ".join(done.output.split())


def test_a_home_without_a_champion_is_a_no_go_and_says_what_to_do(tmp_path):
    platform = Platform(settings=Settings(profile="test", home=tmp_path), config=build_config("test"))
    lines = failed(platform)
    assert lines["champion"].do == "run `gnn-assets demo`"


def test_thresholds_that_were_changed_after_the_champion_are_a_no_go(demo_home, scaling):
    line = failed(platform_at(demo_home, verdict={"scale_sharpe": 1.2}))["thresholds_unchanged"]
    assert line.value == "scale_sharpe 1.5 -> 1.2"


def test_old_data_are_a_no_go(demo_home, scaling):
    later = platform_at(demo_home, clock={"kind": "snapshot", "session": "2023-03-01"})
    assert {"age of market_bars", "age of forecasts", "age of champion"} <= set(failed(later))


def test_a_flipped_byte_in_the_ledger_is_a_no_go(home_copy, scaling):
    platform = platform_at(home_copy)
    file = platform.data / "ledger" / "trials.jsonl"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert "ledger trials" in failed(platform)


def test_damaged_scores_of_the_champion_are_a_no_go(home_copy):
    platform = platform_at(home_copy)
    for file in (platform.data / "lake" / "backtest_scores").rglob("*.parquet"):
        file.write_bytes(b"nothing")
    assert "verdict" in failed(platform)


def test_failed_symbols_and_open_circuits_are_a_no_go(demo_home, scaling, monkeypatch):
    monkeypatch.setattr(ready, "dead_letters", lambda _platform: {"AAPL": "gone"})
    monkeypatch.setattr(ready, "source_states", lambda _platform: {"sample": {"state": "open"}})
    lines = failed(platform_at(demo_home))
    assert lines["no_failed_symbols"].value == "AAPL"
    assert lines["circuit of sample"].value == "open"


def test_forecasts_of_too_few_symbols_are_a_no_go_and_so_are_those_that_do_not_come_out_again(
    home_copy, scaling, genuine
):
    platform = platform_at(home_copy)
    rows = platform.lake.read(FORECASTS)
    few = rows["symbol"].unique().sort()[:15]
    kept = rows.filter(rows["symbol"].is_in(few.implode()))
    platform.lake.publish(FORECASTS, kept, lineage=None, data_end=rows["session"].max())
    lines = failed(platform)
    assert lines["symbols_covered"].value == "15 of 20 symbols"
    assert "forecasts_verified" in lines


def test_a_newer_candidate_that_a_person_keeps_out_is_a_no_go(tmp_path):
    platform = switching_home.platform_at(tmp_path)
    older = switching_home.add_candidate(platform, 1)
    switching_home.add_candidate(platform, 2)
    promote_by_hand(platform, older, reason="the old one is calmer")
    line = failed(platform)["not_held_out"]
    assert "the old one is calmer" in line.value


class Verified:
    """A session that came out again."""

    matches = True
