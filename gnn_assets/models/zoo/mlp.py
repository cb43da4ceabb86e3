"""Multilayer perceptron: what each symbol's own features tell, through the same head as the networks with a graph.

For: the honest opponent of a graph network. It is trained, stopped and averaged as they are, on the same sessions, and
sees nothing of the graph: no feature made of it, no neighbour, no residual of its directions, and of the directions
taken off a score the constant alone.

Known at:
    Each score at its session's close: a session is scored from its own features alone.

References:
    S. Gu, B. Kelly, D. Xiu, Empirical Asset Pricing via Machine Learning, Review of Financial Studies 33 (2020).

Where it differs from them: trained to order the symbols of a session, not to foretell a return; no batch norm; a
straight line from the features beside the layers.

Cost: N (F H + (layers - 1) H²) products a session.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float32, Int32, Key, Shaped

from gnn_assets.core.config import MlpConfig, ModelsConfig
from gnn_assets.models.checkpoint import Checkpoint
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress, Shapes
from gnn_assets.models.layers import Score, channel_dropout, split_key
from gnn_assets.models.network import Network, predict_network
from gnn_assets.models.train import fit_network


class Mlp(nnx.Module):
    """Features of one session in, one score a symbol out."""

    def __init__(self, n_features: int, size: MlpConfig, rngs: nnx.Rngs) -> None:
        widths = [n_features, *[size.hidden] * size.layers]
        self.layers = nnx.List([nnx.Linear(*pair, rngs=rngs) for pair in pairwise(widths)])
        self.score = Score(size.hidden, n_features, rngs)
        self.dropout = channel_dropout(size.dropout)

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
        del mask_N, neighbours_NxK, corr_NxK
        keys = split_key(key, len(self.layers) + 1)
        states_NxH = self.dropout(features_NxF, deterministic=key is None, rngs=keys[0])
        for layer, layer_key in zip(self.layers, keys[1:], strict=True):
            states_NxH = self.dropout(nnx.gelu(layer(states_NxH)), deterministic=key is None, rngs=layer_key)
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
        Mlp,
        config.mlp,
        _without_graph(data),
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
    return predict_network(Mlp, config.mlp, arrays, _without_graph(data), sessions=sessions, config=config)


def expected_shapes(data: Dataset, config: ModelsConfig) -> Shapes:
    """Name → (shape, dtype) of the arrays `predict` needs."""
    return Network(Mlp, len(data.own), config.mlp).shapes(config.training.ensemble)


def _without_graph(data: Dataset) -> Dataset:
    return replace(data, graph=data.graph.of_kind("identity", seed=0), linked={})
