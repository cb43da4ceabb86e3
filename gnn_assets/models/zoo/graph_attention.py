"""Graph attention in high-pass form: how a symbol stands apart from those of its neighbours that matter to it.

For: markets in which some neighbours tell more than others; the high-pass network hears all of them alike.

A layer gives symbol i the state

    h_i + dropout(gelu(norm(W h_i + V h_i - sum_j alpha_ij V h_j))),
    alpha_ij = softmax_j(leaky_relu(a . V h_j + b . V h_i + e corr_ij))

a head at a time, over its neighbours j. A symbol without neighbours keeps W h_i alone. The last layer is the spectral
one of `models.layers.Score`.

Known at:
    Each score at its session's close: a session is scored from its own features and graph alone.

References:
    P. Velickovic et al., Graph Attention Networks, ICLR 2018 (the weights, but for the correlation).
    S. Brody, U. Alon, E. Yahav, How Attentive are Graph Attention Networks?, ICLR 2022 (the contrast: here all symbols
    rank the same neighbours alike, but for the correlation; their GATv2 mends that and gathers rows for the weights).
    D. Bo, X. Wang, C. Shi, H. Shen, Beyond Low-frequency Information in Graph Convolutional Networks, AAAI 2021.

Where it differs from them: own minus attended neighbours, where they add; at most K neighbours a node, kept in arrays of
fixed degree, so that a layer is one gather; no self-loop inside the softmax but a path of its own; the correlation
enters the weights; residual and layer norm; dropout drops a channel of all symbols of a session together, so that they
are compared by one and the same network.

Cost: N (F H + layers (2 H² + K H)) products a session; see `models.attention`, which takes most of the time.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float32, Int32, Key, Shaped

from gnn_assets.core.config import GraphAttentionConfig, ModelsConfig
from gnn_assets.models.attention import attend
from gnn_assets.models.checkpoint import Checkpoint
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress, Shapes
from gnn_assets.models.layers import Score, channel_dropout, heard_neighbours, split_key
from gnn_assets.models.network import Network, predict_network
from gnn_assets.models.train import fit_network


class Layer(nnx.Module):
    """A symbol's own path and its distance from its attended neighbours, added to its state."""

    def __init__(self, size: GraphAttentionConfig, rngs: nnx.Rngs) -> None:
        self.heads = size.heads
        # One product for the two matrices W, V: small products cost more to start than to compute.
        self.project = nnx.Linear(size.hidden, 2 * size.hidden, rngs=rngs)
        self.edge = nnx.Linear(1, size.heads, use_bias=False, rngs=rngs)
        initial = nnx.initializers.lecun_normal(in_axis=2, out_axis=1, batch_axis=0)
        # A head's a, then its b.
        self.weigh = nnx.Param(initial(rngs.params(), (2, size.heads, size.hidden // size.heads)))
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
        own_NxH, sent_NxH = jnp.split(self.project(states_NxH), 2, axis=-1)
        values_NxAxD = sent_NxH.reshape(len(sent_NxH), self.heads, -1)
        sender_NxA, receiver_NxA = jnp.einsum("nad,cad->cna", values_NxAxD, self.weigh.get_value())
        bias_KxNxA = receiver_NxA + self.edge(corr_KxN[..., None])
        attended_NxH = attend(values_NxAxD, sender_NxA, bias_KxNxA, neighbours_KxN).reshape(sent_NxH.shape)
        heard_Nx1 = (neighbours_KxN >= 0).any(axis=0)[:, None]
        moved_NxH = nnx.gelu(self.norm(own_NxH + jnp.where(heard_Nx1, sent_NxH - attended_NxH, 0.0)))
        return states_NxH + self.dropout(moved_NxH, deterministic=key is None, rngs=key)


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
