import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from gnn_assets.backtests.deflated import (
    deflated_sharpe,
    effective_trials,
    expected_max_sharpe,
    min_track_record,
    probabilistic_sharpe,
    trial_variance,
)

YEAR = 252


def quantiles(sessions):
    """A normal sample without its noise."""
    return np.array([NormalDist().inv_cdf((t + 0.5) / sessions) for t in range(sessions)])


def fitted(series, start, *, sharpe, skew, kurtosis):
    """A series with exactly these moments, as the library estimates them, found in a family of two parameters."""

    def miss(shape):
        values_T = series(shape)
        return [stats.skew(values_T, bias=False) - skew, stats.kurtosis(values_T, bias=False) + 3 - kurtosis]

    values_T = series(optimize.root(miss, x0=start, tol=1e-12).x)
    values_T = (values_T - values_T.mean()) / values_T.std() + sharpe
    assert stats.skew(values_T, bias=False) == pytest.approx(skew, abs=1e-6)
    assert stats.kurtosis(values_T, bias=False) + 3 == pytest.approx(kurtosis, abs=1e-6)
    return values_T


def psr(sharpe, benchmark, sessions, skew, kurtosis):
    """The formula of the paper, by hand."""
    deviation = math.sqrt(1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2)
    return NormalDist().cdf((sharpe - benchmark) * math.sqrt(sessions - 1) / deviation)


def test_the_example_of_the_paper_on_deflation():
    # Five years of daily returns, annual Sharpe 2.5 after 100 trials whose annual ratios have a variance of 0.5.
    assert expected_max_sharpe(trials=100, variance=0.5 / 250) == pytest.approx(0.1132, abs=5e-5)
    # Its skew of -3 and kurtosis of 10 leave but one distribution: gains of one size, and losses of one in 8.4 %.
    values_T = np.r_[np.full(1145, 1.0), np.full(105, -1.0)]
    assert stats.skew(values_T, bias=False) == pytest.approx(-3, abs=0.005)
    assert stats.kurtosis(values_T, bias=False) + 3 == pytest.approx(10, abs=0.05)
    returns_T = (values_T - values_T.mean()) / values_T.std() + 2.5 / math.sqrt(250)
    assert deflated_sharpe(returns_T, trials=100, variance=0.5 / 250) == pytest.approx(0.9004, abs=3e-4)
    # After 46 trials it would have passed at 95 %.
    assert deflated_sharpe(returns_T, trials=46, variance=0.5 / 250) == pytest.approx(0.9505, abs=3e-4)


def test_the_example_of_the_paper_on_probability():
    # Two years of monthly returns, annual Sharpe 1.585, two bad months; as if normal it would be 0.982.
    z_T = quantiles(24)
    returns_T = fitted(lambda lowest: np.r_[lowest, z_T[2:]], [-6, -2], sharpe=0.458, skew=-2.448, kurtosis=10.164)
    assert probabilistic_sharpe(returns_T, benchmark=0.0) == pytest.approx(0.913, abs=5e-4)


@pytest.mark.parametrize(("year", "years"), [(250, 2.73), (52, 2.83), (12, 3.24)])
def test_the_example_of_the_paper_on_track_records(year, years):
    # Normal returns, annual Sharpe 2 against 1: daily, weekly and monthly records. Ours are whole sessions.
    z_T = quantiles(500)
    normal_T = fitted(
        lambda shape: z_T + shape[0] * z_T**2 + shape[1] * z_T**3,
        [0, 0],
        sharpe=2 / math.sqrt(year),
        skew=0,
        kurtosis=3,
    )
    length = min_track_record(normal_T, benchmark=1 / math.sqrt(year), confidence=0.95)
    assert (length - 1) / year < years + 0.005 < (length + 1) / year


@given(st.integers(20, 300), st.integers(0, 2**32 - 1), st.floats(-0.2, 0.2), st.integers(1, 400))
@settings(max_examples=40)
def test_both_probabilities_are_those_of_the_papers_formula_and_of_the_library(sessions, seed, benchmark, trials):
    from purgedcv import deflated_sharpe_ratio

    returns_T = np.random.default_rng(seed).standard_t(5, size=sessions) * 0.01 + 0.0005
    sharpe = returns_T.mean() / returns_T.std()
    moments = stats.skew(returns_T, bias=False), stats.kurtosis(returns_T, bias=False) + 3
    expected = psr(sharpe, benchmark, sessions, *moments)
    assert probabilistic_sharpe(returns_T, benchmark=benchmark) == pytest.approx(expected, abs=1e-9)
    deflated = deflated_sharpe(returns_T, trials=trials, variance=0.004)
    assert deflated == pytest.approx(deflated_sharpe_ratio(returns_T, trials, 0.004), abs=1e-9)


