import time
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.breaker import Breaker
from gnn_assets.bars.failover import Need, Opened, gather
from gnn_assets.bars.fetched import Fetched
from gnn_assets.bars.guard import RequestGuard
from gnn_assets.core.errors import (
    AccessRefused,
    BadSymbol,
    ConfigError,
    Malformed,
    NoData,
    Throttled,
    UnknownSymbol,
    Upstream,
)
from gnn_assets.core.logs import LogFile, logging_to
from gnn_assets_tests.bars.asking import (
    FAILOVER,
    FIRST,
    LAST,
    HandClock,
    ScriptedSource,
    WebSource,
    answer,
    bars_of,
    opened,
    rate,
    reset,
    server,
)

BOTH = {"primary": (FIRST, LAST), "second": (FIRST, LAST)}


def needs_of(count, *, ranges=BOTH, exchange="XNYS"):
    return [Need(f"S{number:03}", exchange, ranges) for number in range(count)]


class Desk:
    """Where answers, refusals and progress end up."""

    def __init__(self):
        self.answers, self.refusals, self.told = [], [], []

    def gather(self, needs, chain, clock):
        return gather(
            needs,
            chain=chain,
            now=clock.now,
            on_answer=self.answers.append,
            on_refusal=lambda name, error: self.refusals.append((name, error)),
            progress=lambda *told: self.told.append(told),
            monotonic=clock.monotonic,
        )

    def stored(self):
        """Symbol → sources whose bars were handed on for it."""
        given = {}
        for answered in self.answers:
            for symbol in answered.fetched.bars["symbol"]:
                given.setdefault(symbol, []).append(answered.source)
        return given


def down(_):
    raise Upstream("down")


def asked_of(source):
    return [ask.symbols for _, ask in source.source.asks]


# Who is asked


def test_the_first_source_serves_everything_and_the_second_is_not_asked():
    clock, desk = HandClock(), Desk()
    chain = [opened("primary", clock), opened("second", clock)]
    gathered = desk.gather(needs_of(5), chain, clock)
    assert gathered.served == dict.fromkeys([f"S00{n}" for n in range(5)], "primary")
    assert gathered.failures == {}
    assert gathered.requests == {"primary": 5, "second": 0}
    assert desk.stored() == {symbol: [name] for symbol, name in gathered.served.items()}


def test_an_answer_says_who_gave_it_when_and_on_what_basis():
    clock, desk = HandClock(), Desk()
    desk.gather(needs_of(1), [opened("primary", clock, seconds=3.0)], clock)
    (answered,) = desk.answers
    assert (answered.source, answered.basis) == ("primary", "raw")
    assert answered.fetched_at == clock.now()
    assert (answered.ask.symbols, answered.ask.exchange) == (("S000",), "XNYS")
    assert (answered.ask.first, answered.ask.last) == (FIRST, LAST)


def test_an_answer_is_handed_on_before_the_next_ask():
    clock = HandClock()
    chain = [opened("primary", clock)]
    seen = []
    gather(
        needs_of(3),
        chain=chain,
        now=clock.now,
        on_answer=lambda answered: seen.append((answered.ask.symbols, len(chain[0].source.asks))),
        on_refusal=lambda *_: None,
        progress=lambda *_: None,
    )
    assert seen == [(("S000",), 1), (("S001",), 2), (("S002",), 3)]


def test_an_ask_holds_as_many_symbols_as_the_source_wants_in_their_order():
    clock, desk = HandClock(), Desk()
    primary = opened("primary", clock, at_once=4)
    desk.gather(needs_of(10), [primary], clock)
    assert [len(symbols) for symbols in asked_of(primary)] == [4, 4, 2]
    assert sum(asked_of(primary), ()) == tuple(need.symbol for need in needs_of(10))


