"""What happens, as JSON lines: one event a line, with the ids of whatever it happened in.

    from gnn_assets.core.logs import get_log
    log = get_log()
    log.info("stage_published", seconds=3.2)

    {"at": "2022-12-28T21:30:00.1+00:00", "level": "info", "event": "stage_published", "seconds": 3.2,
     "run": "8c0f...", "asset": "forecasts", "session": "2022-12-28", "version": "ab12..."}

Whoever begins something, a stage, a command or a sensor, says where its lines go and what they are about, by `logging_to`;
until then nothing is kept. A log never stops the platform: what cannot be written is told once on stderr.
"""

import fcntl
import json
import logging
import math
import os
import sys
from collections import deque
from collections.abc import Generator, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import structlog
from structlog.contextvars import (
    bind_contextvars,
    bound_contextvars,
    clear_contextvars,
    get_contextvars,
    merge_contextvars,
)
from structlog.tracebacks import ExceptionDictTransformer

from gnn_assets.core.clock import LiveClock

_HIDDEN = "***"
_CLOCK = LiveClock()
# Levels that have a name; a library's own ones count as the nearest below.
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_FRAMES = 20  # newest frames of a traceback that are kept


@dataclass(frozen=True)
class LogFile:
    """A file of JSON lines that several processes append to.

    Args:
        path: the file; those moved aside lie beside it, `.1` the newest.
        largest: size at which it is moved aside (bytes).
        kept: how many of those moved aside are kept.
        secrets: texts that no line may hold.
    """

    path: Path
    largest: int
    kept: int
    secrets: tuple[str, ...] = ()

    def write(self, line: str) -> None:
        """Appends one line, whole or not at all as far as the disk allows; never raises what a disk may say."""
        try:
            # What some vendor's text holds must not stop whoever logs it.
            self._append(f"{self._redacted(line)}\n".encode(errors="backslashreplace"))
        except OSError as error:
            _say_once(self.path, error)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line that is kept, oldest first; what a full disk cut short is passed over."""
        for number in range(self.kept, -1, -1):
            path = self._aside(number) if number else self.path
            with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    with suppress(json.JSONDecodeError):
                        yield json.loads(line)

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._is_full(len(line)):
            self._move_aside(len(line))
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            # A line that a full disk cut short must not take the next one with it.
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            whole = b"\n" + line if torn else line
            # One write a line: the kernel lets no other process in between.
            if os.write(descriptor, whole) < len(whole):
                raise OSError("no room for the whole line")
        finally:
            os.close(descriptor)

    def _is_full(self, need: int) -> bool:
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return False
        return size > 0 and size + need > self.largest

    def _move_aside(self, need: int) -> None:
        """Renames under a lock; whoever waited for it finds a short file, and leaves it."""
        with (self.path.parent / f".{self.path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._is_full(need):
                return
            for number in range(self.kept, 1, -1):
                with suppress(FileNotFoundError):
                    self._aside(number - 1).replace(self._aside(number))
            self.path.replace(self._aside(1))

    def _aside(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _redacted(self, line: str) -> str:
        for secret in self.secrets:
            # As it is, as JSON spells it, and as an address does.
            for spelt in {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}:
                line = line.replace(spelt, _HIDDEN)
        return line


_FILE: ContextVar[LogFile | None] = ContextVar("gnn_assets_log_file", default=None)
_said: set[Path] = set()


def get_log() -> Any:
    """The log, with structlog's methods: `info`, `warning`, `error`, each with an event and what there is to say."""
    return _LOG


@contextmanager
def logging_to(file: LogFile, **ids: str) -> Generator[None]:
    """Has everything that is logged inside go to a file, with these ids on each line; libraries' warnings as well.

    Args:
        file: where it goes.
        ids: such as run, asset and session; those of an outer block stay.
    """
    root = logging.getLogger()
    if _LIBRARIES not in root.handlers:
        root.addHandler(_LIBRARIES)
    outer_file, outer_ids = _FILE.get(), get_contextvars()
    _FILE.set(file)
    bind_contextvars(**ids)
    try:
        yield
    finally:
        # Set and not reset by token: a generator may be closed in another context than it began in.
        _FILE.set(outer_file)
        clear_contextvars()
        bind_contextvars(**outer_ids)


def add_ids(**ids: str) -> None:
    """Has the rest of the block that is logged say more about itself, such as the version once it is published."""
    bind_contextvars(**ids)


@contextmanager
def about(**ids: str) -> Generator[None]:
    """Has what is logged inside say what it is about, such as the source and the symbols of a request."""
    with bound_contextvars(**ids):
        yield


def newest(file: LogFile, *, last: int, ids: Mapping[str, str]) -> list[dict[str, Any]]:
    """The newest lines of a log, oldest first.

    Args:
        file: the log.
        last: how many at most.
        ids: name → how the line's value begins; a line without it is left out.
    """
    wanted = (line for line in file.lines() if all(str(line.get(name, "")).startswith(ids[name]) for name in ids))
    return list(deque(wanted, maxlen=last))


class _Sink:
    """Where structlog puts a finished line."""

    def msg(self, line: str) -> None:
        """Writes it to the file of whatever is going on."""
        file = _FILE.get()
        if file is not None:
            file.write(line)

    debug = info = warning = error = critical = msg


class _Libraries(logging.Handler):
    """What libraries say by Python's own logging, from warnings up."""

    def emit(self, record: logging.LogRecord) -> None:
        """Passes it on as a line like any other; a record that cannot be worded is Python's to complain of."""
        level = max(known for known in _LEVELS if known <= max(record.levelno, _LEVELS[0]))
        try:
            told = {"logger": record.name, "message": record.getMessage(), "exc_info": record.exc_info or None}
            _LOG.log(level, "library", **told)
        except Exception:  # noqa: BLE001 - whatever a library hands over, logging it stops nobody
            self.handleError(record)


def _only_with_a_file(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if _FILE.get() is None:
        raise structlog.DropEvent
    return event


def _dated(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """By the machine's clock, whatever the platform's says: a log tells when it happened to whoever looks."""
    return {"at": _CLOCK.now().isoformat(), "level": method, "event": event.pop("event"), **event}


def _as_json(event: Any, **_options: Any) -> str:
    return json.dumps(_plain(event), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """JSON data: what is no number is said in words, as JSON has none for it, and so is whatever else there may be."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _say_once(path: Path, error: OSError, stderr: TextIO | None = None) -> None:
    if path not in _said:
        _said.add(path)
        told = f"gnn-assets: log {path}: expected to be written, was refused ({error}); what follows is not logged.\n"
        (stderr or sys.stderr).write(told)


_LOG = structlog.wrap_logger(
    _Sink(),
    processors=[
        _only_with_a_file,
        merge_contextvars,
        _dated,
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False, max_frames=_FRAMES)),
        structlog.processors.JSONRenderer(serializer=_as_json),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
)
_LIBRARIES = _Libraries(logging.WARNING)
