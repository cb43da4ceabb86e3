"""Alpaca: daily bars of US stocks as traded, splits and dividends, through its own client.

The client sleeps and sends again by itself, waits for ever, and merges pages without looking at them. Only what it
knows of addresses, parameters, headers and connections is used here; answers are read strictly, page by page.
"""

import warnings
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from gnn_assets.bars.fetched import FETCHED_COLUMNS, Access, Ask, Fetched
from gnn_assets.bars.paged import (
    TOLD_ACTIONS,
    US_EXCHANGES,
    Answer,
    Page,
    day,
    frame,
    header_key,
    number,
    objects,
    parsed,
    positive,
    ratio,
    require,
    text,
    us_names,
)
from gnn_assets.bars.wire import malformed, refuse_status
from gnn_assets.core.errors import Malformed, NoData, Upstream

NAME_FOR_PEOPLE = "Alpaca: US stocks, daily bars as traded"
TERMS = "Alpaca's market data agreement says what you may do with these prices; do not pass them on to others."
KEYS = ("alpaca_key", "alpaca_secret")
SIMULATED = False

_SOURCE = "alpaca"
# The most rows a page may have, by Alpaca's own rules.
_MOST_BARS, _MOST_ACTIONS = 10_000, 1_000
_BAR_FIELDS = ("o", "h", "l", "c", "v")
_NOON = 12
# Actions are found by the date they are processed: a dividend's is its payable date, weeks after the ex-date as a rule,
# and the day before it where the amount is large.
_PROCESSED_BEFORE, _PROCESSED_AFTER = timedelta(days=7), timedelta(days=90)


def open_source(access: Access) -> "Alpaca":
    """The source, opened; asks nobody anything.

    Raises:
        AccessRefused: if a key is missing, or can be none.
    """
    return Alpaca(access)


class Alpaca:
    """Alpaca's answers: see `Source`."""

    basis = "raw"

    def __init__(self, access: Access) -> None:
        self._access = access
        self._clients = _clients(access)

    def symbols_per_ask(self, ask: Ask) -> int:
        """As many as `sources.alpaca.symbols_per_ask` says; all where nobody is asked."""
        if ask.exchange not in US_EXCHANGES:
            return max(len(ask.symbols), 1)
        return self._access.config.sources.alpaca.symbols_per_ask

    def fetch(self, ask: Ask) -> Fetched:
        """The bars, splits and dividends of the symbols from `ask.first` to `ask.last`, both included.

        Raises:
            BadSymbol: for what is no symbol, before any request.
            Throttled, Upstream, Malformed, AccessRefused: the whole ask failed.
        """
        names = us_names(ask)
        answer = Answer(_SOURCE, self._access.guard)
        wanted = sorted(set(names.values()))
        calendar = self._access.exchanges.of(ask.exchange) if wanted else None
        sessions = calendar.between(ask.first, ask.last) if calendar else ()
        if calendar and sessions:
            zone = ZoneInfo(calendar.timezone)
            start = datetime.combine(ask.first, time(0), zone)
            # Not the end of the day: a plan without recent data refuses any range that reaches the last minutes.
            end = calendar.close_at(sessions[-1])
            answer.add(
                self._clients.bars(wanted, start, end),
                partial(parse_bars, names=wanted, first=ask.first, last=ask.last, zone=zone),
            )
            answer.add(
                self._clients.actions(wanted, ask.first - _PROCESSED_BEFORE, ask.last + _PROCESSED_AFTER),
                partial(parse_actions, names=wanted),
            )
        return answer.fetched(ask, names)


def parse_bars(payload: bytes, *, names: Collection[str], first: date, last: date, zone: ZoneInfo) -> Page:
    """Bars of several symbols.

    Args:
        payload: the answer.
        names: Alpaca's names of the symbols asked for.
        first: first date asked for.
        last: last date asked for.
        zone: of the exchange, in which a bar's moment has its date.

    Raises:
        Malformed: if it is anything else than bars of those names between the dates.
    """

    def read(content: dict[str, Any]) -> Page:
        rows = []
        for name, told in _groups(content, "bars").items():
            require(name in names, "bars of the symbols asked for only")
            for row in objects(told, "bars of a symbol"):
                session = _session(row, zone)
                require(first <= session <= last, f"dates from {first} to {last}")
                rows.append((name, session, *(number(row, field) for field in _BAR_FIELDS)))
        return Page(frame(rows, FETCHED_COLUMNS), _token(content))

    return parsed(payload, source=_SOURCE, asked="bars", read=read)


def parse_actions(payload: bytes, *, names: Collection[str]) -> Page:
    """Splits, whose `value` is new shares for one old, and dividends, whose `value` is US dollars a share.

    Args:
        payload: the answer.
        names: Alpaca's names of the symbols asked for.

    Raises:
        Malformed: if it is anything else than such actions.
    """

    def read(content: dict[str, Any]) -> Page:
        rows = []
        for group, told in _groups(content, "corporate_actions").items():
            actions = objects(told, "actions of a type")
            # A new name for splits must not pass for no splits.
            require(group in _VALUES or not actions, "actions of the types asked for only")
            for row in actions:
                kind, value = _VALUES[group]
                name = text(row, "symbol")
                require(name in names, "actions of the symbols asked for only")
                rows.append((name, day(row, "ex_date"), kind, value(row), ascii(row.get("special"))))
        return Page(frame(rows, TOLD_ACTIONS), _token(content))

    return parsed(payload, source=_SOURCE, asked="corporate actions", read=read)


