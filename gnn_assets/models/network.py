"""A neural network as pure functions of named arrays: made, applied to one session, and predicted with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float32, Int32, Key, Shaped

from gnn_assets.core.config import ModelsConfig
from gnn_assets.core.execution import Section
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Shapes, require_shapes

# Makes a module from its number of input features, its own section of the configuration and its keys. The module is
# called with one session: features_NxF, mask_N, neighbours_NxK, corr_NxK, basis_NxD, and a key while it is trained
# (None in use); it gives scores_N.
Build = Callable[[int, Any, nnx.Rngs], nnx.Module]
Params = Mapping[str, Float32[jax.Array, "..."]]

# Added to a spread: all scores of a session may be equal.
_EPSILON = 1e-12
# Sessions whose features are copied at once.
_BLOCK = 64


class Inputs(NamedTuple):
    """What a network sees, over S sessions, or in one of them without the first axis."""

    features_SxNxF: Float32[jax.Array, "*S N F"]
    mask_SxN: Bool[jax.Array, "*S N"]
    neighbours_SxNxK: Int32[jax.Array, "*S N K"]
    corr_SxNxK: Float32[jax.Array, "*S N K"]
    basis_SxNxD: Float32[jax.Array, "*S N D"]

    @classmethod
    def of(cls, data: Dataset, rows: range, *, length: int) -> "Inputs":
        """The inputs of some rows of a dataset, with empty sessions behind them, `length` in all.

        Features are the one large array: they are copied a block at a time, so that they are in memory only once.
        """
        part = slice(rows.start, rows.stop)
        return cls(
            _held(data, rows, length),
            pad_rows(data.mask_TxN[part], length),
            pad_rows(data.graph.neighbours_TxNxK[part], length),
            pad_rows(data.graph.corr_TxNxK[part], length),
            pad_rows(data.basis(rows), length),
        )


def pad_rows(array: Shaped[np.ndarray, "rows ..."], length: int) -> Shaped[jax.Array, "{length} ..."]:
    """The array with rows of zeros behind it, `length` rows in all."""
    return jnp.asarray(np.pad(array, [(0, length - len(array)), *[(0, 0)] * (array.ndim - 1)]))


def _held(data: Dataset, rows: range, length: int) -> Float32[jax.Array, "{length} N F"]:
    held_LxNxF = jnp.zeros((length, len(data.symbols), len(data.feature_names)), dtype=jnp.float32)
    block = min(_BLOCK, length)
    for start in range(0, len(rows), block):
        # The last block reaches as far back as it lacks: one length, one program.
        first = min(start, length - block)
        block_BxNxF = pad_rows(data.features(rows[first : first + block]), block)
        held_LxNxF = _put(held_LxNxF, block_BxNxF, first)
    return held_LxNxF


@partial(jax.jit, donate_argnums=0)
def _put(
    held_LxNxF: Float32[jax.Array, "L N F"], block_BxNxF: Float32[jax.Array, "B N F"], first: Int32[jax.Array, ""] | int
) -> Float32[jax.Array, "L N F"]:
    return jax.lax.dynamic_update_slice(held_LxNxF, block_BxNxF, (first, 0, 0))


@dataclass(frozen=True)
class Network:
    """A network's architecture: all that decides its arrays' names and shapes. Equal architectures share programs.

    Args:
        build: makes the module.
        n_features: length of the feature axis.
        size: the model's own section, such as width and dropout.
    """

    build: Build
    n_features: int
    size: Section

    def initialise(self, key: Key[jax.Array, ""]) -> dict[str, Float32[jax.Array, "..."]]:
        """Fresh parameters, a flat mapping from the path in the module to the array."""
        module = self.build(self.n_features, self.size, nnx.Rngs(key))
        return {_name(path): variable.get_value() for path, variable in nnx.to_flat_state(nnx.state(module, nnx.Param))}

    def scores(
        self, params: Params, session: Inputs, key: Key[jax.Array, ""] | None = None
    ) -> Float32[jax.Array, " N"]:
        """Scores of one session, float32 (N,); with `key` as in training, without as in use."""
        definition, paths = _structure(self)
        module = nnx.merge(definition, nnx.from_flat_state({path: params[_name(path)] for path in paths}))
        return module(*session, key)

    def shapes(self, ensemble: int) -> Shapes:
        """Name → (shape, dtype) of an ensemble's arrays."""
        return {name: ((ensemble, *shape), dtype) for name, (shape, dtype) in _member_shapes(self).items()}


