"""What every vendor's source must do whatever its server does; each vendor's tests run all of it."""

import hashlib
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

import gnn_assets.bars.sources
from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS, Access, Ask, Fetched, Source
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import (
    AccessRefused,
    BadSymbol,
    Malformed,
    NoData,
    SourceError,
    Throttled,
    Upstream,
)
from gnn_assets.core.plugins import load_plugin
from gnn_assets.core.sessions import Exchanges
from gnn_assets_tests.bars import market
from gnn_assets_tests.bars.vendors.faults import Reply, ScriptedServer

NOW = datetime(2022, 2, 1, 12, 0, 0, tzinfo=UTC)
SYMBOLS = ("AAPL", "BRK-B", "MSFT")
HTML = b"<!doctype html><html><body>Sorry, we will be back soon.</body></html>"


@dataclass
class Guard:
    """Counts what is sent, and sends again after a fault that may pass, so many times in all."""

    tries: int = 1
    sent: int = 0

    def __call__(self, send: Callable[[], Any]) -> Any:
        for left in reversed(range(self.tries)):
            self.sent += 1
            try:
                return send()
            except (Throttled, Upstream):
                if not left:
                    raise
        raise AssertionError


@dataclass(frozen=True)
class Vendor:
    """One vendor: its plug-in, its server, and where bars are asked for.

    Args:
        name: of the plug-in and of its section of the configuration.
        server: makes its loopback server from bars under the vendor's names.
        bars_path: how the path of a request for bars begins.
        keys: name → value that the server accepts.
        requests: how many a healthy ask of so many symbols takes, more sessions than symbols.
    """

    name: str
    server: Callable[..., ScriptedServer]
    bars_path: str
    keys: Mapping[str, str]
    requests: Callable[[int], int]

    def source(self, server: ScriptedServer, guard: Guard, **changed: Any) -> Source:
        """The plug-in, opened on a server; `changed` are other keys or settings."""
        settings = {"base_url": server.url, "timeout_seconds": 5.0, **changed.pop("settings", {})}
        access = Access(
            config=build_config("live", {"sources": {self.name: settings}}),
            keys={**self.keys, **changed},
            guard=guard,
            exchanges=Exchanges(primary=market.calendar(), others={}),
            now=lambda: NOW,
            home=Path(),
            scratch=Path(),
        )
        return load_plugin(gnn_assets.bars.sources.__name__, self.name).open_source(access)

    def fetch(
        self, server: ScriptedServer, symbols: Sequence[str] = SYMBOLS, *, guard: Guard | None = None, **changed: Any
    ) -> Fetched:
        """What the source tells about the sessions of `told`; `changed` are fields of the ask, keys or settings."""
        dates = market.sessions(5)
        ask = Ask(
            tuple(symbols),
            changed.pop("exchange", "XNYS"),
            changed.pop("first", dates[0]),
            changed.pop("last", dates[-1]),
        )
        return self.source(server, guard or Guard(), **changed).fetch(ask)


def told(symbols: Sequence[str] = ("AAPL", "BRK.B", "MSFT"), **values: Any) -> pl.DataFrame:
    """Five sessions of bars under a vendor's names; `values` replace a whole column."""
    rows = [
        {
            "symbol": symbol,
            "session": session,
            "open": 10.0 + place + step,
            "high": 12.0 + place + step,
            "low": 9.5 + place + step,
            "close": 11.0 + place + step / 8,
            "volume": 1000.0 * (place + 1) + step,
            **values,
        }
        for place, symbol in enumerate(symbols)
        for step, session in enumerate(market.sessions(5))
    ]
    return pl.DataFrame(rows, schema=dict(FETCHED_COLUMNS))


def named(bars: pl.DataFrame) -> pl.DataFrame:
    """The same bars under the universe's names."""
    return bars.with_columns(pl.col("symbol").str.replace("BRK.B", "BRK-B", literal=True))


