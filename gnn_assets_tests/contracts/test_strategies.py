"""What every strategy promises, whoever adds it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.backtests.engine import STRATEGIES, simulate
from gnn_assets.core.config import build_config
from gnn_assets.core.plugins import load_plugin, plugin_names

CONFIG = build_config("test")
SCORES = hnp.arrays(
    np.float32,
    st.integers(1, 30),
    elements=st.one_of(st.floats(-5, 5, width=32), st.sampled_from([np.nan, np.inf, -np.inf, 0.0])),
)
every_strategy = pytest.mark.parametrize("name", plugin_names(STRATEGIES))


def test_the_default_strategy_is_among_them():
    assert CONFIG.backtests.strategy in plugin_names(STRATEGIES)


@every_strategy
@given(scores_N=SCORES, held=st.integers(1, 40))
def test_weights_are_finite_long_and_sum_to_at_most_one(name, scores_N, held):
    weights_N = _weights(name, scores_N, held=held)
    assert weights_N.shape == scores_N.shape
    assert np.isfinite(weights_N).all()
    assert (weights_N >= 0).all()
    assert weights_N.sum() <= 1 + 1e-12


@every_strategy
@given(scores_N=SCORES, held=st.integers(1, 40))
def test_no_name_is_held_without_a_finite_score(name, scores_N, held):
    assert not _weights(name, scores_N, held=held)[~np.isfinite(scores_N)].any()


@every_strategy
@given(data=st.data(), size=st.integers(1, 30))
def test_order_of_names_does_not_matter(name, data, size):
    scores_N = np.array(data.draw(st.lists(st.floats(-5, 5), min_size=size, max_size=size, unique=True)))
    order = np.array(data.draw(st.permutations(range(size))))
    np.testing.assert_array_equal(_weights(name, scores_N[order]), _weights(name, scores_N)[order])


@every_strategy
@given(scores_N=SCORES)
def test_scores_are_not_written_to_and_the_answer_is_always_the_same(name, scores_N):
    before = scores_N.copy()
    first = _weights(name, scores_N)
    _weights(name, np.roll(scores_N, 1))
    np.testing.assert_array_equal(_weights(name, scores_N), first)
    np.testing.assert_array_equal(scores_N, before)


@every_strategy
def test_one_signals_weights_depend_on_its_scores_alone(name):
    rng = np.random.default_rng(0)
    scores_TxN, returns_TxN = rng.normal(size=(12, 6)), rng.normal(scale=0.01, size=(12, 6))
    other_TxN = scores_TxN.copy()
    other_TxN[0:5] = rng.normal(size=(5, 6))
    config = CONFIG.backtests.model_copy(update={"strategy": name, "rebalance_sessions": 1})
    gross, changed = (
        simulate(scores, returns_TxN, execution=CONFIG.execution, config=config).gross_T
        for scores in (scores_TxN, other_TxN)
    )
    np.testing.assert_allclose(gross[7:], changed[7:], rtol=1e-12)
    assert not np.allclose(gross[:7], changed[:7])


def _weights(name: str, scores_N: np.ndarray, *, held: int = 4) -> np.ndarray:
    config = CONFIG.backtests.model_copy(update={"held": held})
    return load_plugin(STRATEGIES, name).target_weights(scores_N, config=config)
