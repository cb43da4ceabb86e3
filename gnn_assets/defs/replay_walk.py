"""A walk of the whole platform through past sessions, by the real automation and real runs of Dagster in this process.

The conditions are evaluated at the replay's time, and what they ask for is run, until nothing more is asked for; where a
run failed, again some hours later, as the daemon would. Sensors and alerts are looked at as they stand. Ids of runs are
counted and not drawn, so that two walks leave the same bytes.
"""

import contextlib
import gc
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from time import perf_counter, sleep
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import dagster as dg
import numpy as np
import polars as pl
from dagster._utils.schedules import get_next_cron_tick

from gnn_assets.bars.schema import RETURNS, UNIVERSE
from gnn_assets.bars.universe import symbols_of
from gnn_assets.core.clock import ReplayClock
from gnn_assets.core.errors import GnnAssetsError, ModelError
from gnn_assets.defs.alerting import look
from gnn_assets.defs.following import FOLLOWING_SENSOR
from gnn_assets.defs.forecast_scores import served_portfolio
from gnn_assets.defs.operate import failures_of
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.why import MADE
from gnn_assets.graphs.schema import GRAPH_DRIFT
from gnn_assets.monitoring.alerts import waits
from gnn_assets.monitoring.orders import RETRAIN_DECISION
from gnn_assets.monitoring.walk import Happened, Measured, Ran, Walk, Walked

_BY_ITSELF = {"dagster/from_automation_condition": "true"}
# Between two looks of a wave; a cron line counts as passed by the first look after it.
_MINUTE = timedelta(minutes=1)
# Looks of one wave at most: a condition that asked without end would hang the walk.
_MOST_LOOKS = 60
# Where a run failed, automation asks again some hours later; so often before the next session.
_LATER, _MOST_LATER = timedelta(hours=4), 3
# How Dagster says that somebody interrupted.
_BROKEN_OFF = frozenset({dg.DagsterEventType.PIPELINE_CANCELED, dg.DagsterEventType.PIPELINE_CANCELING})
_INTERRUPTS = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})
# What the ledger says that people want to see beside the runs.
_TOLD = frozenset(
    (
        *("promoted", "refused", "confirmed", "rolled_back", "degraded", "recovered"),
        *("stage_failed", "stage_refused", "symbols_failed", "rows_quarantined", "bars_revised", "served_lost"),
    )
)


