"""Every name in proportion to the rank of its score."""

import numpy as np
from scipy.stats import rankdata

from gnn_assets.backtests.signals import Signals
from gnn_assets.core.config import BacktestsConfig

NEEDS = ("scores",)
SIGNED = False


def target_weights(signals: Signals, rows_R: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Holds each name with a finite score in proportion to its rank from the lowest (1); equal scores share a mean rank."""
    scores_RxN = signals.scores_TxN[rows_R].astype(np.float64)
    there_RxN = np.isfinite(scores_RxN)
    # Absent ones rank above all others, where they move nobody.
    ranks_RxN = np.where(there_RxN, rankdata(np.where(there_RxN, scores_RxN, np.inf), axis=1), 0.0)
    return np.minimum(ranks_RxN / np.maximum(ranks_RxN.sum(axis=1, keepdims=True), 1.0), config.max_weight)
