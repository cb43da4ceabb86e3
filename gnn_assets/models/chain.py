"""One model trained fold by fold, then once more for serving: what is done is kept, and never done again."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Shaped

from gnn_assets.core.config import ModelsConfig
from gnn_assets.core.folds import Fold
from gnn_assets.models.attempts import attempted
from gnn_assets.models.checkpoint import Checkpoint, within
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress
from gnn_assets.models.variants import Variant, fold_part, refit_part

# Share of training after which the time left is told.
_FORETELLING = 0.05
_DONE = "trained"


@dataclass(frozen=True, eq=False)
class Plan:
    """What every model is trained on.

    Args:
        data: features, graph and labels.
        folds: of the walk-forward.
        refit: rows of the final training.
        purge: sessions until a label is known.
        config: the section `models`.
        checkpoint: where unfinished work is kept.
    """

    data: Dataset
    folds: tuple[Fold, ...]
    refit: range
    purge: int
    config: ModelsConfig
    checkpoint: Checkpoint


@dataclass(frozen=True, eq=False)
class Part:
    """One model trained on one fold, or for serving.

    Args:
        name: ``<model>/fold_00`` or ``<model>/refit``.
        arrays: name → array; empty where nothing is trained.
        facts: JSON data: seed, sessions, how training went.
        seconds: it took.
        attempts: tries it took.
    """

    name: str
    arrays: Mapping[str, Shaped[np.ndarray, "..."]]
    facts: Mapping[str, Any]
    seconds: float
    attempts: int


def train_chain(variant: Variant, plan: Plan, progress: Progress) -> list[Part]:
    """Trains one model: fold by fold, then the refit, which needs the folds' best epochs.

    A fault that may pass is met by another try, which goes on from the last epoch that was kept.

    Args:
        variant: the model, and the graph it is shown.
        plan: what it is trained on.
        progress: called with the finished share of the chain and a line that begins with the part.
    """
    seen: list[Dataset] = []
    trained: list[Part] = []

    def train(name: str, *, fold: Fold | None, epochs: int | None) -> None:
        def report(share: float, text: str) -> None:
            progress((len(trained) + share) / (len(plan.folds) + 1), f"{name}: {text}")

        part = _kept(plan.checkpoint, name)
        if part is None:
            # Another graph is made only for a part that is still to be trained.
            if not seen:
                seen.append(variant.seen(plan.data, config=plan.config))
            part = _train_part(name, variant, plan, data=seen[0], fold=fold, epochs=epochs, progress=report)
        else:
            report(1.0, "trained before")
        trained.append(part)

    for fold in plan.folds:
        train(fold_part(variant.model, fold.number), fold=fold, epochs=None)
    epochs = max(1, round(median(part.facts["best_epoch"] for part in trained)))
    train(refit_part(variant.model), fold=None, epochs=epochs)
    return trained


def foretelling(progress: Progress) -> Progress:
    """Progress whose line ends with the seconds left, judged by what was done since now."""
    began, first = perf_counter(), None

    def report(share: float, text: str) -> None:
        nonlocal first
        first = share if first is None else first
        done = share - first
        # The first epochs are mostly compilation: nothing can be foretold from them.
        left = (perf_counter() - began) * (1 - share) / done if done > 0 else 0.0
        progress(share, f"{text}, about {left:.0f} s left" if done > _FORETELLING else text)

    return report


def _train_part(
    name: str,
    variant: Variant,
    plan: Plan,
    *,
    data: Dataset,
    fold: Fold | None,
    epochs: int | None,
    progress: Progress,
) -> Part:
    rows, validation, test = (plan.refit, None, None) if fold is None else (fold.train, fold.validation, fold.test)
    seed = _seed(plan.config, 0 if fold is None else fold.number + 1)
    before = perf_counter()
    fit = partial(
        variant.load().fit,
        data,
        train=rows,
        validation=validation,
        config=plan.config,
        seed=seed,
        epochs=epochs,
        progress=progress,
        checkpoint=within(plan.checkpoint, name),
    )
    fitted: Fitted
    fitted, attempts = attempted(fit, settings=plan.config.training)
    facts = {
        "seed": seed,
        "train": _ends(data, rows),
        "validation": _ends(data, validation),
        "test": _ends(data, test),
        "training_end": data.sessions[(validation or rows)[-1] + plan.purge].isoformat(),
        "best_epoch": fitted.best_epoch,
        "validation_ic": fitted.validation_ic,
        "curve": [dict(point) for point in fitted.curve],
        "failure": fitted.failure,
    }
    part = Part(name, fitted.arrays, facts, perf_counter() - before, attempts)
    # What failed is tried again by whoever runs it again: more time may be all it lacks.
    if not fitted.failure:
        told = {"facts": facts, "seconds": part.seconds, "attempts": attempts}
        attempted(
            partial(within(plan.checkpoint, name).save, _DONE, fitted.arrays, told), settings=plan.config.training
        )
    return part


def _kept(checkpoint: Checkpoint, name: str) -> Part | None:
    found = within(checkpoint, name).load(_DONE)
    if found is None:
        return None
    arrays, told = found
    return Part(name, arrays, told["facts"], told["seconds"], told["attempts"])


def _seed(config: ModelsConfig, number: int) -> int:
    return int(np.random.SeedSequence((config.seed, number)).generate_state(1)[0])


def _ends(data: Dataset, rows: range | None) -> list[str] | None:
    return None if rows is None else [data.sessions[rows[0]].isoformat(), data.sessions[rows[-1]].isoformat()]
