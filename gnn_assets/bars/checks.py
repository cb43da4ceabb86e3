"""Checks of the bars stage: pure functions of what it published."""

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from gnn_assets.bars.status import succeeded
from gnn_assets.core.checks import Check
from gnn_assets.core.config import BarsConfig
from gnn_assets.core.sessions import SessionCalendar

_SHOWN = 10


def bars_checks(
    latest_bars: pl.DataFrame,
    refused: pl.DataFrame,
    status: pl.DataFrame,
    *,
    stage: str,
    symbols: Sequence[str],
    calendar: SessionCalendar,
    now: datetime,
    config: BarsConfig,
) -> tuple[Check, ...]:
    """Whether the bars are complete, current, possible, mostly sound and on one basis.

    Args:
        latest_bars: a frame of `MARKET_BARS`, the newest revision of each bar.
        refused: a frame of `QUARANTINE`, rows refused over the same range.
        status: a frame of `SYMBOL_STATUS`.
        stage: name under which the stage wrote its status.
        symbols: symbols that count, such as the core of the universe.
        calendar: the exchange's sessions.
        now: aware UTC moment.
        config: limits.
    """
    reasons = dict(status.filter(pl.col("stage") == stage).sort("session").select("symbol", "reason").iter_rows())
    good = set(succeeded(status, stage))
    failed = [f"{symbol}: {reasons.get(symbol, 'never tried')}" for symbol in symbols if symbol not in good]
    share = (len(symbols) - len(failed)) / len(symbols)
    expected = calendar.last_complete(now)
    newest = latest_bars["session"].max()
    at_newest = set(latest_bars.filter(pl.col("session") == expected)["symbol"])
    future = latest_bars.filter(pl.col("session") > expected)
    refused_share = refused.height / max(refused.height + latest_bars.height, 1)
    mixed = latest_bars.group_by("symbol").agg(pl.col("basis").n_unique()).filter(pl.col("basis") > 1).sort("symbol")
    return (
        Check(
            "symbols_complete",
            share >= config.min_success_share,
            share,
            config.min_success_share,
            "Share of symbols with enough closes; below it nothing new goes downstream.",
            offenders=tuple(failed[:_SHOWN]),
        ),
        Check(
            "newest_session_present",
            newest == expected,
            str(newest),
            str(expected),
            "Newest session with a bar against the newest complete session of the exchange; what is there is still "
            "published, and its age says how late it is.",
            severity="warn",
            offenders=tuple(symbol for symbol in symbols if symbol not in at_newest)[:_SHOWN],
        ),
        Check(
            "no_future_sessions",
            future.is_empty(),
            future.height,
            0,
            "Bars of sessions that are not complete yet.",
            offenders=_rows(future.select("symbol", "session")),
        ),
        Check(
            "quarantine_share",
            refused_share <= config.max_quarantine_share,
            refused_share,
            config.max_quarantine_share,
            "Share of rows refused as dirt; a larger one means the source, not a row, is wrong.",
            offenders=_rows(refused.select("symbol", "session", "rule")),
        ),
        Check(
            "one_basis",
            mixed.is_empty(),
            mixed.height,
            0,
            "Symbols whose bars mix price bases; a return across the seam would be false.",
            offenders=_rows(mixed.select("symbol")),
        ),
    )


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
    values = pl.col("close_return", "fill_return")
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
