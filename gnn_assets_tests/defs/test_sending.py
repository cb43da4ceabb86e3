"""From the ledger to people: the next channel where one is dead, at least once whoever is killed, and no secret on the way."""

import os
import signal
import subprocess
import sys
import threading
import traceback

import dagster as dg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from gnn_assets.cli import app
from gnn_assets.core.clock import LiveClock
from gnn_assets.core.errors import ConfigError, CorruptArtefact
from gnn_assets.core.settings import read_settings
from gnn_assets.defs.alert_commands import send_again, show, try_channels
from gnn_assets.defs.alerting import check_channels, look, outbox_now, secrets_of_environment, send
from gnn_assets.defs.alerting import tell as telling
from gnn_assets.defs.heartbeat import read_heartbeat
from gnn_assets.defs.resources import Platform
from gnn_assets.store.files import locked
from gnn_assets_tests.defs.alert_home import damage, everyone, platform_at, run_assets, store_sources
from gnn_assets_tests.monitoring.services import Answer, free_port, mail_server, services

DEAD_AT_ONCE = {"attempts": 1, "last_attempts": 1, "group_seconds": 0}


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as made:
        yield made


@pytest.fixture
def server():
    with services() as made:
        yield made


def hook(port: int, path: str = "hook") -> str:
    return f"json://127.0.0.1:{port}/{path}"


def tell(platform: Platform, instance) -> None:
    """One look, in which what is new is told, and one sending."""
    now = LiveClock().now()
    look(platform, instance, now=now)
    send(platform, now=now)


def titles(server) -> list[str]:
    return [request.json["title"] for request in server.asked]


def test_a_message_is_sent_once_by_the_first_channel_of_its_route(tmp_path, instance, server):
    with services() as other:
        channels = {"team": hook(server.port), "other": hook(other.port)}
        platform = platform_at(tmp_path / "home", channels=channels, group_seconds=0, **everyone("team", "other"))
        store_sources(platform, massive="open")
        for _ in range(3):
            tell(platform, instance)
        store_sources(platform, massive="closed")
        tell(platform, instance)
        assert titles(server) == ["[warning] source_open: massive", "[resolved] source_open: massive"]
        assert other.asked == []


@pytest.mark.parametrize("fault", ["port closed", "hangs", "not in the environment", "address of no known kind"])
def test_where_a_channel_is_dead_the_next_one_gets_the_message_and_the_death_is_entered(
    tmp_path, instance, server, fault
):
    with services() as slow:
        slow.answers[""] = Answer(delay=20)
        first = {
            "port closed": {"pager": hook(free_port())},
            "hangs": {"pager": hook(slow.port)},
            "not in the environment": {},
            "address of no known kind": {"pager": "gotify://host.example.com/secrettoken"},
        }
        channels = {**first[fault], "team": hook(server.port)}
        settings = {**DEAD_AT_ONCE, "timeout_seconds": 0.7, **everyone("pager", "team")}
        platform = platform_at(tmp_path / "home", channels=channels, **settings)
        store_sources(platform, massive="open")
        tell(platform, instance)
    assert titles(server) == ["[warning] source_open: massive"]
    (dead,) = [entry for entry in platform.ledger.read("alerts") if entry["entry"] == "dead"]
    assert dead["channel"] == "pager"
    ((message, fate),) = show(platform).messages
    assert fate == f"pager dead after 1: {dead['reason']}; taken by team"
    assert show(platform).dead_letters == ()
    assert message.title == "[warning] source_open: massive"


def test_what_nobody_takes_is_a_dead_letter_until_it_is_sent_again(tmp_path, instance, server):
    port = free_port()
    platform = platform_at(tmp_path / "home", channels={"team": hook(port)}, **DEAD_AT_ONCE, **everyone("team"))
    store_sources(platform, massive="open")
    tell(platform, instance)
    tell(platform, instance)
    assert [letter.title for letter in show(platform).dead_letters] == ["[warning] source_open: massive"]
    assert list(send_again(platform)) == ["message 1: team failed: not reached, or refused"]
    with services(port=port) as back:
        assert list(send_again(platform)) == ["message 1: taken by team"]
        assert titles(back) == ["[warning] source_open: massive"]
    assert list(send_again(platform)) == ["There is no dead letter."]


def test_without_a_route_it_is_entered_and_nobody_is_asked(tmp_path, instance, server):
    platform = platform_at(tmp_path / "home", channels={"team": hook(server.port)}, group_seconds=0)
    store_sources(platform, massive="open")
    tell(platform, instance)
    assert server.asked == []
    ((_, fate),) = show(platform).messages
    assert fate == "kept here alone: no route for its severity"


