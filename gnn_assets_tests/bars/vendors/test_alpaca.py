"""Alpaca's source against a loopback server that speaks its wire format, through the vendor's own client."""

from datetime import timedelta

import pytest

from gnn_assets.bars.fetched import Ask
from gnn_assets.core.errors import Malformed
from gnn_assets_tests.bars import market
from gnn_assets_tests.bars.vendors.alpaca_server import ACTIONS, BARS, AlpacaServer
from gnn_assets_tests.bars.vendors.faults import Reply
from gnn_assets_tests.bars.vendors.massive_server import dumps
from gnn_assets_tests.bars.vendors.scenarios import Guard, Vendor, VendorScenarios, told

VENDOR = Vendor(
    name="alpaca",
    server=AlpacaServer,
    bars_path=BARS,
    keys={"alpaca_key": "alpaca-key-of-the-tests", "alpaca_secret": "alpaca-secret-of-the-tests"},
    requests=lambda _: 2,
)
DAYS = market.sessions(5)
ROW = {"t": f"{DAYS[0]}T05:00:00Z", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1}


class TestAlpaca(VendorScenarios):
    vendor = VENDOR


def bars_body(bars, token=None, **changed):
    return dumps({"bars": bars, "next_page_token": token, **changed})


def actions(groups, symbols=("AAPL",), **changed):
    with AlpacaServer(told(), actions=groups, **changed) as server:
        return VENDOR.fetch(server, symbols).actions.rows()


def split(symbol, session, new, old):
    return {"symbol": symbol, "ex_date": f"{session}", "process_date": f"{session}", "new_rate": new, "old_rate": old}


def dividend(symbol, session, rate, *, process=None, special=False):
    process = process or session + timedelta(days=20)
    return {
        "symbol": symbol,
        "ex_date": f"{session}",
        "process_date": f"{process}",
        "rate": rate,
        "special": special,
        "foreign": False,
    }


# The question.


@pytest.mark.parametrize("feed", ["sip", "iex"])
def test_asks_for_bars_as_traded_of_the_configured_feed_up_to_the_close(feed):
    with AlpacaServer(told()) as server:
        VENDOR.fetch(server, settings={"feed": feed})
    assert server.asked[0].query == {
        "symbols": "AAPL,BRK.B,MSFT",
        "timeframe": "1Day",
        "start": "2022-01-03T05:00:00+00:00",
        "end": "2022-01-07T21:00:00+00:00",
        "limit": "10000",
        "adjustment": "raw",
        "feed": feed,
    }
    assert server.asked[1].query["types"] == "forward_split,reverse_split,cash_dividend"


def test_asks_about_as_many_symbols_at_once_as_configured():
    with AlpacaServer(told()) as server:
        source = VENDOR.source(server, Guard(), settings={"symbols_per_ask": 7})
        assert source.symbols_per_ask(Ask(("AAPL",) * 50, "XNYS", DAYS[0], DAYS[1])) == 7
        assert source.symbols_per_ask(Ask(("VOD",) * 50, "XLON", DAYS[0], DAYS[1])) == 50


# Answers to another question.


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (bars_body({"ZZZ": [ROW]}), "symbols asked for"),
        (bars_body([ROW]), "lists by name"),
        (bars_body([]), "lists by name"),
        (bars_body(0), "lists by name"),
        (bars_body({"AAPL": ROW}), "a list of objects"),
        (bars_body({"AAPL": [3]}), "a list of objects"),
        (bars_body({"AAPL": [ROW]}, token=3), "next_page_token"),
        (bars_body({"AAPL": [ROW]}, token=""), "next_page_token"),
        (dumps({"next_page_token": None}), "a field bars"),
        (dumps({"message": "invalid symbol"}), "a field bars"),
    ],
)
def test_an_envelope_that_contradicts_the_question_is_malformed(body, expected):
    with AlpacaServer(told()) as server:
        server.always(BARS, Reply(body))
        with pytest.raises(Malformed, match=expected):
            VENDOR.fetch(server, ("AAPL",))


@pytest.mark.parametrize("nothing", [None, {}, {"AAPL": None}, {"AAPL": []}])
def test_no_bars_are_told_in_several_ways(nothing):
    with AlpacaServer(told()) as server:
        server.always(BARS, Reply(bars_body(nothing)))
        assert list(VENDOR.fetch(server, ("AAPL",)).failures) == ["AAPL"]


