"""One alert an episode, whatever happens: said once, resolved at most once, nothing lost, never too many."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gnn_assets.core.config import AlertsConfig, build_config
from gnn_assets.monitoring.alerts import Condition, remember, step, waits

START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def config(**changed: Any) -> AlertsConfig:
    return build_config("test", {"alerts": {"group_seconds": 3, "quiet_minutes": 5, **changed}}).alerts


def failed(subject: str = "gnn_weights", severity: Any = "warning", **changed: Any) -> Condition:
    return replace(Condition("run_failed", subject, severity, f"{subject} failed"), **changed)


def notice(key: str, kind: str = "promoted") -> Condition:
    return Condition(kind, "champion", "info", "better by rule refresh", lasts=False, key=key)


@dataclass
class People:
    """Who are told: a ledger, and a clock that a test moves."""

    config: AlertsConfig = field(default_factory=config)
    entries: list[dict[str, Any]] = field(default_factory=list)
    now: datetime = START

    def look(self, *conditions: Condition, after: float = 0, **looked: Any) -> list[dict[str, Any]]:
        """One look some seconds later; the messages it made."""
        self.now += timedelta(seconds=after)
        made = step(conditions, remember(self.entries), now=self.now, config=self.config, **looked)
        self.entries += made
        return [entry for entry in made if entry["entry"] in ("alert", "resolve")]

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["entry"] in ("alert", "resolve")]


@pytest.fixture
def people() -> People:
    return People()


# ---- episodes ------------------------------------------------------------------------------------------------------


def test_a_condition_is_told_once_however_long_it_lasts(people):
    assert people.look(failed()) == []
    (alert,) = people.look(failed(), after=3)
    assert alert["entry"] == "alert"
    assert all(people.look(failed(), after=3600) == [] for _ in range(48))


def test_its_end_is_told_once_and_says_what_is_over_and_how_long_it_was(people):
    people.look(failed())
    people.look(failed(), after=3)
    (resolve,) = people.look(after=117)
    assert (resolve["entry"], resolve["resolves"]) == ("resolve", 1)
    assert resolve["title"] == "[resolved] run_failed: gnn_weights"
    assert resolve["body"] == "Over after 2 min: run_failed gnn_weights."
    assert people.look(after=5) == []


def test_the_end_goes_by_the_route_that_the_beginning_went_by(people):
    people.look(failed())
    people.look(failed(), after=3)
    people.config = config(routes={"warning": ["team"]})
    assert people.look(after=5)[0]["route"] == []
    people.look(failed("other"), after=5)
    people.look(failed("other"), after=3)
    people.config = config(routes={"warning": ["pager"]})
    assert people.look(after=5)[0]["route"] == ["team"]


def test_fifty_that_begin_together_are_one_message_and_one_resolve(people):
    fifty = [failed(f"asset_{number:02d}") for number in range(50)]
    people.look(*fifty[:20])
    people.look(*fifty, after=1)
    (alert,) = people.look(*fifty, after=2)
    assert alert["title"] == "[warning] 50 alerts: 50 run_failed"
    lines = alert["body"].splitlines()
    assert len(lines) == people.config.subjects + 1
    assert lines[-1] == "and 40 more"
    assert people.look(*fifty[:1], after=10) == []
    (resolve,) = people.look(after=1)
    assert resolve["title"] == "[resolved] 50 alerts: 50 run_failed"
    assert resolve["body"].endswith("asset_09 and 40 more.")


def test_the_worst_is_said_first_and_gives_the_message_its_severity(people):
    people.look(failed("returns"), notice("1"), failed("forecasts", "critical"))
    (alert,) = people.look(failed("returns"), failed("forecasts", "critical"), after=3)
    assert alert["severity"] == "critical"
    assert [line.split(":")[0] for line in alert["body"].splitlines()] == ["critical", "warning", "info"]
    assert "2 run_failed, 1 promoted" in alert["title"]


def test_each_condition_has_one_line_and_a_short_one_and_the_title_has_one(people):
    long = failed("a\nb", sentence="Traceback:\n  line 1\r\n" + "x" * 1000)
    people.look(long, failed("c"))
    people.look(long, failed("c"), after=3)
    first, second = people.messages[0]["body"].splitlines()[-2:]
    assert first.startswith("warning: run_failed")
    assert len(first) < 350
    assert "Traceback: line 1 xxx" in first
    assert second == "warning: run_failed c: c failed"
    people.look(failed("d\ne"), long, failed("c"), after=5)
    people.look(failed("d\ne"), long, failed("c"), after=3)
    assert people.messages[1]["title"] == "[warning] run_failed: d e"


def test_a_notice_is_told_once_and_never_resolved(people):
    people.look(notice("event 1"))
    assert len(people.look(notice("event 1"), after=3)) == 1
    assert people.look(after=3600) == []
    assert people.look(notice("event 1"), after=3600) == []
    people.look(notice("event 1"), notice("event 2"), after=1)
    assert len(people.look(notice("event 2"), after=3)) == 1


def test_what_was_over_before_it_was_told_is_told_all_the_same_and_resolved(people):
    people.look(failed())
    assert people.look(after=1) == []
    (alert,) = people.look(after=2)
    (resolve,) = people.look(after=5)
    assert (alert["entry"], resolve["resolves"]) == ("alert", alert["number"])


def test_what_was_not_looked_at_is_not_over(people):
    people.look(failed())
    people.look(failed(), after=3)
    assert people.look(after=5, looked_at=lambda condition: condition.kind != "run_failed") == []
    assert len(people.look(after=5)) == 1


# ---- what comes and goes -------------------------------------------------------------------------------------------


def test_what_is_back_soon_before_all_of_its_message_is_over_goes_on_silently(people):
    people.look(failed("a"), failed("b"))
    people.look(failed("a"), failed("b"), after=3)
    assert people.look(failed("b"), after=5) == []
    assert people.look(failed("a"), failed("b"), after=299) == []
    assert people.look(failed("a"), failed("b"), after=3600) == []
    assert people.look(after=5)[0]["entry"] == "resolve"


def test_what_comes_back_later_is_told_whatever_of_its_message_is_still_there(people):
    forecasts, source = failed("forecasts", "critical"), failed("source")
    people.look(forecasts, source)
    people.look(forecasts, source, after=3)
    assert people.look(source, after=57) == []
    assert people.look(forecasts, source, after=300) == []
    (anew,) = people.look(forecasts, source, after=3)
    assert anew["names"] == ["run_failed/forecasts"]
    # What only one of the messages told of is not over for the other.
    assert people.look(forecasts, after=5) == []
    resolves = people.look(after=232)
    assert [resolve["resolves"] for resolve in resolves] == [1, 2]
    assert [resolve["body"].split(":")[0] for resolve in resolves] == ["Over after 10 min", "Over after 4 min"]


def test_what_flaps_within_the_quiet_minutes_opens_no_second_alert(people):
    people.look(failed())
    people.look(failed(), after=3)
    assert len(people.look(after=5)) == 1
    for _ in range(3):
        assert people.look(failed(), after=30) == []
        assert people.look(after=30) == []


def test_what_came_back_and_stays_is_told_anew_after_the_quiet_minutes(people):
    people.look(failed())
    people.look(failed(), after=3)
    people.look(after=5)
    assert people.look(failed(), after=60) == []
    assert people.look(failed(), after=299) == []
    people.look(failed(), after=1)
    assert [entry["entry"] for entry in people.look(failed(), after=3)] == ["alert"]


def test_what_comes_back_after_the_quiet_minutes_is_another_episode(people):
    people.look(failed())
    people.look(failed(), after=3)
    people.look(after=5)
    people.look(failed(), after=300)
    assert [entry["entry"] for entry in people.look(failed(), after=3)] == ["alert"]


# ---- throttle ------------------------------------------------------------------------------------------------------


def test_beyond_the_most_an_hour_alerts_wait_and_go_into_the_next_message_as_one():
    people = People(config(most_an_hour=2))
    for number in range(6):
        people.look(notice(f"event {number}"), after=10)
        people.look(after=3)
    assert len(people.messages) == 2
    (late,) = people.look(after=3600)
    assert late["title"].startswith("[info] 4 alerts")


def test_a_critical_one_is_never_held_back_and_takes_along_what_waits():
    people = People(config(most_an_hour=1))
    for number in range(3):
        people.look(notice(f"event {number}"), after=10)
        people.look(after=3)
    people.look(failed("forecasts", "critical"), after=1)
    (alert,) = people.look(failed("forecasts", "critical"), after=3)
    assert alert["title"].startswith("[critical] 3 alerts")


def test_the_wait_for_a_group_is_known(people):
    people.look(failed())
    assert waits(remember(people.entries), now=people.now, config=people.config) == 3
    people.look(failed(), after=3)
    assert waits(remember(people.entries), now=people.now, config=people.config) == 0


# ---- whatever happens ----------------------------------------------------------------------------------------------

NAMES = [failed("a"), failed("b", "critical"), failed("c", "info"), notice("1"), notice("2")]
LOOKS = st.lists(
    st.tuples(st.sets(st.integers(0, len(NAMES) - 1)), st.sampled_from([0, 1, 3, 60, 200, 300, 1800, 3600])),
    min_size=1,
    max_size=25,
)


def present(chosen: set[int]) -> list[Condition]:
    return [NAMES[place] for place in sorted(chosen)]


@settings(max_examples=150)
@given(looks=LOOKS, most=st.integers(1, 3))
def test_each_episode_is_told_once_resolved_at_most_once_and_none_is_lost(looks, most):
    people = People(config(most_an_hour=most))
    for chosen, after in looks:
        people.look(*present(chosen), after=after)
    # Time for all that waits.
    for _ in range(2):
        people.look(*present(looks[-1][0]), after=3700)
    begun = Counter(
        f"{told['kind']}/{told['key'] or told['subject']}"
        for entry in people.entries
        for told in entry.get("begun", ())
    )
    told = Counter(name for entry in people.messages for name in entry.get("names", ()))
    assert told == begun
    resolved = Counter(entry["resolves"] for entry in people.messages if entry["entry"] == "resolve")
    assert set(resolved.values()) <= {1}
    # Nothing is wrong for longer than the quiet time and the group without a message about it that is not resolved.
    memory = remember(people.entries)
    for episode in memory.open:
        assert not memory.messages[episode.message].resolved


@settings(max_examples=150)
@given(looks=LOOKS, most=st.integers(1, 3))
def test_there_are_never_more_messages_an_hour_than_the_most_and_the_critical_ones(looks, most):
    people = People(config(most_an_hour=most))
    for chosen, after in looks:
        people.look(*present(chosen), after=after)
    told = [entry for entry in people.messages if entry["entry"] == "alert"]
    for place, entry in enumerate(told):
        if entry["severity"] == "critical":
            continue
        hour = datetime.fromisoformat(entry["at"]) - timedelta(hours=1)
        assert sum(datetime.fromisoformat(other["at"]) > hour for other in told[:place]) < most
    assert len(people.messages) - len(told) <= len(told)


@settings(max_examples=150)
@given(looks=LOOKS, kills=st.sets(st.integers(0, 40)))
def test_who_is_killed_between_two_entries_goes_on_where_he_stopped(looks, kills):
    whole, killed = People(), People()
    for chosen, after in looks:
        whole.look(*present(chosen), after=after)
        killed.now += timedelta(seconds=after)
        while True:
            made = step(present(chosen), remember(killed.entries), now=killed.now, config=killed.config)
            dies = len(made) > 1 and len(killed.entries) in kills
            killed.entries += made[:1] if dies else made
            if not dies:
                break
    assert killed.messages == whole.messages


# What came back a while after its end was told is gone for a moment: it comes back as another episode, at once.
RELAPSES = [({0}, 0), ({0}, 3), (set(), 3), ({0}, 60), (set(), 200), ({0}, 200)]


@settings(max_examples=150)
@given(looks=LOOKS)
@example(looks=RELAPSES)
def test_whoever_looks_twice_at_once_sees_nothing_begin_come_back_or_end(looks):
    people = People()
    for chosen, after in looks:
        people.look(*present(chosen), after=after)
        again = step(present(chosen), remember(people.entries), now=people.now, config=people.config)
        assert [entry for entry in again if entry["entry"] == "seen"] == []


@given(looks=LOOKS)
def test_the_same_history_gives_the_same_entries(looks):
    first, second = People(), People()
    for chosen, after in looks:
        first.look(*present(chosen), after=after)
        second.look(*reversed(present(chosen)), after=after)
    assert first.messages == second.messages
