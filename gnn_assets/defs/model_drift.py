"""The asset model_drift: how far what the champion sees, says and misses lies from its past, and how far by chance."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from gnn_assets.bars.schema import RETURNS
from gnn_assets.core.checks import Check, shown
from gnn_assets.core.config import Config
from gnn_assets.core.errors import CorruptArtefact
from gnn_assets.core.hashing import json_hash
from gnn_assets.defs.io import lineage_of
from gnn_assets.defs.market import panel_of
from gnn_assets.defs.models import dataset_of, dataset_on, start_jax
from gnn_assets.defs.plots import lines, table
from gnn_assets.defs.probing import live_scores
from gnn_assets.defs.recipe import GRAPH_SETTINGS, MODEL_GRAPH_SETTINGS, champion_config, model_modules, served_champion
from gnn_assets.defs.stage import Report, Stage, StageRun, TableShelf, core_symbols
from gnn_assets.defs.tables import stored
from gnn_assets.graphs.correlation import measured_neighbours
from gnn_assets.graphs.neighbours import graph_frame
from gnn_assets.graphs.schema import CORRELATION_GRAPHS
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.variants import refit_part
from gnn_assets.monitoring.model_drift import BETWEEN, KINDS, model_drift
from gnn_assets.monitoring.quiet import Recall
from gnn_assets.monitoring.reasons import Reason
from gnn_assets.monitoring.schema import MODEL_DRIFT
from gnn_assets.monitoring.watch import Watched, input_hashes, watched
from gnn_assets.registry.pointer import Champion

_LIMITS = "model_drift"  # folder of the limits that were calibrated
_SHOWN = 10

_MEASURED = {
    Reason.FEATURE_DRIFT: "Largest distance of any feature's distribution from that of the sessions learned from, over "
    "what it passes by chance",
    Reason.PREDICTION_DRIFT: "Largest distance of the scores' distribution, spread or order from those out of sample, "
    "over what it passes by chance",
    Reason.RESIDUAL_DRIFT: "Risen sum of the losses, one minus the session's IC, above those out of sample (deviations)",
}


def _model_drift(run: StageRun) -> pl.DataFrame:
    """Has what the champion sees, says or misses changed by more than chance explains?

    Features of the newest sessions are held against those its final refit learned from, its scores and losses since
    then against those of its folds out of sample. Each kind has a limit that an unchanging market passes once in
    `drift.sessions_per_alarm` sessions, by a block bootstrap of the reference. A champion that has not lived for
    `drift.window` sessions is not judged yet.
    """
    before = _made_before(run)
    drift = _drift(run, before=before)
    new = drift.join(before, on=list(MODEL_DRIFT.columns), how="anti", nulls_equal=True)
    run.progress(0.9, f"{new['session'].n_unique()} of {drift['session'].n_unique()} live sessions made anew")
    return drift


def _model_drift_report(run: StageRun, drift: pl.DataFrame) -> Report:
    newest = _newest(drift)
    metadata: dict[str, Any] = {"dagster/row_count": drift.height, "champion": run.inputs["champion"]}
    if not drift.is_empty():
        metadata |= {
            "live_sessions": drift["session"].n_unique(),
            "newest": table(newest.drop("session", "version", "inputs_hash"), digits=3),
            "alarm_sessions": table(_alarm_sessions(drift), digits=0),
            "drift": _picture(drift),
        }
    ends: date = run.read(CORRELATION_GRAPHS, columns=["session"])["session"].max()  # ty: ignore[invalid-assignment]
    rows = {row["kind"]: row for row in newest.iter_rows(named=True)}
    return Report(
        # Without a live session nothing was judged, but these are the sessions that were looked at.
        data_end=ends,
        checks=(*(_kind_check(kind, rows.get(kind), run) for kind in KINDS), _tripwire(run, drift)),
        metadata=metadata,
    )


def _drift(run: StageRun, *, before: pl.DataFrame, until: date | None = None) -> pl.DataFrame:
    """The rows of the champion's live sessions, from nothing later than `until`."""
    config, platform = run.config, run.platform
    champion = _champion(run)
    recipe = json_hash([lineage_of(STAGE, platform, {}).key, champion.version, champion.oos_predictions])
    seen, hashes = _watched(run, champion, recipe=recipe, until=until)
    return model_drift(
        seen,
        version=champion.version,
        hashes=hashes,
        before=before,
        config=config.drift,
        hysteresis=config.retrain.hysteresis,
        recall=_recalled(run, recipe),
    )


