"""Everything that people may have to be told, as it is now: gathered from ledgers, tables, ages and Dagster's runs.

Each part is looked at by itself. One that cannot be looked at, because what it is read from is damaged, is a condition
of its own, and stops no other; nor is anything of its kind taken for over meanwhile.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import dagster as dg
import polars as pl

from gnn_assets.bars.schema import SYMBOL_STATUS, UNIVERSE
from gnn_assets.core.errors import GnnAssetsError, MissingArtefact
from gnn_assets.defs.candidates import WEIGHTS
from gnn_assets.defs.forecast_scores import served_portfolio
from gnn_assets.defs.remembered import ledger_entries, remembered, version_of
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.run_failures import RUN_FAILED, run_failures
from gnn_assets.defs.status import dead_letters, degraded_sentence, platform_status
from gnn_assets.forecasts.live_portfolio import no_portfolio
from gnn_assets.forecasts.schema import FORECAST_SCORES, FORECASTS
from gnn_assets.monitoring.alerts import Condition, Severity, Unknown
from gnn_assets.monitoring.orders import memory_of
from gnn_assets.monitoring.reasons import RESPONSES, Reason, Response
from gnn_assets.registry.switch import PLATFORM
from gnn_assets.store.sealed import read_sealed

CANNOT_LOOK = "cannot_look"
_SHOWN = 12  # digits of a version that people see
_NAMED = 10  # symbols named in one sentence
# Old data of these, or damage of them, leave people without forecasts to act upon.
_CRITICAL = (FORECASTS.name, "champion")
# Alarms of the decision that are told here by what they come from, ages and the ledger's events, or by what follows.
_TOLD_ELSEWHERE = (Reason.GRAPH_STALE, Reason.WEIGHTS_STALE, Reason.DEADLINE, Reason.BARS_REVISED)
_SEVERITY: Mapping[Response, Severity] = {Response.ROLL_BACK: "critical"}
# Events of the ledger that are told once, each; who goes back, a person or the platform, is told apart below.
_NOTICES: Mapping[str, Severity] = {
    "refused": "info",
    "promoted": "info",
    "rolled_back": "warning",
    "confirmed": "info",
    "bars_revised": "warning",
    "served_lost": "critical",
    "mirror_failed": "warning",
}


@dataclass(frozen=True)
class Start:
    """Where people were first told anything; what was before it is history.

    Args:
        event: id of the ledger's newest event then; empty if there was none.
        session: the newest on which the return of what was served was known then, ISO; empty if there was none.
    """

    event: str
    session: str


@dataclass(frozen=True)
class Gathered:
    """What was found.

    Args:
        conditions: what is wrong, or has happened.
        unseen: kinds that could not be looked at, and names of conditions of which nothing is known.
    """

    conditions: tuple[Condition, ...]
    unseen: frozenset[str]

    def looked_at(self, condition: Condition) -> bool:
        """Whether it would be among those found if it were there."""
        return condition.kind not in self.unseen and condition.name not in self.unseen


@dataclass(frozen=True)
class _Part:
    """One thing that is looked at.

    Args:
        name: of it.
        kinds: of conditions it may find.
        find: finds them.
    """

    name: str
    kinds: Sequence[str]
    find: Callable[[], Iterable[Condition | Unknown]]


def gather(platform: Platform, instance: dg.DagsterInstance, *, start: Start | None) -> Gathered:
    """All conditions there are now.

    Args:
        platform: the opened platform; its clock says how old data are.
        instance: Dagster's records of runs.
        start: where people were first told anything; None if that is not known, and then neither an event nor a loss
            is told.
    """
    parts = (
        _Part("runs", (RUN_FAILED,), lambda: run_failures(instance, assets=platform.config.ages)),
        _Part("symbols", ("data_short", "symbols_failed"), lambda: _symbols(platform)),
        _Part("sources", ("source_open",), lambda: _sources(platform)),
        _Part("ages", ("stale", "damaged"), lambda: _ages(platform)),
        _Part("decisions", tuple(Reason), lambda: _alarms(platform)),
        _Part("returns", ("daily_loss",), lambda: _daily_loss(platform, start=start)),
        _Part("forecasts", ("degraded",), lambda: _degraded(platform)),
        _Part("trainings", ("training_failing",), lambda: _trainings(platform)),
        _Part("events", tuple(_NOTICES), lambda: _notices(platform, start=start)),
    )
    found: list[Condition] = []
    unseen: set[str] = set()
    for part in parts:
        try:
            for one in part.find():
                if isinstance(one, Unknown):
                    unseen.add(one.name)
                else:
                    found.append(one)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one, people are told of the others
            unseen |= set(part.kinds)
            found.append(Condition(CANNOT_LOOK, part.name, "critical", f"{type(error).__name__}: {error}"))
    return Gathered(tuple(found), frozenset(unseen))


def start_at(platform: Platform, *, now: datetime) -> Start:
    """What is history if people are first told anything now.

    Args:
        platform: the opened platform.
        now: aware UTC moment; its day is the session where none can be read.

    Raises:
        CorruptArtefact: if the ledger of events is damaged.
    """
    events = ledger_entries(platform, "events")
    try:
        sessions = _served_returns(platform)["session"]
        session = str(sessions.max()) if len(sessions) else ""
    except GnnAssetsError:
        session = now.date().isoformat()
    return Start(event=events[-1]["id"] if events else "", session=session)


def _symbols(platform: Platform) -> Iterator[Condition]:
    """Symbols without bars: each is told, whenever it joins the others, and too many of them are another matter."""
    stamp = (version_of(platform, SYMBOL_STATUS.name), version_of(platform, UNIVERSE.name), platform.last_session)
    if None in stamp:
        return
    failed, members = remembered(platform, "symbols", stamp, lambda: (_failed(platform), _members(platform)))
    for symbol, reason in failed.items():
        told = f"no new bars, its last good ones are kept: {reason}"
        yield Condition("symbols_failed", symbol, "warning", told, f"session {platform.last_session}")
    least = platform.config.bars.min_success_share
    # In decimal arithmetic, as the check of the bars has it.
    if members - len(failed) < Fraction(str(least)) * members:
        share = (members - len(failed)) / members
        told = f"{share:.1%} of the symbols have new bars, below {least:.0%}: nothing new goes downstream"
        yield Condition("data_short", "market_bars", "critical", told, f"session {platform.last_session}")


def _failed(platform: Platform) -> dict[str, str]:
    """Symbols without new bars, and why."""
    # Where it is damaged `dead_letters` knows of none, which is not to be taken for all being well.
    platform.lake.read(SYMBOL_STATUS)
    return dead_letters(platform)


def _members(platform: Platform) -> int:
    universe = platform.lake.read(UNIVERSE)
    still = pl.col("to_session").is_null() | (pl.col("to_session") >= platform.last_session)
    return universe.filter(still)["symbol"].n_unique()


def _sources(platform: Platform) -> Iterator[Condition]:
    try:
        states = read_sealed(platform.source_states_file)["states"]
    except MissingArtefact:
        return  # nobody was asked yet
    for source, state in states.items():
        if state["state"] != "closed":
            yield Condition("source_open", source, "warning", f"it is left alone: {state['why']}")


def _ages(platform: Platform) -> Iterator[Condition]:
    """Assets older than they may be, and those that nobody can read; what was never made is nobody's loss."""
    for row in platform_status(platform)["assets"]:
        severity: Severity = "critical" if row["asset"] in _CRITICAL else "warning"
        if row["state"] == "damaged":
            yield Condition("damaged", row["asset"], severity, row["reason"])
        elif row["state"] == "stale" and not _answered(platform, row):
            old = "the clock is behind its data" if row["age_hours"] is None else f"{row['age_hours']:.1f} h old"
            told = f"{old}, may be {row['limit_hours']:g} h"
            yield Condition("stale", row["asset"], severity, told, f"data to {row['data_end']}")


