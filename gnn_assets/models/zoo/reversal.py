"""Reversal: what fell most is expected to rise most. Nothing is trained.

References:
    N. Jegadeesh, Evidence of Predictable Behavior of Security Returns, Journal of Finance 45 (1990).
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Shaped

from gnn_assets.core.config import ModelsConfig
from gnn_assets.core.errors import ConfigError
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.features import return_feature
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
    """Minus the standardised return of the last ``reversal.window`` sessions, float32 (S, N), NaN where masked out.

    Known at:
        Each row at its session's close.

    Raises:
        ConfigError: if no feature holds the return over that window.
    """
    del arrays
    name = return_feature(config.reversal.window)
    if name not in data.feature_names:
        raise ConfigError.of(
            "models.reversal.window",
            expected=f"one of models.features.return_windows {config.features.return_windows}",
            was=config.reversal.window,
            do="add it there, or choose one of them",
        )
    rows = slice(sessions.start, sessions.stop)
    scores_SxN = -data.features_TxNxF[rows, :, data.feature_names.index(name)]
    return np.where(data.mask_TxN[rows], scores_SxN, np.float32(np.nan))


def expected_shapes(data: Dataset, config: ModelsConfig) -> Shapes:
    """No arrays."""
    del data, config
    return {}
