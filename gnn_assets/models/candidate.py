"""A candidate: fold weights for judging and a final refit for serving, of the model, its ablation and its baselines.

A part is named ``<model>/fold_00`` or ``<model>/refit``. What a reader must know of the weights stands in `facts`, which
holds no time of day and no duration: equal inputs give equal facts.

Known at:
    A fold's weights from labels known before its first test session; the refit's from labels known at the data's end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

from gnn_assets.core.config import ModelsConfig
from gnn_assets.core.errors import DataError, ModelError
from gnn_assets.core.folds import Fold, walk_forward
from gnn_assets.core.plugins import load_plugin
from gnn_assets.models import zoo
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress, Shapes
from gnn_assets.models.runtime import library_versions, thread_count
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.store.panel import from_panel

NO_GRAPH = "_no_graph"
REFIT = "refit"
# Gives the arrays of a part by its name; asked only for parts that have arrays.
LoadPart = Callable[[str], Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Candidate:
    """All that training gives.

    Args:
        parts: part → its arrays; models with nothing to train have none.
        facts: JSON data: models, seeds, threads, libraries, and for each part what it was trained on and how it went.
        seconds: part → seconds of training; told to people, never stored beside the weights.
    """

    parts: Mapping[str, Mapping[str, np.ndarray]]
    facts: Mapping[str, Any]
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Variant:
    """One of the models that are trained and judged together.

    Args:
        model: its name in tables.
        plugin: the module of the zoo it is made by.
        graph: whether it is shown the graph.
    """

    model: str
    plugin: str
    graph: bool = True

    def load(self) -> ModuleType:
        """The plug-in."""
        return load_plugin(zoo.__name__, self.plugin)

    def seen(self, data: Dataset) -> Dataset:
        """The data as this model sees them."""
        return data if self.graph else data.without_graph()


def variants(config: ModelsConfig) -> tuple[Variant, ...]:
    """The candidate, the same without graph, and the baselines it must be seen beside."""
    return (
        Variant(config.candidate, config.candidate),
        Variant(config.candidate + NO_GRAPH, config.candidate, graph=False),
        *(Variant(name, name) for name in config.baselines if name != config.candidate),
    )


def fold_part(model: str, fold: int) -> str:
    """Name of a fold's part."""
    return f"{model}/fold_{fold:02d}"


def refit_part(model: str) -> str:
    """Name of the final refit's part."""
    return f"{model}/{REFIT}"


def candidate_folds(data: Dataset, *, config: ModelsConfig, purge: int) -> tuple[Fold, ...]:
    """The walk-forward folds of a dataset.

    Raises:
        ConfigError: if not even one test session fits.
        DataError: if no session has complete features.
    """
    return walk_forward(
        len(data.sessions), first=data.first_index, purge=purge, **config.folds.model_dump(mode="python")
    )


def train_candidate(
    data: Dataset, *, folds: Sequence[Fold], config: ModelsConfig, purge: int, progress: Progress
) -> Candidate:
    """Trains every model on every fold, then once more on the newest labels.

    The refit trains for the median best epoch of the folds, on the newest `train + validation` sessions whose labels
    are known. Seeds depend on the fold alone: a model and its ablation start from the same parameters.

    Args:
        data: features, graph and labels.
        folds: of `candidate_folds`.
        config: the section `models`.
        purge: sessions until a label is known.
        progress: called with the finished share of all training and a line with the model, its loss, its IC and the
            seconds left.

    Raises:
        DataError: if fewer labels are known than a refit needs.
    """
    newest = len(data.sessions) - purge
    refit = range(newest - config.folds.train - config.folds.validation, newest)
    if refit.start < 0:
        raise DataError.of(
            "refit",
            expected=f"at least {len(refit)} sessions with known labels",
            was=newest,
            do="shorten models.folds.train or models.folds.validation",
        )
    started = perf_counter()
    parts: dict[str, Mapping[str, np.ndarray]] = {}
    told: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    models = variants(config)
    # Only the candidate and its ablation take time worth telling of; the baselines come after them.
    n_fits = sum(variant.plugin == config.candidate for variant in models) * (len(folds) + 1)

    def fit(variant: Variant, part: str, *, number: int, train: range, **further: Any) -> Fitted:
        done = len(told)

        def report(share: float, text: str) -> None:
            finished = min((done + share) / n_fits, 1.0)
            left = (perf_counter() - started) * (1 / finished - 1)
            progress(finished, f"{part}: {text}, about {left:.0f} s left")

        seed = int(np.random.SeedSequence((config.seed, number)).generate_state(1)[0])
        before = perf_counter()
        fitted = variant.load().fit(
            variant.seen(data), train=train, config=config, seed=seed, progress=report, **further
        )
        seconds[part] = perf_counter() - before
        if fitted.arrays:
            parts[part] = fitted.arrays
        told[part] = {
            "seed": seed,
            "train": _ends(data, train),
            "best_epoch": fitted.best_epoch,
            "validation_ic": fitted.validation_ic,
            "curve": [dict(point) for point in fitted.curve],
            "failure": fitted.failure,
        }
        return fitted

    for variant in models:
        best_epochs = []
        for fold in folds:
            part = fold_part(variant.model, fold.number)
            fitted = fit(
                variant,
                part,
                number=fold.number + 1,
                train=fold.train,
                validation=fold.validation,
                epochs=None,
            )
            best_epochs.append(fitted.best_epoch)
            told[part] |= {
                "validation": _ends(data, fold.validation),
                "test": _ends(data, fold.test),
                "training_end": _known(data, fold.validation, purge),
            }
        part = refit_part(variant.model)
        fit(variant, part, number=0, train=refit, validation=None, epochs=max(1, round(median(best_epochs))))
        told[part] |= {"validation": None, "test": None, "training_end": _known(data, refit, purge)}
    facts = {
        "models": {variant.model: {"plugin": variant.plugin, "graph": variant.graph} for variant in models},
        "symbols": list(data.symbols),
        "features": list(data.feature_names),
        "threads": thread_count(),
        "libraries": library_versions(),
        "parts": told,
    }
    return Candidate(parts, facts, seconds)