@pytest.mark.parametrize(
    "stamp",
    [
        None,
        1641186000000,
        "",
        "yesterday",
        "2022-01-03",
        "2022-01-03T05:00:00",
        "2022-01-04T00:00:00Z",  # UTC's midnight taken for New York's
        "2021-12-31T05:00:00Z",  # before the dates asked for
        "2022-01-10T05:00:00Z",  # after them
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:00",
    ],
)
def test_a_moment_that_is_none_or_of_another_zone_is_malformed(stamp):
    with AlpacaServer(told()) as server:
        server.always(BARS, Reply(bars_body({"AAPL": [{**ROW, "t": stamp}]})))
        with pytest.raises(Malformed):
            VENDOR.fetch(server, ("AAPL",))


# Splits and dividends.


def test_tells_splits_as_new_shares_for_one_old_and_dividends_as_cash_a_share():
    groups = {
        "forward_splits": [split("AAPL", DAYS[1], 4, 1)],
        "reverse_splits": [split("BRK.B", DAYS[2], 1, 10)],
        "cash_dividends": [dividend("MSFT", DAYS[3], 0.5)],
    }
    expected = [
        ("AAPL", DAYS[1], "split", 4.0),
        ("BRK-B", DAYS[2], "split", 0.1),
        ("MSFT", DAYS[3], "dividend", 0.5),
    ]
    for page_size in (1, 10_000):
        assert actions(groups, ("AAPL", "BRK-B", "MSFT"), page_size=page_size) == expected


def test_finds_dividends_by_their_ex_date_whenever_they_are_processed():
    groups = {
        "cash_dividends": [
            dividend("AAPL", DAYS[0], 1.0, process=DAYS[0] - timedelta(days=3)),
            dividend("AAPL", DAYS[4], 1.0, process=DAYS[4] + timedelta(days=60)),
            dividend("AAPL", DAYS[0] - timedelta(days=4), 1.0, process=DAYS[2]),
            dividend("AAPL", DAYS[4] + timedelta(days=3), 1.0, process=DAYS[2]),
        ]
    }
    assert [row[1] for row in actions(groups)] == [DAYS[0], DAYS[4]]


def test_a_special_dividend_adds_to_the_regular_and_one_told_twice_counts_once():
    groups = {
        "cash_dividends": [
            dividend("AAPL", DAYS[1], 0.5),
            dividend("AAPL", DAYS[1], 0.5),
            dividend("AAPL", DAYS[1], 0.5, special=True),
        ]
    }
    assert actions(groups, page_size=1) == [("AAPL", DAYS[1], "dividend", 1.0)]


@pytest.mark.parametrize(
    "group",
    [
        {"forward_splits": [split("AAPL", DAYS[1], 2, 0)]},
        {"forward_splits": [split("AAPL", DAYS[1], "2", 1)]},
        {"forward_splits": [split("ZZZ", DAYS[1], 2, 1)]},
        {"reverse_splits": [split("AAPL", "soon", 1, 2)]},
        {"reverse_splits": 3},
        {"cash_dividends": [dividend("AAPL", DAYS[1], -1.0)]},
        {"spin_offs": [split("AAPL", DAYS[1], 2, 1)]},
        [3],
        3,
    ],
)
def test_an_action_that_cannot_be_is_malformed(group):
    with AlpacaServer(told()) as server:
        server.always(ACTIONS, Reply(dumps({"corporate_actions": group, "next_page_token": None})))
        with pytest.raises(Malformed):
            VENDOR.fetch(server, ("AAPL",))


@pytest.mark.parametrize("body", [b"<html></html>", dumps({"next_page_token": None})])
def test_bars_without_their_actions_are_no_answer(body):
    with AlpacaServer(told()) as server:
        server.always(ACTIONS, Reply(body))
        with pytest.raises(Malformed):
            VENDOR.fetch(server, ("AAPL",))


@pytest.mark.parametrize("nothing", [None, {}, {"forward_splits": None}, {"spin_offs": []}])
def test_no_actions_are_told_in_several_ways(nothing):
    with AlpacaServer(told()) as server:
        server.always(ACTIONS, Reply(dumps({"corporate_actions": nothing, "next_page_token": None})))
        assert VENDOR.fetch(server, ("AAPL",)).actions.is_empty()
