import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import rankdata
from sklearn.metrics import mean_absolute_error, mean_squared_error

from gnn_assets.backtests.calibration import DECILES, calibrated_outcomes, score_deciles, walked_forward
from gnn_assets.backtests.cross_section import realised_labels, standardise
from gnn_assets.core.config import build_config
from gnn_assets.forecasts.calibrate import fit_calibration

CONFIG = build_config("test")
EXECUTION = CONFIG.execution
ENOUGH = 40
SCORES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 40)),
    elements=st.one_of(st.integers(-9, 9).map(float), st.just(np.nan)),
)


def test_the_line_is_the_one_the_forecasts_of_that_session_are_served_by(weekdays):
    scores_TxN, fill_returns_TxN = _market(120, holes=True)
    labels_TxN = realised_labels(fill_returns_TxN, execution=EXECUTION)
    intercept_T, slope_T = walked_forward(scores_TxN, labels_TxN, execution=EXECUTION, min_sessions=ENOUGH)
    config = CONFIG.forecasts.model_copy(update={"min_calibration_sessions": ENOUGH})
    for row in (60, 83, 119):
        served = fit_calibration(
            scores_TxN,
            fill_returns_TxN,
            sessions=weekdays[:120],
            session=weekdays[row],
            execution=EXECUTION,
            config=config,
        )
        assert (intercept_T[row], slope_T[row]) == pytest.approx((served.intercept, served.slope), rel=1e-9, abs=1e-12)
    first = ENOUGH - 1 + EXECUTION.purge
    assert np.isnan(slope_T[:first]).all()
    assert np.isfinite(slope_T[first:]).all()


def test_what_comes_later_changes_no_expectation_and_a_leak_would():
    scores_TxN, fill_returns_TxN = _market(120)
    altered_TxN, cut = fill_returns_TxN.copy(), 90
    altered_TxN[cut + 1 :] += np.random.default_rng(3).normal(scale=0.1, size=altered_TxN[cut + 1 :].shape)

    def lines(returns_TxN, execution):
        labels_TxN = realised_labels(returns_TxN, execution=EXECUTION)
        found = walked_forward(scores_TxN, labels_TxN, execution=execution, min_sessions=ENOUGH)
        return np.stack(found)[:, : cut + 1]

    np.testing.assert_array_equal(lines(altered_TxN, EXECUTION), lines(fill_returns_TxN, EXECUTION))
    hasty = EXECUTION.model_copy(update={"horizon": EXECUTION.horizon - 1})
    assert not np.array_equal(lines(altered_TxN, hasty), lines(fill_returns_TxN, hasty), equal_nan=True)


def test_errors_are_those_of_the_calibrated_forecast():
    scores_TxN, fill_returns_TxN = _market(120)
    labels_TxN = realised_labels(fill_returns_TxN, execution=EXECUTION)
    outcomes = calibrated_outcomes(scores_TxN, labels_TxN, execution=EXECUTION, min_sessions=ENOUGH)
    intercept_T, slope_T = walked_forward(scores_TxN, labels_TxN, execution=EXECUTION, min_sessions=ENOUGH)
    for row in (ENOUGH + EXECUTION.purge, 100):
        expected_N = intercept_T[row] + slope_T[row] * standardise(scores_TxN)[row]
        assert outcomes.absolute_error_T[row] == pytest.approx(mean_absolute_error(labels_TxN[row], expected_N))
        assert outcomes.squared_error_T[row] == pytest.approx(mean_squared_error(labels_TxN[row], expected_N))
    unknown = slice(120 - EXECUTION.purge, None)
    assert np.isnan(outcomes.absolute_error_T[unknown]).all()
    assert np.isnan(outcomes.realised_TxD[unknown]).all()


def test_deciles_hold_expectation_and_outcome_of_their_names_less_the_mean_of_all_that_are_known():
    scores_TxN, fill_returns_TxN = _market(120, holes=True)
    labels_TxN = realised_labels(fill_returns_TxN, execution=EXECUTION)
    outcomes = calibrated_outcomes(scores_TxN, labels_TxN, execution=EXECUTION, min_sessions=ENOUGH)
    _, slope_T = walked_forward(scores_TxN, labels_TxN, execution=EXECUTION, min_sessions=ENOUGH)
    z_TxN, deciles_TxN = standardise(scores_TxN), score_deciles(scores_TxN)
    for row in range(60, 80):
        known_N = np.isfinite(z_TxN[row]) & np.isfinite(labels_TxN[row])
        for decile in range(DECILES):
            inside_N = known_N & (deciles_TxN[row] == decile)
            for found, values_N in (
                (outcomes.expected_TxD[row, decile], slope_T[row] * z_TxN[row]),
                (outcomes.realised_TxD[row, decile], labels_TxN[row]),
            ):
                excess_N = values_N - values_N[known_N].mean()
                assert found == pytest.approx(excess_N[inside_N].mean() if inside_N.any() else np.nan, nan_ok=True)


def test_a_score_that_pointed_the_wrong_way_is_expected_to_earn_exactly_nothing():
    scores_TxN, fill_returns_TxN = _market(120)
    labels_TxN = realised_labels(fill_returns_TxN, execution=EXECUTION)
    outcomes = calibrated_outcomes(-scores_TxN, labels_TxN, execution=EXECUTION, min_sessions=ENOUGH)
    assert (outcomes.expected_TxD[100] == 0).all()


@settings(max_examples=30)
@given(SCORES)
def test_deciles_are_tenths_of_the_ranks(scores_TxN):
    deciles_TxN = score_deciles(scores_TxN)
    for scores_N, deciles_N in zip(scores_TxN, deciles_TxN, strict=True):
        there = np.isfinite(scores_N)
        assert (deciles_N[~there] == -1).all()
        middle = (rankdata(scores_N[there]) - 0.5) / max(there.sum(), 1)
        assert (deciles_N[there] == np.floor(middle * DECILES + 1e-9)).all()


def test_a_hundred_different_scores_fill_every_decile_with_ten_and_equal_ones_share_the_middle():
    rng = np.random.default_rng(0)
    deciles = score_deciles(np.stack([rng.permutation(100) / 7, np.ones(100)]))
    assert np.bincount(deciles[0]).tolist() == [10] * DECILES
    assert set(deciles[1].tolist()) == {5}


def _market(n_sessions, *, holes=False):
    """Twenty names whose scores see a little of what is to come."""
    rng = np.random.default_rng(5)
    fill_returns_TxN = rng.normal(scale=0.01, size=(n_sessions, 20))
    labels_TxN = realised_labels(fill_returns_TxN, execution=EXECUTION)
    scores_TxN = np.nan_to_num(labels_TxN) + rng.normal(scale=0.05, size=labels_TxN.shape)
    if holes:
        fill_returns_TxN[rng.random(fill_returns_TxN.shape) < 0.01] = np.nan
        scores_TxN[rng.random(scores_TxN.shape) < 0.05] = np.nan
    return scores_TxN, fill_returns_TxN
