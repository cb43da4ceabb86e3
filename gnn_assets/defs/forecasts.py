"""The asset of the forecasts stage: forecasts, a card for each session, the sessions' past beside the newest."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta

import polars as pl

from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, RETURNS, UNIVERSE
from gnn_assets.bars.universe import symbols_of
from gnn_assets.core.config import Config
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.core.hashing import canonical_json, json_hash
from gnn_assets.core.sessions import age
from gnn_assets.defs.graphs import measure_module
from gnn_assets.defs.market import panel_of
from gnn_assets.defs.models import WEIGHTS, dataset_of, start_jax
from gnn_assets.defs.plots import table
from gnn_assets.defs.recipe import (
    FORECAST_SECTIONS,
    MODEL_GRAPH_SETTINGS,
    champion_config,
    forecast_code_version,
    model_modules,
    served_champion,
)
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Report, Stage, StageRun, TableShelf, core_symbols
from gnn_assets.forecasts.calibrate import Calibration
from gnn_assets.forecasts.card import make_card
from gnn_assets.forecasts.checks import forecast_checks
from gnn_assets.forecasts.publish import Market, SessionForecasts, forecast_session, sessions_to_publish
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.forecasts.verify import market_at, sources_on
from gnn_assets.graphs.schema import CORRELATION_GRAPHS
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.schema import MOMENT


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
    moments = _moments(run, sessions)
    market_of = _market(run, config, moments)
    frames = []
    for number, session in enumerate(sessions):
        market = market_of(session)
        made = forecast_session(
            session,
            served=served,
            market=market,
            calendar=platform.calendar,
            config=config,
            # Only the newest session can be late: the others are history.
            status=_freshness(platform) if session == sessions[-1] else "ok",
        )
        card_id = platform.cards.put(
            _card(
                run,
                made,
                champion=champion,
                config=config,
                nodes=market.data.symbols,
                known_at=moments[session],
                threads=threads,
            )
        )
        _pin(run, champion, card_id)
        frames.append(made.rows.with_columns(card_id=pl.lit(card_id)))
        run.progress((number + 1) / len(sessions), f"{session}: {made.rows.height} forecasts by {made.part}")
    return pl.concat(frames)


def _graphed_sessions(run: StageRun) -> list[date]:
    """Sessions up to the newest that has a graph: returns may be a session ahead, and then it is not forecast yet."""
    known: date = run.read(CORRELATION_GRAPHS)["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    return [session for session in panel_of(run.platform, run.inputs[RETURNS.name]).sessions if session <= known]


def _moments(run: StageRun, sessions: Sequence[date]) -> dict[date, datetime]:
    """Moment up to which bars and revisions count for each session: now for the newest, its own for a past one."""
    past = {session: run.platform.calendar.available_at(session) for session in sessions[:-1]}
    return {**past, sessions[-1]: run.platform.clock.now()}


def _market(run: StageRun, config: Config, moments: Mapping[date, datetime]) -> Callable[[date], Market]:
    """Gives the market as it was known for a session, as the configuration wants it.

    The stored returns and graphs are those of now. Where the champion's recipe is another, or where something that
    they hold became known only after a past session, its market is made from the bars of its own moment.
    """
    platform, symbols = run.platform, core_symbols(run)
    bars, actions = run.read(MARKET_BARS), platform.lake.read(CORPORATE_ACTIONS)

    def made_anew(session: date) -> Market:
        return market_at(
            session,
            symbols=symbols,
            known_at=moments[session],
            bars=bars,
            actions=actions,
            universe=run.read(UNIVERSE),
            exchanges=platform.exchanges,
            config=config,
        )

    if config != run.config:
        return made_anew
    data = dataset_of(platform, run.inputs, symbols=symbols, config=config)
    panel = panel_of(platform, run.inputs[RETURNS.name])
    fill_returns_TxN = panel.values("fill_return", sessions=data.sessions, symbols=data.symbols)
    returns = run.read(RETURNS)

    def market(session: date) -> Market:
        late = (pl.col("session") <= session) & (pl.col("known_at") > pl.lit(moments[session], dtype=MOMENT))
        news = late & (pl.col("known_at") == pl.col("fetched_at"))
        if not (bars.filter(news).is_empty() and actions.filter(news).is_empty()):
            return made_anew(session)
        return Market(data=data, fill_returns_TxN=fill_returns_TxN, sources=sources_on(session, returns))

    return market


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
    run: StageRun,
    made: SessionForecasts,
    *,
    champion: Champion,
    config: Config,
    nodes: tuple[str, ...],
    known_at: datetime,
    threads: int,
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
        known_at=known_at.isoformat(),
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
        ),
        follows="correlation_graphs",
        kinds=frozenset({"jax"}),
        asks=lambda platform: {"status": _freshness(platform)},
        table=FORECASTS,
    ),
)
