import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.backtests.costs import Costs
from gnn_assets.backtests.engine import simulate
from gnn_assets.backtests.kelly import kelly_size, kelly_sizes, outcomes
from gnn_assets.core.config import build_config

CONFIG = build_config("test")
FULL = CONFIG.backtests.sizing.kelly.model_copy(update={"form": "binary", "fraction": 1.0})
FREE = {"commission_bps": 0.0, "half_spread_bps": 0.0, "slippage_bps": 0.0, "borrow_bps_a_year": 0.0}


def free(fill):
    return CONFIG.execution.model_copy(update={"fill": fill, **FREE})


def size(values, *, form="binary", **changed):
    return kelly_size(np.array(values, dtype=float), config=FULL.model_copy(update={"form": form, **changed}))


def test_known_answer_a_coin_that_wins_six_times_in_ten_is_worth_a_fifth():
    assert size([0.1] * 6 + [-0.1] * 4) == pytest.approx(0.2)


def test_known_answer_a_coin_that_pays_twice_is_worth_a_quarter():
    assert size([0.04, -0.02] * 5) == pytest.approx(0.25)


def test_known_answer_the_moments_are_mean_over_variance():
    values = [0.3, -0.4] * 6 + [0.9, 0.7]
    assert size(values, form="moments") == pytest.approx(np.mean(values) / np.var(values, ddof=1))


def test_the_binary_size_is_where_wealth_grows_fastest():
    # What is put up is lost, or earns one and a half times itself.
    wins, losses, pays = 12, 9, 1.5
    sizes = np.linspace(0, 0.99, 100_000)
    growth = wins * np.log1p(pays * sizes) + losses * np.log1p(-sizes)
    assert size([pays] * wins + [-1.0] * losses) == pytest.approx(sizes[growth.argmax()], abs=1e-5)


def test_a_fraction_of_it_is_taken_and_no_more_than_the_cap():
    coin = [0.1] * 6 + [-0.1] * 4
    assert size(coin, fraction=0.25) == pytest.approx(0.05)
    assert size(coin, cap=0.15) == 0.15


def test_wins_alone_are_worth_all_there_is():
    assert size([0.01, 0.02] * 6) == 1.0
    assert size([0.01, 0.02] * 6, fraction=0.5) == 0.5
    assert size([0.01, 0.02] * 6, cap=0.3) == 0.3
    assert size([0.01, 0.02] * 6, form="moments", cap=0.3) == 0.3


@pytest.mark.parametrize("form", ["binary", "moments"])
def test_fewer_than_ten_outcomes_are_not_enough(form):
    assert size([0.01, 0.02, 0.03] * 3, form=form) == 0.0
    assert size([0.01, 0.02, 0.03] * 3 + [0.01], form=form) > 0.0
    assert size([], form=form) == 0.0


@pytest.mark.parametrize("form", ["binary", "moments"])
def test_losses_alone_are_worth_nothing(form):
    assert size([-0.01, -0.02] * 6, form=form) == 0.0


@pytest.mark.parametrize(("outcome", "expected"), [(0.1, 0.8), (0.0, 0.0), (-0.1, 0.0)])
@pytest.mark.parametrize("form", ["binary", "moments"])
def test_outcomes_without_variance_are_worth_all_of_the_cap_or_nothing(form, outcome, expected):
    # Thirteen times a tenth has a mean that is not a tenth: the variance is not 0 by rounding alone.
    assert size([outcome] * 13, form=form, cap=0.8) == expected


@pytest.mark.parametrize("form", ["binary", "moments"])
def test_what_is_not_finite_is_no_outcome(form):
    values = [0.3, -0.1, -0.2] * 4
    assert size([*values, math.nan, math.inf, -math.inf], form=form) == size(values, form=form)
    assert size([math.nan] * 20, form=form) == 0.0
    assert size([0.1] * 9 + [math.nan] * 9, form=form) == 0.0


def test_breaking_even_is_neither_win_nor_loss():
    coin = [0.1] * 6 + [-0.1] * 4
    assert size(coin + [0.0] * 30) == size(coin)
    assert size([0.1] + [0.0] * 30) == 0.0


@given(
    values=st.lists(st.floats(-1, 10) | st.sampled_from([0.0, 1e-300, math.nan]), max_size=30),
    form=st.sampled_from(["binary", "moments"]),
    fraction=st.floats(0.01, 1),
    cap=st.floats(0.01, 1),
)
def test_it_is_always_a_number_from_nothing_to_the_cap(values, form, fraction, cap):
    assert 0.0 <= size(values, form=form, fraction=fraction, cap=cap) <= cap


