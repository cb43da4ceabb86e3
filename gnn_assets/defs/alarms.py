"""Every alarm of the platform as it is measured now: one value against one limit, whatever asset it comes from."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from math import isnan, nan
from typing import Any

import polars as pl

from gnn_assets.bars.restatements import CORRECTED
from gnn_assets.bars.schema import MARKET_BARS, RETURNS, UNIVERSE
from gnn_assets.bars.universe import symbols_of
from gnn_assets.core.checks import Check
from gnn_assets.core.errors import CorruptArtefact, DataError, MissingArtefact, SchemaMismatch
from gnn_assets.core.hashing import json_hash
from gnn_assets.core.sessions import age
from gnn_assets.defs.candidates import WEIGHTS
from gnn_assets.defs.forecast_scores import served_portfolio
from gnn_assets.defs.models import STAGES as MODEL_STAGES
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import StageRun
from gnn_assets.defs.status import data_end_of
from gnn_assets.defs.switching import decisions
from gnn_assets.defs.why import MADE, told_of
from gnn_assets.forecasts.schema import FORECAST_SCORES, FORECASTS
from gnn_assets.forecasts.shadow import session_ics
from gnn_assets.graphs.schema import CORRELATION_GRAPHS, GRAPH_DRIFT
from gnn_assets.monitoring.fills import cost_signal, read_fills
from gnn_assets.monitoring.live import live_signals
from gnn_assets.monitoring.model_drift import drift_signals
from gnn_assets.monitoring.reasons import Reason, Signal
from gnn_assets.monitoring.schema import MODEL_DRIFT
from gnn_assets.registry.reversed import reversed_signal

_HOUR = timedelta(hours=1)
_SHOWN = 8  # digits of a version that people see
_NOW = "now"
MEASURED_CHECK = "measured"

# What is measured; the other reasons are told by what happened.
MEASURED = (
    Reason.GRAPH_STALE,
    Reason.WEIGHTS_STALE,
    Reason.DEADLINE,
    Reason.BARS_REVISED,
    Reason.CODE_CHANGED,
    Reason.CONFIG_CHANGED,
    Reason.GRAPH_DRIFT,
    Reason.FEATURE_DRIFT,
    Reason.PREDICTION_DRIFT,
    Reason.RESIDUAL_DRIFT,
    Reason.COST_DRIFT,
    Reason.SHARPE_BELOW_BENCHMARK,
    Reason.ACCURACY_DROP,
    Reason.COVERAGE_MISS,
    Reason.CHAMPION_BEATEN,
    Reason.BAD_OUTPUT,
)


@dataclass(frozen=True)
class Alarms:
    """What was measured.

    Args:
        signals: every value that may be an alarm, with its limit; NaN where it cannot be known yet, never infinite.
        damaged: what could not be measured because what it is measured on is damaged or not in order, as sentences.
    """

    signals: tuple[Signal, ...]
    damaged: tuple[str, ...]


def alarms(run: StageRun) -> Alarms:
    """Measures everything that may be an alarm. What is damaged is told, and stops no other alarm."""
    signals: list[Signal] = []
    damaged: list[str] = []
    measures = (_ages, _recipe, _bars_revised, _graph_drift, _model_drift, _costs, _served, _beaten, _bad_output)
    for measure in measures:
        try:
            signals += [_finite(signal) for signal in measure(run)]
        except (CorruptArtefact, DataError, MissingArtefact, SchemaMismatch) as error:
            damaged.append(str(error))
    return Alarms(tuple(signals), tuple(damaged))


def alarm_checks(measured: Alarms) -> tuple[Check, ...]:
    """A check for each reason: its worst value against its limit; and whether all could be measured.

    They warn: an alarm stops nothing. The first signal that fires stands for its reason, else the first.
    """
    whole = Check(
        MEASURED_CHECK,
        not measured.damaged,
        len(measured.damaged),
        0,
        "What could not be measured, because what it is measured on is damaged: the alarms above say nothing of it.",
        severity="warn",
        offenders=measured.damaged[:10],
    )
    signals = measured.signals
    checks = (_check(reason, [signal for signal in signals if signal.reason is reason]) for reason in MEASURED)
    return (*checks, whole)


def _finite(signal: Signal) -> Signal:
    """What is farther than any number, such as the drift of scores that are all alike, as the largest number there is."""
    largest = sys.float_info.max
    value, limit = (max(min(number, largest), -largest) for number in (signal.value, signal.limit))
    return replace(signal, value=value, limit=limit)


def _check(reason: Reason, own: Sequence[Signal]) -> Check:
    if not own:
        return Check(str(reason), True, "not known yet", "none", "Nothing is there to measure it on.", severity="warn")
    firing = [signal for signal in own if signal.firing]
    told = (firing or own)[0]
    return Check(
        str(reason),
        not firing,
        "not known yet" if isnan(told.value) else round(told.value, 6),
        "not known yet" if isnan(told.limit) else round(told.limit, 6),
        f"{told.asset}, over {told.window}; an alarm {told.worse} the limit. Measured on {told.evidence}.",
        severity="warn",
        offenders=tuple(signal.sentence for signal in firing[:10]),
    )


def _ages(run: StageRun) -> Iterator[Signal]:
    """Graph and weights older than they may be, though there is something newer to make them from; and the bars."""
    platform = run.platform
    ends = {name: _end(platform, name) for name in (MARKET_BARS.name, RETURNS.name, CORRELATION_GRAPHS.name, WEIGHTS)}
    reasons = {
        CORRELATION_GRAPHS.name: (Reason.GRAPH_STALE, ends[RETURNS.name]),
        WEIGHTS: (Reason.WEIGHTS_STALE, ends[CORRELATION_GRAPHS.name]),
        MARKET_BARS.name: (Reason.DEADLINE, platform.last_session),
    }
    for name, (reason, offered) in reasons.items():
        end, limit = ends[name], platform.config.ages[name].age_hours
        newer = offered is not None and (end is None or end < offered)
        old = age(end, now=platform.clock.now(), calendar=platform.calendar) / _HOUR if newer else 0.0
        evidence = f"data to {end or 'nothing'}, {offered or 'nothing'} to be had"
        yield Signal(reason, name, round(old, 2), limit, "above", "hours of market age", evidence)


def _end(platform: Platform, asset: str) -> date | None:
    """The last session an asset covers; None where there is none of it, or it is damaged and to be made anew."""
    try:
        return data_end_of(platform, asset, None)
    except (CorruptArtefact, MissingArtefact):
        return None


def _recipe(run: StageRun) -> Iterator[Signal]:
    """Whether code or configuration of the newest weights are others than now."""
    platform = run.platform
    made = next(platform.versions(WEIGHTS).good(), None)
    (stage,) = (stage for stage in MODEL_STAGES if stage.name == WEIGHTS)
    now = {
        Reason.CODE_CHANGED: stage.code_version(platform.config),
        Reason.CONFIG_CHANGED: json_hash(platform.config.slice(*stage.sections)),
    }
    lineage = made.lineage if made else None
    then = {
        Reason.CODE_CHANGED: lineage.code_version if lineage else None,
        Reason.CONFIG_CHANGED: lineage.config_hash if lineage else None,
    }
    for reason, version in now.items():
        before = then[reason]
        evidence = f"{(before or 'none')[:_SHOWN]} → {version[:_SHOWN]}"
        value = nan if before is None else float(before != version)
        yield Signal(reason, WEIGHTS, value, 0.0, "above", _NOW, evidence, subject=version)


def _bars_revised(run: StageRun) -> Iterator[Signal]:
    """Share of the universe whose history a source corrected since the newest session was complete."""
    platform = run.platform
    since = platform.calendar.available_at(platform.last_session)
    corrected = {
        symbol
        for event in platform.ledger.read("events")
        if event["event"] == "bars_revised" and datetime.fromisoformat(event["recorded_at"]) >= since
        for symbol, _, kind, _ in event["symbols"]
        if kind == CORRECTED
    }
    manifest = platform.lake.manifest(UNIVERSE)
    symbols = symbols_of(platform.lake.read(UNIVERSE), "core") if manifest else ()
    share = len(corrected & set(symbols)) / len(symbols) if symbols else nan
    limit = platform.config.bars.max_revised_share
    evidence = ", ".join(sorted(corrected)[:10]) or "no correction"
    yield Signal(
        Reason.BARS_REVISED, MARKET_BARS.name, share, limit, "above", f"since {platform.last_session}", evidence
    )


def _graph_drift(run: StageRun) -> Iterator[Signal]:
    value, limit, evidence = nan, nan, "no limit yet"
    if GRAPH_DRIFT.name in run.inputs:
        drift = run.read(GRAPH_DRIFT, columns=("session", "statistic", "limit", "reference"))
        if not drift.is_empty():
            newest = drift.sort("session").row(-1, named=True)
            value, limit = (nan if newest[name] is None else newest[name] for name in ("statistic", "limit"))
            evidence = f"{newest['session']} against {newest['reference']}"
    window = f"{run.config.graphs.window} sessions"
    yield Signal(Reason.GRAPH_DRIFT, GRAPH_DRIFT.name, value, limit, "above", window, evidence)


def _model_drift(run: StageRun) -> tuple[Signal, ...]:
    return drift_signals(run.read(MODEL_DRIFT)) if MODEL_DRIFT.name in run.inputs else ()


def _costs(run: StageRun) -> Iterator[Signal]:
    """Whether the user's trades cost more than the model says, where a broker's report is given."""
    platform, config = run.platform, run.config
    if config.live.fills is None or not platform.lake.manifest(UNIVERSE):
        return
    fills = read_fills(
        platform.settings.home.resolve() / config.live.fills,
        universe=platform.lake.read(UNIVERSE),
        exchanges=platform.exchanges,
        now=platform.clock.now(),
    )
    yield cost_signal(fills, execution=config.execution, config=config.drift, hysteresis=config.retrain.hysteresis)


def _served(run: StageRun) -> tuple[Signal, ...]:
    if FORECAST_SCORES.name not in run.inputs:
        return ()
    return live_signals(
        run.read(FORECAST_SCORES),
        served_portfolio(run.platform, version=run.inputs[FORECAST_SCORES.name]),
        session=run.platform.last_session,
        config=run.config,
    )


def _beaten(run: StageRun) -> Iterator[Signal]:
    """Whether the champion before would have done better since the gate put this one in its place."""
    moves = run.platform.champion.moves()
    if FORECAST_SCORES.name not in run.inputs or not moves or moves[-1].before is None or moves[-1].champion.by:
        return
    versions = (moves[-1].champion.version, moves[-1].before.version)
    if any(decision.version == versions[0] for decision in decisions(run.platform)):
        return  # a person chose this champion, whatever the test says
    promoted = run.platform.calendar.last_complete(moves[-1].moved_at)
    lived = run.platform.calendar.between(promoted, run.platform.last_session)
    if len(lived) > run.config.live.shadow_sessions:
        return  # the champion before is no longer followed from the promotion on
    since = run.read(FORECAST_SCORES).filter(pl.col("session") >= promoted)
    ics = session_ics(since)
    champion, predecessor = (ics.filter(pl.col("version") == version) for version in versions)
    yield reversed_signal(champion, predecessor, versions=versions, config=run.config)


def _bad_output(run: StageRun) -> Iterator[Signal]:
    """How often forecasts were refused, or failed, since they were last made."""
    bad: list[Mapping[str, Any]] = []
    for event in told_of(run.platform, FORECASTS.name):
        bad = [] if event["event"] == MADE else [*bad, event]
    value = float(len(bad)) if bad or FORECASTS.name in run.inputs else nan
    evidence = bad[-1]["reason"] if bad else "none refused"
    yield Signal(Reason.BAD_OUTPUT, FORECASTS.name, value, 0.0, "above", "since they were last made", evidence)
