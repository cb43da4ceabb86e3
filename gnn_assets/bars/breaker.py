"""A circuit breaker: leaves a source alone that keeps failing, and probes now and then whether it is back.

It stands outside the retry: inside, every symbol of an outage would use up its tries before the next source is asked.
It is written here because pybreaker and purgatory both measure with the wall clock and know no slow answers.

References:
    M. Nygard, "Release It!", 2nd edition, 2018, section 5.2 (closed, open, half-open).
"""

import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from gnn_assets.core.config import FailoverConfig
from gnn_assets.core.errors import AccessRefused, BadSymbol, NoData, SourceError, Throttled, UnknownSymbol, Upstream

State = Literal["closed", "open", "half_open"]


class Breaker:
    """The circuit breaker of one source; asks come one after the other.

    closed: it is asked. open: it is not asked, until the pause is over. half_open: the next ask is a probe, of one
    symbol; a good and fast answer closes the circuit, anything else opens it for twice as long.

    Args:
        config: how much is too much, and how long the pauses are.
        monotonic: seconds on a clock that nobody sets.
    """

    def __init__(self, config: FailoverConfig, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._monotonic = monotonic
        self._failures = 0
        self._pause = config.pause_seconds
        self._open_until: float | None = None
        self._why = ""

    @property
    def state(self) -> State:
        """Whether the source may be asked: see the class."""
        if self._open_until is None:
            return "closed"
        return "open" if self._seconds_left() > 0 else "half_open"

    @property
    def reason(self) -> str:
        """Why nothing is asked, such as "circuit open for another 25 s (failed asks in a row: 5)"; empty if closed."""
        if self._open_until is None:
            return ""
        left = self._seconds_left()
        how_long = f"for another {left:.0f} s" if math.isfinite(left) else "for the rest of this run"
        return f"circuit open {how_long} ({self._why})"

    def record(self, fault: SourceError | None, *, slow_in_a_row: int = 0) -> None:
        """Takes note of how an ask ended.

        Args:
            fault: what the ask raised; None if it was answered. That there is no bar or no such symbol is an answer,
                a refused symbol was never asked for, and a refused key opens the circuit for the rest of the process.
            slow_in_a_row: latest requests that were slow, this ask's included.
        """
        if isinstance(fault, BadSymbol):
            return
        failed = not (fault is None or isinstance(fault, NoData | UnknownSymbol))
        self._failures = self._failures + 1 if failed else 0
        probed = self._open_until is not None
        if isinstance(fault, AccessRefused):
            self._open_until, self._why = math.inf, "access refused"
        elif failed and (probed or self._failures >= self._config.breaker_failures):
            told = fault.retry_after if isinstance(fault, Throttled | Upstream) else None
            self._open(f"failed asks in a row: {self._failures}", least=told or 0.0)
        elif slow_in_a_row >= (1 if probed else self._config.breaker_slow_answers):
            self._open(f"answers in a row slower than {self._config.slow_seconds:g} s: {slow_in_a_row}")
        elif not failed:
            self._open_until, self._why, self._pause = None, "", self._config.pause_seconds

    def to_dict(self, *, now: datetime) -> dict[str, Any]:
        """The state as plain data, for people and for the next process.

        Args:
            now: the machine's moment, aware UTC; a clock that stands still would never let a pause run down.

        Returns:
            ``state``, ``reason`` (as the properties), ``why`` (it opened), ``failures`` (in a row), ``pause_seconds``
            (of the next opening), ``open_until`` (ISO 8601, UTC; None if closed, or open for the rest of the process).
        """
        lasting = self._open_until is None or math.isinf(self._open_until)
        until = None if lasting else (now + timedelta(seconds=self._seconds_left())).isoformat()
        return {
            "state": self.state,
            "reason": self.reason,
            "why": self._why,
            "failures": self._failures,
            "pause_seconds": self._pause,
            "open_until": until,
        }

    @classmethod
    def from_dict(
        cls,
        state: Mapping[str, Any],
        config: FailoverConfig,
        *,
        now: datetime,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Self:
        """The breaker of a process before; one that was open for the rest of it is closed, its key may be right now.

        Args:
            state: what `to_dict` said.
            config: as for the class.
            now: the machine's moment, aware UTC. However wrong it is, the pause left is at most `max_pause_seconds`.
            monotonic: as for the class.
        """
        breaker = cls(config, monotonic=monotonic)
        breaker._failures = state["failures"]
        breaker._pause = min(max(state["pause_seconds"], config.pause_seconds), config.max_pause_seconds)
        if state["open_until"] is not None:
            left = (datetime.fromisoformat(state["open_until"]) - now).total_seconds()
            breaker._open_until = monotonic() + min(max(left, 0.0), config.max_pause_seconds)
            breaker._why = state["why"]
        return breaker

    def _open(self, why: str, *, least: float = 0.0) -> None:
        longest = self._config.max_pause_seconds
        self._open_until = self._monotonic() + min(max(self._pause, least), longest)
        self._pause = min(self._pause * 2, longest)
        self._why = why

    def _seconds_left(self) -> float:
        return max((self._open_until or 0.0) - self._monotonic(), 0.0)
