import hashlib
import json
import math
import os
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS, Access, Ask
from gnn_assets.bars.sources import yahoo
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import (
    AccessRefused,
    BadSymbol,
    Malformed,
    NoData,
    SourceError,
    Throttled,
    UnknownSymbol,
    Upstream,
)
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets_tests.bars.vendors.faults import Reply
from gnn_assets_tests.bars.vendors.yahoo_server import CHART, NOT_FOUND, Listing, YahooServer, chart, result_of

FIRST, LAST = date(2022, 1, 3), date(2022, 1, 6)
# Seconds; the shorter one where the answer is meant to be too slow, the longer so that a busy machine never is.
SHORT, LONG = 0.5, 20
ROWS = [
    (date(2022, 1, 3), 10.0, 11.0, 9.0, 10.5, 1000),
    (date(2022, 1, 4), 10.5, 12.0, 10.0, 11.0, 2000),
    (date(2022, 1, 5), 11.0, 11.5, 10.5, 11.25, 1500),
    (date(2022, 1, 6), 11.0, 11.25, 10.75, 11.0, 900),
]
APPLE = Listing(ROWS, splits={date(2022, 1, 4): (4, 1)}, dividends={date(2022, 1, 6): 0.22})


@cache
def exchanges() -> Exchanges:
    def calendar(code: str) -> SessionCalendar:
        return SessionCalendar.build(
            code, first=date(2021, 1, 4), until=date(2022, 12, 30), grace=timedelta(minutes=30)
        )

    return Exchanges(calendar("XNYS"), {code: calendar(code) for code in ("XLON", "XKRX", "XBOM")})


class Guard:
    """Tries again at once, so often; counts what it let through."""

    def __init__(self, tries=1):
        self.tries = tries
        self.sent = 0

    def __call__(self, send):
        for left in reversed(range(self.tries)):
            self.sent += 1
            try:
                return send()
            except (Throttled, Upstream):
                if not left:
                    raise
        raise AssertionError


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("yahoo")


@pytest.fixture
def server(monkeypatch):
    with YahooServer({"AAPL": APPLE, "MSFT": Listing(ROWS[:2])}) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


@pytest.fixture
def opened(scratch):
    def open_with(guard=None, *, timeout=LONG):
        config = build_config("test", {"sources": {"yahoo": {"timeout_seconds": timeout}}})
        return yahoo.open_source(
            Access(
                config=config,
                keys={},
                guard=guard or Guard(),
                exchanges=exchanges(),
                now=lambda: datetime(2022, 6, 1, 12, tzinfo=UTC),
                home=scratch,
                scratch=scratch,
            )
        )

    return open_with


def ask(symbol="AAPL", exchange="XNYS", first=FIRST, last=LAST):
    return Ask((symbol,), exchange, first, last)


def expected(rows=tuple(ROWS), symbol="AAPL"):
    return pl.DataFrame(
        [(symbol, row[0], *row[1:]) for row in rows], schema=dict(FETCHED_COLUMNS), orient="row", strict=False
    )


def broken(change, *, symbol="AAPL", listing=APPLE):
    """The bytes of a chart after `change` was made to its result."""
    result = result_of(symbol, listing)
    change(result)
    return chart(result)


# --- what a healthy Yahoo says ---


def test_bars_splits_and_dividends_are_those_of_the_chart_and_cost_one_request(server, opened):
    guard = Guard()
    fetched = opened(guard).fetch(ask())
    assert fetched.bars.equals(expected())
    assert fetched.actions.rows() == [
        ("AAPL", date(2022, 1, 4), "split", 4.0),
        ("AAPL", date(2022, 1, 6), "dividend", 0.22),
    ]
    assert fetched.bars.schema == dict(FETCHED_COLUMNS)
    assert fetched.actions.schema == dict(ACTION_COLUMNS)
    assert fetched.failures == {}
    assert guard.sent == len(server.asked) == 1
    assert server.proxy.connected == ["query2.finance.yahoo.com:443"]


def test_the_request_names_the_days_asked_in_the_exchange_s_zone_and_no_crumb(server, opened):
    opened().fetch(ask())
    (asked,) = server.asked
    assert asked.path == CHART + "AAPL"
    assert asked.query["period1"] == str(int(datetime(2022, 1, 3, 5, tzinfo=UTC).timestamp()))
    assert asked.query["period2"] == str(int(datetime(2022, 1, 7, 5, tzinfo=UTC).timestamp()))
    assert asked.query["interval"] == "1d"
    assert "crumb" not in asked.query
    assert "Cookie" not in asked.headers


