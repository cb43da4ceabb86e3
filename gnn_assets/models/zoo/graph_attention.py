"""Graph attention in high-pass form: how a symbol stands apart from those of its neighbours that matter to it.

For: markets in which some neighbours tell more than others; the high-pass network hears all of them alike.

A layer gives symbol i the state

    h_i + dropout(gelu(norm(W h_i + V h_i - sum_j alpha_ij V h_j))),
    alpha_ij = softmax_j(a . leaky_relu(U h_i + V h_j + e corr_ij))

a head at a time, over its neighbours j. A symbol without neighbours keeps W h_i alone. The last layer is the spectral
one of `models.layers.Score`.

Known at:
    Each score at its session's close: a session is scored from its own features and graph alone.

References:
    P. Velickovic et al., Graph Attention Networks, ICLR 2018.
    S. Brody, U. Alon, E. Yahav, How Attentive are Graph Attention Networks?, ICLR 2022 (GATv2: the weights above).
    D. Bo, X. Wang, C. Shi, H. Shen, Beyond Low-frequency Information in Graph Convolutional Networks, AAAI 2021.

Where it differs from them: own minus attended neighbours, where they add; at most K neighbours a node, kept in arrays of
fixed degree, so that a layer is one gather; no self-loop inside the softmax but a path of its own; the correlation
enters the weights; residual and layer norm; dropout drops a channel of all symbols of a session together, so that they
are compared by one and the same network.

Cost: N (F H + layers (3 H² + K H)) products a session; the gather of K N states and the softmax take most of the time.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float32, Int32, Key, Shaped

from gnn_assets.core.config import GraphAttentionConfig, ModelsConfig
from gnn_assets.models.checkpoint import Checkpoint
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress, Shapes
from gnn_assets.models.layers import Score, channel_dropout, heard_neighbours, split_key
from gnn_assets.models.network import Network, predict_network
from gnn_assets.models.train import fit_network

# Slope of the leaky unit below zero, as in both papers.
_SLOPE = 0.2
# Keeps the quotient defined where a symbol has no neighbour.
_EPSILON = 1e-9


class Layer(nnx.Module):
    """A symbol's own path and its distance from its attended neighbours, added to its state."""

    def __init__(self, size: GraphAttentionConfig, rngs: nnx.Rngs) -> None:
        self.heads = size.heads
        # One product for the three matrices W, U, V: small products cost more to start than to compute.
        self.project = nnx.Linear(size.hidden, 3 * size.hidden, rngs=rngs)
        self.edge = nnx.Linear(1, size.hidden, use_bias=False, rngs=rngs)
        initial = nnx.initializers.lecun_normal(in_axis=1, out_axis=0)
        self.weigh = nnx.Param(initial(rngs.params(), (size.heads, size.hidden // size.heads)))
        self.norm = nnx.LayerNorm(size.hidden, rngs=rngs)
        self.dropout = channel_dropout(size.dropout)

    def __call__(
        self,
        states_NxH: Float32[jax.Array, "N H"],
        neighbours_KxN: Int32[jax.Array, "K N"],
        corr_KxN: Float32[jax.Array, "K N"],
        key: Key[jax.Array, ""] | None,
    ) -> Float32[jax.Array, "N H"]:
        """The next states, float32 (N, H)."""
        own_NxH, receiver_NxH, sender_NxH = jnp.split(self.project(states_NxH), 3, axis=-1)
        attended_NxH = self._attend(receiver_NxH, sender_NxH, neighbours_KxN, corr_KxN)
        heard_Nx1 = (neighbours_KxN >= 0).any(axis=0)[:, None]
        moved_NxH = nnx.gelu(self.norm(own_NxH + jnp.where(heard_Nx1, sender_NxH - attended_NxH, 0.0)))
        return states_NxH + self.dropout(moved_NxH, deterministic=key is None, rngs=key)

    def _attend(
        self,
        receiver_NxH: Float32[jax.Array, "N H"],
        sender_NxH: Float32[jax.Array, "N H"],
        neighbours_KxN: Int32[jax.Array, "K N"],
        corr_KxN: Float32[jax.Array, "K N"],
    ) -> Float32[jax.Array, "N H"]:
        """Weighted means over neighbours, zero without any; neighbours lead, so that sums run over whole rows."""
        width = sender_NxH.shape[-1]
        heads_AxH = jnp.repeat(jnp.eye(self.heads, dtype=sender_NxH.dtype), width // self.heads, axis=1)
        present_KxNx1 = (neighbours_KxN >= 0)[..., None]
        sender_KxNxH = sender_NxH[jnp.maximum(neighbours_KxN, 0)]
        pair_KxNxH = nnx.leaky_relu(receiver_NxH + sender_KxNxH + self.edge(corr_KxN[..., None]), _SLOPE)
        logit_KxNxA = pair_KxNxH @ (heads_AxH * self.weigh.get_value().reshape(-1)).T
        # The largest logit is taken away for range only, so no gradient passes through it.
        largest_NxA = jax.lax.stop_gradient(jnp.where(present_KxNx1, logit_KxNxA, -jnp.inf).max(axis=0))
        raised_KxNxA = jnp.exp(jnp.where(present_KxNx1, logit_KxNxA - largest_NxA, 0.0))
        weight_KxNxA = jnp.where(present_KxNx1, raised_KxNxA, 0.0)
        share_KxNxA = weight_KxNxA / (weight_KxNxA.sum(axis=0) + _EPSILON)
        return ((share_KxNxA @ heads_AxH) * sender_KxNxH).sum(axis=0)


class GraphAttention(nnx.Module):
    """Features and neighbours of one session in, one score a symbol out."""

    def __init__(self, n_features: int, size: GraphAttentionConfig, rngs: nnx.Rngs) -> None:
        self.encoder = nnx.Linear(n_features, size.hidden, rngs=rngs)
        self.layers = nnx.List([Layer(size, rngs) for _ in range(size.layers)])
        self.score = Score(size.hidden, n_features, rngs)

    def __call__(  # noqa: PLR0917 - a session, part by part, as `models.network.Inputs` holds it
        self,
        features_NxF: Float32[jax.Array, "N F"],
        mask_N: Bool[jax.Array, " N"],
        neighbours_NxK: Int32[jax.Array, "N K"],
        corr_NxK: Float32[jax.Array, "N K"],
        basis_NxD: Float32[jax.Array, "N D"],
        key: Key[jax.Array, ""] | None,
    ) -> Float32[jax.Array, " N"]:
        """Scores, float32 (N,); with a key, channels are dropped."""
        heard_KxN = heard_neighbours(neighbours_NxK, mask_N).T
        states_NxH = self.encoder(features_NxF)
        for layer, layer_key in zip(self.layers, split_key(key, len(self.layers)), strict=True):
            states_NxH = layer(states_NxH, heard_KxN, corr_NxK.T, layer_key)
        return self.score(states_NxH, features_NxF, basis_NxD)


def fit(
    data: Dataset,
    *,
    train: range,
    validation: range | None,
    config: ModelsConfig,
    seed: int,
    epochs: int | None,
    progress: Progress,
    checkpoint: Checkpoint,
) -> Fitted:
    """Trains the network; see `models.train.fit_network`."""
    return fit_network(
        GraphAttention,
        config.graph_attention,
        data,
        train=train,
        validation=validation,
        config=config,
        seed=seed,
        epochs=epochs,
        progress=progress,
        checkpoint=checkpoint,
    )


def predict(
    arrays: Mapping[str, Shaped[np.ndarray, "..."]], data: Dataset, *, sessions: range, config: ModelsConfig
) -> Float32[np.ndarray, "S N"]:
    """Scores, float32 (S, N), NaN where masked out; see `models.network.predict_network`."""
    return predict_network(GraphAttention, config.graph_attention, arrays, data, sessions=sessions, config=config)


def expected_shapes(data: Dataset, config: ModelsConfig) -> Shapes:
    """Name → (shape, dtype) of the arrays `predict` needs."""
    return Network(GraphAttention, len(data.feature_names), config.graph_attention).shapes(config.training.ensemble)
