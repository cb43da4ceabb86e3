"""massive (once Polygon): daily bars of the whole US market as traded, splits and dividends, through its own client.

The client decodes half an answer to half the bars and an undecodable one to none, and its errors carry no status.
Only what it knows of addresses, parameters, headers and connections is used here; answers are read strictly.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
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

if TYPE_CHECKING:
    from massive import RESTClient

NAME_FOR_PEOPLE = "massive: consolidated US stocks, daily bars as traded"
TERMS = "The plan behind your key says what you may do with these prices; do not pass them on to others."
KEYS = ("massive_key",)
SIMULATED = False

_SOURCE = "massive"
# The most rows a page may have, by massive's own rules.
_AGGREGATES, _REFERENCES = 50_000, 1_000
_GOOD = ("OK", "DELAYED")
_BAR_FIELDS = ("o", "h", "l", "c", "v")
_LAST_MS = 253_402_214_400_000  # 9999-12-31, the last day a date can hold
_NOON = 12
# Longer ranges are asked for symbol by symbol: at a free plan's five calls a minute these take six minutes, and a run
# that is killed loses no more than that.
_MOST_GROUPED_SESSIONS = 30


def open_source(access: Access) -> "Massive":
    """The source, opened; asks nobody anything.

    Raises:
        AccessRefused: if there is no key, or it can be none.
    """
    return Massive(access)


class Massive:
    """massive's answers: see `Source`."""

    basis = "raw"

    def __init__(self, access: Access) -> None:
        self._access = access
        self._client = _client(access, header_key(access, KEYS[0]))

    def symbols_per_ask(self, ask: Ask) -> int:
        """All of them where a call a session for the whole market is cheaper and soon done, else one."""
        if ask.exchange in US_EXCHANGES and not self._by_session(ask):
            return 1
        return max(len(ask.symbols), 1)

    def fetch(self, ask: Ask) -> Fetched:
        """The bars, splits and dividends of the symbols from `ask.first` to `ask.last`, both included.

        Raises:
            BadSymbol: for what is no symbol, before any request.
            Throttled, Upstream, Malformed, AccessRefused: the whole ask failed.
        """
        names = us_names(ask)
        answer = Answer(_SOURCE, self._access.guard)
        wanted = frozenset(names.values())
        sessions = self._sessions(ask) if wanted else ()
        if sessions and self._by_session(ask):
            for session in sessions:
                self._add_grouped(answer, ask, session, wanted)
            self._add_actions(answer, ask, None, wanted)
        elif sessions:
            for name in sorted(wanted):
                self._add_aggs(answer, ask, name)
                self._add_actions(answer, ask, name, wanted)
        return answer.fetched(ask, names)

    def _sessions(self, ask: Ask) -> tuple[date, ...]:
        return self._access.exchanges.of(ask.exchange).between(ask.first, ask.last)

    def _by_session(self, ask: Ask) -> bool:
        return len(self._sessions(ask)) < min(len(ask.symbols), _MOST_GROUPED_SESSIONS + 1)

    def _zone(self, ask: Ask) -> ZoneInfo:
        return ZoneInfo(self._access.exchanges.of(ask.exchange).timezone)

    def _add_grouped(self, answer: Answer, ask: Ask, session: date, names: Collection[str]) -> None:
        send = partial(self._client.get_grouped_daily_aggs, session.isoformat(), adjusted=False, raw=True)
        answer.add(self._paged(send), partial(parse_grouped, names=names, session=session, zone=self._zone(ask)))

    def _add_aggs(self, answer: Answer, ask: Ask, name: str) -> None:
        span = ask.first.isoformat(), ask.last.isoformat()
        settings = {"adjusted": False, "sort": "asc", "limit": _AGGREGATES, "raw": True}
        send = partial(self._client.list_aggs, name, 1, "day", *span, **settings)
        parse = partial(parse_aggs, name=name, first=ask.first, last=ask.last, zone=self._zone(ask))
        answer.add(self._paged(send), partial(parse, base=self._client.BASE))

    def _add_actions(self, answer: Answer, ask: Ask, name: str | None, names: Collection[str]) -> None:
        """Splits and dividends of one name, or of the whole market."""
        client, first, last = self._client, ask.first.isoformat(), ask.last.isoformat()
        settings = {"ticker": name, "limit": _REFERENCES, "raw": True}
        splits = partial(client.list_splits, execution_date_gte=first, execution_date_lte=last, **settings)
        dividends = partial(client.list_dividends, ex_dividend_date_gte=first, ex_dividend_date_lte=last, **settings)
        answer.add(self._paged(splits), partial(parse_splits, names=names, base=client.BASE))
        answer.add(self._paged(dividends), partial(parse_dividends, names=names, base=client.BASE))

    def _paged(self, first: Callable[[], Any]) -> Callable[[str | None], Any]:
        """Sends for the first page by the vendor's own method, for another by its path."""
        return lambda following: self._client._get(following) if following else first()  # noqa: SLF001 - see `_client`


