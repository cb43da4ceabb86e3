"""What people see of an update of the bars: checks, events, tables and plots."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import polars as pl

from gnn_assets.bars.actions import latest_actions
from gnn_assets.bars.bad_sessions import PREFIX as BAD_SESSION
from gnn_assets.bars.checks import bars_checks
from gnn_assets.bars.findings import symbol_findings
from gnn_assets.bars.restatements import restatement_check, touched_sessions
from gnn_assets.bars.revisions import latest
from gnn_assets.bars.row_schemas import NULLED
from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, QUARANTINE, UNIVERSE
from gnn_assets.bars.status import coverage_failures, failure_reasons, held_back
from gnn_assets.bars.venues import counted_at, exchange_of
from gnn_assets.core.errors import SchemaMismatch
from gnn_assets.defs.judging import BarsUpdate
from gnn_assets.defs.plots import lines, table
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Report, StageRun
from gnn_assets.defs.status import dead_letters
from gnn_assets.defs.tables import stored
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.store.landing import Landed

# Rows shown of a table for people; all of them are in the lake.
_TABLE_ROWS = 50


def report(run: StageRun, update: BarsUpdate) -> Report:
    """Checks and metadata of an update: what is stored, what is wrong with it, and how the asking went."""
    config, platform = run.config, run.platform
    universe = run.read(UNIVERSE)
    newest = _newest_with(platform, update)
    every = update.whole[1] if update.whole else pl.concat([stored(platform, CORPORATE_ACTIONS), update.actions])
    actions = latest_actions(every)
    venue = exchange_of(universe)
    now = _asked_until(run, newest)
    findings = symbol_findings(
        newest,
        actions,
        exchange_of=venue,
        exchanges=platform.exchanges,
        universe=universe,
        config=config.bars,
    )
    failures = dict(update.not_asked) | failure_reasons(
        fetch=update.failures,
        held=held_back(_recent_splits(findings, platform)),
        coverage=coverage_failures(
            newest,
            universe=universe,
            exchanges=platform.exchanges,
            first=config.bars.from_session,
            now=now,
            min_symbol_coverage=config.bars.min_symbol_coverage,
        ),
    )
    data_end = _data_end(newest, venue, platform)
    touched = _touched_forecasts(platform, update)
    revisions = restatement_check(
        update.kinds,
        symbols=universe["symbol"].unique().to_list(),
        touched_forecasts=touched,
        max_share=config.bars.max_revised_share,
        min_symbols=config.bars.min_revised_symbols,
    )
    if run.request.accept_revisions:
        revisions = replace(revisions, severity="warn")
    checks = (
        *bars_checks(
            newest,
            refused=update.refused,
            findings=findings,
            failures=failures,
            universe=universe,
            exchanges=platform.exchanges,
            now=now,
            config=config.bars,
        ),
        revisions,
    )
    blocking = [check.name for check in checks if check.blocks]
    if blocking:
        # What is refused for what it says, not for what it lacks, is asked for anew: its source may have corrected it.
        lacking = blocking == ["symbols_complete"]
        platform.landing.clear(*(_of_bad_sessions(update, platform) if lacking else update.landed))
    _tell(run, update, failures, touched, stored=not blocking)
    if not blocking:
        _tell_quarantined(run, update)
    return Report(
        data_end=data_end,
        checks=checks,
        metadata={
            "dagster/row_count": newest.height,
            "rows_added": update.added.height,
            "revised_bars": update.added.filter(pl.col("rev") > 0).height,
            "quarantined_rows": update.refused.height,
            "failed_symbols": len(failures),
            **update.metadata,
            **_pictures(newest, update, findings, failures),
        },
        failures=failures,
    )


def _asked_until(run: StageRun, newest: pl.DataFrame) -> datetime:
    """The moment that bars are held against: now, or for a backfill the end of what it and others before it asked for.

    A history that is filled from its far end is complete without today's bar.
    """
    platform = run.platform
    if not run.request.last:
        return platform.clock.now()
    ends: list[date] = [date.fromisoformat(run.request.last), *newest["session"].sort().tail(1)]
    session = platform.calendar.between(platform.calendar.sessions[0], max(ends))[-1]
    return min(platform.clock.now(), platform.calendar.available_at(session))


def _data_end(newest: pl.DataFrame, venue: Mapping[str, str], platform: Platform) -> date | None:
    """The last primary session that the bars of every exchange cover, the latest deciding; None without any bar."""
    primary = platform.calendar
    exchange = pl.col("symbol").replace_strict(dict(venue), default=primary.exchange, return_dtype=pl.String)
    ends: dict[str, date] = dict(newest.group_by(exchange.alias("exchange")).agg(pl.col("session").max()).iter_rows())
    covered = [ends[primary.exchange]] if primary.exchange in ends else []
    for code in ends.keys() - {primary.exchange}:
        counts = counted_at(platform.exchanges.of(code), primary).filter(pl.col("session") <= ends[code])
        covered += counts["counts_at"].drop_nulls().sort().tail(1).to_list()
    return min(covered, default=None)


def _of_bad_sessions(update: BarsUpdate, platform: Platform) -> list[Landed]:
    """Answers of sources that had a session refused whole among those that are still asked for again."""
    bad = update.refused.filter(
        pl.col("rule").str.starts_with(BAD_SESSION), pl.col("session") >= _overlap_starts(platform)
    )
    sources = set(bad["source"])
    return [answer for answer in update.landed if answer.facts["source"] in sources]


def _overlap_starts(platform: Platform) -> date:
    """The first session that is still asked for again."""
    return platform.calendar.offset(platform.last_session, -platform.config.bars.overlap_sessions)


def _newest_with(platform: Platform, update: BarsUpdate) -> pl.DataFrame:
    """The newest revision of each bar, once the update is stored; provenance left out."""
    columns = [name for name in MARKET_BARS.columns if name not in MARKET_BARS.provenance]
    before = stored(platform, MARKET_BARS, columns=columns) if update.whole is None else MARKET_BARS.empty()
    added = update.added if update.whole is None else update.whole[0]
    return latest(pl.concat([before.select(columns), added.select(columns)]))


def _recent_splits(findings: pl.DataFrame, platform: Platform) -> pl.DataFrame:
    """Split-like moves of sessions that are still asked for again: older ones are history, and give no return."""
    return findings.filter((pl.col("finding") == "split_like") & (pl.col("last") >= _overlap_starts(platform))).select(
        "symbol", "source", session="last", ratio="value"
    )


def _touched_forecasts(platform: Platform, update: BarsUpdate) -> list[str]:
    """Published forecasts whose inputs this update changes, as text."""
    # Revisions, and bars that came after their session had been answered for.
    changed = update.added.filter(pl.col("known_at") == pl.col("fetched_at"))
    if changed.is_empty():
        return []
    config = platform.config
    try:
        published = stored(platform, FORECASTS, columns=("session",))["session"].unique().to_list()
    except SchemaMismatch:
        return []  # those of an older release, which are made anew after this
    touched = touched_sessions(
        changed,
        published,
        lookback=max(config.graphs.window, config.models.features.lookback) + 1,
        calendar=platform.calendar,
    )
    return [f"every forecast of {session}" for session in touched]


def _tell(
    run: StageRun, update: BarsUpdate, failures: Mapping[str, str], touched: Sequence[str], *, stored: bool
) -> None:
    """Events, for alerts and audit."""
    ledger = run.platform.ledger
    if not update.kinds.is_empty():
        ledger.append(
            "events",
            {
                "event": "bars_revised",
                "asset": run.asset,
                "symbols": update.kinds.select("symbol", "source", "kind", "sessions").rows(),
                "forecasts_touched": list(touched),
                "stored": stored,
            },
        )
    if failures and dict(failures) != dead_letters(run.platform):
        ledger.append("events", {"event": "symbols_failed", "asset": run.asset, "symbols": dict(failures)})


def _tell_quarantined(run: StageRun, update: BarsUpdate) -> None:
    """An event for rows that go into quarantine now and were not there before; rows that lost a value are bars still."""
    before = stored(run.platform, QUARANTINE, columns=QUARANTINE.key)
    new = update.refused.filter(~pl.col("rule").is_in(list(NULLED))).join(before, on=QUARANTINE.key, how="anti")
    if new.is_empty():
        return
    rows = new.sort("session", "symbol", descending=(True, False)).head(_TABLE_ROWS)
    run.platform.ledger.append(
        "events",
        {
            "event": "rows_quarantined",
            "asset": run.asset,
            "rows": new.height,
            "first": [
                f"{row['symbol']} {row['session']} by {row['source']}: {row['rule']}"
                for row in rows.iter_rows(named=True)
            ],
        },
    )


def _pictures(
    newest: pl.DataFrame, update: BarsUpdate, findings: pl.DataFrame, failures: Mapping[str, str]
) -> dict[str, Any]:
    """Tables and plots for people, and numbers by source that Dagster plots over time."""
    sources = newest["source"].unique().sort()
    by_session = newest.group_by("session", "source").agg(symbols=pl.col("close").count()).sort("session")
    axis = by_session["session"].unique(maintain_order=True)
    counts = {
        source: axis.to_frame().join(by_session.filter(pl.col("source") == source), on="session", how="left")["symbols"]
        for source in sources
    }
    summary = (
        newest.group_by("symbol", "source")
        .agg(
            first=pl.col("session").min().cast(pl.String),
            last=pl.col("session").max().cast(pl.String),
            closes=pl.col("close").count(),
            last_close=pl.col("close").sort_by("session").last(),
            flagged=(pl.col("flags") != "").sum(),
        )
        .sort("symbol", "source")
    )
    rules = update.refused.group_by("source", "rule").agg(rows=pl.len()).sort("rows", "rule", descending=(True, False))
    dirt = {
        f"{finding}_{source}": findings.filter((pl.col("finding") == finding) & (pl.col("source") == source)).height
        for source in sources
        for finding in ("gap", "stale_run", "split_like")
    }
    refused = {f"refused_{source}": update.refused.filter(pl.col("source") == source).height for source in sources}
    return {
        **dirt,
        **refused,
        "bars_by_symbol": table(summary.head(_TABLE_ROWS), digits=2),
        "refused_by_rule": table(rules, digits=0),
        "findings": table(findings.sort("last", descending=True).head(_TABLE_ROWS), digits=4),
        "revisions": table(update.kinds.head(_TABLE_ROWS), digits=6),
        "dead_letters": table(
            pl.DataFrame(
                {"symbol": list(failures)[:_TABLE_ROWS], "reason": list(failures.values())[:_TABLE_ROWS]},
                schema={"symbol": pl.String, "reason": pl.String},
            ),
            digits=0,
        ),
        "coverage": lines(
            axis.to_list(),
            {source: values.to_list() for source, values in counts.items()},
            title="Symbols with a close, by session and source",
            x_label="session",
            y_label="symbols",
        ),
    }
