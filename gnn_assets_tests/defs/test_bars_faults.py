"""Vendors that fail: no symbol is lost to an outage, no price is invented, and what is said is what happened."""

from pathlib import Path

import polars as pl
import pytest

from gnn_assets.bars.schema import MARKET_BARS
from gnn_assets_tests.bars.vendors.faults import Reply
from gnn_assets_tests.bars.vendors.scenarios import HTML
from gnn_assets_tests.bars.vendors.yahoo_server import CHART
from gnn_assets_tests.defs import vendor_faults
from gnn_assets_tests.defs.market_home import MarketHome, names, sessions, traded, vendors
from gnn_assets_tests.defs.vendor_faults import BARS, CASES, FAULTS, SYMBOLS, run_case, stored_homes

pytestmark = pytest.mark.slow

*_, YESTERDAY, TODAY = DAYS = sessions(16)
PAGE = Path(__file__).parents[2] / "docs" / "results" / "2026-11-21-vendor-faults.md"
# Real pauses of an open circuit, so that one that opens stays open to the end of the run.
PAUSES = {"failover": {"pause_seconds": 300, "max_pause_seconds": 900}}


# Outages.


@pytest.mark.parametrize(
    "fault",
    [pytest.param(Reply(status=503), id="503"), pytest.param(Reply(cut="reset"), id="reset", marks=pytest.mark.drill)],
)
def test_an_outage_of_the_primary_loses_none_of_300_symbols(tmp_path, fault):
    symbols = names(300)
    bars = traded(symbols, DAYS)
    # Ten symbols a question, so that an outage meets thirty of them.
    settings = {**PAUSES, "sources": {"alpaca": {"symbols_per_ask": 10}}}
    with vendors(bars, "alpaca", "yahoo") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers, settings=settings)
        assert home.update(YESTERDAY, only=["universe", "market_bars"]).success
        assert servers["yahoo"].asked == []
        # It goes down in the middle: after ten questions with two requests each.
        servers["alpaca"].asked.clear()
        healthy = 20
        answer = servers["alpaca"].answer
        servers["alpaca"].answer = lambda asked: answer(asked) if len(servers["alpaca"].asked) <= healthy else fault

        done = home.update(TODAY, only=["universe", "market_bars"])

        assert done.success, done.failures
        assert done.checks["symbols_failed"].passed
        today = home.newest().filter(pl.col("session") == TODAY)
        assert today.select("symbol", "source").rows() == [
            (symbol, "alpaca" if place < 100 else "yahoo") for place, symbol in enumerate(symbols)
        ]
        assert len(servers["alpaca"].asked) - healthy <= 15
        assert len(servers["yahoo"].asked) == 200
        assert home.newest().join(bars, on=["symbol", "session", "close"], how="anti").is_empty()
        # The circuit is open, wherever one looks.
        assert "| alpaca | open | 100 |" in done.metadata["sources"]
        assert "| yahoo | closed | 200 | 200 |" in done.metadata["sources"]
        states = home.status()["sources"]
        assert (states["alpaca"]["state"], states["yahoo"]["state"]) == ("open", "closed")
        assert states["alpaca"]["failures"] == 5
        _, told = home.say(TODAY, "status")
        assert "source alpaca: circuit open" in told
        assert "source yahoo: circuit closed" in told


def test_a_whole_market_question_that_fails_is_sent_three_times_and_nobody_is_lost(tmp_path):
    symbols = names(60)
    bars = traded(symbols, DAYS)
    with vendors(bars, "massive", "yahoo") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers, settings=PAUSES)
        assert home.update(YESTERDAY, only=["universe", "market_bars"]).success
        servers["massive"].asked.clear()
        servers["massive"].always("/", Reply(status=503))

        done = home.update(TODAY, only=["universe", "market_bars"])

        assert done.success, done.failures
        assert len(servers["massive"].asked) == 3
        today = home.newest().filter(pl.col("session") == TODAY)
        assert (today.height, today["source"].unique().to_list()) == (60, ["yahoo"])


def test_a_circuit_that_is_open_stays_so_in_the_next_run(tmp_path):
    symbols = names(10)
    bars = traded(symbols, DAYS)
    settings = {**PAUSES, "sources": {"alpaca": {"symbols_per_ask": 1}}}
    with vendors(bars, "alpaca", "yahoo") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers, settings=settings)
        servers["alpaca"].always("/", Reply(status=503))
        assert home.update(YESTERDAY, only=["universe", "market_bars"]).success
        # Five questions: three tries each while the budget of five further ones lasts.
        assert len(servers["alpaca"].asked) == 10
        servers["alpaca"].asked.clear()
        assert home.update(YESTERDAY, only=["universe", "market_bars"]).success
        assert servers["alpaca"].asked == []


# Every fault, alone.

