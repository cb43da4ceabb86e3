"""A walk through the past: real automation and runs in a home of its own, the same bytes each time, nothing from later."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from io import StringIO
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from gnn_assets.core.errors import ConfigError
from gnn_assets.core.settings import Settings
from gnn_assets.defs.replay import Route, open_replay
from gnn_assets.defs.replay_view import View, line_of
from gnn_assets.defs.replay_walk import Walker
from gnn_assets.monitoring.walk import Walk
from gnn_assets_tests.conftest import Home
from gnn_assets_tests.monitoring.made_up_walk import made_up_walk

# As little past as a candidate can be trained and judged on.
SMALL = {
    "GNN_ASSETS_PROFILE": "sample",
    "GNN_ASSETS_CONFIG__BARS__FROM_SESSION": "2017-06-01",
    "GNN_ASSETS_CONFIG__MODELS__FOLDS__TRAIN": "252",
    "GNN_ASSETS_CONFIG__MODELS__FOLDS__TEST": "126",
    "GNN_ASSETS_CONFIG__MODELS__TRAINING__EPOCHS": "1",
    "GNN_ASSETS_CONFIG__BACKTESTS__MIN_SESSIONS": "126",
    # A challenger as soon as there is a second session.
    "GNN_ASSETS_CONFIG__AGES__GNN_WEIGHTS__AGE_HOURS": "20",
}
BARS_OF_A_SESSION = ["market_bars", "returns", "correlation_graphs", "graph_drift", "forecasts"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return Home.fresh(tmp_path_factory.mktemp("replay") / "home")


@pytest.fixture(scope="module")
def walked(home) -> subprocess.CompletedProcess[str]:
    done = home.run("replay", "--from", "2020-01-02", "--to", "2020-01-06", "--name", "three", **SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def walk(home, walked) -> Walk:
    return Walk.read(home.path / "data" / "replay" / "three" / "walk.json")


# ---- the walk ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_session_is_made_by_what_automation_asked_for(walk):
    assert [one.session for one in walk.sessions] == [date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 6)]
    for one in walk.sessions:
        made = {asset: why for run in one.runs for asset, why in run.why.items()}
        assert set(BARS_OF_A_SESSION) <= set(made)
        assert not any(run.failed for run in one.runs)
        assert "manual" not in " ".join(made.values())


@pytest.mark.slow
def test_an_alarm_trains_a_challenger_that_goes_to_the_gate_and_says_why(walk):
    second = walk.sessions[1]
    why = {asset: told for run in second.runs for asset, told in run.why.items()}
    assert second.decision == "train"
    assert "weights_stale" in second.why
    assert "weights_stale" in why["gnn_weights"]
    assert {"champion", "backtest_scores"} <= set(why)
    assert {one.event for one in second.events} & {"promoted", "refused"}


@pytest.mark.slow
def test_a_walk_that_ends_earlier_is_the_same_as_far_as_it_goes(home, walk):
    """Made again by another process, to the same bytes; and nothing of a session depends on one that came later."""
    done = home.run("replay", "--from", "2020-01-02", "--to", "2020-01-03", "--name", "two", **SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    again = Walk.read(home.path / "data" / "replay" / "two" / "walk.json")
    assert [one.hash for one in again.sessions] == [one.hash for one in walk.sessions[:2]]
    assert again.hash in done.stdout


@pytest.mark.slow
def test_a_walk_stays_in_its_own_home_and_leaves_a_page(home, walked):
    assert sorted(path.name for path in (home.path / "data").iterdir() if path.name != "logs") == ["replay"]
    own = home.path / "data" / "replay" / "three"
    assert (own / "timeline.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "make dev REPLAY=three" in walked.stdout
    assert "2020-01-06" in walked.stdout


@pytest.mark.slow
def test_the_home_of_a_replay_is_opened_where_the_walk_ended(home, walk):
    own = home.path / "data" / "replay" / "three"
    environment = {"GNN_ASSETS_HOME": str(own), "GNN_ASSETS_CONFIG_FILE": str(own / "settings.yaml")}
    status = home.run("status", "--json", **SMALL | environment)
    assert status.returncode == 0, status.stderr
    told = json.loads(status.stdout)
    assert told["champion"]["version"] == walk.sessions[-1].champion
    assert {row["data_end"] for row in told["assets"] if row["asset"] == "forecasts"} == {"2020-01-06"}
    seen = subprocess.run(
        [sys.executable, "-c", "import dagster; print(len(dagster.DagsterInstance.get().get_runs()))"],
        cwd=own,
        env={**home.environment(**environment), "DAGSTER_HOME": str(own)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(seen.stdout.split()[-1]) == 1 + sum(len(one.runs) for one in walk.sessions)


# ---- where it may not go -----------------------------------------------------------------------------------------


def settings_of(path: Path) -> Settings:
    return Settings(profile="sample", home=Home.fresh(path).path)


def test_a_name_that_is_taken_is_refused(tmp_path):
    settings, route = settings_of(tmp_path / "home"), Route("one", date(2020, 1, 2), date(2020, 1, 3))
    open_replay(settings, route)
    with pytest.raises(ConfigError, match="replay --name: expected a name that is not taken, was one"):
        open_replay(settings, route)


def test_a_replay_without_a_session_is_refused_and_leaves_nothing(tmp_path):
    settings = settings_of(tmp_path / "home")
    with pytest.raises(ConfigError, match="none from 2020-01-04 to 2020-01-05"):
        open_replay(settings, Route("weekend", date(2020, 1, 4), date(2020, 1, 5)))
    assert not (settings.data / "replay").exists()


def test_the_clock_stands_at_the_close_before_the_first_session(tmp_path):
    platform, sessions = open_replay(settings_of(tmp_path / "home"), Route("one", date(2020, 1, 1), date(2020, 1, 7)))
    assert sessions[0] == date(2020, 1, 2)
    assert platform.last_session == date(2019, 12, 31)
    assert platform.label == "replay"


@pytest.mark.parametrize("storage", ["run_storage", "event_log_storage"])
def test_dagsters_state_of_a_replay_waits_for_no_disk(tmp_path, monkeypatch, storage):
    platform, _ = open_replay(settings_of(tmp_path / "home"), Route("short", date(2020, 1, 2), date(2020, 1, 3)))
    own = platform.settings.home
    monkeypatch.chdir(own)
    with dg.DagsterInstance.from_config(str(own)) as instance:
        kept = getattr(instance, storage)
        connect = kept.connect if storage == "run_storage" else kept.index_connection
        with connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 0


def test_ctrl_c_in_a_run_breaks_the_walk_off(tmp_path):
    @dg.asset
    def slow() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    (tmp_path / "dagster").mkdir()
    instance = dg.DagsterInstance.ephemeral(tempdir=str(tmp_path / "dagster"))
    platform, sessions = open_replay(settings_of(tmp_path / "home"), Route("one", date(2020, 1, 2), date(2020, 1, 3)))
    walker = Walker(platform, dg.Definitions(assets=[slow]), instance, sessions[0])
    with pytest.raises(KeyboardInterrupt):
        walker.prepare()


# ---- how it is watched -------------------------------------------------------------------------------------------


def test_without_a_terminal_there_is_a_line_a_session():
    walk, written = made_up_walk(), StringIO()
    view = View(Console(file=written, width=200), total=len(walk.sessions))
    with view.live():
        view.show(walk)
    assert written.getvalue().strip() == line_of(walk.sessions[-1]).strip()


def test_a_terminal_shows_champion_alarms_decision_and_what_was_earned():
    walk, written = made_up_walk(), StringIO()
    console = Console(file=written, width=160, height=60, force_terminal=True)
    view = View(console, total=len(walk.sessions))
    with view.live():
        view.show(walk.model_copy(update={"sessions": ()}))
        view.show(walk)
    newest, shown = walk.sessions[-1], written.getvalue()
    assert str(newest.session) in shown
    assert (newest.champion or "none")[:12] in shown
    assert newest.decision in shown
    assert f"{newest.served:+.2%}" in shown
