"""The code location: every asset, job, sensor and resource, named here and nowhere else."""

import dagster as dg

from gnn_assets.defs import (
    backtests,
    bars,
    deciding,
    drift,
    forecast_scores,
    forecasts,
    graphs,
    mirror,
    model_drift,
    models,
    registry,
)
from gnn_assets.defs.alerting import alerts_sensor
from gnn_assets.defs.automation import automation_sensor
from gnn_assets.defs.ended_runs import ended_runs_sensor
from gnn_assets.defs.following import following_sensor
from gnn_assets.defs.io import LakeIOManager, stage_asset
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Stage

STAGES: tuple[Stage, ...] = (
    *bars.STAGES,
    *graphs.STAGES,
    *drift.STAGES,
    *models.STAGES,
    *backtests.STAGES,
    *registry.STAGES,
    *mirror.STAGES,
    *forecasts.STAGES,
    *forecast_scores.STAGES,
    *model_drift.STAGES,
    *deciding.STAGES,
)

# Jobs are named after what people want done.
JOBS = {
    "everything": dg.AssetSelection.all(),
    "refresh_data": dg.AssetSelection.groups("bars"),
    "rebuild_graphs": dg.AssetSelection.groups("graphs"),
    "retrain": dg.AssetSelection.groups("models", "backtests", "registry"),
    "publish_forecasts": dg.AssetSelection.groups("forecasts"),
    "retry_failed_symbols": dg.AssetSelection.assets("market_bars", "returns"),
}
# What a job asks of its assets without being told.
REQUESTS = {"retry_failed_symbols": {"ops": {"market_bars": {"config": {"failed_only": True}}}}}


def build_definitions(platform: Platform) -> dg.Definitions:
    """The definitions of one platform; tests build their own."""
    tables = {stage.name: stage.table for stage in STAGES if stage.table is not None}
    return dg.Definitions(
        assets=[stage_asset(stage, platform.config) for stage in STAGES],
        jobs=[
            dg.define_asset_job(name, selection=selection, config=REQUESTS.get(name))
            for name, selection in JOBS.items()
        ],
        sensors=[
            automation_sensor(platform.config),
            following_sensor(platform.config),
            ended_runs_sensor(platform.config),
            alerts_sensor(platform.config),
        ],
        resources={"platform": platform, "io_manager": LakeIOManager(platform, tables)},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions Dagster's tools load: those of the platform the environment asks for."""
    return build_definitions(Platform.from_environment())