def test_two_senders_never_send_the_same_message(tmp_path, instance, server):
    platform = platform_at(tmp_path / "home", channels={"team": hook(server.port)}, group_seconds=0, **everyone("team"))
    server.answers[""] = Answer(delay=0.3)
    store_sources(platform, massive="open")
    now = LiveClock().now()
    look(platform, instance, now=now)
    senders = [threading.Thread(target=lambda: send(platform, now=now)) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(server.asked) == 1


def test_while_somebody_else_sends_nobody_waits_for_him(tmp_path, instance, server):
    platform = platform_at(tmp_path / "home", channels={"team": hook(server.port)}, group_seconds=0, **everyone("team"))
    store_sources(platform, massive="open")
    with locked(platform.data / "alerts" / ".sending.lock", timeout_seconds=0):
        tell(platform, instance)
        assert server.asked == []
    tell(platform, instance)
    assert len(server.asked) == 1


KILLED = """
from pathlib import Path
import sys
import dagster as dg
from gnn_assets.core.clock import LiveClock
from gnn_assets.defs.alerting import look, send
from gnn_assets_tests.defs.alert_home import everyone, platform_at
platform = platform_at(Path(sys.argv[1]), channels={"team": sys.argv[2]}, group_seconds=0, **everyone("team"))
with dg.DagsterInstance.ephemeral() as instance:
    now = LiveClock().now()
    look(platform, instance, now=now)
    send(platform, now=now)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("failpoint", "sendings"), [("alerts:sent", 2), ("alerts:entered", 1)])
def test_who_is_killed_at_any_step_loses_nothing_and_sends_twice_at_most(
    tmp_path, instance, server, failpoint, sendings
):
    channels = {"team": hook(server.port)}
    platform = platform_at(tmp_path / "home", channels=channels, group_seconds=0, **everyone("team"))
    store_sources(platform, massive="open")
    command = [sys.executable, "-c", KILLED, str(platform.settings.home), hook(server.port)]
    killed = subprocess.run(command, env={**os.environ, "GNN_ASSETS_FAILPOINT": failpoint}, check=False)
    assert killed.returncode == -signal.SIGKILL
    tell(platform, instance)
    assert titles(server) == ["[warning] source_open: massive"] * sendings
    assert outbox_now(platform).sent == {1: "team"}


# ---- where nothing can be entered ------------------------------------------------------------------------------------


def test_where_nothing_can_be_entered_that_is_told_once_and_there_is_no_heartbeat(tmp_path, instance, server):
    channels = {"pager": hook(free_port()), "team": hook(server.port)}
    platform = platform_at(tmp_path / "home", channels=channels, **DEAD_AT_ONCE, **everyone("pager", "team"))
    store_sources(platform, massive="open")
    telling(platform, instance)
    heartbeat = read_heartbeat(platform)
    damage(platform.ledger, "alerts")
    for _ in range(3):
        with pytest.raises(CorruptArtefact):
            telling(platform, instance)
    assert titles(server) == ["[warning] source_open: massive", "[critical] cannot_tell: the ledger of alerts"]
    assert "alerts.jsonl, line 1" in server.asked[1].json["message"]
    assert read_heartbeat(platform) == heartbeat


# ---- secrets -------------------------------------------------------------------------------------------------------

KEY = "vendor-key-0f9e8d7c6b"
TOKENS = {"path": "tokenpath55512", "user": "hookuser777", "password": "hookpass888"}


@pytest.mark.parametrize("status", [200, 500])
def test_no_secret_is_in_a_message_a_ledger_or_a_line_of_output(
    tmp_path, server, monkeypatch, capfd, *, status, caplog
):
    caplog.set_level("DEBUG")
    address = f"json://{TOKENS['user']}:{TOKENS['password']}@127.0.0.1:{server.port}/{TOKENS['path']}"
    channels = {"pager": f"slack://T1JJ3T3L2/A1BRTD4JD/{'S' * 24}", "team": address}
    server.answers[""] = Answer(status=status, body=f"{address} {KEY}".encode())
    platform = platform_at(tmp_path / "home", channels=channels, **DEAD_AT_ONCE, **everyone("pager", "team"))
    platform.settings = platform.settings.model_copy(update={"massive_key": SecretStr(KEY)})
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free_port()}")
    secrets = [KEY, *TOKENS.values(), "S" * 24]
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        # What is wrong is told by somebody who repeats every secret.
        look(platform, instance, now=LiveClock().now())
        said = " and ".join([*secrets, *channels.values()])
        reason = {"event": "mirror_failed", "asset": "mlflow_mirror", "reason": f"refused: {said}"}
        platform.ledger.append("events", reason)
        tell(platform, instance)
    told = b"".join(request.body for request in server.asked) + (platform.ledger.folder / "alerts.jsonl").read_bytes()
    assert b"mirror_failed" in told
    assert b"***" in told
    out = capfd.readouterr()
    everything = told + (caplog.text + out.out + out.err + repr(show(platform)) + repr(list(_tried(platform)))).encode()
    assert [secret for secret in secrets if secret.encode() in everything] == []
    assert set(secrets) <= set(secrets_of_environment(platform))
    assert len(server.asked) >= 1


def test_what_a_condition_is_known_by_is_never_redacted(tmp_path, instance):
    channels = {"team": "json://hooks.example.com/gnn_weights/run_failed"}
    platform = platform_at(tmp_path / "home", channels=channels)
    run_assets(instance, ["gnn_weights"])
    (found,) = look(platform, instance, now=LiveClock().now()).conditions
    assert (found.name, found.subject) == ("run_failed/gnn_weights", "gnn_weights")
    # What somebody else said may hold the address.
    assert "gnn_weights" not in found.sentence


def _tried(platform: Platform):
    return [f"{name}: {failure}" for name, failure in try_channels(platform)]


# ---- commands ------------------------------------------------------------------------------------------------------


def test_every_channel_is_tried_and_a_service_that_keeps_incidents_is_told_that_the_test_is_over(tmp_path, monkeypatch):
    with services(monkeypatch) as server, mail_server() as (port, taken):
        channels = {
            "pager": "pagerduty://integrationkey0123@apikey4567890123",
            "mail": f"mailto://127.0.0.1:{port}?from=platform@example.com&to=team@example.com",
            "gone": hook(free_port()),
        }
        platform = platform_at(tmp_path / "home", channels=channels)
        assert dict(try_channels(platform)) == {"pager": "", "mail": "", "gone": "not reached, or refused"}
        assert [request.json["event_action"] for request in server.asked] == ["trigger", "resolve"]
        assert len(taken.mails) == 1


def test_a_route_to_a_channel_that_is_not_there_is_refused_by_name(tmp_path):
    platform = platform_at(tmp_path / "home", channels={"team": hook(1)}, routes={"critical": ["pager"]})
    with pytest.raises(ConfigError, match=r"alerts\.routes\.critical: expected channels .*\(team\), was 'pager'"):
        check_channels(platform)


def test_routes_are_told_in_order(tmp_path):
    platform = platform_at(
        tmp_path / "home",
        channels={"pager": hook(1), "team": hook(2)},
        routes={"critical": ["pager", "team"], "warning": ["team"]},
    )
    assert check_channels(platform) == "alerts: critical by pager, then team; warning by team; info by nobody"


@pytest.mark.parametrize("told", ["secretpath123", '{"team": 1}', '["secretpath123"]', '{"Team!": "secretpath123"}'])
def test_channels_that_cannot_be_read_are_refused_without_repeating_them(monkeypatch, told):
    monkeypatch.setenv("GNN_ASSETS_ALERTS", told)
    with pytest.raises(ConfigError, match="GNN_ASSETS_ALERTS: expected channels as JSON") as refused:
        read_settings()
    # Nor by what it was raised from, which a log would show.
    shown = "".join(traceback.format_exception(refused.value))
    assert "secretpath123" not in shown


def test_the_command_shows_what_is_wrong_tries_channels_and_sends_again(tmp_path, instance, server, monkeypatch):
    told = {
        "PROFILE": "test",
        "HOME": str(tmp_path / "home"),
        "ALERTS": f'{{"team": "{hook(server.port, "secretpath123")}"}}',
        "CONFIG__ALERTS__ROUTES__WARNING": '["team"]',
        "CONFIG__ALERTS__PRIVATE_HOSTS": '["127.0.0.1"]',
    }
    for name, value in told.items():
        monkeypatch.setenv(f"GNN_ASSETS_{name}", value)
    dead = {"team": hook(free_port())}
    platform = platform_at(tmp_path / "home", channels=dead, **DEAD_AT_ONCE, **everyone("team"))
    run_assets(instance, ["returns"])
    tell(platform, instance)

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["alerts", *arguments])
        assert result.exit_code == 0, result.output
        assert "secretpath123" not in result.output
        return result.output

    shown = said()
    assert shown.startswith("open: 1\n  warning since ")
    assert "run_failed returns: " in shown
    assert "[warning] run_failed: returns: team dead after 1: not reached, or refused" in shown
    assert "1 dead letters; `gnn-assets alerts --resend` sends them again." in shown
    assert said("--test") == "team: works\n"
    assert said("--resend") == "message 1: taken by team\n"
    assert "taken by team" in said()
    server.answers[""] = Answer(status=500)
    failing = CliRunner().invoke(app, ["alerts", "--test"])
    assert (failing.exit_code, failing.output) == (1, "team: answered HTTP 500\n")
