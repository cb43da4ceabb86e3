"""A batch of hypotheses on the newest backtest: registered and counted, then traded, judged, stored. Needs no Dagster."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from gnn_assets.backtests.caps import sector_rows
from gnn_assets.backtests.family import FamilyReport, judge_family, trade
from gnn_assets.backtests.hypotheses import Batch, Hypothesis, hypotheses_of, read_batch
from gnn_assets.backtests.hypotheses_page import hypotheses_rows, page_of
from gnn_assets.backtests.schema import HYPOTHESES, PORTFOLIO_RETURNS
from gnn_assets.backtests.shaping import require_shapeable
from gnn_assets.backtests.signals import Signals, load_strategy
from gnn_assets.backtests.thresholds import thresholds_hash, thresholds_of
from gnn_assets.backtests.trials import trial_of
from gnn_assets.bars.fetched import VALUES
from gnn_assets.bars.schema import RETURNS, UNIVERSE
from gnn_assets.core.errors import ConfigError, MissingArtefact
from gnn_assets.defs.counting import count_trials, register_thresholds
from gnn_assets.defs.market import panel_of
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.tables import stored
from gnn_assets.models.bars import Bars
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.store.files import write_atomic
from gnn_assets.store.panel import to_panel

REGISTERED = "hypotheses"


@dataclass(frozen=True)
class JudgedBatch:
    """What a batch came to, and its page."""

    report: FamilyReport
    page: str


@dataclass(frozen=True, eq=False)
class _Backtest:
    """What the newest backtest was made from.

    Args:
        inputs: table → version.
        version: gnn_weights version.
        predictions: out of sample.
    """

    inputs: Mapping[str, str]
    version: str
    predictions: pl.DataFrame


@dataclass(frozen=True, eq=False)
class _Market:
    """The newest backtest's market as arrays.

    Args:
        scores: model → float (T, N), NaN where there is none.
        fill_returns_TxN: float, log return from the previous session's fill price.
        held_returns_TxN: float, likewise of who holds a name, over gaps and after its membership.
        sectors_TxN: int, the sector of each name.
        bars: of the same names, up to the last of the sessions and from before them.
    """

    scores: Mapping[str, np.ndarray]
    fill_returns_TxN: np.ndarray
    held_returns_TxN: np.ndarray
    sectors_TxN: np.ndarray
    bars: Bars


def run_hypotheses(platform: Platform, file: Path, *, report: Path | None) -> JudgedBatch:
    """Judges the batch that a file describes.

    What cannot be traded is refused first. Thresholds, batch and trials are in the ledger before anything is traded.
    The same batch on the same weights is registered and counted once, however often it is judged.

    Args:
        platform: the opened platform.
        file: the batch, as YAML.
        report: where its page goes; None for nowhere.

    Raises:
        ConfigError: if the file does not describe a batch.
        MissingArtefact: if there is no backtest yet.
        DataError: if a strategy needs what the bars have not.
        LockTimeout, DiskFull, CorruptArtefact: if the ledger or the lake cannot be read or written.
    """
    batch = read_batch(_text(file), file=file.name)
    backtest = _newest(platform)
    models = backtest.predictions["model"].unique().sort().to_list()
    hypotheses = hypotheses_of(batch, models=models, config=platform.config.backtests)
    market = _market(platform, backtest)
    followed, execution = platform.config.bars.sessions_after_membership, platform.config.execution
    for hypothesis in hypotheses:
        if hypothesis.config.longest_hold(execution) > followed:
            raise ConfigError.of(
                f"{file.name}: {hypothesis.name}",
                expected=f"a rebalance within {followed} sessions, so that a name that left can be sold",
                was=f"{hypothesis.config.longest_hold(execution)} with its fill",
                do="rebalance more often, or raise bars.sessions_after_membership",
            )
        signals = Signals(market.scores.get(hypothesis.model), market.bars)
        require_shapeable(load_strategy(hypothesis.config, signals), signals, config=hypothesis.config)
    _register(platform, batch, hypotheses, version=backtest.version)
    config = platform.config
    found = judge_family(
        trade(
            hypotheses,
            market.scores,
            market.fill_returns_TxN,
            market.held_returns_TxN,
            bars=market.bars,
            execution=config.execution,
            config=config.backtests,
            threads=config.runtime.threads,
            sectors_TxN=market.sectors_TxN,
            calendar=platform.calendar,
        ),
        trials=platform.ledger.read("trials"),
        events=platform.ledger.read("events"),
        config=platform.config,
    )
    page = page_of(
        found,
        batch=batch,
        events=platform.ledger.read("events"),
        market=f"{platform.settings.profile} profile, {platform.label}, {platform.config.execution.fill}",
        config=platform.config,
    )
    _store(platform, hypotheses_rows(found, batch=batch, version=backtest.version, config=platform.config), backtest)
    if report is not None:
        write_atomic(report, page.encode())
    return JudgedBatch(report=found, page=page)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError.of(
            str(file), expected="a readable YAML file", was=str(error), do="name the file of a batch"
        ) from error


def _newest(platform: Platform) -> _Backtest:
    made = platform.lake.versions(PORTFOLIO_RETURNS.name).current()
    if made is None or made.lineage is None:
        raise MissingArtefact.of("portfolio_returns", expected="a backtest", was="none yet", do="run gnn-assets demo")
    inputs = made.lineage.inputs
    predictions = platform.lake.read(OOS_PREDICTIONS, version=inputs[OOS_PREDICTIONS.name])
    return _Backtest(inputs=inputs, version=predictions["version"][0], predictions=predictions)


def _register(platform: Platform, batch: Batch, hypotheses: tuple[Hypothesis, ...], *, version: str) -> None:
    register_thresholds(platform)
    event = {
        "event": REGISTERED,
        "batch": batch.hash,
        "name": batch.name,
        "version": version,
        "thresholds": thresholds_hash(thresholds_of(platform.config)),
        "hypotheses": [hypothesis.name for hypothesis in hypotheses],
    }
    if not any(event.items() <= told.items() for told in platform.ledger.read("events")):
        platform.ledger.append("events", event)
    execution = platform.config.execution
    count_trials(
        platform,
        [
            trial_of("hypothesis", model=one.model, version=version, execution=execution, config=one.config)
            for one in hypotheses
        ],
    )


def _market(platform: Platform, backtest: _Backtest) -> _Market:
    predictions = backtest.predictions
    panel = panel_of(platform, backtest.inputs[RETURNS.name])
    first: date = predictions["session"].min()  # ty: ignore[invalid-assignment] - a Date column
    last: date = predictions["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    known = [session for session in panel.sessions if session <= last]
    axis = [session for session in known if session >= first]
    symbols = predictions["symbol"].unique().sort().to_list()
    return _Market(
        scores={
            str(model): to_panel(own, "score", sessions=axis, symbols=symbols)
            for (model,), own in predictions.group_by("model", maintain_order=True)
        },
        fill_returns_TxN=panel.values("fill_return", sessions=axis, symbols=symbols),
        held_returns_TxN=panel.values("held_return", sessions=axis, symbols=symbols),
        sectors_TxN=sector_rows(
            platform.lake.read(UNIVERSE, version=backtest.inputs[UNIVERSE.name]), sessions=axis, symbols=symbols
        ),
        bars=Bars.of(
            panel.values("close_return", sessions=known, symbols=symbols),
            {name: panel.values(name, sessions=known, symbols=symbols) for name in VALUES},
            sessions=known,
            symbols=symbols,
        ),
    )


def _store(platform: Platform, rows: pl.DataFrame, backtest: _Backtest) -> None:
    """Puts a batch's rows in the place of what it had on the same weights; other batches stay."""
    others = stored(platform, HYPOTHESES).join(rows, on=("batch", "version"), how="anti")
    last: date = backtest.predictions["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    platform.lake.publish(HYPOTHESES, HYPOTHESES.conform(pl.concat([others, rows])), lineage=None, data_end=last)
