"""The loop under the real daemon and webserver, on the sample: what happens, why it says it does, how long it takes.

    python -m pytest -m drill -s gnn_assets_tests/defs/test_daemon_drill.py

The clock stands at one session of the sample and is moved by starting Dagster again at a later one. What the daemon is
put through here, `test_loop.py` and `test_automation.py` go through without one.
"""

import os
import signal
import time
from datetime import date

import polars as pl
import pytest
import yaml

from gnn_assets.bars.schema import RETURNS
from gnn_assets.core.config import build_config
from gnn_assets.forecasts.schema import SERVED_FORECASTS
from gnn_assets_tests.conftest import Home
from gnn_assets_tests.defs.daemon_home import OVER, Dagsters, end, shown, wait_for

# A quarter of the usual window, so that it is full of what the drill publishes; conditions are looked at often.
BRISK = {
    "GNN_ASSETS_CONFIG__LIVE__WINDOW_SESSIONS": "21",
    "GNN_ASSETS_CONFIG__AUTOMATION__SENSOR_INTERVAL_SECONDS": "5",
    "GNN_ASSETS_CONFIG__AUTOMATION__DECISION_CRON": "* * * * *",
    "GNN_ASSETS_CONFIG__AUTOMATION__REBUILD_CRON": "* * * * *",
}
SEED = "GNN_ASSETS_CONFIG__MODELS__SEED"
BUDGET = "GNN_ASSETS_CONFIG__MODELS__TRAINING__BUDGET_SECONDS"
PAUSE = build_config("test").retrain.pause_sessions
BAD_SESSIONS = 45


class Drill:
    """What happened, step by step."""

    def __init__(self, dagsters: Dagsters, sessions: list[date]) -> None:
        self.dagsters, self.sessions = dagsters, sessions
        self.rows: list[tuple[str, str, str, str]] = []

    def tell(self, happened: str, followed: str, why: str, seconds: float) -> None:
        self.rows.append((happened, followed, why, f"{seconds:.0f}"))

    def why(self, asset: str) -> list[str]:
        return self.dagsters.command("why", asset).splitlines()

    def trainings(self) -> list[dict]:
        """Those that nobody asked for by hand."""
        runs = self.dagsters.runs_of("gnn_weights")
        return [run for run in runs if by_itself(run)]


@pytest.mark.drill
def test_the_loop_under_a_real_daemon(tmp_path):
    dagsters = Dagsters(Home.fresh(tmp_path / "home"), **BRISK)
    calendar = dagsters_calendar(dagsters)
    last = date(2022, 12, 28)
    sessions = list(calendar.between(calendar.offset(last, -(3 * PAUSE + 4)), last))
    drill = Drill(dagsters, sessions)
    try:
        a_graph_that_aged(drill)
        a_bad_sharpe_ratio(drill)
        a_pause(drill)
        a_daemon_killed_at_an_order_and_at_its_training(drill)
        weights_and_backtest_while_nobody_looks(drill)
        equal_content(drill)
        a_training_that_fails(drill)
        two_daemons(drill)
        a_location_that_does_not_load(drill)
    finally:
        dagsters.stop()
        print(shown(drill.rows))


@pytest.mark.drill
def test_a_run_whose_worker_alone_is_killed_is_failed_and_run_again(home_copy):
    dagsters = Dagsters(home_copy, **BRISK)
    dagsters.at(date(2022, 12, 28), **{SEED: "1"})
    try:
        dagsters.start()
        cut = dagsters.begin("gnn_weights")
        wait_for(lambda: dagsters.worker_of(cut) is not None, seconds=120, what="the run to say who runs it")
        time.sleep(3)
        os.kill(dagsters.worker_of(cut), signal.SIGKILL)
        seconds = wait_for(lambda: dagsters.run_of(cut)["status"] == "FAILURE", seconds=60, what="the run to be failed")
        dagsters.quiet(seconds=20)
        again = [run["status"] for run in dagsters.runs() if run["rootRunId"] == cut and run["runId"] != cut]
        assert again == ["SUCCESS"]
    finally:
        dagsters.stop()
    print(f"drill: a run's worker killed; failed after {seconds:.0f} s, run again once with success")


def dagsters_calendar(dagsters: Dagsters):
    dagsters.session = date(2022, 12, 28)
    return dagsters.platform.calendar


