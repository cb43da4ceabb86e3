import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import LinearRegression

from gnn_assets.graphs.correlation import measured_neighbours
from gnn_assets.graphs.measures import residual
from gnn_assets_tests.graphs.measures.cases import WINDOW, config_of, market, window_of

CONFIG = config_of("residual", min_abs_corr=0.0)


def residuals(returns, **changed):
    return window_of(returns, config=config_of("residual", **changed)).receivers_WxN


def neighbours(returns):
    return measured_neighbours(returns, config=CONFIG, sessions=[len(returns) - 1])


@pytest.mark.parametrize("missing", [0.0, 0.01, 0.2])
def test_they_are_scikit_learns_over_the_sessions_each_series_has(missing):
    rows = market(missing=missing)[-WINDOW:]
    found = residuals(rows)
    factor = np.nanmean(rows, axis=1, keepdims=True)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rows))
    for series, values in zip(rows.T, found.T, strict=True):
        own = np.isfinite(series)
        line = LinearRegression().fit(factor[own], series[own])
        np.testing.assert_allclose(values[own], series[own] - line.predict(factor[own]), rtol=0, atol=1e-15)


def test_what_two_series_owe_to_the_market_alone_makes_no_edge():
    rng = np.random.default_rng(0)
    betas = rng.uniform(0.5, 1.5, size=60)
    returns = 0.02 * rng.normal(size=(WINDOW, 1)) * betas + 0.01 * rng.normal(size=(WINDOW, 60))
    returns[:, 1] += 0.02 * rng.normal(size=WINDOW)
    returns[:, 0] += returns[:, 1] - betas[1] * returns.mean(axis=1)
    unexplained, plain = (
        measured_neighbours(returns, config=config_of(name, min_abs_corr=0.7)).dst_SxNxk[0]
        for name in ("residual", "pearson")
    )
    assert (plain >= 0).mean() > 0.5
    assert unexplained[0, 0] == 1
    assert unexplained[1, 0] == 0
    assert (unexplained >= 0).sum() == 2


@pytest.mark.parametrize("gap", [False, True])
def test_a_series_that_is_the_market_leaves_nothing_and_has_no_neighbours(gap):
    returns = market(n_series=3, common=2.0)
    returns[:, 2] = returns[:, :2].mean(axis=1)
    if gap:
        returns[-3, 2] = np.nan
    assert (residuals(returns)[np.isfinite(returns[-WINDOW:, 2]), 2] == 0).all()
    result = neighbours(returns)
    assert (result.dst_SxNxk[0, 2] == -1).all()
    assert not (result.dst_SxNxk == 2).any()
    np.testing.assert_allclose(result.corr_SxNxk[0, :2, 0], -1, atol=0.1)


def test_the_rule_of_rounding_noise_is_what_keeps_it_out(monkeypatch):
    returns = market(n_series=3, common=2.0)
    returns[:, 2] = returns[:, :2].mean(axis=1)
    monkeypatch.setattr(residual, "_CONSTANT", 0.0)
    assert (neighbours(returns).dst_SxNxk == 2).any()


@pytest.mark.parametrize("copies", [1, 2, 7])
def test_one_series_however_often_is_its_own_market(copies):
    returns = np.repeat(market(n_series=1), copies, axis=1)
    assert (residuals(returns) == 0).all()
    assert (neighbours(returns).dst_SxNxk == -1).all()


@pytest.mark.parametrize("level", [0.0, 0.1, -1 / 3])
def test_a_constant_series_leaves_nothing(level):
    returns = market()
    returns[:, 4] = level
    assert (residuals(returns)[:, 4] == 0).all()
    result = neighbours(returns)
    assert (result.dst_SxNxk[0, 4] == -1).all()
    assert not (result.dst_SxNxk == 4).any()


@pytest.mark.parametrize(("sessions", "defined"), [(0, False), (2, False), (3, True)])
def test_fewer_than_three_sessions_determine_no_line(sessions, defined):
    returns = market()
    returns[: len(returns) - sessions, 4] = np.nan
    found = residuals(returns)
    assert np.isfinite(found[:, 4]).sum() == (sessions if defined else 0)
    assert np.isfinite(found[:, :4]).all()


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_a_market_that_never_changes_explains_nothing_and_defines_nothing(level):
    half = market(n_series=3)
    assert np.isnan(residuals(np.hstack([half, -half]) + level)).all()


def test_the_rule_of_cancelled_returns_is_what_keeps_noise_from_being_a_market(monkeypatch):
    half = market(n_series=3)
    monkeypatch.setattr(residual, "_CONSTANT", 0.0)
    assert np.isfinite(residuals(np.hstack([half, -half]))).any()


cells = st.one_of(st.just(np.nan), st.integers(-3, 3).map(lambda n: n / 4), st.floats(-1, 1, width=16))


@given(hnp.arrays(np.float64, st.tuples(st.just(8), st.integers(0, 6)), elements=cells))
def test_they_sum_to_zero_and_owe_nothing_to_the_market_for_any_table(returns):
    found = residuals(returns, window=8, min_overlap=2)
    present = np.isfinite(found)
    assert not present[np.isnan(returns)].any()
    values = np.where(present, found, 0.0)
    counts = np.isfinite(returns).sum(axis=1)
    factor = np.nan_to_num(returns).sum(axis=1) / np.maximum(counts, 1)
    np.testing.assert_allclose(values.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(factor @ values, 0, atol=1e-9)
