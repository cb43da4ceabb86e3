"""Training of a network plug-in: an ensemble of seeds side by side, stopped by the fold's own validation sessions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from gnn_assets.core.config import ModelsConfig
from gnn_assets.core.errors import DataError
from gnn_assets.core.execution import Section
from gnn_assets.models.checkpoint import Checkpoint
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress
from gnn_assets.models.network import Build, Network, Params
from gnn_assets.models.programs import run
from gnn_assets.models.step import Examples, Member, epoch_of, start, train_epoch, validate

_STATE = "epoch"


@dataclass(frozen=True, eq=False)
class _State:
    """All that the next epoch depends on."""

    members: Member
    best: Params
    best_epoch: int = 0
    best_ic: float | None = None
    curve: tuple[dict[str, Any], ...] = ()

    def after(self, members: Member, *, loss: float, ic: float | None) -> "_State":
        """The state one epoch on; the members' averages are the best ones if nothing has been better."""
        epoch = len(self.curve) + 1
        curve = (*self.curve, {"epoch": epoch, "loss": loss, "validation_ic": ic})
        if ic is None or self.best_ic is None or ic > self.best_ic:
            return _State(members, members.average, epoch, ic, curve)
        return replace(self, members=members, curve=curve)

    def fitted(self, failure: str = "") -> Fitted:
        """What there is to use, or why it must not be used."""
        arrays = {name: np.asarray(array) for name, array in self.best.items()}
        return Fitted(arrays, self.best_epoch, self.curve, None if failure else self.best_ic, failure)


def fit_network(
    build: Build,
    size: Section,
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
    """Trains an ensemble on the configured target and loss.

    An epoch is as many steps as fit into a fold's training part, also for a refit on more sessions, and the learning
    rate always falls over `training.epochs` of them: a refit of fewer epochs walks the path the folds walked. Dropout
    and initial parameters differ between members; the order of sessions is shared.

    What is judged, kept and returned is the moving average of the parameters.

    Args:
        build: makes the module.
        size: the model's own section.
        data: features, graph and labels; only rows of `train` and `validation` are used.
        train: rows whose labels train.
        validation: later rows whose labels choose the best epoch; None trains for `epochs` and keeps the last.
        config: target, loss, optimiser, ensemble, time budget.
        seed: root of initial parameters, dropout and shuffling.
        epochs: most epochs; None for `training.epochs`.
        progress: called after each epoch.
        checkpoint: written after each epoch; a training that was cut off goes on from there, to the same bits.

    Returns:
        Parameters of the best epoch. If a loss, gradient or parameter is no longer finite: the last finite
        parameters, and the failure. If the time budget is spent: the best so far, and the failure; never a training
        that is shorter and says nothing of it.

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
    began = perf_counter()
    network = Network(build, len(data.feature_names), size)
    rows = train if validation is None else range(train.start, validation.stop)
    examples = Examples.of(data, rows, settings=settings, length=max(len(rows), _fold_length(data, config)))
    judged = None if validation is None else jnp.arange(validation.start - train.start, len(rows))
    limit = settings.epochs if epochs is None else epochs
    start_key = jax.random.fold_in(jax.random.key(seed), 0)
    members = run(start, (network,), jax.random.split(start_key, settings.ensemble))
    state = _resumed(checkpoint, _State(members, members.average))
    while len(state.curve) < limit and len(state.curve) - state.best_epoch < settings.patience:
        number = len(state.curve) + 1
        if number > 1 and settings.budget_seconds is not None and perf_counter() - began > settings.budget_seconds:
            return state.fitted(f"out of time after epoch {number - 1} of {limit}")
        epoch = epoch_of(settings, number=number, n_rows=len(train), steps=steps, seed=seed)
        members, loss = run(train_epoch, (network, settings.loss), state.members, examples, epoch)
        ic = None if judged is None else float(run(validate, (network,), members.average, examples, judged))
        if not np.asarray(members.finite).all() or (ic is not None and np.isnan(ic)):
            return replace(state, best=members.average).fitted(f"NaN at epoch {number}")
        state = state.after(members, loss=float(loss), ic=ic)
        _save(checkpoint, state)
        progress(number / limit, _told(state.curve[-1], limit))
    return state.fitted()


def _fold_length(data: Dataset, config: ModelsConfig) -> int:
    """Sessions from the first of a fold's training part to the last of its validation part: refits have the same."""
    folds = config.folds
    return folds.train + data.recipe.execution.purge + folds.embargo + folds.validation


def _save(checkpoint: Checkpoint, state: _State) -> None:
    facts = {"best_epoch": state.best_epoch, "best_ic": state.best_ic, "curve": list(state.curve)}
    arrays = {"members": state.members, "best": state.best}
    checkpoint.save(_STATE, {name: np.asarray(array) for name, array in _named(arrays).items()}, facts)


def _resumed(checkpoint: Checkpoint, fresh: _State) -> _State:
    """Where an earlier training was cut off, or a fresh state."""
    found = checkpoint.load(_STATE)
    if found is None:
        return fresh
    arrays, facts = found
    form = {"members": fresh.members, "best": fresh.best}
    held = jax.tree.unflatten(jax.tree.structure(form), [jnp.asarray(arrays[name]) for name in _named(form)])
    return _State(held["members"], held["best"], facts["best_epoch"], facts["best_ic"], tuple(facts["curve"]))


def _named(arrays: Mapping[str, Any]) -> dict[str, Shaped[jax.Array, "..."]]:
    """Each leaf by its path, in the order of the tree."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(arrays)}


def _told(point: Mapping[str, Any], limit: int) -> str:
    ic = "" if point["validation_ic"] is None else f", validation IC {point['validation_ic']:+.4f}"
    return f"epoch {point['epoch']} of {limit}: loss {point['loss']:+.4f}{ic}"
