"""Equal weight: no opinion on any symbol, so a portfolio of it holds the universe. Nothing is trained."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Shaped

from gnn_assets.core.config import ModelsConfig
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress, Shapes


def fit(
    data: Dataset,
    *,
    train: range,
    validation: range | None,
    config: ModelsConfig,
    seed: int,
    epochs: int | None,
    progress: Progress,
) -> Fitted:
    """Nothing to train."""
    del data, train, validation, config, seed, epochs
    progress(1.0, "nothing to train")
    return Fitted()


def predict(
    arrays: Mapping[str, Shaped[np.ndarray, "..."]], data: Dataset, *, sessions: range, config: ModelsConfig
) -> Float32[np.ndarray, "S N"]:
    """Zeros, float32 (S, N), NaN where masked out.

    Known at:
        Each row at its session's close.
    """
    del arrays, config
    return np.where(data.mask_TxN[sessions.start : sessions.stop], np.float32(0.0), np.float32(np.nan))


def expected_shapes(data: Dataset, config: ModelsConfig) -> Shapes:
    """No arrays."""
    del data, config
    return {}
