import json
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.breaker import Breaker
from gnn_assets.core.errors import AccessRefused, BadSymbol, Malformed, NoData, Throttled, UnknownSymbol, Upstream
from gnn_assets_tests.bars.asking import FAILOVER, HandClock, failover

DOWN = Upstream("down")
ANSWERS = [None, NoData("none"), UnknownSymbol("who")]
FAULTS = [DOWN, Throttled("slower"), Malformed("what")]


def breaker_on(clock, **changed):
    return Breaker(failover(**changed), monotonic=clock.monotonic)


def opened_on(clock):
    breaker = breaker_on(clock)
    for _ in range(FAILOVER.breaker_failures):
        breaker.record(DOWN)
    assert breaker.state == "open"
    return breaker


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fifth_failed_ask_in_a_row_opens_it(fault):
    breaker = breaker_on(HandClock())
    for _ in range(4):
        breaker.record(fault)
        assert (breaker.state, breaker.reason) == ("closed", "")
    breaker.record(fault)
    assert breaker.state == "open"
    assert breaker.reason == "circuit open for another 30 s (failed asks in a row: 5)"


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_ends_the_row(answer):
    breaker = breaker_on(HandClock())
    for _ in range(5):
        for _ in range(4):
            breaker.record(DOWN)
        breaker.record(answer)
    assert breaker.state == "closed"


@pytest.mark.parametrize("answer", [NoData("none"), UnknownSymbol("who"), BadSymbol("?")])
def test_that_a_symbol_has_no_data_is_no_failure(answer):
    breaker = breaker_on(HandClock())
    for _ in range(100):
        breaker.record(answer)
    assert breaker.state == "closed"


def test_a_refused_symbol_was_never_asked_for_and_ends_no_row():
    breaker = breaker_on(HandClock())
    for fault in [DOWN] * 4 + [BadSymbol("?"), DOWN]:
        breaker.record(fault)
    assert breaker.state == "open"


def test_a_refused_key_opens_it_at_once_and_for_the_rest_of_the_process():
    clock = HandClock()
    breaker = breaker_on(clock)
    breaker.record(AccessRefused("no"))
    clock.pass_by(1e9)
    assert breaker.state == "open"
    assert breaker.reason == "circuit open for the rest of this run (access refused)"
    later = Breaker.from_dict(breaker.to_dict(now=clock.now()), FAILOVER, now=clock.now(), monotonic=clock.monotonic)
    assert later.state == "closed"


def test_the_third_slow_answer_in_a_row_opens_it():
    breaker = breaker_on(HandClock())
    for slow in (1, 2):
        breaker.record(None, slow_in_a_row=slow)
        assert breaker.state == "closed"
    breaker.record(None, slow_in_a_row=3)
    assert breaker.state == "open"
    assert "slower than 2 s: 3" in breaker.reason


def test_three_tries_that_timed_out_open_it_before_five_asks_have():
    breaker = breaker_on(HandClock())
    breaker.record(DOWN, slow_in_a_row=3)
    assert breaker.state == "open"


def test_after_the_pause_it_lets_a_probe_through_whose_good_answer_closes_it():
    clock = HandClock()
    breaker = opened_on(clock)
    clock.pass_by(29.9)
    assert breaker.state == "open"
    clock.pass_by(0.1)
    assert breaker.state == "half_open"
    breaker.record(None)
    assert (breaker.state, breaker.reason) == ("closed", "")
    for _ in range(4):
        breaker.record(DOWN)
    assert breaker.state == "closed"


def test_each_failed_probe_doubles_the_pause_up_to_the_longest_and_a_good_one_makes_it_short_again():
    clock = HandClock()
    breaker = opened_on(clock)
    for pause in (30, 60, 120, 240, 480, 900, 900):
        clock.pass_by(pause - 0.5)
        assert breaker.state == "open"
        clock.pass_by(0.5)
        assert breaker.state == "half_open"
        breaker.record(DOWN)
    assert breaker.to_dict(now=clock.now())["pause_seconds"] == 900
    clock.pass_by(900)
    breaker.record(NoData("none"))
    for _ in range(5):
        breaker.record(DOWN)
    clock.pass_by(30)
    assert breaker.state == "half_open"


def test_a_slow_answer_to_a_probe_opens_it_again():
    clock = HandClock()
    breaker = opened_on(clock)
    clock.pass_by(30)
    breaker.record(None, slow_in_a_row=1)
    assert breaker.state == "open"
    clock.pass_by(59)
    assert breaker.state == "open"


def test_a_failed_probe_opens_it_again_whatever_had_opened_it():
    clock = HandClock()
    breaker = breaker_on(clock)
    breaker.record(None, slow_in_a_row=3)
    clock.pass_by(30)
    breaker.record(DOWN)
    assert breaker.state == "open"


