"""A vendor on this machine that speaks as massive does, tells a drill's market, and can stop answering."""

import json
from collections.abc import Mapping
from datetime import date, datetime, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import polars as pl
import yaml

from gnn_assets.bars.paged import US_EXCHANGES
from gnn_assets.core.errors import UniverseError
from gnn_assets.defs.drills.listener import HOST
from gnn_assets.defs.drills.market import Market

_ONE, _WHOLE = "/v2/aggs/ticker/", "/v2/aggs/grouped/locale/us/market/stocks/"
_ACTIONS = {"/v3/reference/splits": "split", "/v3/reference/dividends": "dividend"}
_PRICES = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
_MILLISECONDS = 1000


class Vendor(ThreadingHTTPServer):
    """Takes every connection; answers while it is well.

    Args:
        market: what it knows.
        zone: of the exchange, in which a bar's moment has its date.

    Attributes:
        asked: requests so far.
        well: set while it answers.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, market: Market, *, zone: ZoneInfo) -> None:
        super().__init__((HOST, 0), _Handler)
        self.market, self.zone = market, zone
        self.asked = 0
        self.well = Event()
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it is asked."""
        return f"http://{HOST}:{self.server_address[1]}"

    def stop(self) -> None:
        """Ends it; who waits for an answer gets one."""
        self.well.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of who gave up waiting: that is what the drill is about."""

    def answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """What massive would say."""
        bars = self.market.bars
        if path in _ACTIONS:
            return {"status": "OK", "results": list(self._actions(_ACTIONS[path], query.get("ticker")))}
        if path.startswith(_WHOLE):
            day = date.fromisoformat(path.removeprefix(_WHOLE))
            rows = bars.filter(pl.col("session") == day)
        else:
            name, _, _, _, first, last = path.removeprefix(_ONE).split("/")
            days = pl.col("session").is_between(date.fromisoformat(first), date.fromisoformat(last))
            rows = bars.filter(_named(name), days).sort("session")
        results = [self._bar(row) for row in rows.iter_rows(named=True)]
        told = {"ticker": name} if path.startswith(_ONE) else {}
        return {**told, "status": "OK", "adjusted": False, "resultsCount": len(results), "results": results}

    def _bar(self, row: Mapping[str, Any]) -> dict[str, Any]:
        midnight = int(datetime.combine(row["session"], time(), self.zone).timestamp())
        prices = {theirs: row[ours] for ours, theirs in _PRICES.items()}
        return {"T": _theirs(row["symbol"]), "t": midnight * _MILLISECONDS, **prices}

    def _actions(self, kind: str, name: str | None) -> Any:
        rows = self.market.actions.filter(pl.col("kind") == kind, _named(name) if name else True)
        for row in rows.iter_rows(named=True):
            told, day = {"ticker": _theirs(row["symbol"])}, row["session"].isoformat()
            if kind == "split":
                yield {**told, "execution_date": day, "split_from": 1, "split_to": row["value"]}
            else:
                yield {**told, "ex_dividend_date": day, "cash_amount": row["value"]}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answers, or waits until the vendor is well again."""
        vendor = self.server
        assert isinstance(vendor, Vendor)
        vendor.asked += 1
        vendor.well.wait()
        asked = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        body = json.dumps(vendor.answer(asked.path, query)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Says nothing."""


def write_universe(universe: pl.DataFrame, file: Path) -> None:
    """Writes the part of a universe that the vendor has: shares of US exchanges, and no index.

    Args:
        universe: a frame of `UNIVERSE`.
        file: YAML, as `universe.file` names one.

    Raises:
        UniverseError: if there is none: then this vendor is no vendor of this home.
    """
    had = universe.filter(pl.col("exchange").is_in(US_EXCHANGES), ~pl.col("symbol").str.starts_with("^"))
    if had.is_empty():
        raise UniverseError.of(
            "drill stalled_vendor",
            expected=f"symbols of {', '.join(sorted(US_EXCHANGES))}",
            was="none",
            do="do another drill",
        )
    names = ("symbol", "tier", "sector", "from_session", "to_session", "exchange")
    members = [
        {name: row[name] for name in names if row[name] is not None}
        for row in had.sort("priority").iter_rows(named=True)
    ]
    told = {"survivor_only": bool(had["survivor_only"].all()), "from_session": had["from_session"].min()}
    file.write_text(yaml.safe_dump({**told, "symbols": members}, sort_keys=False), encoding="utf-8")


def _named(name: str) -> pl.Expr:
    return pl.col("symbol") == name.replace(".", "-")


def _theirs(symbol: str) -> str:
    return symbol.replace("-", ".")
