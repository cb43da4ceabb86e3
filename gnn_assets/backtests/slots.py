"""Strategies that are in a name or out of it: each name has an equal slot, which is full or cash."""

import numpy as np


def slots(on_TxN: np.ndarray, known_TxN: np.ndarray, rows_R: np.ndarray, *, cap: float) -> np.ndarray:
    """Weights of equal slots, one for each name that is known; the slots of those that are off stay cash.

    Args:
        on_TxN: bool (T, N).
        known_TxN: bool (T, N), names whose indicator is known.
        rows_R: int (R,), the rows wanted.
        cap: most of the portfolio in one name (share).

    Returns:
        float64 (R, N), shares of the portfolio's value.
    """
    known_RxN = known_TxN[rows_R]
    size_R = 1.0 / np.maximum(known_RxN.sum(axis=1), 1)
    return np.where(on_TxN[rows_R] & known_RxN, np.minimum(size_R, cap)[:, None], 0.0)


def latched(enters_TxN: np.ndarray, leaves_TxN: np.ndarray) -> np.ndarray:
    """Names that entered and have not left since: bool (T, N), each row made of itself and rows before it."""
    changes_TxN = enters_TxN | leaves_TxN
    row_TxN = np.where(changes_TxN, np.arange(len(changes_TxN))[:, None], -1)
    last_TxN = np.maximum.accumulate(row_TxN, axis=0)
    return (last_TxN >= 0) & np.take_along_axis(enters_TxN, np.maximum(last_TxN, 0), axis=0)