_rates: Callable[[Mapping[str, Any]], float] = partial(ratio, new="new_rate", old="old_rate")
# Group of the answer → our kind, and what its value is; the same types are asked for in `_clients`.
_VALUES: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], float]]] = {
    "forward_splits": ("split", _rates),
    "reverse_splits": ("split", _rates),
    "cash_dividends": ("dividend", partial(positive, field="rate")),
}


def _groups(content: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Lists by name; null is none."""
    require(field in content, f"a field {field}")
    groups = content[field]
    require(groups is None or isinstance(groups, dict), f"lists by name in {field}")
    return groups or {}


def _session(row: Mapping[str, Any], zone: ZoneInfo) -> date:
    """Date of a bar on its exchange, from the moment the day began there."""
    try:
        moment = datetime.fromisoformat(text(row, "t"))
        local = moment.astimezone(zone)
    except (ValueError, OverflowError) as error:
        raise ValueError("a moment such as 2024-01-31T05:00:00Z for t") from error
    require(moment.tzinfo is not None, "a moment with its zone for t")
    # Midnight in another zone would shift every bar by a day.
    require(local.hour < _NOON, "moments at which a day of the exchange begins")
    return local.date()


def _token(content: Mapping[str, Any]) -> str | None:
    token = content.get("next_page_token")
    require(token is None or (isinstance(token, str) and token.isascii() and token != ""), "a next_page_token")
    return token


class _Clients(NamedTuple):
    """What makes the sender of a question: symbols, start and end → page token → bytes."""

    bars: Callable[[list[str], datetime, datetime], Callable[[str | None], Any]]
    actions: Callable[[list[str], date, date], Callable[[str | None], Any]]


def _clients(access: Access) -> _Clients:
    """The vendor's clients, each of whose calls is one request, and whose errors are told."""
    with warnings.catch_warnings():
        # alpaca-py 0.44 imports a deprecated part of websockets, which nothing here uses.
        warnings.simplefilter("ignore", DeprecationWarning)
        from alpaca.common.rest import RESTClient
        from alpaca.data.enums import Adjustment, CorporateActionsType, DataFeed
        from alpaca.data.historical.corporate_actions import CorporateActionsClient
        from alpaca.data.historical.stock import StockHistoricalDataClient
        from alpaca.data.requests import CorporateActionsRequest, StockBarsRequest
        from alpaca.data.timeframe import TimeFrame
    from requests.exceptions import ContentDecodingError, RequestException

    settings = access.config.sources.alpaca
    keys = [header_key(access, name) for name in KEYS]

    class StrictClient(RESTClient):
        """Gives the bytes of an answer; the vendor's own method has no timeout and hides what it decodes."""

        def _one_request(self, method: str, url: str, opts: dict[str, Any], retry: int) -> Any:  # noqa: ARG002
            asked = urlsplit(url).path
            subject = f"{_SOURCE}, asked for {asked}"
            try:
                answer = self._session.request(method, url, **opts, timeout=settings.timeout_seconds)
            except ContentDecodingError as error:
                raise malformed(b"", source=_SOURCE, asked=asked, expected="a body that can be decoded") from error
            except RequestException as error:
                raise Upstream.of(
                    subject, expected="an answer", was=type(error).__name__, do="wait, it is tried again"
                ) from error
            try:
                refuse_status(answer.status_code, answer.headers, source=_SOURCE, asked=asked, now=access.now())
            except NoData as error:
                # A symbol it does not know is left out of an answer; an address it does not know is no answer at all.
                raise Malformed.of(subject, expected="HTTP 200", was="HTTP 404", do="check its base_url") from error
            if any(key.encode() in answer.content for key in keys):
                raise Malformed.of(
                    subject, expected="an answer without the key", was="one that repeats it", do="check its base_url"
                )
            return answer.content

    class Bars(StrictClient, StockHistoricalDataClient):
        pass

    class Actions(StrictClient, CorporateActionsClient):
        pass

    base = settings.base_url.rstrip("/") if settings.base_url else None
    stocks, corporate = (client(api_key=keys[0], secret_key=keys[1], url_override=base) for client in (Bars, Actions))

    def bars(symbols: list[str], start: datetime, end: datetime) -> Callable[[str | None], Any]:
        request = StockBarsRequest(
            symbol_or_symbols=symbols,
            timeframe=TimeFrame.Day,
            start=start,
            end=end,
            limit=_MOST_BARS,
            adjustment=Adjustment.RAW,
            feed=DataFeed(settings.feed),
        )
        fields = request.to_request_fields()
        return lambda token: stocks.get("/stocks/bars", {**fields, "page_token": token})

    def actions(symbols: list[str], start: date, end: date) -> Callable[[str | None], Any]:
        types = [
            CorporateActionsType.FORWARD_SPLIT,
            CorporateActionsType.REVERSE_SPLIT,
            CorporateActionsType.CASH_DIVIDEND,
        ]
        request = CorporateActionsRequest(symbols=symbols, types=types, start=start, end=end, limit=_MOST_ACTIONS)
        fields = {**request.to_request_fields(), "symbols": ",".join(symbols), "types": ",".join(types)}
        return lambda token: corporate.get("/corporate-actions", {**fields, "page_token": token})

    return _Clients(bars=bars, actions=actions)