def a_graph_that_aged(drill: Drill) -> None:
    dagsters = drill.dagsters
    dagsters.at(drill.sessions[0])
    dagsters.command("demo")
    dagsters.at(drill.sessions[PAUSE])
    # Returns go on while nobody makes graphs, and Dagster has never looked: it cannot know that they have changed.
    dagsters.command("update")
    dagsters.materialize_without_daemon("retrain_decision")
    begun = time.monotonic()
    dagsters.start()
    wait_for(lambda: made(dagsters, "correlation_graphs"), seconds=240, what="the graph to be rebuilt")
    seconds = time.monotonic() - begun
    dagsters.quiet(seconds=25)
    (rebuilt,) = [run for run in dagsters.runs_of("correlation_graphs") if by_itself(run)]
    assert rebuilt["tags"]["gnn_assets/why/correlation_graphs"].startswith("graph_stale")
    assert drill.why("correlation_graphs")[-1].startswith(f"made {drill.sessions[PAUSE]}: graph_stale")
    assert drill.trainings() == []
    drill.tell(
        "graph 5 sessions behind its returns",
        "rebuilt once",
        rebuilt["tags"]["gnn_assets/why/correlation_graphs"],
        seconds,
    )


def a_bad_sharpe_ratio(drill: Drill) -> None:
    dagsters = drill.dagsters
    publish_bad_forecasts(dagsters)
    begun = time.monotonic()
    dagsters.launch("forecast_scores")
    wait_for(lambda: len(drill.trainings()) == 1, seconds=120, what="a challenger")
    dagsters.quiet(seconds=25)
    (training,) = drill.trainings()
    assert training["status"] == "SUCCESS"
    assert training["tags"]["gnn_assets/reason"] == "sharpe_below_benchmark"
    assert drill.why("gnn_weights")[-2].startswith(f"retrained {drill.sessions[PAUSE]}: sharpe_below_benchmark")
    judged = dagsters.runs_of("champion")[-1]
    assert judged["status"] == "SUCCESS"
    assert judged["startTime"] > training["startTime"]
    drill.tell(
        f"{BAD_SESSIONS} bad sessions served",
        "one challenger, to the gate",
        training["tags"]["gnn_assets/why/gnn_weights"],
        time.monotonic() - begun,
    )


def a_pause(drill: Drill) -> None:
    dagsters = drill.dagsters
    dagsters.at(drill.sessions[PAUSE], **{SEED: "1"})
    dagsters.start()
    begun, minutes = time.monotonic(), set()
    for _ in range(10):
        dagsters.launch("retrain_decision")
        minutes.add(time.gmtime().tm_min)
    dagsters.quiet(seconds=15)
    assert len(drill.trainings()) == 1
    assert len(minutes) > 1
    held = dagsters.decisions[-1]
    assert (held["action"], held["signals"][0]["reason"]) == ("hold", "config_changed")
    drill.tell(
        f"another alarm in the pause, looked at 10 times in {len(minutes)} minutes",
        "held back",
        f"{held['sentence']}; {held['cause']}",
        time.monotonic() - begun,
    )


def a_daemon_killed_at_an_order_and_at_its_training(drill: Drill) -> None:
    dagsters = drill.dagsters
    dagsters.at(drill.sessions[2 * PAUSE], **{SEED: "1"})
    # While Dagster is down: it finds what has come when it is back.
    dagsters.command("update")
    dagsters.start()
    wait_for(lambda: order_of(dagsters) == 2, seconds=300, what="the order after the pause")
    dagsters.kill_daemon()
    time.sleep(5)
    dagsters.start_daemon()
    wait_for(lambda: under_way(drill), seconds=240, what="the training to begin")
    cut = drill.trainings()[-1]["runId"]
    dagsters.kill_daemon()
    begun = time.monotonic()
    dagsters.start_daemon()
    wait_for(lambda: dagsters.run_of(cut)["status"] in OVER, seconds=120, what="the cut run to be failed")
    seconds = time.monotonic() - begun
    dagsters.quiet(seconds=30)
    again = [run for run in dagsters.runs() if run["rootRunId"] == cut and run["runId"] != cut]
    assert dagsters.run_of(cut)["status"] == "FAILURE"
    assert [run["status"] for run in again] == ["SUCCESS"]
    answered = [event for event in dagsters.events("order_answered") if event["order"] == 2]
    assert len(answered) == 1
    assert not [run for run in dagsters.runs() if run["status"] not in OVER]
    assert seconds <= 60
    drill.tell("pause over", "second challenger", drill.why("gnn_weights")[-2], 0)
    drill.tell("daemon killed at the order", "order kept: one answer", "order 2", 0)
    drill.tell("daemon, code server and run killed in training", "run failed, run again once", "process gone", seconds)


def weights_and_backtest_while_nobody_looks(drill: Drill) -> None:
    dagsters = drill.dagsters
    before = len(dagsters.runs_of("champion"))
    dagsters.at(drill.sessions[2 * PAUSE], **{SEED: "2"})
    dagsters.materialize_without_daemon("gnn_weights", "oos_predictions", "portfolio_returns", "backtest_scores")
    begun = time.monotonic()
    dagsters.start()
    wait_for(lambda: len(dagsters.runs_of("champion")) > before, seconds=120, what="the gate to be asked")
    seconds = time.monotonic() - begun
    dagsters.quiet(seconds=25)
    assert dagsters.runs_of("champion")[-1]["status"] == "SUCCESS"
    asked = dagsters.runs_of("champion")[before]["tags"]["gnn_assets/why/champion"]
    drill.tell("weights and backtest made between two ticks", "the gate was asked", asked, seconds)


