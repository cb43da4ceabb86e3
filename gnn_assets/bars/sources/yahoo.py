"""Yahoo: daily bars of most exchanges, without a key, through the unmodified yfinance client.

The client puts the question: address, parameters, a browser's handshake. The answer is taken from it at the wire, and
never reaches its frame, because the frame repairs: a volume of null becomes 0, a date told twice is told once, late
rows are dropped. Nor does it reach its cache, which would give the same answer, or the same error, again. What Yahoo
told is read here instead, from the audited bytes, by `parse_chart`.

Of the client's requests only the chart's is sent, so that a symbol costs one request. The cookie and the crumb it would
fetch first are no condition of a chart, by its own account; it goes on without them.
"""

import functools
import hashlib
import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import polars as pl

from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS, VALUES, Access, Ask, Fetched
from gnn_assets.bars.universe import check_symbol
from gnn_assets.bars.wire import malformed, refuse_status, strict_json
from gnn_assets.core.errors import NoData, SourceError, UnknownSymbol, Upstream

if TYPE_CHECKING:
    from curl_cffi.requests import Session

NAME_FOR_PEOPLE = "Yahoo Finance: daily bars with splits and dividends (yfinance)"
TERMS = "Yahoo's data are for personal use, by yfinance's own account; read Yahoo's terms before any other use."
KEYS = ()
SIMULATED = False

_NAME = "yahoo"
_CHART = "/v8/finance/chart/"
# Every name exchange_calendars has for the calendar that the exchanges of the United States share.
_US_EXCHANGES = frozenset({"XNYS", "XNAS", "XASE", "ARCX", "BATS", "OOTC", "NYSE", "NASDAQ"})
# Yahoo tells in the body why there is no chart, under these statuses.
_TOLD_IN_BODY = frozenset({200, 400, 404})
# The client is one object a process, whatever session it was given last.
_CLIENT = threading.Lock()


class _Answered(Exception):
    """No fault: brings an answer out of the client, past everything it would do to it."""

    def __init__(self, status: int, payload: bytes) -> None:
        super().__init__()
        self.status = status
        self.payload = payload


def open_source(access: Access) -> "YahooSource":
    """The source; nothing is asked yet."""
    return YahooSource(access)


@dataclass(frozen=True)
class YahooSource:
    """Bars adjusted for splits, not for dividends, one symbol an ask.

    Args:
        access: what it works with.
    """

    access: Access

    @property
    def basis(self) -> str:
        """Closes that are not auto-adjusted carry the splits, and no dividend."""
        return "split"

    @functools.cached_property
    def _session(self) -> "Session":
        return _audited_session(self.access)

    def symbols_per_ask(self, ask: Ask) -> int:  # noqa: ARG002 - the same for every ask
        """One: a chart shows one symbol."""
        return 1

    def fetch(self, ask: Ask) -> Fetched:
        """The bars, splits and dividends of one symbol.

        Known at: the bar of a session still open is among them as it stood at the request.

        Raises:
            BadSymbol: for what is no symbol; nobody is asked.
            Throttled, Upstream, Malformed, AccessRefused: as `Source.fetch` says.
        """
        (symbol,) = ask.symbols
        check_symbol(symbol)
        calendar = self.access.exchanges.of(ask.exchange)
        nothing = pl.DataFrame(schema=dict(FETCHED_COLUMNS))
        if _is_isin(symbol):
            told = UnknownSymbol.of(
                f"{_NAME}, asked for {symbol}", expected="a ticker", was="an ISIN", do="write the ticker"
            )
            return Fetched(nothing, {symbol: told}, hashlib.sha256(b"").hexdigest())
        status, payload = _ask(self.access, self._session, ask, calendar.timezone)
        digest = hashlib.sha256(payload).hexdigest()
        try:
            bars, actions = parse_chart(payload, ask=ask, timezone=calendar.timezone, status=status)
        except (NoData, UnknownSymbol) as told:
            return Fetched(nothing, {symbol: told}, digest)
        return Fetched(bars, {}, digest, actions)


def yahoo_symbol(symbol: str, *, exchange: str) -> str:
    """Yahoo's name of a symbol: a class of shares in the United States is written with a hyphen, BRK.B as BRK-B.

    Args:
        symbol: as the universe writes it.
        exchange: ISO 10383 code; elsewhere a dot is Yahoo's own suffix for the exchange, as in VOD.L.
    """
    return symbol.replace(".", "-") if exchange in _US_EXCHANGES else symbol