def test_only_symbols_of_one_exchange_and_one_range_are_asked_for_together():
    clock, desk = HandClock(), Desk()
    primary = opened("primary", clock, at_once=100)
    longer = {"primary": (date(2020, 1, 2), LAST)}
    needs = [
        Need("A", "XNYS", BOTH),
        Need("B", "XKRX", BOTH),
        Need("C", "XNYS", longer),
        Need("D", "XNYS", BOTH),
        Need("E", "XKRX", BOTH),
    ]
    desk.gather(needs, [primary], clock)
    asks = [ask for _, ask in primary.source.asks]
    assert [ask.symbols for ask in asks] == [("A", "D"), ("B", "E"), ("C",)]
    assert [(ask.exchange, ask.first) for ask in asks] == [("XNYS", FIRST), ("XKRX", FIRST), ("XNYS", date(2020, 1, 2))]


def test_a_source_is_asked_for_what_it_lacks_itself():
    clock, desk = HandClock(), Desk()
    chain = [opened("primary", clock, down), opened("second", clock)]
    desk.gather(needs_of(1, ranges={**BOTH, "second": (date(2010, 1, 4), LAST)}), chain, clock)
    assert chain[1].source.asks[0][1].first == date(2010, 1, 4)


def test_a_source_without_a_range_is_not_asked():
    clock, desk = HandClock(), Desk()
    chain = [opened("primary", clock, down), opened("second", clock)]
    needs = [Need("A", "XNYS", {"primary": (FIRST, LAST)}), Need("B", "XNYS", {})]
    gathered = desk.gather(needs, chain, clock)
    assert gathered.requests["second"] == 0
    assert gathered.failures == {
        "A": "primary: down; second: there was nothing to ask it",
        "B": "primary: there was nothing to ask it; second: there was nothing to ask it",
    }


def test_nothing_missing_asks_nobody():
    clock, desk = HandClock(), Desk()
    gathered = desk.gather([], [opened("primary", clock)], clock)
    assert (gathered.served, gathered.failures, gathered.requests, desk.told) == ({}, {}, {"primary": 0}, [])


# What one symbol lacks


def failing(*symbols, error=NoData):
    return lambda ask: {symbol: error(f"no bar of {symbol}.") for symbol in ask.symbols if symbol in symbols}


@pytest.mark.parametrize("at_once", [1, 50])
def test_three_of_five_hundred_that_no_source_has_are_named_and_the_others_are_served(at_once):
    clock, desk = HandClock(), Desk()
    lost = ("S007", "S250", "S499")
    chain = [opened(name, clock, failing(*lost), at_once=at_once) for name in BOTH]
    gathered = desk.gather(needs_of(500), chain, clock)
    assert len(gathered.served) == len(desk.stored()) == 497
    assert gathered.failures == {symbol: f"primary: no bar of {symbol}; second: no bar of {symbol}" for symbol in lost}
    assert desk.told[-1][:2] == (500, 500)


def test_a_symbol_that_the_first_source_lacks_is_served_by_the_second():
    clock, desk = HandClock(), Desk()
    chain = [opened("primary", clock, failing("S001", error=UnknownSymbol), at_once=3), opened("second", clock)]
    gathered = desk.gather(needs_of(3), chain, clock)
    assert gathered.served == {"S000": "primary", "S002": "primary", "S001": "second"}
    assert asked_of(chain[1]) == [("S001",)]


@pytest.mark.parametrize("told", ["in the answer", "raised"])
def test_no_data_for_symbol_after_symbol_opens_no_circuit(told):
    def act(ask):
        failures = {symbol: NoData("none") for symbol in ask.symbols}
        if told == "raised":
            raise failures[ask.symbols[0]]
        return failures

    clock, desk = HandClock(), Desk()
    chain = [opened("primary", clock, act), opened("second", clock)]
    gathered = desk.gather(needs_of(100), chain, clock)
    assert gathered.requests == {"primary": 100, "second": 100}
    assert chain[0].breaker.state == "closed"


class LateSource(ScriptedSource):
    """Has every session but the newest one."""

    def fetch(self, ask):
        fetched = super().fetch(ask)
        return Fetched(fetched.bars.with_columns(session=pl.lit(FIRST)), fetched.failures, fetched.payload_hash)


