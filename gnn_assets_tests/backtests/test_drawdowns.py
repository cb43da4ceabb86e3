import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.backtests.drawdowns import drawdown_curve, drawdowns
from gnn_assets.backtests.metrics import max_drawdown

RETURNS = hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(-200, 200).map(lambda value: value / 1000))


def spells(returns_T):
    """Every run of sessions below a peak as (first, last), found by walking through the value."""
    value, peak, runs, begun = 1.0, 1.0, [], None
    for t, change in enumerate(returns_T):
        value *= 1 + change
        if value >= peak * (1 - 1e-12):
            peak = max(peak, value)
            if begun is not None:
                runs.append((begun, t - 1))
            begun = None
        elif begun is None:
            begun = t
    return [*runs, (begun, len(returns_T) - 1)] if begun is not None else runs


@given(RETURNS)
def test_lengths_and_time_under_water_are_those_of_a_walk_through_the_value(returns_T):
    found, runs = drawdowns(returns_T), spells(returns_T)
    assert found.depth == pytest.approx(max_drawdown(returns_T), abs=1e-9)
    assert found.longest == max((last - first + 1 for first, last in runs), default=0)
    assert found.under_water == pytest.approx(sum(last - first + 1 for first, last in runs) / len(returns_T))


def test_a_fall_lasts_from_its_first_loss_to_the_session_that_made_good_for_it():
    found = drawdowns(np.array([0.1, -0.2, 0.1, 0.5, -0.01, -0.01, -0.01]))
    assert found.depth == pytest.approx(-0.2)
    assert (found.length, found.recovered, found.longest) == (3, True, 3)
    assert found.under_water == pytest.approx(5 / 7)


def test_a_fall_that_still_lasts_is_counted_to_the_end():
    found = drawdowns(np.array([-0.1, 0.2, -0.5, 0.1, 0.1]))
    assert found.depth == pytest.approx(-0.5)
    assert (found.length, found.recovered, found.longest) == (3, False, 3)


def test_the_deepest_fall_need_not_be_the_longest():
    found = drawdowns(np.array([-0.3, 1.0, -0.01, 0.001, 0.001, 0.001, 1.0]))
    assert (found.length, found.longest, found.recovered) == (2, 4, True)


def test_winning_back_exactly_what_was_lost_is_no_drawdown_for_rounding():
    # 0.9 x (1 + 1/9) is 0.99999999999999989, and cash earns nothing afterwards.
    found = drawdowns(np.array([-0.1, 1 / 9, *np.zeros(50)]))
    assert found.under_water == pytest.approx(1 / 52)
    assert (found.length, found.recovered) == (2, True)


@pytest.mark.parametrize("returns_T", [np.zeros(5), np.full(5, 0.01)])
def test_without_a_fall_there_is_no_length(returns_T):
    found = drawdowns(returns_T)
    assert (found.depth, found.length, found.recovered, found.longest, found.under_water) == (0.0, 0, True, 0, 0.0)


def test_of_no_sessions_nothing_is_known():
    found = drawdowns(np.array([]))
    assert math.isnan(found.depth)
    assert math.isnan(found.under_water)


def test_each_row_is_a_series_of_its_own():
    returns_RxT = np.random.default_rng(0).normal(scale=0.02, size=(5, 40))
    np.testing.assert_array_equal(drawdown_curve(returns_RxT), [drawdown_curve(row_T) for row_T in returns_RxT])
