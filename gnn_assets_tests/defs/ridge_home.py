"""A small platform whose candidate is a ridge regression: every stage is the real one, and training takes no time."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from gnn_assets.backtests.schema import BACKTEST_SCORES, PORTFOLIO_RETURNS
from gnn_assets.core.config import build_config
from gnn_assets.core.settings import Settings
from gnn_assets.definitions import build_definitions
from gnn_assets.defs import mirror as mirror_asset
from gnn_assets.defs.operate import failures_of as step_failures
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.switching import move_champion
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.versions import Lineage

Parts = dict[str, dict[str, np.ndarray]]
Alter = Callable[[Parts], Parts]

NOVEMBER, DECEMBER = date(2022, 11, 30), date(2022, 12, 28)
RIDGE = {
    "clock": {"session": NOVEMBER},
    "bars": {"from_session": "2020-06-01"},
    "graphs": {"window": 40, "min_overlap": 30, "factors": {"window": 40, "refresh_weeks": 1}},
    "models": {
        "candidate": "ridge",
        "baselines": [],
        "features": {"windows": [2, 5, 20], "short": 5, "long": 20},
        "folds": {"train": 128, "validation": 32, "test": 126},
        "targets": {"window": 20},
    },
    "backtests": {"bootstrap_resamples": 50, "min_sessions": 60},
    "forecasts": {"min_calibration_sessions": 20, "history_sessions": 8},
    # Whatever the paired interval says, so that a test decides what the gate does.
    "gate": {"non_inferiority_margin": 2.0},
}
DATA = ("universe", "market_bars", "returns", "correlation_graphs")
# From bars to forecasts, without what only tells people.
FLOW = (*DATA, "gnn_weights", "oos_predictions", "portfolio_returns", "backtest_scores", "champion", "forecasts")


@dataclass(frozen=True)
class Done:
    """What a run did: asset → version, failed step → sentence, asset → check → its evaluation."""

    success: bool
    versions: dict[str, str]
    failures: dict[str, str]
    checks: dict[str, dict[str, dg.AssetCheckEvaluation]]

    def failed(self, asset: str) -> list[str]:
        """Checks of an asset that failed; its age left out."""
        return [name for name, check in self.checks.get(asset, {}).items() if not check.passed and name != "age"]


def platform_at(home: Path, *overrides: Mapping[str, Any]) -> Platform:
    return Platform(settings=Settings(profile="test", home=home), config=build_config("test", RIDGE, *overrides))


def on(session: date) -> dict[str, Any]:
    return {"clock": {"session": session}}


@contextmanager
def no_mlflow() -> Iterator[None]:
    """Its database takes longer than everything else together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mirror_asset, "mirror", lambda champion, **_: f"run of {champion.version}")
        yield


def run(platform: Platform, *assets: str, ops: Mapping[str, Any] | None = None, instance: Any = None) -> Done:
    """Materializes some assets, by default all of them."""
    if instance is None:
        with dg.DagsterInstance.ephemeral(tempdir=str(platform.settings.home)) as made:
            return run(platform, *assets, ops=ops, instance=made)
    with no_mlflow():
        result = (
            build_definitions(platform)
            .resolve_job_def("everything")
            .execute_in_process(
                instance=instance,
                raise_on_error=False,
                asset_selection=[dg.AssetKey(name) for name in assets] or None,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, "ops": dict(ops or {})},
            )
        )
    checks: dict[str, dict[str, dg.AssetCheckEvaluation]] = {}
    for check in result.get_asset_check_evaluations():
        checks.setdefault(check.asset_key.to_user_string(), {})[check.check_name] = check
    return Done(
        success=result.success,
        versions={
            event.materialization.asset_key.to_user_string(): event.materialization.tags["dagster/data_version"]
            for event in result.get_asset_materialization_events()
        },
        failures=step_failures(result),
        checks=checks,
    )


def copy_of(home: Path, path: Path) -> Path:
    return Path(shutil.copytree(home, path))


def champion_of(platform: Platform) -> Champion:
    champion = platform.champion.current()
    assert champion is not None
    return champion


def newest_of(platform: Platform) -> pl.DataFrame:
    """The forecasts of the newest session that has any."""
    forecasts = platform.lake.read(FORECASTS)
    return forecasts.filter(pl.col("session") == forecasts["session"].max())


def served_on(platform: Platform) -> set[tuple[date, str]]:
    return set(newest_of(platform).select("session", "champion").iter_rows())


def events_of(platform: Platform, *kinds: str) -> list[dict[str, Any]]:
    return [event for event in platform.ledger.read("events") if event["event"] in kinds]


def another(platform: Platform, champion: Champion, number: int, *, alter: Alter = lambda parts: parts) -> Champion:
    """A further candidate, with the champion's scores and its weights, altered or not; the gate served it since."""
    weights, lake = platform.weights, platform.lake
    parts = {part: weights.load(champion.version, part) for part in weights.parts(champion.version)}
    version = weights.save(alter(parts), {**weights.facts(champion.version), "copy": number})
    weights.publish(version, lineage=Lineage(inputs={"copy": str(number)}, code_version="c", config_hash="h"))
    new = {"gnn_weights": version}
    for table in (OOS_PREDICTIONS, PORTFOLIO_RETURNS, BACKTEST_SCORES):
        old = getattr(champion, table.name)
        made = next(made for made in lake.versions(table.name).good() if made.version == old)
        assert made.lineage is not None
        inputs = {name: new.get(name, was) for name, was in made.lineage.inputs.items()}
        lineage = Lineage(inputs=inputs, code_version="c", config_hash="h")
        rows = lake.read(table, version=old).with_columns(version=pl.lit(version))
        end = date.fromisoformat(champion.data_end)
        new[table.name] = lake.publish(table, rows, lineage=lineage, data_end=end).version
    record = replace(champion, version=version, rule="refresh", **{name: new[name] for name in list(new)[1:]})
    lineage = Lineage(inputs={}, code_version="c", config_hash="h")
    expected = champion_of(platform).version
    move_champion(platform, record, expected=expected, lineage=lineage, run_id=f"gate {number}")
    return record
