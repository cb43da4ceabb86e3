"""Work that shares nothing, done at the same time, told of on one thread."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import TypeVar

from gnn_assets.models.fitted import Progress

Result = TypeVar("Result")


def side_by_side(jobs: Sequence[Callable[[Progress], Result]], *, workers: int, progress: Progress) -> list[Result]:
    """Runs every job in a thread, so many at once; the others wait for their turn.

    Compiled programs run outside Python's lock, so two small networks fill two cores. If a job fails, or the caller is
    interrupted, the others end at their next report, and those that wait never start: the thread in which a job failed
    says so before it takes the next one.

    Args:
        jobs: each is given where to report its own share, 0 to 1, and a line for people.
        workers: most jobs at once.
        progress: called on the caller's thread with the mean share of all jobs and the line.

    Returns:
        The jobs' results, in their order.

    Raises:
        Exception: what the first failing job raised.
    """
    news: SimpleQueue[tuple[int, float, str] | None] = SimpleQueue()
    stopped = Event()

    def run(number: int, job: Callable[[Progress], Result]) -> Result:
        def report(share: float, text: str) -> None:
            if stopped.is_set():
                raise CancelledError
            news.put((number, share, text))

        if stopped.is_set():
            raise CancelledError
        try:
            return job(report)
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(run, number, job) for number, job in enumerate(jobs)]
        for future in futures:
            future.add_done_callback(lambda _: news.put(None))
        try:
            shares = dict.fromkeys(range(len(jobs)), 0.0)
            while not all(future.done() for future in futures) or not news.empty():
                told = news.get()
                if told is None:
                    _raise_first([future.exception() for future in futures if future.done()])
                    continue
                number, shares[number], text = told
                progress(sum(shares.values()) / len(jobs), text)
        finally:
            stopped.set()
            for future in futures:
                future.cancel()
    return [future.result() for future in futures]


def _raise_first(errors: Sequence[BaseException | None]) -> None:
    for error in errors:
        if error is not None and not isinstance(error, CancelledError):  # ended because another one failed
            raise error
