"""Assets of the models stage: gnn_weights and oos_predictions."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.bars.schema import RETURNS
from gnn_assets.core.checks import Check
from gnn_assets.core.config import Config
from gnn_assets.core.hashing import json_hash
from gnn_assets.defs.market import bars_of, panel_of
from gnn_assets.defs.plots import lines, table, training_curves
from gnn_assets.defs.recipe import MODEL_GRAPH_SETTINGS, RECIPE_SECTIONS, model_modules, recipe_hash
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Report, Stage, StageRun, TableShelf, core_symbols
from gnn_assets.graphs.neighbours import graph_arrays
from gnn_assets.graphs.schema import CORRELATION_GRAPHS
from gnn_assets.models.candidate import (
    Candidate,
    candidate_folds,
    predict_out_of_sample,
    predict_sessions,
    train_candidate,
)
from gnn_assets.models.checks import LOOK_AHEAD_CHECK, no_look_ahead, predictions_checks, weights_checks
from gnn_assets.models.dataset import Dataset, Recipe, build_dataset
from gnn_assets.models.features.build import left_out
from gnn_assets.models.graph import Graph
from gnn_assets.models.runtime import start
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.models.variants import fold_part, variants
from gnn_assets.store.panel import to_panel
from gnn_assets.store.versions import Lineage

WEIGHTS = "gnn_weights"
# The newest dataset: of one home, market and recipe.
_NEWEST: dict[tuple[object, ...], Dataset] = {}


def start_jax(platform: Platform) -> int:
    """Starts jax with the configured threads; returns their number."""
    return start(threads=platform.config.runtime.threads, cache=platform.data / "cache" / "xla")


def dataset_of(platform: Platform, inputs: Mapping[str, str], *, symbols: Sequence[str], config: Config) -> Dataset:
    """Features, graph and labels of some symbols, from exactly the versions of returns and graphs that are named.

    The sessions end where the graphs end: a newer session whose graph is still to come cannot be scored. Several assets
    look at the same market one after the other, so the newest is kept; it is not to be changed.
    """
    graph_version, returns_version = inputs[CORRELATION_GRAPHS.name], inputs[RETURNS.name]
    recipe = json_hash(config.slice("execution", "graphs", "models"))
    key = (platform.data, graph_version, returns_version, tuple(symbols), recipe)
    if key not in _NEWEST:
        graph = platform.lake.read(CORRELATION_GRAPHS, version=graph_version)
        made = dataset_on(platform, graph, returns_version, symbols=symbols, config=config)
        _NEWEST.clear()
        _NEWEST[key] = made
    return _NEWEST[key]


def dataset_on(
    platform: Platform,
    graph: pl.DataFrame,
    returns_version: str,
    *,
    symbols: Sequence[str],
    config: Config,
    newest_only: bool = False,
) -> Dataset:
    """The same over a graph that is given: its last session is the last one.

    Args:
        platform: the opened platform.
        graph: a frame of `CORRELATION_GRAPHS`; a session that is to be scored needs its edges.
        returns_version: data version of `returns`.
        symbols: the node axis.
        config: graphs, models and execution are used.
        newest_only: nobody is scored before the last session, which makes the others' features cheap.
    """
    known: date = graph["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    panel = panel_of(platform, returns_version)
    sessions = [session for session in panel.sessions if session <= known]
    bars = bars_of(platform, returns_version, sessions=sessions, symbols=symbols)
    return build_dataset(
        bars,
        Graph.of(
            bars.close_return_TxN,
            graph_arrays(graph, sessions=sessions, symbols=symbols, k=config.graphs.k),
            sessions=sessions,
            factors=config.graphs.factors,
        ),
        panel.values("fill_return", sessions=sessions, symbols=symbols),
        recipe=Recipe.of(config),
        newest_only=newest_only,
    )


class WeightsShelf:
    """Keeps a candidate as safetensors and a manifest."""

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """The candidate this lineage trained before, if it is whole."""
        weights = run.platform.weights
        version = weights.find(lineage.key)
        if version is not None:
            weights.publish(version, lineage=lineage, run_id=run.run_id)
        return version

    def load(self, run: StageRun, version: str) -> Candidate:
        """What is known of the candidate; its arrays stay on disk until somebody predicts."""
        return Candidate(parts={}, facts=run.platform.weights.facts(version), seconds={})

    def publish(self, run: StageRun, artefact: Candidate, *, lineage: Lineage, data_end: date | None) -> str:
        """Stores the candidate and counts the trials it took."""
        del data_end
        weights = run.platform.weights
        version = weights.save(artefact.parts, artefact.facts)
        # Counted before they are published: a kill in between counts a trial twice rather than never.
        for model, entry in artefact.facts["models"].items():
            run.platform.ledger.append(
                "trials",
                {
                    "trial": "training",
                    "model": model,
                    "graph": entry["graph"],
                    "version": version,
                    "recipe": artefact.facts["config_hash"],
                    "data_end": artefact.facts["data_end"],
                    "seconds": sum(
                        seconds for part, seconds in artefact.seconds.items() if part.startswith(f"{model}/")
                    ),
                },
            )
        weights.publish(version, lineage=lineage, run_id=run.run_id)
        run.platform.checkpoints.clear(lineage.key)
        return version


def _gnn_weights(run: StageRun) -> Candidate:
    """A candidate: the configured model trained on every walk-forward fold, and a final refit for serving.

    Beside it, on the same folds: the same model without graph, with a shuffled one, and the baselines. Early stopping
    looks at the fold's own validation sessions only; a NaN stops training, keeps the last finite step and fails the
    candidate. What is trained is kept as it comes: a run that was killed goes on there, to the same bits.
    """
    config = run.config
    start_jax(run.platform)
    data = dataset_of(run.platform, run.inputs, symbols=core_symbols(run), config=config)
    folds = candidate_folds(data, config=config.models, purge=config.execution.purge)
    trained = train_candidate(
        data,
        folds=folds,
        config=config.models,
        purge=config.execution.purge,
        progress=run.progress,
        checkpoint=run.platform.checkpoints.of(run.lineage.key),
    )
    facts = {
        **trained.facts,
        "data_end": data.sessions[-1].isoformat(),
        "config_hash": recipe_hash(config),
        "recipe": config.slice(*RECIPE_SECTIONS),
        "left_out": left_out(data.bars.fields, config.models.features),
        "inputs": dict(run.inputs),
    }
    return Candidate(parts=trained.parts, facts=facts, seconds=trained.seconds)


def _gnn_weights_report(run: StageRun, candidate: Candidate) -> Report:
    name, facts = run.config.models.candidate, candidate.facts
    parts = facts["parts"]
    rows = [
        (part, told["train"][0], told["train"][1], told["training_end"], told["best_epoch"], told["validation_ic"])
        for part, told in parts.items()
        if told["curve"]
    ]
    names = ["part", "train from", "to", "labels known", "epochs", "validation IC"]
    chosen = [told["validation_ic"] for part, told in parts.items() if _chosen(part, name, told)]
    return Report(
        data_end=date.fromisoformat(facts["data_end"]),
        checks=weights_checks(facts, candidate=name, n_folds=_fold_count(parts, name)),
        metadata={
            "folds": _fold_count(parts, name),
            "mean_validation_ic": float(sum(chosen) / len(chosen)) if chosen else 0.0,
            "threads": facts["threads"],
            "features": len(facts["features"]),
            "left_out": "; ".join(f"{group}: no {', '.join(lacks)}" for group, lacks in facts["left_out"].items())
            or "-",
            "success_rate": float(facts["success_rate"]),
            **({"training_seconds": float(sum(candidate.seconds.values()))} if candidate.seconds else {}),
            "parts": table(pl.DataFrame(rows, schema=names, orient="row"), digits=4),
            "training_curves": training_curves(
                {
                    part.removeprefix(f"{name}/"): told["curve"]
                    for part, told in parts.items()
                    if part.startswith(f"{name}/")
                },
                title=f"Training of {name}, a line a fold",
            ),
        },
        failures={},
    )


def _oos_predictions(run: StageRun) -> pl.DataFrame:
    """Scores of every test session by weights whose training had ended before it, for every model.

    Backtest, gate, calibration and intervals read only this table; nothing downstream scores with weights itself.
    """
    platform, config = run.platform, run.config
    start_jax(run.platform)
    data = dataset_of(run.platform, run.inputs, symbols=core_symbols(run), config=config)
    version = run.inputs[WEIGHTS]
    return predict_out_of_sample(
        lambda part: platform.weights.load(version, part),
        data,
        folds=candidate_folds(data, config=config.models, purge=config.execution.purge),
        facts=platform.weights.facts(version),
        config=config.models,
        version=version,
    )


def _oos_predictions_report(run: StageRun, predictions: pl.DataFrame) -> Report:
    config = run.config
    sessions: Sequence[date] = predictions["session"].unique().sort().to_list()
    models = [variant.model for variant in variants(config.models)]
    own = predictions.filter(pl.col("model") == config.models.candidate)
    scored = set(own.filter(pl.col("session") == sessions[-1])["symbol"])
    spread = own.group_by("session").agg(spread=pl.col("score").std()).sort("session")
    return Report(
        data_end=sessions[-1],
        checks=(
            *predictions_checks(
                predictions,
                sessions=sessions,
                models=models,
                n_symbols=predictions["symbol"].n_unique(),
                min_symbol_share=config.gate.min_symbol_share,
            ),
            _tripwire(run, own),
        ),
        metadata={
            "dagster/row_count": predictions.height,
            "sessions": len(sessions),
            "first_session": str(sessions[0]),
            "folds": table(
                own.group_by("fold")
                .agg(
                    first=pl.col("session").min().cast(pl.String),
                    last=pl.col("session").max().cast(pl.String),
                    training_end=pl.col("training_end").first().cast(pl.String),
                )
                .sort("fold"),
                digits=0,
            ),
            "spread": lines(
                spread["session"].to_list(),
                {"deviation of scores": spread["spread"].to_numpy()},
                title="Cross-sectional spread of the candidate's scores",
                x_label="session",
                y_label="score",
            ),
        },
        failures={symbol: f"no score on {sessions[-1]}" for symbol in core_symbols(run) if symbol not in scored},
    )


def _tripwire(run: StageRun, own: pl.DataFrame) -> Check:
    """The look-ahead check: sessions, drawn by the weights, scored again by their fold from data that end with each.

    Args:
        own: `oos_predictions` rows of the candidate's own model.
    """
    config, symbols = run.config, core_symbols(run)
    # Where no outcome is known yet, the future holds little to be seen.
    known = own["session"].unique().sort()[: -config.execution.purge].to_list()
    generator = np.random.default_rng(int(json_hash([run.inputs[WEIGHTS], str(known[-1])])[:16], 16))
    drawn = generator.choice(len(known), size=min(config.gate.look_ahead_sessions, len(known)), replace=False)
    sessions = [known[place] for place in sorted(drawn)]
    start_jax(run.platform)
    again = [_scored_again(run, session, own, symbols=symbols) for session in sessions]
    made_KxN = to_panel(own, "score", sessions=sessions, symbols=symbols)
    return no_look_ahead(made_KxN, np.concatenate(again), sessions=sessions, symbols=symbols)


def _scored_again(run: StageRun, session: date, own: pl.DataFrame, *, symbols: Sequence[str]) -> np.ndarray:
    """float32 (1, N): the scores of a session by the fold that was tested on it, from nothing later."""
    platform, config, inputs = run.platform, run.config, run.inputs
    version = inputs[CORRELATION_GRAPHS.name]
    graph = platform.lake.read(CORRELATION_GRAPHS, version=version, first=session, last=session)
    data = dataset_on(platform, graph, inputs[RETURNS.name], symbols=symbols, config=config, newest_only=True)
    fold = own.filter(pl.col("session") == session)["fold"][0]
    return predict_sessions(
        lambda part: platform.weights.load(inputs[WEIGHTS], part),
        data,
        model=config.models.candidate,
        part=fold_part(config.models.candidate, fold),
        sessions=range(len(data.sessions) - 1, len(data.sessions)),
        config=config.models,
    )


def _fold_count(parts: dict[str, dict[str, object]], model: str) -> int:
    number = 0
    while fold_part(model, number) in parts:
        number += 1
    return number


def _chosen(part: str, model: str, told: dict[str, object]) -> bool:
    return part.startswith(f"{model}/") and told["validation_ic"] is not None


def _zoo(config: Config) -> tuple[str, ...]:
    return model_modules([variant.plugin for variant in variants(config.models)], config)


STAGES = (
    Stage(
        name=WEIGHTS,
        group="models",
        compute=_gnn_weights,
        report=_gnn_weights_report,
        shelf=WeightsShelf(),
        code=("gnn_assets.models.candidate", "gnn_assets.bars.universe"),
        plugins=_zoo,
        sections=("models", "execution", *MODEL_GRAPH_SETTINGS, "runtime.threads"),
        deps=("universe", "returns", "correlation_graphs"),
        checks=lambda _config: ("parts_trained", "loss_finite", "curves_finite", "all_folds_trained", "validation_ic"),
        follows="correlation_graphs",
        kinds=frozenset({"jax"}),
    ),
    Stage(
        name="oos_predictions",
        group="models",
        compute=_oos_predictions,
        report=_oos_predictions_report,
        shelf=TableShelf(OOS_PREDICTIONS),
        code=("gnn_assets.models.candidate", "gnn_assets.bars.universe"),
        plugins=_zoo,
        sections=("models", "execution", *MODEL_GRAPH_SETTINGS, "runtime.threads"),
        deps=("universe", "returns", "correlation_graphs", WEIGHTS),
        checks=lambda _config: ("training_end_before_session", "scores_finite", "scored_share", LOOK_AHEAD_CHECK),
        follows="correlation_graphs",
        table=OOS_PREDICTIONS,
    ),
)
