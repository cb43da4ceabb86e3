"""What a check says: the same shape for every stage, whoever runs it."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal


@dataclass(frozen=True)
class Check:
    """The outcome of one check on one artefact.

    Args:
        name: snake_case, unique within its asset.
        passed: whether the value is within the threshold.
        value: what was measured.
        threshold: the limit it was held against.
        description: one sentence that says what is measured and why it matters.
        severity: ``error`` stops publication downstream; ``warn`` is only shown.
        offenders: the first offending rows, as text, at most ten.
    """

    name: str
    passed: bool
    value: float | int | str
    threshold: float | int | str
    description: str
    severity: Literal["error", "warn"] = "error"
    offenders: tuple[str, ...] = ()

    @property
    def blocks(self) -> bool:
        """Whether nothing that failed this check may be published."""
        return not self.passed and self.severity == "error"

    @property
    def sentence(self) -> str:
        """The outcome as one sentence."""
        verdict = "passed" if self.passed else "failed"
        first = f" First offenders: {'; '.join(self.offenders[:3])}." if self.offenders else ""
        return f"{self.name} {verdict}: value {self.value}, threshold {self.threshold}. {self.description}{first}"


def shown(value: float) -> float | str:
    """A measured value as a record can hold it: JSON has no word for what is not a number."""
    return round(value, 6) if isfinite(value) else "not defined"
