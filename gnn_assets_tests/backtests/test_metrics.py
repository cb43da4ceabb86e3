"""Each measure against another library's or an independent formula."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.backtests.metrics import (
    alpha,
    annual_return,
    annual_turnover,
    annual_volatility,
    beta,
    calibrated_errors,
    calmar,
    gross_exposure,
    hit_rate,
    information_ratio,
    max_drawdown,
    mean,
    net_exposure,
    rmse_ratio,
    sharpe,
    sortino,
)

YEAR = 252
RETURNS = hnp.arrays(np.float64, st.integers(3, 60), elements=st.integers(-200, 200).map(lambda value: value / 1000))
EMPTY = np.array([])


@given(RETURNS)
def test_sharpe_and_volatility_agree_with_pandas(returns_T):
    series = pd.Series(returns_T)
    assert annual_volatility(returns_T, sessions_per_year=YEAR) == pytest.approx(series.std() * math.sqrt(YEAR))
    if series.nunique() > 1:
        expected = series.mean() / series.std() * math.sqrt(YEAR)
        assert sharpe(returns_T, sessions_per_year=YEAR) == pytest.approx(expected, abs=1e-9)


@given(RETURNS)
def test_annual_return_is_growth_by_logarithms(returns_T):
    expected = math.expm1(sum(math.log1p(r) for r in returns_T) * YEAR / len(returns_T))
    assert annual_return(returns_T, sessions_per_year=YEAR) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(RETURNS)
def test_max_drawdown_is_the_worst_of_all_pairs(returns_T):
    value = [1.0, *np.cumprod(1 + returns_T)]
    worst = min(value[j] / value[i] - 1 for i in range(len(value)) for j in range(i, len(value)))
    assert max_drawdown(returns_T) == pytest.approx(worst, abs=1e-12)


def test_known_answers_by_hand():
    returns_T = np.array([0.10, -0.50, 0.0, 0.20])
    assert max_drawdown(returns_T) == pytest.approx(-0.5)
    assert max_drawdown(np.array([0.1, 0.2])) == 0
    assert max_drawdown(np.array([-0.1, 0.5])) == pytest.approx(-0.1)
    assert hit_rate(returns_T) == 0.5
    assert annual_return(np.array([0.1, 0.1]), sessions_per_year=1) == pytest.approx(0.1)
    assert annual_turnover(np.array([1.0, 0.0, 0.0, 1.0]), sessions_per_year=YEAR) == 126
    assert information_ratio(np.array([1.0, np.nan, 3.0])) == pytest.approx(2 / math.sqrt(2))
    assert mean(np.array([np.nan, 1.0, 2.0])) == 1.5


def test_what_cannot_be_measured_is_nan_and_not_0():
    flat = np.full(9, 0.1)
    assert math.isnan(sharpe(flat, sessions_per_year=YEAR))
    assert math.isnan(information_ratio(np.array([0.5, np.nan])))
    assert math.isnan(annual_volatility(np.array([0.1]), sessions_per_year=YEAR))
    assert math.isnan(mean(np.array([np.nan])))
    assert all(
        math.isnan(value)
        for value in (
            annual_return(EMPTY, sessions_per_year=YEAR),
            annual_turnover(EMPTY, sessions_per_year=YEAR),
            max_drawdown(EMPTY),
            hit_rate(EMPTY),
        )
    )


def test_calibrated_errors_are_those_of_an_actual_forecast():
    rng = np.random.default_rng(5)
    sessions, names, purge, fewest = 60, 12, 3, 10
    scores, labels = rng.normal(size=(sessions, names)), rng.normal(size=(sessions, names))
    labels += 0.7 * scores
    z, outcome = ((x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) for x in (scores, labels))
    errors_T = calibrated_errors((z * outcome).mean(1), purge=purge, min_sessions=fewest)
    for row in range(sessions):
        known = row - purge + 1
        if known < fewest:
            assert np.isnan(errors_T[row])
            continue
        slope = np.polyfit(z[:known].ravel(), outcome[:known].ravel(), 1)[0]
        assert errors_T[row] == pytest.approx(((outcome[row] - slope * z[row]) ** 2).mean())
    assert rmse_ratio(errors_T) < 0.9


def test_a_slope_uses_only_coefficients_known_by_then():
    ic_T = np.random.default_rng(1).normal(loc=0.2, scale=0.2, size=80)
    altered = ic_T.copy()
    altered[50:] = -0.9
    before, after = (calibrated_errors(series, purge=6, min_sessions=5) for series in (ic_T, altered))
    np.testing.assert_array_equal(before[:50], after[:50])
    # Row 55 is scored with the slope of rows up to 49: only its own outcome differs.
    slope = ic_T[:50].mean()
    assert after[55] == pytest.approx(1 + slope**2 + 2 * slope * 0.9)


def test_a_model_that_turns_against_its_past_is_worse_than_naive():
    ic_T = np.r_[np.full(60, 0.9), np.full(30, -0.9)] + np.random.default_rng(0).normal(scale=0.01, size=90)
    errors_T = calibrated_errors(ic_T, purge=1, min_sessions=20)
    assert rmse_ratio(errors_T[60:]) > 1.1
    assert rmse_ratio(errors_T[:60]) < 0.5


def test_a_model_that_was_never_right_is_the_naive_forecast():
    ic_T = np.random.default_rng(0).normal(loc=-0.5, scale=0.1, size=90)
    assert rmse_ratio(calibrated_errors(ic_T, purge=1, min_sessions=20)) == 1


def test_without_enough_known_sessions_there_are_no_errors():
    assert np.isnan(calibrated_errors(np.full(5, 0.1), purge=9, min_sessions=1)).all()
    assert math.isnan(rmse_ratio(calibrated_errors(np.full(5, np.nan), purge=1, min_sessions=1)))


@pytest.fixture(scope="module")
def oracle():
    import empyrical

    return empyrical


# What empyrical has, under our names; its arguments are ours.
SHARED = {
    "sharpe": (sharpe, "sharpe_ratio"),
    "sortino": (sortino, "sortino_ratio"),
    "calmar": (calmar, "calmar_ratio"),
    "annual_return": (annual_return, "annual_return"),
    "annual_volatility": (annual_volatility, "annual_volatility"),
}
# Any series, flat ones, ones of a single session or two, and ones that only lose.
SERIES = st.one_of(
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(-200, 200).map(lambda value: value / 1000)),
    st.builds(np.full, st.integers(1, 30), st.integers(-200, 200).map(lambda value: value / 1000)),
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(-200, -1).map(lambda value: value / 1000)),
)


@pytest.mark.parametrize("name", SHARED)
@given(returns_T=SERIES)
def test_measures_are_empyricals_to_the_ninth_digit(oracle, name, returns_T):
    own, theirs = SHARED[name]
    expected = getattr(oracle, theirs)(returns_T, annualization=YEAR)
    actual = own(returns_T, sessions_per_year=YEAR)
    # Where it divides by 0 it says infinity; here what is not defined is NaN.
    assert actual == pytest.approx(expected if np.isfinite(expected) else math.nan, rel=1e-9, abs=1e-9, nan_ok=True)


@given(SERIES)
def test_the_depth_of_a_drawdown_is_empyricals(oracle, returns_T):
    assert max_drawdown(returns_T) == pytest.approx(oracle.max_drawdown(returns_T), abs=1e-9)


@given(st.integers(1, 50), st.integers(0, 2**32 - 1), st.booleans())
def test_alpha_and_beta_are_empyricals(oracle, sessions, seed, flat):
    rng = np.random.default_rng(seed)
    returns_T = rng.integers(-200, 200, size=sessions) / 1000
    benchmark_T = np.full(sessions, 0.01) if flat else rng.integers(-200, 200, size=sessions) / 1000
    expected = oracle.beta_aligned(returns_T, benchmark_T) if sessions > 1 else math.nan
    assert beta(returns_T, benchmark_T) == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)
    expected = oracle.alpha_aligned(returns_T, benchmark_T, annualization=YEAR)
    actual = alpha(returns_T, benchmark_T, sessions_per_year=YEAR)
    assert actual == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


def test_twice_the_benchmark_plus_a_constant_is_its_beta_and_its_alpha():
    benchmark_T = np.random.default_rng(0).normal(scale=0.01, size=300)
    returns_T = 2 * benchmark_T + 0.0001
    assert beta(returns_T, benchmark_T) == pytest.approx(2)
    assert alpha(returns_T, benchmark_T, sessions_per_year=YEAR) == pytest.approx(1.0001**YEAR - 1)


def test_exposure_is_what_is_invested_and_what_it_leans_to():
    weights_TxN = np.array([[0.5, -0.5, 0.0], [1.0, 0.0, 0.0]])
    assert gross_exposure(weights_TxN) == 1.0
    assert net_exposure(weights_TxN) == 0.5
    assert math.isnan(gross_exposure(weights_TxN[:0]))
    assert math.isnan(net_exposure(weights_TxN[:0]))


def test_ratios_of_nothing_lost_and_of_nothing_at_all_are_nan():
    gains_T = np.array([0.01, 0.0, 0.02])
    assert math.isnan(sortino(gains_T, sessions_per_year=YEAR))
    assert math.isnan(calmar(gains_T, sessions_per_year=YEAR))
    assert math.isnan(calmar(EMPTY, sessions_per_year=YEAR))
    assert math.isnan(sortino(EMPTY, sessions_per_year=YEAR))
    assert math.isnan(beta(EMPTY, EMPTY))
    assert math.isnan(alpha(EMPTY, EMPTY, sessions_per_year=YEAR))
