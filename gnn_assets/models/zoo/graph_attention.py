"""Graph attention over each symbol's nearest neighbours, beside a path of its own.

A layer gives symbol i the state

    h_i + dropout(gelu(norm(W h_i + sum_j alpha_ij V h_j))),
    alpha_ij = softmax_j(a . leaky_relu(U h_i + V h_j + e corr_ij))

a head at a time. The two matrices W and V let a layer take the difference between a symbol and its neighbours, the
part of a return that a correlation graph can explain. A symbol without neighbours keeps its own path.

Known at:
    Each score at its session's close: a session is scored from its own features and graph alone.

References:
    P. Velickovic et al., Graph Attention Networks, ICLR 2018.
    S. Brody, U. Alon, E. Yahav, How Attentive are Graph Attention Networks?, ICLR 2022 (GATv2: the weights above).

Where it differs from them: at most K neighbours a node, kept in arrays of fixed degree, so that a layer is one gather;
no self-loop inside the softmax but a path of its own; the correlation enters the weights; residual and layer norm;
dropout drops a channel of all symbols of a session together, so that they are compared by one and the same network.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gnn_assets.core.config import ModelsConfig, NetworkConfig
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress, Shapes
from gnn_assets.models.network import Network, predict_network
from gnn_assets.models.train import fit_network

# Slope of the leaky unit below zero, as in both papers.
_SLOPE = 0.2
# Keeps the quotient defined where a symbol has no neighbour.
_EPSILON = 1e-9


class Attention(nnx.Module):
    """Multi-head attention from each symbol to its neighbours."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs) -> None:
        self.heads = heads
        self.receiver = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.sender = nnx.Linear(width, width, rngs=rngs)
        self.edge = nnx.Linear(1, width, use_bias=False, rngs=rngs)
        initial = nnx.initializers.lecun_normal(in_axis=1, out_axis=0)
        self.weigh = nnx.Param(initial(rngs.params(), (heads, width // heads)))

    def __call__(self, states_NxH: jax.Array, neighbours_NxK: jax.Array, corr_NxK: jax.Array) -> jax.Array:
        """Messages to each symbol, float32 (N, H); zero without neighbours."""
        present_NxK = neighbours_NxK >= 0
        senders_NxKxH = self.sender(states_NxH)[jnp.where(present_NxK, neighbours_NxK, 0)]
        pairs_NxKxH = self.receiver(states_NxH)[:, None] + senders_NxKxH + self.edge(corr_NxK[..., None])
        logits_NxKxA = jnp.einsum(
            "nkad,ad->nka", self._by_head(nnx.leaky_relu(pairs_NxKxH, _SLOPE)), self.weigh.get_value()
        )
        present = present_NxK[..., None]
        # The largest logit is taken away for range only, so no gradient passes through it.
        largest = jax.lax.stop_gradient(jnp.where(present, logits_NxKxA, -jnp.inf).max(axis=1, keepdims=True))
        weights = jnp.where(present, jnp.exp(jnp.where(present, logits_NxKxA - largest, 0.0)), 0.0)
        shares_NxKxA = weights / (weights.sum(axis=1, keepdims=True) + _EPSILON)
        return jnp.einsum("nka,nkad->nad", shares_NxKxA, self._by_head(senders_NxKxH)).reshape(states_NxH.shape)

    def _by_head(self, values_NxKxH: jax.Array) -> jax.Array:
        return values_NxKxH.reshape(*values_NxKxH.shape[:-1], self.heads, -1)


class Layer(nnx.Module):
    """A symbol's own path and its neighbours' messages, added to its state."""

    def __init__(self, size: NetworkConfig, rngs: nnx.Rngs) -> None:
        self.own = nnx.Linear(size.hidden, size.hidden, use_bias=False, rngs=rngs)
        self.attention = Attention(size.hidden, size.heads, rngs)
        self.norm = nnx.LayerNorm(size.hidden, rngs=rngs)
        self.dropout = nnx.Dropout(size.dropout, broadcast_dims=(0,))

    def __call__(
        self, states_NxH: jax.Array, neighbours_NxK: jax.Array, corr_NxK: jax.Array, key: jax.Array | None
    ) -> jax.Array:
        """The next states, float32 (N, H)."""
        mixed = self.own(states_NxH) + self.attention(states_NxH, neighbours_NxK, corr_NxK)
        return states_NxH + self.dropout(nnx.gelu(self.norm(mixed)), deterministic=key is None, rngs=key)


class GraphAttention(nnx.Module):
    """Features and neighbours of one session in, one score a symbol out."""

    def __init__(self, n_features: int, size: NetworkConfig, rngs: nnx.Rngs) -> None:
        self.encoder = nnx.Linear(n_features, size.hidden, rngs=rngs)
        self.layers = nnx.List([Layer(size, rngs) for _ in range(size.layers)])
        self.head = nnx.Linear(size.hidden, 1, rngs=rngs)

    def __call__(
        self,
        features_NxF: jax.Array,
        mask_N: jax.Array,
        neighbours_NxK: jax.Array,
        corr_NxK: jax.Array,
        key: jax.Array | None,
    ) -> jax.Array:
        """Scores, float32 (N,); with a key, channels are dropped."""
        # A symbol without features says nothing to others.
        heard_NxK = jnp.where(mask_N[neighbours_NxK], neighbours_NxK, -1)
        keys = [None] * len(self.layers) if key is None else jax.random.split(key, len(self.layers))
        states_NxH = self.encoder(features_NxF)
        for layer, layer_key in zip(self.layers, keys, strict=True):
            states_NxH = layer(states_NxH, heard_NxK, corr_NxK, layer_key)
        return self.head(states_NxH)[:, 0]


def fit(
    data: Dataset,
    *,
    train: range,
    validation: range | None,
    config: ModelsConfig,
    seed: int,
    epochs: int | None,
    progress: Progress,
) -> Fitted:
    """Trains the network; see `models.train.fit_network`."""
    return fit_network(
        GraphAttention,
        data,
        train=train,
        validation=validation,
        config=config,
        seed=seed,
        epochs=epochs,
        progress=progress,
    )


def predict(arrays: Mapping[str, np.ndarray], data: Dataset, *, sessions: range, config: ModelsConfig) -> np.ndarray:
    """Scores, float32 (S, N), NaN where masked out; see `models.network.predict_network`."""
    return predict_network(GraphAttention, arrays, data, sessions=sessions, config=config)


def expected_shapes(data: Dataset, config: ModelsConfig) -> Shapes:
    """Name → (shape, dtype) of the arrays `predict` needs."""
    return Network(GraphAttention, len(data.feature_names), config.network).shapes(config.training.ensemble)
