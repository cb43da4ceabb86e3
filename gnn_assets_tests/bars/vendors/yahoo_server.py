"""A server that speaks Yahoo's chart format over TLS, reached as Yahoo is: by the environment's proxy and authority."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, time
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from gnn_assets_tests.bars.vendors.faults import Asked, Reply, ScriptedServer
from gnn_assets_tests.bars.vendors.tls_proxy import TlsProxy

CHART = "/v8/finance/chart/"
NOT_FOUND = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
# session, open, high, low, close, volume
Row = tuple[date, float | None, float | None, float | None, float | None, float | None]


@dataclass(frozen=True)
class Listing:
    """What Yahoo knows of a symbol.

    Args:
        rows: a bar a session.
        splits: ex-date → new and old shares.
        dividends: ex-date → cash a share.
        timezone: zone of the exchange.
        opens: local time its sessions open; daily bars are stamped with it.
    """

    rows: Sequence[Row] = ()
    splits: Mapping[date, tuple[float, float]] = field(default_factory=dict)
    dividends: Mapping[date, float] = field(default_factory=dict)
    timezone: str = "America/New_York"
    opens: time = time(9, 30)

    def stamp(self, session: date) -> int:
        return int(datetime.combine(session, self.opens, ZoneInfo(self.timezone)).timestamp())


def result_of(symbol: str, listing: Listing, *, since: float = -1e18, until: float = 1e18) -> dict[str, Any]:
    """``chart.result[0]`` for the seconds from `since` until before `until`; a test may break it before it is sent."""
    rows = [row for row in listing.rows if since <= listing.stamp(row[0]) < until]
    names = ("open", "high", "low", "close", "volume")
    quote = {name: [row[place] for row in rows] for place, name in enumerate(names, start=1)} if rows else {}
    splits = {
        str(listing.stamp(day)): {
            "date": listing.stamp(day),
            "numerator": new,
            "denominator": old,
            "splitRatio": f"{new:g}:{old:g}",
        }
        for day, (new, old) in listing.splits.items()
        if since <= listing.stamp(day) < until
    }
    dividends = {
        str(listing.stamp(day)): {"amount": amount, "date": listing.stamp(day)}
        for day, amount in listing.dividends.items()
        if since <= listing.stamp(day) < until
    }
    events = {name: told for name, told in (("dividends", dividends), ("splits", splits)) if told}
    return {
        "meta": {
            "currency": "USD",
            "symbol": symbol,
            "instrumentType": "EQUITY",
            "exchangeTimezoneName": listing.timezone,
            "dataGranularity": "1d",
            "range": "",
            "validRanges": ["1d", "5d", "1mo", "max"],
        },
        **({"timestamp": [listing.stamp(row[0]) for row in rows]} if rows else {}),
        **({"events": events} if events else {}),
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": quote["close"]} if rows else {}]},
    }


def chart(*results: Mapping[str, Any] | None, error: Mapping[str, str] | None = None) -> bytes:
    """The bytes of an answer; a value beyond what a double holds is written as 1e999."""
    content = {"chart": {"result": list(results) if error is None else None, "error": error}}
    return json.dumps(content).replace("Infinity", "1e999").encode()


class YahooServer(ScriptedServer):
    """Yahoo with the listings a test gives it; a context manager.

    Faults are scripted by symbol: ``server.script(CHART + "AAPL", Reply(status=503))``. `asked` holds every request,
    `proxy.connected` every host.

    Args:
        listings: Yahoo's name of a symbol → what it knows of it; of others it says that it found nothing.
    """

    def __init__(self, listings: Mapping[str, Listing]) -> None:
        super().__init__()
        self.listings = dict(listings)
        self.proxy = TlsProxy(int(self.url.rsplit(":", 1)[1]), "*.yahoo.com", "*.finance.yahoo.com")
        self._open = ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead the client here."""
        return self.proxy.environment()

    def answer(self, asked: Asked) -> Reply:
        if not asked.path.startswith(CHART):
            # The cookie comes with a page that does not exist, the crumb as plain text.
            return Reply(b"crumb") if asked.path.endswith("getcrumb") else Reply(status=404)
        symbol = unquote(asked.path.removeprefix(CHART))
        if symbol not in self.listings:
            return Reply(chart(error=NOT_FOUND), status=404)
        since, until = (float(asked.query.get(name, edge)) for name, edge in (("period1", -1e18), ("period2", 1e18)))
        return Reply(chart(result_of(symbol, self.listings[symbol], since=since, until=until)))

    def __enter__(self) -> Self:
        super().__enter__()
        self._open.enter_context(self.proxy)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        super().__exit__(kind, error, trace)