def equal_content(drill: Drill) -> None:
    dagsters = drill.dagsters
    begun, before = time.monotonic(), len(dagsters.runs())
    dagsters.launch("returns")
    dagsters.quiet(seconds=25)
    assert len(dagsters.runs()) == before + 1
    drill.tell("returns made again with equal content", "no wave", "", time.monotonic() - begun)


def a_training_that_fails(drill: Drill) -> None:
    dagsters, begun = drill.dagsters, time.monotonic()
    before = len(drill.trainings())
    for session in drill.sessions[3 * PAUSE :]:
        dagsters.at(session, **{SEED: "2", BUDGET: "0.001"})
        dagsters.command("update")
        dagsters.start()
        dagsters.quiet(seconds=25)
    tries = drill.trainings()[before:]
    # The session after each try finds that it failed, and the pause before the next has passed a session later.
    assert [run["status"] for run in tries] == ["FAILURE"] * 3
    told = drill.why("gnn_weights")
    drill.tell(
        "a training that fails, five sessions long",
        f"{len(tries)} tries, then none",
        told[-1],
        time.monotonic() - begun,
    )


def two_daemons(drill: Drill) -> None:
    dagsters, begun = drill.dagsters, time.monotonic()
    second = dagsters.second_daemon()
    try:
        time.sleep(20)
        before = len(dagsters.runs())
        dagsters.launch("retrain_decision")
        dagsters.quiet(seconds=25)
        doubled = [run for run in dagsters.runs()[before:] if run["names"] == ["retrain_decision"]]
        assert len(doubled) == 1
    finally:
        end(second, signal.SIGKILL)
    drill.tell("a second daemon beside the first", "nothing doubled", "", time.monotonic() - begun)


def a_location_that_does_not_load(drill: Drill) -> None:
    dagsters = drill.dagsters
    dagsters.at(drill.sessions[-1])
    (dagsters.home.path / "broken.py").write_text("raise RuntimeError('no such table')\n")
    both = yaml.safe_load((dagsters.home.path / "workspace.yaml").read_text())
    both["load_from"].append({"python_file": {"relative_path": "broken.py", "location_name": "broken"}})
    (dagsters.home.path / "workspace.yaml").write_text(yaml.safe_dump(both))
    begun = time.monotonic()
    dagsters.start()
    wait_for(lambda: set(dagsters.locations()) == {"gnn_assets", "broken"}, seconds=60, what="both locations")
    assert dagsters.locations() == {"gnn_assets": "RepositoryLocation", "broken": "PythonError"}
    assert dagsters.launch("universe")["status"] == "SUCCESS"
    drill.tell("another code location fails to load", "the UI says so, assets are made", "", time.monotonic() - begun)


# ---- parts -----------------------------------------------------------------------------------------------------------


def made(dagsters: Dagsters, asset: str) -> bool:
    runs = dagsters.runs_of(asset)
    return any(run["status"] == "SUCCESS" and by_itself(run) for run in runs)


def by_itself(run: dict) -> bool:
    return "dagster/from_automation_condition" in run["tags"]


def order_of(dagsters: Dagsters) -> int:
    training = dagsters.decisions[-1]["memory"]["training"]
    return training["number"] if training else 0


def under_way(drill: Drill) -> bool:
    trainings = drill.trainings()
    return bool(trainings) and trainings[-1]["status"] == "STARTED"


def publish_bad_forecasts(dagsters: Dagsters) -> None:
    """As if the champion had served the opposite of what happened, for weeks."""
    platform = dagsters.platform
    template = platform.lake.read(SERVED_FORECASTS)
    template = template.filter(pl.col("session") == template["session"].max())
    lag = platform.config.execution.fill_lag
    ahead = platform.config.execution.purge
    returns = platform.lake.read(RETURNS, columns=("session", "symbol", "fill_return"))
    last = platform.calendar.offset(dagsters.session, -1)
    frames = []
    for session in platform.calendar.between(platform.calendar.offset(last, -BAD_SESSIONS), last):
        start, end = (platform.calendar.offset(session, ahead_by) for ahead_by in (lag, ahead))
        happened = (
            returns.filter(pl.col("session") > start, pl.col("session") <= end)
            .group_by("symbol")
            .agg(opposite=-pl.col("fill_return").sum().cast(pl.Float32))
        )
        frames.append(
            template.join(happened, on="symbol").with_columns(
                session=pl.lit(session), target_start=pl.lit(start), target_end=pl.lit(end), score="opposite"
            )
        )
    rows = pl.concat(frames).select(*SERVED_FORECASTS.columns)
    platform.lake.upsert(SERVED_FORECASTS, rows, run_id="")
