"""Time moved by hand, sources that follow a script, and a server that fails for real."""

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl

from gnn_assets.bars.breaker import Breaker
from gnn_assets.bars.failover import Opened
from gnn_assets.bars.fetched import FETCHED_COLUMNS, Ask, Fetched
from gnn_assets.bars.guard import RequestGuard
from gnn_assets.bars.wire import refuse_status
from gnn_assets.core.config import FailoverConfig, RateConfig, build_config
from gnn_assets.core.errors import SourceError, Upstream

FAILOVER = build_config("live").failover
FIRST, LAST = date(2024, 1, 2), date(2024, 1, 12)
START = datetime(2024, 1, 13, 12, tzinfo=UTC)


def failover(**changed: float) -> FailoverConfig:
    return FAILOVER.model_copy(update=changed)


def rate(requests: int, per_seconds: float) -> RateConfig:
    return RateConfig(requests=requests, per_seconds=per_seconds, timeout_seconds=10)


class HandClock:
    """A monotonic clock that only sleeping and `pass_by` move on, and a wall clock that may be stepped."""

    def __init__(self, start: float = 1000.0) -> None:
        self.moment = start
        self.sleeps: list[float] = []
        self.stepped = timedelta()

    def monotonic(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.pass_by(seconds)

    def pass_by(self, seconds: float) -> None:
        assert seconds >= 0
        self.moment += seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.moment) + self.stepped


def bars_of(symbols: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {"symbol": list(symbols), "session": [LAST] * len(symbols), "close": [10.0] * len(symbols)},
        schema_overrides=dict(FETCHED_COLUMNS),
    ).select(
        pl.col(name) if name in {"symbol", "session", "close"} else pl.lit(None, pl.Float64).alias(name)
        for name in FETCHED_COLUMNS
    )


class ScriptedSource:
    """A source of one request an ask; `act` says, by the asked symbols, who fails, or raises for all of them."""

    basis = "raw"

    def __init__(
        self,
        guard: RequestGuard,
        clock: HandClock,
        act: Callable[[Ask], dict[str, SourceError] | None] = lambda _: None,
        *,
        at_once: int = 1,
        seconds: float = 0.1,
    ) -> None:
        self.guard, self.clock, self.act, self.at_once, self.seconds = guard, clock, act, at_once, seconds
        self.asks: list[tuple[float, Ask]] = []
        self.hits: list[float] = []

    def symbols_per_ask(self, _: Ask) -> int:
        return self.at_once

    def fetch(self, ask: Ask) -> Fetched:
        self.asks.append((self.clock.moment, ask))
        failures = self.guard(lambda: self._send(ask)) or {}
        return Fetched(bars_of([symbol for symbol in ask.symbols if symbol not in failures]), failures, "hash")

    def _send(self, ask: Ask) -> dict[str, SourceError] | None:
        self.hits.append(self.clock.moment)
        self.clock.pass_by(self.seconds)
        return self.act(ask)


def opened(
    name: str,
    clock: HandClock,
    act: Callable[[Ask], dict[str, SourceError] | None] = lambda _: None,
    *,
    allowed: RateConfig | None = None,
    config: FailoverConfig = FAILOVER,
    **how: float,
) -> Opened:
    """A scripted source in the chain, with real guard and breaker on the hand clock."""
    guard = RequestGuard(allowed or rate(1000, 1), config, sleep=clock.sleep, monotonic=clock.monotonic)
    source = ScriptedSource(guard, clock, act, **how)
    return Opened(name, source, guard, Breaker(config, monotonic=clock.monotonic))


class WebSource:
    """A source that sends one real request a symbol to a port of this machine."""

    basis = "raw"

    def __init__(self, name: str, port: int, guard: RequestGuard) -> None:
        self.name, self.port, self.guard = name, port, guard

    def symbols_per_ask(self, _: Ask) -> int:
        return 1

    def fetch(self, ask: Ask) -> Fetched:
        (symbol,) = ask.symbols
        self.guard(lambda: self._send(symbol))
        return Fetched(bars_of(ask.symbols), {}, "hash")

    def _send(self, symbol: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", f"/{symbol}")
            answer = connection.getresponse()
            payload = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Upstream(
                f"{self.name}, asked for {symbol}: expected an answer, was {type(error).__name__}."
            ) from error
        finally:
            connection.close()
        refuse_status(answer.status, dict(answer.headers), source=self.name, asked=symbol, now=START)
        return payload


@contextmanager
def server(act: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[tuple[int, list[str]]]:
    """A server on this machine; `act` answers the n-th request (from 1) as it likes. Gives port and paths asked."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            act(self, len(paths))

        def log_message(self, *_: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web.server_address[1], paths
    finally:
        web.shutdown()
        web.server_close()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Cuts the connection with a RST."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
