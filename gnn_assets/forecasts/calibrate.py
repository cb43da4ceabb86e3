"""From a unitless score to an expected return with an interval, learned from out-of-sample predictions alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from gnn_assets.backtests.cross_section import realised_labels, standardise
from gnn_assets.core.config import ExecutionConfig, ForecastsConfig
from gnn_assets.core.errors import DataError


@dataclass(frozen=True)
class Calibration:
    """A straight line from standardised score to log return, and how far outcomes fell from it.

    Args:
        session: the close the calibration was made at.
        intercept: expected log return of an average score.
        slope: log return per cross-sectional deviation of score; never below 0.
        fitted_slope: the slope least squares gave, of whatever sign.
        lower_quantile: outcome minus expectation at the interval's lower end (log return), at most 0.
        upper_quantile: the same at the upper end, at least 0.
        largest_outcome: largest |log return| among the outcomes.
        sessions: sessions of scores whose outcome was known.
        pairs: scores with a known outcome.
        first_session: first of those sessions.
        last_session: last of those sessions.
    """

    session: date
    intercept: float
    slope: float
    fitted_slope: float
    lower_quantile: float
    upper_quantile: float
    largest_outcome: float
    sessions: int
    pairs: int
    first_session: date
    last_session: date

    def expected_returns(self, scores_N: np.ndarray) -> np.ndarray:
        """Expected log returns of one session's scores, NaN where there is no finite score.

        Args:
            scores_N: float (N,), unitless.
        """
        return self.intercept + self.slope * standardise(scores_N[np.newaxis])[0]


def fit_calibration(
    scores_TxN: np.ndarray,
    fill_returns_TxN: np.ndarray,
    *,
    sessions: Sequence[date],
    session: date,
    execution: ExecutionConfig,
    config: ForecastsConfig,
) -> Calibration:
    """Fits the line by pooled least squares and the interval by quantiles of what it leaves.

    Scores are standardised across each session's names, so that a fold's arbitrary scale does not count. A fitted
    slope below 0 is reported and served as 0: a score promises that higher is better, and to turn it round here would
    serve a contrarian model that no gate has judged. The interval has the corrected ranks of split-conformal
    prediction. Its promise needs exchangeable residuals, which overlapping returns in changing markets are not, and
    the two coefficients come from the same outcomes: its coverage is an estimate, to be watched live.

    Args:
        scores_TxN: float (T, N), out-of-sample scores of one model, NaN where there is none.
        fill_returns_TxN: float (T, N), log return from the previous row's fill price to this row's, NaN where missing.
        sessions: the T sessions, ascending.
        session: the close at which the calibration is made; rows after it are not looked at.
        execution: fill lag and horizon, which say when an outcome is known.
        config: coverage of the interval and the fewest sessions.

    Known at: the close of `session`.

    Raises:
        DataError: if fewer sessions than `config.min_calibration_sessions` have a known outcome.

    References:
        J. Lei, M. G'Sell, A. Rinaldo, R. Tibshirani, L. Wasserman, Distribution-free predictive inference for
        regression, JASA 113(523), 2018, section 2.2. Here each tail has its own quantile.
    """
    past = sessions.index(session) + 1
    outcomes_TxN = realised_labels(fill_returns_TxN[:past], execution=execution)
    standardised_TxN = standardise(scores_TxN[:past])
    known_TxN = np.isfinite(standardised_TxN) & np.isfinite(outcomes_TxN)
    rows = np.flatnonzero(known_TxN.any(axis=1))
    if rows.size < config.min_calibration_sessions:
        raise DataError.of(
            f"calibration at {session}",
            expected=f"at least {config.min_calibration_sessions} out-of-sample sessions with a known outcome",
            was=rows.size,
            do="start the bars earlier, or lower forecasts.min_calibration_sessions",
        )
    score_P, outcome_P = standardised_TxN[known_TxN], outcomes_TxN[known_TxN]
    centred_P = score_P - score_P.mean()
    variation = float(centred_P @ centred_P)
    fitted_slope = float(centred_P @ outcome_P) / variation if variation > 0 else 0.0
    slope = max(fitted_slope, 0.0)
    intercept = float(outcome_P.mean() - slope * score_P.mean())
    lower, upper = _tails(outcome_P - intercept - slope * score_P, coverage=config.coverage)
    return Calibration(
        session=session,
        intercept=intercept,
        slope=slope,
        fitted_slope=fitted_slope,
        lower_quantile=min(lower, 0.0),
        upper_quantile=max(upper, 0.0),
        largest_outcome=float(np.abs(outcome_P).max()),
        sessions=int(rows.size),
        pairs=int(outcome_P.size),
        first_session=sessions[rows[0]],
        last_session=sessions[rows[-1]],
    )


def _tails(residuals_P: np.ndarray, *, coverage: float) -> tuple[float, float]:
    """The residuals between which a new one falls with at least the given probability, half the rest on each side."""
    ordered_P = np.sort(residuals_P)
    reach = int(np.floor((ordered_P.size + 1) * (1 - coverage) / 2))
    outside = max(reach, 1) - 1
    return float(ordered_P[outside]), float(ordered_P[ordered_P.size - 1 - outside])