@dataclass
class Walker:
    """The platform on its way.

    Args:
        platform: of `open_replay`.
        definitions: its own.
        instance: Dagster's, in the replay's home.
        first: the first session walked.
    """

    platform: Platform
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    first: date
    _cursor: Any = None
    _runs: int = 0
    _entered: int = 0
    _decided: int = 0
    _market: float = 0.0
    _measured: dict[str, Measured] = field(default_factory=dict)

    def prepare(self) -> Ran:
        """Makes everything once, as of the session before the first: bars, graph, champion, forecasts.

        Raises:
            ModelError: if anything failed: there is nothing to walk with.
        """
        names = sorted(key.to_user_string() for key in self._graph.get_all_asset_keys())
        ran = self._run(names, {"reason": "manual"})
        if ran.failed:
            asset, why = next(iter(ran.failed.items()))
            raise ModelError.of(
                "replay",
                expected=f"a whole platform as of {self.platform.last_session}",
                was=f"{asset} failed: {why}",
                do="begin later, or see that the settings fit so short a past",
            )
        self._look()
        look(self.platform, self.instance, now=self._clock.now())
        self._entered = len(self.platform.ledger.read("events"))
        self._decided = len(self.platform.ledger.read("decisions"))
        return ran

    def walk(self, session: date) -> Walked:
        """Everything that happens on one session, from its close until nothing more is asked for."""
        platform = self.platform
        self._clock.advance_to(self._close_of(session))
        runs = list(self._wave())
        for _ in range(_MOST_LATER):
            if not any(ran.failed for ran in runs[-1:]):
                break
            self._clock.advance_to(self._clock.now() + _LATER)
            runs += self._wave()
        alerts = self._alerts()
        decided = self._decision()
        champion = platform.champion.current()
        self._market = (1 + self._market) * (1 + self._market_return(session)) - 1
        served, equal_weight = self._earned()
        return Walked(
            session=session,
            moment=self._clock.now(),
            runs=tuple(runs),
            versions=self._versions(),
            measured=dict(self._measured),
            decision=decided["action"],
            why=decided["sentence"],
            cause=decided["cause"],
            events=self._events(),
            alerts=tuple(alerts),
            champion=champion.version if champion else None,
            market=self._market,
            served=served,
            equal_weight=equal_weight,
            drift=self._drift(),
        )

    # ---- what the daemon does ------------------------------------------------------------------------------------

    def _wave(self) -> Iterator[Ran]:
        """Looks, and runs what is asked for, until there is nothing more."""
        for _ in range(_MOST_LOOKS):
            asked = self._look()
            if asked:
                yield self._run(asked, _BY_ITSELF)
            else:
                follows = self._follows()
                if not follows:
                    return
                for request in follows:
                    names = [key.to_user_string() for key in request.asset_selection or ()]
                    yield self._run(names, dict(request.tags))
            self._clock.advance_to(self._clock.now() + _MINUTE)
        raise ModelError.of(
            f"replay, session {self.platform.last_session}",
            expected=f"nothing more to ask for after {_MOST_LOOKS} looks",
            was="still something",
            do="see the newest runs in `make dev REPLAY=...`: a condition asks without end",
        )

    def _look(self) -> list[str]:
        """One evaluation of every condition at the replay's time; what it asks for."""
        keys = self._graph.get_all_asset_keys()
        found = dg.evaluate_automation_conditions(
            self.definitions,
            instance=self.instance,
            cursor=self._cursor,
            # Checks have no conditions of their own.
            asset_selection=dg.AssetSelection.assets(*keys),
            evaluation_time=self._clock.now(),
        )
        self._cursor = found.cursor
        return sorted(key.to_user_string() for key in keys if found.get_num_requested(key))

    def _follows(self) -> list[dg.RunRequest]:
        """What the sensor of the champion's switches asks for."""
        sensor = self.definitions.resolve_sensor_def(FOLLOWING_SENSOR)
        context = dg.build_sensor_context(instance=self.instance, resources={"platform": self.platform})
        answer = sensor(context)
        return answer if isinstance(answer, list) else []

    def _alerts(self) -> list[str]:
        """First lines of what people are told: nothing is sent."""
        looked = look(self.platform, self.instance, now=self._clock.now())
        wait = waits(looked.memory, now=self._clock.now(), config=self.platform.config.alerts)
        if not wait:
            return looked.titles
        # What is grouped is told at the end of its time.
        self._clock.advance_to(self._clock.now() + timedelta(seconds=wait))
        return looked.titles + look(self.platform, self.instance, now=self._clock.now()).titles

    def _run(self, names: Sequence[str], tags: Mapping[str, str]) -> Ran:
        self._runs += 1
        begun = perf_counter()
        selection = dg.AssetSelection.assets(*names).resolve(self._graph)
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection=selection)
        session = {"gnn_assets/session": str(self.platform.last_session)}
        result = job.execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={**tags, **session},
            run_id=str(uuid5(NAMESPACE_OID, f"gnn_assets replay {self._runs}")),
        )
        # Dagster ends the run that Ctrl-C falls into, and no more than that.
        if any(event.event_type in _BROKEN_OFF or _is_interrupt(event) for event in result.all_events):
            raise KeyboardInterrupt
        made = result.get_asset_materialization_events()
        why = {str(one.asset_key and one.asset_key.to_user_string()): _why(one) for one in made}
        self._remember(result)
        return Ran(assets=tuple(names), why=why, failed=failures_of(result), seconds=perf_counter() - begun)

    def _remember(self, result: dg.ExecuteInProcessResult) -> None:
        """The newest values of what the decision measures."""
        checks = [
            check
            for check in result.get_asset_check_evaluations()
            if check.asset_key.to_user_string() == RETRAIN_DECISION.name
        ]
        for check in checks:
            value, limit = (_number(check.metadata.get(name)) for name in ("value", "threshold"))
            self._measured[check.check_name] = Measured(value=value, limit=limit, alarm=not check.passed)

    # ---- what is seen --------------------------------------------------------------------------------------------

    @property
    def _clock(self) -> ReplayClock:
        clock = self.platform.clock
        assert isinstance(clock, ReplayClock)
        return clock

    @property
    def _graph(self) -> Any:
        return self.definitions.resolve_asset_graph()

    def _close_of(self, session: date) -> datetime:
        """The first moment at which the session's bar is there and the clock has asked for it."""
        automation, there = self.platform.config.automation, self.platform.calendar.available_at(session)
        tick = get_next_cron_tick(automation.bars_cron, there, automation.timezone).astimezone(UTC)
        return max(there, tick if tick.date() == there.date() else there) + _MINUTE

    def _versions(self) -> dict[str, str]:
        names = sorted(key.to_user_string() for key in self._graph.get_all_asset_keys())
        found = {name: self.platform.versions(name).current() for name in names}
        return {name: publication.version for name, publication in found.items() if publication}

    def _decision(self) -> Mapping[str, Any]:
        """The newest order since the session before; else what holds one back; else that there was nothing."""
        entries = self.platform.ledger.read("decisions")
        new, self._decided = entries[self._decided :], len(entries)
        asked = [entry for entry in new if entry["action"] in ("train", "retry")]
        return (asked or new or entries or [{"action": "none", "sentence": "", "cause": ""}])[-1]

    def _events(self) -> tuple[Happened, ...]:
        entries = self.platform.ledger.read("events")
        new, self._entered = entries[self._entered :], len(entries)
        return tuple(
            Happened(
                event=entry["event"],
                what=str(entry.get("candidate") or entry.get("asset") or ""),
                reason=str(entry.get("reason", "")),
            )
            for entry in new
            if entry["event"] in _TOLD and entry["event"] != MADE
        )

    def _market_return(self, session: date) -> float:
        """Gross simple return of the universe's core in equal parts, close to close; 0 without returns."""
        lake = self.platform.lake
        core = symbols_of(lake.read(UNIVERSE), "core")
        rows = lake.read(RETURNS, columns=("session", "symbol", "close_return"), first=session, last=session)
        own = rows.filter(pl.col("symbol").is_in(core))["close_return"].drop_nulls().drop_nans().to_numpy()
        return float(np.expm1(own).mean()) if own.size else 0.0

    def _earned(self) -> tuple[float | None, float | None]:
        """Net returns of what was served and of equal weight, from the first session walked on; None before a fill."""
        with contextlib.suppress(GnnAssetsError):
            rows = served_portfolio(self.platform).filter(pl.col("session") >= self.first)
            if rows.height:
                served, equal = (float((1 + rows[name]).product()) - 1 for name in ("net", "net_equal_weight"))
                return _finite(served), _finite(equal)
        return None, None

    def _drift(self) -> Measured | None:
        rows = self.platform.lake.read(GRAPH_DRIFT)
        if rows.is_empty():
            return None
        newest = rows.row(-1, named=True)
        return Measured(value=_finite(newest["statistic"]), limit=_finite(newest["limit"]), alarm=bool(newest["alarm"]))