def late(name, clock):
    made = opened(name, clock)
    return Opened(name, LateSource(made.guard, clock), made.guard, made.breaker)


def test_a_source_that_has_not_got_the_newest_session_yet_is_kept_and_the_next_is_asked_too():
    clock, desk = HandClock(), Desk()
    gathered = desk.gather(needs_of(2), [late("primary", clock), opened("second", clock)], clock)
    assert gathered.served == {"S000": "second", "S001": "second"}
    assert desk.stored() == {"S000": ["primary", "second"], "S001": ["primary", "second"]}
    assert desk.told[-1][:2] == (2, 2)


def test_a_newest_session_that_nobody_has_is_no_failure_of_the_fetch():
    clock, desk = HandClock(), Desk()
    gathered = desk.gather(needs_of(2), [late("primary", clock), opened("second", clock, down)], clock)
    assert gathered.served == {"S000": "primary", "S001": "primary"}
    assert gathered.failures == {}
    assert desk.told[-1][:2] == (2, 2)


def test_a_symbol_that_an_answer_passes_over_in_silence_is_not_taken_for_served():
    class Silent(ScriptedSource):
        def fetch(self, ask):
            return Fetched(bars_of(ask.symbols[:-1]), {}, "hash")

    clock, desk = HandClock(), Desk()
    guard = RequestGuard(None, FAILOVER)
    silent = Opened("primary", Silent(guard, clock, at_once=3), guard, Breaker(FAILOVER))
    assert desk.gather(needs_of(3), [silent, opened("second", clock)], clock).served["S002"] == "second"
    assert "neither" in desk.gather(needs_of(3), [silent], clock).failures["S002"]


class DirtySource(ScriptedSource):
    """Has a good bar of the first session, if it is told to, and a dirty one of the newest."""

    close, has_past = None, True

    def fetch(self, ask):
        fetched = super().fetch(ask)
        newest = fetched.bars.with_columns(close=pl.lit(self.close, dtype=pl.Float64))
        past = [fetched.bars.with_columns(session=pl.lit(FIRST))] if self.has_past else []
        return Fetched(pl.concat([newest, *past]), fetched.failures, fetched.payload_hash)


def dirty(clock, close, *, has_past):
    made = opened("primary", clock)
    source = DirtySource(made.guard, clock)
    source.close, source.has_past = close, has_past
    return Opened("primary", source, made.guard, made.breaker)


DIRT = [None, float("nan"), float("inf"), 0.0, -1.0]


@pytest.mark.parametrize("close", DIRT)
def test_a_newest_session_without_a_good_close_is_asked_of_the_next_source_too(close):
    clock, desk = HandClock(), Desk()
    primary = dirty(clock, close, has_past=True)
    assert desk.gather(needs_of(1), [primary, opened("second", clock)], clock).served == {"S000": "second"}
    clock, desk = HandClock(), Desk()
    primary = dirty(clock, close, has_past=True)
    gathered = desk.gather(needs_of(1), [primary, opened("second", clock, down)], clock)
    assert (gathered.served, gathered.failures) == ({"S000": "primary"}, {})


@pytest.mark.parametrize("close", DIRT)
def test_bars_without_one_good_close_serve_nobody(close):
    clock, desk = HandClock(), Desk()
    primary = dirty(clock, close, has_past=False)
    gathered = desk.gather(needs_of(1), [primary, late("second", clock)], clock)
    assert gathered.served == {"S000": "second"}
    clock, desk = HandClock(), Desk()
    gathered = desk.gather(needs_of(1), [dirty(clock, close, has_past=False)], clock)
    assert gathered.served == {}
    assert "was bars without one good close" in gathered.failures["S000"]


# What a whole ask meets


