"""Training of a network plug-in: an ensemble of seeds side by side, stopped by the fold's own validation sessions.

References:
    I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    I. Loshchilov, F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017 (one cosine, no restart).
"""

from contextlib import nullcontext
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float32, Int32, Key

from gnn_assets.core.config import ModelsConfig, TrainingConfig
from gnn_assets.core.errors import DataError
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress
from gnn_assets.models.losses import ic_loss, mean_ic
from gnn_assets.models.network import Build, Inputs, Network, Params, ensemble_scores, pad_rows

# Two fits side by side need the same programs: the second waits for the first to compile them.
_COMPILING = Lock()


class Examples(NamedTuple):
    """Inputs and targets over S sessions."""

    inputs: Inputs
    targets_SxN: Float32[jax.Array, "S N"]
    known_SxN: Bool[jax.Array, "S N"]

    @classmethod
    def of(cls, data: Dataset, rows: range) -> "Examples":
        """The examples of some rows of a dataset."""
        targets_TxN, known_TxN = data.targets()
        part = slice(rows.start, rows.stop)
        return cls(Inputs.of(data, rows), jnp.asarray(targets_TxN[part]), jnp.asarray(known_TxN[part]))

    def padded(self, length: int) -> "Examples":
        """The examples with empty ones behind them, so that all parts have one shape."""
        return jax.tree.map(partial(pad_rows, length=length), self)


class Member(NamedTuple):
    """One member of the ensemble in training; with a leading axis, all of them."""

    params: Params
    optimiser: Any
    finite: Bool[jax.Array, "*E"]


def fit_network(
    build: Build,
    data: Dataset,
    *,
    train: range,
    validation: range | None,
    config: ModelsConfig,
    seed: int,
    epochs: int | None,
    progress: Progress,
) -> Fitted:
    """Trains an ensemble on minus the IC.

    An epoch is as many steps as fit into a fold's training part, also for a refit on more sessions, and the learning
    rate always falls over `training.epochs` of them: a refit of fewer epochs walks the path the folds walked. Dropout
    and initial parameters differ between members; the order of sessions is shared.

    Args:
        build: makes the module.
        data: features, graph and labels; only rows of `train` and `validation` are read.
        train: rows whose labels train.
        validation: rows whose labels choose the best epoch; None trains for `epochs` and keeps the last.
        config: size of the network, optimiser, ensemble.
        seed: root of initial parameters, dropout and shuffling.
        epochs: most epochs; None for `training.epochs`.
        progress: called after each epoch.

    Returns:
        Parameters of the best epoch. If a loss, gradient or parameter is no longer finite: the last finite
        parameters, and the failure.

    Raises:
        DataError: if `train` is shorter than one gradient step.
    """
    settings = config.training
    steps = min(len(train), config.folds.train) // settings.sessions_per_step
    if steps == 0:
        raise DataError.of(
            "training part",
            expected=f"at least models.training.sessions_per_step ({settings.sessions_per_step}) sessions",
            was=len(train),
            do="lengthen models.folds.train",
        )
    network = Network(build, len(data.feature_names), config.network)
    examples = Examples.of(data, train).padded(max(len(train), config.folds.train + config.folds.validation))
    judged = None if validation is None else Examples.of(data, validation)
    limit = settings.epochs if epochs is None else epochs
    shuffle = np.random.default_rng(seed)
    start_key, dropout_key = jax.random.split(jax.random.key(seed))
    members = _start(network, settings, jax.random.split(start_key, settings.ensemble))

    best_params, best_epoch, best_ic = members.params, 0, -np.inf
    curve: list[dict[str, Any]] = []
    for epoch in range(1, limit + 1):
        # What is left over is another part of the sessions in each epoch.
        drawn = shuffle.permutation(len(train))[: steps * settings.sessions_per_step]
        order = jnp.asarray(drawn.reshape(steps, settings.sessions_per_step))
        key = jax.random.fold_in(dropout_key, epoch)
        with _COMPILING if epoch == 1 else nullcontext():
            members, loss = _train_epoch(network, settings, members, examples=examples, order_MxB=order, key=key)
            ic = 0.0 if judged is None else float(_validate(network, members.params, judged))
        if not np.asarray(members.finite).all() or np.isnan(ic):
            return Fitted(_to_numpy(members.params), best_epoch, tuple(curve), None, f"NaN at epoch {epoch}")
        curve.append({"epoch": epoch, "loss": float(loss), "validation_ic": None if judged is None else ic})
        progress(epoch / limit, _told(curve[-1], limit))
        if judged is None or ic > best_ic:
            best_params, best_epoch, best_ic = members.params, epoch, ic
        elif epoch - best_epoch >= settings.patience:
            break
    return Fitted(_to_numpy(best_params), best_epoch, tuple(curve), None if judged is None else best_ic)