def test_the_payload_hash_is_that_of_the_bytes_as_sent(server, opened):
    sent = chart(result_of("AAPL", APPLE)) + b"\n"
    server.script(CHART, Reply(sent))
    assert opened().fetch(ask()).payload_hash == hashlib.sha256(sent).hexdigest()


def test_an_unchanged_question_is_asked_again_and_not_answered_from_a_cache(server, opened):
    source = opened()
    before = source.fetch(ask())
    server.listings["AAPL"] = Listing([(*ROWS[0][:4], 99.0, 1000), *ROWS[1:]])
    after = source.fetch(ask())
    assert (before.bars["close"][0], after.bars["close"][0]) == (10.5, 99.0)
    assert len(server.asked) == 2


def test_the_basis_is_split_and_a_symbol_is_asked_for_alone(opened):
    source = opened()
    assert (source.basis, source.symbols_per_ask(ask())) == ("split", 1)
    assert (yahoo.KEYS, yahoo.SIMULATED) == ((), False)


# --- names ---


@pytest.mark.parametrize("name", ["BRK.B", "BRK-B"])
def test_a_class_of_shares_is_asked_for_by_yahoo_s_name_and_told_by_ours(server, opened, name):
    server.listings["BRK-B"] = Listing(ROWS)
    fetched = opened().fetch(ask(name))
    assert server.asked[0].path == CHART + "BRK-B"
    assert fetched.bars.equals(expected(symbol=name))


@pytest.mark.parametrize(
    ("name", "exchange", "zone"),
    [
        ("VOD.L", "XLON", "Europe/London"),
        ("005930.KS", "XKRX", "Asia/Seoul"),
        ("M&M.NS", "XBOM", "Asia/Kolkata"),
        ("^GSPC", "XNYS", "America/New_York"),
    ],
)
def test_suffixes_of_other_exchanges_and_indices_are_asked_for_as_they_are(server, opened, name, exchange, zone):
    server.listings[name] = Listing(ROWS, timezone=zone, opens=time(9))
    assert opened().fetch(ask(name, exchange)).bars.equals(expected(symbol=name))


@pytest.mark.parametrize("name", ["../../etc/passwd", "X?y=1#z", "A B", "", "A" * 40, "aapl", "AAPL\n", "A/../B"])
def test_what_is_no_symbol_never_reaches_the_wire(server, opened, name):
    guard = Guard()
    with pytest.raises(BadSymbol):
        opened(guard).fetch(ask(name))
    assert guard.sent == len(server.asked) == len(server.proxy.connected) == 0


def test_an_isin_is_not_searched_for(server, opened):
    fetched = opened().fetch(ask("US0378331005"))
    assert isinstance(fetched.failures["US0378331005"], UnknownSymbol)
    assert server.proxy.connected == []


# --- nothing to tell ---


def test_a_symbol_yahoo_does_not_know_is_a_failure_of_the_symbol_after_one_request(server, opened):
    guard = Guard(tries=3)
    fetched = opened(guard).fetch(ask("NOPE"))
    assert fetched.bars.is_empty()
    assert isinstance(fetched.failures["NOPE"], UnknownSymbol)
    assert fetched.payload_hash == hashlib.sha256(chart(error=NOT_FOUND)).hexdigest()
    assert guard.sent == len(server.asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(chart()),
        Reply(b'{"chart":{"result":null,"error":null}}'),
        Reply(chart(result_of("AAPL", Listing()))),
        Reply(
            chart(error={"code": "Bad Request", "description": "Data doesn't exist for startDate = 1, endDate = 2"}),
            status=400,
        ),
    ],
    ids=["empty", "null", "no time stamp", "dates refused"],
)
def test_no_bar_on_the_dates_is_no_data_of_the_symbol(server, opened, reply):
    server.script(CHART, reply)
    fetched = opened().fetch(ask())
    assert isinstance(fetched.failures["AAPL"], NoData)
    assert fetched.bars.schema == dict(FETCHED_COLUMNS)
    assert fetched.bars.is_empty()
    assert len(server.asked) == 1


