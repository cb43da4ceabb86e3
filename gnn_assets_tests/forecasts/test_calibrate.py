import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.backtests.cross_section import realised_labels
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DataError
from gnn_assets.forecasts.calibrate import fit_calibration
from gnn_assets_tests.lookahead import assert_no_lookahead

CONFIG = build_config("test")
SESSIONS, NAMES = 300, 15


def test_a_true_line_is_found(calendar):
    scores_TxN, returns_TxN = _panels(slope=0.02)
    fitted = _fit(scores_TxN, returns_TxN, calendar)
    outcomes = realised_labels(returns_TxN, execution=CONFIG.execution)
    assert fitted.slope == fitted.fitted_slope == pytest.approx(0.02, abs=0.002)
    assert fitted.intercept == pytest.approx(np.nanmean(outcomes), abs=1e-5)
    assert fitted.largest_outcome == pytest.approx(np.nanmax(np.abs(outcomes)))
    assert fitted.pairs == fitted.sessions * NAMES
    assert fitted.sessions == SESSIONS - CONFIG.execution.purge


def test_the_line_is_the_least_squares_line_of_known_pairs(calendar):
    scores_TxN, returns_TxN = _panels(slope=0.01)
    rng = np.random.default_rng(2)
    scores_TxN[rng.random(scores_TxN.shape) < 0.1] = np.nan
    returns_TxN[rng.random(returns_TxN.shape) < 0.02] = np.nan
    fitted = _fit(scores_TxN, returns_TxN, calendar)
    z = (scores_TxN - np.nanmean(scores_TxN, 1, keepdims=True)) / np.nanstd(scores_TxN, 1, keepdims=True)
    outcomes = realised_labels(returns_TxN, execution=CONFIG.execution)
    known = np.isfinite(z) & np.isfinite(outcomes)
    assert (fitted.slope, fitted.intercept) == pytest.approx(tuple(np.polyfit(z[known], outcomes[known], 1)))
    assert fitted.pairs == known.sum()


def test_the_scale_of_scores_does_not_matter(calendar):
    scores_TxN, returns_TxN = _panels(slope=0.02)
    scales_Tx1 = np.random.default_rng(0).uniform(0.01, 100, size=(SESSIONS, 1))
    one, other = (_fit(scores, returns_TxN, calendar) for scores in (scores_TxN, 7 + scores_TxN * scales_Tx1))
    assert one.slope == pytest.approx(other.slope)
    np.testing.assert_allclose(one.expected_returns(scores_TxN[5]), other.expected_returns(7 + 3 * scores_TxN[5]))


def test_a_negative_slope_is_reported_and_served_as_0(calendar):
    scores_TxN, returns_TxN = _panels(slope=-0.02)
    fitted = _fit(scores_TxN, returns_TxN, calendar)
    assert fitted.fitted_slope < -0.015
    assert fitted.slope == 0
    assert set(fitted.expected_returns(scores_TxN[0])) == {fitted.intercept}


