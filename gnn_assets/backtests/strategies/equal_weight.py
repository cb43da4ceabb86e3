"""Equal parts of every name that has a score: the benchmark of a universe."""

import numpy as np

from gnn_assets.backtests.signals import Signals
from gnn_assets.core.config import BacktestsConfig

NEEDS = ("scores",)
SIGNED = False


def target_weights(signals: Signals, rows_R: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Holds every name with a finite score in equal parts, whatever the score."""
    there_RxN = np.isfinite(signals.scores_TxN[rows_R])
    return np.minimum(there_RxN / np.maximum(there_RxN.sum(axis=1, keepdims=True), 1), config.max_weight)
