"""Assets of the bars stage: universe, market_bars, returns."""

from datetime import date

import numpy as np
import polars as pl

from gnn_assets.bars.chain import source_plugin
from gnn_assets.bars.checks import returns_checks
from gnn_assets.bars.remade import returns_unseen
from gnn_assets.bars.returns import returns_of
from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, RETURNS, UNIVERSE
from gnn_assets.bars.splits import LOOKBACK
from gnn_assets.bars.universe import read_universe, symbols_of, within_membership
from gnn_assets.core.checks import Check
from gnn_assets.core.config import Config
from gnn_assets.core.hashing import json_hash
from gnn_assets.defs.asking import open_sources
from gnn_assets.defs.bars_report import report
from gnn_assets.defs.market_bars import BarsRequest, BarsShelf, update
from gnn_assets.defs.plots import lines, table
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Report, Shelf, Stage, StageRun, TableShelf
from gnn_assets.defs.tables import stored


def _universe_of(config: Config) -> pl.DataFrame:
    exchanges = (config.calendar.exchange, *config.calendar.others)
    return read_universe(config.universe.file, exchanges=exchanges)


def _universe(run: StageRun) -> pl.DataFrame:
    """Which symbols belong to the platform's world, in which tier and sector, and for how long.

    Read from a YAML file. `core` symbols are graphed, forecast and traded; `context` symbols are shown beside results.
    """
    return _universe_of(run.config)


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
            "exchanges": ", ".join(universe["exchange"].unique().sort()),
            "file": run.config.universe.file,
        },
    )


def _returns(run: StageRun) -> pl.DataFrame:
    """Log returns between adjacent sessions, from close to close and from fill to fill.

    Adjusted for splits and dividends as they are read, inside one source; the first source of the chain that has both
    sides of a return gives it. A missing session gives no return across it. A symbol whose bars fail today keeps its
    past returns, or the past would depend on today. What a holder earns goes on over gaps and after the membership.
    """
    config, platform = run.config, run.platform
    return returns_of(
        run.read(MARKET_BARS, columns=[name for name in MARKET_BARS.columns if name not in MARKET_BARS.provenance]),
        stored(platform, CORPORATE_ACTIONS),
        universe=run.read(UNIVERSE),
        exchanges=platform.exchanges,
        sources=config.bars.sources,
        sessions=platform.calendar.between(config.bars.from_session, platform.last_session),
        symbols=run.symbols,
        fill=config.execution.fill,
        config=config.bars,
    )


def _actions_version(platform: Platform) -> dict[str, str]:
    manifest = platform.lake.manifest(CORPORATE_ACTIONS)
    return {CORPORATE_ACTIONS.name: manifest.version if manifest else "none"}