def _answered(platform: Platform, row: Mapping[str, Any]) -> bool:
    """Whether it is weights that a challenger replaces, as once a week, and that are no older than a champion may be."""
    if row["asset"] != WEIGHTS or row["age_hours"] is None:
        return False
    return bool(row["age_hours"] <= platform.config.ages["champion"].age_hours)


def _alarms(platform: Platform) -> Iterator[Condition]:
    """The alarms that last by the newest decision, which has its own hysteresis: drift, live Sharpe, costs, ..."""
    for reason, episode in memory_of(ledger_entries(platform, "decisions")).episodes.items():
        if reason not in _TOLD_ELSEWHERE:
            yield Condition(
                kind=str(reason),
                subject=episode.signal.asset,
                severity=_SEVERITY.get(RESPONSES[reason], "warning"),
                sentence=f"{episode.signal.sentence} over {episode.signal.window}, since {episode.since}",
                evidence=episode.signal.evidence,
                key=f"{episode.signal.asset} since {episode.since} {episode.signal.subject}",
            )


def _served_returns(platform: Platform) -> pl.DataFrame:
    """The net returns of what was served, as `served_portfolio` has them; no rows before the first scores."""
    version = version_of(platform, FORECAST_SCORES.name)
    if version is None:
        return no_portfolio()
    return remembered(platform, "served returns", version, lambda: served_portfolio(platform, version=version))


