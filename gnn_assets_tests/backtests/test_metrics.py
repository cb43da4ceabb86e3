"""Each measure against another library's or an independent formula."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.backtests.metrics import (
    annual_return,
    annual_turnover,
    annual_volatility,
    calibrated_errors,
    hit_rate,
    information_ratio,
    max_drawdown,
    mean,
    rmse_ratio,
    sharpe,
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
