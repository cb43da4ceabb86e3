import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.backtests.engine import Simulation, Variant, simulate, sweep
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig, build_config
from gnn_assets.core.errors import ConfigError, DataError
from gnn_assets.models.bars import Bars
from gnn_assets_tests.backtests.bookkeeper import bookkeep, trailing
from gnn_assets_tests.lookahead import assert_no_lookahead

CONFIG = build_config("test")
FREE = {"commission_bps": 0.0, "half_spread_bps": 0.0, "slippage_bps": 0.0}
SCORES = st.one_of(st.floats(-3, 3), st.just(np.nan))
WINDOW = 3
LONG_SHORT = {"strategy": "long_short"}


def executions(**fixed):
    drawn = {
        "fill": st.sampled_from(["close_same", "close_next"]),
        "commission_bps": st.floats(0, 100),
        "half_spread_bps": st.floats(0, 100),
        "slippage_bps": st.floats(0, 100),
        "impact": st.sampled_from([0.0, 0.5, 2.0]),
        "max_participation": st.sampled_from([0.01, 0.2, 1.0]),
        "borrow_bps_a_year": st.sampled_from([0.0, 500.0, 50_000.0]),
        "financing_bps_a_year": st.sampled_from([0.0, 500.0, 50_000.0]),
        "delisting": st.builds(
            lambda sessions, lost: CONFIG.execution.delisting.model_copy(
                update={"sessions": sessions, "simple_return": lost}
            ),
            st.integers(1, 4),
            st.sampled_from([0.0, -0.3, -1.0]),
        ),
        "leverage": st.sampled_from([0.5, 1.0, 4.0]),
    }
    free = st.fixed_dictionaries({**drawn, **{name: st.just(value) for name, value in fixed.items()}})
    small = {"capital": 1e4, "liquidity_sessions": WINDOW}
    return free.map(lambda update: CONFIG.execution.model_copy(update={**small, **update}))


BRAKES = st.sampled_from([(None, 0.5, 0.05), (0.02, 0.5, 0.01), (0.1, 0.2, 0.0)]).map(
    lambda values: CONFIG.backtests.brake.model_copy(
        update=dict(zip(("drawdown", "exposure", "restore"), values, strict=True))
    )
)
SETTINGS = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(["top_k", "long_short", "rank_weighted"]),
        "held": st.integers(1, 4),
        "hysteresis": st.sampled_from([0.0, 0.5, 1.0]),
        "max_weight": st.sampled_from([0.2, 1.0]),
        "rebalance_sessions": st.integers(1, 4),
        "brake": BRAKES,
        "strategies": st.sampled_from([1.0, 3.0]).map(
            lambda exposure: CONFIG.backtests.strategies.model_copy(
                update={"long_short": CONFIG.backtests.strategies.long_short.model_copy(update={"exposure": exposure})}
            )
        ),
    }
).map(lambda update: CONFIG.backtests.model_copy(update=update))


@st.composite
def markets(draw):
    """Scores, returns of who holds, with or without those over gaps, and bars of some names that are not always there."""
    shape = draw(st.tuples(st.integers(1, 14), st.integers(1, 5)))
    moves = draw(hnp.arrays(np.float64, shape, elements=st.floats(-0.4, 0.4)))
    there = draw(hnp.arrays(np.bool_, shape, elements=st.sampled_from([True, True, True, False])))
    prices = np.where(there, 100 * np.exp(np.cumsum(moves, axis=0)), np.nan)
    fill, held = np.full(shape, np.nan), np.full(shape, np.nan)
    for name in range(shape[1]):
        last = None
        for t in range(shape[0]):
            if there[t, name]:
                if last is not None:
                    held[t, name] = np.log(prices[t, name] / prices[last, name])
                    fill[t, name] = held[t, name] if last == t - 1 else np.nan
                last = t
    volume = draw(hnp.arrays(np.float64, shape, elements=st.sampled_from([0.0, 10.0, 300.0, 1e5, np.nan])))
    sessions = tuple(date(2020, 1, 1) + timedelta(days=t) for t in range(shape[0]))
    names = tuple(f"S{name}" for name in range(shape[1]))
    bars = Bars(sessions, names, fill, {"close": prices, "volume": volume})
    return draw(hnp.arrays(np.float64, shape, elements=SCORES)), held if draw(st.booleans()) else fill, bars