def test_scores_that_are_all_equal_expect_the_mean(calendar):
    _, returns_TxN = _panels(slope=0)
    fitted = _fit(np.ones_like(returns_TxN), returns_TxN, calendar)
    assert fitted.fitted_slope == fitted.slope == 0
    assert fitted.expected_returns(np.array([2.0, np.nan, 2.0])) == pytest.approx(
        [fitted.intercept, np.nan, fitted.intercept], nan_ok=True
    )


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_new_outcomes_fall_inside_the_interval_as_often_as_it_says(calendar, coverage):
    scores_TxN, returns_TxN = _panels(slope=0.02, skewed=True)
    half = calendar.sessions[SESSIONS // 2]
    config = CONFIG.forecasts.model_copy(update={"coverage": coverage})
    fitted = _fit(scores_TxN, returns_TxN, calendar, session=half, config=config)
    outcomes = realised_labels(returns_TxN, execution=CONFIG.execution)[SESSIONS // 2 :]
    errors = outcomes - np.array([fitted.expected_returns(row) for row in scores_TxN[SESSIONS // 2 :]])
    errors = errors[np.isfinite(errors)]
    inside = (errors >= fitted.lower_quantile) & (errors <= fitted.upper_quantile)
    assert inside.mean() == pytest.approx(coverage, abs=0.03)


@pytest.mark.parametrize("move", [-5.0, 5.0])
def test_the_interval_always_holds_its_own_expectation(calendar, move):
    # One crash, or one jump, among calm sessions drags the mean past nearly every outcome.
    returns_TxN = np.zeros((SESSIONS, NAMES))
    returns_TxN[100] = move
    fitted = _fit(_panels(slope=0)[0], returns_TxN, calendar)
    assert fitted.lower_quantile <= 0 <= fitted.upper_quantile


def test_too_few_known_outcomes_are_refused(calendar):
    scores_TxN, returns_TxN = _panels(slope=0.02)
    needed = CONFIG.forecasts.min_calibration_sessions
    last = calendar.sessions[needed + CONFIG.execution.purge - 1]
    assert _fit(scores_TxN, returns_TxN, calendar, session=last).sessions == needed
    with pytest.raises(DataError, match=f"at least {needed} out-of-sample sessions .* was {needed - 1}"):
        _fit(scores_TxN, returns_TxN, calendar, session=calendar.sessions[needed + CONFIG.execution.purge - 2])


@given(cut=st.integers(90, SESSIONS - 2), seed=st.integers(0, 100))
@settings(max_examples=40)
def test_what_becomes_known_later_changes_nothing(calendar, cut, seed):
    scores_TxN, returns_TxN = _panels(slope=0.02)
    before = _fit(scores_TxN, returns_TxN, calendar, session=calendar.sessions[cut])
    noise = np.random.default_rng(seed)
    scores_TxN[cut + 1 :] = noise.normal(size=scores_TxN[cut + 1 :].shape) * 1e6
    returns_TxN[cut + 1 :] = noise.normal(size=returns_TxN[cut + 1 :].shape)
    assert _fit(scores_TxN, returns_TxN, calendar, session=calendar.sessions[cut]) == before
    assert before.last_session == calendar.sessions[cut - CONFIG.execution.purge]


def test_the_shared_look_ahead_test_agrees_and_sees_a_planted_leak(calendar):
    scores_TxN, returns_TxN = _panels(slope=0.02)
    sessions = list(calendar.sessions[:SESSIONS])
    data = {"scores": scores_TxN, "returns": returns_TxN}

    def calibrated(ahead):
        def compute(inputs):
            slopes = np.full(SESSIONS, np.nan)
            for row in range(100, SESSIONS - ahead, 20):
                with np.errstate(all="ignore"):
                    fitted = _fit(inputs["scores"], inputs["returns"], calendar, session=sessions[row + ahead])
                slopes[row] = fitted.fitted_slope
            return {"slopes": slopes}

        return compute

    assert_no_lookahead(calibrated(0), data, at=sessions[180], sessions=sessions)
    with pytest.raises(AssertionError, match="look-ahead"):
        assert_no_lookahead(calibrated(5), data, at=sessions[180], sessions=sessions)


def _fit(scores_TxN, returns_TxN, calendar, *, session=None, config=CONFIG.forecasts):
    return fit_calibration(
        scores_TxN,
        returns_TxN,
        sessions=list(calendar.sessions[:SESSIONS]),
        session=session or calendar.sessions[SESSIONS - 1],
        execution=CONFIG.execution,
        config=config,
    )


def _panels(*, slope, skewed=False):
    """Scores and fill returns whose sum over each target is slope × standardised score + drift + noise."""
    rng = np.random.default_rng(9)
    noise_TxN = rng.normal(scale=0.01, size=(SESSIONS, NAMES))
    if skewed:
        noise_TxN = 0.01 * (rng.exponential(size=(SESSIONS, NAMES)) - 1)
    noise_TxN += 0.001
    outcomes = realised_labels(noise_TxN, execution=CONFIG.execution)
    # The score is built from the outcome, so that returns stay independent from session to session.
    spread = np.nanstd(outcomes)
    known = np.where(np.isfinite(outcomes), outcomes - np.nanmean(outcomes), 0.0)
    hidden = rng.normal(size=(SESSIONS, NAMES))
    share = np.clip(slope / spread, -0.99, 0.99)
    return share * known / spread + np.sqrt(1 - share**2) * hidden, noise_TxN
