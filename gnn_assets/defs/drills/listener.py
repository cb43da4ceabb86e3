"""Where a drill's alerts arrive: a webhook on this machine, which keeps what it was sent."""

import json
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Heard:
    """A message as it arrived.

    Args:
        title: first line.
        body: the others.
    """

    title: str
    body: str

    @property
    def text(self) -> str:
        """All of it."""
        return f"{self.title}\n{self.body}"


class Listener:
    """A channel that a drill can close and open again; its port stays the same."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self._server: _Server | None = None
        self._port = 0
        self.open()

    @property
    def address(self) -> str:
        """As `GNN_ASSETS_ALERTS` wants it."""
        return f"json://{HOST}:{self._port}/"

    def open(self) -> None:
        """Listens; whoever listens already goes on."""
        if self._server is None:
            self._server = _Server((HOST, self._port), _Handler)
            self._server.heard = self.heard
            self._port = self._server.server_address[1]
            Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """From now on connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    heard: list[Heard]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Keeps the message and says that it was taken."""
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, _Server)
        self.server.heard.append(Heard(title=told["title"], body=told["message"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Says nothing: what arrived is shown by the drill."""
