import math

import numpy as np
import pytest
from scipy import stats

from gnn_assets.backtests.decay import ic_by_horizon, ic_decay, ic_statistics, newey_west_t
from gnn_assets.core.config import build_config

EXECUTION = build_config("test").execution
SESSIONS, NAMES, LONGEST = 120, 15, 10


def autocorrelated(rng, sessions, rho):
    values_T = rng.normal(size=sessions)
    for t in range(1, sessions):
        values_T[t] += rho * values_T[t - 1]
    return values_T


@pytest.mark.parametrize("lags", [0, 1, 4, 20])
def test_the_t_is_that_of_statsmodels(lags):
    from statsmodels.api import OLS

    values_T = 0.1 + autocorrelated(np.random.default_rng(lags), 300, 0.5)
    fit = OLS(values_T, np.ones(300)).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
    assert newey_west_t(values_T, lags=lags) == pytest.approx(fit.tvalues.item(), rel=1e-9)


def test_labels_that_overlap_need_the_lags():
    # Mean 0, each value shared by five sessions: the ordinary t cries wolf, the corrected one hardly does.
    rng = np.random.default_rng(3)
    series = [np.convolve(rng.normal(size=504), np.ones(5), mode="valid") for _ in range(300)]
    plain, corrected = (np.mean([abs(newey_west_t(x_T, lags=lags)) > 1.96 for x_T in series]) for lags in (0, 8))
    assert plain > 0.3
    assert corrected < 0.12


def test_statistics_of_known_values_only():
    ic_T = np.array([0.1, np.nan, -0.1, 0.3, 0.1, np.nan])
    found = ic_statistics(ic_T, lags=1)
    known = np.array([0.1, -0.1, 0.3, 0.1])
    assert found.sessions == 4
    assert found.mean == pytest.approx(0.1)
    assert found.deviation == pytest.approx(stats.tstd(known))
    assert found.icir == pytest.approx(0.1 / stats.tstd(known))
    assert found.positive == 0.75
    assert found.t == pytest.approx(newey_west_t(known, lags=1))


@pytest.mark.parametrize("ic_T", [np.array([]), np.full(9, np.nan), np.array([0.1])])
def test_of_one_value_or_none_there_is_no_deviation_and_no_t(ic_T):
    found = ic_statistics(ic_T, lags=0)
    assert all(math.isnan(value) for value in (found.deviation, found.icir, found.t))


def test_a_flat_or_short_series_has_no_t():
    assert math.isnan(newey_west_t(np.full(30, 0.1), lags=2))
    assert math.isnan(newey_west_t(np.array([0.1, 0.2, 0.3]), lags=2))


def panel(seed=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(SESSIONS, NAMES)), rng.normal(scale=0.01, size=(SESSIONS, NAMES))


@pytest.mark.parametrize("horizon", [1, 2, 10])
def test_each_column_is_the_correlation_with_the_return_over_so_many_sessions(horizon):
    scores_TxN, fills_TxN = panel()
    ic_TxH = ic_by_horizon(scores_TxN, fills_TxN, horizons=LONGEST, execution=EXECUTION)
    first = 30 + EXECUTION.fill_lag + 1
    expected = np.corrcoef(scores_TxN[30], fills_TxN[first : first + horizon].sum(axis=0))[0, 1]
    assert ic_TxH[30, horizon - 1] == pytest.approx(expected)


def test_only_realised_outcomes_are_used():
    scores_TxN, fills_TxN = panel()
    ic_TxH = ic_by_horizon(scores_TxN, fills_TxN, horizons=LONGEST, execution=EXECUTION)
    for horizon in range(1, LONGEST + 1):
        known = SESSIONS - EXECUTION.fill_lag - horizon
        assert np.isfinite(ic_TxH[:known, horizon - 1]).all()
        assert np.isnan(ic_TxH[known:, horizon - 1]).all()
    altered_TxN = fills_TxN.copy()
    altered_TxN[80:] = 0.5
    after_TxH = ic_by_horizon(scores_TxN, altered_TxN, horizons=LONGEST, execution=EXECUTION)
    for horizon in range(1, LONGEST + 1):
        told = 80 - EXECUTION.fill_lag - horizon
        np.testing.assert_array_equal(ic_TxH[:told, horizon - 1], after_TxH[:told, horizon - 1])


def test_a_signal_for_one_session_fades_by_the_root_of_the_horizon():
    rng = np.random.default_rng(5)
    fills_TxN = rng.normal(scale=0.01, size=(900, 60))
    scores_TxN = np.zeros_like(fills_TxN)
    lead = EXECUTION.fill_lag + 1
    scores_TxN[:-lead] = fills_TxN[lead:]
    decay_H = ic_decay(ic_by_horizon(scores_TxN, fills_TxN, horizons=4, execution=EXECUTION))
    np.testing.assert_allclose(decay_H, 1 / np.sqrt([1, 2, 3, 4]), atol=0.02)


def test_all_horizons_are_taken_over_the_same_sessions():
    ic_TxH = np.array([[0.1, 0.2], [0.3, 0.4], [9.0, np.nan]])
    np.testing.assert_allclose(ic_decay(ic_TxH), [0.2, 0.3])
    assert np.isnan(ic_decay(ic_TxH[2:])).all()