def parse_chart(payload: bytes, *, ask: Ask, timezone: str, status: int = 200) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What a chart says of the dates asked, value by value as it says it.

    A session is the date of the bar's time stamp in the exchange's zone. Yahoo adds the newest trade to charts of the
    past; dates outside the ask are no answer to it and are left out. Capital gains that funds pay out are left out
    too: Yahoo counts them among the dividends already.

    Args:
        payload: JSON as Yahoo sent it.
        ask: what was asked for, one symbol.
        timezone: IANA name of the exchange's zone.
        status: HTTP status it came with.

    Returns:
        Bars (`FETCHED_COLUMNS`) and corporate actions (`ACTION_COLUMNS`).

    Raises:
        NoData: if there is no bar on the dates asked.
        UnknownSymbol: if Yahoo says that it does not know the symbol.
        Malformed: if it is no chart of this symbol, in this zone, with numbers where numbers belong.
    """
    return _Chart(payload, ask, timezone).read(status)


@dataclass(frozen=True)
class _Chart:
    """One answer being read; whatever does not fit is refused with what was expected."""

    payload: bytes
    ask: Ask
    timezone: str

    @property
    def symbol(self) -> str:
        return self.ask.symbols[0]

    def read(self, status: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        answer = self._mapping(strict_json(self.payload, source=_NAME, asked=self.symbol), "an object")
        chart = self._mapping(answer.get("chart"), "chart")
        if chart.get("error") is not None:
            self._refuse_error(self._mapping(chart["error"], "chart.error"))
        if status != 200:  # noqa: PLR2004 - the status of an answer that is no error
            self._refuse(f"a reason for HTTP {status}")
        results = chart.get("result")
        if results is None or results == []:
            self._no_data()
        if not isinstance(results, list) or len(results) != 1:
            self._refuse("one chart.result")
        result = self._mapping(results[0], "chart.result[0]")
        self._check_meta(self._mapping(result.get("meta"), "meta"))
        bars = self._bars(result)
        if bars.is_empty():
            self._no_data()
        return bars, self._actions(result)

    def _refuse_error(self, error: Mapping[str, Any]) -> NoReturn:
        code, description = error.get("code"), error.get("description")
        subject = f"{_NAME}, asked for {self.symbol}"
        if code == "Not Found":
            raise UnknownSymbol.of(
                subject,
                expected="a symbol it knows",
                was="'Not Found' (it may be delisted)",
                do="check the symbol, or name another source for it",
            )
        if isinstance(description, str) and description.startswith("Data doesn't exist"):
            self._no_data()
        self._refuse("a chart, or a known reason why there is none")

    def _check_meta(self, meta: Mapping[str, Any]) -> None:
        expected = {
            "symbol": yahoo_symbol(self.symbol, exchange=self.ask.exchange),
            # Never guessed: in another zone the same time stamp may be another session.
            "exchangeTimezoneName": self.timezone,
            "dataGranularity": "1d",
        }
        for name, value in expected.items():
            if meta.get(name) != value:
                self._refuse(f"{value!r} as meta.{name} (not {str(meta.get(name))[:40]!r})")

    def _bars(self, result: Mapping[str, Any]) -> pl.DataFrame:
        stamps = result.get("timestamp", [])
        indicators = self._mapping(result.get("indicators"), "indicators")
        quotes = indicators.get("quote")
        if not isinstance(stamps, list):
            self._refuse("a list as timestamp")
        if not isinstance(quotes, list) or len(quotes) != 1:
            self._refuse("one indicators.quote")
        quote = self._mapping(quotes[0], "indicators.quote[0]")
        sessions = [self._session(stamp) for stamp in stamps]
        asked = [place for place, session in enumerate(sessions) if self._is_asked(session)]
        # Without a time stamp Yahoo leaves the values out altogether.
        columns = {name: self._column(quote, name, len(stamps)) if stamps else [] for name in VALUES}
        return pl.DataFrame(
            {
                "symbol": [self.symbol] * len(asked),
                "session": [sessions[place] for place in asked],
                **{name: [column[place] for place in asked] for name, column in columns.items()},
            },
            schema=dict(FETCHED_COLUMNS),
        )

    def _column(self, quote: Mapping[str, Any], name: str, length: int) -> list[float | None]:
        values = quote.get(name)
        if not isinstance(values, list) or len(values) != length:
            self._refuse(f"{length} values as {name}, one a time stamp")
        return [None if value is None else self._number(value, name) for value in values]

    def _actions(self, result: Mapping[str, Any]) -> pl.DataFrame:
        events = self._mapping(result.get("events", {}), "events")
        rows: list[tuple[str, date, str, float]] = []
        for event in self._mapping(events.get("splits", {}), "events.splits").values():
            split = self._mapping(event, "a split")
            rows.append((self.symbol, self._session(split.get("date")), "split", self._ratio(split)))
        for event in self._mapping(events.get("dividends", {}), "events.dividends").values():
            dividend = self._mapping(event, "a dividend")
            # The key is there only where the currency is not that of the prices.
            if "currency" in dividend and dividend["currency"] != result["meta"].get("currency"):
                self._refuse("a dividend in the currency of the prices")
            amount = self._number(dividend.get("amount"), "a dividend")
            if not 0 <= amount < math.inf:
                self._refuse("a dividend of 0 or more")
            rows.append((self.symbol, self._session(dividend.get("date")), "dividend", amount))
        return pl.DataFrame([row for row in rows if self._is_asked(row[1])], schema=dict(ACTION_COLUMNS), orient="row")

    def _ratio(self, split: Mapping[str, Any]) -> float:
        new, old = (self._number(split.get(name), f"a split's {name}") for name in ("numerator", "denominator"))
        # Every earlier return hangs on it, and no row rule would see it.
        if not (0 < new < math.inf and 0 < old < math.inf and 0 < new / old < math.inf):
            self._refuse("a split's numerator and denominator above 0")
        return new / old

    def _session(self, stamp: object) -> date:
        if type(stamp) is not int:
            self._refuse("whole seconds as time stamps")
        try:
            return datetime.fromtimestamp(stamp, ZoneInfo(self.timezone)).date()
        except (OverflowError, ValueError, OSError):
            self._refuse("time stamps of the years 1 to 9999")

    def _is_asked(self, session: date) -> bool:
        return self.ask.first <= session <= self.ask.last

    def _number(self, value: object, name: str) -> float:
        # A truth value is an int to Python and no number to anybody else.
        if type(value) not in {int, float}:
            self._refuse(f"numbers as {name}")
        try:
            return float(value)  # ty: ignore[invalid-argument-type] - narrowed above
        except OverflowError:
            self._refuse(f"numbers as {name} that a double can hold")

    def _mapping(self, value: object, name: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self._refuse(f"{name} to be an object")
        return value

    def _no_data(self) -> NoReturn:
        raise NoData.of(
            f"{_NAME}, asked for {self.symbol}",
            expected=f"bars from {self.ask.first} to {self.ask.last}",
            was="none",
            do="check the dates, or name another source for it",
        )

    def _refuse(self, expected: str) -> NoReturn:
        raise malformed(self.payload, source=_NAME, asked=self.symbol, expected=expected)


def _is_isin(symbol: str) -> bool:
    """Whether the client would search for the symbol's ticker first, which is another question than was asked."""
    from yfinance import utils

    return utils.is_isin(symbol)


