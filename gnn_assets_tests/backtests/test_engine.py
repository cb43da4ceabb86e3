from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.backtests.engine import simulate
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig, build_config
from gnn_assets_tests.lookahead import assert_no_lookahead

CONFIG = build_config("test")
FREE = {"commission_bps": 0.0, "half_spread_bps": 0.0, "slippage_bps": 0.0}
RETURNS = st.one_of(st.floats(-0.3, 0.3), st.just(np.nan))
SCORES = st.one_of(st.floats(-3, 3), st.just(np.nan))
EXECUTIONS = st.builds(
    lambda fill, bps: CONFIG.execution.model_copy(update={"fill": fill, **FREE, "commission_bps": bps}),
    st.sampled_from(["close_same", "close_next"]),
    st.floats(0, 100),
)
SETTINGS = st.builds(
    lambda held, every: CONFIG.backtests.model_copy(update={"held": held, "rebalance_sessions": every}),
    st.integers(1, 4),
    st.integers(1, 4),
)


@st.composite
def markets(draw):
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 5)))
    return draw(hnp.arrays(np.float64, shape, elements=SCORES)), draw(hnp.arrays(np.float64, shape, elements=RETURNS))


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


@given(market=markets(), execution=EXECUTIONS, config=SETTINGS)
@settings(max_examples=150)
def test_a_ledger_of_shares_and_cash_agrees(market, execution, config):
    scores_TxN, returns_TxN = market
    result = simulate(scores_TxN, returns_TxN, execution=execution, config=config)
    gross_T, net_T, turnover_T = _ledger(scores_TxN, returns_TxN, execution=execution, config=config)
    np.testing.assert_allclose(result.gross_T, gross_T, atol=1e-9)
    np.testing.assert_allclose(result.turnover_T, turnover_T, atol=1e-9)
    np.testing.assert_allclose(result.net_T, net_T, atol=1e-9)


@given(market=markets(), config=SETTINGS)
def test_without_costs_net_is_gross(market, config):
    result = simulate(*market, execution=_execution(cost_bps=0), config=config)
    np.testing.assert_array_equal(result.net_T, result.gross_T)


@given(market=markets(), config=SETTINGS, bps=st.floats(0, 50), more=st.floats(0, 50))
def test_more_cost_never_helps(market, config, bps, more):
    cheap = simulate(*market, execution=_execution(cost_bps=bps), config=config)
    dear = simulate(*market, execution=_execution(cost_bps=bps + more), config=config)
    np.testing.assert_array_equal(cheap.gross_T, dear.gross_T)
    assert (dear.net_T <= cheap.net_T).all()
    assert (cheap.net_T <= cheap.gross_T).all()


@given(seed=st.integers(0, 1000), config=SETTINGS, execution=EXECUTIONS)
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


def _execution(*, fill: str = "close_next", cost_bps: float = 0.0) -> ExecutionConfig:
    return CONFIG.execution.model_copy(update={**FREE, "fill": fill, "commission_bps": cost_bps})


def _config(*, held: int, every: int) -> BacktestsConfig:
    return CONFIG.backtests.model_copy(update={"held": held, "rebalance_sessions": every})


@dataclass
class _Book:
    """Cash and shares, and what the next trade costs."""

    rate: float
    shares: list[float]
    cash: float = 1.0

    def worth(self, prices: list[float]) -> float:
        return self.cash + sum(shares * price for shares, price in zip(self.shares, prices, strict=True))

    def trade(self, chosen: list[int], prices: list[float]) -> float:
        worth = self.worth(prices)
        targets = [worth / len(chosen) if name in chosen else 0.0 for name in range(len(prices))]
        traded = sum(abs(targets[name] - self.shares[name] * prices[name]) for name in range(len(prices)))
        left = 1 - self.rate * traded / worth
        self.shares = [left * target / price for target, price in zip(targets, prices, strict=True)]
        self.cash = 0.0
        return traded / worth


def _ledger(scores_TxN, returns_TxN, *, execution, config):
    """The same rules as a bookkeeper would follow them: prices, shares and cash, once without and once with costs."""
    sessions, names = scores_TxN.shape
    gross_T, net_T, turnover_T = [], [], []
    prices = [100.0] * names
    free, paying = (_Book(rate=rate, shares=[0.0] * names) for rate in (0.0, execution.cost_per_side))
    for t in range(sessions):
        free_before, paying_before = free.worth(prices), paying.worth(prices)
        for name in range(names):
            if not np.isnan(returns_TxN[t, name]):
                prices[name] *= float(np.exp(returns_TxN[t, name]))
        gross_T.append(free.worth(prices) / free_before - 1)
        signal, traded = t - execution.fill_lag, 0.0
        if signal >= 0 and signal % config.rebalance_sessions == 0:
            row = [float(score) for score in scores_TxN[signal]]
            scored = [name for name in range(names) if np.isfinite(row[name])]
            best = sorted(scored, key=lambda name, row=row: (-row[name], name))
            chosen = best if len({row[name] for name in scored}) == 1 else best[: config.held]
            if chosen:
                traded = free.trade(chosen, prices)
                paying.trade(chosen, prices)
        turnover_T.append(traded)
        net_T.append(paying.worth(prices) / paying_before - 1)
    return gross_T, net_T, turnover_T