def _returns_report(run: StageRun, returns: pl.DataFrame) -> Report:
    last: date = returns["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    sessions = run.platform.calendar.between(run.config.bars.from_session, last)[1:]
    fresh = set(returns.filter(pl.col("session") == last, pl.col("close_return").is_not_null())["symbol"])
    # A symbol whose membership has ended is none of today's, and was one of its time: it did not fail.
    today = pl.DataFrame({"symbol": run.symbols, "session": last}, schema={"symbol": pl.String, "session": pl.Date})
    expected = within_membership(today, run.read(UNIVERSE))["symbol"]
    spread = (
        returns.group_by("session")
        .agg(deviation=pl.col("close_return").std(), mean=pl.col("close_return").mean())
        .sort("session")
    )
    return Report(
        data_end=last,
        checks=(
            *returns_checks(returns, symbols=run.symbols, sessions=sessions, config=run.config.bars),
            _tripwire(run, returns),
        ),
        metadata={
            "dagster/row_count": returns.height,
            "symbols": len(run.symbols),
            "sources": table(returns.group_by("source").agg(returns=pl.len()).sort("source"), digits=0),
            "last_session_spread": float(spread["deviation"][-1] or 0.0),
            "dispersion": lines(
                spread["session"].to_list(),
                {"cross-sectional deviation": spread["deviation"].to_list()},
                title="Dispersion of one-session log returns",
                x_label="session",
                y_label="log return",
            ),
        },
        failures={symbol: f"no return on {last}" for symbol in expected if symbol not in fresh},
    )


def _tripwire(run: StageRun, returns: pl.DataFrame) -> Check:
    """The look-ahead check: a session, drawn by what the returns are made from, made again from nothing later."""
    platform = run.platform
    days = returns["session"].unique().sort()
    seed = int(json_hash([run.inputs[MARKET_BARS.name], str(days[-1])])[:16], 16)
    # Behind the last there is nothing to be seen; with the first few there is nothing to be made from.
    session: date = days[int(np.random.default_rng(seed).integers(len(days) // 2, max(len(days) - 1, 1)))]
    past = platform.calendar.between(run.config.bars.from_session, session)
    bars = platform.lake.read(
        MARKET_BARS, version=run.inputs[MARKET_BARS.name], first=past[-LOOKBACK:][0], last=session
    )
    return returns_unseen(
        returns,
        bars,
        stored(platform, CORPORATE_ACTIONS),
        session=session,
        universe=run.read(UNIVERSE),
        exchanges=platform.exchanges,
        fill=run.config.execution.fill,
        config=run.config.bars,
    )


def check_inputs(platform: Platform) -> str:
    """Reads the universe and opens the sources, asking nobody anything; returns a sentence.

    Raises:
        UniverseError, PluginError, ConfigError: whatever a run would fail on before it asks.
    """
    config = platform.config
    core = len(symbols_of(_universe_of(config), "core"))
    chain = open_sources(platform)
    names = "; ".join(source_plugin(source.name).NAME_FOR_PEOPLE for source in chain.opened)
    passed = "".join(f"; {reason}" for reason in chain.passed_over.values())
    return f"universe {config.universe.file} is valid: {core} core symbols; sources: {names}{passed}"


BARS_CHECKS = (
    "symbols_complete",
    "symbols_failed",
    "newest_session_present",
    "no_future_sessions",
    "quarantine_share",
    "one_basis",
    "bad_sessions",
    "session_coverage",
    "stale_symbols",
    "gaps",
    "split_like",
    "revisions",
)
RETURNS_CHECKS = ("returns_finite", "returns_coverage", "no_look_ahead")

_bars_shelf: Shelf = BarsShelf()

STAGES = (
    Stage(
        name="universe",
        group="bars",
        compute=_universe,
        report=_universe_report,
        shelf=TableShelf(UNIVERSE),
        code=("gnn_assets.bars.universe",),
        sections=("universe", "calendar"),
        table=UNIVERSE,
        external=True,
        kinds=frozenset({"yaml"}),
    ),
    Stage(
        name="market_bars",
        group="bars",
        compute=update,
        report=report,
        shelf=_bars_shelf,
        code=("gnn_assets.bars.revisions", "gnn_assets.bars.rules", "gnn_assets.bars.bad_sessions"),
        sections=("bars", "sources", "calendar"),
        deps=("universe",),
        checks=lambda _config: BARS_CHECKS,
        context=True,
        table=MARKET_BARS,
        external=True,
        request=BarsRequest,
        beside=(CORPORATE_ACTIONS,),
    ),
    Stage(
        name="returns",
        group="bars",
        compute=_returns,
        report=_returns_report,
        shelf=TableShelf(RETURNS),
        code=("gnn_assets.bars.returns", "gnn_assets.bars.actions", "gnn_assets.bars.universe"),
        sections=("bars", "calendar", "execution"),
        deps=("universe", "market_bars"),
        checks=lambda _config: RETURNS_CHECKS,
        follows="market_bars",
        context=True,
        table=RETURNS,
        # A split or dividend may be told after its bars: it changes returns and no bar.
        asks=_actions_version,
    ),
)
