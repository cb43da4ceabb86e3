"""Strategies that hold the best names, or these against the worst: what they ask for, ranked once and picked.

A name that was picked before stays until its rank falls beyond the limit, so that two names of nearly equal score do
not take turns at the edge (hysteresis). Only as many of those as places stay, the best ranked.
"""

import numpy as np

from gnn_assets.backtests import compiled
from gnn_assets.backtests.compiled import Picks, Ranks

# (1 + hysteresis) times held is a whole number more often than float64 says.
_ROUNDING = 1e-9


def picks_of(*, held: int, hysteresis: float, cap: float, long: float = 1.0, short: float = 0.0) -> Picks:
    """The picks of a strategy.

    Args:
        held: names a side; with fewer finite scores all of them, or half of them on each of two sides.
        hysteresis: a name stays while its rank is at most held x (1 + this).
        cap: most of the portfolio in one name (share); what is over stays cash.
        long: value of the best together (share of the portfolio).
        short: value of the worst together (share); 0 for none.
    """
    limit = int(held * (1.0 + hysteresis) + _ROUNDING)
    return Picks(held=held, limit=limit, long=float(long), short=float(short), cap=float(cap))


def ranked(scores_TxN: np.ndarray, rows_R: np.ndarray) -> Ranks:
    """Ranks the finite scores of some rows, the highest first.

    Args:
        scores_TxN: float (T, N), unitless, NaN where there is no score.
        rows_R: int (R,), rows to be ranked; each has a finite score.

    Known at: a row's order depends on that row alone.
    """
    scores_RxN = scores_TxN[rows_R]
    finite_RxN = np.isfinite(scores_RxN)
    falling_RxN = np.where(finite_RxN, -scores_RxN, np.inf)
    highest_R = np.where(finite_RxN, scores_RxN, -np.inf).max(axis=1, initial=-np.inf)
    lowest_R = -np.where(finite_RxN, falling_RxN, -np.inf).max(axis=1, initial=-np.inf)
    row_T = np.full(len(scores_TxN), -1, dtype=np.int32)
    row_T[rows_R] = np.arange(len(rows_R))
    return Ranks(
        row_T=row_T,
        order_RxN=np.argsort(falling_RxN, axis=1, kind="stable").astype(np.int32),
        count_R=finite_RxN.sum(axis=1).astype(np.int32),
        flat_R=highest_R == lowest_R,
    )


def picked(scores_TxN: np.ndarray, rows_R: np.ndarray, picks: Picks) -> np.ndarray:
    """Weights of the names picked on some rows, one row after another.

    Scores that are all equal choose nobody: then every name with a finite score is held in equal parts, or, with a
    short side, none.

    Args:
        scores_TxN: float (T, N), unitless, NaN where there is no score. Equal scores are taken in index order.
        rows_R: int (R,), ascending rows.
        picks: what is picked.

    Returns:
        float64 (R, N), shares of the portfolio's value; all 0 in a row without a finite score.

    Known at: row r depends on the given rows up to r.
    """
    weights_RxN = np.zeros((len(rows_R), scores_TxN.shape[1]))
    compiled.pick_rows(ranked(scores_TxN, rows_R), picks, weights_RxN)
    return weights_RxN
