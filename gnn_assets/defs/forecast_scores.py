"""The asset forecast_scores: what was served beside what happened, and beside what other versions say meanwhile."""

from collections.abc import Collection, Mapping
from datetime import date
from functools import partial

import dagster as dg
import polars as pl

from gnn_assets.bars.schema import RETURNS, UNIVERSE
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.defs.graphs import measure_module
from gnn_assets.defs.market import bars_of, panel_of
from gnn_assets.defs.plots import lines, table
from gnn_assets.defs.recipe import MODEL_GRAPH_SETTINGS, model_modules
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.shadows import LEFT_OUT, scored_shadows, shadow_differences, shadows_of
from gnn_assets.defs.stage import Report, Stage, StageRun, TableShelf
from gnn_assets.forecasts.fallback import by_scorer
from gnn_assets.forecasts.live_portfolio import live_portfolio, live_sharpe, no_portfolio
from gnn_assets.forecasts.live_scores import forecast_scores, live_measures
from gnn_assets.forecasts.schema import FORECAST_SCORES, FORECASTS, SERVED_FORECASTS
from gnn_assets.forecasts.score_checks import no_look_ahead, score_checks
from gnn_assets.forecasts.shadow import choices, role_of, session_ics, shadow_ledger

_SHADOWS = "shadows"
_SHOWN = 12  # digits of a version that people see


def served_portfolio(platform: Platform, *, version: str | None = None) -> pl.DataFrame:
    """What the served forecasts would have earned, from stored tables.

    Args:
        platform: the opened platform.
        version: of forecast_scores; the current one when None.

    Returns:
        What `live_portfolio` returns: ``session``, ``net``, ``net_equal_weight``; no rows before the first fill.

    Raises:
        MissingArtefact: if no scores of that version were published, or what they were made from is gone.
        CorruptArtefact: if a table is damaged.
    """
    made = next(
        (one for one in platform.versions(FORECAST_SCORES.name).good() if version in {None, one.version}),
        None,
    )
    if made is None or made.lineage is None:
        raise MissingArtefact.of(
            FORECAST_SCORES.name,
            expected=f"a publication{f' of version {version}' if version else ''}",
            was="none",
            do="materialize forecast_scores first",
        )
    scores = platform.lake.read(FORECAST_SCORES, version=made.version)
    return _portfolio(platform, scores.filter("served"), inputs=made.lineage.inputs)


def _portfolio(platform: Platform, rows: pl.DataFrame, *, inputs: Mapping[str, str]) -> pl.DataFrame:
    """What some scored forecasts would have earned, one version a session; empty without any."""
    if rows.is_empty():
        return no_portfolio()
    config, returns = platform.config, inputs[RETURNS.name]
    sessions = panel_of(platform, returns).sessions
    first: date = rows["session"].min()  # ty: ignore[invalid-assignment] - a Date column
    return live_portfolio(
        rows.rename({"version": "champion"}),
        platform.lake.read(RETURNS, version=returns, columns=("session", "symbol", "held_return"), first=first),
        bars_of(platform, returns, sessions=sessions, symbols=rows["symbol"].unique().sort().to_list()),
        session=sessions[-1],
        execution=config.execution,
        config=config.backtests,
        universe=platform.lake.read(UNIVERSE, version=inputs[UNIVERSE.name]),
        calendar=platform.calendar,
    )


def _forecast_scores(run: StageRun) -> pl.DataFrame:
    """Each forecast beside its outcome: what was served, what would have been, what other versions say meanwhile.

    What was served at a session stays what it was, whoever is champion later. Sessions that nobody was served on are
    the present champion's, each made from nothing later than itself. The champion and the newest other versions, former
    champions and refused candidates, are scored by their final refits on all other sessions since their own data ended.
    """
    models = {move.champion.version: move.champion.model for move in run.platform.champion.moves()}
    served, forecasts = (by_scorer(rows, models) for rows in (_served(run), run.read(FORECASTS)))
    history = forecasts.filter(~pl.col("session").is_in(served["session"].unique().to_list()))
    # Before it was served, and while another was, the champion is a shadow like any other.
    shadows = scored_shadows(run, [run.inputs["champion"], *run.lineage.inputs[_SHADOWS].split()])
    returns, session = _returns(run)
    score = partial(
        forecast_scores,
        returns=returns,
        session=session,
        sessions=run.platform.calendar.sessions,
        execution=run.config.execution,
    )
    heard = pl.concat([served, history]).select("session", "champion").unique()
    unheard = [rows.join(heard, on=("session", "champion"), how="anti") for rows in shadows]
    frames = [score(served, served=True), *(score(rows, served=False) for rows in (history, *unheard))]
    return FORECAST_SCORES.conform(pl.concat(frames))


def _served(run: StageRun) -> pl.DataFrame:
    """All that was served by the start of this run."""
    version = run.lineage.inputs[SERVED_FORECASTS.name]
    if version == "none":
        return SERVED_FORECASTS.empty()
    return run.platform.lake.read(SERVED_FORECASTS, version=version)


def _returns(run: StageRun) -> tuple[pl.DataFrame, date]:
    """What outcomes are made from, and its last session."""
    returns = run.read(RETURNS, columns=["session", "symbol", "fill_return"])
    return returns, returns["session"].max()  # ty: ignore[invalid-explicit-return] - a Date column


def _asks(platform: Platform) -> dict[str, str]:
    served = platform.versions(SERVED_FORECASTS.name).current()
    shadows = [version for version, reason in shadows_of(platform).items() if not reason]
    return {SERVED_FORECASTS.name: served.version if served else "none", _SHADOWS: " ".join(shadows)}