def expected_shapes(data: Dataset, *, part: str, config: ModelsConfig) -> Shapes:
    """Name → (shape, dtype) of a part's arrays; empty for a model with nothing to train."""
    return _variant(part.partition("/")[0], config).load().expected_shapes(data, config)


def predict_sessions(
    load_part: LoadPart, data: Dataset, *, model: str, part: str, sessions: range, config: ModelsConfig
) -> np.ndarray:
    """Scores of some sessions by one part of the weights.

    Args:
        load_part: gives the arrays of a part by its name.
        data: features and graph.
        model: one of `variants`.
        part: such as `refit_part(model)`.
        sessions: rows of `data` to score.
        config: the section `models` the weights were trained with.

    Returns:
        float32 (S, N); NaN where a symbol's features are not complete. A session's bits do not depend on which
        others are asked for with it.

    Raises:
        WeightsMismatch: if the arrays do not fit the model.
    """
    variant = _variant(model, config)
    plugin = variant.load()
    arrays = load_part(part) if plugin.expected_shapes(data, config) else {}
    return plugin.predict(arrays, variant.seen(data), sessions=sessions, config=config)


def predict_out_of_sample(
    load_part: LoadPart,
    data: Dataset,
    *,
    folds: Sequence[Fold],
    facts: Mapping[str, Any],
    config: ModelsConfig,
    version: str,
) -> pl.DataFrame:
    """Every test session of every fold, scored by the weights that had not seen it.

    Args:
        load_part: gives the arrays of a part by its name.
        data: features and graph.
        folds: the folds the weights were trained on.
        facts: of the candidate.
        config: the section `models` the weights were trained with.
        version: version of the weights.

    Returns:
        A frame of `OOS_PREDICTIONS`; a symbol without complete features has no row.

    Raises:
        ModelError: if a part is absent, or was trained on anything known only after its first test session.
    """
    frames = []
    for variant in variants(config):
        for fold in folds:
            part = fold_part(variant.model, fold.number)
            training_end = _training_end(facts, part, first_test=data.sessions[fold.test.start].isoformat())
            scores_SxN = predict_sessions(
                load_part, data, model=variant.model, part=part, sessions=fold.test, config=config
            )
            tested = data.sessions[fold.test.start : fold.test.stop]
            frames.append(
                from_panel(scores_SxN, "score", sessions=tested, symbols=data.symbols).with_columns(
                    pl.col("score").cast(pl.Float32),
                    version=pl.lit(version),
                    model=pl.lit(variant.model),
                    fold=pl.lit(fold.number, dtype=pl.Int16),
                    training_end=pl.lit(training_end).str.to_date(),
                )
            )
    return OOS_PREDICTIONS.conform(pl.concat(frames))


def _variant(model: str, config: ModelsConfig) -> Variant:
    known = {variant.model: variant for variant in variants(config)}
    if model not in known:
        raise ModelError.of(
            "model", expected=f"one of {', '.join(known)}", was=repr(model), do="use the configuration it came from"
        )
    return known[model]


def _training_end(facts: Mapping[str, Any], part: str, *, first_test: str) -> str:
    if part not in facts["parts"]:
        raise ModelError.of(
            f"weights {part}", expected="to be among the trained parts", was="absent", do="train a new candidate"
        )
    training_end = facts["parts"][part]["training_end"]
    if training_end >= first_test:
        raise ModelError.of(
            f"weights {part}",
            expected=f"training that ended before {first_test}",
            was=training_end,
            do="train a new candidate on these folds",
        )
    return training_end


def _ends(data: Dataset, rows: range) -> list[str]:
    return [data.sessions[rows[0]].isoformat(), data.sessions[rows[-1]].isoformat()]


def _known(data: Dataset, rows: range, purge: int) -> str:
    return data.sessions[rows[-1] + purge].isoformat()
