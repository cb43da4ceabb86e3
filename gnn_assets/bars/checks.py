"""Checks of the bars stage: pure functions of what it published."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import polars as pl

from gnn_assets.bars.bad_sessions import PREFIX, session_coverage
from gnn_assets.bars.row_schemas import NULLED
from gnn_assets.bars.venues import exchange_of, with_moments
from gnn_assets.core.checks import Check
from gnn_assets.core.config import BarsConfig
from gnn_assets.core.sessions import Exchanges
from gnn_assets.store.schema import MOMENT

_SHOWN = 10


def bars_checks(
    latest_bars: pl.DataFrame,
    *,
    refused: pl.DataFrame,
    findings: pl.DataFrame,
    failures: Mapping[str, str],
    universe: pl.DataFrame,
    exchanges: Exchanges,
    now: datetime,
    config: BarsConfig,
) -> tuple[Check, ...]:
    """Whether the bars are complete, current, possible, mostly sound and each source's on one basis.

    Args:
        latest_bars: columns of `MARKET_BARS`, the newest revision of each bar of each source.
        refused: a frame of `QUARANTINE`: everything refused over the same range.
        findings: what `findings.symbol_findings` says of `latest_bars`.
        failures: symbol → why it cannot be used, as `status.failure_reasons` gives it.
        universe: a frame of `UNIVERSE`; symbols of tier ``core`` that belong to it at their exchange's newest
            complete session count.
        exchanges: the calendars.
        now: aware UTC moment.
        config: limits.
    """
    expected = _expected_now(universe, exchanges=exchanges, now=now)
    present = latest_bars.filter(pl.col("close").is_not_null()).select("symbol", "session").unique()
    lacking = set(expected.join(present, on=("symbol", "session"), how="anti")["symbol"])
    unusable = {
        symbol: failures.get(symbol) or f"no close on {session}, the newest session of its exchange"
        for symbol, session in expected.select("symbol", "session").sort("symbol").iter_rows()
        if symbol in failures or symbol in lacking
    }
    where = exchange_of(universe)
    return (
        *_usable(expected, unusable, config),
        _newest_session(expected, present, lacking),
        *_rows_as_such(latest_bars, refused, where=where, exchanges=exchanges, now=now, config=config),
        _coverage(latest_bars, where=where, exchanges=exchanges, config=config),
        *_histories(latest_bars, findings, config),
    )


def _expected_now(universe: pl.DataFrame, *, exchanges: Exchanges, now: datetime) -> pl.DataFrame:
    """``exchange``, ``symbol`` and ``session``: the newest close that each core symbol of today should have."""
    core = universe.filter(pl.col("tier") == "core")
    newest = {code: exchanges.of(code).last_complete(now) for code in core["exchange"].unique()}
    rows = core.with_columns(
        session=pl.col("exchange").replace_strict(newest, default=None, return_dtype=pl.Date)
    ).filter(
        pl.col("from_session") <= pl.col("session"),
        pl.col("to_session").is_null() | (pl.col("to_session") >= pl.col("session")),
    )
    return rows.select("exchange", "symbol", "session").unique().sort("exchange", "symbol")


def _usable(expected: pl.DataFrame, unusable: Mapping[str, str], config: BarsConfig) -> tuple[Check, Check]:
    total = expected.height
    usable = total - len(unusable)
    named = tuple(f"{symbol}: {reason}" for symbol, reason in list(unusable.items())[:_SHOWN])
    # In decimal arithmetic, so that 80 of 100 is 0.8 whatever its binary digits are.
    enough = total > 0 and usable >= Fraction(str(config.min_success_share)) * total
    return (
        Check(
            "symbols_complete",
            enough,
            usable / max(total, 1),
            config.min_success_share,
            "Share of core symbols that can be used at the newest session; below it nothing new goes downstream.",
            offenders=named,
        ),
        Check(
            "symbols_failed",
            not unusable,
            len(unusable),
            0,
            "Core symbols that cannot be used at the newest session; they keep their last good bars and are tried "
            "again alone.",
            severity="warn",
            offenders=named,
        ),
    )


def _newest_session(expected: pl.DataFrame, present: pl.DataFrame, lacking: Collection[str]) -> Check:
    wanted = expected.group_by("exchange").agg(pl.col("session").first()).sort("exchange")
    mine = present.join(expected.select("symbol", "exchange"), on="symbol")
    newest = mine.group_by("exchange").agg(newest=pl.col("session").max())
    both = wanted.join(newest, on="exchange", how="left").sort("exchange")
    return Check(
        "newest_session_present",
        both.filter(pl.col("newest").ne_missing(pl.col("session"))).is_empty() and not both.is_empty(),
        _dates(both.select("exchange", "newest")),
        _dates(both.select("exchange", "session")),
        "Newest session with a close against the newest complete session of the exchange; what is there is still "
        "published, and its age says how late it is.",
        severity="warn",
        offenders=tuple(sorted(lacking))[:_SHOWN],
    )


def _rows_as_such(
    latest_bars: pl.DataFrame,
    refused: pl.DataFrame,
    *,
    where: Mapping[str, str],
    exchanges: Exchanges,
    now: datetime,
    config: BarsConfig,
) -> tuple[Check, ...]:
    moments = with_moments(latest_bars.select("symbol", "session"), exchanges=exchanges, exchange_of=where)
    future = moments.filter((pl.col("available_at") <= pl.lit(now, dtype=MOMENT)).fill_null(False).not_())
    # Rows that only lost a value stand in quarantine too; they are bars all the same.
    dirt = refused.filter(~pl.col("rule").is_in(list(NULLED)))
    share = dirt.height / max(dirt.height + latest_bars.height, 1)
    mixed = latest_bars.group_by("symbol", "source").agg(pl.col("basis").n_unique()).filter(pl.col("basis") > 1)
    mixed = mixed.select("symbol", "source").sort("symbol", "source")
    bad = refused.filter(pl.col("rule").str.starts_with(PREFIX)).select("session", "source", "rule").unique()
    bad = bad.sort("session", "source", descending=(True, False))
    return (
        Check(
            "no_future_sessions",
            future.is_empty(),
            future.height,
            0,
            "Bars of sessions that are not complete yet, or of dates that are no session of the symbol's exchange.",
            offenders=_rows(future.select("symbol", "session")),
        ),
        Check(
            "quarantine_share",
            share <= config.max_quarantine_share,
            share,
            config.max_quarantine_share,
            "Share of rows refused as dirt; a larger one means the source, not a row, is wrong.",
            offenders=_rows(dirt.select("symbol", "session", "rule")),
        ),
        Check(
            "one_basis",
            mixed.is_empty(),
            mixed.height,
            0,
            "Symbols whose bars of one source mix price bases; a return across the seam would be false.",
            offenders=_rows(mixed),
        ),
        Check(
            "bad_sessions",
            bad.is_empty(),
            bad.height,
            0,
            "Sessions of a source refused whole, because one rule was broken by too many symbols at once.",
            severity="warn",
            offenders=_rows(bad),
        ),
    )


def _coverage(
    latest_bars: pl.DataFrame, *, where: Mapping[str, str], exchanges: Exchanges, config: BarsConfig
) -> Check:
    covered = session_coverage(latest_bars, exchange_of=where, exchanges=exchanges, config=config.rules)
    thin = covered.filter(pl.col("share") < config.rules.min_session_coverage).sort("session", descending=True)
    lowest: Any = covered["share"].min()
    return Check(
        "session_coverage",
        thin.is_empty(),
        1.0 if lowest is None else float(lowest),
        config.rules.min_session_coverage,
        "Lowest share of symbols that a session has of the median of the sessions around it.",
        severity="warn",
        offenders=_rows(thin.select("exchange", "session", "symbols", "expected")),
    )


def _histories(latest_bars: pl.DataFrame, findings: pl.DataFrame, config: BarsConfig) -> tuple[Check, ...]:
    newest = latest_bars.group_by("symbol", "source").agg(newest=pl.col("session").max())
    # A run that ended is history; one that lasts says that the symbol is dead or its source asleep.
    stale = (
        findings.filter(pl.col("finding") == "stale_run")
        .join(newest, on=("symbol", "source"))
        .filter(pl.col("last") == pl.col("newest"))
    )
    gaps = findings.filter(pl.col("finding") == "gap")
    splits = findings.filter(pl.col("finding") == "split_like")
    rules = config.rules
    named = {
        "stale_symbols": (stale, f"Symbols whose close has not changed for {rules.stale_sessions} sessions or more."),
        "gaps": (gaps, f"Symbols with more than {rules.max_gap_sessions} sessions missing in a row."),
        "split_like": (
            splits,
            "Symbols held back, because their bars move like a split that no action of the source explains.",
        ),
    }
    return tuple(
        Check(
            name,
            rows.is_empty(),
            rows["symbol"].n_unique(),
            0,
            description,
            severity="warn",
            offenders=_rows(
                rows.sort("last", "symbol", descending=(True, False)).select(
                    "symbol", "source", "first", "sessions", "value"
                )
            ),
        )
        for name, (rows, description) in named.items()
    )


def _dates(rows: pl.DataFrame) -> str:
    """The date alone where there is one exchange, else each with its exchange."""
    if rows.height == 1:
        return str(rows.row(0)[1])
    return ", ".join(f"{exchange} {session}" for exchange, session in rows.iter_rows()) or "None"


def returns_checks(
    returns: pl.DataFrame, *, symbols: Sequence[str], sessions: Sequence[date], config: BarsConfig
) -> tuple[Check, ...]:
    """Whether the returns are finite and cover the symbols.

    Args:
        returns: a frame of `RETURNS`.
        symbols: symbols that count, such as those that succeeded in the stage before.
        sessions: sessions that can have a return: all in range but the first.
        config: limits.
    """
    values = pl.col("close_return", "fill_return", "held_return")
    broken = returns.filter(pl.any_horizontal(values.is_finite() == False))  # noqa: E712 - null is no False
    counted = (
        pl.DataFrame({"symbol": pl.Series(symbols, dtype=pl.String)})
        .join(
            returns.filter(pl.col("session").is_in(list(sessions)) & pl.col("close_return").is_not_null()),
            on="symbol",
            how="left",
        )
        .group_by("symbol")
        .agg(share=pl.col("close_return").count() / max(len(sessions), 1))
        .sort("share", "symbol")
    )
    coverage = float(counted["share"].mean() or 0)  # ty: ignore[invalid-argument-type]
    thin = counted.filter(pl.col("share") < config.min_symbol_coverage)
    return (
        Check(
            "returns_finite",
            broken.is_empty(),
            broken.height,
            0,
            "Rows with an infinite or undefined return.",
            offenders=_rows(broken.select("symbol", "session")),
        ),
        Check(
            "returns_coverage",
            coverage >= config.min_symbol_coverage,
            coverage,
            config.min_symbol_coverage,
            "Share of symbols and sessions with a close-to-close return.",
            offenders=_rows(thin),
        ),
    )


def _rows(frame: pl.DataFrame) -> tuple[str, ...]:
    """The first rows as text, for people."""
    return tuple(" ".join(str(value) for value in row) for row in frame.head(_SHOWN).iter_rows())
