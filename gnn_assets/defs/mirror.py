"""The asset mlflow_mirror: the champion's story in MLflow, for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from gnn_assets.backtests.schema import BACKTEST_SCORES
from gnn_assets.backtests.scores import ALL_FOLDS
from gnn_assets.core.checks import Check
from gnn_assets.defs.stage import Report, Stage, StageRun
from gnn_assets.registry.mirror import mirror
from gnn_assets.store.versions import Lineage


def _mlflow_mirror(run: StageRun) -> str:
    """The champion's story in MLflow, for people. Nothing reads it; if it fails, that is a warning and no more."""
    platform = run.platform
    champion = platform.champion.current()
    assert champion is not None
    facts = platform.weights.facts(champion.version)
    scores = platform.lake.read(BACKTEST_SCORES, version=champion.backtest_scores)
    overall = scores.filter(
        pl.col("fold") == ALL_FOLDS, pl.col("model") == champion.model, pl.col("value").is_not_null()
    )
    return mirror(
        champion,
        folder=platform.data / "mlflow",
        parameters=_flat(facts["recipe"]),
        metrics=dict(overall.select("metric", "value").iter_rows()),
        curves={part: entry["curve"] for part, entry in facts["parts"].items() if entry["curve"]},
    )


@dataclass(frozen=True)
class MirrorShelf:
    """Remembers which champion has been mirrored."""

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """The champion, if it has been mirrored."""
        current = run.platform.mirrored.current()
        done = current is not None and current.lineage is not None and current.lineage.key == lineage.key
        return current.version if current and done else None

    def load(self, run: StageRun, version: str) -> str:
        """The MLflow run of a mirrored champion."""
        current = run.platform.mirrored.current()
        return str(current.note["mlflow_run"]) if current and current.version == version else ""

    def publish(self, run: StageRun, artefact: str, *, lineage: Lineage, data_end: date | None) -> str:
        """Notes that the champion is mirrored, unless it could not be."""
        del data_end
        version = run.inputs["champion"]
        if artefact:
            run.platform.mirrored.publish(version, lineage=lineage, run_id=run.run_id, note={"mlflow_run": artefact})
        return version


def _mirror_or_nothing(run: StageRun) -> str:
    try:
        return _mlflow_mirror(run)
    except Exception as error:  # noqa: BLE001 - whatever MLflow raises, serving goes on
        run.log(f"MLflow could not be written: {error}")
        run.platform.ledger.append("events", {"event": "mirror_failed", "asset": run.asset, "reason": str(error)})
        return ""


_mirror_or_nothing.__doc__ = _mlflow_mirror.__doc__


def _mirror_report(run: StageRun, mlflow_run: str) -> Report:
    champion = run.platform.champion.current()
    assert champion is not None
    mirrored = Check(
        "mirrored",
        passed=bool(mlflow_run),
        value=mlflow_run or "not written",
        threshold="an MLflow run",
        description="Whether MLflow shows the champion; forecasts do not depend on it.",
        severity="warn",
    )
    return Report(
        data_end=date.fromisoformat(champion.data_end),
        checks=(mirrored,),
        metadata={"mlflow_run": mlflow_run, "mlflow_store": str(run.platform.data / "mlflow")},
    )


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


STAGES = (
    Stage(
        name="mlflow_mirror",
        group="registry",
        compute=_mirror_or_nothing,
        report=_mirror_report,
        shelf=MirrorShelf(),
        code=("gnn_assets.registry.mirror",),
        sections=(),
        deps=("champion",),
        checks=lambda _config: ("mirrored",),
        kinds=frozenset({"mlflow"}),
    ),
)
