"""The asset of the forecasts stage: forecasts, a card for each session, the sessions' past beside the newest."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta
from functools import partial

import numpy as np
import polars as pl

from gnn_assets.bars.schema import MARKET_BARS, RETURNS, UNIVERSE
from gnn_assets.bars.universe import symbols_of
from gnn_assets.core.config import Config
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.core.hashing import canonical_json, json_hash
from gnn_assets.core.sessions import age
from gnn_assets.defs.models import WEIGHTS, core_symbols, dataset_of, start_jax
from gnn_assets.defs.plots import table
from gnn_assets.defs.recipe import FORECAST_SECTIONS, ZOO, champion_config, forecast_code_version, served_champion
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Report, Stage, StageRun, TableShelf
from gnn_assets.forecasts.calibrate import Calibration
from gnn_assets.forecasts.card import make_card
from gnn_assets.forecasts.checks import forecast_checks
from gnn_assets.forecasts.publish import SessionForecasts, forecast_session, sessions_to_publish
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.forecasts.verify import market_at
from gnn_assets.graphs.schema import CORRELATION_GRAPHS
from gnn_assets.models.dataset import Dataset
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.panel import to_panel


def _forecasts(run: StageRun) -> pl.DataFrame:
    """The champion's expected returns for the next sessions, with interval, rank and dates, each with its card.

    The newest session is scored by the final refit; past sessions, published beside it, by the fold that had not seen
    them. Calibration uses only out-of-sample predictions whose outcome was known at the session's close. A champion is
    served by the recipe it was trained with, also when another one is configured by now.
    """
    platform = run.platform
    champion = _served(run)
    config = champion_config(platform, champion)
    threads = start_jax(platform)
    served = served_champion(platform, champion)
    sessions = sessions_to_publish(
        _graphed_sessions(run),
        facts=served.facts,
        model=served.model,
        history=config.forecasts.history_sessions,
    )
    market_of = _market(run, config)
    frames = []
    for number, session in enumerate(sessions):
        data, fill_returns_TxN = market_of(session)
        made = forecast_session(
            session,
            served=served,
            data=data,
            fill_returns_TxN=fill_returns_TxN,
            calendar=platform.calendar,
            config=config,
            # Only the newest session can be late: the others are history.
            status=_freshness(platform) if session == sessions[-1] else "ok",
        )
        card_id = platform.cards.put(
            _card(run, made, champion=champion, config=config, nodes=data.symbols, threads=threads)
        )
        _pin(run, champion, card_id)
        frames.append(made.rows.with_columns(card_id=pl.lit(card_id)))
        run.progress((number + 1) / len(sessions), f"{session}: {made.rows.height} forecasts by {made.part}")
    return pl.concat(frames)


def _graphed_sessions(run: StageRun) -> list[date]:
    """Sessions up to the newest that has a graph: returns may be a session ahead, and then it is not forecast yet."""
    known: date = run.read(CORRELATION_GRAPHS)["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    return [session for session in run.platform.sessions_of(run.read(RETURNS)) if session <= known]


def _market(run: StageRun, config: Config) -> Callable[[date], tuple[Dataset, np.ndarray]]:
    """Gives features, graph and fill returns for a session, as the configuration wants them."""
    symbols = core_symbols(run)
    if config == run.config:
        data = dataset_of(run.platform, run.inputs, symbols=symbols, config=config)
        fill_returns = to_panel(run.read(RETURNS), "fill_return", sessions=data.sessions, symbols=data.symbols)
        return lambda _session: (data, fill_returns)
    # The stored returns and graphs are of the recipe that is configured now.
    return partial(
        market_at,
        symbols=symbols,
        known_at=run.platform.clock.now(),
        bars=run.read(MARKET_BARS),
        universe=run.read(UNIVERSE),
        calendar=run.platform.calendar,
        config=config,
    )


def _forecasts_report(run: StageRun, forecasts: pl.DataFrame) -> Report:
    platform, config = run.platform, champion_config(run.platform, _served(run))
    newest: date = forecasts["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    rows = forecasts.filter(pl.col("session") == newest).sort("rank")
    card = platform.cards.get(rows["card_id"][0])
    calibration = card["calibration"]
    scored = set(rows["symbol"])
    return Report(
        data_end=newest,
        checks=forecast_checks(
            forecasts,
            session=newest,
            calendar=platform.calendar,
            execution=config.execution,
            symbols=symbols_of(run.read(UNIVERSE), "core"),
            largest_outcome=calibration["largest_outcome"],
            min_symbol_share=config.gate.min_symbol_share,
        ),
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


def _served(run: StageRun) -> Champion:
    champion = run.platform.champion.current()
    if champion is None or champion.version != run.inputs["champion"]:
        raise MissingArtefact.of(
            "champion", expected=run.inputs["champion"], was=champion and champion.version, do="run the stage again"
        )
    return champion


def _freshness(platform: Platform) -> str:
    """What the newest forecasts are: ``ok``, or ``stale`` when their session is older than the limit."""
    current = platform.versions(CORRELATION_GRAPHS.name).current()
    manifest = platform.lake.manifest(CORRELATION_GRAPHS, current.version) if current else None
    data_end = manifest.data_end if manifest else None
    old = age(data_end, now=platform.clock.now(), calendar=platform.calendar)
    return "stale" if old > timedelta(hours=platform.config.ages["forecasts"].age_hours) else "ok"


def _card(
    run: StageRun, made: SessionForecasts, *, champion: Champion, config: Config, nodes: tuple[str, ...], threads: int
) -> dict[str, object]:
    sections = config.slice(*FORECAST_SECTIONS)
    return make_card(
        made.rows,
        nodes=nodes,
        versions={
            **{name: version for name, version in run.inputs.items() if name != "champion"},
            WEIGHTS: champion.version,
            "oos_predictions": champion.oos_predictions,
        },
        part=made.part,
        known_at=run.platform.clock.now().isoformat(),
        code_version=forecast_code_version(config),
        config=sections,
        config_hash=json_hash(sections),
        threads=threads,
        calibration=_plain(made.calibration),
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
        shelf=TableShelf(FORECASTS),
        code=("gnn_assets.forecasts.publish", "gnn_assets.forecasts.card", "gnn_assets.forecasts.verify"),
        plugins=lambda config: (f"{ZOO}.{config.models.candidate}",),
        sections=("calendar", "execution", "graphs", "models", "forecasts", "runtime.threads", "ages.forecasts"),
        deps=("universe", "market_bars", "returns", "correlation_graphs", "champion"),
        checks=lambda _config: (
            "forecasts_finite",
            "forecasts_in_interval",
            "forecasts_in_range",
            "forecasts_dated",
            "graph_is_fresh",
            "symbols_covered",
        ),
        follows="correlation_graphs",
        kinds=frozenset({"jax"}),
        asks=lambda platform: {"status": _freshness(platform)},
        table=FORECASTS,
    ),
)
