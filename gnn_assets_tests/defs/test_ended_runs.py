"""Runs whose process is gone are failed; those that are alive are left alone."""

import subprocess
import sys
import time
from collections.abc import Iterator
from uuid import uuid4

import dagster as dg
import psutil
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType, EngineEventData

from gnn_assets.defs.ended_runs import fail_ended_runs


@pytest.fixture
def instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as made:
        yield made


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def started(instance: dg.DagsterInstance, *, pid: int | None) -> dg.DagsterRun:
    """A run under way, told by Dagster's own event of the process that runs it."""
    run = instance.add_run(dg.DagsterRun(job_name="any", run_id=str(uuid4()), status=dg.DagsterRunStatus.STARTED))
    if pid is not None:
        event = DagsterEvent(
            event_type_value=DagsterEventType.ENGINE_EVENT.value,
            job_name="any",
            message=f"Started process for run (pid: {pid}).",
            event_specific_data=EngineEventData(metadata={"pid": dg.MetadataValue.text(str(pid))}),
        )
        instance.report_dagster_event(event, run.run_id)
    return run


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    return instance.get_run_by_id(run.run_id).status


def test_a_run_whose_process_lives_is_left_alone(instance, worker):
    run = started(instance, pid=worker.pid)
    assert fail_ended_runs(instance) == []
    assert status(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_run_whose_process_was_killed_is_failed_and_says_so(instance, worker):
    run = started(instance, pid=worker.pid)
    worker.kill()
    worker.wait()
    assert fail_ended_runs(instance) == [run.run_id]
    assert status(instance, run) is dg.DagsterRunStatus.FAILURE
    told = [record.message for record in instance.all_logs(run.run_id)]
    assert any(f"process {worker.pid} is gone" in message for message in told)
    assert fail_ended_runs(instance) == []


def test_a_killed_process_that_nobody_has_waited_for_is_gone_too(instance, worker):
    run = started(instance, pid=worker.pid)
    worker.kill()
    end = time.monotonic() + 10
    while psutil.Process(worker.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert fail_ended_runs(instance) == [run.run_id]


def test_another_process_that_has_got_the_number_since_is_not_the_run(instance, monkeypatch, worker):
    run = started(instance, pid=worker.pid)
    later = time.time() + 3600
    monkeypatch.setattr(psutil.Process, "create_time", lambda _self: later)
    assert fail_ended_runs(instance) == [run.run_id]


def test_a_run_that_has_not_told_its_process_yet_is_waited_for(instance):
    run = started(instance, pid=None)
    assert fail_ended_runs(instance) == []
    assert status(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_run_that_is_over_is_none_of_its_business(instance, worker):
    run = started(instance, pid=worker.pid)
    instance.report_run_failed(run)
    worker.kill()
    worker.wait()
    assert fail_ended_runs(instance) == []


def test_dagster_tells_the_process_of_a_run_where_it_is_looked_for(instance):
    """The event this relies on is Dagster's: it must be there in the release that is installed."""

    @dg.asset
    def any_asset(context: dg.AssetExecutionContext) -> list[str]:
        return fail_ended_runs(context.instance)

    result = dg.materialize([any_asset], instance=instance)
    assert result.success
    assert result.output_for_node("any_asset") == []
    from gnn_assets.defs.ended_runs import _process_of

    number, _ = _process_of(instance, result.run_id)
    assert number == psutil.Process().pid
