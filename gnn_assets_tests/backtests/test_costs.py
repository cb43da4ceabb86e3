import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.backtests.costs import Costs
from gnn_assets.backtests.engine import simulate
from gnn_assets.core.config import build_config
from gnn_assets.models.bars import Bars
from gnn_assets_tests.backtests.bookkeeper import trailing

CONFIG = build_config("test")
EXECUTION = CONFIG.execution.model_copy(update={"impact": 1.5, "liquidity_sessions": 4})


@pytest.fixture(scope="module")
def bars() -> Bars:
    rng = np.random.default_rng(2)
    shape = (12, 3)
    sessions = tuple(date(2020, 1, 1) + timedelta(days=day) for day in range(12))
    returns_TxN = rng.normal(scale=0.02, size=shape)
    volume_TxN = rng.lognormal(8, 1, shape)
    volume_TxN[5:, 2] = np.nan
    close_TxN = 50 * np.exp(returns_TxN.cumsum(axis=0))
    return Bars(sessions, ("A", "B", "C"), returns_TxN, {"close": close_TxN, "volume": volume_TxN})


def test_known_answer_a_tenth_of_the_volume_costs_a_third_of_the_volatility_besides_the_rates():
    costs = Costs(EXECUTION, np.array([[1e6, 1e6]]), np.array([[0.02, np.nan]]))
    rates = (0.5 + 1.0 + 2.0) * 1e-4
    # 1.5 x 2 % x root of a tenth; of the second name the volatility is not known.
    expected = 1e5 * np.array([rates + 1.5 * 0.02 * math.sqrt(0.1), rates])
    np.testing.assert_allclose(costs.of_trades(np.array([1e5, 1e5]), row=0), expected, rtol=1e-12)
    assert np.isnan(costs.impact(np.array([1e5, 1e5]), row=0)).tolist() == [False, True]


def test_average_and_volatility_are_of_the_sessions_up_to_the_row(bars):
    costs = Costs.of(bars, execution=EXECUTION, n_sessions=9)
    traded, _ = trailing((bars.values["close"] * bars.values["volume"]).tolist(), 4)
    _, volatility = trailing(bars.close_return_TxN.tolist(), 4)
    np.testing.assert_allclose(costs.traded_TxN, np.nan_to_num(traded[3:]), rtol=1e-12)
    np.testing.assert_allclose(costs.volatility_TxN, volatility[3:], rtol=1e-9)
    # Of a window of four, two sessions are a mean and one is none: nothing of that name can be traded any more.
    assert (costs.traded_TxN[:, 2] > 0).tolist() == [True] * 4 + [False] * 5
    assert (costs.traded_TxN[4:, 2] == 0).all()


def test_a_session_that_knows_no_volume_at_all_is_one_before_they_begin(bars):
    late_TxN = bars.values["volume"].copy()
    late_TxN[:6] = np.nan
    late = Bars(bars.sessions, bars.symbols, bars.close_return_TxN, {**bars.values, "volume": late_TxN})
    costs = Costs.of(late, execution=EXECUTION, n_sessions=12)
    assert np.isnan(costs.traded_TxN[:7]).all()
    assert np.isfinite(costs.traded_TxN[7:]).all()


def test_of_closes_only_the_rates_are_known(bars):
    closes = Bars(bars.sessions, bars.symbols, bars.close_return_TxN, {"close": bars.values["close"]})
    for poor in (None, closes):
        costs = Costs.of(poor, execution=EXECUTION, n_sessions=12)
        assert not len(costs.traded_TxN)
        assert np.isnan(costs.impact(np.ones(3), row=0)).all()
        np.testing.assert_allclose(costs.of_trades(np.array([1e4, 0.0, 2e4]), row=0), [3.5, 0, 7.0])


@given(value=st.floats(1, 1e7), times=st.floats(1, 100))
def test_the_impact_of_a_trade_grows_with_its_size_to_the_power_of_three_halves(value, times):
    costs = Costs(EXECUTION, np.array([[1e6]]), np.array([[0.02]]))
    small, large = (costs.impact(np.array([size]), row=0)[0] for size in (value, value * times))
    assert large == pytest.approx(small * times**1.5)


def test_the_engine_pays_what_the_costs_say(bars):
    # One trade from cash, of all three names: the same object answers an optimiser and the engine.
    execution = EXECUTION.model_copy(update={"fill": "close_next", "capital": 1e4, "max_participation": 1.0})
    config = CONFIG.backtests.model_copy(update={"strategy": "equal_weight", "rebalance_sessions": 99})
    first = 4
    result = simulate(
        np.ones((12 - first, 3)), bars.close_return_TxN[first:], execution=execution, config=config, bars=bars
    )
    costs = Costs.of(bars, execution=execution, n_sessions=12 - first)
    paid = costs.of_trades(np.full(3, 1e4 / 3), row=0).sum()
    assert (result.commission_T + result.slippage_T)[1] * 1e4 == pytest.approx(paid, rel=1e-12)
    assert result.without_impact_T[1] == 0


def test_what_is_lent_and_what_is_borrowed_cost_their_share_of_a_year_each_session():
    execution = EXECUTION.model_copy(update={"borrow_bps_a_year": 504.0, "financing_bps_a_year": 252.0})
    costs = Costs.of(None, execution=execution, n_sessions=1)
    assert costs.borrow(CONFIG.backtests) == pytest.approx(2e-4)
    assert costs.financing(CONFIG.backtests) == pytest.approx(1e-4)
