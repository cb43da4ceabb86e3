"""What the sensor asks for after a switch by hand, as its runs succeed, fail, or take their time."""

from collections.abc import Iterator
from uuid import uuid4

import dagster as dg
import pytest

from gnn_assets.defs.following import following_sensor
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.switching import roll_back
from gnn_assets_tests.defs.switching_home import fill, platform_at, publish_forecasts

SHOWN, JUDGED = ("mlflow_mirror", "forecasts"), ("champion",)
BRISK = {"follow_attempts": 3, "follow_delay_seconds": 0}


@pytest.fixture
def instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as made:
        yield made


@pytest.fixture
def home(tmp_path):
    path = tmp_path / "home"
    first, *_ = fill(path)
    roll_back(platform_at(path), first, reason="two bad days")
    return path


def asked(platform: Platform, instance: dg.DagsterInstance) -> list[dg.RunRequest] | str:
    found = following_sensor(platform.config)(
        dg.build_sensor_context(instance=instance, resources={"platform": platform})
    )
    return found if isinstance(found, list) else found.skip_message


def selections(platform: Platform, instance: dg.DagsterInstance) -> list[tuple[str, ...]]:
    found = asked(platform, instance)
    assert isinstance(found, list), found
    return [tuple(key.to_user_string() for key in request.asset_selection) for request in found]


def begin(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    instance.add_run(dg.DagsterRun(job_name="any", run_id=str(uuid4()), status=status, tags=dict(request.tags)))


def test_what_people_read_does_not_wait_for_the_gate(home, instance):
    platform = platform_at(home)
    assert selections(platform, instance) == [SHOWN, JUDGED]
    # The gate cannot judge, run after run: what is shown follows all the same, and the gate alone is asked again.
    for request in asked(platform, instance):
        begin(instance, request, dg.DagsterRunStatus.FAILURE)
    publish_forecasts(platform)
    platform.mirrored.publish(platform.champion.current().version)
    again = platform_at(home, automation=BRISK)
    assert selections(again, instance) == [JUDGED]


def told(instance: dg.DagsterInstance, version: str) -> None:
    """The gate's run told Dagster who is champion."""
    tags = {"dagster/data_version": version}
    instance.report_runless_asset_event(dg.AssetMaterialization("champion", tags=tags))


def test_a_move_of_the_gate_is_left_to_automation_and_made_good_where_that_lost_it(tmp_path, instance):
    fill(tmp_path / "home")
    patient = platform_at(tmp_path / "home")
    assert "automation follows" in asked(patient, instance)
    told(instance, patient.champion.current().version)
    assert "automation follows" in asked(patient, instance)
    late = platform_at(tmp_path / "home", automation=BRISK)
    running = instance.add_run(dg.DagsterRun(job_name="any", run_id=str(uuid4()), status=dg.DagsterRunStatus.STARTED))
    assert "1 runs are under way" in asked(late, instance)
    instance.report_run_failed(running)
    assert selections(late, instance) == [SHOWN]
    assert [request.tags["reason"] for request in asked(late, instance)] == ["upstream_changed"]
    publish_forecasts(late)
    late.mirrored.publish(late.champion.current().version)
    assert "Everything shows" in asked(late, instance)


def test_a_run_under_way_is_waited_for(home, instance):
    platform = platform_at(home)
    shown, judged = asked(platform, instance)
    begin(instance, shown, dg.DagsterRunStatus.STARTED)
    assert selections(platform, instance) == [JUDGED]
    begin(instance, judged, dg.DagsterRunStatus.STARTING)
    assert "A run is making mlflow_mirror, forecasts" in asked(platform, instance)


def test_a_run_that_failed_is_asked_for_again_under_another_key_and_not_for_ever(home, instance):
    platform, keys = platform_at(home, automation=BRISK), []
    for _ in range(3):
        shown, judged = asked(platform, instance)
        keys.append(shown.run_key)
        begin(instance, shown, dg.DagsterRunStatus.FAILURE)
        begin(instance, judged, dg.DagsterRunStatus.FAILURE)
    assert len(set(keys)) == 3
    assert "could not follow in 3 runs" in asked(platform, instance)
    # Another switch is another matter.
    _, second, _ = (move.champion.version for move in platform.champion.moves())
    roll_back(platform, second, reason="no better")
    assert selections(platform, instance) == [SHOWN, JUDGED]


def test_between_two_tries_it_waits(home, instance):
    platform = platform_at(home, automation={"follow_attempts": 3, "follow_delay_seconds": 3600})
    for request in asked(platform, instance):
        begin(instance, request, dg.DagsterRunStatus.FAILURE)
    assert "tried 1 times, next at" in asked(platform, instance)


def test_a_run_that_succeeded_and_shows_nothing_is_no_success(home, instance):
    """MLflow that cannot be written is a warning of a run that succeeds."""
    platform = platform_at(home, automation=BRISK)
    for request in asked(platform, instance):
        begin(instance, request, dg.DagsterRunStatus.SUCCESS)
    publish_forecasts(platform)
    assert selections(platform, instance) == [("mlflow_mirror",), JUDGED]
