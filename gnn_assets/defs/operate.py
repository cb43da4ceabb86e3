"""What the command line asks of Dagster: materialize with progress, serve the UI."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from gnn_assets.core.settings import ensure_dagster_home, subprocess_environment
from gnn_assets.defs.resources import Platform

# Grace given to Dagster's processes between being asked to stop and being killed (seconds).
_STOP_SECONDS = 15


@dataclass(frozen=True)
class Outcome:
    """What one run did.

    Args:
        success: whether every asset was materialized.
        computed: assets that were computed anew, in order.
        reused: assets whose stored result still held.
        failures: asset → sentence, for those that failed.
    """

    success: bool
    computed: tuple[str, ...]
    reused: tuple[str, ...]
    failures: dict[str, str]


def materialize(
    platform: Platform,
    definitions: dg.Definitions,
    *,
    job: str,
    requests: Mapping[str, Mapping[str, Any]] | None = None,
) -> Outcome:
    """Runs a job in this process, recorded in the same Dagster instance the UI shows.

    Args:
        platform: its `progress` is told how far each asset is.
        definitions: those of the platform.
        job: one of the jobs of the definitions.
        requests: asset → what is asked of it, in the shape of its run configuration.
    """
    ops = {asset: {"config": dict(request)} for asset, request in (requests or {}).items()}
    ensure_dagster_home(platform.settings)
    # Dagster reads the folders in dagster.yaml from the working directory, whoever's it is.
    with contextlib.chdir(platform.settings.home), dg.DagsterInstance.get() as instance:
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, **({"ops": ops} if ops else {})},
            tags={"reason": "manual"},
        )
    materializations = result.get_asset_materialization_events()
    reused, computed = [], []
    for event in materializations:
        name = str(event.asset_key.to_user_string()) if event.asset_key else ""
        again = event.materialization.metadata["reused"].value
        (reused if again else computed).append(name)
    return Outcome(success=result.success, computed=tuple(computed), reused=tuple(reused), failures=failures_of(result))


def serve_ui(platform: Platform, *, port: int) -> int:
    """Runs `dagster dev` on 127.0.0.1 until it ends or is interrupted; returns its exit code.

    Dagster starts several processes; they get a process group of their own, so that all of them end together.
    """
    ensure_dagster_home(platform.settings)
    command: Sequence[str] = (
        *(sys.executable, "-m", "dagster", "dev"),
        *("--workspace", "workspace.yaml"),
        *("--host", "127.0.0.1", "--port", str(port)),
    )
    process = subprocess.Popen(  # noqa: S603 - a fixed command of our own
        command,
        cwd=platform.settings.home.resolve(),
        env=subprocess_environment(platform.settings),
        start_new_session=True,
    )

    def stop(_signal: int, _frame: object) -> None:
        os.killpg(process.pid, signal.SIGINT)

    for caught in (signal.SIGINT, signal.SIGTERM):
        signal.signal(caught, stop)
    try:
        return process.wait()
    finally:
        _end_group(process)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def failures_of(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Step → sentence, of the steps of a run that failed."""
    failures: dict[str, str] = {}
    for event in result.filter_events(lambda event: event.is_step_failure):
        data = event.step_failure_data
        reported = data.user_failure_data
        text = reported.description if reported else None
        if text is None:
            error = data.error.cause if data.error and data.error.cause else data.error
            text = error.message.strip() if error else "failed"
        failures[str(event.step_key)] = text
    return failures
