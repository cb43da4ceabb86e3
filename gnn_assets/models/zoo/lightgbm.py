"""LightGBM: boosted trees on a symbol's own features and its neighbours', the strongest baseline on tables.

For: what trees find on the very features the networks see, and half of the blend. One booster is trained for each of
`lightgbm.targets`; a score is the mean of theirs, each standardised per session, taken off the graph's leading
directions.

Known at:
    Each score at its session's close: a session is scored from its own features and graph alone.

References:
    G. Ke et al., LightGBM: A Highly Efficient Gradient Boosting Decision Tree, NeurIPS 2017.

Where it differs from it: a fixed number of trees and no early stopping, so that the validation part trains too; the
smallest leaf is a share of the rows, so that one setting fits markets of any size; a row counts where all targets are
known, so that its features are binned once.

Cost: 4 F bytes a row (a session and symbol) while features are binned, F bytes after that; a tree looks at
`feature_fraction` of the features of every row.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import lightgbm
import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from gnn_assets.core.config import LightgbmConfig, ModelsConfig
from gnn_assets.core.errors import DataError, WeightsMismatch
from gnn_assets.models.checkpoint import Checkpoint
from gnn_assets.models.combine import combined
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress, Shapes, require_shapes
from gnn_assets.models.runtime import thread_count

# Sessions whose features are copied at once: memory, not a matter of the result.
_BLOCK = 32
# LightGBM's seeds are signed.
_SEEDS = 2**31


def fit(
    data: Dataset,
    *,
    train: range,
    validation: range | None,
    config: ModelsConfig,
    seed: int,
    epochs: int | None,
    progress: Progress,
    checkpoint: Checkpoint,
) -> Fitted:
    """Trains a booster on each target; least squares.

    Args:
        data: features, graph and labels; only rows from the first of `train` to the last of `validation` are read.
        train: rows whose labels train.
        validation: further rows whose labels train, or None.
        config: the section ``lightgbm``, and ``training.workers``, which share the threads.
        seed: of the draw of features, and of the rows that bins are chosen on.
        epochs: not used.
        progress: called after each tree.
        checkpoint: keeps each booster that is done.

    Returns:
        The text of each target's booster, as bytes.

    Raises:
        DataError: if no row has all targets.
    """
    del epochs
    settings = config.lightgbm
    rows = range(train.start, train.stop if validation is None else validation.stop)
    kept = {target: checkpoint.load(target) for target in settings.targets}
    arrays = {target: found[0]["booster"] for target, found in kept.items() if found is not None}
    missing = [target for target in settings.targets if target not in arrays]
    if missing:
        threads = max(1, thread_count())
        # Of more threads than cores each waits for the others at every leaf; LightGBM has one number for all boosters.
        share = max(1, threads // config.training.workers)
        targets, binned, parameters = _binned(data, rows, settings, seed, threads=share)
        for target in missing:
            done = len(arrays)
            binned.set_label(targets[target])
            report = partial(_report, progress, f"booster {target}", done / len(kept), 1 / len(kept))
            booster = lightgbm.train(parameters, binned, num_boost_round=settings.trees, callbacks=[report])
            # How the threads were shared out is no part of a booster: its text says what the process has.
            text = booster.model_to_string().replace(f"[num_threads: {share}]", f"[num_threads: {threads}]")
            arrays[target] = np.frombuffer(text.encode(), dtype=np.uint8).copy()
            checkpoint.save(target, {"booster": arrays[target]}, {})
    progress(1.0, f"{len(arrays)} boosters of {settings.trees} trees")
    return Fitted({target: arrays[target] for target in settings.targets})


def predict(
    arrays: Mapping[str, Shaped[np.ndarray, "..."]], data: Dataset, *, sessions: range, config: ModelsConfig
) -> Float32[np.ndarray, "S N"]:
    """Scores, float32 (S, N), standardised per session, NaN where masked out.

    Known at:
        Each row at its session's close.

    Raises:
        WeightsMismatch: if a booster cannot be read, or was trained on other features.
    """
    require_shapes(arrays, expected_shapes(data, config))
    boosters = [_booster(target, arrays[target], data) for target in config.lightgbm.targets]
    mask_SxN = data.mask_TxN[sessions.start : sessions.stop]
    scores = np.zeros((len(boosters), *mask_SxN.shape), dtype=np.float32)
    threads = max(1, thread_count())
    for start in range(0, len(sessions), _BLOCK):
        block = sessions[start : start + _BLOCK]
        inside = mask_SxN[start : start + len(block)]
        if inside.any():
            features_RxF = data.features(block)[inside]
            for booster, booster_scores in zip(boosters, scores, strict=True):
                booster_scores[start : start + len(block)][inside] = booster.predict(features_RxF, num_threads=threads)
    return combined(list(scores), data, sessions=sessions)


def expected_shapes(data: Dataset, config: ModelsConfig) -> Shapes:
    """Name → (shape, dtype) of the arrays `predict` needs; a text may have any length."""
    del data
    return dict.fromkeys(config.lightgbm.targets, ((-1,), "uint8"))


def _binned(
    data: Dataset, rows: range, settings: LightgbmConfig, seed: int, *, threads: int
) -> tuple[Mapping[str, Float32[np.ndarray, " R"]], lightgbm.Dataset, dict[str, Any]]:
    """Targets of the R training rows by name, their features in bins, and the parameters they are binned for."""
    told = {target: data.targets(target, rows) for target in settings.targets}
    known_SxN = np.logical_and.reduce([known for _, known in told.values()])
    n_rows = int(known_SxN.sum())
    if n_rows == 0:
        raise DataError.of(
            "training part",
            expected=f"a row that has {' and '.join(settings.targets)}",
            was=f"none in {len(rows)} sessions",
            do="lengthen models.folds.train",
        )
    parameters = {
        "objective": "regression",
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": max(1, round(settings.min_leaf_share * n_rows)),
        "feature_fraction": settings.feature_fraction,
        "lambda_l2": settings.l2,
        "seed": seed % _SEEDS,
        "num_threads": threads,
        "deterministic": True,  # also whatever the number of threads
        "force_row_wise": True,
        "verbosity": -1,
    }
    features_RxF = np.empty((n_rows, len(data.feature_names)), dtype=np.float32)
    filled = 0
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        part_RxF = data.features(block)[known_SxN[start : start + len(block)]]
        features_RxF[filled : filled + len(part_RxF)] = part_RxF
        filled += len(part_RxF)
    binned = lightgbm.Dataset(features_RxF, feature_name=list(data.feature_names), params=parameters).construct()
    return {target: values[known_SxN] for target, (values, _) in told.items()}, binned, parameters


def _report(progress: Progress, name: str, before: float, share: float, step: lightgbm.callback.CallbackEnv) -> None:
    tree, trees = step.iteration + 1, step.end_iteration
    progress(before + share * tree / trees, f"{name}: tree {tree} of {trees}")


def _booster(target: str, text: UInt8[np.ndarray, " B"], data: Dataset) -> lightgbm.Booster:
    try:
        booster = lightgbm.Booster(model_str=text.tobytes().decode())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise WeightsMismatch.of(
            f"weights {target}", expected="the text of a booster", was=str(error), do="train again"
        ) from error
    if booster.feature_name() != list(data.feature_names):
        raise WeightsMismatch.of(
            f"weights {target}",
            expected=f"a booster of the {len(data.feature_names)} features of this configuration",
            was=f"one of {booster.num_feature()}, not all of them the same",
            do="train again, or use the configuration the weights were trained with",
        )
    return booster