def parse_aggs(payload: bytes, *, name: str, first: date, last: date, zone: ZoneInfo, base: str) -> Page:
    """Bars of one symbol.

    Args:
        payload: the answer.
        name: massive's name of the symbol asked for.
        first: first date asked for.
        last: last date asked for.
        zone: of the exchange, in which a bar's moment has its date.
        base: address asked; the next page must be there too.

    Raises:
        Malformed: if it is anything else than bars of that name between the dates.
    """

    def read(content: dict[str, Any]) -> Page:
        results = _counted(content)
        require(content.get("ticker") == name, f"the ticker {name}")
        rows = []
        for row in results:
            local = _local(row, zone)
            # A day's bar carries the moment its day begins; midnight in another zone would shift every bar by a day.
            require(local.hour < _NOON, "moments at which a day of the exchange begins")
            require(first <= local.date() <= last, f"dates from {first} to {last}")
            rows.append(_bar(row, name, local.date()))
        return Page(frame(rows, FETCHED_COLUMNS), _following(content, base))

    return parsed(payload, source=_SOURCE, asked=f"the bars of {name}", read=read)


def parse_grouped(payload: bytes, *, names: Collection[str], session: date, zone: ZoneInfo) -> Page:
    """Bars of the whole market on one session, of which the wanted are kept.

    Args:
        payload: the answer.
        names: massive's names of the symbols wanted.
        session: the date asked for.
        zone: of the exchange, in which a bar's moment has its date.

    Raises:
        Malformed: if it is anything else than bars of that date.
    """

    def read(content: dict[str, Any]) -> Page:
        rows = []
        for row in _counted(content):
            name = text(row, "T")
            if name in names:
                require(_local(row, zone).date() == session, f"bars of {session} only")
                rows.append(_bar(row, name, session))
        require(content.get("next_url") is None, "the whole market on one page")
        return Page(frame(rows, FETCHED_COLUMNS), None)

    return parsed(payload, source=_SOURCE, asked=f"all bars of {session}", read=read)


def parse_splits(payload: bytes, *, names: Collection[str], base: str) -> Page:
    """Splits; `value` is new shares for one old.

    Args:
        payload: the answer.
        names: massive's names of the symbols wanted; others are left out.
        base: address asked; the next page must be there too.

    Raises:
        Malformed: if it is no list of splits.
    """

    def read(content: dict[str, Any]) -> Page:
        rows = [
            (row["ticker"], day(row, "execution_date"), "split", ratio(row, "split_to", "split_from"), "")
            for row in _results(content)
            if text(row, "ticker") in names
        ]
        return Page(frame(rows, TOLD_ACTIONS), _following(content, base))

    return parsed(payload, source=_SOURCE, asked="splits", read=read)


def parse_dividends(payload: bytes, *, names: Collection[str], base: str) -> Page:
    """Cash dividends; `value` is US dollars a share, as traded on the ex-date.

    Args:
        payload: the answer.
        names: massive's names of the symbols wanted; others are left out.
        base: address asked; the next page must be there too.

    Raises:
        Malformed: if it is no list of dividends.
    """

    def read(content: dict[str, Any]) -> Page:
        rows = [
            (
                row["ticker"],
                day(row, "ex_dividend_date"),
                "dividend",
                positive(row, "cash_amount"),
                ascii(row.get("dividend_type")),
            )
            for row in _results(content)
            # Prices are in US dollars: an amount in another currency cannot be added to them.
            if text(row, "ticker") in names and row.get("currency") in (None, "USD")
        ]
        return Page(frame(rows, TOLD_ACTIONS), _following(content, base))

    return parsed(payload, source=_SOURCE, asked="dividends", read=read)


