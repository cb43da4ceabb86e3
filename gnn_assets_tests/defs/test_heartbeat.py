"""Silence is noticed: by the machine's own timer, and by a dead man's switch that is asked no more."""

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from gnn_assets.cli import app
from gnn_assets.core.clock import LiveClock
from gnn_assets.core.errors import ConfigError
from gnn_assets.defs.alert_commands import watch
from gnn_assets.defs.alerting import tell
from gnn_assets.defs.heartbeat import beat, read_heartbeat, silence
from gnn_assets_tests.defs.alert_home import everyone, platform_at
from gnn_assets_tests.monitoring.services import Answer, services

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
# What a platform is held to that looks every second.
QUICK = {"look_seconds": 1, "sending_seconds": 0.5, "timeout_seconds": 0.5, "silence_seconds": 2.5, "group_seconds": 0}


def test_a_platform_that_looks_is_not_silent_and_one_that_does_not_is(tmp_path):
    platform = platform_at(tmp_path)
    assert "never looked" in silence(platform, now=NOW)
    assert beat(platform, now=NOW) == ""
    assert silence(platform, now=NOW + timedelta(seconds=120)) == ""
    told = silence(platform, now=NOW + timedelta(seconds=121))
    assert told.startswith("The platform is silent: its last heartbeat is of 2026-03-02 14:30:00 UTC, 121 s ago")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"at": "yesterday", "asked_at": null}'])
def test_a_heartbeat_that_nobody_can_read_is_none(tmp_path, content):
    platform = platform_at(tmp_path)
    beat(platform, now=NOW)
    (platform.data / "alerts" / "heartbeat.json").write_bytes(content)
    assert read_heartbeat(platform) is None
    assert silence(platform, now=NOW)


def test_silence_shorter_than_a_look_and_its_sending_is_no_limit(tmp_path):
    with pytest.raises(ConfigError, match=r"alerts\.silence_seconds must be above 40"):
        platform_at(tmp_path, silence_seconds=40, timeout_seconds=5)


def test_the_address_is_asked_now_and_then_and_its_silence_is_told_without_it(tmp_path):
    with services() as server:
        platform = platform_at(tmp_path, heartbeat_seconds=60)
        address = SecretStr(f"http://127.0.0.1:{server.port}/uuid-4711")
        platform.settings = platform.settings.model_copy(update={"alerts_heartbeat": address})
        for seconds in (0, 5, 59, 60, 65, 120):
            assert beat(platform, now=NOW + timedelta(seconds=seconds)) == ""
        assert [request.path for request in server.asked] == ["/uuid-4711"] * 3
        server.answers[""] = Answer(status=500)
        assert beat(platform, now=NOW + timedelta(seconds=180)) == "answered HTTP 500"
    assert "uuid-4711" not in (platform.data / "alerts" / "heartbeat.json").read_text()
    # It did look, whoever answers.
    assert read_heartbeat(platform).at == NOW + timedelta(seconds=180)


LOOKING = """
import json, sys, time
from pathlib import Path
import dagster as dg
from gnn_assets.defs.alerting import tell
from gnn_assets_tests.defs.alert_home import platform_at
platform = platform_at(Path(sys.argv[1]), **json.loads(sys.argv[2]))
with dg.DagsterInstance.ephemeral() as instance:
    while True:
        tell(platform, instance)
        time.sleep(0.3)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_is_missed_and_its_return_resolves_the_alert(tmp_path):
    with services() as server:
        settings = {**QUICK, "channels": {"team": f"json://127.0.0.1:{server.port}/"}, **everyone("team")}
        platform = platform_at(tmp_path / "home", **settings)

        def wait(done) -> None:
            end = time.monotonic() + 60
            while not done():
                assert time.monotonic() < end
                time.sleep(0.1)

        command = [sys.executable, "-c", LOOKING, str(platform.settings.home), json.dumps(settings)]
        process = subprocess.Popen(command)
        wait(lambda: read_heartbeat(platform) is not None)
        assert watch(platform) == ""
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait(lambda: bool(silence(platform, now=LiveClock().now())))
        assert "silent" in watch(platform)
        assert "silent" in watch(platform)
        titles = [request.json["title"] for request in server.asked]
        assert titles == ["[critical] silence: platform"]
        with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
            tell(platform, instance)
        assert server.asked[1].json["title"] == "[resolved] silence: platform"


def test_the_command_says_so_in_one_sentence_and_by_its_exit_code(tmp_path, monkeypatch):
    monkeypatch.setenv("GNN_ASSETS_PROFILE", "test")
    monkeypatch.setenv("GNN_ASSETS_HOME", str(tmp_path))
    silent = CliRunner().invoke(app, ["watchdog"])
    assert silent.exit_code == 1
    assert silent.output.startswith("The platform has never looked at itself")
    assert len(silent.output.splitlines()) == 1
    beat(platform_at(tmp_path), now=LiveClock().now())
    well = CliRunner().invoke(app, ["watchdog"])
    assert (well.exit_code, well.output) == (0, "The platform looks at itself.\n")
