import contextlib
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.guard import RequestGuard
from gnn_assets.core.errors import AccessRefused, Malformed, NoData, Throttled, UnknownSymbol, Upstream
from gnn_assets_tests.bars.asking import FAILOVER as BOUNDS
from gnn_assets_tests.bars.asking import START, HandClock, WebSource, answer, failover, rate, reset, server


def guard_on(clock, *, allowed=None, config=BOUNDS, **how):
    return RequestGuard(allowed, config, sleep=clock.sleep, monotonic=clock.monotonic, **how)


class Script:
    """Does what it says on the n-th call: raises an error, or takes so many seconds and answers."""

    def __init__(self, clock, *steps):
        self.clock, self.steps, self.hits = clock, list(steps), []

    def __call__(self):
        self.hits.append(self.clock.moment)
        step = self.steps.pop(0) if self.steps else 0.0
        if isinstance(step, tuple):
            seconds, step = step
            self.clock.pass_by(seconds)
        if isinstance(step, Exception):
            raise step
        self.clock.pass_by(step)
        return "answer"


def down():
    return Upstream("down")


# Trying again


@pytest.mark.parametrize("error", [down(), Throttled("slower")])
def test_a_fault_that_may_pass_is_tried_again_until_it_has(error):
    clock = HandClock()
    guard = guard_on(clock)
    assert guard(Script(clock, error, error)) == "answer"
    assert (guard.requests, guard.retries) == (3, 2)


@pytest.mark.parametrize(
    "error", [AccessRefused("no"), Malformed("what"), NoData("none"), UnknownSymbol("who"), KeyError()]
)
def test_a_fault_that_will_not_pass_is_asked_once(error):
    clock = HandClock()
    guard = guard_on(clock)
    with pytest.raises(type(error)) as raised:
        guard(Script(clock, error))
    assert raised.value is error
    assert (guard.requests, guard.retries, clock.sleeps) == (1, 0, [])


def test_an_interrupt_passes_at_once():
    clock = HandClock()
    guard = guard_on(clock)

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard(interrupted)
    assert guard.requests == 1


def test_after_the_last_try_the_last_error_is_raised_as_it_was():
    clock = HandClock()
    errors = [Upstream(f"down {n}") for n in range(BOUNDS.attempts)]
    script = Script(clock, *errors)
    with pytest.raises(Upstream) as raised:
        guard_on(clock)(script)
    assert raised.value is errors[-1]
    assert len(script.hits) == BOUNDS.attempts == 3


