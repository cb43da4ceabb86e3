import numpy as np
import polars as pl
import pytest

from gnn_assets.backtests.regimes import REGIMES, volatility_regimes
from gnn_assets.core.config import build_config
from gnn_assets.store.panel import from_panel

CONFIG = build_config("test").backtests.regimes.model_copy(update={"volatility_window": 5, "history": 30})
SYMBOLS = ["A", "B", "C"]


def test_a_session_is_held_against_the_thirds_of_the_volatilities_before_it(weekdays):
    returns_TxN = _panel()
    regimes = _regimes(returns_TxN, weekdays)
    market_T = np.expm1(returns_TxN).mean(axis=1)
    volatility_T = np.array([np.std(market_T[max(d - 4, 0) : d + 1], ddof=1) if d >= 4 else np.nan for d in range(200)])
    for d in range(200):
        before = volatility_T[max(d - 30, 0) : d]
        if d < 34:
            assert regimes[d] is None
        else:
            place = np.searchsorted(np.quantile(before, [1 / 3, 2 / 3]), volatility_T[d])
            assert regimes[d] == REGIMES[place]
    assert set(regimes[34:]) == set(REGIMES)


def test_what_comes_later_changes_no_regime_and_a_leak_would(weekdays):
    returns_TxN, cut = _panel(), 150
    altered_TxN = returns_TxN.copy()
    altered_TxN[cut:] *= 10
    assert _regimes(altered_TxN, weekdays)[:cut] == _regimes(returns_TxN, weekdays)[:cut]
    leaky, leaky_altered = (_regimes(np.roll(panel, -3, axis=0), weekdays) for panel in (returns_TxN, altered_TxN))
    assert leaky[:cut] != leaky_altered[:cut]


def test_names_outside_the_market_do_not_count(weekdays):
    returns_TxN = _panel()
    wild_TxN = np.column_stack([returns_TxN, np.random.default_rng(1).normal(size=200)])
    assert _regimes(wild_TxN, weekdays, [*SYMBOLS, "D"]) == _regimes(returns_TxN, weekdays)


def test_where_the_market_has_no_return_there_is_no_regime_until_window_and_history_are_full_again(weekdays):
    returns_TxN = _panel()
    returns_TxN[100] = np.nan
    regimes = _regimes(returns_TxN, weekdays)
    assert regimes[99] is not None
    assert regimes[100:135] == [None] * 35
    assert regimes[135] is not None


@pytest.mark.parametrize("missing", ["A", "C"])
def test_a_name_without_a_return_leaves_the_market_to_the_others(weekdays, missing):
    returns_TxN = _panel()
    returns_TxN[:, SYMBOLS.index(missing)] = np.nan
    others = [position for position, symbol in enumerate(SYMBOLS) if symbol != missing]
    alone = _regimes(returns_TxN[:, others], weekdays, [SYMBOLS[position] for position in others])
    assert _regimes(returns_TxN, weekdays) == alone


def _panel():
    rng = np.random.default_rng(0)
    return rng.normal(scale=0.01, size=(200, 3)) * (1.5 + np.sin(np.arange(200) / 15))[:, None]


def _regimes(returns_TxN, weekdays, symbols=SYMBOLS):
    sessions = weekdays[: len(returns_TxN)]
    frame = from_panel(returns_TxN, "close_return", sessions=sessions, symbols=symbols)
    found = volatility_regimes(
        frame.sample(fraction=1, shuffle=True, seed=1), sessions=sessions, symbols=SYMBOLS, config=CONFIG
    )
    assert found.schema == {"session": pl.Date, "regime": pl.String}
    assert found["session"].to_list() == sessions
    return found["regime"].to_list()
