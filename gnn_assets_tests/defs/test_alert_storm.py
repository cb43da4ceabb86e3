"""Fifty failures at once are one alert, and their recovery one resolve, within fifteen seconds of the clock on the wall."""

import contextlib
import signal
import subprocess
import threading
import time

import dagster as dg
import pytest

from gnn_assets.defs.alert_commands import show
from gnn_assets.defs.alerting import alerts_sensor
from gnn_assets_tests.conftest import Home
from gnn_assets_tests.defs.alert_home import everyone, platform_at, run_assets
from gnn_assets_tests.defs.daemon_home import BIN, end, wait_for
from gnn_assets_tests.monitoring.services import Answer, Services, free_port, services

pytestmark = pytest.mark.slow

FIFTY = [f"asset_{number:02d}" for number in range(50)]
LONGEST = 15.0  # seconds from cause to message


def titles(server: Services) -> list[str]:
    return [request.json["title"] for request in server.asked]


def settings(server: Services) -> dict:
    """As they are by default, but for a channel that is dead and one that lives."""
    channels = {"pager": f"json://127.0.0.1:{free_port()}/", "team": f"json://127.0.0.1:{server.port}/"}
    return {"channels": channels, **everyone("pager", "team")}


def test_fifty_failures_at_once_are_one_alert_by_the_channel_that_lives_and_one_resolve(tmp_path):
    """The real sensor over a real instance, evaluated in a loop as the daemon does; the drill below has the daemon."""
    with services() as server, dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        platform = platform_at(tmp_path / "home", **settings(server))
        limits = dict.fromkeys(FIFTY, platform.config.ages["returns"])
        platform.config = platform.config.model_copy(update={"ages": limits})
        sensor, over = alerts_sensor(platform.config), threading.Event()

        def evaluate() -> None:
            while not over.is_set():
                with dg.build_sensor_context(instance=instance, resources={"platform": platform}) as context:
                    sensor.evaluate_tick(context)
                over.wait(platform.config.alerts.look_seconds)

        daemon = threading.Thread(target=evaluate)
        daemon.start()
        try:
            assert not run_assets(instance, FIFTY).success
            failed = time.time()
            wait_for(lambda: len(server.asked) == 1, seconds=30, what="the alert")
            assert run_assets(instance, [], sound=FIFTY).success
            recovered = time.time()
            wait_for(lambda: len(server.asked) == 2, seconds=30, what="the resolve")
            time.sleep(platform.config.alerts.look_seconds + 1)
        finally:
            over.set()
            daemon.join()
        assert titles(server) == ["[warning] 50 alerts: 50 run_failed", "[resolved] 50 alerts: 50 run_failed"]
        assert server.asked[0].at - failed < LONGEST
        assert server.asked[1].at - recovered < LONGEST
        assert [fate.split(";")[0] for _, fate in show(platform).messages] == [
            f"pager dead after {platform.config.alerts.attempts}: not reached, or refused",
            # What resolves goes first to whom took what it resolves.
            "taken by team",
        ]


DEFINITIONS = """
import os
from pathlib import Path

import dagster as dg

from gnn_assets.defs.alerting import alerts_sensor
from gnn_assets.defs.resources import Platform

platform = Platform.from_environment()
fifty = [f"asset_{number:02d}" for number in range(50)]
limits = dict.fromkeys(fifty, platform.config.ages["returns"])
platform.config = platform.config.model_copy(update={"ages": limits})


def made(name):
    @dg.asset(name=name)
    def body():
        if (Path(os.environ["DAGSTER_HOME"]) / "broken").exists():
            raise ValueError(f"{name} found 3 rows, 20 were expected")

    return body


defs = dg.Definitions(
    assets=[made(name) for name in fifty],
    jobs=[dg.define_asset_job("everything")],
    sensors=[alerts_sensor(platform.config)],
    resources={"platform": platform},
    executor=dg.in_process_executor,
)
"""


@pytest.mark.drill
@pytest.mark.parametrize("pager", ["dead", "hangs"])
def test_under_a_real_daemon_with_a_channel_that_is_dead_and_one_that_lives(tmp_path, capsys, pager):
    home = Home.fresh(tmp_path / "home")
    (home.path / "storm.py").write_text(DEFINITIONS, encoding="utf-8")
    with services() as server, services() as slow:
        slow.answers[""] = Answer(delay=60)
        port = free_port() if pager == "dead" else slow.port
        environment = home.environment(
            DAGSTER_HOME=str(home.path),
            GNN_ASSETS_ALERTS=f'{{"pager": "json://127.0.0.1:{port}/", "team": "json://127.0.0.1:{server.port}/"}}',
            GNN_ASSETS_CONFIG__ALERTS__ROUTES__WARNING='["pager", "team"]',
            GNN_ASSETS_CONFIG__ALERTS__PRIVATE_HOSTS='["127.0.0.1"]',
        )

        def start(*command: str) -> "subprocess.Popen[bytes]":
            with (home.path / "dagster.log").open("ab") as log:
                return subprocess.Popen(
                    [BIN / command[0], *command[1:], "-f", "storm.py"],
                    cwd=home.path,
                    env=environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

        def everything() -> float:
            """Runs the fifty in a process of their own; the moment Dagster says the run was over."""
            start("dagster", "job", "execute", "-j", "everything").wait(240)
            with contextlib.chdir(home.path), dg.DagsterInstance.from_config(str(home.path)) as instance:
                (newest,) = instance.get_run_records(limit=1)
            assert newest.end_time is not None
            return newest.end_time

        daemon = start("dagster-daemon", "run")
        heartbeat = home.path / "data" / "alerts" / "heartbeat.json"
        try:
            wait_for(heartbeat.exists, seconds=120, what="the first look")
            (home.path / "broken").touch()
            failed = everything()
            wait_for(lambda: len(server.asked) == 1, seconds=60, what="the alert")
            (home.path / "broken").unlink()
            recovered = everything()
            wait_for(lambda: len(server.asked) == 2, seconds=60, what="the resolve")
            time.sleep(12)
        finally:
            end(daemon, signal.SIGTERM)
        assert titles(server) == ["[warning] 50 alerts: 50 run_failed", "[resolved] 50 alerts: 50 run_failed"]
        seconds = (server.asked[0].at - failed, server.asked[1].at - recovered)
        with capsys.disabled():
            print(f"\nfirst channel {pager}: alert after {seconds[0]:.1f} s, resolve after {seconds[1]:.1f} s")
        (dead,) = [entry for entry in platform_at(home.path).ledger.read("alerts") if entry["entry"] == "dead"]
        assert dead["channel"] == "pager"
        assert seconds[1] < LONGEST
        # Three tries by a channel that never answers take as long as they are given.
        assert seconds[0] < (LONGEST if pager == "dead" else 2 * LONGEST)
