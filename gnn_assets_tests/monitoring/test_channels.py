"""Each service gets its own format, incidents are closed, failures are told, and no address is ever repeated."""

import logging
import time
from datetime import UTC, datetime
from email import message_from_bytes
from typing import Any

import pytest

from gnn_assets.core.config import AlertsConfig, build_config
from gnn_assets.core.errors import ConfigError
from gnn_assets.monitoring.channels import Channel, ping
from gnn_assets.monitoring.outbox import Message
from gnn_assets_tests.monitoring.services import Answer, Services, free_port, mail_server, services

# apprise loads every service it knows, and one of their libraries an old module of Python's own.

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
TELEGRAM = "tgram://123456789:abcdefg_hijklmnop/12315544"
PAGERDUTY = "pagerduty://integrationkey0123@apikey4567890123"
OPSGENIE = "opsgenie://a1b2c3d4-0000-4000-8000-abcdefabcdef"
WEBHOOK = "jsons://ops:hunter2hunter2@alerts.example.com/hook/secretpath"
ADDRESSES = {"slack": SLACK, "tgram": TELEGRAM, "pagerduty": PAGERDUTY, "opsgenie": OPSGENIE, "webhook": WEBHOOK}
SECRETS = (
    *("TIiajkdnlazkcOXrIdevi7FQ", "abcdefg_hijklmnop", "integrationkey0123", "apikey4567890123"),
    *("a1b2c3d4-0000", "hunter2hunter2", "secretpath", "alerts.example.com"),
)
ALERT = Message(
    number=7,
    incident="0123456789abcdef",
    severity="critical",
    title="[critical] run_failed: forecasts",
    body="critical: run_failed forecasts: expected 20 rows, was <3> & *few* (run 4f2a9c31)",
    route=("team",),
    resolves=0,
    at=datetime(2026, 3, 2, tzinfo=UTC),
)
RESOLVE = Message(**{**vars(ALERT), "number": 8, "resolves": 7, "title": "[resolved] run_failed: forecasts"})


def config(**changed: Any) -> AlertsConfig:
    given = {"private_hosts": ["127.0.0.1"], "timeout_seconds": 5, **changed}
    return build_config("test", {"alerts": given}).alerts


@pytest.fixture
def loopback(monkeypatch):
    with services(monkeypatch) as made:
        yield made


def sent(loopback: Services, address: str, message: Message = ALERT) -> Any:
    """A message that was taken: the request it became."""
    before = len(loopback.asked)
    assert Channel.of("team", address).send(message, config=config()) == ""
    (request,) = loopback.asked[before:]
    return request


# ---- formats -------------------------------------------------------------------------------------------------------


def test_slack_gets_title_text_and_a_colour_for_the_severity(loopback):
    request = sent(loopback, SLACK)
    assert (request.host, request.path) == ("hooks.slack.com", SLACK.replace("slack://", "/services/"))
    (told,) = request.json["attachments"]
    assert told["title"] == ALERT.title
    assert "expected 20 rows, was &lt;3&gt; &amp;" in told["text"]
    assert told["color"] != sent(loopback, SLACK, RESOLVE).json["attachments"][0]["color"]


def test_telegram_gets_title_and_text(loopback):
    loopback.answers["api.telegram.org"] = Answer(body=b'{"ok": true, "result": {"message_id": 1}}')
    request = sent(loopback, TELEGRAM)
    assert (request.host, request.path) == ("api.telegram.org", "/bot123456789:abcdefg_hijklmnop/sendMessage")
    assert ALERT.title in request.json["text"]
    assert "expected 20 rows" in request.json["text"]