def _forecast_scores_report(run: StageRun, scores: pl.DataFrame) -> Report:
    platform, config = run.platform, run.config
    returns, newest = _returns(run)
    others = shadows_of(platform)
    roles = _roles(run, {*scores["version"], *others})
    checks = score_checks(scores, session=newest, min_outcome_share=config.bars.min_symbol_coverage)
    wire = no_look_ahead(
        scores,
        returns,
        session=platform.last_session,
        sessions=platform.calendar.sessions,
        execution=config.execution,
        others=shadow_differences(run, scores),
    )
    return Report(
        data_end=scores["session"].max(),  # ty: ignore[invalid-argument-type] - a Date column
        checks=(*checks, wire),
        metadata={
            "dagster/row_count": scores.height,
            "served_sessions": scores.filter("served")["session"].n_unique(),
            "live_measures": _measures(run, scores, roles, session=newest),
            "shadows": _shadows(run, scores, roles, others),
            "shadow_ledger": _ledger(run, scores),
            **_pictures(run, scores, roles),
        },
    )


def _roles(run: StageRun, versions: Collection[str]) -> dict[str, str]:
    """Version → what it is today."""
    platform, champion = run.platform, run.inputs["champion"]
    former = [move.champion.version for move in platform.champion.moves()]
    events = platform.ledger.read("events")
    return {version: role_of(version, champion=champion, former=former, events=events) for version in sorted(versions)}


def _measures(
    run: StageRun, scores: pl.DataFrame, roles: Mapping[str, str], *, session: date
) -> dg.MarkdownMetadataValue:
    measures = live_measures(
        scores, session=session, sessions=run.platform.calendar.sessions, window=run.config.live.window_sessions
    )
    role = pl.col("version").replace_strict(dict(roles), return_dtype=pl.String).alias("role")
    shown = measures.select(pl.col("version").str.head(_SHOWN), role, pl.exclude("session", "version"))
    return table(shown, digits=4)


def _shadows(
    run: StageRun, scores: pl.DataFrame, roles: Mapping[str, str], others: Mapping[str, str]
) -> dg.MarkdownMetadataValue:
    """Each shadow: on how many sessions it was scored, or why on none."""
    told = [event for event in run.platform.ledger.read("events") if event["event"] == LEFT_OUT]
    failed = {event["candidate"]: event["reason"] for event in told}
    rows = []
    for version, reason in others.items():
        own = scores.filter(pl.col("version") == version, ~pl.col("served"))["session"].n_unique()
        left_out = reason or ("" if own else failed.get(version, "no session since its data ended"))
        rows.append((version[:_SHOWN], roles[version], own, left_out))
    return table(pl.DataFrame(rows, schema=["version", "role", "sessions", "left out"], orient="row"), digits=0)


def _ledger(run: StageRun, scores: pl.DataFrame) -> dg.MarkdownMetadataValue:
    platform = run.platform
    ledger = shadow_ledger(
        choices(platform.ledger.read("events"), calendar=platform.calendar),
        scores,
        portfolio=lambda rows: _portfolio(platform, rows, inputs=run.inputs),
    )
    return table(ledger.with_columns(pl.col("chosen", "other").str.head(_SHOWN)).reverse(), digits=4)


def _pictures(run: StageRun, scores: pl.DataFrame, roles: Mapping[str, str]) -> dict[str, dg.MarkdownMetadataValue]:
    config = run.config
    sharpe = live_sharpe(
        _portfolio(run.platform, scores.filter("served"), inputs=run.inputs),
        live=config.live,
        sessions_per_year=config.backtests.sessions_per_year,
    )
    names = {"sharpe": "served", "benchmark": "equal weight", "limit": f"limit, max({config.live.sharpe_ratio:g} b, b)"}
    # A column for each version; where it has no outcome its line has a hole.
    ics = session_ics(scores).pivot("version", index="session", values="cumulated").sort("session")
    return {
        "running_sharpe": lines(
            sharpe["session"].to_list(),
            {name: sharpe[column].to_numpy() for column, name in names.items()},
            title=f"Net Sharpe ratio of what was served, over {config.live.window_sessions} sessions",
            x_label="session",
            y_label="Sharpe ratio, a year",
        ),
        "cumulated_ic": lines(
            ics["session"].to_list(),
            {f"{roles[name]} {name[:_SHOWN]}": ics[name].to_numpy() for name in ics.columns if name != "session"},
            title="Information coefficient of each version, cumulated over the sessions it has scored",
            x_label="session",
            y_label="sum of ICs",
        ),
    }


STAGE = Stage(
    name=FORECAST_SCORES.name,
    group="forecasts",
    compute=_forecast_scores,
    report=_forecast_scores_report,
    shelf=TableShelf(FORECAST_SCORES),
    code=("gnn_assets.forecasts.live_scores", "gnn_assets.forecasts.shadow", "gnn_assets.models.candidate"),
    plugins=lambda config: (*model_modules([config.models.candidate], config), measure_module(config)),
    sections=(
        *("calendar", "execution", *MODEL_GRAPH_SETTINGS, "models", "universe"),
        *("runtime.threads", "live.shadows", "live.shadow_sessions"),
    ),
    deps=("universe", "returns", "correlation_graphs", "champion", "forecasts"),
    checks=lambda _config: ("scores_finite", "outcomes_known", "no_look_ahead"),
    kinds=frozenset({"jax", "polars"}),
    asks=_asks,
    table=FORECAST_SCORES,
)

STAGES = (STAGE,)
