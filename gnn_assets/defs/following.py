"""What Dagster does after a switch by hand: the command line moves the pointer, and a sensor sees that it has moved.

Automation follows data versions, which Dagster knows from materializations alone. The sensor compares the pointer with
what the last materialization of `champion` said, so a switch made while Dagster was down is seen as well.
"""

import dagster as dg

from gnn_assets.core.config import Config
from gnn_assets.defs.resources import Platform

FOLLOWING_SENSOR = "champion_switches"
# What shows who is served. The run of the gate among them enters an untold switch in the ledger.
_FOLLOWS = ("champion", "mlflow_mirror", "forecasts")
# Where Dagster keeps the data version of a materialization; it exports no name for it.
_DATA_VERSION_TAG = "dagster/data_version"


def following_sensor(config: Config) -> dg.SensorDefinition:
    """The sensor that has champion, mirror and forecasts made anew after a switch by hand; running from the start."""

    @dg.sensor(
        name=FOLLOWING_SENSOR,
        target=dg.AssetSelection.assets(*_FOLLOWS),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=config.automation.sensor_interval_seconds,
        description="After `gnn-assets promote` or `rollback`: makes champion, mirror and forecasts anew.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> dg.RunRequest | dg.SkipReason:
        moves = platform.champion.moves()
        # The gate moves the pointer inside a run, which tells Dagster by itself.
        if not moves or moves[-1].run_id:
            return dg.SkipReason("Nobody has switched the champion by hand since the gate did.")
        told = context.instance.get_latest_materialization_event(dg.AssetKey("champion"))
        version = moves[-1].champion.version
        if told is not None and _data_version(told) == version:
            return dg.SkipReason(f"Dagster knows that {version} is served.")
        return dg.RunRequest(run_key=f"champion move {moves[-1].sequence}", tags={"reason": "manual"})

    return sensor


def _data_version(told: dg.EventLogEntry) -> str | None:
    made = told.asset_materialization
    return (made.tags or {}).get(_DATA_VERSION_TAG) if made else None
