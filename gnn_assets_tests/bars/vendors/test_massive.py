"""massive's source against a loopback server that speaks its wire format, through the vendor's own client."""

import json
from datetime import date, time
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from gnn_assets.bars.fetched import Ask
from gnn_assets.bars.sources import massive
from gnn_assets.core.errors import Malformed
from gnn_assets_tests.bars import market
from gnn_assets_tests.bars.vendors.faults import Reply, ScriptedServer
from gnn_assets_tests.bars.vendors.massive_server import (
    AGGS,
    DIVIDENDS,
    GROUPED,
    SPLITS,
    MassiveServer,
    aggs_body,
    dumps,
    epoch_ms,
)
from gnn_assets_tests.bars.vendors.scenarios import Guard, Vendor, VendorScenarios, named, told

VENDOR = Vendor(
    name="massive",
    server=MassiveServer,
    bars_path=AGGS,
    keys={"massive_key": "massive-key-of-the-tests"},
    requests=lambda symbols: 3 * symbols,
)
DAYS = market.sessions(5)
MANY = ("AAPL", "BRK.B", "MSFT", "A", "B", "C", "D")


class TestMassive(VendorScenarios):
    vendor = VENDOR


def ask(symbols=MANY, *, days=3, exchange="XNYS"):
    return Ask(tuple(symbols), exchange, DAYS[0], DAYS[days - 1])


def actions(server, symbols=("AAPL",), **changed):
    return VENDOR.fetch(server, symbols, **changed).actions.rows()


# Which question is the cheaper.


def test_asks_by_session_where_sessions_are_fewer_than_symbols_and_by_symbol_otherwise():
    with MassiveServer(told(MANY)) as server:
        source = VENDOR.source(server, Guard())
        assert source.symbols_per_ask(ask(days=3)) == 7
        assert source.symbols_per_ask(ask(MANY[:3], days=3)) == 1
        assert source.symbols_per_ask(ask(MANY[:3], days=5)) == 1
        assert source.symbols_per_ask(ask(MANY, exchange="XLON")) == 7
        assert source.symbols_per_ask(ask((), days=3)) == 1


def test_a_long_range_is_asked_for_symbol_by_symbol_however_many_there_are():
    names = tuple(f"S{number}" for number in range(100))
    axis = market.calendar().between(DAYS[0], date(2022, 12, 30))
    with MassiveServer(told()) as server:
        source = VENDOR.source(server, Guard())
        assert source.symbols_per_ask(Ask(names, "XNYS", axis[0], axis[29])) == 100
        long = Ask(names, "XNYS", axis[0], axis[30])
        assert source.symbols_per_ask(long) == 1
        source.fetch(long)
    assert not [item.path for item in server.asked if item.path.startswith(GROUPED)]
    assert sum(item.path.startswith(AGGS) for item in server.asked) == 100


def test_a_day_of_many_symbols_is_one_request_and_two_for_actions():
    guard = Guard()
    with MassiveServer(told((*MANY, "NOTWANTED"))) as server:
        answer = VENDOR.source(server, guard).fetch(ask((*MANY, "ZZZ"), days=1))
    assert answer.bars.equals(told(MANY).filter(session=DAYS[0]).sort("symbol"))
    assert list(answer.failures) == ["ZZZ"]
    assert [item.path for item in server.asked] == [f"{GROUPED}{DAYS[0]}", SPLITS, DIVIDENDS]
    assert guard.sent == 3
    assert server.asked[0].query["adjusted"] == "false"


def test_both_questions_tell_the_same_bars():
    with MassiveServer(told(MANY)) as server:
        by_session = VENDOR.source(server, Guard()).fetch(ask(days=5))
        by_symbol = [VENDOR.source(server, Guard()).fetch(ask((symbol,), days=5)).bars for symbol in sorted(MANY)]
    assert by_session.bars.equals(pl.concat(by_symbol))


def test_asks_for_bars_as_traded_in_one_page():
    with MassiveServer(told()) as server:
        VENDOR.fetch(server, ("AAPL",))
    assert server.asked[0].path == f"{AGGS}AAPL/range/1/day/{DAYS[0]}/{DAYS[-1]}"
    assert server.asked[0].query == {"adjusted": "false", "sort": "asc", "limit": "50000"}


# Answers to another question.