def _watched(run: StageRun, champion: Champion, *, recipe: str, until: date | None) -> tuple[Watched, Sequence[str]]:
    """What is watched of the champion, by its own recipe, and the name of all that each live session is made from."""
    platform = run.platform
    own = champion_config(platform, champion)
    start_jax(platform)
    data = _dataset(run, own, after=date.fromisoformat(champion.data_end), until=until)
    if own.execution.fill != run.config.execution.fill:
        # Its outcomes, from fill to fill, are not in these returns.
        data = replace(data, labels_TxN=np.full_like(data.labels_TxN, np.nan))
    served = served_champion(platform, champion)
    live, scores_LxN = live_scores(platform, champion, data, config=own)
    first, last = served.facts["parts"][refit_part(champion.model)]["train"]
    run.progress(0.5, f"{len(live)} sessions since {champion.data_end}")
    seen = watched(
        data,
        learned=(date.fromisoformat(first), date.fromisoformat(last)),
        predictions=served.predictions,
        live=live,
        live_scores_LxN=scores_LxN,
    )
    return seen, input_hashes(data, recipe=recipe)[live.start :]


def _dataset(run: StageRun, own: Config, *, after: date, until: date | None) -> Dataset:
    """Features, graph and labels of the champion's recipe, from nothing later than `until`."""
    if until is None and own.slice(*GRAPH_SETTINGS) == run.config.slice(*GRAPH_SETTINGS):
        return dataset_of(run.platform, run.inputs, symbols=core_symbols(run), config=own)
    graph = _graph(run, own, after=after)
    if until is not None:
        graph = graph.filter(pl.col("session") <= until)
    return dataset_on(run.platform, graph, run.inputs[RETURNS.name], symbols=core_symbols(run), config=own)


