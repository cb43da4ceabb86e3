"""Equal parts of the names with the highest scores."""

import numpy as np

from gnn_assets.core.config import BacktestsConfig


def target_weights(scores_N: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Holds the `config.held` highest finite scores in equal parts, long only.

    Scores that are all equal choose nobody: then every name with a finite score is held in equal parts.

    Args:
        scores_N: float (N,), unitless, NaN where there is no score. Equal scores are taken in index order.
        config: `held` is used; with fewer finite scores than that, all of them are held.

    Returns:
        float64 (N,), shares of the portfolio's value: each 0 or 1 / (names held); all 0 without a finite score.
    """
    weights_N = np.zeros(len(scores_N))
    scored = np.flatnonzero(np.isfinite(scores_N))
    if scored.size == 0:
        return weights_N
    values = scores_N[scored]
    names = scored.size if values.min() == values.max() else config.held
    chosen = scored[np.argsort(-values, kind="stable")[:names]]
    weights_N[chosen] = 1.0 / chosen.size
    return weights_N
