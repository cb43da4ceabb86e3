"""What is wrong with a symbol's history as a whole, though each of its rows may be sound."""

from collections.abc import Mapping

import polars as pl

from gnn_assets.bars.splits import split_like
from gnn_assets.bars.status import expected_sessions
from gnn_assets.bars.venues import with_moments
from gnn_assets.core.config import BarsConfig
from gnn_assets.core.sessions import Exchanges

SCHEMA = {
    "symbol": pl.String,
    "source": pl.String,
    "finding": pl.String,
    "first": pl.Date,
    "last": pl.Date,
    "sessions": pl.Int32,
    "value": pl.Float64,
}
_KEY = ("symbol", "session")


def symbol_findings(
    latest: pl.DataFrame,
    actions: pl.DataFrame,
    *,
    exchange_of: Mapping[str, str],
    exchanges: Exchanges,
    universe: pl.DataFrame,
    config: BarsConfig,
) -> pl.DataFrame:
    """Gaps, stale runs, split-like jumps and thin coverage, symbol by symbol.

    * ``gap``: more than `max_gap_sessions` sessions in a row without a close of any source, between two closes and
      within membership. Source: whose bar ends it; sessions: missing; value: log move across it where both bars are
      of that source.
    * ``stale_run``: so many closes in a row of one source are equal (`stale_sessions`). Sessions: bars of the run;
      value: the close.
    * ``split_like``: a move that looks like a split without an action. Value: ratio, new shares for one old.
    * ``low_coverage``: too few of its sessions (`min_symbol_coverage`) have a close of any source. Source: of most
      closes, empty for none; sessions: missing; value: share.

    Args:
        latest: columns of `MARKET_BARS`, the newest revision of each bar, any sources.
        actions: ``symbol``, ``session``, ``kind``, ``source``, ``value``: the newest revision of each action.
        exchange_of: symbol → exchange.
        exchanges: the calendars.
        universe: a frame of `UNIVERSE`; symbols and sessions outside it are not looked at, but for ``split_like``.
        config: limits.

    Returns:
        ``symbol``, ``source``, ``finding``, ``first`` and ``last`` (Date: the sessions it spans), ``sessions``
        (Int32), ``value`` (Float64), sorted.

    Known at: when the bar of ``last`` is; a gap when the bar after it is.
    """
    closes = latest.filter(pl.col("close").is_not_null()).select(*_KEY, "source", "close")
    splits = split_like(latest, actions, exchange_of=exchange_of, exchanges=exchanges, config=config.rules).select(
        "symbol",
        "source",
        finding=pl.lit("split_like"),
        first="session",
        last="session",
        sessions=pl.lit(1, dtype=pl.Int32),
        value="ratio",
    )
    expected = _expected(closes, universe=universe, exchanges=exchanges)
    held = closes.join(expected.select("symbol", "session"), on=_KEY, how="semi")
    frames = [
        pl.DataFrame(schema=SCHEMA),
        _gaps(held, exchange_of=exchange_of, exchanges=exchanges, config=config),
        _stale_runs(held, config=config),
        splits,
        _low_coverage(held, expected, config=config),
    ]
    return pl.concat(frames).sort("symbol", "source", "finding", "first")


def _expected(closes: pl.DataFrame, *, universe: pl.DataFrame, exchanges: Exchanges) -> pl.DataFrame:
    """Symbol and session of every close there should be, between the first and the last session of any symbol."""
    span = closes.select(first=pl.col("session").min(), last=pl.col("session").max()).row(0)
    if span[0] is None:
        return closes.clear().select(_KEY)
    return expected_sessions(universe, exchanges=exchanges, first=span[0], last=lambda _calendar: span[1])


def _gaps(
    held: pl.DataFrame, *, exchange_of: Mapping[str, str], exchanges: Exchanges, config: BarsConfig
) -> pl.DataFrame:
    """Runs of missing sessions; the bars on both sides lie within membership."""
    rows = held.sort(*_KEY, "source").unique(_KEY, keep="first", maintain_order=True)
    rows = with_moments(rows, exchanges=exchanges, exchange_of=exchange_of)
    before = {
        name: pl.col(name).shift().over("symbol").alias(f"{name}_before") for name in ("position", "source", "close")
    }
    wide = rows.with_columns(*before.values(), missing=pl.col("position").diff().over("symbol") - 1).filter(
        pl.col("missing") > config.rules.max_gap_sessions
    )
    days = {code: exchanges.of(code).sessions for code in (exchanges.primary.exchange, *exchanges.others)}

    def session_at(place: str, step: int) -> pl.Series:
        home = exchanges.primary.exchange
        found = [
            days[exchange_of.get(symbol, home)][position + step]
            for symbol, position in wide.select("symbol", place).iter_rows()
        ]
        return pl.Series(found, dtype=pl.Date)

    same = pl.col("source") == pl.col("source_before")
    return wide.select(
        "symbol",
        "source",
        finding=pl.lit("gap"),
        first=session_at("position_before", 1),
        last=session_at("position", -1),
        sessions=pl.col("missing").cast(pl.Int32),
        value=pl.when(same).then((pl.col("close") / pl.col("close_before")).log()),
    )


def _stale_runs(held: pl.DataFrame, *, config: BarsConfig) -> pl.DataFrame:
    """Runs of equal closes of one source."""
    rows = held.sort("symbol", "source", "session")
    changed = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in ("symbol", "source", "close"))
    runs = rows.group_by(run=rows.select(changed.fill_null(True).cum_sum()).to_series(), maintain_order=True).agg(
        pl.col("symbol", "source").first(),
        finding=pl.lit("stale_run"),
        first=pl.col("session").first(),
        last=pl.col("session").last(),
        sessions=pl.len().cast(pl.Int32),
        value=pl.col("close").first(),
    )
    return runs.filter(pl.col("sessions") >= config.rules.stale_sessions).select(*SCHEMA)


def _low_coverage(held: pl.DataFrame, expected: pl.DataFrame, *, config: BarsConfig) -> pl.DataFrame:
    """Symbols with too few closes."""
    most = (
        held.group_by("symbol", "source")
        .len()
        .sort("symbol", "len", "source", descending=(False, True, False))
        .unique("symbol", keep="first", maintain_order=True)
        .select("symbol", "source")
    )
    has = held.group_by("symbol").agg(has=pl.col("session").n_unique())
    counted = expected.group_by("symbol").agg(of=pl.len(), first=pl.col("session").min(), last=pl.col("session").max())
    return (
        counted.join(has, on="symbol", how="left")
        .join(most, on="symbol", how="left")
        .with_columns(pl.col("has").fill_null(0), value=pl.col("has").fill_null(0) / pl.col("of"))
        .filter(pl.col("value") < config.min_symbol_coverage)
        .select(
            "symbol",
            pl.col("source").fill_null(""),
            finding=pl.lit("low_coverage"),
            first="first",
            last="last",
            sessions=(pl.col("of") - pl.col("has")).cast(pl.Int32),
            value="value",
        )
    )
