"""One way from a pure function to an asset: versions in, memo, compute, checks, publication, metadata.

A `Stage` says what an asset is; `stage_asset` makes the Dagster asset. Its body always does the same: fix the data
versions of its inputs, reuse the stored result if this code, configuration and these inputs made it before, else
compute; check; publish only if no check blocks; say what happened. The last good version stays when anything fails.
"""

import contextlib
import inspect
import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl

from gnn_assets.bars.schema import SYMBOL_STATUS
from gnn_assets.bars.status import FAILED, PENDING, SUCCESS, ever_succeeded, newest_words
from gnn_assets.core.checks import Check
from gnn_assets.core.config import Config
from gnn_assets.core.errors import (
    CorruptArtefact,
    DiskFull,
    GnnAssetsError,
    LockTimeout,
    MissingArtefact,
    PointerConflict,
    ReadOnly,
    StoreError,
)
from gnn_assets.core.hashing import json_hash
from gnn_assets.core.logs import add_ids, get_log
from gnn_assets.defs.automation import condition_for
from gnn_assets.defs.candidates import WEIGHTS
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Report, Stage, StageRun, status_rows
from gnn_assets.defs.why import (
    answer_order,
    made_by_itself,
    sentence_of,
    tags_of,
    take_order,
    tell_made,
    why_made,
)
from gnn_assets.monitoring.ages import age_check
from gnn_assets.store.schema import Table
from gnn_assets.store.versions import Lineage

_log = get_log()
OWNERS = ["team:quant-platform"]
AGE_CHECK = "age"


def stage_asset(stage: Stage, config: Config) -> dg.AssetsDefinition:
    """The Dagster asset of a stage."""
    limit = config.ages[stage.name]
    names = (*stage.checks(config), AGE_CHECK)

    @dg.asset(
        name=stage.name,
        group_name=stage.group,
        description=inspect.getdoc(stage.compute),
        deps=[*stage.deps, *stage.looks_at],
        owners=OWNERS,
        kinds=set(stage.kinds),
        code_version=stage.code_version(config),
        check_specs=[dg.AssetCheckSpec(name, asset=stage.name) for name in names],
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=limit.deadline_hours)),
        automation_condition=condition_for(stage.name, has_deps=bool(stage.deps or stage.looks_at), config=config),
        metadata={"dagster/column_schema": _column_schema(stage.table)} if stage.table else {},
        config_schema=stage.request.to_config_schema() if stage.request else None,
        # A fault that may pass by itself (a lock held, a disk briefly full) is worth another try.
        retry_policy=dg.RetryPolicy(
            max_retries=config.runtime.retries,
            delay=config.runtime.retry_delay_seconds,
            backoff=dg.Backoff.EXPONENTIAL,
            jitter=dg.Jitter.FULL,
        ),
    )
    def asset(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Iterator[Any]:
        ids = {"run": context.run.run_id, "asset": stage.name, "session": str(platform.last_session)}
        with platform.logging(**ids):
            try:
                with _timed():
                    yield from _materialize(stage, context, platform)
            except GnnAssetsError as error:
                # A ledger that is damaged as well must not hide what went wrong first.
                with contextlib.suppress(StoreError):
                    told = {"event": "stage_failed", "asset": stage.name, "reason": str(error)}
                    platform.ledger.append("events", told)
                # Asking again mends a lock or a full disk at times, and never what this platform itself refused.
                passing = isinstance(error, LockTimeout | DiskFull | ReadOnly | PointerConflict)
                raise dg.Failure(description=str(error), allow_retries=passing) from error

    return asset


@contextlib.contextmanager
def _timed() -> Generator[None]:
    """Says in the log that a stage began, and if it did not publish, why."""
    began = time.monotonic()
    _log.info("stage_started")
    try:
        yield
    except GeneratorExit:
        raise  # Dagster asks for nothing more of a stage that is over
    except dg.Failure as refusal:
        _log.warning("stage_refused", seconds=_since(began), reason=refusal.description)
        raise
    except BaseException:
        _log.exception("stage_failed", seconds=_since(began))
        raise


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)