def _ask(access: Access, session: "Session", ask: Ask, timezone: str) -> tuple[int, bytes]:
    """Lets the client ask for the chart of the symbol.

    Returns:
        HTTP status, one of `_TOLD_IN_BODY`, and the bytes of the answer.
    """
    import yfinance
    from yfinance import cache

    name = yahoo_symbol(ask.symbols[0], exchange=ask.exchange)
    with _CLIENT:
        try:
            _set_up_client(access.scratch)
            # It wants to know the zone before it asks, and would spend a request on it.
            zones = cache.get_tz_cache()
            if zones.lookup(name) != timezone:
                zones.store(name, timezone)
            yfinance.Ticker(name, session=session).history(
                start=ask.first,
                end=ask.last + timedelta(days=1),
                auto_adjust=False,
                actions=True,
                keepna=True,
                timeout=access.config.sources.yahoo.timeout_seconds,
            )
        except _Answered as answered:
            return answered.status, answered.payload
        except SourceError:
            raise
        except Exception as error:
            # Whatever went wrong in it, such as its own cache on a full disk, no answer came.
            raise _client_failed(access, name, was=f"{type(error).__name__} in it") from error
    raise _client_failed(access, name, was="no request")


@functools.cache
def _set_up_client(scratch: Path) -> None:
    """The client's settings hold for the process; its cache stays where it is used first."""
    import yfinance

    yfinance.config.debug.hide_exceptions = False
    # Its complaints of the requests that are not sent; what matters is raised.
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    yfinance.set_tz_cache_location(str(scratch))


def _client_failed(access: Access, name: str, *, was: str) -> Upstream:
    return Upstream.of(
        f"{_NAME}, asked for {name}",
        expected="its client to ask for a chart",
        was=was,
        do=f"check that {access.scratch} can be written, and empty it",
    )


def _audited_session(access: Access) -> "Session":
    """A session that sends chart requests only, guarded, and brings their answers out of the client."""
    from curl_cffi.requests import Session
    from curl_cffi.requests.exceptions import RequestException

    class AuditedSession(Session):
        def request(self, *arguments: Any, **options: Any) -> NoReturn:
            path = urlsplit(options["url"]).path
            # The client takes this error for a connection that failed, and goes on without what it wanted.
            if not path.startswith(_CHART) or "period1" not in options.get("params", {}):
                raise ConnectionError(path)
            asked = path.removeprefix(_CHART)
            parent = super()

            def send() -> tuple[int, bytes]:
                try:
                    answer = parent.request(*arguments, **options)
                except RequestException as error:
                    raise Upstream(
                        f"{_NAME}, asked for {asked}: expected an answer, was {type(error).__name__} "
                        f"(curl error {error.code:d}); it is tried again."
                    ) from error
                if answer.status_code not in _TOLD_IN_BODY:
                    refuse_status(answer.status_code, answer.headers, source=_NAME, asked=asked, now=access.now())
                return answer.status_code, answer.content

            raise _Answered(*access.guard(send))

    # A redirect would be a request that nobody counted.
    return AuditedSession(impersonate="chrome", allow_redirects=False)
