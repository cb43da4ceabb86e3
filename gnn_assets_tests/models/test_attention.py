"""Attention with its own backward pass, against the formula differentiated by jax, and its promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.models.attention import SLOPE, attend

HEADS, WIDTH = 2, 3


def draw(*, n_symbols, k, seed, absent=0.3):
    rng = np.random.default_rng(seed)
    neighbours_KxN = rng.integers(n_symbols, size=(k, n_symbols)).astype(np.int32)
    neighbours_KxN[rng.random(neighbours_KxN.shape) < absent] = -1
    shapes = [(n_symbols, HEADS, WIDTH), (n_symbols, HEADS), (k, n_symbols, HEADS)]
    return [jnp.asarray(rng.standard_normal(shape, dtype=np.float32)) for shape in shapes], jnp.asarray(neighbours_KxN)


def plain(values_NxAxD, sender_NxA, bias_KxNxA, neighbours_KxN):
    """The same by the formula, one dense matrix of weights a place in the list of neighbours."""
    n_symbols = len(values_NxAxD)
    there_KxNx1 = (neighbours_KxN >= 0)[..., None]
    pick_KxNxM = jax.nn.one_hot(neighbours_KxN, n_symbols)  # a row of zeros for -1
    logit_KxNxA = jax.nn.leaky_relu(jnp.einsum("knm,ma->kna", pick_KxNxM, sender_NxA) + bias_KxNxA, SLOPE)
    share_KxNxA = jax.nn.softmax(jnp.where(there_KxNx1, logit_KxNxA, -1e9), axis=0) * there_KxNx1
    return jnp.einsum("kna,knm,mad->nad", share_KxNxA, pick_KxNxM, values_NxAxD)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**16), k=st.sampled_from([1, 4]), absent=st.sampled_from([0.0, 0.3]))
def test_messages_and_gradients_are_those_of_the_formula(seed, k, absent):
    arrays, neighbours_KxN = draw(n_symbols=7, k=k, seed=seed, absent=absent)
    weigh = jnp.asarray(np.random.default_rng(seed).standard_normal((7, HEADS, WIDTH), dtype=np.float32))
    found, back = jax.vjp(lambda *each: attend(*each, neighbours_KxN), *arrays)
    expected, expected_back = jax.vjp(lambda *each: plain(*each, neighbours_KxN), *arrays)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for one, other in zip(back(weigh), expected_back(weigh), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_without_neighbours_there_is_no_message_and_the_gradient_is_finite():
    arrays, _ = draw(n_symbols=5, k=3, seed=1)
    alone = jnp.full((3, 5), -1, dtype=jnp.int32)
    found, back = jax.vjp(lambda *each: attend(*each, alone), *arrays)
    assert not found.any()
    assert all(not gradient.any() for gradient in back(jnp.ones_like(found)))


def test_large_logits_neither_overflow_nor_lose_the_gradient():
    (values, sender, bias), neighbours_KxN = draw(n_symbols=5, k=3, seed=2)
    found, back = jax.vjp(lambda *each: attend(*each, neighbours_KxN), values, sender + 1e4, bias * 1e4)
    assert jnp.isfinite(found).all()
    assert all(jnp.isfinite(gradient).all() for gradient in back(jnp.ones_like(found)))


@pytest.mark.parametrize("transform", [jax.vmap, lambda f: lambda *each: jax.lax.map(lambda one: f(*one), each)])
def test_many_sessions_at_once_give_what_each_gives_alone(transform):
    drawn = [draw(n_symbols=6, k=3, seed=seed) for seed in range(3)]
    stacked = [jnp.stack(parts) for parts in zip(*([*arrays, near] for arrays, near in drawn), strict=True)]
    together = transform(attend)(*stacked)
    for found, (arrays, near) in zip(together, drawn, strict=True):
        np.testing.assert_allclose(found, attend(*arrays, near), atol=1e-6)
