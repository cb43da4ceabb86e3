"""Append-only history of what a source said, and when it was known.

A bar's first revision was knowable when its session's bar became available, however late it is fetched (then it is
marked back-filled). A later revision was not: it is known from the moment it was fetched. A read as of a moment
filters on `known_at` alone, so a correction never reaches back into a decision made before it.
"""

import hashlib
from datetime import datetime

import numpy as np
import polars as pl

from gnn_assets.bars.fetched import VALUES
from gnn_assets.bars.schema import MARKET_BARS
from gnn_assets.core.errors import DataError
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.store.schema import MOMENT

_KEY = ("symbol", "session")


def new_revisions(
    stored: pl.DataFrame,
    fetched_bars: pl.DataFrame,
    *,
    source: str,
    basis: str,
    calendar: SessionCalendar,
    fetched_at: datetime,
    payload_hash: str,
    run_id: str,
) -> pl.DataFrame:
    """The rows that a fetch adds to the history; unchanged bars add none.

    A bar whose session was not yet available at `fetched_at` is left out: it is unfinished. A fetch older than a
    bar's stored revision says nothing new about it.

    Args:
        stored: a frame of `MARKET_BARS`, any sources.
        fetched_bars: `FETCHED_COLUMNS`, one row a (symbol, session), sessions of the calendar only.
        source: name of the source's plug-in.
        basis: ``raw``, ``split`` or ``split_div``.
        calendar: the exchange's sessions.
        fetched_at: aware UTC moment of the fetch.
        payload_hash: SHA-256 of the source's answer.
        run_id: run that fetched.

    Returns:
        A frame of `MARKET_BARS` to append.

    Known at: each row's `known_at`.

    Raises:
        DataError: if a key comes twice or a date is no session: quarantine comes first.
    """
    _refuse_unclean(fetched_bars, calendar)
    newest = (
        stored.filter(pl.col("source") == source)
        .sort("rev")
        .unique(_KEY, keep="last")
        .select(*_KEY, stored_rev="rev", stored_hash="row_hash", stored_at="fetched_at")
    )
    moment = pl.lit(fetched_at, dtype=MOMENT)
    rows = (
        fetched_bars.with_columns(row_hash=row_hashes(fetched_bars, basis=basis))
        .join(_session_moments(calendar), on="session")
        .filter(pl.col("available_at") <= moment)
        .join(newest, on=_KEY, how="left")
        .with_columns(first=pl.col("stored_rev").is_null())
        .filter(pl.col("first") | ((pl.col("row_hash") != pl.col("stored_hash")) & (pl.col("stored_at") <= moment)))
        .with_columns(
            source=pl.lit(source),
            basis=pl.lit(basis),
            rev=(pl.col("stored_rev") + 1).fill_null(0).cast(pl.Int32),
            known_at=pl.when("first").then("available_at").otherwise(moment),
            backfilled=pl.col("first") & (pl.col("next_close") <= moment).fill_null(False),
            fetched_at=moment,
            payload_hash=pl.lit(payload_hash),
            run_id=pl.lit(run_id),
        )
        .select(*MARKET_BARS.columns)
    )
    return MARKET_BARS.conform(rows)


def latest(bars: pl.DataFrame, *, known_at: datetime | None = None) -> pl.DataFrame:
    """The newest revision of each bar.

    Args:
        bars: a frame of `MARKET_BARS`, of one source.
        known_at: aware UTC moment; only what was known by then counts. None for everything.

    Returns:
        A frame of `MARKET_BARS`, one row a (symbol, session).

    Known at: `known_at`.

    Raises:
        DataError: if the bars come from several sources: their levels must not be spliced.
    """
    if bars["source"].n_unique() > 1:
        raise DataError.of(
            "bars",
            expected="one source",
            was=", ".join(bars["source"].unique().sort()),
            do="filter on the source that bars.source names",
        )
    if known_at is not None:
        bars = bars.filter(pl.col("known_at") <= pl.lit(known_at, dtype=MOMENT))
    return MARKET_BARS.conform(bars.sort("rev").unique(_KEY, keep="last"))


def row_hashes(bars: pl.DataFrame, *, basis: str) -> pl.Series:
    """A 64-bit fingerprint a row of prices, volume and basis; null and zero differ.

    Own arithmetic rather than a library's hash: stored fingerprints are compared for years, across library versions.

    Args:
        bars: columns `VALUES`, Float64.
        basis: ``raw``, ``split`` or ``split_div``.

    References:
        G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (the mixer).
    """
    seed = int.from_bytes(hashlib.sha256(basis.encode()).digest()[:8], "little")
    state = np.full(bars.height, seed, dtype=np.uint64)
    for name in VALUES:
        # Adding 0.0 makes -0.0 and 0.0 one value; a null keeps the bits of 0.0 and differs by its flag.
        values = bars[name].fill_null(0.0).to_numpy() + 0.0
        state = _mix(state ^ values.view(np.uint64)) + bars[name].is_null().to_numpy().astype(np.uint64)
    return pl.Series("row_hash", _mix(state), dtype=pl.UInt64)


def _mix(state: np.ndarray) -> np.ndarray:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _session_moments(calendar: SessionCalendar) -> pl.DataFrame:
    closes = pl.Series("close_at", calendar.closes, dtype=MOMENT)
    return pl.DataFrame(
        {
            "session": pl.Series(calendar.sessions, dtype=pl.Date),
            "available_at": closes + calendar.grace,
            "next_close": closes.shift(-1),
        }
    )


def _refuse_unclean(bars: pl.DataFrame, calendar: SessionCalendar) -> None:
    twice = bars.filter(pl.struct(_KEY).is_duplicated())
    if not twice.is_empty():
        raise DataError.of(
            "fetched bars",
            expected="one row a symbol and session",
            was=f"several for {twice['symbol'][0]} on {twice['session'][0]}",
            do="pass them through quarantine.split first",
        )
    strangers = bars.filter(~pl.col("session").is_in(pl.Series(calendar.sessions, dtype=pl.Date).implode()))
    if not strangers.is_empty():
        raise DataError.of(
            "fetched bars",
            expected=f"sessions of {calendar.exchange}",
            was=strangers["session"][0],
            do="pass them through quarantine.split first",
        )
