"""Silence is noticed: by the machine's own timer, and by a dead man's switch that is asked no more."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from gnn_assets.cli import app
from gnn_assets.core.clock import LiveClock
from gnn_assets.core.errors import ConfigError, DiskFull, LockTimeout
from gnn_assets.defs import shouting
from gnn_assets.defs.alert_commands import watch
from gnn_assets.defs.alerting import tell
from gnn_assets.defs.heartbeat import beat, read_heartbeat, silence
from gnn_assets.store.files import locked
from gnn_assets.store.ledger import Ledger
from gnn_assets_tests.defs.alert_home import damage, everyone, platform_at, store_sources
from gnn_assets_tests.monitoring.services import Answer, free_port, services

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


def test_a_heartbeat_of_the_future_is_silence_and_asks_the_address_again(tmp_path):
    with services() as server:
        platform = platform_at(tmp_path)
        platform.settings = platform.settings.model_copy(
            update={"alerts_heartbeat": SecretStr(f"http://127.0.0.1:{server.port}/uuid-4711")}
        )
        beat(platform, now=NOW + timedelta(days=1))
        assert silence(platform, now=NOW).startswith("The platform may be silent: its last heartbeat is of 2026-03-03")
        # Two clocks are never quite the same.
        assert silence(platform, now=NOW + timedelta(days=1, seconds=-2)) == ""
        beat(platform, now=NOW)
        assert len(server.asked) == 2
    assert silence(platform, now=NOW) == ""


def test_while_nobody_hears_of_what_is_wrong_the_address_is_not_asked_and_the_file_is_written(tmp_path):
    with services() as server, dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        settings = {"group_seconds": 0, "attempts": 1, "last_attempts": 1, "heartbeat_seconds": 0.001}
        dead = {"team": f"json://127.0.0.1:{free_port()}/"}
        platform = platform_at(tmp_path / "home", channels=dead, **settings, **everyone("team"))
        platform.settings = platform.settings.model_copy(
            update={"alerts_heartbeat": SecretStr(f"http://127.0.0.1:{server.port}/uuid-4711")}
        )
        tell(platform, instance)
        assert len(server.asked) == 1
        store_sources(platform, massive="open")
        before = read_heartbeat(platform).at
        tell(platform, instance)
        tell(platform, instance)
        assert len(server.asked) == 1
        assert read_heartbeat(platform).at > before
        store_sources(platform, massive="closed")
        tell(platform, instance)
        assert len(server.asked) == 2


# ---- a watchdog that cannot tell -------------------------------------------------------------------------------------


def watching(home, port: int, **changed):
    channels = {"team": f"json://127.0.0.1:{port}/"}
    told = {"group_seconds": 0, "attempts": 1, "last_attempts": 1, "pause_seconds": 0.01, **everyone("team"), **changed}
    return platform_at(home, channels=channels, **told)


def another_process(platform) -> None:
    shouting._SAID.clear()


@pytest.mark.parametrize("fault", ["damaged", "full", "locked", "sending elsewhere"])
def test_a_watchdog_that_cannot_enter_or_send_says_so_by_the_channels_once_an_hour(tmp_path, monkeypatch, fault):
    with services() as server, ExitStack() as held:
        platform = watching(tmp_path, server.port)
        if fault == "damaged":
            platform.ledger.append("alerts", {"entry": "started", "at": NOW.isoformat(), "event": "", "session": ""})
            platform.ledger.append("alerts", {"entry": "sent", "at": NOW.isoformat(), "message": 9, "channel": "team"})
            damage(platform.ledger, "alerts")
        elif fault == "sending elsewhere":
            held.enter_context(locked(platform.data / "alerts" / ".sending.lock", timeout_seconds=0))
        else:

            def broken(*_given, **_named):
                kind = {"full": DiskFull, "locked": LockTimeout}[fault]
                raise kind.of("alerts", expected="a line more", was=fault, do="see to it")

            monkeypatch.setattr(Ledger, "append", broken)
        for _ in range(3):
            assert "The alert did not go the usual way" in watch(platform)
            another_process(platform)
        assert [request.json["title"] for request in server.asked] == ["[critical] silence: platform"]
        assert "never looked at itself" in server.asked[0].json["message"]
        (stamp,) = platform.data.rglob(".said_silence")
        os.utime(stamp, (time.time() - 3601,) * 2)
        watch(platform)
        assert len(server.asked) == 2


def test_when_it_was_said_is_known_where_the_home_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shouting.tempfile, "gettempdir", lambda: str(tmp_path))
    with services() as server:
        platform = watching(tmp_path / "home", server.port)
        platform.data.mkdir(parents=True)
        (platform.data / "alerts").touch()
        for _ in range(2):
            shouting.shout(platform, "silence", "platform", "gone", now=NOW, secrets=())
            another_process(platform)
        assert len(server.asked) == 1
        # Said later than now: the clock was set back, and it is said again.
        shouting.shout(platform, "silence", "platform", "gone", now=NOW - timedelta(days=1), secrets=())
        assert len(server.asked) == 2


def test_a_silence_that_no_channel_takes_is_tried_again_until_one_does(tmp_path):
    port = free_port()
    platform = watching(tmp_path, port)
    assert "no channel took it" in watch(platform)
    with services(port=port) as back:
        watch(platform)
        watch(platform)
        assert [request.json["title"] for request in back.asked] == ["[critical] silence: platform"]


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
