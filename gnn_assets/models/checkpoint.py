"""Where unfinished work is kept, so that a killed training goes on where it was."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]


@runtime_checkable
class Checkpoint(Protocol):
    """Named arrays and facts of one recipe, data and seed: whoever hands it out makes sure of that."""

    def load(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """What was saved last under the name, bit for bit; None if nothing whole was."""
        ...

    def save(self, name: str, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Keeps arrays and facts (JSON data) under the name, in place of what was there."""
        ...


class _Nothing:
    """Keeps nothing."""

    def load(self, name: str) -> None:
        del name

    def save(self, name: str, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        del name, arrays, facts


@dataclass(frozen=True)
class _Within:
    outer: Checkpoint
    prefix: str

    def load(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        return self.outer.load(f"{self.prefix}/{name}")

    def save(self, name: str, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        self.outer.save(f"{self.prefix}/{name}", arrays, facts)


NO_CHECKPOINT: Checkpoint = _Nothing()


def within(checkpoint: Checkpoint, prefix: str) -> Checkpoint:
    """A part of the checkpoint: its names begin with ``<prefix>/`` there."""
    return _Within(checkpoint, prefix)
