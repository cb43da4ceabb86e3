"""By whom a message is taken: the first channel that lives, at least once, never silently by nobody."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.core.config import AlertsConfig, build_config
from gnn_assets.monitoring.outbox import Outbox, outbox_of, resend

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
ALERT = {
    "entry": "alert",
    "id": "0123456789abcdef",
    "number": 1,
    "at": NOW.isoformat(),
    "severity": "critical",
    "title": "[critical] run_failed: forecasts",
    "body": "it failed",
    "names": ["run_failed/forecasts"],
    "route": ["pager", "team"],
}
RESOLVE = {**ALERT, "entry": "resolve", "id": "fedcba9876543210", "number": 2, "resolves": 1}


@pytest.fixture(scope="module")
def config() -> AlertsConfig:
    return build_config("test", {"alerts": {"attempts": 3, "last_attempts": 5, "pause_seconds": 2}}).alerts


def turns(outbox: Outbox, config: AlertsConfig, *, after: float = 0) -> list[tuple[int, str]]:
    due = outbox.due(now=NOW + timedelta(seconds=after), config=config)
    return [(message.number, channel) for message, channel in due]


def answered(outbox: Outbox, config: AlertsConfig, failure: str, *, after: float = 0, **final: Any) -> str:
    """The first that is due is tried; what is entered of it."""
    now = NOW + timedelta(seconds=after)
    message, channel = outbox.due(now=now, config=config)[0]
    entry = outbox.answer(message, channel, failure, now=now, config=config, **final)
    outbox.enter(entry)
    return entry["entry"]


def test_the_first_channel_of_the_route_is_asked_and_once_it_took_the_message_nobody_else(config):
    outbox = outbox_of([ALERT])
    assert turns(outbox, config) == [(1, "pager")]
    assert answered(outbox, config, "") == "sent"
    assert turns(outbox, config, after=3600) == []
    assert outbox.dead_letters == []


def test_a_try_that_failed_is_made_again_after_pauses_that_double(config):
    outbox = outbox_of([ALERT])
    assert answered(outbox, config, "answered HTTP 500") == "failed"
    assert turns(outbox, config, after=1.9) == []
    assert answered(outbox, config, "answered HTTP 500", after=2) == "failed"
    assert turns(outbox, config, after=5.9) == []
    assert turns(outbox, config, after=6) == [(1, "pager")]


def test_after_the_last_try_the_channel_is_dead_and_the_next_one_is_asked_at_once(config):
    outbox = outbox_of([ALERT])
    assert [answered(outbox, config, "no", after=after) for after in (0, 2, 6)] == ["failed", "failed", "dead"]
    assert turns(outbox, config, after=6) == [(1, "team")]
    assert outbox.dead_letters == []


def test_where_no_further_try_can_help_the_channel_is_dead_at_the_first(config):
    outbox = outbox_of([ALERT])
    assert answered(outbox, config, "no channel of this name", final=True) == "dead"
    assert turns(outbox, config) == [(1, "team")]


def test_where_no_other_channel_is_left_it_is_tried_for_longer(config):
    outbox = outbox_of([{**ALERT, "route": ["team"]}])
    told = [answered(outbox, config, "no", after=after) for after in (0, 2, 6, 14, 30)]
    assert told == ["failed"] * 4 + ["dead"]
    assert [message.number for message in outbox.dead_letters] == [1]


def test_it_is_known_when_a_channel_with_another_behind_it_is_tried_again(config):
    outbox = outbox_of([ALERT])
    assert outbox.soon(now=NOW, config=config) is None
    answered(outbox, config, "no")
    assert outbox.soon(now=NOW, config=config) == NOW + timedelta(seconds=2)
    answered(outbox, config, "no", after=2, final=True)
    answered(outbox, config, "no", after=2)
    assert outbox.soon(now=NOW, config=config) is None


def test_a_message_dead_on_every_channel_is_a_dead_letter_and_is_sent_again_on_request(config):
    outbox = outbox_of([ALERT])
    assert [answered(outbox, config, "no", final=True) for _ in range(2)] == ["dead", "dead"]
    assert turns(outbox, config, after=3600) == []
    assert [message.number for message in outbox.dead_letters] == [1]
    (again,) = resend(outbox.dead_letters, now=NOW)
    outbox.enter(again)
    assert outbox.dead_letters == []
    assert turns(outbox, config) == [(1, "pager")]


@pytest.mark.parametrize(
    ("told", "unheard"),
    [({}, [1]), ({"severity": "warning"}, [1]), ({"severity": "info"}, []), ({"route": []}, [])],
)
def test_what_nobody_hears_of_is_a_dead_letter_of_more_than_news(config, told, unheard):
    outbox = outbox_of([{**ALERT, **told}])
    assert outbox.unheard == []
    while turns(outbox, config):
        answered(outbox, config, "no", final=True)
    assert [message.number for message in outbox.unheard] == unheard
    outbox.enter(RESOLVE)
    assert outbox.unheard == []
    while turns(outbox, config):
        answered(outbox, config, "no", final=True)
    # Nobody hears of the end either, which is no reason for an alarm.
    assert outbox.unheard == []


def test_what_resolves_waits_for_its_alert_and_goes_to_whom_took_it(config):
    outbox = outbox_of([ALERT, RESOLVE])
    assert turns(outbox, config) == [(1, "pager")]
    answered(outbox, config, "no", final=True)
    answered(outbox, config, "")
    assert turns(outbox, config) == [(2, "team")]
    assert outbox.messages[2].incident == outbox.messages[1].incident == ALERT["id"]


def test_without_a_route_nothing_is_sent_and_nothing_is_a_dead_letter(config):
    outbox = outbox_of([{**ALERT, "route": []}])
    assert turns(outbox, config) == []
    assert outbox.dead_letters == []


def test_the_worst_is_sent_first(config):
    mild = {**ALERT, "severity": "info", "number": 1, "id": "a" * 16}
    bad = {**ALERT, "severity": "critical", "number": 2, "id": "b" * 16}
    assert turns(outbox_of([mild, bad]), config) == [(2, "pager"), (1, "pager")]


@given(answers=st.lists(st.sampled_from(["", "no"]), max_size=12), kills=st.sets(st.integers(0, 12)))
def test_whatever_channels_answer_a_message_is_taken_once_or_a_dead_letter_and_never_forgotten(config, answers, kills):
    outbox, now, taken = outbox_of([ALERT]), NOW, 0
    for place, answer in enumerate(answers):
        due = outbox.due(now=now, config=config)
        if not due:
            break
        message, channel = due[0]
        taken += not answer
        if place not in kills:
            outbox.enter(outbox.answer(message, channel, answer, now=now, config=config))
        now += timedelta(hours=1)
    killed_after_taking = sum(place in kills for place, answer in enumerate(answers) if not answer)
    assert taken <= 1 + killed_after_taking
    states = [1 in outbox.sent, bool(outbox.dead_letters), bool(outbox.due(now=now, config=config))]
    assert sum(states) == 1
