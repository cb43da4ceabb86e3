"""Assets of the bars stage: universe, market_bars, returns."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from gnn_assets.bars import sources as sources_package
from gnn_assets.bars.checks import bars_checks, returns_checks
from gnn_assets.bars.quarantine import split
from gnn_assets.bars.returns import log_returns
from gnn_assets.bars.revisions import latest, new_revisions
from gnn_assets.bars.schema import MARKET_BARS, QUARANTINE, RETURNS, UNIVERSE
from gnn_assets.bars.status import coverage_failures
from gnn_assets.bars.universe import read_universe, symbols_of, within_membership
from gnn_assets.core.config import Config
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact
from gnn_assets.core.plugins import load_plugin
from gnn_assets.defs.plots import lines, table
from gnn_assets.defs.stage import Report, Shelf, Stage, StageRun, TableShelf, status_rows
from gnn_assets.store.versions import Lineage

SOURCES = sources_package.__name__


@dataclass(frozen=True)
class BarsUpdate:
    """What one fetch adds.

    Args:
        stored: every MARKET_BARS row, those added included.
        added: the rows to append.
        refused: the rows for quarantine.
        fetch_failures: symbol → why the source gave nothing.
        intact: whether every stored file was whole; if not, the table is written anew instead of appended to.
    """

    stored: pl.DataFrame
    added: pl.DataFrame
    refused: pl.DataFrame
    fetch_failures: dict[str, str]
    intact: bool


@dataclass(frozen=True)
class BarsShelf:
    """Appends revisions; the history is never rewritten."""

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """Nothing: only the source can say whether it has something new."""
        del run, lineage

    def load(self, run: StageRun, version: str) -> Any:
        """Not reached: nothing is reused."""
        raise AssertionError(run.asset, version)

    def publish(self, run: StageRun, artefact: BarsUpdate, *, lineage: Lineage, data_end: date | None) -> str:
        """Appends the new revisions and keeps the refused rows."""
        lake = run.platform.lake
        lake.upsert(QUARANTINE, artefact.refused, run_id=run.run_id)
        write, rows = (lake.append, artefact.added) if artefact.intact else (lake.publish, artefact.stored)
        return write(MARKET_BARS, rows, lineage=lineage, data_end=data_end, run_id=run.run_id).version


def _universe(run: StageRun) -> pl.DataFrame:
    """Which symbols belong to the platform's world, in which tier and sector, and for how long.

    Read from a YAML file. `core` symbols are graphed, forecast and traded; `context` symbols are shown beside results.
    """
    universe = read_universe(run.config.universe.file)
    # A symbol the source has never heard of is refused here, before anything is published.
    _ask_for_one_session(universe, run.config)
    return universe


def _universe_report(run: StageRun, universe: pl.DataFrame) -> Report:
    sectors = (
        universe.group_by("tier", "sector").agg(symbols=pl.col("symbol").sort().str.join(" ")).sort("tier", "sector")
    )
    return Report(
        # The file says who belongs today, so reading it covers every session until now.
        data_end=run.platform.last_session,
        checks=(),
        metadata={
            "dagster/row_count": universe.height,
            "core_symbols": len(symbols_of(universe, "core")),
            "survivors_only": bool(universe["survivor_only"].any()),
            "sectors": table(sectors, digits=0),
            "file": run.config.universe.file,
        },
    )


def _market_bars(run: StageRun) -> BarsUpdate:
    """What each source said about each session, every revision kept, and the moment it was known.

    Append-only: a bar that a vendor changes later becomes a new revision, known from the moment it was fetched.
    Nothing is filled, repaired or invented; refused rows go to quarantine with the rule they broke.
    """
    config, platform = run.config, run.platform
    source = load_plugin(SOURCES, config.bars.source)
    universe = run.read(UNIVERSE)
    symbols = universe["symbol"].unique().sort().to_list()
    run.progress(0.1, f"asking {config.bars.source} for {len(symbols)} symbols")
    fetched = source.fetch(symbols, first=config.bars.from_session, last=platform.last_session)
    good, refused = split(fetched.bars, config=config.bars, calendar=platform.calendar)
    stored, intact = _stored_bars(run)
    run.progress(0.6, f"{good.height} bars fetched, {refused.height} refused")
    added = new_revisions(
        stored,
        good,
        source=config.bars.source,
        basis=source.BASIS,
        calendar=platform.calendar,
        fetched_at=platform.clock.now(),
        payload_hash=fetched.payload_hash,
        run_id=run.run_id,
    )
    return BarsUpdate(
        stored=pl.concat([stored, added]),
        added=added,
        refused=refused,
        fetch_failures=dict(fetched.failures),
        intact=intact,
    )


def _stored_bars(run: StageRun) -> tuple[pl.DataFrame, bool]:
    """The history so far, and whether it was whole.

    A damaged file must not stop bars for ever: the newest whole publication is built upon, and what it lacks is asked
    for again. Revisions that only the damaged file held are lost, which is an event.
    """
    lake = run.platform.lake
    if lake.manifest(MARKET_BARS) is None:
        return MARKET_BARS.empty(), True
    try:
        return lake.read(MARKET_BARS), True
    except (CorruptArtefact, MissingArtefact) as error:
        run.platform.ledger.append("events", {"event": "bars_damaged", "asset": run.asset, "reason": str(error)})
        run.log(str(error))
    try:
        return lake.last_good(MARKET_BARS)[1], False
    except CorruptArtefact:
        return MARKET_BARS.empty(), False


def _market_bars_report(run: StageRun, update: BarsUpdate) -> Report:
    config, platform = run.config, run.platform
    source = load_plugin(SOURCES, config.bars.source)
    universe = run.read(UNIVERSE)
    newest = _newest(update.stored, config)
    sessions = platform.calendar.between(config.bars.from_session, platform.last_session)
    failures = {
        **coverage_failures(
            newest, universe=universe, sessions=sessions, min_symbol_coverage=config.bars.min_symbol_coverage
        ),
        **update.fetch_failures,
    }
    data_end: date = newest["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    by_session = newest.group_by("session").agg(symbols=pl.col("close").count()).sort("session")
    summary = (
        newest.group_by("symbol")
        .agg(
            first=pl.col("session").min().cast(pl.String),
            last=pl.col("session").max().cast(pl.String),
            closes=pl.col("close").count(),
            last_close=pl.col("close").sort_by("session").last(),
        )
        .sort("symbol")
    )
    return Report(
        data_end=data_end,
        checks=bars_checks(
            newest,
            update.refused,
            status_rows(run, follows=None, context=True, failures=failures, session=data_end),
            stage=run.asset,
            symbols=symbols_of(universe, "core"),
            calendar=platform.calendar,
            now=platform.clock.now(),
            config=config.bars,
        ),
        metadata={
            "dagster/row_count": update.stored.height,
            "rows_added": update.added.height,
            "revised_bars": update.added.filter(pl.col("rev") > 0).height,
            "quarantined_rows": update.refused.height,
            "failed_symbols": len(failures),
            "source": source.NAME_FOR_PEOPLE,
            "terms": source.TERMS,
            "bars_by_symbol": table(summary, digits=2),
            "coverage": lines(
                by_session["session"].to_list(),
                {"symbols with a close": by_session["symbols"].to_list()},
                title="Symbols with a close, by session",
                x_label="session",
                y_label="symbols",
            ),
        },
        failures=failures,
    )


def _returns(run: StageRun) -> pl.DataFrame:
    """Log returns between adjacent sessions, from close to close and from fill to fill.

    A missing session gives no return across it. Only symbols whose bars are complete enough, and only while they
    belong to the universe.
    """
    config, platform = run.config, run.platform
    returns = log_returns(
        _newest(run.read(MARKET_BARS), config),
        sessions=platform.calendar.between(config.bars.from_session, platform.last_session),
        symbols=run.symbols,
        fill=config.execution.fill,
    )
    return within_membership(returns, run.read(UNIVERSE))


def _returns_report(run: StageRun, returns: pl.DataFrame) -> Report:
    last: date = returns["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    sessions = run.platform.calendar.between(run.config.bars.from_session, last)[1:]
    fresh = set(returns.filter(pl.col("session") == last)["symbol"])
    spread = (
        returns.group_by("session")
        .agg(deviation=pl.col("close_return").std(), mean=pl.col("close_return").mean())
        .sort("session")
    )
    return Report(
        data_end=last,
        checks=returns_checks(returns, symbols=run.symbols, sessions=sessions, config=run.config.bars),
        metadata={
            "dagster/row_count": returns.height,
            "symbols": len(run.symbols),
            "last_session_spread": float(spread["deviation"][-1] or 0.0),
            "dispersion": lines(
                spread["session"].to_list(),
                {"cross-sectional deviation": spread["deviation"].to_list()},
                title="Dispersion of one-session log returns",
                x_label="session",
                y_label="log return",
            ),
        },
        failures={symbol: f"no return on {last}" for symbol in run.symbols if symbol not in fresh},
    )


def _newest(bars: pl.DataFrame, config: Config) -> pl.DataFrame:
    return latest(bars.filter(pl.col("source") == config.bars.source))


def check_inputs(config: Config) -> str:
    """Reads the universe and asks the source for one session, without storing anything; returns a sentence.

    Raises:
        UniverseError, PluginError, SourceError: whatever a run would fail on.
    """
    universe = read_universe(config.universe.file)
    _ask_for_one_session(universe, config)
    core = len(symbols_of(universe, "core"))
    source = load_plugin(SOURCES, config.bars.source)
    return f"universe {config.universe.file} is valid: {core} core symbols; source: {source.NAME_FOR_PEOPLE}"


def _ask_for_one_session(universe: pl.DataFrame, config: Config) -> None:
    symbols = universe["symbol"].unique().sort().to_list()
    first = config.bars.from_session
    load_plugin(SOURCES, config.bars.source).fetch(symbols, first=first, last=first)


BARS_CHECKS = ("symbols_complete", "newest_session_present", "no_future_sessions", "quarantine_share", "one_basis")
RETURNS_CHECKS = ("returns_finite", "returns_coverage")

_bars_shelf: Shelf = BarsShelf()

STAGES = (
    Stage(
        name="universe",
        group="bars",
        compute=_universe,
        report=_universe_report,
        shelf=TableShelf(UNIVERSE),
        code=("gnn_assets.bars.universe",),
        sections=("universe", "bars.source"),
        table=UNIVERSE,
        external=True,
        kinds=frozenset({"yaml"}),
    ),
    Stage(
        name="market_bars",
        group="bars",
        compute=_market_bars,
        report=_market_bars_report,
        shelf=_bars_shelf,
        code=("gnn_assets.bars.revisions", "gnn_assets.bars.quarantine"),
        sections=("bars", "calendar"),
        deps=("universe",),
        checks=lambda _config: BARS_CHECKS,
        context=True,
        table=MARKET_BARS,
        external=True,
    ),
    Stage(
        name="returns",
        group="bars",
        compute=_returns,
        report=_returns_report,
        shelf=TableShelf(RETURNS),
        code=("gnn_assets.bars.returns", "gnn_assets.bars.revisions", "gnn_assets.bars.universe"),
        sections=("bars", "calendar", "execution"),
        deps=("universe", "market_bars"),
        checks=lambda _config: RETURNS_CHECKS,
        follows="market_bars",
        context=True,
        table=RETURNS,
    ),
)