def current_version(platform: Platform, name: str) -> str:
    """Data version of what an asset last published.

    Raises:
        MissingArtefact: if it was never materialized.
    """
    publication = platform.versions(name).current()
    if publication is None:
        raise MissingArtefact.of(
            f"asset {name}", expected="a stored version", was="none", do=f"materialize {name} first"
        )
    return publication.version


def lineage_of(stage: Stage, platform: Platform, inputs: Mapping[str, str]) -> Lineage:
    """What makes an artefact: its inputs' versions, its code and its part of the configuration."""
    return Lineage(
        inputs=dict(inputs),
        code_version=stage.code_version(platform.config),
        config_hash=json_hash(platform.config.slice(*stage.sections)),
    )


def _materialize(stage: Stage, context: dg.AssetExecutionContext, platform: Platform) -> Iterator[Any]:
    symbols = _symbols(stage, platform)
    inputs = {name: current_version(platform, name) for name in stage.deps}
    inputs |= {name: version for name in stage.looks_at if (version := _published(platform, name)) is not None}
    # What the outside world was asked for is part of how an answer came about.
    asked = {"session": str(platform.last_session)} if stage.external else {"symbols": json_hash(symbols)}
    lineage = lineage_of(stage, platform, {**inputs, **asked, **stage.asks(platform)})
    run = StageRun(
        platform=platform,
        asset=stage.name,
        inputs=inputs,
        lineage=lineage,
        symbols=symbols,
        run_id=context.run.run_id,
        log=context.log.info,
        request=stage.request(**context.op_execution_context.op_config) if stage.request else None,
        ended=lambda run_id: _ended(context.instance, run_id),
    )
    began = time.monotonic()
    run.progress(0.0, "started")
    tags = context.run.tags
    reasons = why_made(stage.name, platform, lineage, by_itself=made_by_itself(tags), told=tags.get("reason", ""))
    context.instance.add_run_tags(run.run_id, tags_of(stage.name, reasons))
    if stage.name == WEIGHTS:
        take_order(platform, reasons, run_id=run.run_id)
    before = _told_version(stage, platform, _published(platform, stage.name))
    version = None if stage.external else stage.shelf.reuse(run, lineage)
    artefact = stage.compute(run) if version is None else stage.shelf.load(run, version)
    report = stage.report(run, artefact)
    age = age_check(
        stage.name,
        data_end=report.data_end,
        now=platform.clock.now(),
        calendar=platform.calendar,
        limit=platform.config.ages[stage.name],
    )
    for check in (*report.checks, age):
        yield _check_result(check)
    blocking = [check for check in report.checks if check.blocks]
    if blocking:
        _write_status(stage, run, report, states=(FAILED,))
        raise _refusal(run, blocking)
    computed = version is None
    if version is None:
        version = stage.shelf.publish(run, artefact, lineage=lineage, data_end=report.data_end)
        _write_status(stage, run, report, states=(SUCCESS, FAILED, PENDING))
    # An external stage that found nothing new has not changed what is stored.
    told = _told_version(stage, platform, version) or version
    reused = not computed or (stage.external and before == told)
    tell_made(platform, stage.name, told, reasons, run_id=run.run_id)
    if stage.name == WEIGHTS:
        answer_order(platform, version, run_id=run.run_id)
    run.progress(
        1.0, "done" if not reused else "unchanged" if stage.external else "reused: nothing it depends on changed"
    )
    add_ids(version=told)
    _log.info("stage_reused" if reused else "stage_published", seconds=_since(began), why=sentence_of(reasons))
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(told),
        metadata={
            **report.metadata,
            "reused": reused,
            "why": sentence_of(reasons),
            "version": version,
            "age_hours": age.value,
            "data_end": str(report.data_end) if report.data_end else "none",
            "clock": platform.label,
            "inputs": dg.MetadataValue.json(dict(run.inputs)),
            "config_hash": lineage.config_hash,
            "dagster/uri": platform.versions(stage.name).folder.as_uri(),
        },
    )


