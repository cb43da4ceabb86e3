"""Layers that networks of the zoo share: how far a symbol stands from its neighbours, and how states become a score.

Shapes are those of one session: N symbols, K neighbours at most, H channels, D directions taken off a score.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Bool, Float32, Int32, Key


def heard_neighbours(neighbours_NxK: Int32[jax.Array, "N K"], mask_N: Bool[jax.Array, " N"]) -> Int32[jax.Array, "N K"]:
    """The neighbours that are masked in: a symbol without features says nothing to others.

    Args:
        neighbours_NxK: int32, position of each neighbour; -1 where absent.
        mask_N: bool, symbols that are scored.

    Returns:
        int32 (N, K); -1 where absent or masked out.
    """
    return jnp.where(mask_N[jnp.maximum(neighbours_NxK, 0)], neighbours_NxK, -1)


def apart_from_neighbours(
    states_NxH: Float32[jax.Array, "N H"], neighbours_NxK: Int32[jax.Array, "N K"]
) -> Float32[jax.Array, "N H"]:
    """Each symbol's state less the mean of its neighbours': a high-pass filter on the graph, h - D⁻¹ A h.

    Args:
        states_NxH: float32.
        neighbours_NxK: int32, position of each neighbour; -1 where absent.

    Returns:
        float32 (N, H); 0 for a symbol without neighbours, which there is nothing to hold against.

    References:
        H. Nt, T. Maehara, Revisiting Graph Neural Networks: All We Have is Low-Pass Filters, 2019 (the contrast).
    """
    neighbours_KxN = neighbours_NxK.T
    present_KxNx1 = (neighbours_KxN >= 0)[..., None]
    near_KxNxH = jnp.where(present_KxNx1, states_NxH[jnp.maximum(neighbours_KxN, 0)], 0.0)
    count_Nx1 = present_KxNx1.sum(axis=0)
    return jnp.where(count_Nx1 > 0, states_NxH - near_KxNxH.sum(axis=0) / jnp.maximum(count_Nx1, 1), 0.0)


def project_off(scores_N: Float32[jax.Array, " N"], basis_NxD: Float32[jax.Array, "N D"]) -> Float32[jax.Array, " N"]:
    """The scores s less Q Qᵀ s: what the graph's leading directions do not hold.

    Args:
        scores_N: float32.
        basis_NxD: float32, orthonormal columns, or columns of zeros.

    Returns:
        float32 (N,).
    """
    return scores_N - basis_NxD @ (basis_NxD.T @ scores_N)


def channel_dropout(share: float) -> nnx.Dropout:
    """Drops a channel of all symbols of a session together, so that they are compared by one and the same network."""
    return nnx.Dropout(share, broadcast_dims=(0,))


class Score(nnx.Module):
    """States to scores: a linear layer, a straight line from the features beside it, and `project_off` last.

    The straight line starts at 0: it has nothing to unlearn.
    """

    def __init__(self, n_states: int, n_features: int, rngs: nnx.Rngs) -> None:
        self.states = nnx.Linear(n_states, 1, rngs=rngs)
        self.features = nnx.Linear(n_features, 1, use_bias=False, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(
        self,
        states_NxH: Float32[jax.Array, "N H"],
        features_NxF: Float32[jax.Array, "N F"],
        basis_NxD: Float32[jax.Array, "N D"],
    ) -> Float32[jax.Array, " N"]:
        """Scores, float32 (N,)."""
        return project_off((self.states(states_NxH) + self.features(features_NxF))[:, 0], basis_NxD)


def split_key(key: Key[jax.Array, ""] | None, count: int) -> list[Key[jax.Array, ""] | None]:
    """A key for each layer that drops; none of them where there is no key, as in use."""
    return [None] * count if key is None else list(jax.random.split(key, count))
