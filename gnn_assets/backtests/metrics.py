"""Measures of a series of returns, turnovers or information coefficients, each a pure function of one array.

Returns are simple and a session apart. A measure that the series is too short or too flat for is NaN, never 0.
NaN in information coefficients (not yet realised, or undefined) is left out; returns must have none.
"""

import numpy as np


def sharpe(returns_T: np.ndarray, *, sessions_per_year: int) -> float:
    """Annualised ratio of mean to standard deviation (n − 1); cash is taken to earn nothing.

    References:
        W. Sharpe, The Sharpe Ratio, Journal of Portfolio Management 21(1), 1994. The square root of time assumes
        uncorrelated returns: A. Lo, The Statistics of Sharpe Ratios, Financial Analysts Journal 58(4), 2002.
    """
    return information_ratio(returns_T) * float(np.sqrt(sessions_per_year))


def information_ratio(values_T: np.ndarray) -> float:
    """Mean over standard deviation (n − 1) of the values that are not NaN; of daily ICs this is the ICIR.

    References:
        R. Grinold, R. Kahn, Active Portfolio Management, 2nd ed., McGraw-Hill 2000, ch. 5-6.
    """
    known = values_T[~np.isnan(values_T)]
    if known.size <= 1 or known.min() == known.max():
        return float("nan")
    return float(known.mean() / known.std(ddof=1))


def mean(values_T: np.ndarray) -> float:
    """Mean of the values that are not NaN."""
    known = values_T[~np.isnan(values_T)]
    return float(known.mean()) if known.size else float("nan")


def annual_return(returns_T: np.ndarray, *, sessions_per_year: int) -> float:
    """Compound growth a year: product of (1 + r) to the power of sessions a year over sessions, less 1."""
    if returns_T.size == 0:
        return float("nan")
    return float(np.prod(1.0 + returns_T) ** (sessions_per_year / returns_T.size) - 1.0)


def annual_volatility(returns_T: np.ndarray, *, sessions_per_year: int) -> float:
    """Standard deviation (n − 1) of returns times the square root of sessions a year."""
    if returns_T.size <= 1:
        return float("nan")
    return float(returns_T.std(ddof=1) * np.sqrt(sessions_per_year))


def sortino(returns_T: np.ndarray, *, sessions_per_year: int) -> float:
    """Annualised ratio of mean to downside deviation, the root of the mean of min(r, 0)² over all sessions.

    NaN without a single loss: there is nothing to divide by.

    References:
        F. Sortino, L. Price, Performance Measurement in a Downside Risk Framework, Journal of Investing 3(3), 1994.
    """
    if returns_T.size <= 1 or returns_T.min() >= 0:
        return float("nan")
    downside = np.sqrt((np.minimum(returns_T, 0.0) ** 2).mean())
    return float(returns_T.mean() / downside * np.sqrt(sessions_per_year))


def calmar(returns_T: np.ndarray, *, sessions_per_year: int) -> float:
    """Compound return a year over the depth of the deepest drawdown; NaN where there was none.

    References:
        T. Young, Calmar Ratio: A Smoother Tool, Futures 20(1), 1991. He takes the last 36 months; here all sessions.
    """
    depth = -max_drawdown(returns_T)
    if not depth > 0:
        return float("nan")
    return annual_return(returns_T, sessions_per_year=sessions_per_year) / depth


def beta(returns_T: np.ndarray, benchmark_T: np.ndarray) -> float:
    """Slope of the regression of returns on a benchmark's: covariance over variance; NaN for a flat benchmark.

    Args:
        returns_T: float (T,), simple returns without NaN.
        benchmark_T: float (T,), the benchmark's simple returns of the same sessions, without NaN.

    References:
        M. Jensen, The Performance of Mutual Funds in the Period 1945-1964, Journal of Finance 23(2), 1968.
    """
    if returns_T.size <= 1 or benchmark_T.min() == benchmark_T.max():
        return float("nan")
    centred_T = benchmark_T - benchmark_T.mean()
    return float((centred_T * returns_T).mean() / (centred_T**2).mean())