def test_known_answer_signal_fills_a_session_later_and_earns_after_that():
    # Worked out by hand: one name held, rebalanced every second session, 100 bps a side.
    scores_TxN = np.array([[2.0, 1.0], [1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [2.0, 1.0]])
    returns_TxN = np.log([[9.0, 9.0], [9.0, 9.0], [1.10, 1.00], [1.20, 0.50], [3.00, 1.25]])
    result = simulate(scores_TxN, returns_TxN, execution=_execution(cost_bps=100), config=_config(held=1, every=2))
    # Row 0 signals A, bought at row 1's fill: turnover 1. Row 2: A earns 10 %. Row 3: A earns 20 %, then row 2's
    # signal sells all of A and buys B: turnover 2. Row 4: B earns 25 %.
    np.testing.assert_allclose(result.gross_T, [0, 0, 0.10, 0.20, 0.25], atol=1e-12)
    np.testing.assert_allclose(result.turnover_T, [0, 1, 0, 2, 0], atol=1e-12)
    np.testing.assert_allclose(result.net_T, [0, -0.01, 0.10, 0.20 - 1.20 * 0.02, 0.25], atol=1e-12)


def test_known_answer_weights_drift_between_rebalances():
    scores_TxN = np.full((4, 2), 1.0)
    returns_TxN = np.log([[1.0, 1.0], [1.0, 1.0], [2.0, 1.0], [1.0, 4.0]])
    result = simulate(scores_TxN, returns_TxN, execution=_execution(cost_bps=0), config=_config(held=1, every=2))
    # Halves become 2/3 and 1/3 of 1.5. Row 3: 2/3 + 4/3 = 2 times that; then row 2's signal wants halves again:
    # from 1/3 and 2/3 that is 1/6 sold and 1/6 bought.
    np.testing.assert_allclose(result.gross_T, [0, 0, 0.5, 1.0], atol=1e-12)
    np.testing.assert_allclose(result.turnover_T, [0, 1, 0, 1 / 3], atol=1e-12)


def test_at_the_same_close_a_signal_fills_at_once():
    scores_TxN, returns_TxN = np.array([[1.0, 0.0], [0.0, 1.0]]), np.log([[5.0, 5.0], [1.1, 2.0]])
    result = simulate(scores_TxN, returns_TxN, execution=_execution(fill="close_same"), config=_config(held=1, every=1))
    np.testing.assert_allclose(result.gross_T, [0, 0.1])
    np.testing.assert_allclose(result.turnover_T, [1, 2])


def test_a_held_name_without_a_return_keeps_its_value_until_it_trades_again():
    scores_TxN = np.array([[1.0, 0.0]] * 5)
    returns_TxN = np.log([[1.0, 1.0], [1.0, 1.0], [np.nan, 2.0], [np.nan, 2.0], [1.5, 2.0]])
    result = simulate(scores_TxN, returns_TxN, execution=_execution(), config=_config(held=1, every=9))
    np.testing.assert_allclose(result.gross_T, [0, 0, 0, 0, 0.5], atol=1e-12)


def test_a_session_without_any_score_trades_nothing():
    scores_TxN = np.array([[1.0, 0.0], [np.nan, np.nan], [np.nan, np.nan], [np.nan, np.nan]])
    returns_TxN = np.log(np.full((4, 2), 1.1))
    result = simulate(scores_TxN, returns_TxN, execution=_execution(), config=_config(held=1, every=1))
    np.testing.assert_allclose(result.turnover_T, [0, 1, 0, 0])
    np.testing.assert_allclose(result.gross_T, [0, 0, 0.1, 0.1])


def test_a_name_that_lost_its_score_is_sold_and_one_without_is_not_bought():
    scores_TxN = np.array([[9.0, 1.0], [np.nan, 1.0], [np.nan, 1.0]])
    returns_TxN = np.zeros((3, 2))
    result = simulate(scores_TxN, returns_TxN, execution=_execution(), config=_config(held=2, every=1))
    np.testing.assert_allclose(result.turnover_T, [0, 1, 1])


def test_known_answer_a_halted_name_keeps_its_weight_and_the_others_share_what_is_left():
    # A and B in halves; A doubles (2/3), then halts while B and C are wanted: a third is left, a sixth for each.
    scores_TxN = np.array([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 2.0, 1.0]])
    returns_TxN = np.log([[1, 1, 1], [2, 1, 1], [np.nan, 1, 1], [1, 1, 1]])
    config = _config(held=2, every=2)
    result = simulate(scores_TxN, returns_TxN, execution=_execution(fill="close_same"), config=config)
    np.testing.assert_allclose(result.turnover_T, [1, 0, 1 / 3, 0], atol=1e-12)
    np.testing.assert_allclose(result.long_T, 1.0)
    assert result.held_T.tolist() == [2, 2, 3, 3]


