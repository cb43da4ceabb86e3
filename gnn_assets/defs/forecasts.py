"""The asset of the forecasts stage: forecasts, a card for each session, the sessions' past beside the newest."""

import json
from dataclasses import asdict, replace
from datetime import date
from functools import partial

import numpy as np
import polars as pl

from gnn_assets.core.checks import Check
from gnn_assets.core.errors import (
    DiskFull,
    GnnAssetsError,
    LockTimeout,
    MissingArtefact,
    ModelError,
    ReadOnly,
)
from gnn_assets.core.hashing import canonical_json, json_hash
from gnn_assets.defs.fallback import DEGRADED_CHECK, best_baseline, enter_degraded, enter_recovered, served_check
from gnn_assets.defs.forecast_sessions import (
    Made,
    Server,
    attempt,
    freshness,
    graphed_sessions,
    of_champion,
    session_checks,
)
from gnn_assets.defs.graphs import measure_module
from gnn_assets.defs.models import start_jax
from gnn_assets.defs.plots import table
from gnn_assets.defs.recipe import FORECAST_SECTIONS, MODEL_GRAPH_SETTINGS, forecast_code_version, model_modules
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.served import enter_served
from gnn_assets.defs.stage import Report, Stage, StageRun, TableShelf
from gnn_assets.defs.switching import fault_of, roll_back_for
from gnn_assets.defs.verify import config_of, recomputed
from gnn_assets.forecasts.calibrate import Calibration
from gnn_assets.forecasts.card import make_card
from gnn_assets.forecasts.checks import FORECAST_CHECKS, MODEL_CHECKS, remade_check
from gnn_assets.forecasts.schema import FORECASTS, SERVED_FORECASTS
from gnn_assets.monitoring.reasons import Reason
from gnn_assets.registry.pointer import Champion
from gnn_assets.registry.switch import PLATFORM
from gnn_assets.store.files import failpoint
from gnn_assets.store.versions import Lineage


class ForecastsShelf(TableShelf):
    """Keeps the newest session beside past ones as whoever serves would have said, and enters what was served.

    What a killed run published is entered before anything else takes its place. Degraded forecasts are never taken for
    made: the next run asks the champion.
    """

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """The table this lineage made before; serving it again is serving it."""
        enter_served(run.platform, run_id=run.run_id)
        version = super().reuse(run, lineage)
        if version is not None:
            enter_served(run.platform, run_id=run.run_id)
            enter_recovered(run, self.load(run, version))
        return version

    def publish(self, run: StageRun, artefact: pl.DataFrame, *, lineage: Lineage, data_end: date | None) -> str:
        """Stores the table, then what it serves."""
        degraded = artefact["degraded"].any()
        if degraded:
            # By another lineage than any run is begun with: it is not found, and the champion is asked.
            lineage = replace(lineage, inputs={**lineage.inputs, "served_by": artefact["served_by"][-1]})
        version = super().publish(run, artefact, lineage=lineage, data_end=data_end)
        failpoint("forecasts:published")
        enter_served(run.platform, run_id=run.run_id)
        if not degraded:
            enter_recovered(run, artefact)
        return version


def _forecasts(run: StageRun) -> pl.DataFrame:
    """The champion's expected returns for the next sessions, with interval, rank and dates, each with its card.

    The newest session is scored by the final refit; past sessions, published beside it, by the fold that had not seen
    them. Calibration uses only out-of-sample predictions whose outcome was known at the session's close. A champion is
    served by the recipe it was trained with, also when another one is configured by now. From a champion that cannot
    serve, the platform goes back to the newest former one that can; without one its best baseline stands in, `degraded`,
    and every further run asks the champion first. Where nobody may serve, the last good forecasts stay.
    """
    platform = run.platform
    champion = _served(run)
    threads = start_jax(platform)
    reason = fault_of(platform)
    opened = partial(of_champion, platform, champion, degraded=bool(reason))
    asked = attempt(run, champion, opened, checks=MODEL_CHECKS)
    if asked.fault and not _gone_back(run, champion, asked.fault):
        stand_in = best_baseline(run, champion, asked)
        reason = _reason(run, asked.fault) if stand_in else reason
        asked = stand_in or asked
    if asked.server is None or not asked.made:
        raise ModelError(f"{asked.error} {_what_was_done(run)}") from asked.error
    rows = pl.concat([_with_card(run, each, server=asked.server, threads=threads) for each in asked.made])
    if asked.server.degraded and not asked.fault:
        enter_degraded(run, rows, reason=reason)
    return rows


def _gone_back(run: StageRun, champion: Champion, fault: str) -> bool:
    """Puts the newest former champion in place that makes the same sessions' forecasts of the same market, if any does.

    Where the data are at fault nobody can, so that bad data do not walk through all of them.

    Returns:
        Whether `champion` is served no more, whoever has put another in its place meanwhile.
    """
    reason = _reason(run, fault)
    roll_back_for(run.platform, reason, version=champion.version, serves=partial(_serves, run))
    now = run.platform.champion.current()
    return now is None or now.version != champion.version


def _reason(run: StageRun, fault: str) -> str:
    return f"{Reason.BAD_OUTPUT}: {fault.removesuffix('.')} on {graphed_sessions(run)[-1]}"


def _serves(run: StageRun, former: Champion) -> bool:
    opened = partial(of_champion, run.platform, former, degraded=True)
    try:
        return not attempt(run, former, opened, checks=FORECAST_CHECKS).fault
    except (DiskFull, LockTimeout, ReadOnly):
        raise  # it may serve a moment later
    except GnnAssetsError:
        return False


