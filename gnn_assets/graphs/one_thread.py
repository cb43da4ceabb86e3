"""Matrices on one thread, whoever else in the process works with matrices at the same time."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from threading import Lock

from threadpoolctl import OpenBLASController, get_cached_controller


class _Shared:
    """What those who are inside at once share."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limit = ExitStack()

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                _take_over()
                self._limit.enter_context(get_cached_controller().limit(limits=1, user_api="blas"))
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _take_over()
                self._limit.close()
                _take_over()


_SHARED = _Shared()


@contextmanager
def one_thread() -> Generator[None]:
    """Decompositions and products of matrices on one thread: how they are divided changes their last bits.

    The number of threads is the process's, not the caller's. Of those who are inside at once the first sets it and the
    last puts it back, so that nobody's matrices are divided, nor one thread left to the process, because another ended.
    """
    _SHARED.enter()
    try:
        yield
    finally:
        _SHARED.leave()


def _take_over() -> None:
    """Whichever thread set a number last, the next one may: what all others ask for would be passed over unsaid."""
    OpenBLASController.clear_controlling_thread(force=True)