def _market(n_sessions=200, n_names=4):
    rng = np.random.default_rng(3)
    return rng.normal(0.001, 0.02, (n_sessions, n_names)), rng.normal(size=(n_sessions, n_names))


@pytest.mark.parametrize("fill", ["close_next", "close_same"])
def test_outcomes_are_what_the_engine_earns_from_fill_to_fill(fill):
    returns_TxN, scores_TxN = _market()
    returns_TxN[40:60, 1] = np.nan
    scores_TxN[20:61, 1] = np.nan  # not held while it has no price: the engine could not trade it
    execution = free(fill)
    config = CONFIG.backtests.model_copy(update={"strategy": "equal_weight", "rebalance_sessions": 5})
    rows_R = np.arange(0, 200, 5)
    weights_RxN = np.isfinite(scores_TxN[rows_R]) / np.isfinite(scores_TxN[rows_R]).sum(axis=1, keepdims=True)
    costs = Costs.of(None, execution=execution, n_sessions=200)
    result_R = outcomes(weights_RxN, rows_R, returns_TxN, costs=costs, config=config)
    earned_T = simulate(scores_TxN, returns_TxN, execution=execution, config=config).net_T
    starts_R = rows_R + execution.fill_lag + 1
    expected_R = [np.prod(1 + earned_T[start : start + 5]) - 1 for start in starts_R[:-1]]
    np.testing.assert_allclose(result_R[:-1], expected_R, rtol=1e-9, atol=1e-15)
    assert np.isnan(result_R[-1])


def test_known_answer_outcomes_are_net_of_what_trades_and_lent_shares_cost():
    execution = CONFIG.execution.model_copy(
        update={
            "fill": "close_next",
            "commission_bps": 10.0,
            "half_spread_bps": 0.0,
            "slippage_bps": 0.0,
            "borrow_bps_a_year": 252.0,
        }
    )
    returns_TxN = np.zeros((8, 2))
    returns_TxN[2, 0] = np.log(1.5)
    weights_RxN = np.array([[0.5, -0.5], [0.5, -0.5], [0.0, 0.0]])
    costs = Costs.of(None, execution=execution, n_sessions=8)
    result_R = outcomes(weights_RxN, np.array([0, 2, 4]), returns_TxN, costs=costs, config=CONFIG.backtests)
    # Two sessions of half lent at 1 basis point each; one bought and sold, then what a rise by half made of it.
    lent = 0.5 * 2e-4 * 0.5
    drifted = np.array([0.75, -0.5]) / 1.25
    again = 1e-3 * np.abs(np.array([0.5, -0.5]) - drifted).sum()
    np.testing.assert_allclose(result_R[:2], [0.25 - 1e-3 - 2 * lent, 0.0 - again - 2 * lent], rtol=1e-12)


def test_known_answer_outcomes_are_net_of_what_borrowed_cash_costs():
    execution = free("close_next").model_copy(update={"financing_bps_a_year": 252.0})
    costs = Costs.of(None, execution=execution, n_sessions=8)
    weights_RxN = np.array([[0.9, 0.6], [0.5, 0.5], [0.0, 0.0]])
    result_R = outcomes(weights_RxN, np.array([0, 2, 4]), np.zeros((8, 2)), costs=costs, config=CONFIG.backtests)
    # Half of the portfolio, two sessions at 1 basis point each; then nothing is borrowed.
    np.testing.assert_allclose(result_R[:2], [-0.5 * 2e-4, 0.0], rtol=1e-12)


@pytest.mark.parametrize(("fill", "first"), [("close_next", 11), ("close_same", 10)])
def test_a_row_is_sized_by_what_has_ended_when_it_is_decided(fill, first):
    # Rows back to back, all winners: the tenth outcome ends with the eleventh row's fill, after its decision or with it.
    execution = free(fill)
    sizing = CONFIG.backtests.sizing.model_copy(update={"kelly": FULL})
    config = CONFIG.backtests.model_copy(update={"sizing": sizing})
    rows_R = np.arange(0, 70, 5)
    sizes_R = kelly_sizes(
        np.ones((14, 1)),
        rows_R,
        np.full((80, 1), 0.01),
        costs=Costs.of(None, execution=execution, n_sessions=80),
        config=config,
    )
    assert sizes_R.tolist() == [0.0] * first + [1.0] * (14 - first)
