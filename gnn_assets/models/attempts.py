"""Faults that may pass by themselves, and how often work is tried again for them."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from gnn_assets.core.config import TrainingConfig
from gnn_assets.core.errors import DiskFull

Result = TypeVar("Result")


def may_pass(error: BaseException) -> bool:
    """Whether the same work may succeed a little later: no room on the disk or in memory."""
    exhausted = isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    return exhausted or isinstance(error, DiskFull | MemoryError)


def attempted(work: Callable[[], Result], *, settings: TrainingConfig) -> tuple[Result, int]:
    """Does some work, again after a pause if it ends in a fault that may pass.

    Args:
        work: is called anew for each try.
        settings: most tries, and the pause before the second, which doubles.

    Returns:
        The result, and the number of tries it took.

    Raises:
        Exception: what the last try raised; at once where no pause will help.
    """
    trying = Retrying(
        retry=retry_if_exception(may_pass),
        stop=stop_after_attempt(settings.attempts),
        wait=wait_exponential(multiplier=settings.retry_delay_seconds),
        reraise=True,
    )
    result = trying(work)
    return result, trying.statistics["attempt_number"]