def run_replay(
    platform: Platform,
    definitions: dg.Definitions,
    sessions: Sequence[date],
    *,
    name: str,
    speed: float | None,
    told: Callable[[Walk], None],
) -> Walk:
    """Walks the sessions, one after the other.

    Args:
        platform: of `open_replay`.
        definitions: its own.
        sessions: ascending.
        name: of the replay.
        speed: sessions a second at most; None is as fast as it goes.
        told: called with the walk so far, before the first session and after each.

    Raises:
        ModelError: if there is nothing to walk with.
    """
    begun = perf_counter()
    walked: list[Walked] = []

    def so_far() -> Walk:
        return Walk(
            name=name,
            profile=platform.settings.profile,
            label=platform.label,
            sessions=tuple(walked),
            seconds=perf_counter() - begun,
        )

    with _instance(platform) as instance:
        walker = Walker(platform, definitions, instance, sessions[0])
        walker.prepare()
        told(so_far())
        with _settled():
            for session in sessions:
                started = perf_counter()
                walked.append(walker.walk(session))
                told(so_far())
                if speed is not None:
                    sleep(max(1 / speed - (perf_counter() - started), 0))
    return so_far()


@contextmanager
def _settled() -> Generator[None]:
    """Takes what is loaded by now out of the garbage collector's rounds: they were a twelfth of a walk's time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _instance(platform: Platform) -> Generator[dg.DagsterInstance]:
    # Dagster reads the folders in dagster.yaml from the working directory. Another DAGSTER_HOME is somebody else's.
    home = platform.settings.home
    with contextlib.chdir(home), dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def _is_interrupt(event: dg.DagsterEvent) -> bool:
    error = event.step_failure_data.error if event.is_step_failure else None
    names = {told.cls_name for told in (error, error and error.cause) if told}
    return bool(names & _INTERRUPTS)


def _why(event: dg.DagsterEvent) -> str:
    metadata = event.materialization.metadata
    return str(metadata["why"].value) if "why" in metadata else ""


def _number(entry: dg.MetadataValue | None) -> float | None:
    value = entry.value if entry is not None else None
    return _finite(float(value)) if isinstance(value, int | float) else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
