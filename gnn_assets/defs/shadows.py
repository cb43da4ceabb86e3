"""Versions that are not served, scored on the sessions since their own data ended: former champions, refused candidates.

Each is scored by its own recipe. A version that cannot be scored is left out, with the reason: a shadow stops nobody.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.bars.schema import RETURNS
from gnn_assets.core.config import Config
from gnn_assets.core.errors import (
    ConfigError,
    CorruptArtefact,
    DataError,
    GnnAssetsError,
    MissingArtefact,
    ModelError,
    PluginError,
    SchemaMismatch,
)
from gnn_assets.core.hashing import json_hash
from gnn_assets.defs.candidates import scored
from gnn_assets.defs.market import panel_of
from gnn_assets.defs.models import dataset_of, dataset_on, start_jax
from gnn_assets.defs.probing import live_scores, scores_without_future
from gnn_assets.defs.recipe import GRAPH_SETTINGS, champion_config
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import StageRun
from gnn_assets.forecasts.score_checks import drawn_session
from gnn_assets.forecasts.shadow import shadow_forecasts
from gnn_assets.graphs.correlation import measured_neighbours
from gnn_assets.graphs.neighbours import graph_frame
from gnn_assets.graphs.schema import CORRELATION_GRAPHS
from gnn_assets.models.dataset import Dataset
from gnn_assets.registry.pointer import Champion

LEFT_OUT = "shadow_left_out"
# What is wrong with the version itself; a lock or a full disk is not.
_ITS_OWN = (ConfigError, CorruptArtefact, DataError, MissingArtefact, ModelError, PluginError, SchemaMismatch)


def shadows_of(platform: Platform) -> dict[str, str]:
    """Versions with scores besides the champion → why it cannot be scored; empty where it can.

    The newest of them; whom the champion replaced comes first, however many were refused since: the two are compared.
    """
    moves = platform.champion.moves()
    champion = moves[-1].champion.version if moves else None
    replaced = moves[-1].before.version if moves and moves[-1].before else None
    others = sorted((version for version in scored(platform) if version != champion), key=lambda one: one != replaced)
    return {version: _reason(platform, version) for version in others[: platform.config.live.shadows]}


def scored_shadows(run: StageRun, versions: Sequence[str]) -> list[pl.DataFrame]:
    """What some versions say of the sessions since their data ended, as `forecast_scores` reads forecasts.

    What cannot be scored is told in the ledger and left out.
    """
    frames, datasets = [], {}
    for number, version in enumerate(versions):
        run.progress(number / len(versions), f"{version} on the sessions since its data ended")
        try:
            frames.append(_scored(run, version, datasets))
        except _ITS_OWN as error:
            told = {"event": LEFT_OUT, "asset": run.asset, "candidate": version, "reason": str(error)}
            run.platform.ledger.append("events", told)
    return frames


def shadow_differences(run: StageRun, scores: pl.DataFrame) -> tuple[str, ...]:
    """Scores of one past session by one shadow that differ when they are made again from bars that end with it.

    Args:
        run: the materialization.
        scores: `forecast_scores` rows.
    """
    newest: date = scores["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    own = scores.filter(pl.col("expected_return").is_null(), pl.col("session") < newest)
    drawn = drawn_session(own, session=newest)
    if drawn is None:
        return ()
    said = own.filter(pl.col("session") == drawn)
    version = said["version"].min()
    platform = run.platform
    record = _record(platform, version)  # ty: ignore[invalid-argument-type] - a String column
    start_jax(platform)
    (again_N,) = scores_without_future(
        platform, record, [drawn], inputs=run.inputs, config=champion_config(platform, record)
    )
    made = dict(zip(platform.weights.facts(record.version)["symbols"], again_N, strict=True))
    stored = dict(said.filter(pl.col("version") == version).select("symbol", "score").iter_rows())
    finite = {symbol: score for symbol, score in made.items() if np.isfinite(score)}
    return tuple(
        f"{symbol} {drawn} by {record.version}: score {stored.get(symbol)}, {finite.get(symbol)} without the future"
        for symbol in sorted({*stored, *finite})
        if stored.get(symbol) != finite.get(symbol)
    )


def _scored(run: StageRun, version: str, datasets: dict[str, Dataset]) -> pl.DataFrame:
    platform = run.platform
    record = _record(platform, version)
    own = champion_config(platform, record)
    symbols = platform.weights.facts(version)["symbols"]
    key = json_hash([own.slice("execution", "graphs", "models"), symbols, record.data_end])
    if key not in datasets:
        start_jax(platform)
        datasets[key] = _dataset(run, own, symbols=symbols, after=date.fromisoformat(record.data_end))
    data = datasets[key]
    since, scores_SxN = live_scores(platform, record, data, config=own, most=run.config.live.shadow_sessions)
    return shadow_forecasts(
        scores_SxN,
        version=version,
        sessions=data.sessions[since.start : since.stop],
        symbols=data.symbols,
        calendar=platform.calendar,
        execution=own.execution,
    )


def _dataset(run: StageRun, own: Config, *, symbols: Sequence[str], after: date) -> Dataset:
    """What a recipe makes of today's market; where its graphs are not those that are stored, they are made here."""
    platform, returns = run.platform, run.inputs[RETURNS.name]
    stored = run.read(CORRELATION_GRAPHS, columns=["session", "src"])
    # A symbol that joined since has taken neighbours' places in the stored graphs, which the version never knew.
    known_to_it = set(stored["src"].unique()) <= set(symbols)
    if known_to_it and own.slice(*GRAPH_SETTINGS) == run.config.slice(*GRAPH_SETTINGS):
        return dataset_of(platform, run.inputs, symbols=symbols, config=own)
    known: date = stored["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    panel = panel_of(platform, returns)
    sessions = [session for session in panel.sessions if session <= known]
    # No feature reads the neighbours of an earlier session.
    rows = range(bisect_right(sessions, after), len(sessions))[-run.config.live.shadow_sessions :]
    neighbours = measured_neighbours(
        panel.values("close_return", sessions=sessions, symbols=symbols),
        config=own.graphs,
        sessions=rows,
        threads=run.config.runtime.threads,
    )
    graph = graph_frame(neighbours, sessions, symbols)
    if graph.is_empty():
        raise DataError.of(
            "graphs of another recipe", expected="an edge at least", was="none", do="nothing; it is not scored"
        )
    return dataset_on(platform, graph, returns, symbols=symbols, config=own)


def _reason(platform: Platform, version: str) -> str:
    """Why a version cannot be scored; empty where nothing speaks against it."""
    try:
        platform.weights.check(version)
        recipe = platform.weights.facts(version)["recipe"]
        own = champion_config(platform, _record(platform, version))
    except GnnAssetsError as error:
        return str(error)
    if recipe["universe"]["file"] != platform.config.universe.file:
        return f"it was trained for universe {recipe['universe']['file']}"
    if own.execution.fill != platform.config.execution.fill:
        return f"its forecasts are filled at {own.execution.fill}: its outcomes are not in these returns"
    return ""


def _record(platform: Platform, version: str) -> Champion:
    """The part of a version's record that its scores depend on."""
    facts = platform.weights.facts(version)
    return Champion(
        version=version,
        model=facts["recipe"]["models"]["candidate"],
        rule="",
        reason="",
        verdict="",
        config_hash=facts["config_hash"],
        oos_predictions="",
        portfolio_returns="",
        backtest_scores="",
        data_end=facts["data_end"],
    )
