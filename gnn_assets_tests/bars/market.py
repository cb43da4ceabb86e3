"""Small markets for tests: a calendar, bars in a source's shape, moments."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import polars as pl

from gnn_assets.bars.fetched import FETCHED_COLUMNS
from gnn_assets.bars.revisions import new_revisions
from gnn_assets.bars.schema import MARKET_BARS
from gnn_assets.core.config import Config, build_config
from gnn_assets.core.sessions import SessionCalendar

LATER = datetime(2022, 6, 1, 12, tzinfo=UTC)


@cache
def calendar() -> SessionCalendar:
    return SessionCalendar.build("XNYS", first=date(2021, 12, 1), until=date(2022, 1, 31), grace=timedelta(minutes=30))


@cache
def config() -> Config:
    return build_config("test")


def sessions(count: int) -> tuple[date, ...]:
    """The first sessions of 2022."""
    start = calendar().position(date(2022, 1, 3))
    return calendar().sessions[start : start + count]


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


def record(stored: pl.DataFrame, fetched: pl.DataFrame, *, at: datetime = LATER, **changed) -> pl.DataFrame:
    """The new revisions of a fetch, with provenance filled in."""
    facts = {"source": "sample", "basis": "split_div", "payload_hash": "p", "run_id": "r", **changed}
    return new_revisions(stored, fetched, calendar=calendar(), fetched_at=at, **facts)


def stored_bars(closes: Mapping[str, Any], **values) -> pl.DataFrame:
    """A history of first revisions."""
    return record(MARKET_BARS.empty(), bars(closes, **values))
