"""High-pass graph network: what a symbol knows, and how it differs from its neighbours, to a score without the common part.

For: the graph's worth where correlated symbols move together and the part that comes back is the one they do not share.

    h_i = gelu(W dropout(x_i))
    n_i = gelu(U h_i + V (h_i - mean_j h_j))
    s   = w . dropout(n) + v . x,    score = s - Q Qᵀ s

with j over the neighbours of i, and Q the graph's leading directions, a constant and beta over the symbols of the
session. The second term is 0 for a symbol without neighbours.

Known at:
    Each score at its session's close: a session is scored from its own features and graph alone.

References:
    H. Nt, T. Maehara, Revisiting Graph Neural Networks: All We Have is Low-Pass Filters, 2019: what it is not.
    D. Bo, X. Wang, C. Shi, H. Shen, Beyond Low-frequency Information in Graph Convolutional Networks, AAAI 2021.
    E. Chien, J. Peng, P. Li, O. Milenkovic, Adaptive Universal Generalized PageRank Graph Neural Network, ICLR 2021.

Where it differs from them: they learn how much of each frequency to keep, a weight an edge or a power of the graph; here
both parts go on side by side, with weights of their own. One hop, no self-loop, neighbours of fixed degree. The
projection is ours: training sees only what the last layer leaves, so no capacity goes into what is common.

Cost: N (F H + H M + K M) products a session, with M = `narrow`; linear in symbols and neighbours, no attention weights.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float32, Int32, Key, Shaped

from gnn_assets.core.config import HighPassConfig, ModelsConfig
from gnn_assets.models.checkpoint import Checkpoint
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress, Shapes
from gnn_assets.models.layers import Score, apart_from_neighbours, channel_dropout, heard_neighbours, split_key
from gnn_assets.models.network import Network, predict_network
from gnn_assets.models.train import fit_network


class HighPass(nnx.Module):
    """Features and neighbours of one session in, one score a symbol out."""

    def __init__(self, n_features: int, size: HighPassConfig, rngs: nnx.Rngs) -> None:
        self.encoder = nnx.Linear(n_features, size.hidden, rngs=rngs)
        self.narrow = nnx.Linear(size.hidden, 2 * size.narrow, rngs=rngs)
        self.score = Score(size.narrow, n_features, rngs)
        self.feature_dropout = channel_dropout(size.feature_dropout)
        self.dropout = nnx.Dropout(size.dropout)

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
        del corr_NxK
        keys = split_key(key, 2)
        seen_NxF = self.feature_dropout(features_NxF, deterministic=key is None, rngs=keys[0])
        states_NxH = nnx.gelu(self.encoder(seen_NxF))
        # V (h - mean h) = V h - mean V h: neighbours are gathered after they were narrowed, which costs less.
        own_NxM, sent_NxM = jnp.split(self.narrow(states_NxH), 2, axis=-1)
        apart_NxM = apart_from_neighbours(sent_NxM, heard_neighbours(neighbours_NxK, mask_N))
        narrow_NxM = self.dropout(nnx.gelu(own_NxM + apart_NxM), deterministic=key is None, rngs=keys[1])
        return self.score(narrow_NxM, seen_NxF, basis_NxD)


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
        HighPass,
        config.high_pass,
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
    return predict_network(HighPass, config.high_pass, arrays, data, sessions=sessions, config=config)


def expected_shapes(data: Dataset, config: ModelsConfig) -> Shapes:
    """Name → (shape, dtype) of the arrays `predict` needs."""
    return Network(HighPass, len(data.feature_names), config.high_pass).shapes(config.training.ensemble)
