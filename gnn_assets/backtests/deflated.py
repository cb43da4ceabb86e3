"""Sharpe ratios after the tries behind them: probabilistic, deflated, and how long a record must be.

All ratios here are of one session, not annualised; divide an annual one by the root of sessions a year, a variance of
annual ones by sessions a year. What moments do not allow is NaN.

References:
    D. Bailey, M. Lopez de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk 15(2), 2012.
    D. Bailey, M. Lopez de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5), 2014.
"""

from statistics import NormalDist

import numpy as np

_FEWEST = 4  # sessions a kurtosis without bias needs
_DECIMALS = 9  # of an eigenvalue: copies give 1.9999999999 or 2.0000000001 where 2 is meant


def probabilistic_sharpe(returns_T: np.ndarray, *, benchmark: float) -> float:
    """Probability that the true Sharpe ratio lies above a benchmark, skew and fat tails taken into account.

    Φ((SR − SR*) √(T − 1) / √(1 − γ₃ SR + (γ₄ − 1) SR² / 4)), γ₃ the skew and γ₄ the kurtosis (3 of a normal).

    Args:
        returns_T: float (T,), simple returns without NaN.
        benchmark: SR*, a session; 0 is cash.

    Returns:
        NaN for fewer than four sessions, without variation, or where the variance above is not positive.

    References:
        Bailey and Lopez de Prado 2012, eq. 7.
    """
    from purgedcv import probabilistic_sharpe_ratio

    return float("nan") if _moments(returns_T) is None else probabilistic_sharpe_ratio(returns_T, benchmark)


def min_track_record(returns_T: np.ndarray, *, benchmark: float, confidence: float) -> float:
    """Sessions a record with these moments needs until its probabilistic Sharpe ratio reaches `confidence`.

    1 + (1 − γ₃ SR + (γ₄ − 1) SR² / 4) (z / (SR − SR*))², rounded up.

    Args:
        returns_T: float (T,), simple returns without NaN.
        benchmark: SR*, a session.
        confidence: above one half.

    Returns:
        Whole sessions; infinity where the Sharpe ratio is not above the benchmark; NaN as in `probabilistic_sharpe`.

    References:
        Bailey and Lopez de Prado 2012, eq. 11.
    """
    from purgedcv import min_track_record_length

    moments = _moments(returns_T)
    if moments is None:
        return float("nan")
    sharpe, skew, kurtosis = moments
    return min_track_record_length(sharpe, benchmark, 1 - confidence, skew, kurtosis)


def expected_max_sharpe(*, trials: float, variance: float) -> float:
    """The Sharpe ratio that the best of so many trials without skill is expected to show.

    √V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))), γ the Euler-Mascheroni constant.

    Args:
        trials: N, independent trials, at least 1; need not be whole.
        variance: V, of the trials' Sharpe ratios, a session.

    References:
        Bailey and Lopez de Prado 2014, eq. 1 and appendix 1.
    """
    if trials <= 1:
        return 0.0
    normal = NormalDist()
    highest = normal.inv_cdf(1 - 1 / trials)
    beyond = normal.inv_cdf(1 - 1 / (trials * np.e))
    # Below about 1.3 trials the approximation falls under 0, which not even one trial expects.
    return float(np.sqrt(variance) * max((1 - np.euler_gamma) * highest + np.euler_gamma * beyond, 0.0))


def deflated_sharpe(returns_T: np.ndarray, *, trials: float, variance: float) -> float:
    """Probability that the true Sharpe ratio lies above what the best of `trials` without skill would show.

    Args:
        returns_T: float (T,), simple returns of the chosen trial, without NaN.
        trials: independent trials behind the choice, as `effective_trials` counts them.
        variance: of the trials' Sharpe ratios, a session, as from `trial_variance`.

    Returns:
        NaN as in `probabilistic_sharpe`.

    References:
        Bailey and Lopez de Prado 2014, eq. 2.
    """
    return probabilistic_sharpe(returns_T, benchmark=expected_max_sharpe(trials=trials, variance=variance))


def effective_trials(returns_TxM: np.ndarray) -> float:
    """How many independent trials M correlated ones amount to.

    The sum over eigenvalues λ of their correlation matrix of [λ ≥ 1] + λ − ⌊λ⌋: M for uncorrelated trials, 1 for
    copies of one, g for g groups of copies. It counts more than the participation ratio does where one factor runs
    through all trials, and so errs towards doubt.

    Args:
        returns_TxM: float (T, M), returns of the trials on common sessions, without NaN. A trial that never moves is
            no trial.

    Returns:
        At least 1, at most M.

    References:
        J. Li, L. Ji, Adjusting multiple testing in multilocus analyses using the eigenvalues of a correlation matrix,
        Heredity 95, 2005. D. Bailey and M. Lopez de Prado 2014, appendix 3, interpolate by the mean correlation, which
        cannot tell groups of copies from one factor.
    """
    moving_TxM = returns_TxM[:, returns_TxM.min(axis=0) < returns_TxM.max(axis=0)]
    if moving_TxM.shape[1] <= 1:
        return 1.0
    eigenvalues_M = np.linalg.eigvalsh(np.corrcoef(moving_TxM, rowvar=False)).clip(min=0).round(_DECIMALS)
    return float(((eigenvalues_M >= 1) + eigenvalues_M - np.floor(eigenvalues_M)).sum().clip(1, moving_TxM.shape[1]))


def trial_variance(returns_TxM: np.ndarray) -> float:
    """Variance of the trials' Sharpe ratios, a session, and no less than chance alone gives one ratio: 1 / (T − 1).

    Ratios of correlated trials lie close together. A smaller variance would discount their correlation a second time,
    after `effective_trials`, and the bar would stand below what the best of them shows without any skill.

    Args:
        returns_TxM: float (T, M), returns of the trials on common sessions, without NaN.

    References:
        A. Lo, The Statistics of Sharpe Ratios, Financial Analysts Journal 58(4), 2002: the variance of one ratio.
    """
    deviation_M = returns_TxM.std(axis=0, ddof=1)
    moving_M = returns_TxM.min(axis=0) < returns_TxM.max(axis=0)
    ratios_M = returns_TxM.mean(axis=0)[moving_M] / deviation_M[moving_M]
    measured = float(ratios_M.var(ddof=1)) if ratios_M.size > 1 else 0.0
    return max(measured, 1 / (len(returns_TxM) - 1))


def _moments(returns_T: np.ndarray) -> tuple[float, float, float] | None:
    """Sharpe ratio (deviation n), skew and kurtosis (both without bias), as the library takes them; None if undefined."""
    from scipy import stats

    if returns_T.size < _FEWEST or returns_T.min() == returns_T.max():
        return None
    sharpe = float(returns_T.mean() / returns_T.std())
    skew, kurtosis = float(stats.skew(returns_T, bias=False)), float(stats.kurtosis(returns_T, bias=False)) + 3
    return (sharpe, skew, kurtosis) if 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2 > 0 else None