def test_a_bar_beyond_the_dates_asked_is_no_answer_to_the_ask(server, opened):
    server.script(CHART, Reply(chart(result_of("AAPL", APPLE))))
    fetched = opened().fetch(ask(last=date(2022, 1, 4)))
    assert fetched.bars.equals(expected(ROWS[:2]))
    assert fetched.actions["kind"].to_list() == ["split"]


# --- faults: one request an attempt, a typed error, nothing kept ---

FAULTS = {
    "throttled": (Reply(b"Too Many Requests", status=429), Throttled),
    "500": (Reply(status=500), Upstream),
    "503": (Reply(status=503), Upstream),
    "reset": (Reply(cut="reset"), Upstream),
    "cut short": (Reply(chart(result_of("AAPL", APPLE)), cut="short"), Upstream),
    "slow": (Reply(chart(result_of("AAPL", APPLE)), delay=LONG), Upstream),
    "unauthorized": (Reply(status=401), AccessRefused),
    "forbidden": (Reply(status=403), AccessRefused),
    "half JSON": (Reply(chart(result_of("AAPL", APPLE))[:-40]), Malformed),
    "HTML": (Reply(b"<html>Will be right back</html>"), Malformed),
    "HTML 404": (Reply(b"<html>Not found</html>", status=404), Malformed),
    "nothing": (Reply(b""), Malformed),
    "redirect": (Reply(status=302, headers={"Location": "https://guce.yahoo.com/consent"}), Malformed),
    "chart under 404": (Reply(chart(result_of("AAPL", APPLE)), status=404), Malformed),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_typed_error_after_one_request_an_attempt(server, opened, fault):
    reply, kind = FAULTS[fault]
    server.always(CHART, reply)
    timeout = SHORT if fault == "slow" else LONG
    with pytest.raises(SourceError) as raised:
        opened(timeout=timeout).fetch(ask())
    assert type(raised.value) is kind
    assert len(server.asked) == 1
    guard = Guard(tries=3)
    with pytest.raises(kind):
        opened(guard, timeout=timeout).fetch(ask())
    assert guard.sent == (3 if kind in {Throttled, Upstream} else 1)
    assert len(server.asked) == 1 + guard.sent


@pytest.mark.parametrize(
    ("headers", "wait"),
    [({}, None), ({"Retry-After": "7"}, 7.0), ({"Retry-After": "Wed, 01 Jun 2022 12:00:30 GMT"}, 30.0)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_yahoo_asks_for_is_told(server, opened, status, headers, wait):
    server.script(CHART, Reply(status=status, headers=headers))
    with pytest.raises((Throttled, Upstream)) as raised:
        opened().fetch(ask())
    assert raised.value.retry_after == wait


def test_a_handshake_that_is_cut_is_upstream(server, opened):
    server.proxy.cut_handshakes(1)
    with pytest.raises(Upstream, match="expected an answer, was"):
        opened().fetch(ask())
    assert len(server.proxy.connected) == 1
    assert server.asked == []


def test_a_proxy_that_is_not_there_is_upstream(server, opened, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(Upstream):
        opened().fetch(ask())


@pytest.mark.parametrize("fault", ["throttled", "503", "reset", "cut short"])
def test_a_fault_that_passes_is_tried_again_inside_the_request(server, opened, fault):
    server.script(CHART, FAULTS[fault][0])
    guard = Guard(tries=2)
    assert opened(guard).fetch(ask()).bars.equals(expected())
    assert guard.sent == len(server.asked) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_the_same_and_the_next_symbol_are_healthy(server, opened, fault):
    source = opened(timeout=SHORT if fault == "slow" else LONG)
    server.script(CHART, FAULTS[fault][0])
    with pytest.raises(SourceError):
        source.fetch(ask())
    assert source.fetch(ask("MSFT")).bars.equals(expected(ROWS[:2], symbol="MSFT"))
    assert source.fetch(ask()).bars.equals(expected())
    assert len(server.asked) == 3


def test_the_answer_that_was_refused_is_kept_whole(server, opened):
    page = b"<html>" + b"x" * 5000
    server.script(CHART, Reply(page))
    with pytest.raises(Malformed, match="expected JSON, was 5006 bytes") as raised:
        opened().fetch(ask())
    assert raised.value.payload == page


@pytest.mark.slow
def test_a_client_whose_cache_is_broken_is_one_sentence(server, tmp_path):
    (tmp_path / "tkr-tz.db").write_bytes(b"no database at all " * 100)
    result = in_a_process_of_its_own(server, tmp_path)
    assert "Upstream: yahoo, asked for AAPL: expected its client to ask for a chart, was DatabaseError" in result.stderr
    assert server.asked == []


@pytest.mark.slow
def test_a_client_that_has_no_cache_asks_nothing_but_what_it_was_told_to(server, tmp_path):
    (tmp_path / "file").write_text("")
    result = in_a_process_of_its_own(server, tmp_path / "file" / "scratch")
    assert "expected its client to ask for a chart, was ConnectionError in it; check that" in result.stderr
    assert server.asked == []


@pytest.mark.slow
def test_a_process_of_its_own_asks_once_without_a_warning_or_a_word_and_writes_to_its_scratch_only(server, tmp_path):
    result = in_a_process_of_its_own(server, tmp_path / "scratch")
    assert (result.returncode, result.stdout.split(), result.stderr) == (0, ["4", "2"], "")
    assert len(server.asked) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"scratch"}


def in_a_process_of_its_own(server, scratch):
    code = """
import sys
from datetime import date, timedelta
from pathlib import Path
from gnn_assets.bars.fetched import Access, Ask
from gnn_assets.bars.sources import yahoo
from gnn_assets.core.config import build_config
from gnn_assets.core.sessions import Exchanges, SessionCalendar
calendar = SessionCalendar.build("XNYS", first=date(2021, 1, 4), until=date(2022, 1, 31), grace=timedelta(0))
scratch = Path(sys.argv[1])
source = yahoo.open_source(
    Access(build_config("test"), {}, lambda send: send(), Exchanges(calendar, {}), None, scratch, scratch)
)
assert "yfinance" not in sys.modules
fetched = source.fetch(Ask(("AAPL",), "XNYS", date(2022, 1, 3), date(2022, 1, 6)))
print(fetched.bars.height, fetched.actions.height)
"""
    home = dict.fromkeys(("HOME", "XDG_CACHE_HOME"), str(scratch.parent))
    return subprocess.run(
        [sys.executable, "-W", "error", "-B", "-c", code, str(scratch)],
        env={**os.environ, **server.environment, **home, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )


# --- what is told is kept as told ---


def parsed(payload, *, status=200):
    return yahoo.parse_chart(payload, ask=ask(), timezone="America/New_York", status=status)


def test_null_infinite_negative_and_zero_values_are_kept_for_the_rules(server, opened):
    rows = [
        (date(2022, 1, 3), None, None, None, None, None),
        (date(2022, 1, 4), 1.0, math.inf, 1.0, 1.0, math.inf),
        (date(2022, 1, 5), -1.0, -1.0, -1.0, -1.0, -5),
        (date(2022, 1, 6), 0, 0, 0, 0, 0),
    ]
    server.listings["AAPL"] = Listing(rows)
    fetched = opened().fetch(ask())
    assert b"1e999" in server.answer(server.asked[0]).body
    assert fetched.bars.equals(expected(rows))


def test_a_day_told_twice_is_told_twice_such_as_the_session_still_open():
    def add_newest_trade(result):
        result["timestamp"].append(APPLE.stamp(date(2022, 1, 6)) + 3 * 3600)
        for values in result["indicators"]["quote"][0].values():
            values.append(77)

    bars, _ = parsed(broken(add_newest_trade))
    assert bars.filter(pl.col("session") == LAST)["close"].to_list() == [11.0, 77.0]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_number_is_refused(literal):
    with pytest.raises(Malformed, match="expected JSON"):
        parsed(chart(result_of("AAPL", APPLE)).replace(b"10.5", literal.encode()))


# --- time ---


NEW_YORK, LONDON, SEOUL = ("XNYS", "America/New_York"), ("XLON", "Europe/London"), ("XKRX", "Asia/Seoul")
DAYS = {
    "clocks go forward": (*NEW_YORK, time(9, 30), date(2022, 3, 11), date(2022, 3, 14)),
    "clocks go back": (*NEW_YORK, time(9, 30), date(2022, 11, 4), date(2022, 11, 7)),
    "a half day": (*NEW_YORK, time(9, 30), date(2022, 11, 25), date(2022, 11, 28)),
    "stamped at midnight in summer time": (*LONDON, time(0), date(2022, 3, 25), date(2022, 3, 28)),
    "midnight in UTC": (*SEOUL, time(9), date(2022, 1, 3), date(2022, 1, 4)),
    "the day before in UTC": (*SEOUL, time(8), date(2022, 1, 3), date(2022, 1, 4)),
}


@pytest.mark.parametrize("case", DAYS)
def test_a_session_is_the_date_in_the_exchange_s_zone(server, opened, case):
    exchange, zone, opens, *days = DAYS[case]
    server.listings["ANY"] = Listing([(day, 1.0, 1.0, 1.0, 1.0, 1) for day in days], timezone=zone, opens=opens)
    assert opened().fetch(ask("ANY", exchange, *days)).bars["session"].to_list() == days


@pytest.mark.parametrize("zone", ["Europe/London", "UTC", "EST", None, 5])
def test_another_zone_than_the_exchange_s_is_refused(zone):
    with pytest.raises(Malformed, match=r"expected 'America/New_York' as meta\.exchangeTimezoneName \(not '"):
        parsed(broken(lambda result: result["meta"].update(exchangeTimezoneName=zone)))


# --- shape ---


def set_in(*path, to):
    def change(result):
        place = result
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


SPLIT = str(APPLE.stamp(date(2022, 1, 4)))
DIVIDEND = str(APPLE.stamp(date(2022, 1, 6)))
QUOTE = ("indicators", "quote", 0)
WRONG = {
    "another symbol": set_in("meta", "symbol", to="MSFT"),
    "weekly bars": set_in("meta", "dataGranularity", to="1wk"),
    "no meta": set_in("meta", to=None),
    "fewer time stamps": lambda result: result["timestamp"].pop(),
    "more time stamps": lambda result: result["timestamp"].append(1641490000),
    "fewer closes": lambda result: result["indicators"]["quote"][0]["close"].pop(),
    "no volume": lambda result: result["indicators"]["quote"][0].pop("volume"),
    "two quotes": lambda result: result["indicators"]["quote"].append({}),
    "no quote": set_in("indicators", "quote", to=[]),
    "null time stamp": set_in("timestamp", 0, to=None),
    "fractional time stamp": set_in("timestamp", 0, to=1641220200.5),
    "true as a time stamp": set_in("timestamp", 0, to=True),
    "a time stamp beyond all years": set_in("timestamp", 0, to=10**18),
    "time stamps as text": set_in("timestamp", to="1641220200"),
    "a price as text": set_in(*QUOTE, "close", 0, to="10.5"),
    "true as a price": set_in(*QUOTE, "close", 0, to=True),
    "a price in a list": set_in(*QUOTE, "open", 0, to=[10.5]),
    "a whole number no double holds": set_in(*QUOTE, "volume", 0, to=10**400),
    "events as a list": set_in("events", to=[]),
    "a split by nothing": set_in("events", "splits", SPLIT, "denominator", to=0),
    "a split into nothing": set_in("events", "splits", SPLIT, "numerator", to=0),
    "a negative split": set_in("events", "splits", SPLIT, "numerator", to=-2),
    "an infinite split": set_in("events", "splits", SPLIT, "numerator", to=math.inf),
    "a split whose ratio no double holds": set_in("events", "splits", SPLIT, "denominator", to=5e-324),
    "a split without date": set_in("events", "splits", SPLIT, "date", to=None),
    "a split without ratio": set_in("events", "splits", SPLIT, to={"date": 1641306600}),
    "a negative dividend": set_in("events", "dividends", DIVIDEND, "amount", to=-0.1),
    "an infinite dividend": set_in("events", "dividends", DIVIDEND, "amount", to=math.inf),
    "a dividend in other money": set_in("events", "dividends", DIVIDEND, "currency", to="EUR"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_an_answer_of_another_shape_is_refused_whole(fault):
    payload = broken(WRONG[fault])
    with pytest.raises(Malformed) as raised:
        parsed(payload)
    assert raised.value.payload == payload


@pytest.mark.parametrize(
    "content", [[], {}, {"chart": None}, {"chart": {"result": {}}}, {"chart": {"result": [1, 2]}}, 5]
)
def test_json_that_is_no_chart_is_refused(content):
    with pytest.raises(Malformed):
        parsed(json.dumps(content).encode())


def test_an_error_of_another_kind_is_refused_and_no_word_about_the_symbol():
    with pytest.raises(Malformed, match="a known reason"):
        parsed(chart(error={"code": "Internal Error", "description": "Data unavailable"}))
    with pytest.raises(Malformed, match="reason for HTTP 400"):
        parsed(b'{"chart":{"result":null,"error":null}}', status=400)