@given(st.integers(30, 200), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_a_record_of_the_least_length_is_just_long_enough(sessions, seed):
    returns_T = np.random.default_rng(seed).normal(0.001, 0.01, size=sessions)
    length = min_track_record(returns_T, benchmark=0.01, confidence=0.95)
    sharpe = returns_T.mean() / returns_T.std()
    moments = stats.skew(returns_T, bias=False), stats.kurtosis(returns_T, bias=False) + 3
    if sharpe <= 0.01:
        assert length == math.inf
    else:
        assert psr(sharpe, 0.01, length, *moments) >= 0.95 > psr(sharpe, 0.01, length - 1, *moments)


# The library's own check of a flat series is by an exact 0 of the deviation, which rounding breaks.
@pytest.mark.parametrize("returns_T", [np.full(50, 0.1), np.full(50, 0.0), np.array([0.1, 0.2, 0.3]), np.array([])])
def test_what_has_no_moments_has_no_probability(returns_T):
    assert math.isnan(probabilistic_sharpe(returns_T, benchmark=0.0))
    assert math.isnan(deflated_sharpe(returns_T, trials=10, variance=0.01))
    assert math.isnan(min_track_record(returns_T, benchmark=0.0, confidence=0.95))


def test_moments_that_would_make_a_variance_negative_have_no_probability():
    # Four sessions that alternate: kurtosis without bias is below 1, and the library refuses with an error.
    returns_T = np.array([0.09, 0.09, 0.11, 0.11])
    assert math.isnan(probabilistic_sharpe(returns_T, benchmark=0.0))
    assert math.isnan(min_track_record(returns_T, benchmark=0.0, confidence=0.95))


@pytest.mark.parametrize("trials", [10, 50, 500])
def test_the_best_of_so_many_noise_trials_shows_what_is_expected(trials):
    rng = np.random.default_rng(trials)
    sessions, repeats = 252, 250
    best = []
    for _ in range(repeats):
        noise_TxM = rng.normal(size=(sessions, trials)).astype(np.float32)
        best.append((noise_TxM.mean(axis=0) / noise_TxM.std(axis=0)).max())
    expected = expected_max_sharpe(trials=trials, variance=1 / sessions)
    assert np.mean(best) == pytest.approx(expected, rel=0.05)


def test_one_trial_is_no_choice():
    assert expected_max_sharpe(trials=1, variance=0.01) == 0
    assert expected_max_sharpe(trials=1.1, variance=0.01) == 0
    returns_T = np.random.default_rng(0).normal(0.001, 0.01, size=300)
    assert deflated_sharpe(returns_T, trials=1, variance=0.01) == probabilistic_sharpe(returns_T, benchmark=0.0)


def one_factor(rng, sessions, trials, rho):
    factor_T, own_TxM = rng.normal(size=sessions), rng.normal(size=(sessions, trials))
    return math.sqrt(rho) * factor_T[:, None] + math.sqrt(1 - rho) * own_TxM


def test_independent_trials_are_as_many_as_they_are():
    assert effective_trials(np.random.default_rng(0).normal(size=(2000, 40))) == pytest.approx(40, abs=0.01)


def test_copies_are_one_trial_and_groups_of_copies_as_many_as_groups():
    rng = np.random.default_rng(1)
    base_TxG = rng.normal(size=(500, 3))
    base_TxG -= base_TxG.mean(axis=0)
    base_TxG = np.linalg.qr(base_TxG)[0]
    assert effective_trials(np.repeat(base_TxG[:, :1], 20, axis=1)) == 1
    assert effective_trials(np.repeat(base_TxG, 7, axis=1)) == 3
    # The opposite of a trial is the same bet.
    assert effective_trials(np.c_[base_TxG[:, 0], -base_TxG[:, 0]]) == 1


def test_one_common_factor_leaves_what_the_formula_says():
    # Eigenvalues 1 + 49 x 0.5 = 25.5 and 49 times 0.5: 1 + 0.5 + 24.5.
    found = effective_trials(one_factor(np.random.default_rng(2), 20_000, 50, 0.5))
    assert found == pytest.approx(26, abs=0.6)


def test_a_trial_that_never_moves_is_no_trial():
    rng = np.random.default_rng(3)
    moving_TxM = rng.normal(size=(400, 5))
    with_flat_TxM = np.c_[moving_TxM, np.zeros(400)]
    assert effective_trials(with_flat_TxM) == effective_trials(moving_TxM)
    assert trial_variance(with_flat_TxM) == trial_variance(moving_TxM)
    assert effective_trials(np.zeros((400, 5))) == 1
    assert trial_variance(np.zeros((401, 5))) == 1 / 400


def test_different_skills_raise_the_variance_above_chance():
    rng = np.random.default_rng(4)
    skilled_TxM = rng.normal(size=(500, 30)) + rng.normal(scale=0.1, size=30)
    ratios_M = skilled_TxM.mean(axis=0) / skilled_TxM.std(axis=0, ddof=1)
    assert trial_variance(skilled_TxM) == pytest.approx(ratios_M.var(ddof=1))
    assert trial_variance(skilled_TxM) > 2 / 500


def test_the_bar_for_correlated_noise_is_not_below_what_its_best_shows():
    rng = np.random.default_rng(5)
    best, bars, low = [], [], []
    for _ in range(200):
        trials_TxM = one_factor(rng, 252, 50, 0.6)
        ratios_M = trials_TxM.mean(axis=0) / trials_TxM.std(axis=0, ddof=1)
        count = effective_trials(trials_TxM)
        best.append(ratios_M.max())
        bars.append(expected_max_sharpe(trials=count, variance=trial_variance(trials_TxM)))
        low.append(expected_max_sharpe(trials=count, variance=ratios_M.var(ddof=1)))
    assert np.mean(bars) > np.mean(best)
    # With the measured variance alone the correlation counts twice, and the bar is too low.
    assert np.mean(low) < np.mean(best)
