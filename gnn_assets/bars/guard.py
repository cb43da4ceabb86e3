"""Stands before every request to a source: keeps to its rate, tries again within bounds, and measures.

Two bounds hold back a storm of further tries: `attempts` for one request, and a budget for the source. A source that
is down uses up the budget, and from then on each request is sent once, until good answers have filled it again.

References:
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (full jitter).
    gRPC proposal A6, "gRPC Retry Design", section on throttling (the budget; here a try is allowed down to the last
    token instead of down to half of them).
"""

import math
import random
import time
from collections.abc import Callable
from typing import TypeVar

from pyrate_limiter import Decision, InMemoryBucket, Rate, RateItem
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from gnn_assets.core.config import FailoverConfig, RateConfig
from gnn_assets.core.errors import NoData, Throttled, UnknownSymbol, Upstream
from gnn_assets.core.logs import get_log

Answer = TypeVar("Answer")

_log = get_log()
_MILLISECONDS = 1000


class RequestGuard:
    """The `Guard` of one source, for one thread.

    A Retry-After holds for every later request too, not only for the one that was refused, for at most
    `max_pause_seconds`; while more than `wait_max_seconds` of it are left, requests are refused here and not sent.

    Args:
        rate: how often the source may be asked; None for one on this machine, which is never held back or called slow.
        config: bounds of trying again, and what is slow.
        sleep: waits so many seconds.
        monotonic: seconds on a clock that nobody sets.
        uniform: a random number between two bounds.

    Attributes:
        requests: requests sent so far, further tries included.
        retries: further tries so far.
        slow_in_a_row: latest requests that took more than `slow_seconds`, whatever came of them; a fast good answer
            ends the row, a fast error does not.
        waited_seconds: time spent waiting, for the rate or before a further try.
    """

    def __init__(
        self,
        rate: RateConfig | None,
        config: FailoverConfig,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.requests = 0
        self.retries = 0
        self.slow_in_a_row = 0
        self.waited_seconds = 0.0
        self._config = config
        self._sleep = sleep
        self._monotonic = monotonic
        self._uniform = uniform
        self._tokens = float(config.retry_budget)
        self._quiet_until = -math.inf
        # The bucket alone: a `Limiter` around it would start a thread, and sleep by itself.
        self._bucket = None if rate is None else InMemoryBucket([_exactly(rate)])
        self._trying = Retrying(
            retry=retry_if_exception_type((Throttled, Upstream)),
            stop=self._is_last,
            wait=self._jitter,
            before_sleep=self._spend,
            sleep=self._wait,
            reraise=True,
        )

    def __call__(self, send: Callable[[], Answer]) -> Answer:
        """Sends when the rate allows; again, after a pause, on `Throttled` and `Upstream`.

        Args:
            send: sends one request and raises what is wrong with its answer.

        Raises:
            SourceError: what `send` raised last.
            Throttled: unsent, if the source wants to be left alone for longer than `wait_max_seconds`.
        """
        return self._trying(self._once, send)

    def _once(self, send: Callable[[], Answer]) -> Answer:
        self._await_quiet()
        self._await_rate()
        self.requests += 1
        started = self._monotonic()
        try:
            answer = send()
        except (NoData, UnknownSymbol):
            self._measure(started, good=True)  # the source is well; it has no such thing
            raise
        except Exception as error:
            self._measure(started, good=False)
            self._quiet_until = self._monotonic() + min(_told(error), self._config.max_pause_seconds)
            raise
        self._measure(started, good=True)
        return answer

    def _await_quiet(self) -> None:
        while (left := self._quiet_until - self._monotonic()) > 0:
            if left > self._config.wait_max_seconds:
                raise Throttled(
                    f"request not sent: the source asked to be left alone for another {left:.0f} s; "
                    "ask again then, or name another source.",
                    retry_after=left,
                )
            self._wait(left)

    def _await_rate(self) -> None:
        while self._bucket is not None:
            moment = int(self._monotonic() * _MILLISECONDS)
            self._bucket.leak(moment)  # forgets what has left the window; nothing else does
            decision = self._bucket.put_decision(RateItem("request", moment))
            assert isinstance(decision, Decision)  # a bucket in memory does not answer later
            if decision.allowed:
                return
            self._wait(max(decision.retry_after_ms or 0, 1) / _MILLISECONDS)

    def _measure(self, started: float, *, good: bool) -> None:
        if self._bucket is not None and self._monotonic() - started > self._config.slow_seconds:
            self.slow_in_a_row += 1
        elif good:
            self.slow_in_a_row = 0
        if good:
            self._tokens = min(self._tokens + self._config.retry_refill, self._config.retry_budget)

    def _is_last(self, state: RetryCallState) -> bool:
        return (
            state.attempt_number >= self._config.attempts
            or self._tokens < 1
            or _told(_error(state)) > self._config.wait_max_seconds
        )

    def _jitter(self, state: RetryCallState) -> float:
        """The pause before the next try; a Retry-After that is longer is kept to in `_await_quiet`."""
        ceiling = self._config.wait_initial_seconds * 2.0 ** (state.attempt_number - 1)
        return self._uniform(0.0, min(ceiling, self._config.wait_max_seconds))

    def _spend(self, state: RetryCallState) -> None:
        error, pause = _error(state), state.next_action.sleep if state.next_action else 0.0
        _log.warning("request_retried", attempt=state.attempt_number, pause_seconds=round(pause, 3), reason=str(error))
        self._tokens -= 1
        self.retries += 1

    def _wait(self, seconds: float) -> None:
        self._sleep(seconds)
        self.waited_seconds += seconds


def _exactly(rate: RateConfig) -> Rate:
    return Rate(rate.requests, math.ceil(rate.per_seconds * _MILLISECONDS))


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _told(error: BaseException | None) -> float:
    """Seconds the source wants to be left alone; 0 if it did not say."""
    return (error.retry_after or 0.0) if isinstance(error, Throttled | Upstream) else 0.0