def _ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    found = instance.get_run_by_id(run_id)
    return found is None or found.is_finished


def _published(platform: Platform, name: str) -> str | None:
    """Data version of what an asset last published; None if there is none, or if it is damaged and to be made again."""
    try:
        publication = platform.versions(name).current()
    except CorruptArtefact:
        return None
    return publication.version if publication else None


def _told_version(stage: Stage, platform: Platform, version: str | None) -> str | None:
    """The version Dagster is told: that of the artefact, and of the tables published beside it."""
    if version is None or not stage.beside:
        return version
    beside = [(_published(platform, table.name) or "none") for table in stage.beside]
    return json_hash([version, *beside])[: len(version)]


def _write_status(stage: Stage, run: StageRun, report: Report, *, states: Sequence[str]) -> None:
    """Says how each symbol fared: all of it once its result is published, failures also where it was refused."""
    if report.failures is None or report.data_end is None:
        return
    rows = status_rows(
        run, follows=stage.follows, context=stage.context, failures=report.failures, session=report.data_end
    )
    rows = rows.filter(pl.col("state").is_in(list(states)))
    run.platform.lake.upsert(SYMBOL_STATUS, rows, run_id=run.run_id, reduce=newest_words)


def _symbols(stage: Stage, platform: Platform) -> tuple[str, ...]:
    if stage.follows is None:
        return ()
    return ever_succeeded(platform.lake.read(SYMBOL_STATUS), stage.follows, follower=stage.name)


def _refusal(run: StageRun, blocking: Sequence[Check]) -> dg.Failure:
    reason = " ".join(check.sentence for check in blocking)
    run.platform.ledger.append("events", {"event": "stage_refused", "asset": run.asset, "reason": reason})
    return dg.Failure(
        description=f"{run.asset}: not published, the last good version stays. {reason}", allow_retries=False
    )


def _check_result(check: Check) -> dg.AssetCheckResult:
    error = check.severity == "error"
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=check.passed,
        severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
        description=check.sentence,
        metadata={
            "value": _shown(check.value),
            "threshold": _shown(check.threshold),
            "offenders": dg.MetadataValue.md("\n".join(f"* {row}" for row in check.offenders) or "none"),
        },
    )


def _shown(value: float | str) -> float | str:
    """Dagster stores numbers as JSON, which has no NaN and no infinity."""
    return value if isinstance(value, str) or math.isfinite(value) else str(value)


def _column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=str(dtype),
                description=table.descriptions.get(name),
                constraints=dg.TableColumnConstraints(other=["key"]) if name in table.key else None,
            )
            for name, dtype in table.columns.items()
        ]
    )


class LakeIOManager(dg.IOManager):
    """Lets anybody's own asset take one of ours as an argument: it arrives as a polars frame.

    Our own assets publish through their shelf, with checks before publication, so nothing is written here.
    """

    def __init__(self, platform: Platform, tables: Mapping[str, Table]) -> None:
        self._platform = platform
        self._tables = tables

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Refuses: a value returned by an asset has no declared table to go to."""
        if obj is not None:
            raise dg.DagsterInvariantViolationError(
                f"{context.asset_key.to_user_string()}: expected an asset that names its own IO manager, was one that "
                "returns a value to the lake; declare a table and a Stage for it."
            )

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        """The current table of the upstream asset."""
        name = context.asset_key.to_user_string()
        if name not in self._tables:
            raise MissingArtefact.of(
                f"asset {name}", expected=f"one of {', '.join(self._tables)}", was=name, do="load it through its store"
            )
        return self._platform.lake.read(self._tables[name])
