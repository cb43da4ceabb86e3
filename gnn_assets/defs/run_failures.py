"""Assets whose newest run failed and that were not made since, as Dagster knows them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from gnn_assets.monitoring.alerts import Condition, Unknown

RUN_FAILED = "run_failed"
# Without these nobody is served.
_CRITICAL = ("forecasts", "champion")
_SHOWN = 8  # digits of a run that people see
_FAILURE = dg.DagsterRunStatus.FAILURE


@dataclass(frozen=True)
class _Failure:
    """Why a run failed.

    Args:
        steps: step → why it failed, for those that did.
        run: why the run did; where no step says it, its process was gone.
    """

    steps: dict[str, str]
    run: str


# Run → why it failed, which does not change any more; of the runs that the last look found.
_KNOWN: dict[str, _Failure] = {}


def run_failures(instance: dg.DagsterInstance, *, assets: Collection[str]) -> Iterator[Condition | Unknown]:
    """Each asset whose newest run that meant to make it failed before it had.

    Of one that a run is making again, or whose newest run a person ended, nothing is known: it is neither well nor has
    it failed anew.

    Args:
        instance: Dagster's own records.
        assets: those there are; Dagster remembers for good what was taken out of the code, which nobody can make.
    """
    tried: dict[str, str] = {}
    for record in instance.get_asset_records():
        entry = record.asset_entry
        asset, made = entry.asset_key.to_user_string(), entry.last_materialization_record
        if asset in assets and entry.last_run_id and (made is None or made.run_id != entry.last_run_id):
            tried[asset] = entry.last_run_id
    ended = _ended(instance, set(tried.values()))
    for run_id in _KNOWN.keys() - ended.keys():
        del _KNOWN[run_id]
    for asset, run_id in sorted(tried.items()):
        if run_id not in ended:
            yield Unknown(f"{RUN_FAILED}/{asset}")
        elif ended[run_id] is _FAILURE:
            yield Condition(
                kind=RUN_FAILED,
                subject=asset,
                severity="critical" if asset in _CRITICAL else "warning",
                sentence=_reason(instance, run_id, asset),
                evidence=f"run {run_id[:_SHOWN]}",
            )


def _ended(instance: dg.DagsterInstance, run_ids: set[str]) -> dict[str, dg.DagsterRunStatus]:
    """How runs ended, those that a person ended left out."""
    if not run_ids:
        return {}  # Dagster takes no runs for all
    wanted = dg.RunsFilter(run_ids=sorted(run_ids), statuses=[_FAILURE, dg.DagsterRunStatus.SUCCESS])
    return {run.run_id: run.status for run in instance.get_runs(wanted)}


def _reason(instance: dg.DagsterInstance, run_id: str, asset: str) -> str:
    if run_id not in _KNOWN:
        _KNOWN[run_id] = _failure(instance, run_id)
    failure = _KNOWN[run_id]
    if asset in failure.steps:
        return failure.steps[asset]
    first = next(iter(failure.steps.items()), None)
    return f"not reached: {first[0]} failed before it: {first[1]}" if first else failure.run


def _failure(instance: dg.DagsterInstance, run_id: str) -> _Failure:
    wanted = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    events = [
        record.event_log_entry.dagster_event
        for record in instance.get_records_for_run(run_id, of_type=wanted).records
        if record.event_log_entry.dagster_event
    ]
    steps = {event.step_key: _of_step(event) for event in events if event.is_step_failure and event.step_key}
    return _Failure(steps, _of_run([event for event in events if not event.is_step_failure]))


def _of_step(event: Any) -> str:
    data = event.step_failure_data
    told = data.user_failure_data
    if told and told.description:
        return told.description
    error = data.error.cause if data.error and data.error.cause else data.error
    return error.message.strip() if error else "failed"


def _of_run(events: Sequence[Any]) -> str:
    told = [event.message for event in events if event.message]
    return told[-1] if told else "failed"
