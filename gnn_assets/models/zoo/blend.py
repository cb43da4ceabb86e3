"""Blend: the mean of several models' scores, each standardised per session, taken off the graph's leading directions.

For: models that err differently. Trees cut features one at a time, the network weighs them all and hears a symbol's
neighbours; what both rank high is more often right.

Known at:
    Each score at its session's close, as its members'.

References:
    J. M. Bates, C. W. J. Granger, The Combination of Forecasts, Operational Research Quarterly 20 (1969).
    A. Timmermann, Forecast Combinations, Handbook of Economic Forecasting 1 (2006), ch. 4: equal weights are hard to beat.

Where it differs from them: equal weights on z-scores across symbols, never fitted; the common part is taken off last.

Cost: the sum of its members'.
"""

from collections.abc import Mapping
from types import ModuleType

import numpy as np
from jaxtyping import Float32, Shaped

from gnn_assets.core.config import ModelsConfig
from gnn_assets.core.plugins import load_plugin
from gnn_assets.models import zoo
from gnn_assets.models.checkpoint import Checkpoint, within
from gnn_assets.models.combine import combined
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress, Shapes, require_shapes


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
    """Trains one member after the other, all on the same rows and from the same seed.

    Args:
        data: features, graph and labels; read as the members read it.
        train: rows whose labels train.
        validation: further rows, for each member to use as it does alone.
        config: the section ``blend``, and those of its members.
        seed: of every member.
        epochs: of the members that count epochs; None for their own choice.
        progress: called as the members call it, each having an equal share.
        checkpoint: each member keeps under its own name what it keeps.

    Returns:
        Every member's arrays, under ``<member>/``. Epochs, curve and validation IC are those of the member that
        trained for most epochs.
    """
    fitted: dict[str, Fitted] = {}
    for name, member in _members(config).items():
        done = len(fitted)

        def report(share: float, text: str, done: int = done, name: str = name) -> None:
            progress((done + share) / len(config.blend.members), f"{name}: {text}")

        fitted[name] = member.fit(
            data,
            train=train,
            validation=validation,
            config=config,
            seed=seed,
            epochs=epochs,
            progress=report,
            checkpoint=within(checkpoint, name),
        )
    longest = max(fitted.values(), key=lambda each: each.best_epoch)
    return Fitted(
        {f"{name}/{key}": array for name, each in fitted.items() for key, array in each.arrays.items()},
        longest.best_epoch,
        longest.curve,
        longest.validation_ic,
        "; ".join(f"{name}: {each.failure}" for name, each in fitted.items() if each.failure),
    )


def predict(
    arrays: Mapping[str, Shaped[np.ndarray, "..."]], data: Dataset, *, sessions: range, config: ModelsConfig
) -> Float32[np.ndarray, "S N"]:
    """Scores, float32 (S, N), standardised per session, NaN where masked out.

    Known at:
        Each row at its session's close.

    Raises:
        WeightsMismatch: if the arrays are not those of these members.
    """
    require_shapes(arrays, expected_shapes(data, config))
    scores = []
    for name, member in _members(config).items():
        own = {key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")}
        scores.append(member.predict(own, data, sessions=sessions, config=config))
    return combined(scores, data, sessions=sessions)


def expected_shapes(data: Dataset, config: ModelsConfig) -> Shapes:
    """Name → (shape, dtype) of the arrays `predict` needs."""
    return {
        f"{name}/{key}": shape
        for name, member in _members(config).items()
        for key, shape in member.expected_shapes(data, config).items()
    }


def _members(config: ModelsConfig) -> dict[str, ModuleType]:
    return {name: load_plugin(zoo.__name__, name) for name in config.blend.members}