def test_pagerduty_opens_an_incident_and_resolves_the_same_one(loopback):
    opened, resolved = sent(loopback, PAGERDUTY).json, sent(loopback, PAGERDUTY, RESOLVE).json
    assert (opened["event_action"], resolved["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == resolved["dedup_key"] == ALERT.incident
    assert opened["payload"]["severity"] == "critical"
    assert opened["routing_key"] == resolved["routing_key"] == "integrationkey0123"


def test_opsgenie_opens_an_alert_and_closes_it_by_its_alias_also_from_another_process(loopback):
    loopback.answers["api.opsgenie.com"] = Answer(status=202, body=b'{"requestId": "43a29c5c-3dbf"}')
    opened, closed = sent(loopback, OPSGENIE), sent(loopback, OPSGENIE, RESOLVE)
    assert (opened.path, opened.json["alias"]) == ("/v2/alerts", ALERT.incident)
    assert (closed.method, closed.path) == ("POST", f"/v2/alerts/{ALERT.incident}/close?identifierType=alias")
    assert closed.headers["Authorization"] == opened.headers["Authorization"] == f"GenieKey {OPSGENIE[11:]}"


def test_a_webhook_gets_json(loopback):
    request = sent(loopback, WEBHOOK)
    assert (request.host, request.path) == ("alerts.example.com", "/hook/secretpath")
    assert request.json["title"] == ALERT.title
    assert request.json["message"] == ALERT.body
    assert request.json["type"] == "failure"


def test_a_mail_has_a_subject_and_a_text():
    with mail_server() as (port, taken):
        address = f"mailto://127.0.0.1:{port}?from=platform@example.com&to=team@example.com"
        assert Channel.of("mail", address).send(ALERT, config=config()) == ""
        ((to, content),) = taken.mails
    mail = message_from_bytes(content)
    assert to == ["team@example.com"]
    assert mail["Subject"] == ALERT.title
    texts = [part.get_payload(decode=True).decode() for part in mail.walk() if part.get_content_maintype() == "text"]
    assert any("expected 20 rows" in text for text in texts)


# ---- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_refusal_is_told_by_its_status_and_by_nothing_else(loopback, caplog, capfd, name, status):
    caplog.set_level(logging.DEBUG)
    loopback.answers.clear()
    loopback.answers[""] = Answer(status=status, body=f'{{"echo": "{ADDRESSES[name]}"}}'.encode())
    for message in (ALERT, RESOLVE):
        failure = Channel.of("team", ADDRESSES[name]).send(message, config=config())
        assert failure == f"answered HTTP {status}"
    said = caplog.text + "".join(capfd.readouterr())
    assert not [secret for secret in SECRETS if secret in said]


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_service_that_is_not_there_is_told_without_its_address(monkeypatch, caplog, capfd, name):
    caplog.set_level(logging.DEBUG)
    with services(monkeypatch):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
        monkeypatch.delenv("https_proxy")
        assert Channel.of("team", ADDRESSES[name]).send(ALERT, config=config()) == "not reached, or refused"
    said = caplog.text + "".join(capfd.readouterr())
    assert not [secret for secret in SECRETS if secret in said]


@pytest.mark.parametrize("answer", [Answer(delay=30), Answer(drip=0.2)], ids=["hangs", "drips"])
def test_one_that_takes_too_long_is_left_however_it_does_it(loopback, answer):
    loopback.answers[""] = answer
    begun = time.monotonic()
    failure = Channel.of("team", WEBHOOK).send(ALERT, config=config(timeout_seconds=0.8))
    assert failure in ("no answer within 0.8 s", "not reached, or refused")
    assert time.monotonic() - begun < 2.5


def test_a_mail_server_that_refuses_is_told():
    class Refusing:
        async def handle_DATA(self, *_given: Any) -> str:
            return "554 no"

    with mail_server(Refusing) as (port, _):
        address = f"mailto://127.0.0.1:{port}?from=platform@example.com&to=team@example.com"
        assert Channel.of("mail", address).send(ALERT, config=config()) == "not reached, or refused"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "slack://tokena",
        "https://example.com/hook",
        "gotify://host/secrettoken",
        "syslog://",
        "pagerduty://x",
    ],
)
def test_an_address_of_no_known_kind_is_refused_by_the_channels_name_and_never_repeated(address, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ConfigError) as refused:
        Channel.of("team", address)
    said = str(refused.value) + caplog.text + "".join(capfd.readouterr())
    assert "channel team" in said
    assert not address or address not in said


def test_a_channel_shown_shows_no_address():
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in repr(Channel.of("team", SLACK))


# ---- heartbeat -----------------------------------------------------------------------------------------------------


def test_a_ping_asks_its_address_and_tells_what_came_of_it(loopback):
    assert ping("https://hc.example.com/uuid-of-it", config=config()) == ""
    assert (loopback.asked[0].method, loopback.asked[0].path) == ("GET", "/uuid-of-it")
    loopback.answers["hc.example.com"] = Answer(status=503)
    assert ping("https://hc.example.com/uuid-of-it", config=config()) == "answered HTTP 503"
    assert ping("file:///etc/passwd", config=config()) == "its address is not of HTTP"