def _what_was_done(run: StageRun) -> str:
    """What became of the champion this run was to serve, found unfit."""
    now = run.platform.champion.moves()[-1]
    if now.champion.by == PLATFORM and now.before and now.before.version == run.inputs["champion"]:
        return f"Gone back to {now.champion.version[:12]}, whose forecasts are made next."
    return (
        "No former champion does better on the same market, and no baseline: nothing was moved, "
        "the last good forecasts stay."
    )


def _forecasts_report(run: StageRun, forecasts: pl.DataFrame) -> Report:
    platform = run.platform
    newest: date = forecasts["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    rows = forecasts.filter(pl.col("session") == newest).sort("rank")
    card = platform.cards.get(rows["card_id"][0])
    calibration = card["calibration"]
    scored = set(rows["symbol"])
    config = config_of(card, platform.config)
    checks = session_checks(run, config, forecasts, largest_outcome=calibration["largest_outcome"])
    return Report(
        data_end=newest,
        checks=(
            *(_told(run, check) for check in checks),
            _tripwire(platform, forecasts, purge=config.execution.purge),
            served_check(platform, rows),
        ),
        metadata={
            "dagster/row_count": forecasts.height,
            "session": str(newest),
            "target": f"{rows['target_start'][0]} to {rows['target_end'][0]}",
            "champion": rows["champion"][0],
            "verdict": rows["verdict"][0],
            "status": rows["status"][0],
            "served_by": rows["served_by"][0],
            "calibration_slope": float(calibration["fitted_slope"]),
            "interval_width": float((rows["upper"] - rows["lower"]).to_numpy().mean()),
            "forecasts": table(
                rows.select("rank", "symbol", "score", "expected_return", "lower", "upper", "status"), digits=4
            ),
            "card": f"```json\n{json.dumps(card, indent=2)}\n```",
        },
        failures={symbol: "no finite score" for symbol in card["nodes"] if symbol not in scored},
    )


def _told(run: StageRun, check: Check) -> Check:
    """A check; where it judges the champion and failed, with what was done about it."""
    if not check.blocks or check.name not in MODEL_CHECKS:
        return check
    return replace(check, description=f"{check.description} {_what_was_done(run)}")


def _tripwire(platform: Platform, forecasts: pl.DataFrame, *, purge: int) -> Check:
    """The look-ahead check: one past session, drawn by the champion and the newest session, as `verify` makes it again.

    Drawn among those whose outcome is known, as far as there are any: where nothing came later, nothing could be seen.
    """
    *past, newest = forecasts["session"].unique().sort()
    drawn_from = past[: max(len(past) + 1 - purge, 0)] or past
    if not drawn_from:
        return remade_check(forecasts.clear(), forecasts.clear(), session=None)
    seed = int(json_hash([forecasts["champion"][0], str(newest)])[:16], 16)
    session = drawn_from[np.random.default_rng(seed).integers(len(drawn_from))]
    made = forecasts.filter(pl.col("session") == session)
    return remade_check(made, recomputed(platform, platform.cards.get(made["card_id"][0])), session=session)


def _served(run: StageRun) -> Champion:
    champion = run.platform.champion.current()
    if champion is None or champion.version != run.inputs["champion"]:
        raise MissingArtefact.of(
            "champion", expected=run.inputs["champion"], was=champion and champion.version, do="run the stage again"
        )
    return champion


def _with_card(run: StageRun, made: Made, *, server: Server, threads: int) -> pl.DataFrame:
    """One session's rows with their card; whatever a stored card cites is kept, retired weights too."""
    platform, config = run.platform, server.config
    sections = config.slice(*FORECAST_SECTIONS)
    read = {name: version for name, version in run.inputs.items() if name != "champion"}
    card = make_card(
        made.forecasts.rows,
        nodes=made.nodes,
        model=server.served.model,
        versions={**read, **server.cites},
        part=made.forecasts.part,
        known_at=made.known_at.isoformat(),
        code_version=forecast_code_version(config, model=server.served.model),
        config=sections,
        config_hash=json_hash(sections),
        threads=threads,
        calibration=_plain(made.forecasts.calibration),
    )
    card_id = platform.cards.put(card)
    for name, version in {**run.inputs, **server.cites}.items():
        platform.versions(name).pin(version, by=card_id)
    return made.forecasts.rows.with_columns(card_id=pl.lit(card_id))


def _plain(calibration: Calibration) -> dict[str, object]:
    return json.loads(canonical_json(asdict(calibration)))


def _asks(platform: Platform) -> dict[str, str]:
    """What a forecast says of itself beside what it was made from: whether it is late, and whether it is degraded."""
    return {"status": freshness(platform), "degraded": fault_of(platform) or "no"}


STAGES = (
    Stage(
        name="forecasts",
        group="forecasts",
        compute=_forecasts,
        report=_forecasts_report,
        shelf=ForecastsShelf(FORECASTS),
        code=("gnn_assets.forecasts.publish", "gnn_assets.forecasts.card", "gnn_assets.forecasts.verify"),
        plugins=lambda config: (*model_modules([config.models.candidate], config), measure_module(config)),
        sections=(
            *("calendar", "execution", *MODEL_GRAPH_SETTINGS, "models", "forecasts"),
            *("runtime.threads", "ages.forecasts"),
        ),
        deps=("universe", "market_bars", "returns", "correlation_graphs", "champion"),
        checks=lambda _config: (*FORECAST_CHECKS, "no_look_ahead", DEGRADED_CHECK),
        follows="correlation_graphs",
        kinds=frozenset({"jax"}),
        asks=_asks,
        table=FORECASTS,
        beside=(SERVED_FORECASTS,),
    ),
)
