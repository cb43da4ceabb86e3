"""A loopback server that speaks massive's wire format: aggregates, grouped daily bars, splits and dividends."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import polars as pl

from gnn_assets_tests.bars.vendors.faults import Asked, Reply, ScriptedServer

ZONE = ZoneInfo("America/New_York")
WIRE = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
AGGS, GROUPED = "/v2/aggs/ticker/", "/v2/aggs/grouped/locale/us/market/stocks/"
SPLITS, DIVIDENDS = "/v3/reference/splits", "/v3/reference/dividends"


def dumps(content: object) -> bytes:
    """JSON bytes; an infinite number is written as one too large for a double, because JSON has no other way."""
    return json.dumps(content).replace("Infinity", "1e999").encode()


def epoch_ms(session: date, at: time) -> int:
    """Milliseconds since 1970 of a local time in New York."""
    return int(datetime.combine(session, at, ZONE).timestamp()) * 1000


def aggs_body(ticker: str, rows: Sequence[Mapping[str, Any]], **changed: Any) -> dict[str, Any]:
    """One page of aggregates as massive writes it; without rows there is no ``results``."""
    body = {
        "ticker": ticker,
        "queryCount": len(rows),
        "resultsCount": len(rows),
        "adjusted": False,
        **({"results": list(rows)} if rows else {}),
        "status": "OK",
        "request_id": "6a7e466379af0a71039d60cc78e72282",
        "count": len(rows),
    }
    return {**body, **changed}


class MassiveServer(ScriptedServer):
    """massive on the loopback.

    Args:
        bars: columns symbol (massive's name, such as BRK.B), session and prices; null stays null.
        splits: rows with ticker, execution_date (ISO date), split_from, split_to.
        dividends: rows with ticker, ex_dividend_date (ISO date), cash_amount and, if wanted, currency, dividend_type.
        key: the only key it accepts.
        page_size: most rows it puts on one page of aggregates, splits or dividends.
    """

    def __init__(
        self,
        bars: pl.DataFrame,
        *,
        splits: Iterable[Mapping[str, Any]] = (),
        dividends: Iterable[Mapping[str, Any]] = (),
        key: str = "massive-key-of-the-tests",
        page_size: int = 50_000,
    ) -> None:
        super().__init__()
        self.bars, self.splits, self.dividends = bars, list(splits), list(dividends)
        self.key, self.page_size = key, page_size

    def answer(self, asked: Asked) -> Reply:
        if asked.headers.get("Authorization") != f"Bearer {self.key}":
            return Reply(dumps({"status": "ERROR", "request_id": "1", "error": "Unknown API Key"}), status=401)
        if asked.path.startswith(AGGS):
            return self._aggs(asked)
        if asked.path.startswith(GROUPED):
            return self._grouped(date.fromisoformat(asked.path.removeprefix(GROUPED)))
        if asked.path == SPLITS:
            return self._reference(asked, self.splits, "execution_date")
        if asked.path == DIVIDENDS:
            return self._reference(asked, self.dividends, "ex_dividend_date")
        return Reply(dumps({"status": "NOT_FOUND", "request_id": "1"}), status=404)

    def _aggs(self, asked: Asked) -> Reply:
        ticker, _, _, _, first, last = asked.path.removeprefix(AGGS).split("/")
        told = self.bars.filter(
            pl.col("symbol") == ticker,
            pl.col("session").is_between(date.fromisoformat(first), date.fromisoformat(last)),
        )
        rows = [_wire(row) | {"t": epoch_ms(row["session"], time(0))} for row in told.iter_rows(named=True)]
        page, next_url = self._page(asked, rows)
        return Reply(dumps(aggs_body(ticker, page, **next_url)))

    def _grouped(self, session: date) -> Reply:
        told = self.bars.filter(pl.col("session") == session)
        rows = [
            {"T": row["symbol"], **_wire(row), "t": epoch_ms(session, time(16))} for row in told.iter_rows(named=True)
        ]
        body = aggs_body("", rows)
        del body["ticker"]
        return Reply(dumps(body))

    def _reference(self, asked: Asked, rows: Sequence[Mapping[str, Any]], field: str) -> Reply:
        wanted = asked.query
        told = [
            row
            for row in rows
            if wanted.get("ticker", row["ticker"]) == row["ticker"]
            and wanted.get(f"{field}.gte", "") <= row[field] <= wanted.get(f"{field}.lte", "9")
        ]
        page, next_url = self._page(asked, told)
        return Reply(dumps({"results": page, "status": "OK", "request_id": "1", **next_url}))

    def _page(self, asked: Asked, rows: Sequence[Any]) -> tuple[list[Any], dict[str, str]]:
        """Rows of the page asked for, and where the next one is; a cursor carries the filters along."""
        start = int(asked.query.get("cursor", 0))
        stop = start + min(self.page_size, int(asked.query.get("limit", self.page_size)))
        query = urlencode({**asked.query, "cursor": stop})
        more = {"next_url": f"{self.url}{asked.path}?{query}"} if stop < len(rows) else {}
        return list(rows[start:stop]), more


def _wire(row: Mapping[str, Any]) -> dict[str, Any]:
    return {short: row[name] for name, short in WIRE.items()} | {"vw": row["close"], "n": 100}
