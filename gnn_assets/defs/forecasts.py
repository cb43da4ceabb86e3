"""The asset of the forecasts stage: forecasts, a card for each session, the sessions' past beside the newest."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from functools import partial

import numpy as np
import polars as pl

from gnn_assets.bars.schema import UNIVERSE
from gnn_assets.bars.universe import symbols_of
from gnn_assets.core.checks import Check
from gnn_assets.core.config import Config
from gnn_assets.core.errors import (
    DiskFull,
    GnnAssetsError,
    LockTimeout,
    MissingArtefact,
    ModelError,
    ReadOnly,
)
from gnn_assets.core.hashing import canonical_json, json_hash
from gnn_assets.defs.forecast_sessions import Made, freshness, graphed_sessions, made_by
from gnn_assets.defs.graphs import measure_module
from gnn_assets.defs.models import WEIGHTS, start_jax
from gnn_assets.defs.plots import table
from gnn_assets.defs.recipe import (
    FORECAST_SECTIONS,
    MODEL_GRAPH_SETTINGS,
    champion_config,
    forecast_code_version,
    model_modules,
)
from gnn_assets.defs.served import enter_served
from gnn_assets.defs.stage import Report, Stage, StageRun, TableShelf
from gnn_assets.defs.switching import roll_back_for
from gnn_assets.defs.verify import recomputed
from gnn_assets.forecasts.calibrate import Calibration
from gnn_assets.forecasts.card import make_card
from gnn_assets.forecasts.checks import MODEL_CHECKS, forecast_checks, remade_check
from gnn_assets.forecasts.schema import FORECASTS, SERVED_FORECASTS
from gnn_assets.monitoring.reasons import Reason
from gnn_assets.registry.pointer import Champion
from gnn_assets.registry.switch import PLATFORM
from gnn_assets.store.files import failpoint
from gnn_assets.store.versions import Lineage


class ForecastsShelf(TableShelf):
    """Keeps the newest session beside past ones as the present champion would have said, and enters what was served.

    What a killed run published is entered before anything else takes its place.
    """

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """The table this lineage made before; serving it again is serving it."""
        enter_served(run.platform, run_id=run.run_id)
        version = super().reuse(run, lineage)
        if version is not None:
            enter_served(run.platform, run_id=run.run_id)
        return version

    def publish(self, run: StageRun, artefact: pl.DataFrame, *, lineage: Lineage, data_end: date | None) -> str:
        """Stores the table, then what it serves."""
        version = super().publish(run, artefact, lineage=lineage, data_end=data_end)
        failpoint("forecasts:published")
        enter_served(run.platform, run_id=run.run_id)
        return version


def _forecasts(run: StageRun) -> pl.DataFrame:
    """The champion's expected returns for the next sessions, with interval, rank and dates, each with its card.

    The newest session is scored by the final refit; past sessions, published beside it, by the fold that had not seen
    them. Calibration uses only out-of-sample predictions whose outcome was known at the session's close. A champion is
    served by the recipe it was trained with, also when another one is configured by now. From a champion that cannot
    serve, the platform goes back to the newest former one that can; until then the last good forecasts stay.
    """
    platform = run.platform
    champion = _served(run)
    threads = start_jax(platform)
    try:
        made = made_by(run, champion)
    except ModelError as fault:
        _go_back(run, champion, f"no forecasts: {fault}")
        raise ModelError(f"{fault} {_what_was_done(run)}") from fault
    broken = [check for check in _checks(run, champion, made) if check.blocks and check.name in MODEL_CHECKS]
    if broken:
        _go_back(run, champion, f"{broken[0].name} {broken[0].value} > {broken[0].threshold}")
    config = champion_config(platform, champion)
    frames = []
    for each in made:
        card_id = platform.cards.put(_card(run, each, champion=champion, config=config, threads=threads))
        _pin(run, champion, card_id)
        frames.append(each.forecasts.rows.with_columns(card_id=pl.lit(card_id)))
    return pl.concat(frames)


def _checks(run: StageRun, champion: Champion, made: Sequence[Made]) -> tuple[Check, ...]:
    newest = made[-1].forecasts
    rows = pl.concat([each.forecasts.rows for each in made])
    return _checked(run, champion, rows, largest_outcome=newest.calibration.largest_outcome)


def _checked(run: StageRun, champion: Champion, rows: pl.DataFrame, *, largest_outcome: float) -> tuple[Check, ...]:
    platform, config = run.platform, champion_config(run.platform, champion)
    newest: date = rows["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    return forecast_checks(
        rows,
        session=newest,
        calendar=platform.calendar,
        execution=config.execution,
        symbols=symbols_of(run.read(UNIVERSE), "core"),
        largest_outcome=largest_outcome,
        min_symbol_share=config.gate.min_symbol_share,
    )


def _go_back(run: StageRun, champion: Champion, fault: str) -> None:
    """Puts the newest former champion in place that makes the same sessions' forecasts of the same market, if any does.

    Where the data are at fault nobody can, so that bad data do not walk through all of them.
    """
    reason = f"{Reason.BAD_OUTPUT}: {fault.removesuffix('.')} on {graphed_sessions(run)[-1]}"
    roll_back_for(run.platform, reason, version=champion.version, serves=partial(_serves, run))


def _serves(run: StageRun, former: Champion) -> bool:
    try:
        made = made_by(run, former)
    except (DiskFull, LockTimeout, ReadOnly):
        raise  # it may serve a moment later
    except GnnAssetsError:
        return False
    return not any(check.blocks for check in _checks(run, former, made))


def _what_was_done(run: StageRun) -> str:
    """What became of the champion this run was to serve, found unfit."""
    now = run.platform.champion.moves()[-1]
    if now.champion.by == PLATFORM and now.before and now.before.version == run.inputs["champion"]:
        return f"Gone back to {now.champion.version[:12]}, whose forecasts are made next."
    return "No former champion does better on the same market: nothing was moved, the last good forecasts stay."


def _forecasts_report(run: StageRun, forecasts: pl.DataFrame) -> Report:
    platform, champion = run.platform, _recorded(run)
    newest: date = forecasts["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    rows = forecasts.filter(pl.col("session") == newest).sort("rank")
    card = platform.cards.get(rows["card_id"][0])
    calibration = card["calibration"]
    scored = set(rows["symbol"])
    checks = _checked(run, champion, forecasts, largest_outcome=calibration["largest_outcome"])
    return Report(
        data_end=newest,
        checks=(*(_told(run, check) for check in checks), _tripwire(run, champion, forecasts)),
        metadata={
            "dagster/row_count": forecasts.height,
            "session": str(newest),
            "target": f"{rows['target_start'][0]} to {rows['target_end'][0]}",
            "champion": rows["champion"][0],
            "verdict": rows["verdict"][0],
            "status": rows["status"][0],
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


def _tripwire(run: StageRun, champion: Champion, forecasts: pl.DataFrame) -> Check:
    """The look-ahead check: one past session, drawn by the champion and the newest session, as `verify` makes it again.

    Drawn among those whose outcome is known, as far as there are any: where nothing came later, nothing could be seen.
    """
    platform = run.platform
    *past, newest = forecasts["session"].unique().sort()
    purge = champion_config(platform, champion).execution.purge
    drawn_from = past[: max(len(past) + 1 - purge, 0)] or past
    if not drawn_from:
        return remade_check(forecasts.clear(), forecasts.clear(), session=None)
    seed = int(json_hash([champion.version, str(newest)])[:16], 16)
    session = drawn_from[np.random.default_rng(seed).integers(len(drawn_from))]
    made = forecasts.filter(pl.col("session") == session)
    return remade_check(made, recomputed(platform, platform.cards.get(made["card_id"][0])), session=session)


def _recorded(run: StageRun) -> Champion:
    """The champion this run was to serve, whoever is served by now."""
    moves = reversed(run.platform.champion.moves())
    return next(move.champion for move in moves if move.champion.version == run.inputs["champion"])


def _served(run: StageRun) -> Champion:
    champion = run.platform.champion.current()
    if champion is None or champion.version != run.inputs["champion"]:
        raise MissingArtefact.of(
            "champion", expected=run.inputs["champion"], was=champion and champion.version, do="run the stage again"
        )
    return champion


def _card(
    run: StageRun,
    made: Made,
    *,
    champion: Champion,
    config: Config,
    threads: int,
) -> dict[str, object]:
    sections = config.slice(*FORECAST_SECTIONS)
    return make_card(
        made.forecasts.rows,
        nodes=made.nodes,
        versions={
            **{name: version for name, version in run.inputs.items() if name != "champion"},
            WEIGHTS: champion.version,
            "oos_predictions": champion.oos_predictions,
        },
        part=made.forecasts.part,
        known_at=made.known_at.isoformat(),
        code_version=forecast_code_version(config),
        config=sections,
        config_hash=json_hash(sections),
        threads=threads,
        calibration=_plain(made.forecasts.calibration),
    )


def _plain(calibration: Calibration) -> dict[str, object]:
    return json.loads(canonical_json(asdict(calibration)))


def _pin(run: StageRun, champion: Champion, card_id: str) -> None:
    """Whatever a stored card cites is kept: retired weights too."""
    platform = run.platform
    cited = {**run.inputs, WEIGHTS: champion.version, "oos_predictions": champion.oos_predictions}
    for name, version in cited.items():
        platform.versions(name).pin(version, by=card_id)


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
        checks=lambda _config: (
            "forecasts_finite",
            "forecasts_in_interval",
            "forecasts_in_range",
            "forecasts_dated",
            "graph_is_fresh",
            "symbols_covered",
            "no_look_ahead",
        ),
        follows="correlation_graphs",
        kinds=frozenset({"jax"}),
        asks=lambda platform: {"status": freshness(platform)},
        table=FORECASTS,
        beside=(SERVED_FORECASTS,),
    ),
)