def test_every_symbol_of_a_failed_ask_goes_on_to_the_next_source():
    clock, desk = HandClock(), Desk()
    chain = [opened("primary", clock, down, at_once=10), opened("second", clock, at_once=10)]
    gathered = desk.gather(needs_of(10), chain, clock)
    assert set(gathered.served.values()) == {"second"}
    assert len(gathered.served) == 10


def test_a_malformed_answer_is_handed_over_with_its_payload():
    def act(_):
        raise Malformed("no JSON.", payload=b"<html>")

    clock, desk = HandClock(), Desk()
    gathered = desk.gather(needs_of(1), [opened("primary", clock, act), opened("second", clock)], clock)
    ((name, error),) = desk.refusals
    assert (name, error.payload) == ("primary", b"<html>")
    assert gathered.served == {"S000": "second"}
    assert [answered.source for answered in desk.answers] == ["second"]


def test_a_refused_key_is_shown_once():
    def act(_):
        raise AccessRefused("HTTP 401.")

    clock, desk = HandClock(), Desk()
    chain = [opened("primary", clock, act), opened("second", clock, failing("S001"))]
    gathered = desk.gather(needs_of(50), chain, clock)
    assert gathered.requests["primary"] == 1
    assert len(gathered.served) == 49
    assert gathered.failures["S001"] == (
        "primary: circuit open for the rest of this run (access refused); second: no bar of S001"
    )


@pytest.mark.parametrize(
    "error", [KeyError("secret-key"), ZeroDivisionError(), pl.exceptions.PanicException("secret-key")]
)
def test_whatever_a_vendors_client_raises_is_a_fault_of_that_source_named_without_its_text(error):
    def act(_):
        raise error

    clock, desk = HandClock(), Desk()
    chain = [opened("primary", clock, act), opened("second", clock, failing("S001"))]
    gathered = desk.gather(needs_of(2), chain, clock)
    assert gathered.served == {"S000": "second"}
    assert f"was {type(error).__name__} at test_failover.py:" in gathered.failures["S001"]
    assert "secret-key" not in str(gathered)


