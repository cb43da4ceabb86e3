import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.backtests.overfitting import overfitting
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DataError

BLOCKS = build_config("test").backtests.overfitting_blocks


@given(st.integers(2, 7), st.integers(6, 60), st.sampled_from([2, 4, 6]), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40)
def test_every_split_is_the_librarys(trials, sessions, blocks, seed, coarse):
    from purgedcv import probability_of_backtest_overfitting

    rng = np.random.default_rng(seed)
    # Coarse returns make equal trials and halves that stand still.
    returns_TxM = (
        rng.integers(0, 2, size=(sessions, trials)) / 100 if coarse else rng.normal(0.001, 0.01, (sessions, trials))
    )
    found = overfitting(returns_TxM, blocks=blocks)
    slow = probability_of_backtest_overfitting(returns_TxM.T, blocks)
    if not coarse:
        # It lists the halves that are out of sample, which is the same list from its end.
        np.testing.assert_allclose(found.logits_C[::-1], slow.logits, atol=1e-9)
        # It counts a rank that is the median as held; here half of it is.
        assert found.probability - slow.pbo == pytest.approx((np.abs(slow.logits) < 1e-12).mean() / 2)
        assert found.loss == (slow.is_oos_performance[:, 1] < 0).mean()
    # Equal trials may be told apart by the last bit there, so of coarse returns only the size is compared.
    assert len(found.logits_C) == slow.n_combos


@pytest.mark.parametrize("trials", [2, 3, 5, 20])
def test_choosing_among_noise_is_worth_nothing(trials):
    rng = np.random.default_rng(0)
    found = [overfitting(rng.normal(size=(504, trials)), blocks=8).probability for _ in range(150)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_one_trial_that_dominates_is_found_in_every_half():
    rng = np.random.default_rng(1)
    returns_TxM = rng.normal(scale=0.01, size=(1008, 20))
    returns_TxM[:, 7] += 0.004
    found = overfitting(returns_TxM, blocks=BLOCKS)
    assert found.probability == 0
    assert found.loss == 0


def test_skill_that_turns_into_its_opposite_is_always_overfit():
    # Whoever won one half of a fixed sum has lost the other.
    half_TxM = np.random.default_rng(2).normal(scale=0.01, size=(250, 10)) + np.linspace(-0.01, 0.01, 10)
    found = overfitting(np.concatenate([half_TxM, -half_TxM]), blocks=2)
    assert found.probability == 1
    assert found.loss == 1


def test_a_trial_that_stands_still_is_never_the_best_and_equals_share_their_rank():
    returns_TxM = np.zeros((8, 3))
    returns_TxM[:, 1:] = np.array([0.1, -0.1] * 4)[:, None] + 0.02
    found = overfitting(returns_TxM, blocks=2)
    # The two that move rank 2.5 of 3 together.
    np.testing.assert_allclose(found.logits_C, math.log(2.5 / 1.5))


def test_a_constant_trial_is_no_miracle_of_rounding():
    rng = np.random.default_rng(3)
    returns_TxM = np.c_[np.full(96, 0.0003), rng.normal(0.002, 0.01, size=(96, 4))]
    found = overfitting(returns_TxM, blocks=4)
    assert np.isfinite(found.logits_C).all()
    # Its ratio counts as 0, and so it is never the best where another one is above.
    np.testing.assert_array_equal(
        found.logits_C, overfitting(np.c_[np.zeros(96), returns_TxM[:, 1:]], blocks=4).logits_C
    )


def test_all_12870_splits_of_a_hundred_trials_take_no_time():
    returns_TxM = np.random.default_rng(4).normal(size=(1260, 100))
    began = time.process_time()
    found = overfitting(returns_TxM, blocks=16)
    assert len(found.logits_C) == 12870
    assert time.process_time() - began < 2


@pytest.mark.parametrize(("shape", "was"), [((100, 1), "1 of 100 sessions"), ((7, 5), "5 of 7 sessions")])
def test_too_little_to_choose_from_is_refused_with_the_remedy(shape, was):
    with pytest.raises(DataError, match=f"at least 2 of at least 16 sessions, was {was}; .*overfitting_blocks"):
        overfitting(np.zeros(shape), blocks=16)
