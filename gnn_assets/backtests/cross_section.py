"""Cross-sections: one session's scores against one session's outcomes."""

import numpy as np

from gnn_assets.core.config import ExecutionConfig

# Two names always correlate perfectly; three are the fewest that say anything.
_FEWEST_NAMES = 3


def realised_labels(fill_returns_TxN: np.ndarray, *, execution: ExecutionConfig) -> np.ndarray:
    """What each score was about: the log return from its fill over the horizon.

    Args:
        fill_returns_TxN: float (T, N), log return from the previous row's fill price to this row's, NaN where missing.
        execution: fill lag and horizon.

    Returns:
        float64 (T, N): row d is the sum of rows d + lag + 1 to d + lag + horizon; NaN where any of them is missing or
        still to come.

    Known at: row d's label at the close of row d + lag + horizon.
    """
    labels_TxN = np.full(fill_returns_TxN.shape, np.nan)
    known = len(fill_returns_TxN) - execution.purge
    if known > 0:
        first = execution.fill_lag + 1
        windows = np.lib.stride_tricks.sliding_window_view(fill_returns_TxN[first:], execution.horizon, axis=0)
        labels_TxN[:known] = windows[:known].sum(axis=-1)
    return labels_TxN


def standardise(values_TxN: np.ndarray) -> np.ndarray:
    """Each row with mean 0 and population standard deviation 1 over its finite cells.

    Args:
        values_TxN: float (T, N), NaN or infinite where there is no value.

    Returns:
        float64 (T, N), NaN where not finite; 0 in rows whose finite cells are all equal.
    """
    finite_TxN = np.isfinite(values_TxN)
    counts_T = np.maximum(finite_TxN.sum(axis=1), 1)
    filled_TxN = np.where(finite_TxN, values_TxN, 0.0).astype(np.float64)
    centred_TxN = np.where(finite_TxN, filled_TxN - (filled_TxN.sum(axis=1) / counts_T)[:, None], 0.0)
    # Equal cells must give 0 exactly, not the dust of a rounded mean blown up to order one.
    highest_T = np.where(finite_TxN, values_TxN, -np.inf).max(axis=1, initial=-np.inf)
    lowest_T = np.where(finite_TxN, values_TxN, np.inf).min(axis=1, initial=np.inf)
    spread_T = np.where(highest_T > lowest_T, np.sqrt((centred_TxN**2).sum(axis=1) / counts_T), np.inf)
    return np.where(finite_TxN, centred_TxN / spread_T[:, None], np.nan)


def information_coefficients(scores_TxN: np.ndarray, labels_TxN: np.ndarray) -> np.ndarray:
    """Pearson correlation of score and outcome across names, row by row.

    Args:
        scores_TxN: float (T, N), NaN where missing.
        labels_TxN: float (T, N), log returns, NaN where missing.

    Returns:
        float64 (T,), NaN with fewer than three common names or where either side is constant.

    References:
        R. Grinold, R. Kahn, Active Portfolio Management, 2nd ed., McGraw-Hill 2000, ch. 6 (information coefficient).
    """
    common_TxN = np.isfinite(scores_TxN) & np.isfinite(labels_TxN)
    score_z_TxN = standardise(np.where(common_TxN, scores_TxN, np.nan))
    label_z_TxN = standardise(np.where(common_TxN, labels_TxN, np.nan))
    counts_T = common_TxN.sum(axis=1)
    products_T = np.where(common_TxN, score_z_TxN * label_z_TxN, 0.0).sum(axis=1)
    defined_T = (
        (counts_T >= _FEWEST_NAMES)
        & np.where(common_TxN, score_z_TxN != 0, False).any(axis=1)
        & np.where(common_TxN, label_z_TxN != 0, False).any(axis=1)
    )
    return np.where(defined_T, products_T / np.maximum(counts_T, 1), np.nan)


def rank_information_coefficients(scores_TxN: np.ndarray, labels_TxN: np.ndarray) -> np.ndarray:
    """Spearman correlation of score and outcome across names, row by row; equal values share their mean rank.

    Args:
        scores_TxN: float (T, N), NaN where missing.
        labels_TxN: float (T, N), log returns, NaN where missing.

    Returns:
        float64 (T,), NaN with fewer than three common names or where either side is constant.
    """
    common_TxN = np.isfinite(scores_TxN) & np.isfinite(labels_TxN)
    return information_coefficients(_ranks(scores_TxN, common_TxN), _ranks(labels_TxN, common_TxN))


def _ranks(values_TxN: np.ndarray, among_TxN: np.ndarray) -> np.ndarray:
    ranks_TxN = np.full(values_TxN.shape, np.nan)
    for row, among_N in enumerate(among_TxN):
        _, place, counts = np.unique(values_TxN[row, among_N], return_inverse=True, return_counts=True)
        ranks_TxN[row, among_N] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks_TxN