def test_a_refused_symbol_is_no_probe():
    clock = HandClock()
    breaker = opened_on(clock)
    clock.pass_by(30)
    breaker.record(BadSymbol("?"))
    assert breaker.state == "half_open"


@pytest.mark.parametrize(("told", "pause"), [(10.0, 30), (200.0, 200), (1e9, 900)])
def test_it_stays_open_as_long_as_the_source_wants_to_be_left_alone_within_the_longest_pause(told, pause):
    clock = HandClock()
    breaker = breaker_on(clock)
    for _ in range(5):
        breaker.record(Throttled("later", retry_after=told))
    clock.pass_by(pause - 0.5)
    assert breaker.state == "open"
    clock.pass_by(0.5)
    assert breaker.state == "half_open"


# From one process to the next


def restored(breaker, clock, *, at=None, after=timedelta(), config=FAILOVER):
    plain = json.loads(json.dumps(breaker.to_dict(now=at or clock.now())))
    return Breaker.from_dict(plain, config, now=clock.now() + after, monotonic=clock.monotonic)


def test_an_open_circuit_is_open_in_the_next_process_for_what_is_left_of_its_pause():
    clock = HandClock()
    breaker = opened_on(clock)
    clock.pass_by(10)
    assert datetime.fromisoformat(breaker.to_dict(now=clock.now())["open_until"]) == clock.now() + timedelta(seconds=20)
    later = restored(breaker, clock, after=timedelta(seconds=15))
    assert later.state == "open"
    assert later.reason == "circuit open for another 5 s (failed asks in a row: 5)"
    clock.pass_by(5)
    assert later.state == "half_open"
    later.record(DOWN)
    clock.pass_by(59)
    assert later.state == "open"  # the pause goes on doubling
    clock.pass_by(1)
    assert later.state == "half_open"


def test_a_row_of_failures_goes_on_in_the_next_process():
    clock = HandClock()
    breaker = breaker_on(clock)
    for _ in range(4):
        breaker.record(DOWN)
    later = restored(breaker, clock)
    assert later.state == "closed"
    later.record(DOWN)
    assert later.state == "open"


def test_a_clock_set_back_a_day_shuts_it_for_the_longest_pause_at_most():
    clock = HandClock()
    later = restored(opened_on(clock), clock, after=timedelta(days=-1))
    clock.pass_by(FAILOVER.max_pause_seconds - 1)
    assert later.state == "open"
    clock.pass_by(1)
    assert later.state == "half_open"


def test_a_clock_set_forward_a_day_lets_a_probe_through_and_no_more():
    clock = HandClock()
    later = restored(opened_on(clock), clock, after=timedelta(days=1))
    assert later.state == "half_open"
    later.record(DOWN)
    assert later.state == "open"


@pytest.mark.parametrize("days", [-1, 1])
def test_a_step_of_the_wall_clock_changes_nothing_within_a_process(days):
    clock = HandClock()
    breaker = opened_on(clock)
    clock.pass_by(10)
    clock.stepped = timedelta(days=days)
    assert breaker.to_dict(now=clock.now())["open_until"] == (clock.now() + timedelta(seconds=20)).isoformat()
    clock.pass_by(19.9)
    assert breaker.state == "open"
    clock.pass_by(0.1)
    assert breaker.state == "half_open"


_EVENTS = st.lists(
    st.tuples(st.sampled_from([*ANSWERS, *FAULTS, BadSymbol("?")]), st.integers(0, 4), st.floats(0, 1000)), max_size=60
)


@settings(max_examples=200, deadline=None)
@given(_EVENTS, st.integers(-100_000, 100_000))
def test_it_never_stays_shut_longer_than_the_longest_pause_and_never_opens_without_a_cause(events, step):
    clock = HandClock()
    breaker = breaker_on(clock)
    failures = 0
    for fault, slow, seconds in events:
        if breaker.state == "open":
            clock.pass_by(seconds)
            continue
        closed = breaker.state == "closed"
        failures = failures + 1 if fault in FAULTS else failures if isinstance(fault, BadSymbol) else 0
        breaker.record(fault, slow_in_a_row=slow)
        if closed and breaker.state == "open":
            assert failures >= FAILOVER.breaker_failures or slow >= FAILOVER.breaker_slow_answers
        if closed and failures >= FAILOVER.breaker_failures:
            assert breaker.state == "open"
    for survivor in (breaker, restored(breaker, clock, after=timedelta(seconds=step))):
        assert survivor.state in {"closed", "open", "half_open"}
        assert bool(survivor.reason) == (survivor.state != "closed")
    survivor = restored(breaker, clock, after=timedelta(seconds=step))
    clock.pass_by(FAILOVER.max_pause_seconds)
    assert breaker.state != "open"
    assert survivor.state != "open"
