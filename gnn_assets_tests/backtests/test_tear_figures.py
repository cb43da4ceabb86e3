from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.backtests.cross_section import information_coefficients, realised_labels
from gnn_assets.backtests.drawdowns import drawdowns
from gnn_assets.backtests.metrics import sharpe
from gnn_assets.backtests.tear_figures import (
    COST_MULTIPLES,
    HORIZONS,
    at_costs,
    cost_simulations,
    decay,
    monthly_returns,
    rolling_mean,
    rolling_sharpe,
    worst_spells,
)
from gnn_assets.store.panel import to_panel

MODEL = "graph_attention"
RETURNS = hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(-200, 200).map(lambda value: value / 1000))


def days(count):
    return [date(2020, 1, 1) + timedelta(days=place) for place in range(count)]


def test_falls_are_named_by_peak_lowest_session_and_the_one_that_regained_it():
    #            1.1  0.88 0.99 1.1  1.0  1.2  0.6   0.9
    returns_T = [0.1, -0.2, 0.125, 1 / 9, -1 / 11, 0.2, -0.5, 0.5]
    first, second, third = worst_spells(np.array(returns_T), days(8), most=5)
    assert (first.peak, first.trough, first.regained) == (date(2020, 1, 6), date(2020, 1, 7), None)
    assert (first.depth, first.length) == (pytest.approx(-0.5), 2)
    assert (second.peak, second.trough, second.regained) == (date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 4))
    assert (second.depth, second.length) == (pytest.approx(-0.2), 3)
    assert third.depth == pytest.approx(-1 / 11)
    assert worst_spells(np.array(returns_T), days(8), most=2) == [first, second]


def test_a_fall_from_the_first_session_has_no_peak_and_a_rise_alone_no_fall():
    (spell,) = worst_spells(np.array([-0.1, 0.0, 0.2]), days(3), most=5)
    assert (spell.peak, spell.trough, spell.regained, spell.length) == (None, days(3)[0], days(3)[2], 3)
    assert worst_spells(np.array([0.1, 0.0, 0.2]), days(3), most=5) == []


@given(RETURNS)
def test_the_first_is_the_deepest_fall_there_is_and_all_together_are_the_time_below_a_peak(returns_T):
    spells = worst_spells(returns_T, days(returns_T.size), most=returns_T.size)
    told = drawdowns(returns_T)
    assert [spell.depth for spell in spells] == sorted(spell.depth for spell in spells)
    assert (spells[0].depth if spells else 0.0) == told.depth
    below = sum(spell.length - (spell.regained is not None) for spell in spells)
    assert below / returns_T.size == pytest.approx(told.under_water)


def test_months_are_compounded_and_a_month_without_sessions_is_none():
    sessions = [date(2019, 12, 31), date(2020, 1, 2), date(2020, 1, 3), date(2020, 3, 2)]
    table = monthly_returns(np.array([0.5, 0.1, 0.2, -0.5]), sessions)
    assert list(table) == [2019, 2020]
    months, year = table[2020]
    assert months[:3] == [pytest.approx(0.32), pytest.approx(float("nan"), nan_ok=True), pytest.approx(-0.5)]
    assert np.isnan(months[3:]).all()
    assert year == pytest.approx(1.1 * 1.2 * 0.5 - 1)
    assert table[2019] == ([*[pytest.approx(float("nan"), nan_ok=True)] * 11, pytest.approx(0.5)], pytest.approx(0.5))


@settings(max_examples=30)
@given(RETURNS, st.integers(2, 20))
def test_a_rolling_sharpe_ratio_is_that_of_its_window_alone(returns_T, window):
    rolling_T = rolling_sharpe(returns_T, sessions_per_year=window)
    for t, value in enumerate(rolling_T):
        own = sharpe(returns_T[t + 1 - window : t + 1], sessions_per_year=window) if t + 1 >= window else np.nan
        assert value == pytest.approx(own, rel=1e-9, nan_ok=True)