def alpha(returns_T: np.ndarray, benchmark_T: np.ndarray, *, sessions_per_year: int) -> float:
    """Jensen's alpha, compounded to a year: (1 + mean of (r − beta × benchmark)) ^ sessions a year − 1.

    Args:
        returns_T: float (T,), simple returns without NaN; cash is taken to earn nothing.
        benchmark_T: float (T,), the benchmark's simple returns of the same sessions, without NaN.
        sessions_per_year: annualisation.

    References:
        M. Jensen, 1968, as for `beta`.
    """
    session_alpha = (returns_T - beta(returns_T, benchmark_T) * benchmark_T).mean() if returns_T.size else np.nan
    return float((1.0 + session_alpha) ** sessions_per_year - 1.0)


def max_drawdown(returns_T: np.ndarray) -> float:
    """Deepest fall from a peak of the compounded value, the start counted as a peak: between −1 and 0.

    References:
        M. Magdon-Ismail, A. Atiya, Maximum Drawdown, Risk Magazine 17(10), 2004.
    """
    if returns_T.size == 0:
        return float("nan")
    value_T = np.cumprod(1.0 + returns_T)
    peak_T = np.maximum.accumulate(np.maximum(value_T, 1.0))
    return float((value_T / peak_T - 1.0).min())


def hit_rate(returns_T: np.ndarray) -> float:
    """Share of sessions with a return above 0."""
    return float((returns_T > 0).mean()) if returns_T.size else float("nan")


def annual_turnover(turnover_T: np.ndarray, *, sessions_per_year: int) -> float:
    """Value bought plus value sold in a year, over the portfolio's value."""
    return float(turnover_T.mean() * sessions_per_year) if turnover_T.size else float("nan")


def gross_exposure(weights_TxN: np.ndarray) -> float:
    """Mean over sessions of the sum of absolute weights: 1 is fully invested without leverage."""
    return float(np.abs(weights_TxN).sum(axis=1).mean()) if len(weights_TxN) else float("nan")


def net_exposure(weights_TxN: np.ndarray) -> float:
    """Mean over sessions of the sum of weights: 0 is dollar neutral."""
    return float(weights_TxN.sum(axis=1).mean()) if len(weights_TxN) else float("nan")


def calibrated_errors(ic_T: np.ndarray, *, purge: int, min_sessions: int) -> np.ndarray:
    """Mean squared error, session by session, of forecasting the standardised outcome by slope × standardised score.

    With both sides standardised across names the error of a forecast b·z is 1 + b² − 2·b·IC, and the least-squares b
    over past sessions is their mean IC: no name's data is needed. The naive forecast, b = 0, has error 1 in every
    session, so the square root of a mean of these is the RMSE over the naive one. As in the forecasts that are served,
    a slope below 0 counts as 0.

    Args:
        ic_T: float (T,), information coefficients, NaN where unknown.
        purge: sessions until an IC is known: the slope of row d uses rows up to d − purge.
        min_sessions: known ICs a slope needs.

    Returns:
        float64 (T,), NaN where the IC is unknown or too few came before it.
    """
    known_T = ~np.isnan(ic_T)
    counts_T = np.cumsum(known_T)
    means_T = np.cumsum(np.where(known_T, ic_T, 0.0)) / np.maximum(counts_T, 1)
    slope_T = np.full(ic_T.shape, np.nan)
    slope_T[purge:] = np.where(counts_T >= min_sessions, np.maximum(means_T, 0.0), np.nan)[: max(ic_T.size - purge, 0)]
    return 1.0 + slope_T**2 - 2.0 * slope_T * ic_T


def rmse_ratio(errors_T: np.ndarray) -> float:
    """Root of the mean of `calibrated_errors`: RMSE over the naive forecast's, 1 when the score adds nothing."""
    return float(np.sqrt(mean(errors_T)))