def test_pauses_are_drawn_between_nothing_and_a_ceiling_that_doubles_up_to_the_longest():
    drawn = []

    def uniform(low, high):
        drawn.append((low, high))
        return high

    clock = HandClock()
    guard = guard_on(clock, config=failover(attempts=9, retry_budget=8), uniform=uniform)
    guard(Script(clock, *[down()] * 8))
    assert drawn == [(0, 0.5), (0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (0, 30), (0, 30)]
    assert clock.sleeps == [high for _, high in drawn]
    assert guard.waited_seconds == sum(clock.sleeps)


def test_jitter_spreads_the_second_try_over_the_whole_of_the_first_pause():
    pauses = []
    for _ in range(300):
        clock = HandClock()
        guard_on(clock)(Script(clock, down()))
        pauses += clock.sleeps
    assert len(pauses) == 300
    assert 0 <= min(pauses) < 0.1
    assert 0.4 < max(pauses) <= 0.5


# Retry-After


@pytest.mark.parametrize("kind", [Throttled, Upstream])
def test_a_retry_after_is_waited_for(kind):
    clock = HandClock()
    script = Script(clock, kind("later", retry_after=20.0))
    guard_on(clock)(script)
    first, second = script.hits
    assert second - first == pytest.approx(20.0)


def test_a_retry_after_longer_than_the_longest_pause_gives_up_at_once():
    clock = HandClock()
    script = Script(clock, Throttled("later", retry_after=30.1))
    with pytest.raises(Throttled, match="later"):
        guard_on(clock)(script)
    assert (len(script.hits), clock.sleeps) == (1, [])


def test_a_retry_after_holds_for_the_next_request_too():
    clock = HandClock()
    script = Script(clock, *[Throttled("later", retry_after=20.0)] * 3)
    guard = guard_on(clock)
    with pytest.raises(Throttled):
        guard(script)
    assert guard(script) == "answer"
    gaps = [later - earlier for earlier, later in zip(script.hits, script.hits[1:], strict=False)]
    assert gaps == pytest.approx([20.0] * 3)


def test_while_a_long_retry_after_lasts_requests_are_refused_unsent():
    clock = HandClock()
    script = Script(clock, Throttled("later", retry_after=300.0))
    guard = guard_on(clock)
    with pytest.raises(Throttled, match="later"):
        guard(script)
    clock.pass_by(100)
    with pytest.raises(Throttled, match=r"not sent.* 200 s") as refused:
        guard(script)
    assert refused.value.retry_after == pytest.approx(200.0)
    assert (len(script.hits), guard.requests, guard.retries, clock.sleeps) == (1, 1, 0, [])
    clock.pass_by(180)
    assert guard(script) == "answer"
    assert script.hits[1] - script.hits[0] == pytest.approx(300.0)


def test_no_retry_after_shuts_a_source_for_longer_than_the_longest_pause_of_all():
    clock = HandClock()
    script = Script(clock, Throttled("later", retry_after=float("inf")))
    guard = guard_on(clock)
    with pytest.raises(Throttled):
        guard(script)
    clock.pass_by(BOUNDS.max_pause_seconds)
    assert guard(script) == "answer"


# Budget


def test_a_source_that_stays_down_uses_up_the_budget_and_is_then_asked_once_an_ask():
    clock = HandClock()
    script = Script(clock, *[down()] * 1000)
    guard = guard_on(clock)
    for _ in range(20):
        with pytest.raises(Upstream):
            guard(script)
    assert guard.requests == 20 + BOUNDS.retry_budget
    assert guard.retries == BOUNDS.retry_budget


def test_good_answers_fill_the_budget_again_and_not_above_its_size():
    clock = HandClock()
    config = failover(retry_budget=2, retry_refill=0.5, attempts=10)
    guard = guard_on(clock, config=config)
    for good_answers, further_tries in [(0, 2), (1, 0), (1, 1), (3, 1), (100, 2)]:
        for _ in range(good_answers):
            guard(Script(clock))
        before = guard.retries
        with pytest.raises(Upstream):
            guard(Script(clock, *[down()] * 10))
        assert guard.retries - before == further_tries


def test_that_a_symbol_has_no_data_is_a_good_answer_for_the_budget():
    clock = HandClock()
    guard = guard_on(clock, config=failover(retry_budget=1, retry_refill=1, attempts=2))
    for _ in range(3):
        guard(Script(clock, down()))
        with pytest.raises(NoData):
            guard(Script(clock, NoData("none")))
    assert guard.retries == 3


# Rate


def test_no_window_of_the_rate_sees_more_requests_than_it_allows():
    clock = HandClock()
    guard = guard_on(clock, allowed=rate(5, 60))
    script = Script(clock)
    for _ in range(23):
        guard(script)
    assert all(later - earlier > 60 for earlier, later in zip(script.hits, script.hits[5:], strict=False))
    assert script.hits[-1] - script.hits[0] < 4 * 61
    assert len(clock.sleeps) <= 4 * 3  # it sleeps through, instead of looking again and again


def test_further_tries_keep_to_the_rate():
    clock = HandClock()
    script = Script(clock, down(), down())
    guard_on(clock, allowed=rate(1, 10))(script)
    assert all(later - earlier > 10 for earlier, later in zip(script.hits, script.hits[1:], strict=False))


def test_the_rate_is_kept_in_real_time_without_a_thread():
    threads = threading.active_count()
    guard = RequestGuard(rate(2, 0.2), BOUNDS)
    start = time.monotonic()
    for _ in range(5):
        guard(lambda: None)
    assert time.monotonic() - start >= 0.4
    assert threading.active_count() <= threads


def test_what_the_rate_remembers_does_not_grow():
    clock = HandClock()
    guard = guard_on(clock, allowed=rate(3, 1))
    for _ in range(500):
        guard(Script(clock))
    assert guard._bucket.count() <= 4


# Slow answers


@pytest.mark.parametrize(
    ("steps", "slow"),
    [
        ([2.1, 2.1, 2.1], 3),
        ([2.1, 2.1, 0.1], 0),
        ([2.1, 0.1, 2.1], 1),
        ([2.0, 2.0], 0),
        ([2.1, (2.1, NoData("none"))], 2),
        ([2.1, (0.1, NoData("none"))], 0),
        ([2.1, (0.1, Malformed("what"))], 1),  # a fast error does not make a slow source fast
        ([2.1, (10.0, AccessRefused("no"))], 2),
    ],
)
def test_slow_answers_in_a_row_are_counted(steps, slow):
    clock = HandClock()
    guard = guard_on(clock, allowed=rate(100, 1))
    script = Script(clock, *steps)
    for _ in steps:
        with contextlib.suppress(NoData, Malformed, AccessRefused):
            guard(script)
    assert guard.slow_in_a_row == slow


def test_waiting_for_the_rate_is_no_slow_answer():
    clock = HandClock()
    guard = guard_on(clock, allowed=rate(1, 60))
    for _ in range(4):
        guard(Script(clock, 0.1))
    assert guard.waited_seconds > 100
    assert guard.slow_in_a_row == 0


def test_a_source_on_this_machine_is_neither_held_back_nor_called_slow():
    clock = HandClock()
    guard = guard_on(clock)
    for _ in range(10):
        guard(Script(clock, 60.0))
    assert (guard.slow_in_a_row, clock.sleeps, guard.requests) == (0, [], 10)


# All of it at once

_FAULTS = st.one_of(
    st.just(None),
    st.just("no data"),
    st.just("malformed"),
    st.tuples(st.sampled_from([Throttled, Upstream]), st.none() | st.floats(0, 1000)),
)
_STEPS = st.lists(st.tuples(st.floats(0, 5), _FAULTS), max_size=40)


def _raise(fault):
    if fault == "no data":
        raise NoData("none")
    if fault == "malformed":
        raise Malformed("what")
    if fault is not None:
        kind, told = fault
        raise kind("later", retry_after=told)


@settings(max_examples=300, deadline=None)
@given(
    steps=_STEPS,
    allowed=st.none() | st.builds(rate, st.integers(1, 4), st.sampled_from([0.5, 1.0, 60.0])),
    attempts=st.integers(1, 5),
    budget=st.integers(1, 6),
    refill=st.sampled_from([0.0, 0.25, 1.0]),
)
def test_whatever_a_source_does_tries_and_pauses_stay_within_the_declared_bounds(
    steps, allowed, attempts, budget, refill
):
    config = failover(attempts=attempts, retry_budget=budget, retry_refill=refill)
    clock = HandClock()
    guard = guard_on(clock, allowed=allowed, config=config)
    left = list(steps)
    sent, good, calls = [], 0, 0
    quiet_until = 0.0

    def send():
        nonlocal good, quiet_until
        assert clock.moment >= quiet_until - 1e-6, "sent while the source wanted to be left alone"
        seconds, fault = left.pop(0)
        sent.append(clock.moment)
        clock.pass_by(seconds)
        good += fault in (None, "no data")
        if isinstance(fault, tuple):
            quiet_until = clock.moment + min(fault[1] or 0.0, config.max_pause_seconds)
        _raise(fault)

    while left and calls < 100:
        calls += 1
        before, start, slept = len(sent), clock.moment, len(clock.sleeps)
        with contextlib.suppress(Throttled, Upstream, NoData, Malformed):
            guard(lambda: send() if left else None)
        assert len(sent) - before <= attempts
        if allowed is None:
            assert all(pause <= config.wait_max_seconds for pause in clock.sleeps[slept:])
        if len(sent) == before and clock.moment == start:
            clock.pass_by(50)  # refused unsent: somebody comes back later
    assert guard.requests <= calls + budget + refill * good
    assert guard.requests - guard.retries <= calls
    assert guard.waited_seconds == pytest.approx(sum(clock.sleeps))
    if allowed is not None:
        windows = zip(sent, sent[allowed.requests :], strict=False)
        assert all(later - earlier > allowed.per_seconds for earlier, later in windows)


# Over a real connection


def asked(port, clock):
    guard = guard_on(clock)
    source = WebSource("web", port, guard)
    return guard, source


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda handler, _: answer(handler, 503), Upstream),
        (lambda handler, _: reset(handler), Upstream),
        (lambda handler, _: answer(handler, 429), Throttled),
    ],
    ids=["503", "reset", "429"],
)
def test_a_server_that_stays_faulty_is_sent_the_declared_number_of_requests(act, expected):
    clock = HandClock()
    with server(act) as (port, paths):
        guard, source = asked(port, clock)
        with pytest.raises(expected):
            guard(lambda: source._send("AAA"))
        assert len(paths) == guard.requests == BOUNDS.attempts
    assert len(clock.sleeps) == BOUNDS.attempts - 1


def test_a_server_that_is_faulty_once_answers_at_the_second_try_and_its_retry_after_is_kept():
    def act(handler, number):
        answer(handler, 429, Retry_After="7") if number == 1 else answer(handler, 200)

    clock = HandClock()
    with server(act) as (port, paths):
        guard, source = asked(port, clock)
        guard(lambda: source._send("AAA"))
        assert len(paths) == 2
    assert sum(clock.sleeps) == pytest.approx(7)


def test_a_retry_after_told_as_a_date_is_kept():
    def act(handler, number):
        told = START.replace(second=9).strftime("%a, %d %b %Y %H:%M:%S GMT")
        answer(handler, 503, Retry_After=told) if number == 1 else answer(handler, 200)

    clock = HandClock()
    with server(act) as (port, _):
        guard, source = asked(port, clock)
        guard(lambda: source._send("AAA"))
    assert sum(clock.sleeps) == pytest.approx(9)
