"""What a flow, a command and a sensor leave in the log: every line parses and says what it belongs to."""

import json
import sys

import dagster as dg
import polars as pl
import pytest

from gnn_assets import cli
from gnn_assets.bars import remade
from gnn_assets.bars.schema import RETURNS
from gnn_assets.core.settings import Settings
from gnn_assets.defs import bars as bars_assets
from gnn_assets.defs.command_log import command_logged
from gnn_assets.defs.following import following_sensor
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.switching import promote_by_hand
from gnn_assets_tests.defs import switching_home
from gnn_assets_tests.defs.ridge_home import NOVEMBER, copy_of, platform_at, run

ASSETS = ("universe", "market_bars", "returns")


def lines_of(platform):
    """Every line, each of which must parse."""
    return [json.loads(line) for line in platform.log_file.path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """A home in which three assets were made twice."""
    home = tmp_path_factory.mktemp("logs") / "home"
    platform = platform_at(home)
    assert run(platform, *ASSETS).success
    assert run(platform, *ASSETS).success
    return platform


def test_every_line_of_a_flow_says_run_asset_and_session(flow):
    lines = lines_of(flow)
    assert {line["asset"] for line in lines} == set(ASSETS)
    assert {line["session"] for line in lines} == {str(NOVEMBER)}
    assert len({line["run"] for line in lines}) == 2


def test_a_stage_began_and_was_published_or_reused_in_seconds_and_says_its_version(flow):
    told = [line for line in lines_of(flow) if line["event"].startswith("stage_")]
    runs = list(dict.fromkeys(line["run"] for line in told))
    first = [(line["event"], line["asset"]) for line in told if line["run"] == runs[0]]
    assert first == [(event, asset) for asset in ASSETS for event in ("stage_started", "stage_published")]
    again = {line["asset"]: line["event"] for line in told if line["run"] == runs[1]}
    assert again == {"universe": "stage_reused", "market_bars": "stage_reused", "returns": "stage_reused"}
    for line in told:
        ended = line["event"] != "stage_started"
        assert ("seconds" in line) == ended
        assert ("version" in line) == (line["event"] in {"stage_published", "stage_reused"})
    made = {line["asset"]: line["version"] for line in told if line["event"] == "stage_reused"}
    assert made["universe"] == flow.versions("universe").current().version


def test_what_is_entered_in_the_ledger_is_a_line_with_the_ids_of_its_run(flow):
    entered = [line for line in lines_of(flow) if line["event"] == "ledger_entry"]
    ledger = {event["id"]: event["event"] for event in flow.ledger.read("events")}
    assert {line["id"]: line["entry"]["event"] for line in entered} == ledger
    made = [line for line in entered if line["entry"]["event"] == "made"]
    assert all(line["run"] == line["entry"]["run_id"] for line in made)


def test_a_stage_that_is_refused_says_by_which_check(flow, tmp_path, monkeypatch):
    platform = platform_at(copy_of(flow.settings.home, tmp_path / "home"), {"bars": {"min_symbol_coverage": 0.7}})
    honest = bars_assets.returns_of

    def centred(*given, **named):
        mean = pl.col("close_return").mean().over("symbol")
        return RETURNS.conform(honest(*given, **named).with_columns(pl.col("close_return") - mean))

    for module in (bars_assets, remade):
        monkeypatch.setattr(module, "returns_of", centred)
    assert not run(platform, "returns").success
    told = lines_of(platform)[-1]
    assert (told["event"], told["level"], told["asset"]) == ("stage_refused", "warning", "returns")
    assert "no_look_ahead failed" in told["reason"]
    assert told["seconds"] > 0
    assert "version" not in told


def test_a_stage_that_fails_says_why_with_its_chain(tmp_path):
    platform = platform_at(tmp_path)
    assert not run(platform, "returns").success
    lines = lines_of(platform)
    (failed,) = (line for line in lines if line["event"] == "stage_failed")
    assert failed["level"] == "error"
    assert failed["exception"][0]["exc_type"] == "MissingArtefact"
    assert "stage_failed" in [line.get("entry", {}).get("event") for line in lines]


def test_nothing_of_the_log_reaches_the_terminal(tmp_path, capfd):
    platform = platform_at(tmp_path)
    run(platform, "universe")
    told = capfd.readouterr()
    assert "stage_started" not in told.out + told.err
    assert "stage_started" in platform.log_file.path.read_text()


def test_keys_and_channels_are_no_part_of_any_line(tmp_path):
    settings = Settings(
        profile="test",
        home=tmp_path,
        massive_key="key-of-massive",
        alerts={"team": "slack://token-a-long-one/b/c"},
        alerts_heartbeat="https://hc.example/ping-a-long-one",
    )
    platform = Platform(settings=settings, config=platform_at(tmp_path).config)
    with platform.logging(run="r"):
        platform.ledger.append("events", {"event": "told", "reason": "key-of-massive token-a-long-one ping-a-long-one"})
    text = platform.log_file.path.read_text()
    assert '"reason": "*** *** ***"' in text


# ---- commands and sensors --------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "dagster.yaml").write_text("")
    monkeypatch.setenv("GNN_ASSETS_HOME", str(tmp_path))
    monkeypatch.setenv("GNN_ASSETS_PROFILE", "test")
    return tmp_path


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["gnn-assets", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_a_command_began_and_ended_with_its_exit_code(home, monkeypatch, capsys):
    assert command(monkeypatch, "status", "--json") == 0
    # What it prints is what it prints.
    json.loads(capsys.readouterr().out)
    assert command(monkeypatch, "rollback", "--to", "abc") == 1
    lines = lines_of(Platform.from_environment())
    told = [(line["event"], line["command"], line.get("exit_code")) for line in lines]
    assert told == [
        ("command_started", "status --json", None),
        ("command_ended", "status --json", 0),
        ("command_started", "rollback --to abc", None),
        ("command_ended", "rollback --to abc", 1),
    ]
    assert len({line["run"] for line in lines}) == 2


def test_the_newest_lines_are_printed_for_a_run(home, monkeypatch, capsys):
    for _ in range(2):
        command(monkeypatch, "config", "show")
    newest = lines_of(Platform.from_environment())[-1]["run"]
    capsys.readouterr()
    assert command(monkeypatch, "logs", "--run", newest[:8]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in printed] == ["command_started", "command_ended"]
    # Whoever reads the log adds nothing to it.
    assert lines_of(Platform.from_environment())[-1]["run"] == newest


def test_an_error_nobody_expected_is_in_the_log(home):
    with pytest.raises(ZeroDivisionError), command_logged(["status"]):
        raise ZeroDivisionError
    lines = lines_of(Platform.from_environment())
    assert [line["event"] for line in lines] == ["command_started", "command_failed", "command_ended"]
    assert (lines[1]["exception"][0]["exc_type"], lines[2]["exit_code"]) == ("ZeroDivisionError", 1)


def test_outside_a_home_no_folder_is_made(home, monkeypatch):
    (home / "dagster.yaml").unlink()
    command(monkeypatch, "config", "show")
    assert not (home / "data").exists()


def test_a_promotion_by_hand_and_what_the_sensor_asks_for_are_lines(tmp_path):
    home = tmp_path / "home"
    *_, third = switching_home.fill(home)
    platform = switching_home.platform_at(home)
    with platform.logging(run="c1", command="promote"):
        promote_by_hand(platform, third, reason="mine")
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        following_sensor(platform.config)(dg.build_sensor_context(instance=instance, resources={"platform": platform}))
    promoted, asked = lines_of(platform)
    assert (promoted["event"], promoted["entry"]["event"], promoted["entry"]["candidate"]) == (
        "ledger_entry",
        "promoted",
        third,
    )
    assert (asked["event"], asked["sensor"], len(asked["runs"])) == ("runs_requested", "champion_switches", 2)