def _optimiser(settings: TrainingConfig, steps_per_epoch: int) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(settings.gradient_clip),
        optax.adamw(
            optax.cosine_decay_schedule(settings.learning_rate, settings.epochs * steps_per_epoch),
            weight_decay=settings.weight_decay,
            # Offsets and scales of a norm are not a matter of size.
            mask=lambda params: jax.tree.map(lambda array: array.ndim > 1, params),
        ),
    )


@partial(jax.jit, static_argnames=("network", "settings"))
def _start(network: Network, settings: TrainingConfig, keys_E: Key[jax.Array, " E"]) -> Member:
    def one(key: Key[jax.Array, ""]) -> Member:
        params = network.initialise(key)
        return Member(params, _optimiser(settings, 1).init(params), jnp.bool_(True))

    return jax.vmap(one)(keys_E)


@partial(jax.jit, static_argnames=("network", "settings"))
def _train_epoch(
    network: Network,
    settings: TrainingConfig,
    members_E: Member,
    *,
    examples: Examples,
    order_MxB: Int32[jax.Array, "M B"],
    key: Key[jax.Array, ""],
) -> tuple[Member, Float32[jax.Array, ""]]:
    """One pass over the examples as one compiled scan of M steps; returns the members and their mean loss."""
    optimiser = _optimiser(settings, order_MxB.shape[0])

    def loss_of(params: Params, batch: Examples, key: Key[jax.Array, ""]) -> Float32[jax.Array, ""]:
        keys_B = jax.random.split(key, len(batch.known_SxN))
        scores_BxN = jax.vmap(network.scores, in_axes=(None, 0, 0))(params, batch.inputs, keys_B)
        return ic_loss(scores_BxN, batch.targets_SxN, batch.known_SxN)

    def update(member: Member, batch: Examples, key: Key[jax.Array, ""]) -> tuple[Member, Float32[jax.Array, ""]]:
        loss, gradient = jax.value_and_grad(loss_of)(member.params, batch, key)
        change, state = optimiser.update(gradient, member.optimiser, member.params)
        moved = optax.apply_updates(member.params, change)
        finite = member.finite & jnp.isfinite(loss + optax.tree.norm(gradient) + optax.tree.norm(moved))
        kept = jax.tree.map(partial(jnp.where, finite), (moved, state), (member.params, member.optimiser))
        return Member(*kept, finite), loss

    def step(
        members_E: Member, inputs: tuple[Int32[jax.Array, " B"], Key[jax.Array, ""]]
    ) -> tuple[Member, Float32[jax.Array, " E"]]:
        rows_B, key = inputs
        batch = jax.tree.map(lambda array: array[rows_B], examples)
        keys_E = jax.random.split(key, settings.ensemble)
        return jax.vmap(update, in_axes=(0, None, 0))(members_E, batch, keys_E)

    keys_M = jax.random.split(key, order_MxB.shape[0])
    members_E, losses_MxE = jax.lax.scan(step, members_E, (order_MxB, keys_M))
    return members_E, losses_MxE.mean()


@partial(jax.jit, static_argnames="network")
def _validate(network: Network, params_E: Params, examples: Examples) -> Float32[jax.Array, ""]:
    scores_SxN = jax.vmap(partial(ensemble_scores, network, params_E))(examples.inputs)
    return mean_ic(scores_SxN, examples.targets_SxN, examples.known_SxN)


def _to_numpy(params_E: Params) -> dict[str, Float32[np.ndarray, "..."]]:
    return {name: np.asarray(array) for name, array in params_E.items()}


def _told(point: dict[str, Any], limit: int) -> str:
    ic = "" if point["validation_ic"] is None else f", validation IC {point['validation_ic']:+.4f}"
    return f"epoch {point['epoch']} of {limit}: loss {point['loss']:+.4f}{ic}"
