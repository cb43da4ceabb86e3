"""Equal parts of the names with the highest scores."""

import numpy as np

from gnn_assets.backtests.compiled import Picks
from gnn_assets.backtests.ranks import picked, picks_of
from gnn_assets.backtests.signals import Signals
from gnn_assets.core.config import BacktestsConfig

NEEDS = ("scores",)
SIGNED = False


def picks(config: BacktestsConfig) -> Picks:
    """The `held` best; one held before stays until its rank falls beyond `held` x (1 + `hysteresis`)."""
    return picks_of(held=config.held, hysteresis=config.hysteresis, cap=config.max_weight)


def target_weights(signals: Signals, rows_R: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Holds the `config.held` highest finite scores in equal parts, long only.

    Scores that are all equal choose nobody: then every name with a finite score is held in equal parts. With fewer
    finite scores than places all of them are held. Equal scores are taken in index order.
    """
    return picked(signals.scores_TxN, rows_R, picks(config))
