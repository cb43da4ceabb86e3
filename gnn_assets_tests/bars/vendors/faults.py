"""A scripted HTTP server on the loopback: what it answers is told beforehand, what it was asked is kept."""

import socket
import struct
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request that reached the server."""

    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


@dataclass(frozen=True)
class Reply:
    """One answer.

    Args:
        body: as sent.
        status: HTTP status.
        headers: further headers; ``Content-Type`` and ``Content-Length`` are set.
        delay: seconds to wait before the first byte.
        cut: ``reset``: the connection is reset instead; ``short``: it is closed after half of the promised body.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: Literal["reset", "short"] | None = None


class ScriptedServer:
    """Answers a path by its script first and by `answer` then; a context manager that stops by its own handle."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.told: list[Reply] = []
        self._scripts: dict[str, deque[Reply | None]] = {}
        self._standing: dict[str, Reply] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def answer(self, asked: Asked) -> Reply:
        """What is answered when nothing is scripted; a vendor's server overrides it."""
        return Reply(f"nothing at {asked.path}".encode(), status=404)

    def script(self, path: str, *replies: Reply | None) -> None:
        """The next requests whose target begins so get these replies, one each; None: what `answer` says."""
        with self._lock:
            self._scripts.setdefault(path, deque()).extend(replies)

    def always(self, path: str, reply: Reply) -> None:
        """Every request whose target begins so gets this reply, until `heal`."""
        with self._lock:
            self._standing[path] = reply

    def heal(self) -> None:
        """Forgets all scripts."""
        with self._lock:
            self._scripts.clear()
            self._standing.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def targets(self) -> list[str]:
        """Paths and queries asked for, in order."""
        return [asked.target for asked in self.asked]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _reply(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            reply = self._scripted(asked.target) or self.answer(asked)
            self.told.append(reply)
        return reply

    def _scripted(self, target: str) -> Reply | None:
        for path, replies in self._scripts.items():
            if replies and target.startswith(path):
                return replies.popleft()
        return next((reply for path, reply in self._standing.items() if target.startswith(path)), None)


class _Server(ThreadingHTTPServer):
    owner: ScriptedServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up waiting is part of the script."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        reply = owner._reply(Asked(self.path, dict(self.headers.items())))
        self.close_connection = True
        if reply.delay:
            owner._stopping.wait(reply.delay)
        if reply.cut == "reset":
            # Closing with a linger of zero sends a reset instead of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", "Connection": "close", **reply.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut == "short" else reply.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Tests read `asked`, not a log."""
