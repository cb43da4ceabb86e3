import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.backtests.risk import correlations, covariance, measured
from gnn_assets.core.config import build_config
from gnn_assets.graphs.measures import shrunk

CONFIG = build_config("test")
FORECAST = CONFIG.backtests.sizing.forecast.model_copy(update={"window": 40, "half_life": 12.0, "min_share": 0.5})
EVENLY = FORECAST.model_copy(update={"half_life": None})


def _returns(n_sessions=60, n_names=5, *, seed=0, absent=0.0, spread=False):
    """Log returns that share a market: all of them alike, or some of them against others."""
    rng = np.random.default_rng(seed)
    shape = (n_sessions, n_names)
    share_N = np.linspace(-5, 5, n_names) if spread else np.ones(n_names)
    simple_TxN = 0.01 * share_N * rng.normal(size=(n_sessions, 1)) + 0.02 * rng.normal(size=shape)
    return np.where(rng.random(shape) < absent, np.nan, np.log1p(simple_TxN))


def _correlation(covariance_MxM):
    deviation_M = np.sqrt(np.diag(covariance_MxM))
    return covariance_MxM / np.outer(deviation_M, deviation_M)


@pytest.mark.parametrize("forecast", [FORECAST, EVENLY])
def test_variances_are_pandas_and_correlations_are_too_all_drawn_to_their_mean_by_the_same_share(forecast):
    returns_TxN = _returns(spread=True)
    simple = pd.DataFrame(np.expm1(returns_TxN[11:51]))
    if forecast.half_life is None:
        variance_N, correlation_NxN = simple.var().to_numpy(), simple.corr().to_numpy()
    else:
        weighted = simple.ewm(halflife=forecast.half_life)
        variance_N, correlation_NxN = weighted.var().to_numpy()[-1], weighted.corr().loc[39].to_numpy()
    result_NxN = covariance(returns_TxN, 50, np.arange(5), config=forecast)
    np.testing.assert_allclose(np.diag(result_NxN), variance_N, rtol=1e-12)
    off_diagonal = ~np.eye(5, dtype=bool)
    mean = correlation_NxN[off_diagonal].mean()
    kept = (_correlation(result_NxN)[off_diagonal] - mean) / (correlation_NxN[off_diagonal] - mean)
    np.testing.assert_allclose(kept, kept[0], rtol=1e-9)
    assert 0.1 < kept[0] < 1


def test_the_noise_of_correlations_is_what_the_shrunk_graph_measure_finds():
    returns_TxN = _returns(n_names=30, spread=True)
    graphs = CONFIG.graphs.model_copy(update={"window": 40, "min_overlap": 20})
    share = shrunk.window_at(np.expm1(returns_TxN), 59, config=graphs).shrinkage
    result_NxN = _correlation(covariance(returns_TxN, 59, np.arange(30), config=EVENLY))
    sample_NxN = np.corrcoef(np.expm1(returns_TxN[20:]).T)
    off_diagonal = ~np.eye(30, dtype=bool)
    mean = sample_NxN[off_diagonal].mean()
    # The graph's target is zero: the same noise is a larger share of the smaller distance to the mean.
    drawn = share * (sample_NxN[off_diagonal] ** 2).sum() / ((sample_NxN[off_diagonal] - mean) ** 2).sum()
    assert 0.1 < drawn < 0.9
    expected = mean + (1 - drawn) * (sample_NxN[off_diagonal] - mean)
    np.testing.assert_allclose(result_NxN[off_diagonal], expected, rtol=1e-9)


def test_equal_parts_of_all_names_look_as_risky_as_they_were():
    returns_TxN = _returns(n_names=30)
    result_NxN = _correlation(covariance(returns_TxN, 59, np.arange(30), config=EVENLY))
    assert result_NxN.sum() == pytest.approx(np.corrcoef(np.expm1(returns_TxN[20:]).T).sum(), rel=1e-9)


@given(seed=st.integers(0, 1000), absent=st.sampled_from([0.0, 0.3]), n_names=st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_no_portfolio_has_a_variance_below_zero(seed, absent, n_names):
    returns_TxN = _returns(n_names=n_names, seed=seed, absent=absent)
    names_M = np.flatnonzero(measured(returns_TxN, 59, config=FORECAST))
    result_MxM = covariance(returns_TxN, 59, names_M, config=FORECAST)
    np.testing.assert_array_equal(result_MxM, result_MxM.T)
    assert np.linalg.eigvalsh(result_MxM).min(initial=0.0) > -1e-18


def test_a_missing_return_has_no_say_in_a_variance():
    returns_TxN = _returns()
    returns_TxN[[30, 41], 2] = np.nan
    simple = pd.Series(np.expm1(returns_TxN[20:, 2]))
    expected = simple.ewm(halflife=12.0).var().to_numpy()[-1]
    assert covariance(returns_TxN, 59, np.arange(5), config=FORECAST)[2, 2] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.001])
def test_a_price_that_stands_still_says_nothing_of_its_risk(constant):
    returns_TxN = _returns()
    returns_TxN[:, 1] = constant
    assert measured(returns_TxN, 59, config=FORECAST).tolist() == [True, False, True, True, True]


def test_risk_is_told_of_names_with_enough_of_the_window_and_of_nobody_before_that():
    returns_TxN = _returns()
    returns_TxN[20:40, 1] = np.nan  # 20 of 40: just enough
    returns_TxN[20:41, 2] = np.nan
    assert measured(returns_TxN, 59, config=FORECAST).tolist() == [True, True, False, True, True]
    assert not measured(returns_TxN, 18, config=FORECAST).any()
    assert measured(returns_TxN, 19, config=FORECAST).all()


def test_nothing_older_than_the_window_counts():
    returns_TxN = _returns()
    other_TxN = returns_TxN.copy()
    other_TxN[:20] = 9.0
    for function in (covariance, correlations):
        np.testing.assert_array_equal(
            function(returns_TxN, 59, np.arange(5), config=FORECAST),
            function(other_TxN, 59, np.arange(5), config=FORECAST),
        )


def test_correlations_are_pandas_over_the_sessions_that_both_have():
    returns_TxN = _returns(absent=0.2)
    returns_TxN[:, 4] = np.nan
    expected_NxN = pd.DataFrame(returns_TxN[20:]).corr(min_periods=20).to_numpy(copy=True)
    np.fill_diagonal(expected_NxN, np.nan)
    result_NxN = correlations(returns_TxN, 59, np.arange(5), config=EVENLY)
    np.testing.assert_allclose(result_NxN, expected_NxN, rtol=1e-6)
    assert np.isnan(result_NxN[4]).all()


def test_correlations_of_nobody_and_of_one_name_are_none():
    for names_M in (np.array([], dtype=np.int64), np.array([3])):
        assert np.isnan(correlations(_returns(), 59, names_M, config=FORECAST)).all()