@cache
def _structure(network: Network) -> tuple[nnx.GraphDef, tuple[tuple, ...]]:
    module = nnx.eval_shape(lambda: network.build(network.n_features, network.size, nnx.Rngs(0)))
    definition, state = nnx.split(module)
    return definition, tuple(path for path, _ in nnx.to_flat_state(state))


@cache
def _member_shapes(network: Network) -> Shapes:
    """Of one member; tracing the module for every prediction would take longer than the prediction."""
    one = jax.eval_shape(network.initialise, jax.random.key(0))
    return {name: (array.shape, str(array.dtype)) for name, array in one.items()}


def _name(path: tuple) -> str:
    return ".".join(str(part) for part in path)


def ensemble_scores(network: Network, params_E: Params, session: Inputs) -> Float32[jax.Array, " N"]:
    """Mean over an ensemble of its members' scores of one session, each standardised over the masked-in symbols.

    Args:
        params_E: each array with the ensemble (E) as first axis.

    Returns:
        float32 (N,); 0 where masked out.
    """
    scores_ExN = jax.vmap(network.scores, in_axes=(0, None))(params_E, session)
    mask_N = session.mask_SxN
    count = jnp.maximum(mask_N.sum(), 1)
    inside = jnp.where(mask_N, scores_ExN, 0.0)
    centred = jnp.where(mask_N, inside - inside.sum(axis=1, keepdims=True) / count, 0.0)
    spread = jnp.sqrt(jnp.square(centred).sum(axis=1, keepdims=True) / count)
    return (centred / (spread + _EPSILON)).mean(axis=0)


def predict_network(
    build: Build,
    size: Section,
    arrays: Mapping[str, Shaped[np.ndarray, "..."]],
    data: Dataset,
    *,
    sessions: range,
    config: ModelsConfig,
) -> Float32[np.ndarray, "S N"]:
    """Scores of a trained ensemble.

    Sessions go one by one through a compiled loop over blocks of one fixed length: a session's bits do not depend on
    which others are asked for with it.

    Args:
        build: makes the module.
        size: the model's own section, with which the arrays were trained.
        arrays: as `Fitted.arrays`.
        data: features and graph.
        sessions: rows of `data` to score.
        config: the ensemble the arrays were trained with.

    Returns:
        float32 (S, N); NaN where masked out.

    Known at:
        Each row at its session's close.

    Raises:
        WeightsMismatch: if the arrays are not those of this network.
    """
    network = Network(build, len(data.feature_names), size)
    require_shapes(arrays, network.shapes(config.training.ensemble))
    params_E = {name: jnp.asarray(array) for name, array in arrays.items()}
    length = config.training.sessions_per_step
    scores_SxN = np.empty((len(sessions), len(data.symbols)), dtype=np.float32)
    for start in range(0, len(sessions), length):
        rows = sessions[start : start + length]
        block = Inputs.of(data, rows, length=length)
        scores_SxN[start : start + len(rows)] = np.asarray(_score_block(network, params_E, block))[: len(rows)]
    return np.where(data.mask_TxN[sessions.start : sessions.stop], scores_SxN, np.float32(np.nan))


@partial(jax.jit, static_argnames="network")
def _score_block(network: Network, params_E: Params, block: Inputs) -> Float32[jax.Array, "S N"]:
    return jax.lax.map(lambda session: ensemble_scores(network, params_E, session), block)