def _daily_loss(platform: Platform, *, start: Start | None) -> Iterator[Condition]:
    """Each session that lost too much, of those known since the start: several may become known at once."""
    if start is None:
        return
    limit = platform.config.alerts.daily_loss
    earned = _served_returns(platform).select("session", "net", "net_equal_weight")
    for session, net, equal in earned.filter(pl.col("net") < -limit).iter_rows():
        if str(session) > start.session:
            told = f"lost {-net:.2%} on {session}, more than {limit:.2%}; equal weight earned {equal:+.2%}"
            yield Condition("daily_loss", FORECASTS.name, "critical", told, lasts=False, key=str(session))


def _degraded(platform: Platform) -> Iterator[Condition]:
    """Somebody else than the chosen champion serves: by the rows that are served, and by the event before they are."""
    version = version_of(platform, FORECASTS.name)
    rows = (
        ""
        if version is None
        else remembered(platform, "degraded rows", version, lambda: degraded_sentence(platform, FORECASTS.name))
    )
    told = [event for event in ledger_entries(platform, "events") if event["event"] in {"degraded", "recovered"}]
    begun = told[-1] if told and told[-1]["event"] == "degraded" else None
    if rows or begun:
        sentence = begun["reason"] if begun else f"expected {rows}"
        yield Condition("degraded", FORECASTS.name, "critical", sentence, f"version {(version or 'none')[:_SHOWN]}")


def _trainings(platform: Platform) -> Iterator[Condition]:
    """The share of trainings that ended well, over the newest tries that are over."""
    alerts = platform.config.alerts
    events = ledger_entries(platform, "events")
    taken, answered = (
        [(event["order"], event["attempt"]) for event in events if event["event"] == kind]
        for kind in ("order_taken", "order_answered")
    )
    training = memory_of(ledger_entries(platform, "decisions")).training
    asked = (training.number, training.attempt) if training is not None and training.state == "asked" else None
    # A run that was cut off takes the same try up again.
    over = [one for one in dict.fromkeys(taken) if one != asked or one in answered][-alerts.trainings :]
    well = sum(one in answered for one in over)
    if len(over) >= alerts.least_trainings and well < Fraction(str(alerts.training_success)) * len(over):
        told = f"{well} of the last {len(over)} trainings ended well, below {alerts.training_success:.0%}"
        yield Condition("training_failing", WEIGHTS, "warning", told, f"order {over[-1][0]}, try {over[-1][1]}")


def _notices(platform: Platform, *, start: Start | None) -> Iterator[Condition]:
    events = ledger_entries(platform, "events")
    if start is None:
        return
    known = next((place for place, event in enumerate(events, start=1) if event["id"] == start.event), 0)
    for event in events[known:]:
        kind = event["event"]
        if kind in _NOTICES:
            by_itself = kind == "rolled_back" and event.get("by") == PLATFORM
            yield Condition(
                kind=kind,
                subject=_subject(event),
                severity="critical" if by_itself else _NOTICES[kind],
                sentence=_sentence(event),
                evidence=f"event {event['id']}",
                lasts=False,
                key=event["id"],
            )


def _subject(event: Mapping[str, Any]) -> str:
    return event["candidate"][:_SHOWN] if "candidate" in event else event.get("asset", "")


def _sentence(event: Mapping[str, Any]) -> str:
    if event["event"] == "bars_revised":
        symbols = sorted({symbol for symbol, *_ in event["symbols"]})
        stored = "stored" if event["stored"] else "not stored"
        return f"{len(symbols)} symbols' history was corrected, {stored}: {', '.join(symbols[:_NAMED])}"
    by_whom = f", by {event['by']}" if event.get("by") else ""
    rule = f" (rule {event['rule']}{by_whom})" if "rule" in event else ""
    return f"{event['reason']}{rule}"
