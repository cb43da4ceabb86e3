"""What every strategy promises, whoever adds it."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.backtests.engine import simulate
from gnn_assets.backtests.signals import STRATEGIES, Signals, load_strategy
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DataError
from gnn_assets.core.plugins import load_plugin, plugin_names
from gnn_assets.models.bars import Bars
from gnn_assets_tests.lookahead import assert_no_lookahead

# Windows short enough for a market of four months.
CONFIG = build_config(
    "test",
    {
        "backtests": {
            "strategies": {
                "momentum": {"window": 20, "skip": 3},
                "ema_cross": {"fast": 4, "slow": 9},
                "rsi": {"window": 4, "low": 40.0, "high": 60.0},
                "bollinger": {"window": 8, "deviations": 1.0},
                "ichimoku": {"conversion": 3, "base": 6, "span": 12},
                "vwap": {"window": 6},
            }
        }
    },
)
SESSIONS = [date(2020, 1, 1) + timedelta(days=day) for day in range(80)]
FIELDS = ("close", "high", "low", "volume")
every_strategy = pytest.mark.parametrize("name", plugin_names(STRATEGIES))
SEEDS = st.integers(0, 10_000)


def _market(seed: int, *, n_names: int = 7, gaps: float = 0.1, ties: bool = False) -> dict[str, np.ndarray]:
    """Scores, returns and bars of a small market; some are absent."""
    rng = np.random.default_rng(seed)
    shape = (len(SESSIONS), n_names)
    returns = rng.normal(0.001, 0.02, shape)
    close = 100 * np.exp(np.cumsum(returns, axis=0))
    scores = rng.choice([-1.0, 0.0, 1.0, np.inf], shape) if ties else rng.normal(size=shape)
    data = {
        "scores": scores,
        "returns": returns,
        "close": close,
        "high": close * (1 + 0.02 * rng.random(shape)),
        "low": close * (1 - 0.02 * rng.random(shape)),
        "volume": 1e6 * rng.random(shape),
    }
    absent = rng.random(shape) < gaps
    return {key: np.where(absent, np.nan, values) for key, values in data.items()}


def _signals(data) -> Signals:
    names = tuple(f"S{column}" for column in range(data["returns"].shape[1]))
    bars = Bars(tuple(SESSIONS), names, data["returns"], {field: data[field] for field in FIELDS})
    return Signals(data["scores"], bars)


def _weights(name: str, data, rows=None, **changed) -> np.ndarray:
    config = CONFIG.backtests.model_copy(update={"strategy": name, **changed})
    signals = _signals(data)
    rows_R = np.arange(len(SESSIONS)) if rows is None else rows
    return load_strategy(config, signals).target_weights(signals, rows_R, config=config)


def test_the_default_strategy_is_among_them():
    assert CONFIG.backtests.strategy in plugin_names(STRATEGIES)


@every_strategy
@given(
    market=st.fixed_dictionaries({"seed": SEEDS, "ties": st.booleans(), "n_names": st.integers(1, 8)}),
    held=st.integers(1, 9),
    cap=st.sampled_from([0.05, 0.2, 1.0]),
    hysteresis=st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=15)
def test_weights_are_finite_capped_and_no_more_than_all(name, market, held, cap, hysteresis):
    data = _market(**market, gaps=0.3)
    weights_TxN = _weights(name, data, held=held, max_weight=cap, hysteresis=hysteresis)
    assert weights_TxN.shape == data["scores"].shape
    assert weights_TxN.dtype == np.float64
    assert np.isfinite(weights_TxN).all()
    assert (np.abs(weights_TxN) <= cap).all()
    assert (np.abs(weights_TxN).sum(axis=1) <= 1 + 1e-12).all()
    assert load_plugin(STRATEGIES, name).SIGNED or (weights_TxN >= 0).all()


@every_strategy
def test_it_holds_something_and_not_always_the_same(name):
    weights_TxN = _weights(name, _market(1, gaps=0.02))
    assert (weights_TxN[-30:] != 0).any(axis=1).mean() > 0.5
    assert len(np.unique(weights_TxN[-30:] != 0, axis=0)) > 1


@every_strategy
@given(seed=SEEDS)
@settings(max_examples=10)
def test_no_name_is_held_of_which_nothing_is_known(name, seed):
    data = _market(seed, gaps=0.4)
    absent = np.isnan(data["scores"])
    assert not _weights(name, data)[absent].any()


@every_strategy
@given(seed=SEEDS, order=st.permutations(range(7)), hysteresis=st.sampled_from([0.0, 1.0]))
@settings(max_examples=10)
def test_order_of_names_does_not_matter(name, seed, order, hysteresis):
    data = _market(seed, gaps=0.02)
    turned = {key: values[:, order] for key, values in data.items()}
    np.testing.assert_allclose(
        _weights(name, turned, hysteresis=hysteresis),
        _weights(name, data, hysteresis=hysteresis)[:, order],
        rtol=1e-12,
    )


@every_strategy
def test_signals_are_not_written_to_and_the_answer_is_always_the_same(name):
    data = _market(3)
    before = {key: values.copy() for key, values in data.items()}
    first = _weights(name, data)
    _weights(name, _market(4))
    np.testing.assert_array_equal(_weights(name, data), first)
    for key, values in data.items():
        np.testing.assert_array_equal(values, before[key])


def _see_no_future(weights_of) -> None:
    """Fails if weights of rows up to a session depend on anything later, whatever the strategy reads."""

    def compute(data):
        with np.errstate(all="ignore"):
            return {"weights": weights_of(data)}

    assert_no_lookahead(compute, _market(5), at=SESSIONS[55], sessions=SESSIONS)


@every_strategy
@pytest.mark.parametrize("hysteresis", [0.0, 0.5])
def test_weights_do_not_know_the_future(name, hysteresis):
    _see_no_future(lambda data: _weights(name, data, hysteresis=hysteresis))


@every_strategy
def test_a_strategy_that_peeks_a_session_ahead_is_caught(name):
    def peeking(data):
        return _weights(name, {key: np.roll(values, -1, axis=0) for key, values in data.items()})

    with pytest.raises(AssertionError, match="look-ahead"):
        _see_no_future(peeking)


@every_strategy
def test_later_rows_asked_for_change_no_earlier_ones(name):
    data, rows = _market(6), np.arange(0, len(SESSIONS), 3)
    whole = _weights(name, data, rows, hysteresis=0.5)
    np.testing.assert_array_equal(_weights(name, data, rows[:15], hysteresis=0.5), whole[:15])


@every_strategy
def test_without_what_it_needs_it_is_refused_by_name(name):
    data = _market(7)
    needs = load_plugin(STRATEGIES, name).NEEDS
    config = CONFIG.backtests.model_copy(update={"strategy": name})
    full = _signals(data)
    closes = Bars(full.bars.sessions, full.bars.symbols, full.bars.close_return_TxN, {"close": data["close"]})
    for kind in needs:
        if kind == "scores":
            poorer = Signals(None, full.bars)
        elif kind == "returns":
            poorer = Signals(full.scores_TxN, None)
        elif kind == "close":
            poorer = Signals(full.scores_TxN, Bars(closes.sessions, closes.symbols, closes.close_return_TxN, {}))
        else:
            poorer = Signals(full.scores_TxN, closes)
        with pytest.raises(DataError, match=rf"strategy {name}: expected .*, was no .*{kind}.*; choose another"):
            load_strategy(config, poorer)


@every_strategy
def test_the_engine_trades_exactly_its_weights(name):
    data = _market(8, gaps=0.0)
    config = CONFIG.backtests.model_copy(update={"strategy": name, "rebalance_sessions": 4, "hysteresis": 0.5})
    free = {"commission_bps": 0.0, "half_spread_bps": 0.0, "slippage_bps": 0.0, "borrow_bps_a_year": 0.0}
    execution = CONFIG.execution.model_copy(update={**free, "fill": "close_same", "max_participation": 1.0})
    signals = _signals(data)
    result = simulate(data["scores"], data["returns"], execution=execution, config=config, bars=signals.bars)
    rows = np.arange(0, len(SESSIONS), 4)
    weights_RxN = _weights(name, data, rows, hysteresis=0.5)
    np.testing.assert_allclose(result.long_T[rows], np.maximum(weights_RxN, 0).sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(result.short_T[rows], np.maximum(-weights_RxN, 0).sum(axis=1), atol=1e-12)
    after = rows[:-1] + 1
    earned = (weights_RxN[:-1] * np.expm1(data["returns"][after])).sum(axis=1)
    np.testing.assert_allclose(result.gross_T[after], earned, atol=1e-12)
