"""One epoch of training and one validation as pure functions of arrays: what `models.train` compiles.

References:
    I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    I. Loshchilov, F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017 (one cosine, no restart).
    B. T. Polyak, A. B. Juditsky, Acceleration of Stochastic Approximation by Averaging, SIAM Journal on Control and
    Optimization 30 (1992); here with weights that decay, D. P. Kingma, J. Ba, Adam, ICLR 2015, section 7.2.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float32, Int32, Key

from gnn_assets.core.config import TrainingConfig
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.losses import LOSSES, mean_ic
from gnn_assets.models.network import Inputs, Network, Params, ensemble_scores, pad_rows


class Examples(NamedTuple):
    """Inputs and J targets over S sessions, or of one without the first axis."""

    inputs: Inputs
    targets_SxJxN: Float32[jax.Array, "*S J N"]
    known_SxJxN: Bool[jax.Array, "*S J N"]

    @classmethod
    def of(cls, data: Dataset, rows: range, *, settings: TrainingConfig, length: int) -> "Examples":
        """The examples of some rows of a dataset, with empty ones behind them, `length` in all."""
        told = [data.targets(target, rows) for target in settings.targets]
        targets_SxJxN, known_SxJxN = (np.stack(arrays, axis=1) for arrays in zip(*told, strict=True))
        return cls(Inputs.of(data, rows, length=length), pad_rows(targets_SxJxN, length), pad_rows(known_SxJxN, length))


class Member(NamedTuple):
    """One member of the ensemble in training; with a leading axis, all of them.

    Args:
        params: what gradients move.
        optimiser: its state.
        averaging: state of the moving average.
        average: the average itself, which is judged and kept.
        finite: False from the first step on that gave a NaN or an infinity; nothing moves any more.
    """

    params: Params
    optimiser: Any
    averaging: Any
    average: Params
    finite: Bool[jax.Array, "*E"]


class Epoch(NamedTuple):
    """What one epoch is steered by; no program depends on the numbers, so another choice compiles nothing anew.

    Args:
        order_MxB: int32, the examples of each of its M steps.
        key: of dropout, and of the loss.
        rates_M: learning rate of each step.
        weight_decay: share of the parameters taken off, times the rate.
        gradient_clip: largest global norm of a gradient.
        average: decay of the moving average, a step.
    """

    order_MxB: Int32[jax.Array, "M B"]
    key: Key[jax.Array, ""]
    rates_M: Float32[jax.Array, " M"]
    weight_decay: Float32[jax.Array, ""]
    gradient_clip: Float32[jax.Array, ""]
    average: Float32[jax.Array, ""]


def epoch_of(settings: TrainingConfig, *, number: int, n_rows: int, steps: int, seed: int) -> Epoch:
    """Epoch 1, 2, ... of a training on `n_rows` sessions: a function of seed and number, not of what went before.

    What is left over by the last full step is another part of the sessions in each epoch.
    """
    length = settings.sessions_per_step
    drawn = np.random.default_rng((seed, number)).permutation(n_rows)[: steps * length]
    total = settings.epochs * steps
    rising = int(settings.warm_up * total)
    schedule = optax.warmup_cosine_decay_schedule(
        settings.learning_rate / (rising + 1), settings.learning_rate, warmup_steps=rising, decay_steps=total
    )
    return Epoch(
        jnp.asarray(drawn.reshape(steps, length), dtype=jnp.int32),
        jax.random.fold_in(jax.random.key(seed), number),
        jnp.asarray(schedule(jnp.arange((number - 1) * steps, number * steps)), dtype=jnp.float32),
        *(jnp.float32(value) for value in (settings.weight_decay, settings.gradient_clip, settings.average)),
    )


def start(network: Network, keys_E: Key[jax.Array, " E"]) -> Member:
    """Fresh members, one a key."""

    def one(key: Key[jax.Array, ""]) -> Member:
        params = network.initialise(key)
        optimiser, averaging = _optimiser(0.0, 0.0, 0.0).init(params), optax.ema(0.0).init(params)
        return Member(params, optimiser, averaging, params, jnp.bool_(True))

    return jax.vmap(one)(keys_E)


def train_epoch(
    network: Network,
    loss_name: str,
    members_E: Member,
    examples: Examples,
    epoch: Epoch,
) -> tuple[Member, Float32[jax.Array, ""]]:
    """One pass over the examples as a scan of M steps of B sessions; returns the members and their mean loss."""

    def step(members_E: Member, drawn: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[Member, jax.Array]:
        rows_B, key, rate = drawn
        batch = batch_of(examples, rows_B)
        keys_E = jax.random.split(key, len(members_E.finite))

        def update(one: tuple[Member, Key[jax.Array, ""]]) -> tuple[Member, Float32[jax.Array, ""]]:
            member, key = one
            loss, gradient = jax.value_and_grad(loss_of)(member.params, network, loss_name, batch, key)
            return moved(member, loss, gradient, rate=rate, epoch=epoch), loss

        # One after another: XLA gathers from many arrays at once more slowly than from each in turn.
        return jax.lax.map(update, (members_E, keys_E))

    keys_M = jax.random.split(epoch.key, len(epoch.order_MxB))
    members_E, losses_MxE = jax.lax.scan(step, members_E, (epoch.order_MxB, keys_M, epoch.rates_M))
    return members_E, losses_MxE.mean()


def batch_of(examples: Examples, rows_B: Int32[jax.Array, " B"]) -> Examples:
    """Some sessions of the examples, in that order."""
    return jax.tree.map(lambda array: array[rows_B], examples)


def loss_of(
    params: Params, network: Network, loss_name: str, batch: Examples, key: Key[jax.Array, ""]
) -> Float32[jax.Array, ""]:
    """The loss of one member on a batch, with dropout: the mean of its losses on each target."""
    drop_key, loss_key = jax.random.split(key)
    keys_B = jax.random.split(drop_key, len(batch.known_SxJxN))
    scores_BxN = jax.vmap(network.scores, in_axes=(None, 0, 0))(params, batch.inputs, keys_B)
    on_target = jax.vmap(LOSSES[loss_name], in_axes=(None, 1, 1, None))
    return on_target(scores_BxN, batch.targets_SxJxN, batch.known_SxJxN, loss_key).mean()


def moved(
    member: Member,
    loss: Float32[jax.Array, ""],
    gradient: Params,
    *,
    rate: Float32[jax.Array, ""],
    epoch: Epoch,
) -> Member:
    """A member after one gradient; the same as before if loss, gradient or parameters are not finite."""
    optimiser = _optimiser(rate, epoch.weight_decay, epoch.gradient_clip)
    change, state = optimiser.update(gradient, member.optimiser, member.params)
    params = optax.apply_updates(member.params, change)
    average, averaging = optax.ema(epoch.average, debias=True).update(params, member.averaging)
    finite = member.finite & jnp.isfinite(loss + optax.tree.norm(gradient) + optax.tree.norm(params))
    # optax tells of trees where it gives the mapping it was given.
    after = Member(params, state, averaging, average, finite)  # ty: ignore[invalid-argument-type]
    return jax.tree.map(partial(jnp.where, finite), after, member)._replace(finite=finite)


def validate(
    network: Network, params_E: Params, examples: Examples, rows_V: Int32[jax.Array, " V"]
) -> Float32[jax.Array, ""]:
    """Mean IC of an ensemble over some sessions and all targets; sessions go through one by one, to save memory."""

    def one(
        row: Int32[jax.Array, ""],
    ) -> tuple[Float32[jax.Array, " N"], Float32[jax.Array, "J N"], Bool[jax.Array, "J N"]]:
        session = jax.tree.map(lambda array: array[row], examples)
        return ensemble_scores(network, params_E, session.inputs), session.targets_SxJxN, session.known_SxJxN

    return jax.vmap(mean_ic, in_axes=(None, 1, 1))(*jax.lax.map(one, rows_V)).mean()


def _optimiser(
    rate: float | Float32[jax.Array, ""],
    weight_decay: float | Float32[jax.Array, ""],
    gradient_clip: float | Float32[jax.Array, ""],
) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(gradient_clip),
        # Offsets and scales of a norm are not a matter of size.
        optax.adamw(
            rate,
            weight_decay=weight_decay,
            mask=lambda params: jax.tree.map(lambda array: array.ndim > 1, params),
        ),
    )
