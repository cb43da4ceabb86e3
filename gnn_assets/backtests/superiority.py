"""Which of many candidates beat a benchmark, with one error rate for all of them together.

References:
    P. Hansen, A Test for Superior Predictive Ability, Journal of Business & Economic Statistics 23(4), 2005.
    J. Romano, M. Wolf, Stepwise Multiple Testing as Formalized Data Snooping, Econometrica 73(4), 2005.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gnn_assets.backtests.significance import draw_counts
from gnn_assets.core.config import BacktestsConfig

if TYPE_CHECKING:
    from arch.bootstrap import SPA


@dataclass(frozen=True)
class Superiority:
    """What a family of candidates shows against a benchmark.

    Args:
        p_value: Hansen's consistent p-value of "no candidate is better"; NaN where none can be tested.
        p_lower: the liberal bound, candidates worse than the benchmark left out.
        p_upper: the conservative bound, White's reality check.
        superior: columns of the candidates that are better, found step by step at the family's level.
    """

    p_value: float
    p_lower: float
    p_upper: float
    superior: tuple[int, ...]


def superior_models(candidates_TxM: np.ndarray, benchmark_T: np.ndarray, *, config: BacktestsConfig) -> Superiority:
    """Tests of superior predictive ability of mean returns, and the stepwise set of superior models.

    The library does not studentise, so each difference is divided by its bootstrap deviation first: a wild candidate
    must not set the bar for calm ones. A candidate whose difference never changes cannot be tested: it is left out.

    Args:
        candidates_TxM: float (T, M), simple net returns of the family on common sessions, without NaN.
        benchmark_T: float (T,), the benchmark's on the same sessions.
        config: level of the whole family, mean block, resamples, seed.
    """
    from arch.bootstrap import SPA

    excess_TxM = candidates_TxM - benchmark_T[:, None]
    tested_K = np.flatnonzero(np.ptp(excess_TxM, axis=0) > 0)
    if not tested_K.size:
        return Superiority(p_value=np.nan, p_lower=np.nan, p_upper=np.nan, superior=())
    excess_TxK = excess_TxM[:, tested_K]
    means_RxK = draw_counts(len(excess_TxK), config=config) @ excess_TxK
    test = SPA(
        np.zeros(len(excess_TxK)),
        -excess_TxK / means_RxK.std(axis=0),
        block_size=config.bootstrap_block,
        reps=config.bootstrap_resamples,
        bootstrap="stationary",
        seed=config.seed,
    )
    test.compute()
    lower, consistent, upper = test.pvalues[["lower", "consistent", "upper"]]
    return Superiority(
        p_value=float(consistent),
        p_lower=float(lower),
        p_upper=float(upper),
        superior=tuple(int(column) for column in tested_K[_stepwise(test, tested_K.size, level=1 - config.confidence)]),
    )


def _stepwise(test: "SPA", candidates: int, *, level: float) -> np.ndarray:
    """Step by step: those found superior leave, and the rest is tested anew, until a step finds none.

    The library's own loop fails where the last candidates are found in a later step than the first.
    """
    left_K = np.ones(candidates, dtype=bool)
    while left_K.any():
        test.subset(left_K)
        test.compute()
        better = test.better_models(level)
        if not better.size:
            break
        left_K[better] = False
    return np.flatnonzero(~left_K)
