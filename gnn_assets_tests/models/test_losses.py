import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnn_assets.models.losses import ic_loss, session_ic

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(5, 8)).astype(np.float32)
TARGETS = RNG.normal(size=(5, 8)).astype(np.float32)
KNOWN = RNG.random((5, 8)) < 0.8


def _loss(scores, targets, known):
    return ic_loss(jnp.asarray(scores, jnp.float32), jnp.asarray(targets, jnp.float32), jnp.asarray(known))


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


def test_unknown_symbols_get_no_gradient():
    gradient = jax.grad(_loss)(jnp.asarray(SCORES), TARGETS, KNOWN)
    assert not np.asarray(gradient)[~KNOWN].any()
    assert np.asarray(gradient)[KNOWN].any()
