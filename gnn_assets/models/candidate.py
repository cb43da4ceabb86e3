"""A candidate: fold weights for judging and a final refit for serving, of the model, its ablations and its baselines.

A part is named ``<model>/fold_00`` or ``<model>/refit``. What a reader must know of the weights stands in `facts`, which
holds no time of day and no duration: equal inputs give equal facts.

Known at:
    A fold's weights from labels known before its first test session; the refit's from labels known at the data's end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32, Shaped

from gnn_assets.core.config import ModelsConfig
from gnn_assets.core.errors import DataError, GnnAssetsError, ModelError, PredictionFailed
from gnn_assets.core.folds import Fold, walk_forward
from gnn_assets.models.chain import Plan, foretelling, train_chain
from gnn_assets.models.checkpoint import NO_CHECKPOINT, Checkpoint
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Progress
from gnn_assets.models.runtime import library_versions, thread_count
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.models.side_by_side import side_by_side
from gnn_assets.models.variants import Variant, fold_part, variant_of, variants
from gnn_assets.store.panel import from_panel

# Gives the arrays of a part by its name; asked only for parts that have arrays.
LoadPart = Callable[[str], Mapping[str, Shaped[np.ndarray, "..."]]]


@dataclass(frozen=True, eq=False)
class Candidate:
    """All that training gives.

    Args:
        parts: part → its arrays; models with nothing to train have none.
        facts: JSON data: models, threads, libraries, and for each part its seed, its sessions and how training went.
        seconds: part → seconds of training; for people, never stored beside the weights.
        attempts: part → tries it took; likewise.
    """

    parts: Mapping[str, Mapping[str, Shaped[np.ndarray, "..."]]]
    facts: Mapping[str, Any]
    seconds: Mapping[str, float]
    attempts: Mapping[str, int] = field(default_factory=dict)


def candidate_folds(data: Dataset, *, config: ModelsConfig, purge: int) -> tuple[Fold, ...]:
    """The walk-forward folds of a dataset.

    Raises:
        ConfigError: if not even one test session fits.
        DataError: if no session has complete features.
    """
    lengths = config.folds
    return walk_forward(
        len(data.sessions),
        first=data.first_index,
        train=lengths.train,
        validation=lengths.validation,
        test=lengths.test,
        purge=purge,
        embargo=lengths.embargo,
    )


def train_candidate(
    data: Dataset,
    *,
    folds: Sequence[Fold],
    config: ModelsConfig,
    purge: int,
    progress: Progress,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Candidate:
    """Trains every model on every fold, then once more on the newest labels.

    The refit trains for the median best epoch of the folds, on the newest `train + validation` sessions whose labels
    are known. Seeds depend on the fold alone: a model and its ablations start from the same parameters. A part that
    fails says so in its facts, and the others are trained all the same.

    Args:
        data: features, graph and labels.
        folds: of `candidate_folds`.
        config: the section `models`.
        purge: sessions until a label is known.
        progress: called on this thread with the finished share of all training and a line with the part, its loss,
            its IC and the seconds left.
        checkpoint: of this very recipe and data; what was trained before is taken from there.

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
    plan = Plan(data, tuple(folds), refit, purge, config, checkpoint)
    # The candidate and its ablations take the time; the baselines are done one by one, with every thread for each.
    ahead = [partial(train_chain, variant, plan) for variant in variants(config) if variant.plugin == config.candidate]
    alone = replace(plan, config=_one_by_one(config))
    told = side_by_side(ahead, workers=config.training.workers, progress=foretelling(progress))
    baselines = [train_chain(variant, alone, _unheard) for variant in variants(config)[len(ahead) :]]
    trained = [part for chain in (*told, *baselines) for part in chain]
    failed = sum(bool(part.facts["failure"]) for part in trained)
    return Candidate(
        parts={part.name: part.arrays for part in trained if part.arrays},
        facts={
            "models": {each.model: {"plugin": each.plugin, "graph": each.graph} for each in variants(config)},
            "symbols": list(data.symbols),
            "features": list(data.feature_names),
            "threads": thread_count(),
            "libraries": library_versions(),
            "success_rate": 1 - failed / len(trained),
            "parts": {part.name: part.facts for part in trained},
        },
        seconds={part.name: part.seconds for part in trained},
        attempts={part.name: part.attempts for part in trained},
    )


def predict_sessions(
    load_part: LoadPart, data: Dataset, *, model: str, part: str, sessions: range, config: ModelsConfig
) -> Float32[np.ndarray, "S N"]:
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
        ModelError: if the configuration has no such model.
        PredictionFailed: if the plug-in raises.
        WeightsMismatch: if the arrays do not fit the model.
    """
    variant = variant_of(model, config)
    return _scores(load_part, variant.seen(data, config=config), variant, part=part, sessions=sessions, config=config)


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
        ModelError: if a part is absent, or was trained on a label known only at its first test session or later.
    """
    frames = []
    for variant in variants(config):
        seen = variant.seen(data, config=config)
        for fold in folds:
            part = fold_part(variant.model, fold.number)
            training_end = _training_end(facts, part, first_test=data.sessions[fold.test[0]].isoformat())
            scores_SxN = _scores(load_part, seen, variant, part=part, sessions=fold.test, config=config)
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


def _scores(
    load_part: LoadPart, seen: Dataset, variant: Variant, *, part: str, sessions: range, config: ModelsConfig
) -> Float32[np.ndarray, "S N"]:
    plugin = variant.load()
    arrays = load_part(part) if plugin.expected_shapes(seen, config) else {}
    try:
        return plugin.predict(arrays, seen, sessions=sessions, config=config)
    except (GnnAssetsError, MemoryError, OSError):
        raise  # it says whose fault it is, or is the machine's
    except Exception as error:  # a plug-in is anybody's code, and whoever asks may ask another one
        raise PredictionFailed.of(
            f"model {variant.model}",
            expected="scores",
            was=f"{type(error).__name__}: {error}",
            do="mend the plug-in, or serve another",
        ) from error


def _one_by_one(config: ModelsConfig) -> ModelsConfig:
    return config.model_copy(update={"training": config.training.model_copy(update={"workers": 1})})


def _unheard(share: float, text: str) -> None:
    """Progress nobody waits for."""