def test_a_typed_error_that_is_no_source_error_is_told_in_its_own_words():
    def act(_):
        raise ConfigError("sources.files.columns: expected a close, was none; map it.")

    clock, desk = HandClock(), Desk()
    gathered = desk.gather(needs_of(1), [opened("primary", clock, act)], clock)
    assert gathered.failures == {"S000": "primary: sources.files.columns: expected a close, was none; map it"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_the_asking(stop):
    def act(_):
        raise stop

    clock, desk = HandClock(), Desk()
    with pytest.raises(stop):
        desk.gather(needs_of(3), [opened("primary", clock, act), opened("second", clock)], clock)
    assert desk.answers == []


def test_an_answer_that_cannot_be_stored_ends_the_asking():
    def full(_):
        raise OSError("no space left")

    clock = HandClock()
    chain = [opened("primary", clock)]
    with pytest.raises(OSError, match="no space"):
        gather(
            needs_of(3),
            chain=chain,
            now=clock.now,
            on_answer=full,
            on_refusal=lambda *_: None,
            progress=lambda *_: None,
        )
    assert len(chain[0].source.asks) == 1


def test_reasons_are_the_texts_of_the_errors_with_the_sources_name_once():
    def act(_):
        raise BadSymbol("second, asked for S000: refused.")

    clock, desk = HandClock(), Desk()
    gathered = desk.gather(needs_of(1), [opened("primary", clock, down), opened("second", clock, act)], clock)
    assert gathered.failures == {"S000": "primary: down; second, asked for S000: refused"}


# Outages


def test_an_outage_of_the_first_source_loses_no_symbol_of_300_and_hits_it_15_times_at_most():
    clock, desk = HandClock(), Desk()
    chain = [opened("primary", clock, down, allowed=rate(1, 1)), opened("second", clock, allowed=rate(1, 1))]
    gathered = desk.gather(needs_of(300), chain, clock)
    assert gathered.failures == {}
    assert desk.stored() == {need.symbol: ["second"] for need in needs_of(300)}
    assert 5 < gathered.requests["primary"] == len(chain[0].source.hits) <= 15
    assert clock.moment - 1000 > 290  # it took as long as the rate wants, so that probes were due


@pytest.mark.parametrize("fault", ["503", "429", "reset", "refused"])
def test_a_real_server_that_is_down_is_hit_15_times_at_most_while_300_symbols_are_served(fault):
    def act(handler, _):
        reset(handler) if fault == "reset" else answer(handler, int(fault))

    clock, desk = HandClock(), Desk()
    with server(act) as (dead, dead_paths), server(lambda handler, _: answer(handler, 200)) as (well, well_paths):
        chain = []
        for name, port in (("primary", 1 if fault == "refused" else dead), ("second", well)):
            guard = RequestGuard(rate(1, 1), FAILOVER, sleep=clock.sleep, monotonic=clock.monotonic)
            breaker = Breaker(FAILOVER, monotonic=clock.monotonic)
            chain.append(Opened(name, WebSource(name, port, guard), guard, breaker))
        gathered = desk.gather(needs_of(300), chain, clock)
    assert gathered.failures == {}
    assert desk.stored() == {need.symbol: ["second"] for need in needs_of(300)}
    assert len(well_paths) == 300
    assert 5 < gathered.requests["primary"] <= 15
    assert len(dead_paths) == (0 if fault == "refused" else gathered.requests["primary"])


def test_a_source_that_comes_back_serves_again_after_a_probe_of_one_symbol():
    clock, desk = HandClock(), Desk()
    back = clock.moment + 60

    def act(_):
        if clock.moment < back:
            raise Upstream("down")

    primary = opened("primary", clock, act, allowed=rate(1, 1), at_once=10)
    second = opened("second", clock, allowed=rate(1, 1))
    gathered = desk.gather(needs_of(300), [primary, second], clock)
    assert gathered.failures == {}
    later = [symbols for moment, ask in primary.source.asks if moment >= back for symbols in [ask.symbols]]
    assert len(later[0]) == 1
    assert all(len(symbols) == 10 for symbols in later[1:-1])
    assert primary.breaker.state == "closed"
    assert gathered.served["S299"] == "primary"
    assert list(gathered.served.values()).count("primary") > 100


def test_probes_are_of_one_symbol_however_many_the_source_wants_and_cost_no_symbol():
    clock, desk = HandClock(), Desk()
    primary = opened("primary", clock, down, allowed=rate(1, 1), at_once=10)
    desk.gather(needs_of(300), [primary, opened("second", clock, allowed=rate(1, 1))], clock)
    sizes = [len(symbols) for symbols in asked_of(primary)]
    assert sizes[:5] == [10] * 5
    assert len(sizes) > 5
    assert set(sizes[5:]) == {1}


def test_slow_answers_open_the_circuit_though_they_are_used():
    clock, desk = HandClock(), Desk()
    chain = [opened("primary", clock, seconds=2.5), opened("second", clock)]
    gathered = desk.gather(needs_of(50), chain, clock)
    assert gathered.requests["primary"] == 3
    assert list(gathered.served.values()).count("primary") == 3
    assert len(gathered.served) == 50
    assert "slower than 2 s: 3" in chain[0].breaker.reason


def test_slow_requests_of_before_do_not_count_again_for_an_ask_that_sends_none():
    class Remembers(ScriptedSource):
        def fetch(self, ask):
            return super().fetch(ask) if len(self.hits) < 2 else Fetched(bars_of(ask.symbols), {}, "hash")

    clock, desk = HandClock(), Desk()
    guard = RequestGuard(rate(100, 1), FAILOVER, sleep=clock.sleep, monotonic=clock.monotonic)
    breaker = Breaker(FAILOVER.model_copy(update={"breaker_slow_answers": 2}), monotonic=clock.monotonic)
    source = Opened("primary", Remembers(guard, clock, seconds=2.5), guard, breaker)
    desk.gather(needs_of(2), [source], clock)
    assert breaker.state == "open"
    clock.pass_by(30)
    desk.gather(needs_of(20), [source], clock)
    assert breaker.state == "closed"


def test_with_every_circuit_open_the_rest_fails_at_once_with_all_reasons():
    clock, desk = HandClock(), Desk()
    chain = [opened("primary", clock, down, seconds=1.0), opened("second", clock, down, seconds=1.0)]
    gathered = desk.gather(needs_of(40), chain, clock)
    assert list(gathered.failures) == [need.symbol for need in needs_of(40)]
    assert gathered.failures["S000"] == "primary: down; second: down"
    assert gathered.failures["S039"].startswith("primary: circuit open for another ")
    assert "; second: circuit open for another 30 s (failed asks in a row: 5)" in gathered.failures["S039"]
    assert clock.moment - 1000 < 40  # nobody waited for a pause to end
    assert desk.told[-1] == (40, 40, "40 of 40 symbols failed, no source may be asked now")


def test_a_symbol_whose_other_source_is_shut_off_waits_behind_the_others_and_is_served_when_that_is_back():
    clock, desk = HandClock(), Desk()
    back = clock.moment + 40

    def act(_):
        if clock.moment < back:
            raise Upstream("down")

    primary = opened("primary", clock, act, allowed=rate(1, 1))
    second = opened("second", clock, failing("S010"), allowed=rate(1, 1))
    gathered = desk.gather(needs_of(300), [primary, second], clock)
    assert gathered.served["S010"] == "primary"
    assert gathered.failures == {}


def test_a_circuit_left_open_by_the_process_before_is_respected():
    clock, desk = HandClock(), Desk()
    before = Breaker(FAILOVER, monotonic=clock.monotonic)
    before.record(Throttled("later"))
    for _ in range(4):
        before.record(Throttled("later"))
    state = before.to_dict(now=clock.now())
    first = opened("primary", clock)
    restored = Breaker.from_dict(state, FAILOVER, now=clock.now(), monotonic=clock.monotonic)
    chain = [Opened("primary", first.source, first.guard, restored), opened("second", clock)]
    assert set(desk.gather(needs_of(5), chain, clock).served.values()) == {"second"}


@pytest.mark.parametrize("days", [-1, 1])
def test_a_step_of_the_wall_clock_in_an_outage_changes_nothing(days, monkeypatch):
    def trace(step):
        clock, desk = HandClock(), Desk()

        def act(_):
            if clock.moment > 1020:
                clock.stepped = step
                monkeypatch.setattr(time, "time", lambda: 1.7e9 + step.total_seconds())
            raise Upstream("down")

        chain = [opened("primary", clock, act, allowed=rate(1, 1)), opened("second", clock, allowed=rate(1, 1))]
        for source in chain:
            source.guard._uniform = lambda _, high: high / 2
        gathered = desk.gather(needs_of(300), chain, clock)
        return gathered, [[(moment, ask.symbols) for moment, ask in source.source.asks] for source in chain]

    assert trace(timedelta(days=days)) == trace(timedelta())


# Progress


def test_progress_tells_symbols_rate_end_and_source():
    clock, desk = HandClock(), Desk()
    desk.gather(needs_of(600), [opened("primary", clock, allowed=rate(1, 1), seconds=0.5)], clock)
    assert desk.told[0] == (1, 600, "1 of 600 symbols, 2.0 a second, 5 min left, from primary")
    assert desk.told[299] == (300, 600, "300 of 600 symbols, 1.0 a second, 5 min left, from primary")
    assert desk.told[589][2] == "590 of 600 symbols, 1.0 a second, 10 s left, from primary"
    assert desk.told[599] == (600, 600, "600 of 600 symbols, 1.0 a second, from primary")


def test_the_rate_follows_a_change_of_source():
    clock, desk = HandClock(), Desk()
    lacking = [need.symbol for need in needs_of(200)[100:]]
    primary = opened("primary", clock, failing(*lacking), at_once=50, seconds=1)
    desk.gather(needs_of(200), [primary, opened("second", clock, allowed=rate(1, 2))], clock)
    assert desk.told[1][2] == "100 of 200 symbols, 50.0 a second, 2 s left, from primary"
    assert desk.told[-41][2] == "160 of 200 symbols, 0.5 a second, 80 s left, from second"


# Whatever happens

_FATES = st.sampled_from(["well", "well", "well", "down", "throttled", "malformed", "no data", "slow", "crash"])


@settings(max_examples=150, deadline=None)
@given(
    fates=st.lists(st.lists(_FATES, max_size=60), min_size=1, max_size=3),
    count=st.integers(0, 40),
    at_once=st.integers(1, 7),
)
def test_each_symbol_is_served_once_or_named_once_and_asked_of_each_source_once(fates, count, at_once):
    clock, desk = HandClock(), Desk()
    names = [f"source{n}" for n in range(len(fates))]
    needs = needs_of(count, ranges=dict.fromkeys(names, (FIRST, LAST)))

    def by(script):
        left = list(script)

        def act(ask):
            match left.pop(0) if left else "well":
                case "down":
                    raise Upstream("down")
                case "throttled":
                    raise Throttled("later", retry_after=12)
                case "malformed":
                    raise Malformed("what", payload=b"?")
                case "crash":
                    raise RuntimeError("what")
                case "no data":
                    return {ask.symbols[0]: NoData("none")}
                case "slow":
                    clock.pass_by(3)
            return None

        return act

    chain = [opened(n, clock, by(f), allowed=rate(1, 1), at_once=at_once) for n, f in zip(names, fates, strict=True)]
    gathered = desk.gather(needs, chain, clock)
    assert set(gathered.served) | set(gathered.failures) == {need.symbol for need in needs}
    assert not set(gathered.served) & set(gathered.failures)
    assert desk.stored() == {symbol: [name] for symbol, name in gathered.served.items()}
    for source in chain:
        symbols = sum(asked_of(source), ())
        assert len(symbols) == len(set(symbols))
        good = sum(answered.source == source.name for answered in desk.answers)
        bound = len(source.source.asks) + FAILOVER.retry_budget + FAILOVER.retry_refill * good
        assert gathered.requests[source.name] == len(source.source.hits) <= bound
    assert all(
        reasons.count("; ") == len(chain) - 1 or "RuntimeError" in reasons for reasons in gathered.failures.values()
    )
    done = [told[0] for told in desk.told]
    assert done == sorted(done)
    assert done[-1:] == ([count] if count else [])


def test_what_goes_wrong_with_a_request_is_in_the_log_with_its_source_and_symbol(tmp_path):
    """Each further try, each ask that failed for good, and each change of a breaker."""
    clock, desk, file = HandClock(), Desk(), LogFile(tmp_path / "log", largest=10**9, kept=1)

    def down(_):
        raise Upstream("primary: expected an answer, was 503; try later.")

    def lacks_one(ask):
        return {"S001": NoData("S001: nothing.")} if "S001" in ask.symbols else None

    chain = [opened("primary", clock, down), opened("second", clock, lacks_one)]
    with logging_to(file, run="r1"):
        desk.gather(needs_of(8), chain, clock)
    lines = list(file.lines())
    events = [(line["event"], line["source"], line["symbol"]) for line in lines]
    assert events[:2] == [("request_retried", "primary", "S000")] * 2
    failed = [line for line in lines if line["event"] == "request_failed"]
    assert {line["source"] for line in failed} == {"primary"}
    assert failed[0]["reason"] == "primary: expected an answer, was 503; try later."
    (changed,) = (line for line in lines if line["event"] == "breaker_changed")
    assert (changed["before"], changed["now"], changed["source"]) == ("closed", "open", "primary")
    (lost,) = (line for line in lines if line["event"] == "symbols_failed")
    assert (lost["source"], lost["reasons"]) == ("second", {"S001": "S001: nothing."})
    assert {line["run"] for line in lines} == {"r1"}
