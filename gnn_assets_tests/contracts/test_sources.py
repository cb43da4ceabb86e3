"""What every source of bars must do.

A new file under bars/sources is tested here without further ado; one that asks over a network needs an entry in
`NETWORK` beside it, which opens it on a loopback server of its own.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import gnn_assets.bars.sources
from gnn_assets.bars.fetched import ACTION_COLUMNS, BASES, FETCHED_COLUMNS, Access, Ask, Fetched, Source
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import BadSymbol, NoData, SourceError, UnknownSymbol
from gnn_assets.core.plugins import load_plugin, plugin_names
from gnn_assets.core.sessions import Exchanges
from gnn_assets_tests.bars import market
from gnn_assets_tests.bars.vendors.alpaca_server import AlpacaServer
from gnn_assets_tests.bars.vendors.massive_server import MassiveServer
from gnn_assets_tests.bars.vendors.yahoo_server import Listing, YahooServer

PACKAGE = gnn_assets.bars.sources.__name__
SYMBOLS = ("AAPL", "JPM", "XOM")
STRANGER = "ZZZZZ"
DATES = market.sessions(8)
FIRST, LAST = DATES[1], DATES[-2]
# The vendors and the folder tell a session more at either end than is asked for.
TOLD = market.bars(
    {symbol: [10.0 * place + step for step in range(8)] for place, symbol in enumerate(SYMBOLS, start=1)},
    dates=DATES,
    open=9.0,
    high=99.0,
    low=1.0,
    volume=1000.0,
)


@dataclass
class Place:
    """Where a source is opened.

    Args:
        folder: the home.
        open: closes what was started when the test ends.
        environment: sets a variable for the test.
    """

    folder: Path
    open: ExitStack
    environment: Callable[[str, str], None]


@dataclass(frozen=True)
class Settings:
    """What a source needs besides its name: its section of the configuration, and its keys."""

    section: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Opened:
    """A source, the keys it was given, and how many requests its guard has let through."""

    source: Source
    keys: Mapping[str, str]
    sent: list[int]

    def fetch(self, *symbols: str, first: date = FIRST, last: date = LAST) -> list[Fetched]:
        """The answers to asks of as many symbols as the source likes."""
        symbols = symbols or SYMBOLS
        many = self.source.symbols_per_ask(Ask(symbols, "XNYS", first, last))
        portions = [symbols[start : start + many] for start in range(0, len(symbols), many)]
        return [self.source.fetch(Ask(portion, "XNYS", first, last)) for portion in portions]


def bars_of(answers: list[Fetched]) -> pl.DataFrame:
    return pl.concat([answer.bars for answer in answers]).sort("symbol", "session")


def failures_of(answers: list[Fetched]) -> dict[str, SourceError]:
    return {symbol: reason for answer in answers for symbol, reason in answer.failures.items()}


def yahoo(place: Place) -> Settings:
    columns = ("session", "open", "high", "low", "close", "volume")
    listings = {
        symbol: Listing(rows=TOLD.filter(pl.col("symbol") == symbol).select(columns).rows()) for symbol in SYMBOLS
    }
    server = place.open.enter_context(YahooServer(listings))
    for name, value in server.environment.items():
        place.environment(name, value)
    return Settings()


def massive(place: Place) -> Settings:
    server = place.open.enter_context(MassiveServer(TOLD))
    return Settings({"base_url": server.url}, {"massive_key": server.key})


def alpaca(place: Place) -> Settings:
    server = place.open.enter_context(AlpacaServer(TOLD))
    return Settings({"base_url": server.url}, {"alpaca_key": server.key, "alpaca_secret": server.secret})


def files(place: Place) -> Settings:
    TOLD.write_parquet(place.folder / "bars.parquet")
    return Settings({"folder": "."})


NETWORK = {"alpaca": alpaca, "massive": massive, "yahoo": yahoo}
LOCAL = {"files": files}


@pytest.fixture(params=plugin_names(PACKAGE))
def name(request) -> str:
    return request.param


@pytest.fixture
def opened(name, tmp_path, monkeypatch) -> Iterator[Opened]:
    sent: list[int] = []

    def guard(send):
        sent.append(1)
        return send()

    with ExitStack() as stack:
        settings = {**NETWORK, **LOCAL}.get(name, lambda _: Settings())(Place(tmp_path, stack, monkeypatch.setenv))
        access = Access(
            config=build_config("test", {"sources": {name: settings.section}} if settings.section else {}),
            keys=settings.keys,
            guard=guard,
            exchanges=Exchanges(primary=market.calendar(), others={}),
            now=lambda: datetime(2022, 6, 1, tzinfo=UTC),
            home=tmp_path,
            scratch=tmp_path / "scratch",
        )
        (tmp_path / "scratch").mkdir()
        yield Opened(load_plugin(PACKAGE, name).open_source(access), settings.keys, sent)


def test_says_what_it_is_under_which_terms_and_what_it_needs(name):
    plugin = load_plugin(PACKAGE, name)
    assert plugin.NAME_FOR_PEOPLE.strip()
    assert len(plugin.TERMS.split()) > 5
    assert all(re.fullmatch("[a-z_]+", key) for key in plugin.KEYS)
    assert not isinstance(plugin.KEYS, str)


def test_a_simulation_calls_itself_one_wherever_it_is_named(name):
    plugin = load_plugin(PACKAGE, name)
    told = f"{plugin.NAME_FOR_PEOPLE} {plugin.TERMS}".lower()
    assert told.count("not market data") == (2 if plugin.SIMULATED else 0)


def test_names_the_keys_it_cannot_do_without(name, opened):
    assert set(load_plugin(PACKAGE, name).KEYS) == set(opened.keys)


def test_asks_nobody_anything_when_it_is_opened(opened):
    assert opened.source.basis in BASES
    assert opened.sent == []


@pytest.mark.parametrize("days", [-1, 0, 10, 10_000])
def test_takes_at_least_one_symbol_an_ask_whatever_the_range(opened, days):
    last = date.fromordinal(FIRST.toordinal() + days)
    assert opened.source.symbols_per_ask(Ask(SYMBOLS, "XNYS", FIRST, last)) >= 1


def test_gives_the_declared_columns_and_a_bar_of_each_symbol_on_each_session_of_the_range(opened):
    answers = opened.fetch()
    for answer in answers:
        assert dict(answer.bars.schema) == dict(FETCHED_COLUMNS)
        assert dict(answer.actions.schema) == dict(ACTION_COLUMNS)
        assert answer.actions["session"].is_between(FIRST, LAST).all()
        assert answer.failures == {}
    expected = [(symbol, session) for symbol in SYMBOLS for session in DATES[1:-1]]
    assert bars_of(answers).select("symbol", "session").rows() == expected


def test_a_network_is_asked_through_the_guard_alone_and_a_folder_not_at_all(name, opened):
    opened.fetch()
    assert bool(opened.sent) == (name in NETWORK)


def test_gives_the_same_answer_again_under_the_same_hash(opened):
    for once, again in zip(opened.fetch(), opened.fetch(), strict=True):
        assert re.fullmatch("[0-9a-f]{64}", once.payload_hash)
        assert once.payload_hash == again.payload_hash
        assert once.bars.equals(again.bars)
        assert once.actions.equals(again.actions)


def test_a_symbol_has_the_same_bars_in_any_company_and_any_range(opened):
    alone = bars_of(opened.fetch("JPM", first=DATES[2], last=DATES[4]))
    among = bars_of(opened.fetch()).filter(symbol="JPM").filter(pl.col("session").is_between(DATES[2], DATES[4]))
    assert alone.height == 3
    assert alone.equals(among)


def test_a_stranger_is_reported_with_a_reason_never_invented(opened):
    answers = opened.fetch(*SYMBOLS, STRANGER)
    assert set(bars_of(answers)["symbol"]) == set(SYMBOLS)
    failures = failures_of(answers)
    assert set(failures) == {STRANGER}
    assert isinstance(failures[STRANGER], (NoData, UnknownSymbol))
    assert STRANGER in str(failures[STRANGER])


def test_strangers_alone_are_an_answer_without_bars(opened):
    (answer,) = opened.fetch(STRANGER)
    assert answer.bars.is_empty()
    assert dict(answer.bars.schema) == dict(FETCHED_COLUMNS)
    assert set(answer.failures) == {STRANGER}


def test_a_range_without_a_session_is_a_failure_of_each_symbol(opened):
    answers = opened.fetch(first=date(2022, 1, 8), last=date(2022, 1, 9))
    assert bars_of(answers).is_empty()
    assert {symbol: type(reason) for symbol, reason in failures_of(answers).items()} == dict.fromkeys(SYMBOLS, NoData)


@pytest.mark.parametrize("hostile", ["../../etc/passwd", "X?y=1#z", "A B", "", "A" * 40, "AAPL\n"])
def test_whatever_is_no_symbol_is_refused_before_anybody_is_asked(opened, hostile):
    symbols = ("AAPL", hostile)
    many = opened.source.symbols_per_ask(Ask(symbols, "XNYS", FIRST, LAST))
    with pytest.raises(BadSymbol):
        opened.source.fetch(Ask(symbols[-many:], "XNYS", FIRST, LAST))
    assert opened.sent == []
