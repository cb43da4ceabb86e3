from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.backtests.portfolio import portfolio_returns
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DataError
from gnn_assets.forecasts.live_portfolio import live_portfolio, live_sharpe
from gnn_assets.models.bars import Bars
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets_tests.forecasts.live import forecast_rows, names, panels, return_rows
from gnn_assets_tests.lookahead import assert_no_lookahead

CONFIG = build_config("test", {"backtests": {"held": 2, "rebalance_sessions": 2}, "execution": {"horizon": 1}})
LAG = CONFIG.execution.fill_lag
YEAR = {"sessions_per_year": CONFIG.backtests.sessions_per_year}


def bars_of(returns_TxN, calendar):
    return Bars(calendar.sessions[: len(returns_TxN)], tuple(names(returns_TxN)), returns_TxN)


def traded(served, returns_TxN, calendar, *, at=None, config=CONFIG.backtests):
    """`live_portfolio` at session number `at`, the last one unless told."""
    return live_portfolio(
        served,
        return_rows(returns_TxN, calendar),
        bars_of(returns_TxN, calendar),
        session=calendar.sessions[len(returns_TxN) - 1 if at is None else at],
        execution=CONFIG.execution,
        config=config,
    )


def served_rows(scores_TxN, calendar, **facts):
    return forecast_rows(scores_TxN, calendar, execution=CONFIG.execution, **facts)


def of_net(net_T, equal_T, calendar):
    days = pl.Series(calendar.sessions[: len(net_T)], dtype=pl.Date)
    return pl.DataFrame({"session": days, "net": net_T, "net_equal_weight": equal_T})


@pytest.mark.parametrize("strategy", ["top_k", "long_short", "momentum"])
def test_what_is_served_earns_what_the_backtest_of_the_same_scores_earns(calendar, strategy):
    scores_TxN, returns_TxN = panels(80, 6)
    momentum = CONFIG.backtests.strategies.momentum.model_copy(update={"window": 20, "skip": 0})
    strategies = CONFIG.backtests.strategies.model_copy(update={"momentum": momentum})
    config = CONFIG.backtests.model_copy(update={"strategy": strategy, "strategies": strategies})
    served = served_rows(scores_TxN, calendar).filter(pl.col("session") >= calendar.sessions[30])
    predictions = pl.concat(
        OOS_PREDICTIONS.conform(
            served.select(
                "session",
                "symbol",
                score=pl.col("score") if model == "own" else pl.lit(1, dtype=pl.Float32),
                version="champion",
                model=pl.lit(model),
                fold=pl.lit(0, dtype=pl.Int16),
                training_end="session",
            )
        )
        for model in ("own", "equal_weight")
    )
    backtest = portfolio_returns(
        predictions,
        return_rows(returns_TxN, calendar),
        sessions=calendar.sessions[:80],
        symbols=names(returns_TxN),
        execution=CONFIG.execution,
        config=config,
    )
    live = traded(served, returns_TxN, calendar, config=config)
    assert live["session"].to_list() == list(calendar.sessions[30 + LAG : 80])
    for column, model in (("net", "own"), ("net_equal_weight", "equal_weight")):
        expected = backtest.filter(pl.col("model") == model)["net"].to_numpy()[LAG:]
        np.testing.assert_array_equal(live[column].to_numpy(), expected)


def test_a_hold_is_earned_by_hand_net_of_what_it_costs(calendar):
    # The best two of three are bought at the second session's fill; from the third on they earn the mean of their gains.
    returns_TxN = np.log1p(np.array([[0.0] * 3, [0.0] * 3, [0.10, 0.02, -0.03]]))
    live = traded(served_rows(np.array([[3.0, 2.0, 1.0]]), calendar), returns_TxN, calendar)
    cost = CONFIG.execution.cost_per_side
    np.testing.assert_allclose(live["net"], [-cost, 0.06])
    np.testing.assert_allclose(live["net_equal_weight"], [-cost, 0.03])


def test_a_name_that_reopens_lower_costs_who_held_it(calendar):
    """Nobody can forecast over the gap; whoever held the name has lost all the same: half of 60 %, a third of it."""
    returns_TxN = np.zeros((6, 3))
    returns = return_rows(returns_TxN, calendar).with_columns(
        held_return=pl.when((pl.col("symbol") == "S00") & (pl.col("session") == calendar.sessions[5]))
        .then(np.log(0.4))
        .otherwise("held_return")
    )
    at = {"session": calendar.sessions[5], "execution": CONFIG.execution, "config": CONFIG.backtests}
    served = served_rows(np.array([[3.0, 2.0, 1.0]]), calendar)
    live = live_portfolio(served, returns, bars_of(returns_TxN, calendar), **at)
    assert live.row(-1)[1:] == pytest.approx((-0.3, -0.2))


def test_equal_weight_is_held_without_brake_and_sizes(calendar):
    scores_TxN, returns_TxN = panels(80, 6)
    served = served_rows(scores_TxN, calendar)
    braked = CONFIG.backtests.model_copy(update={"brake": CONFIG.backtests.brake.model_copy(update={"drawdown": 0.01})})
    free, slowed = (traded(served, returns_TxN, calendar, config=each) for each in (CONFIG.backtests, braked))
    assert slowed["net_equal_weight"].equals(free["net_equal_weight"])
    assert not slowed["net"].equals(free["net"])