def test_a_rolling_mean_is_that_of_what_is_known_of_at_least_half_its_window():
    values_T = np.array([0.1, np.nan, 0.3, 0.2, np.nan, np.nan, np.nan])
    expected = [np.nan, np.nan, np.nan, 0.2, 0.25, 0.25, np.nan]
    assert rolling_mean(values_T, window=4) == pytest.approx(expected, nan_ok=True)
    assert np.isnan(rolling_mean(values_T[:3], window=4)).all()


def test_everything_that_is_paid_is_multiplied_and_nothing_else(market):
    execution = market.config.execution.model_copy(update={"impact": 0.5})
    dear = at_costs(execution, 4.0)
    changed = {name for name in type(execution).model_fields if getattr(dear, name) != getattr(execution, name)}
    assert changed == {
        "commission_bps",
        "half_spread_bps",
        "slippage_bps",
        "impact",
        "borrow_bps_a_year",
        "financing_bps_a_year",
    }
    assert dear.cost_per_side == pytest.approx(4 * execution.cost_per_side)
    assert dear.impact == 2.0
    assert at_costs(execution, 1.0) == execution


def test_at_once_the_costs_it_is_the_stored_portfolio_and_dearer_is_worse(market, portfolios):
    stored = portfolios.filter(pl.col("model") == MODEL).sort("session")
    simulations = cost_simulations(
        market.predictions.filter(pl.col("model") == MODEL),
        market.returns,
        axis=stored["session"].to_list(),
        sessions=market.sessions,
        symbols=market.symbols,
        execution=market.config.execution,
        config=market.config.backtests,
        bars=None,
        universe=None,
        calendar=None,
    )
    assert simulations[1.0].net_T.tolist() == stored["net"].to_list()
    assert simulations[0.0].net_T.tolist() == simulations[0.0].gross_T.tolist()
    growth = [float(np.prod(1 + simulations[multiple].net_T)) for multiple in COST_MULTIPLES]
    ratios = [sharpe(simulations[multiple].net_T, sessions_per_year=252) for multiple in COST_MULTIPLES]
    for values in (growth, ratios):
        assert all(cheap > dear for cheap, dear in pairwise(values))


def test_decay_is_the_mean_ic_of_each_horizon_on_sessions_that_all_of_them_know(market):
    told = decayed(market, market.sessions[60:])
    scores_TxN, fill_TxN = panels(market, market.sessions[60:])
    known = len(scores_TxN) - HORIZONS - market.config.execution.fill_lag
    assert told.sessions == known
    for horizon in (1, 5, HORIZONS):
        labels_TxN = realised_labels(
            fill_TxN, execution=market.config.execution.model_copy(update={"horizon": horizon})
        )
        expected = information_coefficients(scores_TxN, labels_TxN)[:known].mean()
        assert told.mean_H[horizon - 1] == pytest.approx(expected)
    assert (told.lower_H < told.mean_H).all()
    assert (told.mean_H < told.upper_H).all()
    # The candidate of this market sees its own horizon ahead.
    assert told.mean_H.argmax() == market.config.execution.horizon - 1


def test_decay_of_few_sessions_has_no_interval_and_of_fewer_no_mean(market):
    told = decayed(market, market.sessions[60:100])
    assert told.sessions < 2 * market.config.backtests.bootstrap_block
    assert np.isfinite(told.mean_H).all()
    assert np.isnan(told.lower_H).all()
    none = decayed(market, market.sessions[60:70])
    assert none.sessions == 0
    assert np.isnan(none.mean_H).all()


def decayed(market, sessions):
    return decay(
        market.predictions.filter(pl.col("model") == MODEL),
        market.returns,
        sessions=sessions,
        symbols=market.symbols,
        execution=market.config.execution,
        config=market.config.backtests,
    )


def panels(market, sessions):
    own = market.predictions.filter(pl.col("model") == MODEL)
    return (
        to_panel(own, "score", sessions=sessions, symbols=market.symbols),
        to_panel(market.returns, "fill_return", sessions=sessions, symbols=market.symbols),
    )
