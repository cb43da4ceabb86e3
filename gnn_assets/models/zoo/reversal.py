"""Reversal: what fell most is expected to rise most. Nothing is trained.

For: the effect that most of a short-term score is made of; a model that does not beat it has found nothing else.

Known at:
    Each score at its session's close.

References:
    N. Jegadeesh, Evidence of Predictable Behavior of Security Returns, Journal of Finance 45 (1990).
    B. N. Lehmann, Fads, Martingales, and Market Efficiency, Quarterly Journal of Economics 105 (1990).

Where it differs from them: a window of sessions, not a month or a week.

Cost: one sum a session and symbol.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Shaped

from gnn_assets.core.config import ModelsConfig
from gnn_assets.models.checkpoint import Checkpoint
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.features.standardise import standardise
from gnn_assets.models.features.trailing import trailing_sum
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
    """Minus the return of the last ``reversal.window`` sessions, standardised per session; NaN where masked out.

    A missing return counts as 0.

    Returns:
        float32 (S, N).

    Known at:
        Each row at its session's close.
    """
    del arrays
    window = config.reversal.window
    read = slice(max(0, sessions.start - window + 1), sessions.stop)
    return_SxN = trailing_sum(data.bars.close_return_TxN[read], window, min_share=0.0)[sessions.start - read.start :]
    mask_SxN = data.mask_TxN[sessions.start : sessions.stop]
    return np.where(mask_SxN, -standardise(return_SxN, mask_SxN), np.nan).astype(np.float32)


def expected_shapes(data: Dataset, config: ModelsConfig) -> Shapes:
    """No arrays."""
    del data, config
    return {}
