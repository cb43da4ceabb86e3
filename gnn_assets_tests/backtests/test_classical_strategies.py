"""Known answers: each strategy against its author's rule, followed session by session in plain Python."""

from datetime import date, timedelta

import numpy as np
import pytest

from gnn_assets.backtests.signals import Signals, load_strategy
from gnn_assets.core.config import build_config
from gnn_assets.models.bars import Bars

OWN = {
    "momentum": {"window": 20, "skip": 5},
    "reversal": {"window": 4},
    "ema_cross": {"fast": 4, "slow": 9},
    "rsi": {"window": 5, "low": 35.0, "high": 65.0},
    "bollinger": {"window": 8, "deviations": 1.5},
    "ichimoku": {"conversion": 3, "base": 6, "span": 12},
    "vwap": {"window": 6},
}
CONFIG = build_config("test", {"backtests": {"strategies": OWN, "held": 2}}).backtests
T, N = 90, 4


@pytest.fixture(scope="module")
def bars() -> Bars:
    rng = np.random.default_rng(11)
    returns = rng.normal(0, 0.02, (T, N))
    close = np.exp(returns.cumsum(axis=0))
    values = {
        "close": close,
        "high": close * (1 + 0.01 * rng.random((T, N))),
        "low": close * (1 - 0.01 * rng.random((T, N))),
        "volume": 1e5 * (1 + rng.random((T, N))),
    }
    sessions = tuple(date(2020, 1, 1) + timedelta(days=day) for day in range(T))
    return Bars(sessions, tuple("ABCD"), returns, values)


def weights(name, bars, scores=None, **changed):
    config = CONFIG.model_copy(update={"strategy": name, **changed})
    signals = Signals(scores, bars)
    n_sessions = T if bars is not None else len(scores)
    return load_strategy(config, signals).target_weights(signals, np.arange(n_sessions), config=config)


def is_in(name, bars):
    """Whether each name's slot is full, of those sessions on which all slots are known."""
    held = weights(name, bars)
    assert set(np.unique(held)) == {0.0, 1 / N}
    return held > 0


def ema(prices, span):
    """Exponential average, begun with the plain mean of its first `span` prices."""
    line = [np.nan] * (span - 1) + [np.mean(prices[:span])]
    for price in prices[span:]:
        line.append(line[-1] + 2 / (span + 1) * (price - line[-1]))
    return np.array(line)


def wilder_rsi(prices, window):
    moves = np.diff(prices)
    up, down = np.maximum(moves, 0), np.maximum(-moves, 0)
    rise, fall = up[:window].mean(), down[:window].mean()
    line = [np.nan] * window + [100 * rise / (rise + fall)]
    for t in range(window, len(moves)):
        rise, fall = (rise * (window - 1) + up[t]) / window, (fall * (window - 1) + down[t]) / window
        line.append(100 * rise / (rise + fall))
    return line


def latch(enters, leaves):
    inside, states = False, []
    for enter, leave in zip(enters, leaves, strict=True):
        inside = bool(enter) or (inside and not leave)
        states.append(inside)
    return states


def test_ema_cross_is_in_while_the_fast_average_is_above_the_slow(bars):
    expected = np.column_stack(
        [ema(column, 4) > ema(column, 9) for column in bars.values["close"].astype(np.float64).T]
    )
    np.testing.assert_array_equal(is_in("ema_cross", bars), expected)


def test_rsi_enters_below_the_low_and_leaves_above_the_high(bars):
    lines = np.array([wilder_rsi(column, 5) for column in bars.values["close"].T]).T
    expected = np.column_stack([latch(line < 35, line > 65) for line in lines.T])
    np.testing.assert_array_equal(is_in("rsi", bars), expected)


def test_bollinger_enters_below_the_lower_band_and_leaves_at_the_mean(bars):
    close = bars.values["close"]
    columns = []
    for column in close.T:
        windows = [column[t - 7 : t + 1] for t in range(7, T)]
        enters = [False] * 7 + [window[-1] < window.mean() - 1.5 * window.std() for window in windows]
        leaves = [False] * 7 + [window[-1] >= window.mean() for window in windows]
        columns.append(latch(enters, leaves))
    np.testing.assert_array_equal(is_in("bollinger", bars), np.column_stack(columns))