def _results(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    require(content.get("status") in _GOOD, "the status OK or DELAYED")
    return objects(content.get("results"), "results")


def _counted(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The results of an answer that counts them and says that they are not adjusted."""
    results, count = _results(content), content.get("resultsCount")
    require(type(count) is int and count == len(results), f"a resultsCount of {len(results)}, as many as it has")
    require(not results or content.get("adjusted") is False, "bars that are not adjusted")
    return results


def _bar(row: Mapping[str, Any], name: str, session: date) -> tuple[Any, ...]:
    return name, session, *(number(row, field) for field in _BAR_FIELDS)


def _local(row: Mapping[str, Any], zone: ZoneInfo) -> datetime:
    stamp = row.get("t")
    if type(stamp) is not int or not 0 <= stamp < _LAST_MS:
        raise ValueError("milliseconds since 1970 for t")
    return datetime.fromtimestamp(stamp / 1000, zone)


def _following(content: Mapping[str, Any], base: str) -> str | None:
    """Path and query of the next page; the key must go to no other host than the one asked."""
    told = content.get("next_url")
    if told is None:
        return None
    require(isinstance(told, str) and told.isascii() and told.isprintable() and " " not in told, "an address next_url")
    try:
        here, there = urlsplit(base), urlsplit(told)
    except ValueError as error:
        raise ValueError("an address next_url") from error
    same = (here.scheme, here.netloc) == (there.scheme, there.netloc) and there.path.startswith(f"{here.path}/")
    require(same, f"a next_url at {here.scheme}://{here.netloc}")
    path = there.path.removeprefix(here.path)
    return f"{path}?{there.query}" if there.query else path


def _client(access: Access, key: str) -> "RESTClient":
    """The vendor's client, each of whose calls is one request, and whose errors are told."""
    import urllib3
    from massive import RESTClient
    from massive.rest import BASE
    from urllib3.exceptions import DecodeError, HTTPError

    class StrictClient(RESTClient):
        """Gives the bytes of an answer; the vendor's own method drops the status and headers of an error."""

        def _get(  # noqa: PLR0917 - the vendor's signature
            self,
            path: str,
            params: dict[str, Any] | None = None,
            result_key: str | None = None,  # noqa: ARG002 - these four are about decoding
            deserializer: Any = None,  # noqa: ARG002
            raw: bool = False,  # noqa: ARG002, FBT001, FBT002
            options: Any = None,  # noqa: ARG002
        ) -> bytes:
            asked = urlsplit(path).path
            subject = f"{_SOURCE}, asked for {asked}"
            try:
                answer = self.client.request("GET", self.BASE + path, fields=params, headers=self.headers)
            except DecodeError as error:
                raise malformed(b"", source=_SOURCE, asked=asked, expected="a body that can be decoded") from error
            except HTTPError as error:
                raise Upstream.of(
                    subject, expected="an answer", was=type(error).__name__, do="wait, it is tried again"
                ) from error
            try:
                refuse_status(answer.status, answer.headers, source=_SOURCE, asked=asked, now=access.now())
            except NoData as error:
                # A symbol it does not know gets an empty list; an address it does not know is no answer at all.
                raise Malformed.of(subject, expected="HTTP 200", was="HTTP 404", do="check its base_url") from error
            if key.encode() in answer.data:
                raise Malformed.of(
                    subject, expected="an answer without the key", was="one that repeats it", do="check its base_url"
                )
            return answer.data

    settings = access.config.sources.massive
    return StrictClient(
        api_key=key,
        connect_timeout=settings.timeout_seconds,
        read_timeout=settings.timeout_seconds,
        retries=0,
        base=(settings.base_url or BASE).rstrip("/"),
        # retries=0 would still turn a redirect or a status into an error of its own; this sends once, no more.
        connection_pool_kw={"retries": urllib3.Retry(total=False)},
    )
