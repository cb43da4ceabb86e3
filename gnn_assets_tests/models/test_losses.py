from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from gnn_assets.models.losses import LOSSES, huber_loss, ic_loss, pairwise_loss, rank_loss, session_ic

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(5, 8)).astype(np.float32)
TARGETS = RNG.normal(size=(5, 8)).astype(np.float32)
KNOWN = RNG.random((5, 8)) < 0.8


def _loss(scores, targets, known):
    return _of(ic_loss, scores, targets, known)


def _of(loss, scores, targets, known, seed=0):
    scores, targets = (jnp.asarray(values, jnp.float32) for values in (scores, targets))
    return jax.jit(loss)(scores, targets, jnp.asarray(known), jax.random.key(seed))


def test_ic_is_pearson_over_the_known_symbols():
    ic, defined = session_ic(jnp.asarray(SCORES), jnp.asarray(TARGETS), jnp.asarray(KNOWN))
    expected = [np.corrcoef(s[k], t[k])[0, 1] for s, t, k in zip(SCORES, TARGETS, KNOWN, strict=True)]
    assert defined.all()
    np.testing.assert_allclose(ic, expected, atol=1e-5)
    assert float(_loss(SCORES, TARGETS, KNOWN)) == pytest.approx(-np.mean(expected), abs=1e-5)


def test_level_and_scale_of_a_session_do_not_matter():
    moved = SCORES * 3 + np.arange(5, dtype=np.float32)[:, None]
    assert float(_loss(moved, TARGETS, KNOWN)) == pytest.approx(float(_loss(SCORES, TARGETS, KNOWN)), abs=1e-5)


@pytest.mark.parametrize(
    ("scores", "targets", "known"),
    [
        pytest.param(np.zeros((2, 4)), TARGETS[:2, :4], np.ones((2, 4), bool), id="equal scores"),
        pytest.param(SCORES[:2, :4], np.ones((2, 4)), np.ones((2, 4), bool), id="equal targets"),
        pytest.param(SCORES[:2, :4], TARGETS[:2, :4], np.zeros((2, 4), bool), id="nothing known"),
        pytest.param(SCORES[:2, :4], TARGETS[:2, :4], np.eye(2, 4, dtype=bool), id="one symbol known"),
    ],
)
def test_loss_and_gradient_are_finite_where_no_correlation_exists(scores, targets, known):
    loss, gradient = jax.value_and_grad(_loss)(jnp.asarray(scores, jnp.float32), targets, known)
    assert float(loss) == pytest.approx(0.0, abs=1e-6)
    assert np.isfinite(gradient).all()


def test_an_undefined_session_is_left_out_of_the_mean():
    known = np.ones((2, 8), bool)
    known[1, 1:] = False
    assert float(_loss(SCORES[:2], TARGETS[:2], known)) == pytest.approx(
        float(_loss(SCORES[:1], TARGETS[:1], known[:1])), abs=1e-6
    )


every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@every_loss
def test_unknown_symbols_get_no_gradient_and_their_target_does_not_matter(loss):
    gradient = jax.grad(partial(_of, loss))(jnp.asarray(SCORES), TARGETS, KNOWN)
    assert _of(loss, SCORES, TARGETS, KNOWN) == _of(loss, SCORES, np.where(KNOWN, TARGETS, 99), KNOWN)
    assert not np.asarray(gradient)[~KNOWN].any()
    assert np.asarray(gradient)[KNOWN].any()


@every_loss
def test_a_step_down_the_gradient_lowers_the_loss(loss):
    value, gradient = jax.value_and_grad(partial(_of, loss))(jnp.asarray(SCORES), TARGETS, KNOWN)
    assert _of(loss, SCORES - 0.05 * gradient, TARGETS, KNOWN) < value


@every_loss
def test_nothing_known_is_no_loss_and_no_gradient(loss):
    value, gradient = jax.value_and_grad(partial(_of, loss))(jnp.asarray(SCORES), TARGETS, np.zeros_like(KNOWN))
    assert value == 0
    assert not np.asarray(gradient).any()


def test_huber_is_the_mean_over_known_symbols_then_over_sessions():
    expected = [scipy.special.huber(1.0, (s - t)[k]).mean() for s, t, k in zip(SCORES, TARGETS, KNOWN, strict=True)]
    assert float(_of(huber_loss, SCORES, TARGETS, KNOWN)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_rank_loss_is_the_rank_ic_where_scores_lie_apart():
    scores = np.stack([RNG.permutation(12) for _ in range(4)]).astype(np.float32)
    targets = RNG.integers(0, 6, size=(4, 12)).astype(np.float32)
    known = RNG.random((4, 12)) < 0.7
    expected = [scipy.stats.spearmanr(s[k], t[k]).statistic for s, t, k in zip(scores, targets, known, strict=True)]
    assert float(_of(rank_loss, scores, targets, known)) == pytest.approx(-np.mean(expected), abs=0.02)


def test_the_rank_loss_of_many_symbols_is_near_the_rank_ic_whichever_are_drawn():
    scores, targets = RNG.normal(size=(2, 6, 500)).astype(np.float32)
    targets += scores
    expected = np.mean([scipy.stats.spearmanr(s, t).statistic for s, t in zip(scores, targets, strict=True)])
    for seed in range(3):
        assert float(_of(rank_loss, scores, targets, np.ones((6, 500), bool), seed)) == pytest.approx(
            -expected, abs=0.02
        )


def test_the_pairwise_loss_of_all_pairs_is_the_mean_logistic_loss():
    # Nine symbols and eight partners: every ordered pair is drawn.
    scores, targets = RNG.normal(size=(2, 3, 9)).astype(np.float32)
    margin = (scores[:, :, None] - scores[:, None, :]) * np.sign(targets[:, :, None] - targets[:, None, :])
    off = ~np.eye(9, dtype=bool)
    expected = np.mean([np.log1p(np.exp(-each[off])).mean() for each in margin])
    assert float(_of(pairwise_loss, scores, targets, np.ones((3, 9), bool))) == pytest.approx(expected, rel=1e-5)


def test_equal_targets_are_no_pair():
    value = _of(pairwise_loss, SCORES[:1], np.ones((1, 8)), np.ones((1, 8), bool))
    assert float(value) == 0
