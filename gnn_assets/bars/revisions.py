"""Append-only history of what a source said, and when it was known.

A bar's first revision was knowable when its session's bar became available, however late it is fetched (then it is
marked back-filled), unless the source had been asked for that session before and had no good bar: then, like every
later revision, it is known from the moment it was fetched. A read as of a moment filters on `known_at` alone, so
neither a correction nor a bar that came late reaches back into a decision made before it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import polars as pl

from gnn_assets.bars.fetched import VALUES
from gnn_assets.bars.schema import BARS_ASKED, MARKET_BARS
from gnn_assets.bars.venues import with_moments
from gnn_assets.core.errors import DataError
from gnn_assets.core.sessions import Exchanges
from gnn_assets.store.schema import MOMENT

_KEY = ("symbol", "session")
_BAR = (*_KEY, "source")


def new_revisions(
    stored: pl.DataFrame,
    judged: pl.DataFrame,
    *,
    source: str,
    basis: str,
    exchanges: Exchanges,
    exchange_of: Mapping[str, str],
    run_id: str,
    asked: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The rows that answers add to the history; unchanged bars add none.

    A bar whose session was not yet available at its `fetched_at` is left out: it is unfinished. An answer older than
    a bar's stored revision says nothing new about it.

    Args:
        stored: a frame of `MARKET_BARS`, any sources; only revisions of the bars in `judged` matter.
        judged: `FETCHED_COLUMNS` that passed the row rules, ``flags`` and ``row_hash`` as the rules gave them, and of
            each row's answer ``fetched_at`` (UTC microseconds) and ``payload_hash``; one row a (symbol, session).
        source: name of the source's plug-in.
        basis: ``raw``, ``split`` or ``split_div``.
        exchanges: the calendars.
        exchange_of: symbol → exchange.
        run_id: run that fetched.
        asked: a frame of `BARS_ASKED` as it was before these answers; None if nobody was asked yet.

    Returns:
        A frame of `MARKET_BARS` to append.

    Known at: each row's `known_at`.

    Raises:
        DataError: if a key comes twice or a date is no session of its exchange: the row rules come first.
    """
    # Values stay behind until it is known which rows are new: of most answers hardly any is.
    light = judged.select(*_KEY, "row_hash", "fetched_at").with_row_index("row")
    light = with_moments(light, exchanges=exchanges, exchange_of=exchange_of)
    _refuse_unclean(light)
    known = newest_of(
        stored.select(*_BAR, "rev", "row_hash", "fetched_at").filter(pl.col("source") == source), _BAR
    ).select(*_KEY, stored_rev="rev", stored_hash="row_hash", stored_at="fetched_at")
    light = (
        light.filter(pl.col("available_at") <= pl.col("fetched_at"))
        .join(known, on=_KEY, how="left")
        .filter(
            pl.col("stored_rev").is_null()
            | ((pl.col("row_hash") != pl.col("stored_hash")) & (pl.col("stored_at") <= pl.col("fetched_at")))
        )
        .join(_spans(asked, source), on="symbol", how="left", maintain_order="left")
        .with_columns(answered=pl.col("session").is_between("asked_first", "asked_last").fill_null(False))
        .select("row", "stored_rev", "available_at", "next_close", "answered")
    )
    first = pl.col("stored_rev").is_null()
    rows = (
        judged[light["row"]]
        .hstack(light.drop("row"))
        .with_columns(
            source=pl.lit(source),
            basis=pl.lit(basis),
            rev=(pl.col("stored_rev") + 1).fill_null(0).cast(pl.Int32),
            known_at=pl.when(first & ~pl.col("answered")).then("available_at").otherwise("fetched_at"),
            backfilled=first & (pl.col("next_close") <= pl.col("fetched_at")).fill_null(False),
            run_id=pl.lit(run_id),
        )
        .select(*MARKET_BARS.columns)
    )
    return MARKET_BARS.conform(rows)


def _spans(asked: pl.DataFrame | None, source: str) -> pl.DataFrame:
    """``symbol``, ``asked_first``, ``asked_last``: what one source had answered for."""
    known = BARS_ASKED.empty() if asked is None else asked
    return known.filter(pl.col("source") == source).select("symbol", asked_first="first", asked_last="last")


def latest(bars: pl.DataFrame, *, known_at: datetime | None = None) -> pl.DataFrame:
    """The newest revision of each bar of each source.

    Args:
        bars: a frame of `MARKET_BARS`, any sources.
        known_at: aware UTC moment; only what was known by then counts. None for everything.

    Returns:
        A frame of `MARKET_BARS`, one row a (symbol, session, source).

    Known at: `known_at`.
    """
    return newest_of(as_of(bars, known_at), _BAR)


def chosen(latest_bars: pl.DataFrame, sources: Sequence[str]) -> pl.DataFrame:
    """One bar a symbol and session: that of the first source which has one. For levels people look at.

    Levels of two sources stand beside each other here, so no return may be taken from one row to the next.

    Args:
        latest_bars: columns ``symbol``, ``session``, ``source`` and any others; one row a (symbol, session, source).
        sources: names, the most trusted first; bars of any other are left out.

    Returns:
        The same columns, sorted by symbol and session.
    """
    places = pl.DataFrame({"source": pl.Series(sources, dtype=pl.String)}).with_row_index("place")
    return (
        latest_bars.join(places, on="source")
        .sort(*_KEY, "place")
        .filter(~pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in _KEY))
        .select(latest_bars.columns)
    )


def as_of(rows: pl.DataFrame, known_at: datetime | None) -> pl.DataFrame:
    """What was known by a moment; everything for None.

    Args:
        rows: column ``known_at``, and any others.
        known_at: aware UTC moment.
    """
    return rows if known_at is None else rows.filter(pl.col("known_at") <= pl.lit(known_at, dtype=MOMENT))


def newest_of(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The row of the greatest ``rev`` of each key, sorted by key.

    Args:
        rows: column ``rev``, the columns of the key, and any others.
        key: columns without nulls.
    """
    # Stored rows come sorted, which makes this sort nearly free; a hash of three columns would take seconds.
    return rows.sort(*key, "rev").filter(
        pl.any_horizontal(pl.col(name) != pl.col(name).shift(-1) for name in key).fill_null(True)
    )


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


def _refuse_unclean(rows: pl.DataFrame) -> None:
    twice = rows.sort(_KEY).filter(pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in _KEY))
    if not twice.is_empty():
        raise DataError.of(
            "fetched bars",
            expected="one row a symbol and session",
            was=f"several for {twice['symbol'][0]} on {twice['session'][0]}",
            do="pass them through the row rules first",
        )
    strangers = rows.filter(pl.col("position").is_null())
    if not strangers.is_empty():
        raise DataError.of(
            "fetched bars",
            expected="sessions of the symbol's exchange",
            was=f"{strangers['session'][0]} for {strangers['symbol'][0]}",
            do="pass them through the row rules first",
        )
