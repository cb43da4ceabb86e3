import math

import numpy as np
import pytest

from gnn_assets.backtests.intervals import (
    alpha_interval,
    calmar_interval,
    drawdown_interval,
    sharpe_interval,
    sortino_interval,
)
from gnn_assets.backtests.metrics import alpha, calmar, max_drawdown, sharpe, sortino
from gnn_assets.backtests.significance import draw_counts, draw_orders
from gnn_assets.core.config import build_config

CONFIG = build_config("test").backtests
YEAR = CONFIG.sessions_per_year
SESSIONS = 300
ENDS = [(1 - CONFIG.confidence) / 2, (1 + CONFIG.confidence) / 2]


@pytest.fixture(scope="module")
def returns_T():
    return np.random.default_rng(0).standard_t(4, size=SESSIONS) * 0.01 + 0.001


def annual(measure):
    return lambda drawn_T: measure(drawn_T, sessions_per_year=YEAR)


def test_orders_are_the_draws_that_are_counted():
    orders_RxT = draw_orders(SESSIONS, config=CONFIG)
    counts_RxT = [np.bincount(order_T, minlength=SESSIONS) for order_T in orders_RxT]
    np.testing.assert_array_equal(counts_RxT, draw_counts(SESSIONS, config=CONFIG))
    with pytest.raises(ValueError, match="read-only"):
        orders_RxT[0, 0] = 1


def test_draws_keep_the_order_inside_blocks():
    orders_RxT = draw_orders(SESSIONS, config=CONFIG)
    kept = np.mean((np.diff(orders_RxT, axis=1) % SESSIONS) == 1)
    assert kept == pytest.approx(1 - 1 / CONFIG.bootstrap_block, abs=0.01)


@pytest.mark.parametrize(
    ("interval", "measure"),
    [
        (sharpe_interval, annual(sharpe)),
        (sortino_interval, annual(sortino)),
        (calmar_interval, annual(calmar)),
        (drawdown_interval, max_drawdown),
    ],
)
def test_each_interval_is_that_of_the_measure_of_every_resample(interval, measure, returns_T):
    slow = [measure(returns_T[order_T]) for order_T in draw_orders(SESSIONS, config=CONFIG)]
    assert interval(returns_T, config=CONFIG) == pytest.approx(tuple(np.quantile(slow, ENDS)), rel=1e-9)


def test_the_interval_of_alpha_is_that_of_every_resample_of_pairs(returns_T):
    benchmark_T = 0.5 * returns_T + np.random.default_rng(1).normal(scale=0.01, size=SESSIONS)
    slow = [
        alpha(returns_T[order_T], benchmark_T[order_T], sessions_per_year=YEAR)
        for order_T in draw_orders(SESSIONS, config=CONFIG)
    ]
    expected = tuple(np.quantile(slow, ENDS))
    assert alpha_interval(returns_T, benchmark_T, config=CONFIG) == pytest.approx(expected, rel=1e-6)


def test_what_some_resample_leaves_undefined_has_no_interval():
    flat_T, gains_T = np.full(60, 0.001), np.r_[np.full(59, 0.001), 0.002]
    found = [
        sharpe_interval(flat_T, config=CONFIG),
        sortino_interval(gains_T, config=CONFIG),
        calmar_interval(gains_T, config=CONFIG),
        alpha_interval(gains_T, flat_T, config=CONFIG),
    ]
    assert all(math.isnan(end) for ends in found for end in ends)
    assert drawdown_interval(gains_T, config=CONFIG) == (0.0, 0.0)
