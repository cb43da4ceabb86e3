"""Runs whose process is gone: the launcher that Dagster uses by default never looks, and they would stay started.

A run's own process says its number when it begins. The sensor is evaluated by the code server that starts the runs, so
it looks among the processes of the same machine. A process of that number that began later is another one. Dagster then
starts the run again once, from where it stopped (`run_retries` in dagster.yaml).
"""

from datetime import UTC, datetime

import dagster as dg
import psutil

from gnn_assets.core.config import Config

ENDED_SENSOR = "ended_runs"
_UNDER_WAY = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_PID = "pid"
# Moments of the event log and of the process table are rounded differently (seconds).
_ROUNDING = 2.0


def ended_runs_sensor(config: Config) -> dg.SensorDefinition:
    """The sensor that fails every run under way whose process is gone; running from the start."""

    @dg.sensor(
        name=ENDED_SENSOR,
        # It starts nothing; Dagster wants to know what it might.
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=config.automation.ended_seconds,
        description="Fails runs whose process is gone, so that they are run again.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        gone = fail_ended_runs(context.instance)
        return dg.SkipReason(f"Failed {', '.join(gone)}: process gone." if gone else "Every run under way is alive.")

    return sensor


def fail_ended_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fails every run under way whose process is gone.

    Args:
        instance: whose runs are started on this machine.

    Returns:
        Ids of the runs that were failed.
    """
    gone = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY)):
        told = _process_of(instance, run.run_id)
        if told is None or _lives(*told):
            continue
        number, _ = told
        instance.report_run_failed(
            run,
            f"The run's process {number} is gone: killed, out of memory, or the machine was restarted. What it had "
            "published stays; it is run again once.",
        )
        gone.append(run.run_id)
    return gone


def _process_of(instance: dg.DagsterInstance, run_id: str) -> tuple[int, datetime] | None:
    """Number of the process that runs a run, and when it said so; None while it has not."""
    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records:
        entry = record.event_log_entry
        metadata = entry.get_dagster_event().engine_event_data.metadata if entry.dagster_event else {}
        if _PID in metadata:
            return int(str(metadata[_PID].value)), datetime.fromtimestamp(entry.timestamp, tz=UTC)
    return None


def _lives(number: int, told_at: datetime) -> bool:
    try:
        process = psutil.Process(number)
        began = process.create_time()
        return process.status() != psutil.STATUS_ZOMBIE and began <= told_at.timestamp() + _ROUNDING
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True  # somebody else's, but there
