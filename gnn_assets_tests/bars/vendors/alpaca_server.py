"""A loopback server that speaks Alpaca's wire format: bars of many stocks and corporate actions."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from gnn_assets_tests.bars.vendors.faults import Asked, Reply, ScriptedServer
from gnn_assets_tests.bars.vendors.massive_server import WIRE, dumps

ZONE = ZoneInfo("America/New_York")
BARS, ACTIONS = "/v2/stocks/bars", "/v1/corporate-actions"
_TYPES = {"forward_splits": "forward_split", "reverse_splits": "reverse_split", "cash_dividends": "cash_dividend"}


class AlpacaServer(ScriptedServer):
    """Alpaca's market data on the loopback.

    Args:
        bars: columns symbol (Alpaca's name, such as BRK.B), session and prices; null stays null.
        actions: group (``forward_splits``, ``reverse_splits``, ``cash_dividends``) → rows with symbol, ex_date and
            process_date (ISO dates), and new_rate and old_rate, or rate.
        key: the only key it accepts.
        secret: that goes with it.
        page_size: most rows it puts on one page.
    """

    def __init__(
        self,
        bars: pl.DataFrame,
        *,
        actions: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        key: str = "alpaca-key-of-the-tests",
        secret: str = "alpaca-secret-of-the-tests",
        page_size: int = 10_000,
    ) -> None:
        super().__init__()
        self.bars, self.actions = bars, dict(actions or {})
        self.key, self.secret, self.page_size = key, secret, page_size

    def answer(self, asked: Asked) -> Reply:
        told = (asked.headers.get("APCA-API-KEY-ID"), asked.headers.get("APCA-API-SECRET-KEY"))
        if told != (self.key, self.secret):
            return Reply(dumps({"message": "forbidden."}), status=403)
        if asked.path == BARS:
            return self._bars(asked)
        if asked.path == ACTIONS:
            return self._actions(asked)
        return Reply(dumps({"message": "endpoint not found."}), status=404)

    def _bars(self, asked: Asked) -> Reply:
        wanted = asked.query
        start, end = (datetime.fromisoformat(wanted[name]) for name in ("start", "end"))
        told = self.bars.filter(pl.col("symbol").is_in(wanted["symbols"].split(","))).sort(
            "symbol", "session", maintain_order=True
        )
        rows = [
            (row["symbol"], bar_row(row))
            for row in told.iter_rows(named=True)
            if start <= datetime.combine(row["session"], time(0), ZONE) <= end
        ]
        page, token = self._page(asked, rows)
        return Reply(dumps({"bars": _grouped(page), "next_page_token": token}))

    def _actions(self, asked: Asked) -> Reply:
        wanted = asked.query
        rows = [
            (group, row)
            for group, told in self.actions.items()
            for row in told
            if _TYPES[group] in wanted["types"].split(",")
            and row["symbol"] in wanted["symbols"].split(",")
            and wanted["start"] <= row["process_date"] <= wanted["end"]
        ]
        page, token = self._page(asked, rows)
        return Reply(dumps({"corporate_actions": _grouped(page), "next_page_token": token}))

    def _page(self, asked: Asked, rows: Sequence[Any]) -> tuple[Sequence[Any], str | None]:
        start = int(asked.query.get("page_token", 0))
        stop = start + min(self.page_size, int(asked.query["limit"]))
        return rows[start:stop], str(stop) if stop < len(rows) else None


def bar_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One bar as Alpaca writes it: stamped with New York's midnight, in UTC."""
    midnight = datetime.combine(row["session"], time(0), ZONE).astimezone(UTC)
    prices = {short: row[name] for name, short in WIRE.items()}
    return {"t": f"{midnight:%Y-%m-%dT%H:%M:%SZ}", **prices, "n": 100, "vw": row["close"]}


def _grouped(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for name, row in rows:
        groups.setdefault(name, []).append(dict(row))
    return groups
