"""What each source still has to be asked: the daily update, a backfill and a retry differ only in their dates.

A source's answers for a symbol form one unbroken range of sessions. Missing is what lies outside it; what is asked for
always touches it, and takes `overlap` sessions of it along, to see what the source has changed since. A run that finds
nothing missing asks for those alone.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from datetime import date, datetime

import polars as pl

from gnn_assets.bars.failover import Need
from gnn_assets.bars.schema import BARS_ASKED
from gnn_assets.core.errors import UniverseError
from gnn_assets.core.sessions import Exchanges, SessionCalendar

Range = tuple[date, date]


def needs(
    universe: pl.DataFrame,
    asked: pl.DataFrame,
    *,
    landed: pl.DataFrame,
    sources: Sequence[str],
    exchanges: Exchanges,
    first: date,
    last: date | None,
    now: datetime,
    overlap: int,
    symbols: Sequence[str] | None,
    refetch: Collection[tuple[str, str]],
) -> list[Need]:
    """What must be asked for, in the order of priority.

    A symbol is wanted from its first membership's start to its last one's end, and never beyond the newest complete
    session of its own exchange. A symbol that left the universe is asked for once: what one source of the chain has
    answered for is not asked again. A run that was killed goes on where it stood: what has landed is not asked again.

    Args:
        universe: a frame of `UNIVERSE`, each membership as long as bars of it are wanted.
        asked: a frame of `BARS_ASKED`: what is in the lake.
        landed: likewise, what has landed since, in this run or one that was killed.
        sources: names, in the order of the chain.
        exchanges: the calendars.
        first: first date wanted.
        last: last date wanted; None for the newest.
        now: aware UTC moment.
        overlap: newest sessions already answered for that are asked for again; at least 1.
        symbols: symbols wanted; None for all of the universe.
        refetch: symbols and sources whose whole history is asked for again.

    Raises:
        UniverseError: if a symbol wanted is not in the universe.
        ConfigError: if an exchange is not configured.
    """
    members = _members(universe, symbols)
    every = merge_asked(asked, landed)
    answered = {(symbol, source): (start, end) for symbol, source, start, end, _ in every.iter_rows()}
    fresh = set(landed.select("symbol", "source").iter_rows())
    found = []
    for symbol, exchange, start, end in members.iter_rows():
        calendar = exchanges.of(exchange)
        newest = calendar.last_complete(now)
        wanted = _clipped(calendar, max(first, start), min(day for day in (last, end, newest) if day is not None))
        ranges: dict[str, Range] = {}
        whole_by = set()
        for source in sources:
            told = answered.get((symbol, source))
            if told is not None and not calendar.between(*told):
                told = None  # answered for under a calendar that reached further
            if (symbol, source) in refetch:
                span = _whole(wanted, told)
            else:
                span = _missing(calendar, wanted, told, overlap)
                if span is None and wanted is not None and told is not None:
                    whole_by.add(source)
                    again = wanted[1] == newest and (symbol, source) not in fresh
                    span = (max(wanted[0], calendar.between(*told)[-overlap:][0]), newest) if again else None
            if span is not None:
                ranges[source] = span
        if any(source not in ranges for source in whole_by):
            # Somebody has answered for all that is wanted, so only histories on another basis are left to ask for.
            ranges = {source: span for source, span in ranges.items() if (symbol, source) in refetch}
        if ranges:
            found.append(Need(symbol=symbol, exchange=exchange, ranges=ranges))
    return found


def merge_asked(asked: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """What the sources have answered for, once these answers are stored.

    Args:
        asked: a frame of `BARS_ASKED`.
        answers: a frame of `BARS_ASKED`'s columns, several rows a (symbol, source) allowed: the ranges answered for;
            a symbol that the source failed on must not be in it.

    Returns:
        A frame of `BARS_ASKED`. Ranges that overlap become one; of two with a gap between them, the one answered
        later is kept, because nothing may be left out inside.
    """
    merged: dict[tuple[str, str], tuple[date, date, datetime]] = {}
    rows = pl.concat([asked, answers.select(asked.columns)]).sort("fetched_at", maintain_order=True)
    for symbol, source, start, end, moment in rows.iter_rows():
        known_start, known_end, _ = merged.get((symbol, source), (start, end, moment))
        touches = start <= known_end and known_start <= end
        span = (min(start, known_start), max(end, known_end)) if touches else (start, end)
        merged[symbol, source] = (*span, moment)
    return BARS_ASKED.conform(
        pl.DataFrame([(*key, *value) for key, value in merged.items()], schema=dict(BARS_ASKED.columns), orient="row")
    )


def _members(universe: pl.DataFrame, symbols: Sequence[str] | None) -> pl.DataFrame:
    """Each symbol once: exchange, start of its first membership, end of its last (null while it lasts), by priority."""
    members = (
        universe.group_by("symbol")
        .agg(
            pl.col("exchange").first(),
            pl.col("from_session").min(),
            to_session=pl.when(pl.col("to_session").is_not_null().all()).then(pl.col("to_session").max()),
            priority=pl.col("priority").min(),
        )
        .sort("priority", "symbol")
        .select("symbol", "exchange", "from_session", "to_session")
    )
    if symbols is None:
        return members
    strangers = sorted(set(symbols) - set(members["symbol"]))
    if strangers:
        raise UniverseError.of(
            "symbols", expected="symbols of the universe", was=", ".join(strangers), do="add them to universe.file"
        )
    return members.filter(pl.col("symbol").is_in(list(symbols)))


def _clipped(calendar: SessionCalendar, first: date, last: date) -> Range | None:
    """The first and the last session between two dates; None if there is none."""
    start, end = bisect_left(calendar.sessions, first), bisect_right(calendar.sessions, last) - 1
    return (calendar.sessions[start], calendar.sessions[end]) if start <= end else None


def _missing(calendar: SessionCalendar, wanted: Range | None, told: Range | None, overlap: int) -> Range | None:
    if wanted is None or told is None:
        return wanted
    earlier, later = wanted[0] < told[0], wanted[1] > told[1]
    if not earlier and not later:
        return None
    within = calendar.between(*told)
    return (
        wanted[0] if earlier else within[-overlap:][0],
        wanted[1] if later else within[:overlap][-1],
    )


def _whole(wanted: Range | None, told: Range | None) -> Range | None:
    spans = [span for span in (wanted, told) if span is not None]
    return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else None
