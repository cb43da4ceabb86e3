"""Symbols that enter and leave: what a window costs does not depend on how many names there have ever been."""

import tracemalloc
from datetime import date, timedelta

import numpy as np
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.graphs.active import active_symbols
from gnn_assets.graphs.correlation import correlation_neighbours
from gnn_assets.graphs.factors import factor_loadings, project_off, residual_returns
from gnn_assets.graphs.features import own_minus_neighbours
from gnn_assets.graphs.temporal import temporal_neighbours
from gnn_assets_tests.graphs.market import panel
from gnn_assets_tests.lookahead import assert_no_lookahead

# Fifty names trade at a time, each for 200 sessions; every four sessions one leaves and another enters.
LIFE, ENTRY, SESSIONS, STEP = 200, 4, 8_000, 80
WINDOW, MIN_OVERLAP, K, LAGS = 60, 45, 5, (0, 5)
CONFIG = build_config("test").graphs.factors.model_copy(
    update={"window": WINDOW, "refresh_weeks": 1, "count": 5, "projected": 3}
)
DATES = [date(1990, 1, 1) + timedelta(day) for day in range(SESSIONS)]
STEPS = range(2 * LIFE, SESSIONS, STEP)


def trading(last):
    """Names with a return in the rows that a session needs; they are numbered as they enter."""
    return range((last - CONFIG.lookback - LIFE) // ENTRY + 2, last // ENTRY + 1)


def window_of(last, names):
    """The rows that a session needs, a column a name; the same returns whenever they are asked for."""
    first = last - CONFIG.lookback + 1
    common = np.random.default_rng(last).normal(size=CONFIG.lookback)
    returns = np.full((CONFIG.lookback, len(names)), np.nan)
    for column, name in enumerate(names):
        rows = slice(max(name * ENTRY - first, 0), max(name * ENTRY + LIFE - first, 0))
        own = np.random.default_rng(name).normal(size=CONFIG.lookback)
        returns[rows, column] = 0.01 * (own + common)[rows]
    return returns


def graph_of(returns, rows):
    return correlation_neighbours(returns, window=WINDOW, k=K, min_abs_corr=0.1, min_overlap=MIN_OVERLAP, sessions=rows)


def work(last, returns):
    """All that a session makes of its graph; how many symbols have a score in the end."""
    row, sessions = len(returns) - 1, DATES[last - len(returns) + 1 : last + 1]
    graph = temporal_neighbours(graph_of(returns, [row - lag for lag in LAGS]), lags=LAGS, sessions=[row])
    factors = factor_loadings(returns, sessions=sessions, config=CONFIG)
    residual = residual_returns(returns, factors, sessions=sessions)[-1:]
    stand = own_minus_neighbours(residual[..., None], graph.dst_SxNxK, hops=2)[..., 0]
    score = project_off(stand, factors, sessions=sessions[-1:], count=CONFIG.projected)
    return int(np.isfinite(score).sum())


def step(last):
    """One session of a caller who holds the columns of its window alone."""
    returns = window_of(last, trading(last))
    columns = active_symbols(returns, len(returns) - 1, window=WINDOW, min_overlap=MIN_OVERLAP)
    assert 40 <= len(columns) <= 60
    assert work(last, returns[:, columns]) >= 35


@pytest.fixture
def traced():
    step(STEPS[0])  # compiles and imports before anything is counted
    tracemalloc.start()
    yield
    tracemalloc.stop()


def peak_of(work_of, last):
    tracemalloc.reset_peak()
    work_of(last)
    return tracemalloc.get_traced_memory()[1]


@pytest.mark.slow
def test_memory_stays_bounded_while_every_name_is_replaced_again_and_again(traced):
    peaks = [peak_of(step, last) for last in STEPS]
    assert not set(trading(STEPS[0])) & set(trading(STEPS[4]))
    assert trading(STEPS[-1])[-1] > 1900
    assert max(peaks[-10:]) < 1.5 * max(peaks[:10])


def test_the_same_test_fails_for_a_caller_who_holds_every_name_there_has_been(traced):
    def holding_all(last):
        work(last, window_of(last, range(trading(STEPS[0])[0], last // ENTRY + 1)))

    assert peak_of(holding_all, STEPS[-1]) > 3 * peak_of(holding_all, STEPS[0])


@pytest.mark.parametrize("row", [59, 100, 180])
def test_leaving_out_what_is_not_active_changes_nothing_about_the_rest(row):
    returns = np.vstack(
        [window_of(last, range(20, 150)) for last in (480, 480 + CONFIG.lookback, 400 + 3 * CONFIG.lookback)]
    )
    active = active_symbols(returns, row, window=WINDOW, min_overlap=MIN_OVERLAP)
    assert 0 < len(active) < returns.shape[1]
    whole, part = graph_of(returns, [row]), graph_of(returns[:, active], [row])
    named = np.where(part.dst_SxNxk >= 0, active[part.dst_SxNxk], -1)
    np.testing.assert_array_equal(whole.dst_SxNxk[:, active], named)
    np.testing.assert_allclose(whole.corr_SxNxk[:, active], part.corr_SxNxk, atol=1e-6)
    assert (np.delete(whole.dst_SxNxk, active, axis=1) == -1).all()


def test_a_symbol_is_active_from_exactly_the_least_overlap_on():
    returns = np.full((10, 3), np.nan)
    returns[5:, 0] = 0.0
    returns[6:, 1] = 0.0
    returns[:5, 2] = np.inf
    assert active_symbols(returns, 9, window=10, min_overlap=5).tolist() == [0]
    assert active_symbols(returns, 9, window=4, min_overlap=4).tolist() == [0, 1]
    assert active_symbols(returns, 8, window=10, min_overlap=5).tolist() == []


def test_nothing_of_a_session_changes_whatever_comes_later():
    returns = panel()
    sessions = DATES[: len(returns)]

    def compute(data):
        active = np.zeros(data["returns"].shape)
        for row in range(len(active)):
            active[row, active_symbols(data["returns"], row, window=10, min_overlap=10)] = 1.0
        return {"active": active}

    assert_no_lookahead(compute, {"returns": returns}, at=sessions[50], sessions=sessions)
