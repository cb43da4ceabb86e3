"""The names with the highest scores against those with the lowest."""

import numpy as np

from gnn_assets.backtests.compiled import Picks
from gnn_assets.backtests.ranks import picked, picks_of
from gnn_assets.backtests.signals import Signals
from gnn_assets.core.config import BacktestsConfig

NEEDS = ("scores",)
SIGNED = True


def picks(config: BacktestsConfig) -> Picks:
    """The `held` best and the `held` worst, half of the exposure each, with the hysteresis of `top_k` on either side."""
    side = config.strategies.long_short.exposure / 2
    return picks_of(held=config.held, hysteresis=config.hysteresis, cap=config.max_weight, long=side, short=side)


def target_weights(signals: Signals, rows_R: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Buys the `config.held` highest finite scores and sells as many of the lowest, in equal parts.

    With fewer than two scores a place it takes half of the names a side; scores that are all equal choose nobody.
    """
    return picked(signals.scores_TxN, rows_R, picks(config))