@dataclass
class Heard(logging.Handler):
    """Every log record of every logger, at any level."""

    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.DEBUG)

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class VendorScenarios:
    """Subclassed by each vendor's tests."""

    vendor: ClassVar[Vendor]

    # What a healthy vendor tells.

    def test_tells_exactly_what_the_vendor_told_and_every_request_passes_the_guard(self):
        guard = Guard()
        with self.vendor.server(told()) as server:
            answer = self.vendor.fetch(server, guard=guard)
        assert answer.bars.equals(named(told()))
        assert dict(answer.bars.schema) == dict(FETCHED_COLUMNS)
        assert dict(answer.actions.schema) == dict(ACTION_COLUMNS)
        assert answer.failures == {}
        assert len(server.asked) == guard.sent == self.vendor.requests(3)

    def test_puts_pages_together_and_hashes_all_their_bytes_in_order(self):
        guard = Guard()
        with self.vendor.server(told(), page_size=2) as server:
            answer = self.vendor.fetch(server, guard=guard)
        assert answer.bars.equals(named(told()))
        assert guard.sent == len(server.asked) > self.vendor.requests(3)
        assert answer.payload_hash == hashlib.sha256(b"".join(reply.body for reply in server.told)).hexdigest()

    def test_asks_by_the_vendors_name_of_a_class_share_and_answers_by_the_universes(self):
        with self.vendor.server(told(("BRK.B",))) as server:
            dashed, dotted = (self.vendor.fetch(server, (name,)) for name in ("BRK-B", "BRK.B"))
        assert set(dashed.bars["symbol"]) == {"BRK-B"}
        assert set(dotted.bars["symbol"]) == {"BRK.B"}
        assert dashed.bars.drop("symbol").equals(dotted.bars.drop("symbol"))
        assert all("BRK-B" not in target for target in server.targets)

    def test_keeps_null_infinite_and_negative_values(self):
        odd = told().with_columns(
            open=pl.lit(None, pl.Float64), high=pl.lit(float("inf")), low=pl.lit(-3.0), volume=pl.lit(0.0)
        )
        with self.vendor.server(odd) as server:
            assert self.vendor.fetch(server).bars.equals(named(odd))

    def test_keeps_a_bar_that_is_told_twice(self):
        twice = pl.concat([told(("AAPL",)), told(("AAPL",), close=1.0)]).sort("session", maintain_order=True)
        with self.vendor.server(twice) as server:
            assert self.vendor.fetch(server, ("AAPL",)).bars.equals(twice)

    def test_dates_bars_by_the_exchange_across_the_changes_of_its_clock(self):
        dates = [date(2022, 3, 11), date(2022, 3, 14), date(2022, 11, 4), date(2022, 11, 7), date(2022, 11, 25)]
        bars = told(("AAPL",)).with_columns(session=pl.Series(dates))
        with self.vendor.server(bars) as server:
            answer = self.vendor.fetch(server, ("AAPL",), first=dates[0], last=dates[-1])
        assert answer.bars["session"].to_list() == dates

    # What it has nothing about.

    def test_an_empty_answer_is_no_data_for_each_symbol(self):
        with self.vendor.server(told().clear()) as server:
            answer = self.vendor.fetch(server)
        assert answer.bars.is_empty()
        assert {symbol: type(error) for symbol, error in answer.failures.items()} == dict.fromkeys(SYMBOLS, NoData)
        assert dict(answer.bars.schema) == dict(FETCHED_COLUMNS)

    def test_a_symbol_absent_from_the_answer_is_named_and_the_others_are_kept(self):
        with self.vendor.server(told(("AAPL", "MSFT"))) as server:
            answer = self.vendor.fetch(server)
        assert answer.bars.equals(told(("AAPL", "MSFT")))
        assert list(answer.failures) == ["BRK-B"]
        assert isinstance(answer.failures["BRK-B"], NoData)
        assert "BRK-B" in str(answer.failures["BRK-B"])

    @pytest.mark.parametrize(
        ("symbols", "exchange", "reason"),
        [(("VOD", "AAPL"), "XLON", "XLON"), (("^GSPC",), "XNYS", "an index"), (("^FTSE",), "XLON", "an index")],
    )
    def test_nobody_is_asked_for_an_index_or_another_exchange(self, symbols, exchange, reason):
        guard = Guard()
        with self.vendor.server(told()) as server:
            answer = self.vendor.fetch(server, symbols, exchange=exchange, guard=guard)
        assert server.asked == []
        assert guard.sent == 0
        assert set(answer.failures) == set(symbols)
        assert all(isinstance(error, NoData) and reason in str(error) for error in answer.failures.values())

    def test_an_index_among_shares_fails_alone(self):
        with self.vendor.server(told()) as server:
            answer = self.vendor.fetch(server, (*SYMBOLS, "^GSPC"))
        assert list(answer.failures) == ["^GSPC"]
        assert answer.bars.equals(named(told()))
        assert all("GSPC" not in target for target in server.targets)

    def test_nobody_is_asked_about_a_range_without_a_session(self):
        with self.vendor.server(told()) as server:
            answer = self.vendor.fetch(server, first=date(2022, 1, 8), last=date(2022, 1, 9))
        assert server.asked == []
        assert set(answer.failures) == set(SYMBOLS)

    @pytest.mark.parametrize("hostile", ["../../etc/passwd", "X?y=1#z", "A B", "", "A" * 40, "AAPL\n", "ＡＡＰＬ"])
    def test_a_hostile_symbol_never_reaches_the_wire(self, hostile):
        with self.vendor.server(told()) as server:
            with pytest.raises(BadSymbol):
                self.vendor.fetch(server, ("AAPL", hostile))
            assert server.asked == []

    # What a faulty vendor does.

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"Retry-After": "7"}, 7.0),
            ({"retry-after": "Tue, 01 Feb 2022 12:01:30 GMT"}, 90.0),
            ({"Retry-After": "soon"}, None),
        ],
    )
    def test_too_many_requests_says_how_long_to_wait_and_is_sent_once(self, headers, seconds):
        guard = Guard()
        with self.vendor.server(told()) as server:
            server.always("/", Reply(b'{"error": "slow down"}', status=429, headers=headers))
            with pytest.raises(Throttled) as caught:
                self.vendor.fetch(server, guard=guard)
        assert caught.value.retry_after == seconds
        assert len(server.asked) == guard.sent == 1

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_server_error_is_upstream_and_is_sent_once(self, status):
        with self.vendor.server(told()) as server:
            server.always("/", Reply(HTML, status=status, headers={"Retry-After": "3"}))
            with pytest.raises(Upstream) as caught:
                self.vendor.fetch(server)
        assert caught.value.retry_after == 3.0
        assert len(server.asked) == 1

    def test_a_fault_that_passes_costs_one_more_request(self):
        guard = Guard(tries=3)
        with self.vendor.server(told()) as server:
            server.script("/", Reply(status=503))
            answer = self.vendor.fetch(server, guard=guard)
        assert answer.bars.equals(named(told()))
        assert len(server.asked) == guard.sent == self.vendor.requests(3) + 1

    @pytest.mark.parametrize("body", [HTML, b"", b"null", b"[]", b"{}", b'{"status": "OK", "bars": 3}', b"\xff\xfe"])
    def test_an_answer_in_another_format_is_malformed_and_its_bytes_are_kept(self, body):
        with self.vendor.server(told()) as server:
            server.always("/", Reply(body))
            with pytest.raises(Malformed) as caught:
                self.vendor.fetch(server)
        assert caught.value.payload == body

    def test_truncated_json_is_malformed(self):
        with self.vendor.server(told()) as server:
            self.vendor.fetch(server)
            whole = server.told[0].body
            server.script("/", Reply(whole[: len(whole) // 2]))
            with pytest.raises(Malformed):
                self.vendor.fetch(server)

    def test_a_body_shorter_than_promised_is_upstream(self):
        with self.vendor.server(told()) as server:
            server.always("/", Reply(b"{" + b" " * 1000, cut="short"))
            with pytest.raises(Upstream):
                self.vendor.fetch(server)

    def test_a_body_that_cannot_be_unpacked_is_malformed(self):
        with self.vendor.server(told()) as server:
            server.always("/", Reply(b"no gzip at all", headers={"Content-Encoding": "gzip"}))
            with pytest.raises(Malformed):
                self.vendor.fetch(server)

    @pytest.mark.parametrize("wrong", ['"11.5"', "true", "NaN", "Infinity", "[]", "{}"])
    def test_what_is_no_number_in_a_field_of_numbers_is_malformed(self, wrong):
        with self.vendor.server(told()) as server:
            self.vendor.fetch(server)
            body = next(r.body for r, a in zip(server.told, server.asked, strict=True) if self._bars(a.path))
            changed = body.replace(b'"c": 11.0,', f'"c": {wrong},'.encode())
            assert changed != body
            server.always(self.vendor.bars_path, Reply(changed))
            with pytest.raises(Malformed):
                self.vendor.fetch(server)

    def test_a_missing_field_is_malformed(self):
        with self.vendor.server(told()) as server:
            self.vendor.fetch(server)
            body = server.told[0].body
            server.always(self.vendor.bars_path, Reply(body.replace(b'"c":', b'"close":')))
            with pytest.raises(Malformed, match="a field c"):
                self.vendor.fetch(server)

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            (Reply(status=500), Upstream),
            (Reply(status=429), Throttled),
            (Reply(HTML), Malformed),
            (Reply(b'{"results": [{'), Malformed),
            (Reply(b"{}"), Malformed),
            (Reply(status=404), Malformed),
            (Reply(cut="reset"), Upstream),
        ],
    )
    def test_a_bad_second_page_fails_the_whole_ask(self, fault, error):
        with self.vendor.server(told(), page_size=2) as server:
            server.script(self.vendor.bars_path, None, fault)
            with pytest.raises(error):
                self.vendor.fetch(server)
        assert len(server.asked) == 2

    def test_a_second_page_that_fails_once_is_neither_lost_nor_doubled(self):
        with self.vendor.server(told(), page_size=2) as server:
            server.script(self.vendor.bars_path, None, Reply(status=503))
            assert self.vendor.fetch(server, guard=Guard(tries=2)).bars.equals(named(told()))

    def test_pages_that_lead_to_themselves_are_malformed(self):
        with self.vendor.server(told(), page_size=2) as server:
            server.script(self.vendor.bars_path, None, None)
            self.vendor.fetch(server)
            second = next(r for r, a in zip(server.told, server.asked, strict=True) if self._second(a.query))
            server.asked.clear()
            server.script(self.vendor.bars_path, None)
            server.always(self.vendor.bars_path, second)
            with pytest.raises(Malformed, match="pages that end"):
                self.vendor.fetch(server)
        assert len(server.asked) == 3

    def test_an_answer_slower_than_the_timeout_is_upstream(self):
        with self.vendor.server(told()) as server:
            # Sooner than the clients' own patience: whoever waits for it finds an answer of the wrong format.
            server.always("/", Reply(b"{}", delay=3))
            with pytest.raises(Upstream):
                self.vendor.fetch(server, settings={"timeout_seconds": 0.2})
        assert len(server.asked) == 1

    def test_a_reset_connection_is_upstream_and_is_not_tried_again_by_the_client(self):
        with self.vendor.server(told()) as server:
            server.always("/", Reply(cut="reset"))
            with pytest.raises(Upstream):
                self.vendor.fetch(server)
        assert len(server.asked) == 1

    def test_a_server_that_is_not_there_is_upstream(self):
        with self.vendor.server(told()) as server:
            pass
        with pytest.raises(Upstream):
            self.vendor.fetch(server)

    def test_an_address_the_vendor_does_not_know_is_malformed(self):
        with self.vendor.server(told()) as server:
            server.always("/", Reply(b'{"status": "NOT_FOUND"}', status=404))
            with pytest.raises(Malformed, match="base_url"):
                self.vendor.fetch(server)

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirect_is_not_followed_with_the_key(self, status):
        with self.vendor.server(told()) as server, ScriptedServer() as other:
            server.always("/", Reply(status=status, headers={"Location": f"{other.url}/elsewhere"}))
            with pytest.raises(Malformed):
                self.vendor.fetch(server)
            assert other.asked == []
        assert len(server.asked) == 1

    # Keys.

    @pytest.mark.parametrize("status", [None, 401, 403])
    def test_a_refused_key_is_said_and_its_value_is_nowhere(self, status):
        secret = "sekrit-0123456789"
        with self.vendor.server(told()) as server:
            if status:
                server.always("/", Reply(f"<html>{secret}</html>".encode(), status=status))
            lines = self._everything_said(AccessRefused, server, secret)
        assert lines
        assert len(server.asked) == 1
        assert any(secret in value for value in server.asked[0].headers.values())

    def test_an_answer_that_repeats_the_key_is_kept_nowhere(self):
        secret = "sekrit-0123456789"
        with self.vendor.server(told()) as server:
            server.always("/", Reply(f"<html>{secret}</html>".encode()))
            self._everything_said(Malformed, server, secret)

    @pytest.mark.parametrize("secret", ["", "sekrit 0123456789", "sekrit-0123456789\n", "sekrit-ё-0123456789"])
    def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(self, secret):
        with self.vendor.server(told()) as server:
            self._everything_said(AccessRefused, server, secret or "sekrit", value=secret)
        assert server.asked == []

    def _everything_said(
        self, error: type[SourceError], server: ScriptedServer, secret: str, *, value: str | None = None
    ) -> list[str]:
        """Error texts with all their causes, payloads and log records, after a look that the secret is in none."""
        heard, root = Heard(), logging.getLogger()
        level = root.level
        root.addHandler(heard)
        root.setLevel(logging.DEBUG)
        try:
            with pytest.raises(error) as caught:
                self.vendor.fetch(server, **dict.fromkeys(self.vendor.keys, secret if value is None else value))
        finally:
            root.removeHandler(heard)
            root.setLevel(level)
        lines = [*traceback.format_exception(caught.value), *heard.lines]
        # The lines of source in a traceback are the test's own; the secret is never written there.
        assert secret not in "".join(lines)
        assert secret.encode() not in getattr(caught.value, "payload", b"")
        return lines

    def _bars(self, path: str) -> bool:
        return path.startswith(self.vendor.bars_path)

    @staticmethod
    def _second(query: Mapping[str, str]) -> bool:
        return "2" in {query.get("cursor"), query.get("page_token")}
