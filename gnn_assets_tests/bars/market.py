"""Small markets for tests: a calendar, bars in a source's shape, moments."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import Any

import polars as pl

from gnn_assets.bars.fetched import FETCHED_COLUMNS
from gnn_assets.bars.revisions import new_revisions, row_hashes
from gnn_assets.bars.schema import MARKET_BARS, UNIVERSE
from gnn_assets.core.config import Config, build_config
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets.store.schema import MOMENT

LATER = datetime(2022, 6, 1, 12, tzinfo=UTC)


@cache
def calendar(exchange: str = "XNYS") -> SessionCalendar:
    return SessionCalendar.build(
        exchange, first=date(2021, 12, 1), until=date(2022, 1, 31), grace=timedelta(minutes=30)
    )


@cache
def exchanges(primary: str = "XNYS") -> Exchanges:
    """New York, London and Tokyo, one of them the platform's own."""
    others = {code: calendar(code) for code in ("XNYS", "XLON", "XTKS") if code != primary}
    return Exchanges(primary=calendar(primary), others=others)


@cache
def config() -> Config:
    return build_config("test")


def sessions(count: int, *, exchange: str = "XNYS") -> tuple[date, ...]:
    """The first sessions of 2022."""
    return tuple(day for day in calendar(exchange).sessions if day.year >= LATER.year)[:count]


def universe(venues: Mapping[str, str], *, since: date = date(2021, 12, 1)) -> pl.DataFrame:
    """A universe of core symbols: symbol → exchange, priority as they come."""
    rows = [
        {
            "symbol": symbol,
            "from_session": since,
            "to_session": None,
            "tier": "core",
            "sector": "Energy",
            "survivor_only": False,
            "exchange": exchange,
            "priority": place,
        }
        for place, (symbol, exchange) in enumerate(venues.items())
    ]
    return UNIVERSE.conform(pl.DataFrame(rows, schema=dict(UNIVERSE.columns)))


def bars(closes: Mapping[str, Any], *, dates: Sequence[date] | None = None, **values) -> pl.DataFrame:
    """Bars in a source's shape; other columns than the close are null unless given as name → one value for all."""
    rows = [
        {"symbol": symbol, "session": session, "close": close, **values}
        for symbol, series in closes.items()
        for session, close in zip(dates or sessions(len(series)), series, strict=True)
    ]
    empty = pl.DataFrame(schema=dict(FETCHED_COLUMNS))
    return pl.concat([empty, pl.DataFrame(rows, schema_overrides={"close": pl.Float64})], how="diagonal_relaxed").cast(
        dict(FETCHED_COLUMNS)
    )


def judged(
    fetched: pl.DataFrame, *, basis: str = "split_div", at: datetime = LATER, payload_hash: str = "p"
) -> pl.DataFrame:
    """What a source told, as the row rules hand it on when they find nothing."""
    return fetched.with_columns(
        row_hashes(fetched, basis=basis),
        flags=pl.lit(""),
        fetched_at=pl.lit(at, dtype=MOMENT),
        payload_hash=pl.lit(payload_hash),
    )


def record(
    stored: pl.DataFrame,
    fetched: pl.DataFrame,
    *,
    at: datetime = LATER,
    source: str = "sample",
    basis: str = "split_div",
    payload_hash: str = "p",
    run_id: str = "r",
    exchange_of: Mapping[str, str] = MappingProxyType({}),
) -> pl.DataFrame:
    """The new revisions of a fetch, with provenance filled in."""
    return new_revisions(
        stored,
        judged(fetched, basis=basis, at=at, payload_hash=payload_hash),
        source=source,
        basis=basis,
        exchanges=exchanges(),
        exchange_of=exchange_of,
        run_id=run_id,
    )


def stored_bars(closes: Mapping[str, Any], **values) -> pl.DataFrame:
    """A history of first revisions."""
    return record(MARKET_BARS.empty(), bars(closes, **values))
