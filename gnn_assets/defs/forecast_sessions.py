"""The forecasts of the sessions that are published, by whoever is asked: the champion, a former one, or a baseline."""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, RETURNS, UNIVERSE
from gnn_assets.bars.universe import symbols_of
from gnn_assets.core.checks import Check
from gnn_assets.core.config import Config
from gnn_assets.core.errors import (
    ConfigError,
    CorruptArtefact,
    MissingArtefact,
    ModelError,
    PluginError,
    PredictionFailed,
    SchemaMismatch,
    WeightsMismatch,
)
from gnn_assets.core.sessions import age
from gnn_assets.defs.market import panel_of
from gnn_assets.defs.models import WEIGHTS, dataset_of
from gnn_assets.defs.recipe import champion_config, served_champion
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import StageRun, core_symbols
from gnn_assets.forecasts.checks import forecast_checks
from gnn_assets.forecasts.publish import Market, Served, SessionForecasts, forecast_session, sessions_to_publish
from gnn_assets.forecasts.verify import market_at, sources_on
from gnn_assets.graphs.schema import CORRELATION_GRAPHS
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.schema import MOMENT

STALE = "stale"


@dataclass(frozen=True)
class Made:
    """One session's forecasts.

    Args:
        forecasts: rows and what made them.
        nodes: of the graph.
        known_at: moment up to which bars and revisions counted.
    """

    forecasts: SessionForecasts
    nodes: tuple[str, ...]
    known_at: datetime


@dataclass(frozen=True)
class Server:
    """Who makes forecasts.

    Args:
        served: model, weights and predictions, opened.
        config: the configuration it is served by.
        cites: asset → version of what it is served from beside the run's inputs, kept for as long as its cards are.
        degraded: whether it is not the champion that the gate or a person chose.
    """

    served: Served
    config: Config
    cites: Mapping[str, str]
    degraded: bool


@dataclass(frozen=True)
class Attempt:
    """What came of asking somebody for the forecasts of every session to publish.

    Args:
        server: who; None where it could not be opened.
        made: the forecasts; empty where it could make none.
        fault: why nobody may act on them; empty where somebody may.
        error: what stopped it; None where it was not stopped.
    """

    server: Server | None
    made: Sequence[Made]
    fault: str
    error: ModelError | None = None


def of_champion(platform: Platform, champion: Champion, *, degraded: bool) -> Server:
    """The champion, or a former one.

    Raises:
        ModelError: if its weights or predictions are not whole.
    """
    with _its_own(champion):
        return Server(
            served=served_champion(platform, champion),
            config=champion_config(platform, champion),
            cites={WEIGHTS: champion.version, OOS_PREDICTIONS.name: champion.oos_predictions},
            degraded=degraded,
        )


def attempt(run: StageRun, champion: Champion, opened: Callable[[], Server], *, checks: Collection[str]) -> Attempt:
    """Has somebody make the forecasts.

    Args:
        run: the materialization.
        champion: whose bundle it is served from, for the sentence.
        opened: gives who is asked.
        checks: names of those whose failure is a fault of it.

    Raises:
        GnnAssetsError: what is the fault of the data, of a lock or of a disk.
    """
    server = None
    try:
        server = opened()
        made = _made_by(run, champion, server)
    except ModelError as error:
        return Attempt(server, (), f"no forecasts: {error}", error)
    newest = made[-1].forecasts
    rows = pl.concat([each.forecasts.rows for each in made])
    found = session_checks(run, server.config, rows, largest_outcome=newest.calibration.largest_outcome)
    broken = [check for check in found if check.blocks and check.name in checks]
    return Attempt(server, made, f"{broken[0].name} {broken[0].value} > {broken[0].threshold}" if broken else "")


def session_checks(run: StageRun, config: Config, rows: pl.DataFrame, *, largest_outcome: float) -> tuple[Check, ...]:
    """The checks of some forecasts, by the configuration they were made by."""
    newest: date = rows["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    return forecast_checks(
        rows,
        session=newest,
        calendar=run.platform.calendar,
        execution=config.execution,
        symbols=symbols_of(run.read(UNIVERSE), "core"),
        largest_outcome=largest_outcome,
        min_symbol_share=config.gate.min_symbol_share,
    )


def _made_by(run: StageRun, champion: Champion, server: Server) -> list[Made]:
    """The forecasts of every session to publish.

    Raises:
        ModelError: if weights or predictions are not whole, or do not fit; faults of the data keep their own kind.
    """
    platform, served, config = run.platform, server.served, server.config
    sessions = _sessions(run, server)
    moments = _moments(run, sessions)
    market_of = _market(run, config, moments)
    made = []
    for number, session in enumerate(sessions):
        market = market_of(session)
        with _its_own(champion):
            forecasts = forecast_session(
                session,
                served=served,
                market=market,
                calendar=platform.calendar,
                config=config,
                # Only the newest session can be late: the others are history.
                status=_status(platform, server, newest=session == sessions[-1]),
                degraded=server.degraded,
            )
        made.append(Made(forecasts=forecasts, nodes=market.data.symbols, known_at=moments[session]))
        told = f"{session}: {forecasts.rows.height} forecasts by {forecasts.part} of {champion.version[:12]}"
        run.progress((number + 1) / len(sessions), told)
    return made


def _sessions(run: StageRun, server: Server) -> list[date]:
    history, graphed = server.config.forecasts.history_sessions, graphed_sessions(run)
    if server.served.untrained:
        return graphed[-(history + 1) :]
    return sessions_to_publish(graphed, facts=server.served.facts, model=server.served.model, history=history)


def _status(platform: Platform, server: Server, *, newest: bool) -> str:
    late = newest and freshness(platform) == STALE
    return STALE if late else "degraded" if server.degraded else "ok"


@contextmanager
def _its_own(champion: Champion) -> Generator[None]:
    """Says of what is gone, damaged, raising or of another shape that it is the champion's."""
    try:
        yield
    except (
        *(ConfigError, CorruptArtefact, MissingArtefact, ModelError, PluginError, SchemaMismatch),
        WeightsMismatch,
    ) as error:
        kind = PredictionFailed if isinstance(error, PredictionFailed) else ModelError
        raise kind(f"champion {champion.version[:12]} cannot forecast: {error}") from error


def graphed_sessions(run: StageRun) -> list[date]:
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


def freshness(platform: Platform) -> str:
    """What the newest forecasts are: ``ok``, or ``stale`` when their session is older than the limit."""
    current = platform.versions(CORRELATION_GRAPHS.name).current()
    manifest = platform.lake.manifest(CORRELATION_GRAPHS, current.version) if current else None
    data_end = manifest.data_end if manifest else None
    old = age(data_end, now=platform.clock.now(), calendar=platform.calendar)
    return STALE if old > timedelta(hours=platform.config.ages["forecasts"].age_hours) else "ok"