def test_known_answer_what_a_name_lost_over_a_gap_is_counted_when_it_comes_back():
    scores_TxN = np.ones((5, 1))
    held_TxN = np.log([[1.0], [1.0], [np.nan], [0.5], [1.1]])
    both = {"execution": _execution(), "config": _config(held=1, every=9)}
    np.testing.assert_allclose(simulate(scores_TxN, held_TxN, **both).gross_T, [0, 0, 0, -0.5, 0.1], atol=1e-12)
    unseen_TxN = np.where(held_TxN == np.log(0.5), np.nan, held_TxN)
    np.testing.assert_allclose(simulate(scores_TxN, unseen_TxN, **both).gross_T, [0, 0, 0, 0, 0.1], atol=1e-12)


@pytest.mark.parametrize(("strategy", "lost"), [("top_k", -0.5 * 0.3), ("long_short", 0.0)])
def test_known_answer_a_name_that_is_gone_costs_who_held_it_and_pays_nobody_who_sold_it(strategy, lost):
    # The name that vanishes is one of two held, or the one sold short.
    scores_TxN = np.array([[1.0, 2.0 if strategy == "long_short" else 1.0]] * 6)
    returns_TxN = np.zeros((6, 2))
    returns_TxN[2:, 0] = np.nan
    delisting = CONFIG.execution.delisting.model_copy(update={"sessions": 3, "simple_return": -0.3})
    result = simulate(
        scores_TxN,
        returns_TxN,
        execution=_execution().model_copy(update={"delisting": delisting, "borrow_bps_a_year": 0.0}),
        config=_config(held=2, every=9).model_copy(update={"strategy": strategy}),
    )
    np.testing.assert_allclose(result.gross_T, [0, 0, 0, 0, lost, 0], atol=1e-12)
    assert result.held_T.tolist() == [0, 2, 2, 2, 1, 1]


def test_known_answer_a_short_position_loses_when_its_name_rises_and_pays_for_the_loan():
    scores_TxN = np.array([[1.0, 0.0]] * 3)
    returns_TxN = np.log([[1.0, 1.0], [1.0, 1.0], [1.0, 1.2]])
    execution = _execution().model_copy(update={"borrow_bps_a_year": 252.0})
    result = simulate(
        scores_TxN, returns_TxN, execution=execution, config=_config(held=1, every=9).model_copy(update=LONG_SHORT)
    )
    np.testing.assert_allclose(result.gross_T, [0, 0, -0.1], atol=1e-12)
    np.testing.assert_allclose(result.borrow_T, [0, 0, 0.5 * 1e-4], atol=1e-12)
    np.testing.assert_allclose(result.short_T, [0, 0.5, 0.6 / 0.9], atol=1e-4)