def _graph(run: StageRun, own: Config, *, after: date) -> pl.DataFrame:
    """The stored graphs, or where the champion's recipe makes others, those of the sessions since its data ended."""
    graph = run.read(CORRELATION_GRAPHS)
    known: date = graph["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    if own.slice(*GRAPH_SETTINGS) == run.config.slice(*GRAPH_SETTINGS) or known <= after:
        return graph
    panel, symbols = panel_of(run.platform, run.inputs[RETURNS.name]), core_symbols(run)
    sessions = [session for session in panel.sessions if session <= known]
    returns_TxN = panel.values("close_return", sessions=sessions, symbols=symbols)
    # No feature reads the neighbours of an earlier session.
    rows = range(bisect_right(sessions, after), len(sessions))
    neighbours = measured_neighbours(returns_TxN, config=own.graphs, sessions=rows, threads=run.config.runtime.threads)
    return graph_frame(neighbours, sessions, symbols)


def _champion(run: StageRun) -> Champion:
    """Who was served when this run began: another one may be by now."""
    moves = run.platform.champion.moves()
    return next(move.champion for move in reversed(moves) if move.champion.version == run.inputs["champion"])


def _recalled(run: StageRun, recipe: str) -> Callable[[Reason], Recall]:
    """Limits are kept beside the name of the sessions they were calibrated on; only a new reference costs time."""
    kept = run.platform.checkpoints.of(_LIMITS)

    def of_kind(kind: Reason) -> Recall:
        def recall(arrays: Sequence[np.ndarray], calibrate: Callable[[], np.ndarray]) -> np.ndarray:
            digest = hashlib.sha256(recipe.encode())
            for array in arrays:
                digest.update(f"|{array.shape}|".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
            known = kept.load(str(kind))
            if known is not None and known[1]["made_from"] == digest.hexdigest():
                return known[0]["limits"]
            limits = calibrate()
            kept.save(str(kind), {"limits": limits}, {"made_from": digest.hexdigest()})
            return limits

        return recall

    return of_kind


def _made_before(run: StageRun) -> pl.DataFrame:
    try:
        return stored(run.platform, MODEL_DRIFT)
    except CorruptArtefact:
        return MODEL_DRIFT.empty()  # it only saves work, and what is written now mends it


def _newest(drift: pl.DataFrame) -> pl.DataFrame:
    return drift.filter(pl.col("session") == pl.col("session").max())


def _kind_check(kind: Reason, newest: dict[str, Any] | None, run: StageRun) -> Check:
    rate = f"the limit is what chance passes once in {run.config.drift.sessions_per_alarm} sessions"
    if newest is None or newest["value"] is None or newest["limit"] is None:
        why = "no session since the champion's data ended" if newest is None else newest["window"]
        return Check(str(kind), True, "not known", "none", f"{_MEASURED[kind]}; {rate}; {why}.", severity="warn")
    alarm = newest["value"] > newest["limit"]
    return Check(
        str(kind),
        not alarm,
        shown(newest["value"]) if np.isfinite(newest["value"]) else "infinite",
        shown(newest["limit"]),
        f"{_MEASURED[kind]}, over {newest['window']} to {newest['session']}, against {newest['reference_first']} to "
        f"{newest['reference_last']}; {rate}.",
        severity="warn",
        offenders=tuple(newest["offenders"].split(BETWEEN)[:_SHOWN]) if alarm else (),
    )


def _tripwire(run: StageRun, drift: pl.DataFrame) -> Check:
    """Makes a session in the middle of those that are judged again from nothing later than itself."""
    judged = drift.filter(pl.col("value").is_not_null())["session"].unique().sort()
    other, chosen = drift.clear(), "any session"
    if not judged.is_empty():
        chosen = judged[len(judged) // 2]
        again, stored_rows = (
            rows.filter(pl.col("session") == chosen)
            # What was made of earlier sessions is taken over, so that one session is made again and not all.
            for rows in (_drift(run, before=drift.filter(pl.col("session") < chosen), until=chosen), drift)
        )
        other = pl.concat([again, stored_rows]).filter(~pl.struct(pl.all()).is_duplicated())
    return Check(
        "no_look_ahead",
        other.is_empty(),
        other["kind"].n_unique(),
        0,
        f"Kinds of drift of {chosen} that differ when they are made again without anything later.",
        offenders=tuple(other["kind"].unique().sort()),
    )


def _alarm_sessions(drift: pl.DataFrame) -> pl.DataFrame:
    return drift.group_by("kind", maintain_order=True).agg(
        judged=(pl.col("value").is_not_null() & pl.col("limit").is_not_null()).sum(),
        alarms=(pl.col("value") > pl.col("limit")).sum(),
    )


def _picture(drift: pl.DataFrame) -> dg.MarkdownMetadataValue:
    over = drift.with_columns(share=(pl.col("value") / pl.col("limit")).cast(pl.Float64))
    by_kind = {
        str(kind): over.filter(pl.col("kind") == str(kind)).sort("session")["share"].fill_null(np.nan).to_numpy()
        for kind in KINDS
    }
    sessions = drift["session"].unique().sort().to_list()
    return lines(
        sessions,
        {**by_kind, "limit": np.ones(len(sessions))},
        title="What drifts, over its limit",
        x_label="session",
        y_label="value / limit",
    )


STAGE = Stage(
    name="model_drift",
    group="monitoring",
    compute=_model_drift,
    report=_model_drift_report,
    shelf=TableShelf(MODEL_DRIFT),
    code=("gnn_assets.monitoring.model_drift", "gnn_assets.models.candidate", "gnn_assets.bars.universe"),
    plugins=lambda config: model_modules([config.models.candidate], config),
    sections=("drift", "retrain.hysteresis", "execution", *MODEL_GRAPH_SETTINGS, "models", "runtime.threads"),
    deps=("universe", "returns", "correlation_graphs", "champion"),
    checks=lambda _config: (*(str(kind) for kind in KINDS), "no_look_ahead"),
    follows="correlation_graphs",
    kinds=frozenset({"jax"}),
    table=MODEL_DRIFT,
)

STAGES = (STAGE,)
