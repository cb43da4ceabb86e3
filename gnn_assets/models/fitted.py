"""What every plug-in of the zoo gives back, and how it tells of its progress."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from gnn_assets.core.errors import WeightsMismatch

# Called with the finished share of the work, 0 to 1, and a line for people.
Progress = Callable[[float, str], None]
_Entry = tuple[tuple[int, ...], str]
# Name → (shape, dtype) of each array a plug-in needs to predict; -1 for a dimension whose length is learnt.
Shapes = Mapping[str, _Entry]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model.

    Args:
        arrays: name → float32 array, or uint8 for a serialised model: all that `predict` needs; empty where nothing
            is trained.
        best_epoch: epochs of training behind `arrays`; 0 where there are none.
        curve: a mapping ``epoch, loss, validation_ic`` for each epoch.
        validation_ic: mean IC over the validation sessions at the best epoch; None without validation.
        failure: why this model must not be used; empty if it may.
    """

    arrays: Mapping[str, Float32[np.ndarray, "..."] | UInt8[np.ndarray, "..."]] = field(default_factory=dict)
    best_epoch: int = 0
    curve: tuple[Mapping[str, Any], ...] = ()
    validation_ic: float | None = None
    failure: str = ""


def require_shapes(arrays: Mapping[str, Shaped[np.ndarray, "..."]], expected: Shapes) -> None:
    """Refuses arrays that are not the ones a model is made of.

    Raises:
        WeightsMismatch: naming the first array that is missing, spare, or of another shape or dtype.
    """
    found = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    for name in sorted({*found, *expected}):
        if not _fits(found.get(name), expected.get(name)):
            raise WeightsMismatch.of(
                f"weights {name}",
                expected=_told(expected.get(name)),
                was=_told(found.get(name)),
                do="train again, or use the configuration the weights were trained with",
            )


def _fits(found: _Entry | None, expected: _Entry | None) -> bool:
    if found is None or expected is None or found[1] != expected[1] or len(found[0]) != len(expected[0]):
        return False
    return all(wanted in (-1, length) for length, wanted in zip(found[0], expected[0], strict=True))


def _told(entry: _Entry | None) -> str:
    return "no such array" if entry is None else f"{entry[1]} {entry[0]}"