def test_known_answer_a_trade_beyond_the_markets_size_is_cut_and_costs_by_the_root_of_its_size():
    # 1,000 of each name trade a day and volatility is what two moves of 1 % make it: 100 may be bought of 1,000 wanted.
    moves_TxN = np.array([[0.01], [-0.01], [0.01], [-0.01]])
    sessions = tuple(date(2020, 1, 1 + t) for t in range(4))
    bars = Bars(sessions, ("A",), moves_TxN, {"close": np.ones((4, 1)), "volume": np.full((4, 1), 1000.0)})
    update = {"capital": 1000.0, "max_participation": 0.1, "impact": 2.0, "liquidity_sessions": 2}
    execution = _execution(fill="close_same").model_copy(update=update)
    scores_TxN = np.array([[np.nan], [1.0], [np.nan], [np.nan]])
    result = simulate(scores_TxN, moves_TxN, execution=execution, config=_config(held=1, every=1), bars=bars)
    np.testing.assert_allclose(result.turnover_T, [0, 0.1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(result.slippage_T[1], 0.1 * 2.0 * 0.01 * math.sqrt(0.1), rtol=1e-9)
    assert not result.without_impact_T.any()


def test_known_answer_cash_borrowed_beyond_the_portfolio_costs_its_share_of_a_year():
    # One and a half times the value held long, and as much sold short: half of it is borrowed cash.
    strategies = CONFIG.backtests.strategies
    wild = strategies.model_copy(update={"long_short": strategies.long_short.model_copy(update={"exposure": 3.0})})
    config = _config(held=2, every=9).model_copy(update={**LONG_SHORT, "strategies": wild})
    rates = {"leverage": 3.0, "borrow_bps_a_year": 0.0, "financing_bps_a_year": 252.0}
    returns_TxN = np.log([[1, 1, 1, 1], [1, 1, 1, 1], [1.1, 1.1, 1, 1], [1, 1, 1, 1]])
    scores_TxN = np.array([[3.0, 2.0, 1.0, 0.0]] * 4)
    result = simulate(scores_TxN, returns_TxN, execution=_execution().model_copy(update=rates), config=config)
    # After a rise of a tenth 1.65 is held of a value of 1.15.
    np.testing.assert_allclose(result.financing_T, [0, 0, 0.5e-4, (1.65 / 1.15 - 1) * 1e-4], rtol=1e-12)
    np.testing.assert_allclose(result.net_T, result.gross_T - result.financing_T, rtol=0, atol=1e-15)


def test_the_brake_sees_what_borrowed_cash_costs_in_the_session_it_is_paid():
    # Half of the portfolio is borrowed at 4 % a session: a fall of 2 % that no price has made.
    strategies = CONFIG.backtests.strategies
    wild = strategies.model_copy(update={"long_short": strategies.long_short.model_copy(update={"exposure": 3.0})})
    brake = CONFIG.backtests.brake.model_copy(update={"drawdown": 0.019, "exposure": 0.5, "restore": 0.0})
    config = _config(held=2, every=9).model_copy(update={**LONG_SHORT, "strategies": wild, "brake": brake})
    rates = {"leverage": 3.0, "borrow_bps_a_year": 0.0, "financing_bps_a_year": 100_000.0}
    execution = _execution(fill="close_same").model_copy(update=rates)
    scores_TxN = np.array([[3.0, 2.0, 1.0, 0.0]] * 3)
    result = simulate(scores_TxN, np.zeros((3, 4)), execution=execution, config=config)
    np.testing.assert_allclose(result.long_T, [1.5, 0.75, 0.75])


@given(market=markets(), execution=executions(leverage=1.0), config=SETTINGS)
def test_who_holds_no_more_than_there_is_borrows_no_cash(market, execution, config):
    scores, held, bars = market
    config = config.model_copy(update={"strategy": "top_k"})
    dear, free = (
        simulate(
            scores,
            held,
            execution=execution.model_copy(update={"financing_bps_a_year": rate}),
            config=config,
            bars=bars,
        )
        for rate in (100_000.0, 0.0)
    )
    assert _bits(dear) == _bits(free)


def test_a_name_whose_volume_is_not_known_is_neither_bought_nor_sold_where_others_are():
    # Of B nothing is known after the third session: two later it has no average, and is neither sold nor bought.
    sessions = tuple(date(2020, 1, 1 + t) for t in range(8))
    volume_TxN = np.full((8, 2), 1e9)
    volume_TxN[3:, 1] = np.nan
    execution = _execution(fill="close_same").model_copy(update={"capital": 1000.0, "liquidity_sessions": 2})
    scores_TxN = np.array([[0.0, 1.0]] * 4 + [[1.0, 0.0]] * 4)

    def run(volume_TxN, scores_TxN):
        bars = Bars(sessions, ("A", "B"), np.zeros((8, 2)), {"close": np.ones((8, 2)), "volume": volume_TxN})
        return simulate(
            scores_TxN, np.zeros((8, 2)), execution=execution, config=_config(held=1, every=1), bars=bars
        ).turnover_T.tolist()

    assert run(volume_TxN, scores_TxN) == [1, 0, 0, 0, 0, 0, 0, 0]
    assert run(volume_TxN, scores_TxN[::-1]) == [1, 0, 0, 0, 1, 0, 0, 0]
    assert run(np.full((8, 2), 1e9), scores_TxN) == [1, 0, 0, 0, 2, 0, 0, 0]


def test_before_the_volumes_of_a_source_begin_trades_have_no_largest_size():
    sessions = tuple(date(2020, 1, 1 + t) for t in range(6))
    volume_TxN = np.where(np.arange(6)[:, None] < 3, np.nan, [[10.0, 10.0]])
    execution = _execution(fill="close_same").model_copy(update={"capital": 1000.0, "liquidity_sessions": 2})
    bars = Bars(sessions, ("A", "B"), np.zeros((6, 2)), {"close": np.ones((6, 2)), "volume": volume_TxN})
    scores_TxN = np.array([[1.0, 0.0], [0.0, 1.0]] * 3)
    result = simulate(scores_TxN, np.zeros((6, 2)), execution=execution, config=_config(held=1, every=1), bars=bars)
    # All of it turns over until a tenth of ten is what may be sold of a thousand, and bought.
    np.testing.assert_allclose(result.turnover_T, [1, 2, 2, 0.002, 0.002, 0.002], atol=1e-12)


def test_turnover_without_known_impact_is_told():
    free = _execution().model_copy(update={"impact": 1.0})
    result = simulate(np.ones((3, 1)), np.zeros((3, 1)), execution=free, config=_config(held=1, every=9))
    np.testing.assert_array_equal(result.without_impact_T, result.turnover_T)
    assert result.turnover_T.sum() == 1


def test_known_answer_the_brake_halves_the_portfolio_a_session_after_the_fall_and_lets_go_after_it():
    returns_TxN = np.log([[1.0], [1.0], [0.8], [1.0], [1.5], [1.0], [1.0]])
    brake = CONFIG.backtests.brake.model_copy(update={"drawdown": 0.1, "exposure": 0.5, "restore": 0.05})
    config = _config(held=1, every=99).model_copy(update={"brake": brake})
    result = simulate(np.ones((7, 1)), returns_TxN, execution=_execution(), config=config)
    # 0.8 of the peak at row 2, known for the fill of row 3; half of 50 % back to the peak at row 4, all held at row 5.
    np.testing.assert_allclose(result.gross_T, [0, 0, -0.2, 0, 0.25, 0, 0], atol=1e-12)
    np.testing.assert_allclose(result.long_T, [0, 1, 1, 0.5, 0.75 / 1.25, 1, 1], atol=1e-12)


def test_leverage_beyond_the_limit_is_scaled_down():
    strategies = CONFIG.backtests.strategies
    wild = strategies.model_copy(update={"long_short": strategies.long_short.model_copy(update={"exposure": 3.0})})
    config = _config(held=1, every=9).model_copy(update={**LONG_SHORT, "strategies": wild})
    scores_TxN, returns_TxN = np.array([[1.0, 0.0]] * 2), np.zeros((2, 2))
    for limit in (1.0, 2.0):
        execution = _execution().model_copy(update={"leverage": limit})
        result = simulate(scores_TxN, returns_TxN, execution=execution, config=config)
        np.testing.assert_allclose([result.long_T[1], result.short_T[1]], limit / 2)


def test_who_lost_everything_stays_at_nothing():
    returns_TxN = np.log([[1.0, 1.0], [1.0, 1.0], [1.0, 9.0], [1.0, 0.1], [2.0, 1.0]])
    config = _config(held=1, every=1).model_copy(update=LONG_SHORT)
    result = simulate(np.array([[1.0, 0.0]] * 5), returns_TxN, execution=_execution(), config=config)
    np.testing.assert_array_equal(result.net_T, [0, 0, -1, 0, 0])


def test_beside_a_name_that_grew_beyond_all_numbers_every_name_is_held_once():
    # No market does that, garbage does: what is left of the others is nothing, and a list of twelve has twelve places.
    moves_TxN = np.zeros((8, 12))
    moves_TxN[3, 0] = 800.0
    config = _config(held=1, every=1).model_copy(update={"strategy": "equal_weight"})
    with np.errstate(all="ignore"):
        result = simulate(np.ones((8, 12)), moves_TxN, execution=_execution(), config=config)
    assert result.held_T.max() == 12


def test_a_name_that_ranks_within_the_hysteresis_is_not_sold():
    scores_TxN = np.array([[4.0, 3.0, 2.0, 1.0], [3.0, 2.0, 4.0, 1.0], [2.0, 1.0, 4.0, 3.0], [2.0, 1.0, 4.0, 3.0]])
    returns_TxN = np.zeros((4, 4))
    config = _config(held=2, every=1)
    turnover = [
        simulate(
            scores_TxN,
            returns_TxN,
            execution=_execution(),
            config=config.model_copy(update={"hysteresis": hysteresis}),
        ).turnover_T.tolist()
        for hysteresis in (0.0, 0.5)
    ]
    # Held 0 and 1. Then 1 is third: sold, or within 2 x 1.5 places. Then 0 is third, and 1, if it is still held, last.
    assert turnover == [[0, 1, 1, 1], [0, 1, 0, 1]]


@pytest.mark.parametrize(("rebalance", "rows"), [("week", [0, 2, 7]), ("month", [0, 4])])
def test_a_week_and_a_month_are_traded_on_their_first_session(rebalance, rows):
    first = date(2020, 1, 30)  # a Thursday; Monday, the first session of a week, comes after the first of a month
    sessions = [first + timedelta(days=day) for day in (0, 1, 4, 5, 6, 7, 8, 11)]
    if rebalance == "month":
        sessions = [first - timedelta(days=2) + timedelta(days=day) for day in (0, 1, 2, 3, 6, 7, 8, 9)]
    scores_TxN = np.array([[1.0, 0.0], [0.0, 1.0]] * 4)
    turns = np.zeros(8, dtype=bool)
    turns[rows] = True
    scores_TxN = np.where(np.cumsum(turns)[:, None] % 2 == 1, [[1.0, 0.0]], [[0.0, 1.0]])
    result = simulate(
        scores_TxN,
        np.zeros((8, 2)),
        execution=_execution(fill="close_same"),
        config=_config(held=1, every=1).model_copy(update={"rebalance": rebalance}),
        sessions=sessions,
    )
    assert np.flatnonzero(result.turnover_T).tolist() == rows


def test_rows_without_dates_have_no_weeks():
    config = _config(held=1, every=1).model_copy(update={"rebalance": "week"})
    with pytest.raises(ConfigError, match=r"backtests\.rebalance: expected 'sessions' for rows without dates"):
        simulate(np.ones((3, 1)), np.zeros((3, 1)), execution=_execution(), config=config)


def test_variants_of_different_fills_are_refused():
    variants = [Variant(_execution(fill=fill), CONFIG.backtests) for fill in ("close_same", "close_next")]
    with pytest.raises(ConfigError, match=r"execution\.fill: expected one fill"):
        sweep(np.ones((3, 1)), np.zeros((3, 1)), variants, threads=1)


def test_panels_of_other_shapes_are_refused():
    with pytest.raises(DataError, match=r"scores: expected sessions and names of the returns, \(3, 2\)"):
        simulate(np.ones((3, 1)), np.zeros((3, 2)), execution=_execution(), config=CONFIG.backtests)


def test_whoever_knows_the_next_return_gets_rich_and_the_fill_takes_it_away():
    # Perfect foresight of one session earns at the same close only; a session's lag makes noise of it.
    rng = np.random.default_rng(4)
    returns_TxN = rng.normal(scale=0.02, size=(400, 8))
    foresight_TxN = np.roll(returns_TxN, -1, axis=0)
    growth = {
        fill: simulate(foresight_TxN, returns_TxN, execution=_execution(fill=fill), config=_config(held=2, every=1))
        for fill in ("close_same", "close_next")
    }
    assert growth["close_same"].gross_T[1:].mean() > 0.015
    assert abs(growth["close_next"].gross_T.mean()) < 0.003


@given(market=markets(), execution=executions(), config=SETTINGS, volumes=st.booleans())
@settings(max_examples=150)
def test_a_bookkeeper_with_shares_and_cash_agrees(market, execution, config, volumes):
    scores, held, bars = market
    result = simulate(
        scores,
        held,
        execution=execution,
        config=config,
        bars=bars if volumes else None,
    )
    known = {}
    if volumes and {"close", "volume"} <= bars.fields:
        traded, _ = trailing((bars.values["close"] * bars.values["volume"]).tolist(), WINDOW)
        _, volatility = trailing(bars.close_return_TxN.tolist(), WINDOW)
        known = {"traded": traded, "volatility": volatility}
    told = bookkeep(scores.tolist(), held.tolist(), execution=execution, config=config, **known)
    for kind, expected in told.items():
        np.testing.assert_allclose(getattr(result, f"{kind}_T"), expected, rtol=1e-7, atol=1e-9, err_msg=kind)


@given(market=markets(), execution=executions(), config=SETTINGS)
def test_what_was_there_and_was_earned_is_there_or_was_paid(market, execution, config):
    scores, held, bars = market
    result = simulate(scores, held, execution=execution, config=config, bars=bars)
    paid = result.commission_T + result.slippage_T + result.borrow_T + result.financing_T
    np.testing.assert_allclose(result.net_T + paid, result.gross_T, rtol=0, atol=1e-12)
    assert all((getattr(result, f"{kind}_T") >= 0).all() for kind in ("commission", "slippage", "borrow", "financing"))
    assert (result.net_T >= -1).all()
    assert (result.short_T >= 0).all()


@given(market=markets(), execution=executions(impact=0.0, max_participation=1.0), config=SETTINGS)
def test_without_impact_the_size_of_the_portfolio_changes_nothing(market, execution, config):
    scores, held, _ = market
    large, small = (
        simulate(
            scores,
            held,
            execution=execution.model_copy(update={"capital": capital}),
            config=config,
        )
        for capital in (1e3, 1e9)
    )
    np.testing.assert_array_equal(large.net_T, small.net_T)


@given(market=markets(), variants=st.lists(st.tuples(executions(fill="close_next"), SETTINGS), min_size=2, max_size=5))
@settings(max_examples=20)
def test_a_sweep_is_its_variants_one_by_one_bit_for_bit(market, variants):
    scores, held, bars = market
    shared = {"bars": bars}
    alone = [simulate(scores, held, execution=execution, config=config, **shared) for execution, config in variants]
    for threads in (1, 3):
        swept = sweep(scores, held, [Variant(*variant) for variant in variants], threads=threads, **shared)
        assert [_bits(each) for each in swept] == [_bits(each) for each in alone]


@given(market=markets(), config=SETTINGS)
def test_without_costs_net_is_gross(market, config):
    scores, held, _ = market
    lent = {"borrow_bps_a_year": 0.0, "financing_bps_a_year": 0.0}
    execution = _execution(cost_bps=0).model_copy(update=lent)
    result = simulate(scores, held, execution=execution, config=config)
    np.testing.assert_array_equal(result.net_T, result.gross_T)


@given(market=markets(), config=SETTINGS, bps=st.floats(0, 50), more=st.floats(0, 50))
def test_more_cost_never_helps(market, config, bps, more):
    scores, held, _ = market
    # A brake would be set by what was paid.
    config = config.model_copy(update={"brake": CONFIG.backtests.brake})
    cheap, dear = (
        simulate(scores, held, execution=_execution(cost_bps=cost), config=config) for cost in (bps, bps + more)
    )
    np.testing.assert_array_equal(cheap.gross_T, dear.gross_T)
    assert (dear.net_T <= cheap.net_T).all()
    assert (cheap.net_T <= cheap.gross_T).all()


@given(seed=st.integers(0, 1000), config=SETTINGS, execution=executions())
def test_order_of_symbols_does_not_matter(seed, config, execution):
    rng = np.random.default_rng(seed)
    scores_TxN, returns_TxN, order = rng.normal(size=(15, 5)), rng.normal(scale=0.02, size=(15, 5)), rng.permutation(5)
    result = simulate(scores_TxN, returns_TxN, execution=execution, config=config)
    shuffled = simulate(scores_TxN[:, order], returns_TxN[:, order], execution=execution, config=config)
    for one, other in zip(result, shuffled, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_nothing_after_a_session_changes_it(weekdays):
    rng = np.random.default_rng(3)
    sessions = weekdays[:40]
    data = {"scores": rng.normal(size=(40, 6)), "returns": rng.normal(scale=0.02, size=(40, 6))}

    def compute(inputs):
        with np.errstate(all="ignore"):
            result = simulate(
                inputs["scores"], inputs["returns"], execution=CONFIG.execution, config=_config(held=2, every=3)
            )
        return result._asdict()

    assert_no_lookahead(compute, data, at=sessions[22], sessions=sessions)


def test_the_look_ahead_test_sees_a_portfolio_that_fills_before_its_signal(weekdays):
    rng = np.random.default_rng(3)
    sessions = weekdays[:40]
    data = {"scores": rng.normal(size=(40, 6)), "returns": rng.normal(scale=0.02, size=(40, 6))}

    def leaky(inputs):
        early_TxN = np.roll(inputs["scores"], -1, axis=0)
        with np.errstate(all="ignore"):
            execution = _execution(fill="close_same")
            return simulate(
                early_TxN, inputs["returns"], execution=execution, config=_config(held=2, every=1)
            )._asdict()

    with pytest.raises(AssertionError, match="look-ahead"):
        assert_no_lookahead(leaky, data, at=sessions[22], sessions=sessions)


def _bits(simulation: Simulation) -> list[bytes]:
    return [values_T.tobytes() for values_T in simulation]


def _execution(*, fill: str = "close_next", cost_bps: float = 0.0) -> ExecutionConfig:
    return CONFIG.execution.model_copy(update={**FREE, "fill": fill, "commission_bps": cost_bps})


def _config(*, held: int, every: int) -> BacktestsConfig:
    return CONFIG.backtests.model_copy(update={"held": held, "rebalance_sessions": every})
