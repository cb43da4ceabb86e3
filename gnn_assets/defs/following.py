"""What Dagster does after a switch without the gate: somebody moved the pointer, and a sensor sees that it has moved.

A person does so by command, and the platform by itself where it goes back from a champion that cannot serve.

Automation follows data versions, which Dagster knows from materializations alone. The sensor asks what still shows
another champion than the pointer names, so a switch made while Dagster was down is seen as well. Two runs follow, and
neither waits for the other:

    shown    mlflow_mirror, forecasts    what people read; made from the pointer, whatever the gate can or cannot judge
    judged   champion                    the gate, whose run tells Dagster who is served

A run that failed, or ended without showing the champion, is asked for again, later each time and not for ever. A move of
the gate is followed by automation; the sensor only makes good what that has lost.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from gnn_assets.core.clock import LiveClock
from gnn_assets.core.config import AutomationConfig, Config
from gnn_assets.core.logs import get_log
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.switching import to_follow
from gnn_assets.monitoring.reasons import Reason
from gnn_assets.registry.pointer import Move
from gnn_assets.registry.switch import PLATFORM

_log = get_log()
FOLLOWING_SENSOR = "champion_switches"
# By which the runs of one switch are found again.
_MOVE_TAG, _PART_TAG = "gnn_assets/champion_move", "gnn_assets/follows"
# Where Dagster keeps the data version of a materialization; it exports no name for it.
_DATA_VERSION_TAG = "dagster/data_version"
_NOT_OVER = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def following_sensor(config: Config) -> dg.SensorDefinition:
    """The sensor that has mirror, forecasts and champion made anew after a switch by hand; running from the start."""

    @dg.sensor(
        name=FOLLOWING_SENSOR,
        target=dg.AssetSelection.assets("champion", "mlflow_mirror", "forecasts"),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=config.automation.sensor_interval_seconds,
        description="After `gnn-assets promote` or `rollback`: makes mirror and forecasts anew, and tells Dagster.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        with platform.logging(sensor=FOLLOWING_SENSOR):
            found = _followed(context, platform)
            if isinstance(found, list):
                _log.info("runs_requested", runs=[request.run_key for request in found])
        return found

    return sensor


def _followed(context: dg.SensorEvaluationContext, platform: Platform) -> list[dg.RunRequest] | dg.SkipReason:
    moves, config = platform.champion.moves(), platform.config.automation
    if not moves:
        return dg.SkipReason("There is no champion yet.")
    # The gate moves the pointer inside a run, which tells Dagster by itself, and automation follows.
    if moves[-1].run_id and (in_hand := _in_hand(context.instance, config)):
        return dg.SkipReason(in_hand)
    version = moves[-1].champion.version
    behind = {"shown": tuple(to_follow(platform)), "judged": () if _knows(context, version) else ("champion",)}
    answers = [
        _asked(context.instance, moves[-1], part, assets, config=config) for part, assets in behind.items() if assets
    ]
    asked = [answer for answer in answers if isinstance(answer, dg.RunRequest)]
    waits = " ".join(answer for answer in answers if isinstance(answer, str))
    return asked or dg.SkipReason(waits or f"Everything shows that {version} is served.")


def _in_hand(instance: dg.DagsterInstance, config: AutomationConfig) -> str:
    """Why a move of the gate is left to automation; empty once that should have followed and nothing is under way.

    It forgets one whose run ends in the same tick as a run of the forecasts before: they count as made since.
    """
    unfinished = instance.get_runs_count(dg.RunsFilter(statuses=_NOT_OVER))
    if unfinished:
        return f"The gate moved the champion, and {unfinished} runs are under way."
    told = instance.get_latest_materialization_event(dg.AssetKey("champion"))
    due = told and datetime.fromtimestamp(told.timestamp, tz=UTC) + timedelta(seconds=config.follow_delay_seconds)
    if due is None or LiveClock().now() < due:
        return "The gate moved the champion: automation follows."
    return ""


def _knows(context: dg.SensorEvaluationContext, version: str) -> bool:
    """Whether Dagster's newest materialization of the champion names this version."""
    told = context.instance.get_latest_materialization_event(dg.AssetKey("champion"))
    made = told.asset_materialization if told else None
    return made is not None and (made.tags or {}).get(_DATA_VERSION_TAG) == version


def _asked(
    instance: dg.DagsterInstance, move: Move, part: str, assets: Sequence[str], *, config: AutomationConfig
) -> dg.RunRequest | str:
    """The next run that makes some assets follow a move; why there is none now, if there is none."""
    tags = {_MOVE_TAG: str(move.sequence), _PART_TAG: part}
    records = instance.get_run_records(dg.RunsFilter(tags=tags))
    if any(not record.dagster_run.is_finished for record in records):
        return f"A run is making {', '.join(assets)}."
    tried = len(records)
    if tried >= config.follow_attempts:
        return f"{', '.join(assets)} could not follow in {tried} runs: see why they failed, then materialize them."
    if records:
        ended = max(record.update_timestamp for record in records)
        due = ended + timedelta(seconds=config.follow_delay_seconds * 2 ** (tried - 1))
        if LiveClock().now() < due:
            return f"{', '.join(assets)}: tried {tried} times, next at {due:%H:%M:%S} UTC."
    return dg.RunRequest(
        run_key=f"champion move {move.sequence}, {part}, run {tried + 1}",
        asset_selection=[dg.AssetKey(asset) for asset in assets],
        tags={"reason": _reason_of(move), **tags},
    )


def _reason_of(move: Move) -> str:
    """A person's move is manual; the platform's begins with its reason, and what the gate moves is upstream's change."""
    if move.champion.by == PLATFORM:
        return re.split(r"\W", move.champion.reason, maxsplit=1)[0]
    return str(Reason.MANUAL if move.champion.by else Reason.UPSTREAM_CHANGED)
