"""Equal weight: no opinion on any symbol, so a portfolio of it holds the universe. Nothing is trained.

For: the benchmark of every portfolio, of the same universe, calendar, costs and fill.

Known at:
    Each score at its session's close.

References:
    V. DeMiguel, L. Garlappi, R. Uppal, Optimal Versus Naive Diversification: How Inefficient is the 1/N Portfolio
    Strategy?, Review of Financial Studies 22 (2009).

Cost: none.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Shaped

from gnn_assets.core.config import ModelsConfig
from gnn_assets.models.checkpoint import Checkpoint
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
    checkpoint: Checkpoint,
) -> Fitted:
    """Nothing to train."""
    del data, train, validation, config, seed, epochs, checkpoint
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
