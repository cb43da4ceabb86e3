"""Probability of backtest overfitting: how often the best trial of one half of history is a poor one of the other.

References:
    D. Bailey, J. Borwein, M. Lopez de Prado, Q. Zhu, The Probability of Backtest Overfitting, Journal of Computational
    Finance 20(4), 2017 (first 2015).
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gnn_assets.core.errors import DataError

_BATCH = 1024  # halves judged at once: a few megabytes, whatever the number of trials
# A half whose variance is this far below its mean square holds one and the same return, and rounding.
_FLAT = 1e-13


@dataclass(frozen=True)
class Overfitting:
    """How choosing the best trial in sample fares out of sample.

    Args:
        probability: share of splits in which the best trial of one half ranks below the median of the other, half of
            those in which it is the median counted: 0 where the choice holds, about one half where it is worth nothing.
        logits_C: float64 (C,), log odds of its relative rank in each of the C splits; below 0 is overfit.
        loss: share of splits in which the best trial of one half has a negative Sharpe ratio in the other.
    """

    probability: float
    logits_C: np.ndarray
    loss: float


def overfitting(returns_TxM: np.ndarray, *, blocks: int) -> Overfitting:
    """Combinatorially symmetric cross-validation of a choice by Sharpe ratio.

    The sessions are cut into blocks in order of time; every half of the blocks is once in sample, the other half out of
    sample. The logit is ln(ω / (1 − ω)), ω the in-sample best's rank out of sample over M + 1; equals share their mean
    rank. All splits cost one matrix product, because a Sharpe ratio needs only the sums of each block.

    Args:
        returns_TxM: float (T, M), returns of the M trials on common sessions, without NaN.
        blocks: S, even; there are S over S/2 splits.

    Raises:
        DataError: for fewer than two trials or fewer sessions than blocks.
    """
    sessions, trials = returns_TxM.shape
    if trials <= 1 or sessions < blocks:
        raise DataError.of(
            "trials behind a backtest",
            expected=f"at least 2 of at least {blocks} sessions",
            was=f"{trials} of {sessions} sessions",
            do="judge more of them, or lower backtests.overfitting_blocks",
        )
    length_S, sums_SxM, squares_SxM = _block_sums(returns_TxM, blocks=blocks)
    halves_CxS = _halves(blocks)
    logits, losses = [], []
    for batch_BxS in np.array_split(halves_CxS, -(-len(halves_CxS) // _BATCH)):
        inside_BxM, outside_BxM = (
            _sharpe(part_BxS @ length_S, part_BxS @ sums_SxM, part_BxS @ squares_SxM)
            for part_BxS in (batch_BxS, 1.0 - batch_BxS)
        )
        chosen_B = outside_BxM[np.arange(len(batch_BxS)), inside_BxM.argmax(axis=1)][:, None]
        rank_B = (outside_BxM < chosen_B).sum(axis=1) + ((outside_BxM == chosen_B).sum(axis=1) + 1) / 2
        logits.append(np.log(rank_B / (trials + 1 - rank_B)))
        losses.append(chosen_B[:, 0] < 0)
    logits_C = np.concatenate(logits)
    return Overfitting(
        probability=float(((logits_C < 0) + (logits_C == 0) / 2).mean()),
        logits_C=logits_C,
        loss=float(np.concatenate(losses).mean()),
    )


def _halves(blocks: int) -> np.ndarray:
    """Every half of the blocks as a row of zeros and ones, (C, S)."""
    chosen_CxH = np.array(list(combinations(range(blocks), blocks // 2)))
    halves_CxS = np.zeros((len(chosen_CxH), blocks))
    np.put_along_axis(halves_CxS, chosen_CxH, 1.0, axis=1)
    return halves_CxS


def _block_sums(returns_TxM: np.ndarray, *, blocks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each block its sessions (S,), and its sums of returns and of their squares (S, M); the first blocks longest."""
    parts = np.array_split(returns_TxM, blocks)
    return (
        np.array([float(len(part)) for part in parts]),
        np.stack([part.sum(axis=0) for part in parts]),
        np.stack([(part**2).sum(axis=0) for part in parts]),
    )


def _sharpe(length_B: np.ndarray, sums_BxM: np.ndarray, squares_BxM: np.ndarray) -> np.ndarray:
    """Mean over standard deviation (n − 1); 0 without variation, so that standing still is never the best choice."""
    mean_BxM = sums_BxM / length_B[:, None]
    square_BxM = squares_BxM / length_B[:, None]
    variance_BxM = square_BxM - mean_BxM**2
    moves_BxM = variance_BxM > _FLAT * square_BxM
    correction_B = np.sqrt((length_B - 1) / length_B)[:, None]
    return np.divide(mean_BxM * correction_B, np.sqrt(variance_BxM), out=np.zeros_like(mean_BxM), where=moves_BxM)
