"""Losses and costs that rise: Page-Hinkley's sum, what is found and how soon, and that only more is an alarm."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.core.config import build_config
from gnn_assets.monitoring.change import cost_drift, cost_limit, residual_drift, residual_reference, risen_sum
from gnn_assets_tests.monitoring.quiet_market import N_SYMBOLS, quiet_market

HYSTERESIS = 0.1
CONFIG = build_config("sample").drift
SYMBOLS = tuple(f"S{number}" for number in range(N_SYMBOLS))


@cache
def market():
    return quiet_market(7, 1008 + 252)


@cache
def of_losses():
    return residual_reference(market().losses[:1008], config=CONFIG, hysteresis=HYSTERESIS)


def drift_of(losses):
    return residual_drift(of_losses(), losses, sessions=range(len(losses)), config=CONFIG)


def costs(rows, *, factor=1.0):
    now = market()[rows]
    return factor * now.paid, now.modelled, now.traded


@cache
def limit_of_costs():
    return cost_limit(*costs(slice(0, 1008)), config=CONFIG, hysteresis=HYSTERESIS)


@given(
    hnp.arrays(np.float64, st.integers(1, 40), elements=st.integers(-40, 40).map(lambda n: n / 8)), st.integers(1, 8)
)
def test_the_risen_sum_is_page_s_recursion(excess, eighths):
    allowance, level, expected = eighths / 8, 0.0, []
    for value in excess:
        level = max(0.0, level + value - allowance)
        expected.append(level)
    np.testing.assert_allclose(risen_sum(excess, allowance=allowance), expected, atol=1e-12)


def test_a_loss_that_rises_by_its_deviation_is_found_within_three_months_and_dated():
    quiet = market().losses[1008:1158]
    assert not drift_of(quiet).value > drift_of(quiet).limit
    change = 80
    worse = quiet + of_losses().deviation * (np.arange(150) >= change)
    found = next(end for end in range(1, 151) if drift_of(worse[:end]).value > of_losses().limit)
    assert change < found <= change + 63
    drift = drift_of(worse[: change + 63])
    sessions = int(drift.window.split()[0])
    assert abs(sessions - 63) <= 15
    assert all(int(offender.split()[0]) >= change + 63 - sessions for offender in drift.offenders)
    assert len(drift.offenders) == 10


def test_a_loss_that_falls_is_no_alarm_and_leaves_no_credit():
    better = market().losses[1008:1108] - of_losses().deviation
    assert drift_of(better).value == pytest.approx(0, abs=of_losses().limit / 4)
    worse = np.concatenate([better, market().losses[1108:1168] + of_losses().deviation])
    assert drift_of(worse).value > of_losses().limit


def test_sessions_without_an_outcome_yet_change_nothing():
    losses = market().losses[1008:1108]
    unknown = np.insert(losses, [10, 50, 100], np.nan)
    assert drift_of(unknown).value == drift_of(losses).value
    assert drift_of(unknown).window == drift_of(losses).window


def test_a_longer_memory_is_a_higher_limit():
    drawn = np.random.default_rng(0).permutation(market().losses[:1008])
    assert residual_reference(drawn, config=CONFIG, hysteresis=HYSTERESIS).limit < of_losses().limit / 1.5


def test_a_short_reference_knows_its_mean_less_well_and_has_a_higher_limit():
    """The same losses four times over are as scattered, and tell four times as much of their mean."""
    config = CONFIG.model_copy(update={"allowance": 0.1})
    once = market().losses[:252]
    short, long = (residual_reference(np.tile(once, times), config=config, hysteresis=HYSTERESIS) for times in (1, 8))
    assert short.deviation == pytest.approx(long.deviation)
    assert short.limit > 1.15 * long.limit


@pytest.mark.parametrize("losses", [np.ones(1008), market().losses[:200], np.full(1008, np.nan)])
def test_a_reference_that_tells_nothing_has_no_limit_and_gives_no_alarm(losses):
    reference = residual_reference(losses, config=CONFIG, hysteresis=HYSTERESIS)
    assert np.isnan(reference.limit)
    drift = residual_drift(reference, market().losses, sessions=range(1260), config=CONFIG)
    assert np.isnan(drift.value)
    assert drift.offenders == ()


def test_before_the_first_outcome_nothing_is_known():
    assert np.isnan(drift_of(np.full(5, np.nan)).value)


def test_costs_above_the_model_are_found_within_a_window_and_those_below_never():
    def drift(factor):
        return cost_drift(limit_of_costs(), *costs(slice(1008, 1071), factor=factor), symbols=SYMBOLS, config=CONFIG)

    assert limit_of_costs() >= CONFIG.least_cost_bps
    assert drift(1.0).value <= limit_of_costs()
    more = drift(2.0)
    assert more.value > more.limit
    assert more.window == "63 sessions"
    assert 0 < len(more.offenders) <= 10
    assert drift(0.2).value < -limit_of_costs()


def test_the_excess_is_in_basis_points_of_what_was_traded_and_names_who_cost_most():
    traded = np.full((63, 2), 1e6)
    modelled = np.full((63, 2), 400.0)
    paid = modelled + np.array([0.0, 300.0])
    drift = cost_drift(1.0, paid, modelled, traded, symbols=("A", "B"), config=CONFIG)
    assert drift.value == pytest.approx(1.5)
    assert drift.offenders == ("B +18900.00",)


def test_trades_whose_cost_is_not_known_count_neither_as_paid_nor_as_traded():
    traded, modelled = np.full((63, 2), 1e6), np.full((63, 2), 400.0)
    paid = modelled + np.array([100.0, np.nan])
    assert cost_drift(9.0, paid, modelled, traded, symbols=("A", "B"), config=CONFIG).value == pytest.approx(1.0)


def test_a_model_that_was_wrong_all_along_is_an_alarm_though_nothing_changed():
    paid, modelled, traded = costs(slice(0, 1008), factor=2.0)
    limit = cost_limit(paid, modelled, traded, config=CONFIG, hysteresis=HYSTERESIS)
    assert cost_drift(limit, paid, modelled, traded, symbols=SYMBOLS, config=CONFIG).value > limit


def test_costs_that_are_exactly_the_model_s_have_the_least_limit_and_no_alarm():
    _, modelled, traded = costs(slice(0, 1008))
    limit = cost_limit(modelled, modelled, traded, config=CONFIG, hysteresis=HYSTERESIS)
    assert limit == CONFIG.least_cost_bps
    assert cost_drift(limit, modelled, modelled, traded, symbols=SYMBOLS, config=CONFIG).value == 0


def test_without_trades_or_with_a_short_past_nothing_is_known():
    paid, modelled, traded = costs(slice(0, 1008))
    assert np.isnan(cost_limit(paid[:100], modelled[:100], traded[:100], config=CONFIG, hysteresis=HYSTERESIS))
    nothing = np.zeros((63, N_SYMBOLS))
    assert np.isnan(cost_drift(1.0, nothing, nothing, nothing, symbols=SYMBOLS, config=CONFIG).value)
    assert np.isnan(cost_drift(1.0, paid[:62], modelled[:62], traded[:62], symbols=SYMBOLS, config=CONFIG).value)