def test_a_new_champion_takes_over_the_portfolio_and_pays_for_the_change(calendar):
    scores_TxN, returns_TxN = np.tile([3.0, 2.0, 1.0, 0.0], (20, 1)), np.zeros((20, 4))
    turned = pl.concat(
        [
            served_rows(scores_TxN, calendar, version="old", until=calendar.sessions[9]),
            served_rows(-scores_TxN, calendar, version="new").filter(pl.col("session") > calendar.sessions[9]),
        ]
    )
    live = traded(turned, returns_TxN, calendar)
    paid = live.filter(pl.col("net") != 0)
    assert paid["session"].to_list() == [calendar.sessions[LAG], calendar.sessions[10 + LAG]]
    # Both names are bought; then both are sold for two others.
    np.testing.assert_allclose(paid["net"], np.array([-1, -2]) * CONFIG.execution.cost_per_side, rtol=1e-3)
    assert (live["net_equal_weight"] != 0).sum() == 1


def test_while_nothing_is_served_what_is_held_stays_held(calendar):
    scores_TxN, returns_TxN = panels(20, 4)
    live = traded(served_rows(scores_TxN, calendar, until=calendar.sessions[8]), returns_TxN, calendar)
    assert live["session"][-1] == calendar.sessions[19]
    assert (live["net"][-8:] != 0).all()


def test_a_row_depends_on_nothing_after_its_session_and_a_planted_leak_is_seen(calendar):
    scores_TxN, returns_TxN = panels(60, 5)
    sessions = list(calendar.sessions[:60])
    data = {
        "served": served_rows(scores_TxN, calendar),
        "returns": return_rows(returns_TxN, calendar),
        "closes": returns_TxN,
    }

    def earned(ahead):
        def compute(inputs):
            served = inputs["served"].with_columns(pl.col("score").shift(-ahead * 5))
            with np.errstate(all="ignore"):
                portfolio = live_portfolio(
                    served.drop_nulls("score"),
                    inputs["returns"],
                    replace(bars_of(returns_TxN, calendar), close_return_TxN=inputs["closes"].astype(np.float64)),
                    session=sessions[59],
                    execution=CONFIG.execution,
                    config=CONFIG.backtests,
                )
                sharpe = live_sharpe(portfolio, live=CONFIG.live.model_copy(update={"window_sessions": 10}), **YEAR)
            return {"portfolio": portfolio, "sharpe": sharpe}

        return compute

    assert_no_lookahead(earned(0), data, at=sessions[40], sessions=sessions)
    with pytest.raises(AssertionError, match="look-ahead: portfolio of"):
        assert_no_lookahead(earned(4), data, at=sessions[40], sessions=sessions)


def test_at_a_session_the_portfolio_is_what_it_will_later_be_said_to_have_been(calendar):
    scores_TxN, returns_TxN = panels(60, 5)
    served = served_rows(scores_TxN, calendar)
    whole = traded(served, returns_TxN, calendar)
    for at in (10, 33, 58):
        then = traded(served, returns_TxN, calendar, at=at)
        assert then.equals(whole.filter(pl.col("session") <= calendar.sessions[at]))


def test_forecasts_of_two_versions_on_one_session_are_no_portfolio(calendar):
    two = pl.concat([served_rows(np.ones((3, 3)), calendar, version=version) for version in ("v1", "v2")])
    with pytest.raises(DataError, match=r"served forecasts of 2019-01-02: expected one version, was v1, v2"):
        traded(two, np.zeros((5, 3)), calendar)


def test_no_forecasts_are_no_portfolio(calendar):
    with pytest.raises(DataError, match=r"served forecasts: .* was none"):
        traded(served_rows(np.ones((3, 3)), calendar).clear(), np.zeros((5, 3)), calendar)


def test_the_running_sharpe_ratio_is_that_of_the_last_sessions(calendar):
    rng = np.random.default_rng(2)
    net_T, equal_T = rng.normal(loc=0.001, scale=0.01, size=(2, 50))
    running = live_sharpe(
        of_net(net_T, equal_T, calendar), live=CONFIG.live.model_copy(update={"window_sessions": 20}), **YEAR
    )
    assert running["sharpe"].null_count() == running["limit"].null_count() == 19
    for row in (19, 30, 49):
        for column, values_T in (("sharpe", net_T), ("benchmark", equal_T)):
            last = values_T[row - 19 : row + 1]
            by_hand = last.mean() / last.std(ddof=1) * np.sqrt(CONFIG.backtests.sessions_per_year)
            assert running[column][row] == pytest.approx(by_hand)


def test_a_portfolio_younger_than_the_window_has_no_ratio(calendar):
    net_T = np.random.default_rng(2).normal(size=10)
    live = CONFIG.live.model_copy(update={"window_sessions": 20})
    assert live_sharpe(of_net(net_T, net_T, calendar), live=live, **YEAR)["sharpe"].null_count() == 10


def test_returns_that_are_all_equal_have_no_ratio_and_no_limit(calendar):
    running = live_sharpe(of_net(np.zeros(30), np.zeros(30), calendar), live=CONFIG.live, **YEAR)
    assert running.drop("session").null_count().row(0) == (30, 30, 30)


@given(mean=st.floats(-0.01, 0.01), ratio=st.floats(1, 3))
def test_the_limit_is_a_multiple_of_equal_weights_ratio_and_never_less_than_it(calendar, mean, ratio):
    equal_T = mean + np.tile([0.01, -0.01], 5)
    live = CONFIG.live.model_copy(update={"window_sessions": 10, "sharpe_ratio": ratio})
    last = live_sharpe(of_net(np.arange(10.0), equal_T, calendar), live=live, **YEAR).row(-1, named=True)
    benchmark = last["benchmark"]
    assert last["limit"] == (ratio * benchmark if benchmark > 0 else benchmark)
