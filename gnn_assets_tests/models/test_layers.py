import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.graphs.factors import orthonormal_basis
from gnn_assets.graphs.features import own_minus_neighbours
from gnn_assets.models.layers import apart_from_neighbours, heard_neighbours, project_off

seeds = st.integers(0, 2**32 - 1)


@jax.jit
def _apart(states_NxH, neighbours_NxK, mask_N):
    return apart_from_neighbours(states_NxH, heard_neighbours(neighbours_NxK, mask_N))


def _session(seed, *, n_symbols=7, k=3):
    rng = np.random.default_rng(seed)
    others = np.stack([rng.permutation(np.delete(np.arange(n_symbols), i))[:k] for i in range(n_symbols)])
    neighbours_NxK = np.where(rng.random(others.shape) < 0.6, others, -1).astype(np.int32)
    return rng.standard_normal((n_symbols, 4)).astype(np.float32), neighbours_NxK, rng.random(n_symbols) < 0.7


@settings(max_examples=25)
@given(seeds)
def test_apart_from_heard_neighbours_is_what_the_graph_stage_computes(seed):
    states_NxH, neighbours_NxK, mask_N = _session(seed)
    apart = np.asarray(_apart(states_NxH, neighbours_NxK, mask_N))
    oracle = own_minus_neighbours(states_NxH, neighbours_NxK, mask_TxN=mask_N)
    np.testing.assert_allclose(apart[mask_N], np.nan_to_num(oracle)[mask_N], atol=1e-6)


def test_a_symbol_without_neighbours_stands_apart_from_nobody():
    states_NxH = jnp.ones((3, 2))
    assert not apart_from_neighbours(states_NxH, jnp.full((3, 2), -1, dtype=jnp.int32)).any()


@settings(max_examples=25)
@given(seeds, st.integers(0, 3))
def test_what_lies_along_the_basis_is_taken_off_and_nothing_else(seed, empty):
    rng = np.random.default_rng(seed)
    basis_NxD = orthonormal_basis(rng.standard_normal((9, 3))).astype(np.float32)
    padded_NxD = jnp.asarray(np.pad(basis_NxD, [(0, 0), (0, empty)]))
    scores_N = rng.standard_normal(9).astype(np.float32)
    left_N = np.asarray(project_off(jnp.asarray(scores_N), padded_NxD))
    np.testing.assert_allclose(basis_NxD.T @ left_N, 0.0, atol=1e-5)
    np.testing.assert_allclose(left_N + basis_NxD @ (basis_NxD.T @ scores_N), scores_N, atol=1e-5)


@pytest.mark.parametrize("count", [1, 5])
def test_what_has_nothing_else_leaves_nothing(count):
    basis_NxD = orthonormal_basis(np.random.default_rng(0).standard_normal((8, count))).astype(np.float32)
    along_N = basis_NxD @ np.ones(count, dtype=np.float32)
    np.testing.assert_allclose(project_off(jnp.asarray(along_N), jnp.asarray(basis_NxD)), 0.0, atol=1e-6)
