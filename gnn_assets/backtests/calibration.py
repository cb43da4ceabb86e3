"""What return a score stood for at the time, and whether it came: calibration walked forward over the backtest."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnn_assets.backtests.cross_section import standardise
from gnn_assets.core.config import ExecutionConfig

DECILES = 10


@dataclass(frozen=True)
class Outcomes:
    """One model's calibrated forecasts against what came, session by session; NaN where nothing is known.

    Args:
        absolute_error_T: float (T,), mean over names of |realised − expected| log return.
        squared_error_T: float (T,), mean over names of its square.
        expected_TxD: float (T, 10), mean expected log return of each decile of the session's scores, less the
            session's mean over all names.
        realised_TxD: float (T, 10), the same of the realised log return.
    """

    absolute_error_T: Float[np.ndarray, " T"]
    squared_error_T: Float[np.ndarray, " T"]
    expected_TxD: Float[np.ndarray, "T D"]
    realised_TxD: Float[np.ndarray, "T D"]


def calibrated_outcomes(
    scores_TxN: Float[np.ndarray, "T N"],
    labels_TxN: Float[np.ndarray, "T N"],
    *,
    execution: ExecutionConfig,
    min_sessions: int,
) -> Outcomes:
    """Holds each session's calibrated forecasts against its outcomes.

    Args:
        scores_TxN: float (T, N), out-of-sample scores of one model, NaN where there is none.
        labels_TxN: float (T, N), realised log returns, NaN where unknown.
        execution: its purge says when an outcome is known.
        min_sessions: sessions with a known outcome that a calibration needs.

    Known at: the expectation at the session's close, the outcome once the horizon has passed.
    """
    intercept_T, slope_T = walked_forward(scores_TxN, labels_TxN, execution=execution, min_sessions=min_sessions)
    z_TxN = standardise(scores_TxN)
    error_TxN = labels_TxN - (intercept_T[:, None] + slope_T[:, None] * z_TxN)
    deciles_TxN = score_deciles(scores_TxN)
    known_TxN = np.isfinite(error_TxN)
    # Without its intercept: a slope of 0 then expects exactly nothing of every decile.
    tilt_TxN = _less_mean(slope_T[:, None] * z_TxN, known_TxN)
    return Outcomes(
        absolute_error_T=_mean_where(np.abs(error_TxN), known_TxN),
        squared_error_T=_mean_where(error_TxN**2, known_TxN),
        expected_TxD=_by_decile(tilt_TxN, deciles_TxN, known_TxN),
        realised_TxD=_by_decile(_less_mean(labels_TxN, known_TxN), deciles_TxN, known_TxN),
    )


def walked_forward(
    scores_TxN: Float[np.ndarray, "T N"],
    labels_TxN: Float[np.ndarray, "T N"],
    *,
    execution: ExecutionConfig,
    min_sessions: int,
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
    """The line from standardised score to log return as it would have been fitted at each session's close.

    Pooled least squares over every earlier out-of-sample pair whose outcome was known by then; as in the forecasts
    that are served, a slope below 0 counts as 0.

    Args:
        scores_TxN: float (T, N), NaN where there is none.
        labels_TxN: float (T, N), log returns, NaN where unknown.
        execution: row d's line uses rows up to d − purge.
        min_sessions: sessions with a known outcome that a line needs.

    Returns:
        Intercept (log return) and slope (log return per cross-sectional deviation), float64 (T,) each; NaN where too
        few sessions came before.

    Known at: the session's close.
    """
    z_TxN = standardise(scores_TxN)
    known_TxN = np.isfinite(z_TxN) & np.isfinite(labels_TxN)
    z_TxN, y_TxN = np.where(known_TxN, z_TxN, 0.0), np.where(known_TxN, labels_TxN, 0.0)
    pairs_T = np.cumsum(known_TxN.sum(axis=1))
    counted_T = np.maximum(pairs_T, 1)
    z_T, y_T, zz_T, zy_T = (
        np.cumsum(values_TxN.sum(axis=1)) / counted_T for values_TxN in (z_TxN, y_TxN, z_TxN**2, z_TxN * y_TxN)
    )
    variance_T = zz_T - z_T**2
    fitted_T = np.divide(zy_T - z_T * y_T, variance_T, out=np.zeros(len(z_T)), where=variance_T > 0)
    slope_T = np.maximum(fitted_T, 0.0)
    enough_T = np.cumsum(known_TxN.any(axis=1)) >= min_sessions
    intercept_T = _later(np.where(enough_T, y_T - slope_T * z_T, np.nan), execution.purge)
    return intercept_T, _later(np.where(enough_T, slope_T, np.nan), execution.purge)


def score_deciles(scores_TxN: Float[np.ndarray, "T N"]) -> np.ndarray:
    """Tenth of its session's scores that each score is in, 0 for the lowest; equal scores share the one in their middle.

    Args:
        scores_TxN: float (T, N), NaN where there is none.

    Returns:
        int64 (T, N), −1 where there is no score.
    """
    from scipy.stats import rankdata

    finite_TxN = np.isfinite(scores_TxN)
    ranks_TxN = rankdata(np.where(finite_TxN, scores_TxN, np.inf), axis=1)
    counts_Tx1 = np.maximum(finite_TxN.sum(axis=1, keepdims=True), 1)
    deciles_TxN = np.minimum((ranks_TxN - 0.5) * DECILES // counts_Tx1, DECILES - 1).astype(np.int64)
    return np.where(finite_TxN, deciles_TxN, -1)


def _later(values_T: np.ndarray, sessions: int) -> np.ndarray:
    """The values so many rows later, NaN before."""
    later_T = np.full(values_T.shape, np.nan)
    later_T[sessions:] = values_T[: max(values_T.size - sessions, 0)]
    return later_T


def _less_mean(values_TxN: np.ndarray, known_TxN: np.ndarray) -> np.ndarray:
    return values_TxN - _mean_where(values_TxN, known_TxN)[:, None]


def _by_decile(values_TxN: np.ndarray, deciles_TxN: np.ndarray, known_TxN: np.ndarray) -> np.ndarray:
    columns = [_mean_where(values_TxN, known_TxN & (deciles_TxN == decile)) for decile in range(DECILES)]
    return np.stack(columns, axis=1)


def _mean_where(values_TxN: np.ndarray, known_TxN: np.ndarray) -> np.ndarray:
    """Row means over the known cells, NaN for a row without any."""
    counts_T = known_TxN.sum(axis=1)
    sums_T = np.where(known_TxN, values_TxN, 0.0).sum(axis=1)
    return np.divide(sums_T, counts_T, out=np.full(len(sums_T), np.nan), where=counts_T > 0)
