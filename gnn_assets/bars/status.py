"""How each symbol fared in each stage: one that failed is named with its reason, and everything else goes on."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime

import polars as pl

from gnn_assets.bars.schema import SYMBOL_STATUS
from gnn_assets.core.sessions import Exchanges, SessionCalendar

SUCCESS, FAILED, PENDING = "SUCCESS", "FAILED", "PENDING"


def stage_status(
    stage: str,
    *,
    symbols: Sequence[str],
    session: date,
    failures: Mapping[str, str],
    waiting: Mapping[str, str],
    before: pl.DataFrame,
) -> pl.DataFrame:
    """The status rows that a stage writes when it has done its work.

    Args:
        stage: name of the stage.
        symbols: symbols the stage was meant to work on.
        session: last session it covered.
        failures: symbol → why the stage failed on it.
        waiting: symbol → why the stage did not try, such as a failure in the stage before.
        before: a frame of `SYMBOL_STATUS`; attempts at the same session are counted on.

    Returns:
        A frame of `SYMBOL_STATUS`, one row a symbol.
    """
    counted = before.filter((pl.col("stage") == stage) & (pl.col("session") == session))
    attempts = dict(zip(counted["symbol"], counted["attempts"], strict=True))
    rows = [
        {
            "stage": stage,
            "symbol": symbol,
            "session": session,
            "state": PENDING if symbol in waiting else FAILED if symbol in failures else SUCCESS,
            "reason": waiting.get(symbol) or failures.get(symbol, ""),
            "attempts": attempts.get(symbol, 0) + (symbol not in waiting),
        }
        for symbol in symbols
    ]
    return SYMBOL_STATUS.conform(pl.DataFrame(rows, schema=dict(SYMBOL_STATUS.columns)))


def newest_words(status: pl.DataFrame) -> pl.DataFrame:
    """The last word of each stage on each symbol, its last success and the last time it tried: all that is asked for.

    Args:
        status: a frame of `SYMBOL_STATUS`.

    Returns:
        A frame of `SYMBOL_STATUS`, at most three rows a (stage, symbol), however long the stages have been running.
    """
    newest = pl.col("session") == pl.col("session").max().over("stage", "symbol")
    success = pl.col("state") == SUCCESS
    tried = pl.col("state") != PENDING
    return status.filter(
        newest
        | (success & (pl.col("session") == pl.col("session").filter(success).max().over("stage", "symbol")))
        | (tried & (pl.col("session") == pl.col("session").filter(tried).max().over("stage", "symbol")))
    )


def ever_succeeded(status: pl.DataFrame, stage: str, *, follower: str) -> tuple[str, ...]:
    """Symbols on which a stage has ever succeeded, sorted: what the next stage works on.

    One that failed today is among them. It has no new row, so nothing new comes of it; but its past stays as it was,
    because what is known of a past session must not depend on a failure of today.

    Args:
        status: a frame of `SYMBOL_STATUS`.
        stage: name of the stage.
        follower: the next stage. A symbol it has worked on had succeeded, even where a failure later on the same
            session has taken the place of that success.
    """
    good = (pl.col("stage") == stage) & (pl.col("state") == SUCCESS)
    worked_on = (pl.col("stage") == follower) & (pl.col("state") != PENDING)
    return tuple(status.filter(good | worked_on)["symbol"].unique().sort())


def expected_sessions(
    universe: pl.DataFrame, *, exchanges: Exchanges, first: date, last: Callable[[SessionCalendar], date]
) -> pl.DataFrame:
    """Which closes there should be: each symbol's sessions, on its own exchange and within its membership.

    Args:
        universe: a frame of `UNIVERSE`.
        exchanges: the calendars.
        first: first date in range.
        last: calendar → last date in range there.

    Returns:
        ``symbol``, ``session``; each pair once.

    Raises:
        ConfigError: if an exchange is not configured.
    """
    frames = [pl.DataFrame(schema={"symbol": pl.String, "session": pl.Date})]
    for members in universe.partition_by("exchange"):
        calendar = exchanges.of(members["exchange"][0])
        axis = pl.DataFrame({"session": pl.Series(calendar.between(first, last(calendar)), dtype=pl.Date)})
        frames.append(
            members.join(axis, how="cross")
            .filter(
                (pl.col("session") >= pl.col("from_session"))
                & (pl.col("to_session").is_null() | (pl.col("session") <= pl.col("to_session")))
            )
            .select("symbol", "session")
        )
    return pl.concat(frames).unique()


def coverage_failures(
    latest_bars: pl.DataFrame,
    *,
    universe: pl.DataFrame,
    exchanges: Exchanges,
    first: date,
    now: datetime,
    min_symbol_coverage: float,
) -> dict[str, str]:
    """Symbols with too few closes on the sessions of their own exchange, and why.

    Args:
        latest_bars: columns ``symbol``, ``session``, ``close``; any sources: a session that one of them has counts.
        universe: a frame of `UNIVERSE`; only sessions of its membership count for a symbol.
        exchanges: the calendars.
        first: first session in range.
        now: aware UTC moment; the range ends with the newest session complete by then, exchange by exchange.
        min_symbol_coverage: share of them that must have a close.

    Returns:
        symbol → reason, sorted by symbol.
    """
    wanted = expected_sessions(
        universe, exchanges=exchanges, first=first, last=lambda calendar: calendar.last_complete(now)
    )
    closes = latest_bars.filter(pl.col("close").is_not_null()).select("symbol", "session").unique()
    covered = (
        wanted.join(closes.with_columns(known=pl.lit(True)), on=("symbol", "session"), how="left")
        .group_by("symbol")
        .agg(has=pl.col("known").count(), of=pl.len())
    )
    counts = {symbol: (has, of) for symbol, has, of in covered.iter_rows()}
    failures: dict[str, str] = {}
    for symbol in universe["symbol"].unique().sort():
        has, of = counts.get(symbol, (0, 0))
        if of == 0:
            failures[symbol] = "none of its sessions lies in the range asked for"
        elif has / of < min_symbol_coverage:
            failures[symbol] = (
                f"expected a close on at least {min_symbol_coverage:.1%} of its sessions, "
                f"was {has / of:.1%} ({has} of {of})"
            )
    return failures


def held_back(splits: pl.DataFrame) -> dict[str, str]:
    """Symbols that must not be used because a split may be missing from their bars, and why.

    Args:
        splits: ``symbol``, ``source``, ``session``, ``ratio``, as `splits.split_like` gives them, of those sources
            and sessions that returns are taken from.

    Returns:
        symbol → reason, sorted by symbol; of several sessions the newest is named.
    """
    newest = splits.sort("symbol", "session", "source").unique("symbol", keep="last", maintain_order=True)
    return {
        symbol: f"held back: on {session} the bars of {source} move like a split of {ratio:g} new shares for one old "
        "that its actions do not explain; wait for the source to correct it, or tell the action"
        for symbol, session, source, ratio in newest.select("symbol", "session", "source", "ratio").iter_rows()
    }


def failure_reasons(
    *, fetch: Mapping[str, str], held: Mapping[str, str], coverage: Mapping[str, str]
) -> dict[str, str]:
    """One reason a symbol that cannot be used: that of the fetch first, for it is the nearest cause.

    A symbol that no source gave keeps its last good bars; nothing is made up for it.

    Args:
        fetch: symbol → why every source failed on it.
        held: symbol → why it is held back.
        coverage: symbol → why it has too few closes.

    Returns:
        symbol → reason, sorted by symbol.
    """
    told = {symbol: f"not fetched, its last good bars are kept: {error}" for symbol, error in fetch.items()}
    return dict(sorted({**coverage, **held, **told}.items()))
