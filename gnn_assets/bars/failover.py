"""Asks the sources of a chain, one after the other, until each symbol is served or has no source left.

Nothing here knows how bars are stored or who waits for them: each answer is handed on before the next ask. A source
whose circuit is open is passed over and may come back; nobody waits for it.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from traceback import extract_tb

import polars as pl
from polars.exceptions import PanicException

from gnn_assets.bars.breaker import Breaker
from gnn_assets.bars.fetched import Ask, Fetched, Source, no_bars
from gnn_assets.bars.guard import RequestGuard
from gnn_assets.core.errors import GnnAssetsError, Malformed, NoData, SourceError, Upstream
from gnn_assets.core.logs import about, get_log

# Asks that the present rate is taken over: enough to be calm, few enough to follow a change of source.
_log = get_log()
_SYMBOLS_LOGGED = 20  # of one ask
_ASKS_OF_RATE = 30
# From so many of a unit on, a time is told in the next larger one.
_TELL_LARGER = 90


@dataclass(frozen=True)
class Need:
    """What is missing of a symbol.

    Args:
        symbol: its name in the universe; one need a symbol.
        exchange: ISO 10383 code.
        ranges: source → first and last session to ask it for. They differ, because what one source has stored
            another has not. A source that is not in here is not asked, whatever becomes of the others.
    """

    symbol: str
    exchange: str
    ranges: Mapping[str, tuple[date, date]]


@dataclass(frozen=True)
class Opened:
    """A source of the chain, with what stands between it and us.

    Args:
        name: of its plug-in.
        source: the source, which sends its requests through `guard`.
        guard: counts and measures its requests.
        breaker: says whether it may be asked.
    """

    name: str
    source: Source
    guard: RequestGuard
    breaker: Breaker


@dataclass(frozen=True)
class Answered:
    """An answer with its origin.

    Args:
        source: name of the source.
        basis: what its prices are adjusted for.
        ask: what it was asked.
        fetched: what it answered.
        fetched_at: moment the answer was there, aware UTC.
    """

    source: str
    basis: str
    ask: Ask
    fetched: Fetched
    fetched_at: datetime


@dataclass(frozen=True)
class Gathered:
    """How the asking went.

    Args:
        failures: symbol that no source served → what each source of the chain had to say, joined by "; ".
        served: symbol → source that gave its bars; of several the one that had a good close of the newest session
            wanted.
        requests: source → requests sent, further tries included.
    """

    failures: Mapping[str, str]
    served: Mapping[str, str]
    requests: Mapping[str, int]


def gather(
    needs: Sequence[Need],
    *,
    chain: Sequence[Opened],
    now: Callable[[], datetime],
    on_answer: Callable[[Answered], None],
    on_refusal: Callable[[str, Malformed], None],
    progress: Callable[[int, int, str], None],
    monotonic: Callable[[], float] = time.monotonic,
) -> Gathered:
    """Asks for what is missing: each need goes to the first source of the chain that may be asked, then to the next.

    A need whose other sources are all shut off stays behind while anything else can be asked, and fails after that.

    Args:
        needs: in the order of their priority.
        chain: sources, the preferred one first.
        now: tells the moment, aware UTC.
        on_answer: takes an answer, and has made it durable when it returns.
        on_refusal: takes the name of a source and its answer that was none.
        progress: takes symbols done, symbols in all, and a sentence for people.
        monotonic: seconds on a clock that nobody sets.

    Raises:
        Exception: what `on_answer`, `on_refusal` or `progress` raise. What a source raises becomes a reason.
    """
    sent_before = {opened.name: opened.guard.requests for opened in chain}
    work = _Work(needs, chain)
    pace = _Pace(len(needs), monotonic)
    while turn := work.next_turn():
        opened, ask = turn
        outcome = _outcome(opened, ask)
        if isinstance(outcome, Fetched):
            on_answer(Answered(opened.name, opened.source.basis, ask, outcome, now()))
        elif isinstance(outcome, Malformed):
            on_refusal(opened.name, outcome)
        work.settle(opened.name, ask, outcome)
        progress(work.done, len(needs), pace.told(work.done, opened.name))
    failures = work.failures()
    if work.done < len(needs):
        progress(len(needs), len(needs), f"{len(failures)} of {len(needs)} symbols failed, no source may be asked now")
    return Gathered(
        failures=failures,
        served=work.served,
        requests={opened.name: opened.guard.requests - sent_before[opened.name] for opened in chain},
    )


def usable(bars: pl.DataFrame) -> pl.DataFrame:
    """The bars with a close that can be a price; the row rules refuse all others.

    Args:
        bars: `FETCHED_COLUMNS`, as a source told them.
    """
    return bars.filter(pl.col("close").is_finite(), pl.col("close") > 0)


def _outcome(opened: Opened, ask: Ask) -> Fetched | SourceError:
    """The answer, or what went wrong with the whole ask; the breaker takes note, and the log."""
    with about(source=opened.name, symbol=",".join(ask.symbols[:_SYMBOLS_LOGGED])):
        state = opened.breaker.state
        outcome = _asked(opened, ask)
        if isinstance(outcome, SourceError):
            _log.warning("request_failed", symbols=len(ask.symbols), kind=type(outcome).__name__, reason=str(outcome))
        elif outcome.failures:
            told = {symbol: str(fault) for symbol, fault in list(outcome.failures.items())[:_SYMBOLS_LOGGED]}
            _log.warning("symbols_failed", symbols=len(outcome.failures), reasons=told)
        if opened.breaker.state != state:
            _log.warning("breaker_changed", before=state, now=opened.breaker.state, reason=opened.breaker.reason)
    return outcome


def _asked(opened: Opened, ask: Ask) -> Fetched | SourceError:
    sent_before = opened.guard.requests
    try:
        outcome = opened.source.fetch(ask)
    except SourceError as error:
        outcome = error
    except (Exception, PanicException) as error:  # noqa: BLE001 - a vendor's client may raise anything
        outcome = _of_client(opened.name, error)
    # An ask that sent nothing, such as one answered from a cache, says nothing about how fast the source is.
    slow = opened.guard.slow_in_a_row if opened.guard.requests > sent_before else 0
    opened.breaker.record(outcome if isinstance(outcome, SourceError) else None, slow_in_a_row=slow)
    return outcome


def _of_client(name: str, error: BaseException) -> Upstream:
    """An exception nobody expected, named by its type and place: its text may hold an address with a key in it."""
    if isinstance(error, GnnAssetsError):
        fault = Upstream(str(error))
    else:
        place = extract_tb(error.__traceback__)[-1]
        fault = Upstream.of(
            f"{name}, in its client",
            expected="an answer",
            was=f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}",
            do="report it if it comes again",
        )
    fault.__cause__ = error
    return fault


class _Work:
    """Which source each need may still be put to, and what came of it."""

    def __init__(self, needs: Sequence[Need], chain: Sequence[Opened]) -> None:
        self.served: dict[str, str] = {}
        self._chain = chain
        self._place = {need.symbol: place for place, need in enumerate(needs)}
        self._untried = {
            opened.name: {need.symbol: need for need in needs if opened.name in need.ranges} for opened in chain
        }
        self._reasons: dict[str, dict[str, str]] = {need.symbol: {} for need in needs}
        self._out_of_sources = sum(not any(need.symbol in left for left in self._untried.values()) for need in needs)

    @property
    def done(self) -> int:
        """Symbols that are served or have no source left."""
        return len(self.served) + self._out_of_sources

    def next_turn(self) -> tuple[Opened, Ask] | None:
        """The next ask, for the first need that any source may be asked about; None if there is none."""
        able = [opened for opened in self._chain if self._untried[opened.name] and opened.breaker.state != "open"]
        if not able:
            return None
        symbol = min((self._first(opened, able) for opened in able), key=self._place.__getitem__)
        opened = next(opened for opened in able if symbol in self._untried[opened.name])
        return opened, self._ask(opened, self._untried[opened.name][symbol])

    def _first(self, opened: Opened, able: Sequence[Opened]) -> str:
        """The symbol to ask the source about: the first, but for a probe one that is not lost if the probe fails."""
        untried = self._untried[opened.name]
        sure = [self._untried[other.name] for other in able if other.breaker.state == "closed"]
        return next((symbol for symbol in untried if any(symbol in left for left in sure)), next(iter(untried)))

    def _ask(self, opened: Opened, need: Need) -> Ask:
        """The need and as many of its like as the source wants at once; a probe is of one symbol."""
        wanted = need.ranges[opened.name]
        if opened.breaker.state != "closed":
            return Ask((need.symbol,), need.exchange, *wanted)
        alike = tuple(
            other.symbol
            for other in self._untried[opened.name].values()
            if other.exchange == need.exchange and other.ranges[opened.name] == wanted
        )
        ask = Ask(alike, need.exchange, *wanted)
        return replace(ask, symbols=alike[: opened.source.symbols_per_ask(ask)])

    def settle(self, name: str, ask: Ask, outcome: Fetched | SourceError) -> None:
        """Takes note of an ask's outcome, symbol by symbol."""
        told = outcome.bars if isinstance(outcome, Fetched) else no_bars()
        good = usable(told)
        given = set(good["symbol"])
        newest = set(good.filter(pl.col("session") == ask.last)["symbol"])
        for symbol in ask.symbols:
            fault = outcome.failures.get(symbol) if isinstance(outcome, Fetched) else outcome
            if fault is None and symbol not in given:
                was = "bars without one good close" if symbol in told["symbol"] else "neither"
                fault = NoData.of(symbol, expected="bars, or why there are none", was=was, do="name a source")
            self._untried[name].pop(symbol)
            if fault is None and symbol in newest:
                self.served[symbol] = name
                for left in self._untried.values():
                    left.pop(symbol, None)
            elif fault is None:
                # Late, no trade, or dirt: what it gave is kept, and another source may have the rest.
                self.served.setdefault(symbol, name)
            else:
                self._reasons[symbol][name] = _sentence(name, str(fault))
                lost = symbol not in self.served and not any(symbol in left for left in self._untried.values())
                self._out_of_sources += lost

    def failures(self) -> dict[str, str]:
        """Symbols that nobody served → why, source by source, in the order of the needs."""
        return {
            symbol: "; ".join(self._reason(symbol, opened) for opened in self._chain)
            for symbol in self._place
            if symbol not in self.served
        }

    def _reason(self, symbol: str, opened: Opened) -> str:
        if symbol in self._untried[opened.name]:
            return _sentence(opened.name, opened.breaker.reason)
        return self._reasons[symbol].get(opened.name, f"{opened.name}: there was nothing to ask it")


def _sentence(name: str, text: str) -> str:
    """The text, with the source's name before it unless it begins with that, and without a full stop."""
    return (text if text.startswith(name) else f"{name}: {text}").rstrip(".")


class _Pace:
    """How fast it goes, and when it will be over."""

    def __init__(self, total: int, monotonic: Callable[[], float]) -> None:
        self._total = total
        self._monotonic = monotonic
        self._marks = deque([(monotonic(), 0)], maxlen=_ASKS_OF_RATE + 1)

    def told(self, done: int, source: str) -> str:
        """A sentence such as "812 of 3000 symbols, 3.1 a second, 12 min left, from yahoo"."""
        self._marks.append((self._monotonic(), done))
        (then, had), (moment, _) = self._marks[0], self._marks[-1]
        parts = [f"{done} of {self._total} symbols"]
        if done > had and moment > then:
            rate = (done - had) / (moment - then)
            parts.append(f"{rate:.1f} a second")
            if done < self._total:
                parts.append(f"{_duration((self._total - done) / rate)} left")
        return ", ".join([*parts, f"from {source}"])


def _duration(seconds: float) -> str:
    if seconds < _TELL_LARGER:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < _TELL_LARGER else f"{minutes / 60:.1f} h"