@pytest.mark.parametrize("moment", [time(0), time(16)])
def test_bars_of_another_date_than_asked_are_malformed(moment):
    rows = [{"T": "AAPL", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "t": epoch_ms(DAYS[1], moment)}]
    body = dumps({"status": "OK", "resultsCount": 1, "adjusted": False, "results": rows})
    with MassiveServer(told()) as server:
        server.always(GROUPED, Reply(body))
        with pytest.raises(Malformed, match=f"bars of {DAYS[0]}"):
            VENDOR.source(server, Guard()).fetch(ask(days=1))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"resultsCount": 4}, "resultsCount"),
        ({"resultsCount": None}, "resultsCount"),
        ({"resultsCount": True}, "resultsCount"),
        ({"adjusted": True}, "not adjusted"),
        ({"adjusted": None}, "not adjusted"),
        ({"ticker": "MSFT"}, "the ticker AAPL"),
        ({"status": "ERROR"}, "status"),
        ({"results": {}}, "a list of objects"),
        ({"results": [3]}, "a list of objects"),
        ({"next_url": 3}, "next_url"),
        ({"next_url": "http://[::1"}, "next_url"),
    ],
)
def test_an_envelope_that_contradicts_the_question_is_malformed(change, expected):
    rows = [{"o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "t": epoch_ms(DAYS[0], time(0))}]
    with MassiveServer(told()) as server:
        server.always(AGGS, Reply(dumps(aggs_body("AAPL", rows))))
        assert VENDOR.fetch(server, ("AAPL",)).bars.height == 1
        server.always(AGGS, Reply(dumps(aggs_body("AAPL", rows) | change)))
        with pytest.raises(Malformed, match=expected):
            VENDOR.fetch(server, ("AAPL",))


@pytest.mark.parametrize(
    "stamp",
    [
        None,
        "1641186000000",
        True,
        1641186000000.0,
        -1,
        10**20,
        epoch_ms(date(2021, 12, 31), time(0)),  # before the dates asked for
        epoch_ms(DAYS[2], time(0)) - 5 * 3600 * 1000,  # UTC's midnight taken for New York's
    ],
)
def test_a_moment_that_is_none_or_of_another_zone_is_malformed(stamp):
    rows = [{"o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "t": stamp}]
    with MassiveServer(told()) as server:
        server.always(AGGS, Reply(dumps(aggs_body("AAPL", rows))))
        with pytest.raises(Malformed):
            VENDOR.fetch(server, ("AAPL",))


def test_a_delayed_answer_is_an_answer():
    rows = [{"o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "t": epoch_ms(DAYS[0], time(0))}]
    with MassiveServer(told()) as server:
        server.always(AGGS, Reply(dumps(aggs_body("AAPL", rows, status="DELAYED"))))
        assert VENDOR.fetch(server, ("AAPL",)).bars.height == 1


@pytest.mark.parametrize("stray", ["/a b", "/a\n", "/ａ", "/\ud800"])
def test_a_next_page_whose_address_no_request_can_carry_is_malformed(stray):
    with MassiveServer(told()) as server:
        server.always(AGGS, Reply(dumps(aggs_body("AAPL", [], next_url=f"{server.url}{stray}"))))
        with pytest.raises(Malformed, match="an address next_url"):
            VENDOR.fetch(server, ("AAPL",))


def test_a_whole_market_on_more_than_one_page_is_malformed():
    body = {"status": "OK", "resultsCount": 0, "adjusted": False, "results": []}
    with MassiveServer(told()) as server:
        server.always(GROUPED, Reply(dumps({**body, "next_url": f"{server.url}{GROUPED}?cursor=2"})))
        with pytest.raises(Malformed, match="one page"):
            VENDOR.source(server, Guard()).fetch(ask(days=1))


# The next page.


@pytest.mark.parametrize("path", [AGGS, SPLITS, DIVIDENDS])
@pytest.mark.parametrize("prefix", ["{other}", "{own}@{bare}", "https://{bare}", "ftp://{bare}", "//{bare}"])
def test_a_second_page_on_another_host_is_refused_and_never_asked(path, prefix):
    with MassiveServer(told()) as server, ScriptedServer() as other:
        bare = other.url.removeprefix("http://")
        there = prefix.format(other=other.url, own=server.url, bare=bare) + "/v2/next?cursor=1"
        body = json.loads(server.answer(_asked(server, path)).body)
        server.always(path, Reply(dumps({**body, "next_url": there})))
        with pytest.raises(Malformed, match="next_url at"):
            VENDOR.fetch(server, ("AAPL",))
        assert other.asked == []


def test_a_base_address_with_a_path_is_kept_on_every_page():
    with MassiveServer(told(), page_size=2) as server, ScriptedServer() as gateway:

        def forward(asked):
            reply = server.answer(type(asked)(asked.target.removeprefix("/gate"), asked.headers))
            return Reply(reply.body.replace(server.url.encode(), f"{gateway.url}/gate".encode()), reply.status)

        gateway.answer = forward
        settings = {"base_url": f"{gateway.url}/gate/"}
        assert VENDOR.fetch(server, settings=settings).bars.equals(named(told()))
        assert len(gateway.asked) > 9
        assert all(target.startswith("/gate/v") for target in gateway.targets)


def _asked(server, path):
    with_key = {"Authorization": f"Bearer {server.key}"}
    target = f"{AGGS}AAPL/range/1/day/{DAYS[0]}/{DAYS[-1]}" if path == AGGS else path
    return type("Asked", (), {"headers": with_key, "path": target, "query": {}})()


# Splits and dividends.


def split(ticker, session, new, old, **more):
    return {"ticker": ticker, "execution_date": f"{session}", "split_from": old, "split_to": new, "id": "E1", **more}


def dividend(ticker, session, cash, **more):
    return {"ticker": ticker, "ex_dividend_date": f"{session}", "cash_amount": cash, "dividend_type": "CD", **more}


def test_tells_splits_as_new_shares_for_one_old_and_dividends_as_cash_a_share():
    splits = [split("AAPL", DAYS[1], 4, 1), split("BRK.B", DAYS[2], 1, 10), split("OTHER", DAYS[2], 0, 0)]
    dividends = [dividend("AAPL", DAYS[3], 0.23, currency="USD"), dividend("MSFT", DAYS[3], 0.5)]
    expected = [
        ("AAPL", DAYS[1], "split", 4.0),
        ("AAPL", DAYS[3], "dividend", 0.23),
        ("BRK-B", DAYS[2], "split", 0.1),
        ("MSFT", DAYS[3], "dividend", 0.5),
    ]
    with MassiveServer(told(MANY), splits=splits, dividends=dividends) as server:
        assert actions(server, ("AAPL", "BRK-B", "MSFT")) == expected
        wanted = ("AAPL", "BRK-B", "MSFT", *MANY[3:])
        assert VENDOR.source(server, Guard()).fetch(ask(wanted, days=5)).actions.rows() == expected


def test_only_actions_of_the_dates_asked_for_are_told():
    dividends = [dividend("AAPL", day, 1.0) for day in ("2021-12-31", DAYS[0], DAYS[-1], "2022-01-10")]
    with MassiveServer(told(), dividends=dividends) as server:
        assert [row[1] for row in actions(server)] == [DAYS[0], DAYS[-1]]
        assert server.asked[-1].query["ex_dividend_date.gte"] == f"{DAYS[0]}"


def test_a_special_dividend_adds_to_the_regular_and_one_told_twice_counts_once():
    dividends = [
        dividend("AAPL", DAYS[1], 0.5),
        dividend("AAPL", DAYS[1], 0.5, id="told again"),
        dividend("AAPL", DAYS[1], 0.5, dividend_type="SC"),
    ]
    splits = [split("AAPL", DAYS[1], 2, 1), split("AAPL", DAYS[1], 4, 2)]
    with MassiveServer(told(), splits=splits, dividends=dividends, page_size=1) as server:
        assert actions(server) == [("AAPL", DAYS[1], "dividend", 1.0), ("AAPL", DAYS[1], "split", 2.0)]


def test_a_dividend_in_another_currency_is_not_added_to_prices_in_dollars():
    dividends = [dividend("AAPL", DAYS[1], 30.0, currency="JPY"), dividend("AAPL", DAYS[2], 0.1, currency=None)]
    with MassiveServer(told(), dividends=dividends) as server:
        assert actions(server) == [("AAPL", DAYS[2], "dividend", 0.1)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"splits": [split("AAPL", DAYS[1], 2, 0)]},
        {"splits": [split("AAPL", DAYS[1], -2, 1)]},
        {"splits": [split("AAPL", DAYS[1], "2", 1)]},
        {"splits": [split("AAPL", DAYS[1], 1e308, 1e-308)]},
        {"splits": [split("AAPL", f"{DAYS[1]}T00:00", 2, 1)]},
        {"dividends": [dividend("AAPL", DAYS[1], None)]},
        {"dividends": [dividend("AAPL", DAYS[1], 0)]},
        {"dividends": [dividend("AAPL", DAYS[1], float("inf"))]},
    ],
)
def test_an_action_that_cannot_be_is_malformed(wrong):
    with MassiveServer(told(), **wrong) as server, pytest.raises(Malformed):
        VENDOR.fetch(server, ("AAPL",))


@pytest.mark.parametrize("path", [SPLITS, DIVIDENDS])
def test_bars_without_their_actions_are_no_answer(path):
    with MassiveServer(told()) as server:
        server.always(path, Reply(b"<html></html>"))
        with pytest.raises(Malformed):
            VENDOR.fetch(server, ("AAPL",))


def test_a_number_too_large_for_a_double_is_infinite():
    row = {"o": 10**400, "h": 1, "l": -(10**400), "c": 1, "v": 1, "t": epoch_ms(DAYS[0], time(0))}
    page = massive.parse_aggs(
        dumps(aggs_body("AAPL", [row])),
        name="AAPL",
        first=DAYS[0],
        last=DAYS[0],
        zone=ZoneInfo("America/New_York"),
        base="https://a.example",
    )
    assert page.rows.row(0)[2:5] == (float("inf"), 1.0, float("-inf"))