# Fault → symbols with a bar of today and requests sent: Yahoo, massive, Alpaca. Without a fault a symbol costs one
# request at Yahoo and three at massive (bars, splits, dividends); Alpaca tells five symbols in two. Below four of
# five symbols the run is refused. Yahoo has no pages. A budget of five further tries bounds what a dead vendor is sent.
EXPECTED = {
    "none": ((5, 5), (5, 15), (5, 2)),
    "429 without Retry-After": ((0, 10), (0, 10), (0, 3)),
    "429 with Retry-After: 3600": ((0, 1), (0, 1), (0, 1)),
    "429 with Retry-After: 0, once": ((5, 6), (5, 16), (5, 3)),
    "500": ((0, 10), (0, 10), (0, 3)),
    "503": ((0, 10), (0, 10), (0, 3)),
    "503, once": ((5, 6), (5, 16), (5, 3)),
    "truncated JSON": ((0, 5), (0, 5), (0, 1)),
    "HTML with 200": ((0, 5), (0, 5), (0, 1)),
    "empty result": ((0, 5), (0, 15), (0, 2)),
    "a symbol is missing": ((4, 5), (4, 15), (4, 2)),
    "a close is null": ((4, 5), (4, 15), (4, 2)),
    "a close is infinite": ((4, 5), (4, 15), (4, 2)),
    "a close is negative": ((4, 5), (4, 15), (4, 2)),
    "second page is HTML": ((0, 0), (4, 22), (0, 2)),
    "slower than the timeout": ((0, 10), (0, 10), (0, 3)),
    "connection reset": ((0, 10), (0, 10), (0, 3)),
}
# What a report must say of it.
SAID = {
    "429 without Retry-After": "HTTP 429",
    "429 with Retry-After: 3600": "HTTP 429",
    "500": "HTTP 500",
    "503": "HTTP 503",
    "truncated JSON": "expected JSON",
    "HTML with 200": "expected JSON",
    "empty result": "expected bars from",
    "a symbol is missing": f"asked for {vendor_faults.STRUCK}|symbol {vendor_faults.STRUCK}",
    "a close is null": "quarantined under close_missing",
    "a close is infinite": "quarantined under not_finite",
    "a close is negative": "quarantined under close_not_positive",
    "second page is HTML": "expected JSON",
    "slower than the timeout": "Timeout",
    "connection reset": "ConnectionError|ProtocolError",
}
KEPT = {"truncated JSON", "HTML with 200", "second page is HTML"}
VENDOR_NAMES = ("yahoo", "massive", "alpaca")
# Every fault with one vendor here, in turn; every vendor with every fault in the drill.
TWIN = [
    (VENDOR_NAMES[place % 3], fault) for place, fault in enumerate(FAULTS) if (VENDOR_NAMES[place % 3], fault) in CASES
]


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    with stored_homes(tmp_path_factory.mktemp("stored")) as made:
        yield made


@pytest.mark.parametrize(
    ("vendor", "fault"), [case if case in TWIN else pytest.param(*case, marks=pytest.mark.drill) for case in CASES]
)
def test_a_faulty_vendor_alone(homes, tmp_path, vendor, fault):
    row = run_case(homes[vendor], tmp_path / "home", vendor, fault)

    new, requests = EXPECTED[fault][VENDOR_NAMES.index(vendor)]
    assert (row.new, row.requests) == (new, requests)
    assert row.done.success == (new >= 4)
    # What was stored stays; what is new was traded at that price.
    assert row.after.join(row.before, on=MARKET_BARS.key, how="semi").equals(row.before)
    assert row.after.height == row.before.height + new
    assert row.after.join(
        BARS, on=["symbol", "session", "open", "high", "low", "close", "volume"], how="anti"
    ).is_empty()
    assert row.after["flags"].unique().to_list() == [""]
    # It is said who failed and why, and what could not be read is kept as it came.
    failed = row.done.checks["symbols_failed"]
    assert (failed.metadata["value"].value, failed.passed) == (len(SYMBOLS) - new, new == len(SYMBOLS))
    assert any(said in row.reported for said in SAID.get(fault, "published").split("|")), row.reported
    assert (row.refused != []) == (fault in KEPT)
    assert set(row.refused) <= set(row.told)
    # The page in the docs says the same.
    assert row.line in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_page_has_a_line_for_every_case():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    told = [tuple(line.strip("| ").split(" | ")[:2]) for line in lines]
    assert [case for case in told if case[0] in VENDOR_NAMES] == CASES


# Answers that cannot be read.


def test_unreadable_answers_are_kept_as_they_came_and_bounded(tmp_path, monkeypatch):
    symbols = names(12)
    bars = traded(symbols, DAYS)
    with vendors(bars, "yahoo") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers, settings={"failover": {"breaker_failures": 100}})
        home.update(YESTERDAY, only=["universe", "market_bars"])
        sent = {symbol: HTML + symbol.encode() + bytes(range(256)) for symbol in symbols}
        for symbol, body in sent.items():
            servers["yahoo"].always(CHART + symbol, Reply(body))
        monkeypatch.setattr(
            "gnn_assets.store.landing.Refusals.__init__.__kwdefaults__", {"most": 5, "most_bytes": 10**6}
        )

        assert not home.update(TODAY, only=["universe", "market_bars"]).success

        refusals = home.platform(TODAY).refusals
        events = home.events("answer_refused")
        assert len(events) == 12
        assert {event["source"] for event in events} == {"yahoo"}
        assert all("expected JSON" in event["reason"] for event in events)
        # The last five are kept, each named by its event.
        assert refusals.names() == [event["payload"] for event in events[-5:]]
        assert [refusals.payload(name) for name in refusals.names()] == list(sent.values())[-5:]
        assert refusals.about(refusals.names()[0])["source"] == "yahoo"
        assert refusals.folder == tmp_path / "home" / "data" / "lake" / "quarantine_payloads"
        # The same answers again add nothing but their events.
        home.update(TODAY, only=["universe", "market_bars"])
        assert len(refusals.names()) == 5
        assert home.newest().filter(pl.col("session") == TODAY).is_empty()