def test_ichimoku_is_in_above_a_cloud_drawn_before_with_the_conversion_line_above_the_base_line(bars):
    high, low, close = (bars.values[name] for name in ("high", "low", "close"))

    def middle(t, sessions, name):
        if t < sessions - 1:
            return np.nan
        window = slice(t - sessions + 1, t + 1)
        return (high[window, name].max() + low[window, name].min()) / 2

    expected = np.zeros((T, N), dtype=bool)
    for t in range(6 + 11, T):
        for name in range(N):
            ago = t - 6
            edges = (middle(ago, 3, name) + middle(ago, 6, name)) / 2, middle(ago, 12, name)
            expected[t, name] = close[t, name] > max(edges) and middle(t, 3, name) > middle(t, 6, name)
    np.testing.assert_array_equal(is_in("ichimoku", bars), expected)


def test_vwap_is_in_above_what_was_paid_on_average(bars):
    high, low, close, volume = (bars.values[name] for name in ("high", "low", "close", "volume"))
    # Volumes are compared by traded value: that is what splits leave alone.
    expected = np.zeros((T, N), dtype=bool)
    for t in range(5, T):
        window = slice(t - 5, t + 1)
        paid = ((high + low + close) / 3 * volume)[window].sum(axis=0) / volume[window].sum(axis=0)
        expected[t] = close[t] > paid
    np.testing.assert_array_equal(is_in("vwap", bars), expected)


@pytest.mark.parametrize(("name", "window", "skip", "sign"), [("momentum", 15, 5, 1), ("reversal", 4, 0, -1)])
def test_the_two_best_by_past_return_are_held(bars, name, window, skip, sign):
    held = weights(name, bars)
    assert not held[: int(0.9 * window) + skip - 1].any()
    for t in range(window + skip, T):
        past = sign * bars.close_return_TxN[t - skip - window + 1 : t - skip + 1].sum(axis=0)
        assert set(np.flatnonzero(held[t])) == set(np.argsort(-past)[:2])
        assert held[t].sum() == 1


def test_rank_weighted_gives_parts_in_proportion_to_ranks_and_equal_ones_to_equal_scores():
    held = weights("rank_weighted", None, np.array([[0.1, 9.0, -3.0, np.nan], [2.0, 2.0, 1.0, np.inf]]))
    np.testing.assert_allclose(held, [[2 / 6, 3 / 6, 1 / 6, 0], [2.5 / 6, 2.5 / 6, 1 / 6, 0]])


def test_long_short_holds_the_best_against_the_worst_and_nobody_where_all_are_equal():
    scores = np.array([[4.0, 1.0, 3.0, 2.0, np.nan], [1.0, 2.0, 3.0, np.nan, np.nan], [5.0] * 5])
    expected = [[0.25, -0.25, 0.25, -0.25, 0], [-0.5, 0, 0.5, 0, 0], [0] * 5]
    np.testing.assert_array_equal(weights("long_short", None, scores), expected)


def test_a_name_that_was_sold_short_stays_within_the_hysteresis():
    scores = np.array([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [6.0, 5.0, 4.0, 2.0, 3.0, 1.0], [6.0, 5.0, 2.0, 4.0, 3.0, 1.0]])
    shorts = [np.flatnonzero(row < 0).tolist() for row in weights("long_short", None, scores, hysteresis=0.5)]
    # Two places, three within the limit: the fifth name is third from below and stays.
    assert shorts == [[4, 5], [4, 5], [4, 5]]
    assert [np.flatnonzero(row < 0).tolist() for row in weights("long_short", None, scores)] == [[4, 5], [3, 5], [2, 5]]


def test_equal_weight_holds_all_that_have_a_score():
    held = weights("equal_weight", None, np.array([[1.0, np.nan, 5.0], [np.nan, np.nan, np.nan]]))
    np.testing.assert_array_equal(held, [[0.5, 0, 0.5], [0, 0, 0]])
