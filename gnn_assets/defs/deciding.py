"""The asset retrain_decision: what is measured, held against its limits, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import polars as pl

from gnn_assets.defs.alarms import MEASURED, MEASURED_CHECK, Alarms, alarm_checks, alarms
from gnn_assets.defs.candidates import WEIGHTS
from gnn_assets.defs.plots import table
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Report, Stage, StageRun, TableShelf
from gnn_assets.defs.status import platform_status
from gnn_assets.defs.switching import roll_back_for
from gnn_assets.defs.why import fate_of
from gnn_assets.monitoring.decide import Decision, decide
from gnn_assets.monitoring.orders import (
    RETRAIN_DECISION,
    answered,
    entry_of,
    memory_of,
    orders,
    says_something_new,
)
from gnn_assets.monitoring.reasons import RESPONSES, Reason, Signal
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.versions import Lineage

_SHOWN = 20  # decisions in the table that people see


@dataclass(frozen=True)
class Decided:
    """A decision and what it was made on.

    Args:
        decision: of `decide`.
        measured: every value, and what could not be measured.
        before: the newest entry of the ledger then; None before the first.
    """

    decision: Decision
    measured: Alarms
    before: Mapping[str, Any] | None


@dataclass(frozen=True)
class DecisionShelf:
    """Enters the decision in the ledger, and publishes every order so far."""

    orders: TableShelf

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """Nothing: each decision depends on the moment."""
        del run, lineage

    def load(self, run: StageRun, version: str) -> Any:
        """Not reached: nothing is reused."""
        raise AssertionError(run.asset, version)

    def publish(self, run: StageRun, artefact: Decided, *, lineage: Lineage, data_end: date | None) -> str:
        """Enters the decision if it says something new and nothing was decided since; the table follows the ledger.

        Two runs that decide on the same memory cannot both be entered: the second fails, and is tried again.

        Raises:
            PointerConflict: if another decision was entered meanwhile.
        """
        ledger = run.platform.ledger
        entry = entry_of(
            artefact.decision,
            session=run.platform.last_session,
            now=run.platform.clock.now(),
            run_id=run.run_id,
        )
        if says_something_new(entry, artefact.before):
            ledger.append("decisions", entry, after=artefact.before["id"] if artefact.before else None)
        _go_back(run.platform, artefact.measured.signals)
        # Made from the ledger as a whole: what a killed run entered and did not publish is published now.
        return self.orders.publish(run, orders(ledger.read("decisions")), lineage=lineage, data_end=data_end)


def _go_back(platform: Platform, signals: Sequence[Signal]) -> None:
    """Goes back from a champion that the one before it has beaten; what follows from that, a sensor asks for."""
    beaten = [signal for signal in signals if signal.reason is Reason.CHAMPION_BEATEN and signal.firing]
    for signal in beaten:
        before = platform.champion.moves()[-1].before
        # From the champion that was measured, as another may have been put in its place since; and to nobody but the
        # one that has beaten it.
        roll_back_for(
            platform,
            f"{signal.sentence}: {signal.evidence}",
            version=signal.subject,
            serves=partial(_is, before.version if before else None),
        )


def _is(version: str | None, former: Champion) -> bool:
    return former.version == version


def _retrain_decision(run: StageRun) -> Decided:
    """Is a challenger trained, and why?

    Every limit of the platform is measured here and shown as a check that is named after its reason. An alarm trains
    one challenger an episode, never within the pause after the last, never more than so many a session; a training
    that failed is tried again a few times. The table holds the orders; the ledger holds every decision. What is served
    is not decided here: a challenger goes to the gate.
    """
    platform = run.platform
    entries = platform.ledger.read("decisions")
    memory, now = memory_of(entries), platform.clock.now()
    if memory.training is not None:
        memory = answered(memory, state=fate_of(platform, memory.training, ended=run.ended), now=now)
    measured = alarms(run)
    decision = decide(
        measured.signals,
        memory,
        session=platform.last_session,
        sessions=platform.calendar.sessions,
        now=now,
        config=run.config.retrain,
    )
    return Decided(decision, measured, entries[-1] if entries else None)


def _retrain_decision_report(run: StageRun, artefact: Decided) -> Report:
    decision = artefact.decision
    measured = [
        (signal.reason, RESPONSES[signal.reason], signal.firing, signal.value, signal.limit, signal.window)
        for signal in artefact.measured.signals
    ]
    ages = [
        (row["asset"], row["state"], row["age_hours"], row["limit_hours"], row["data_end"])
        for row in platform_status(run.platform)["assets"]
    ]
    return Report(
        data_end=run.platform.last_session,
        checks=alarm_checks(artefact.measured),
        metadata={
            "action": decision.action,
            "reasons": decision.sentence or "none",
            "held_back_because": decision.cause or "nothing is held back",
            "measured": table(
                pl.DataFrame(
                    measured, schema=["reason", "leads to", "alarm", "value", "limit", "window"], orient="row"
                ),
                digits=4,
            ),
            "ages": table(
                pl.DataFrame(ages, schema=["asset", "state", "hours", "limit", "data end"], orient="row"), digits=1
            ),
            "decisions": table(_history(run.platform), digits=0),
        },
    )


def _history(platform: Platform) -> pl.DataFrame:
    rows = [
        (entry["decided_at"], entry["action"], entry["sentence"], entry["cause"])
        for entry in reversed(platform.ledger.read("decisions")[-_SHOWN:])
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("decided", "action", "why", "cause"), pl.String), orient="row")


STAGES = (
    Stage(
        name=RETRAIN_DECISION.name,
        group="monitoring",
        compute=_retrain_decision,
        report=_retrain_decision_report,
        shelf=DecisionShelf(TableShelf(RETRAIN_DECISION)),
        code=("gnn_assets.monitoring.decide", "gnn_assets.monitoring.orders"),
        sections=("retrain", "ages", "bars", "gate", "live", "drift", "graphs.drift"),
        looks_at=(
            *("market_bars", "correlation_graphs", "graph_drift", WEIGHTS),
            *("champion", "forecasts", "forecast_scores", "model_drift"),
        ),
        checks=lambda _config: (*(str(reason) for reason in MEASURED), MEASURED_CHECK),
        table=RETRAIN_DECISION,
        external=True,
    ),
)
