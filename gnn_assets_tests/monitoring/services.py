"""Slack, Telegram, PagerDuty, Opsgenie and any webhook on the loopback: a proxy that speaks TLS for every host.

Libraries find it as they find any proxy, by the environment; nothing in them is replaced. It keeps what it was asked,
and answers what a test says.
"""

import contextlib
import json
import socket
import socketserver
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import trustme


@dataclass(frozen=True)
class Request:
    host: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float  # seconds since the epoch

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b'{"ok": true}'
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0  # seconds between two bytes


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


class Services(socketserver.ThreadingTCPServer):
    """What answers; a context manager that stops by its own handle."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.asked: list[Request] = []
        # Host → answer; "" for every other.
        self.answers: dict[str, Answer] = {"hooks.slack.com": Answer(body=b"ok")}
        self._folder = tempfile.TemporaryDirectory()
        self.ca_file = Path(self._folder.name) / "ca.pem"
        _authority().cert_pem.write_to_path(str(self.ca_file))
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def environment(self) -> dict[str, str]:
        """The variables by which a client of the real world finds the proxy and trusts it."""
        trusted = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(self.ca_file))
        proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), f"http://127.0.0.1:{self.port}")
        return {**trusted, **proxies, "NO_PROXY": "", "no_proxy": ""}

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
        self._folder.cleanup()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up on a slow answer is part of the test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Services
    host = ""

    def do_CONNECT(self) -> None:
        self.host = self.path.partition(":")[0]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _certificate(self.host).configure_cert(context)
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def do_POST(self) -> None:
        host = self.host or self.headers["Host"].partition(":")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(Request(host, self.command, self.path, dict(self.headers.items()), body, time.time()))
        answer = self.server.answers.get(host) or self.server.answers.get("", Answer())
        time.sleep(answer.delay)
        head = [f"HTTP/1.1 {answer.status} .", f"Content-Length: {len(answer.body)}", "Connection: close"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        for byte in _pieces("\r\n".join([*head, "", ""]).encode() + answer.body, drip=bool(answer.drip)):
            self.wfile.write(byte)
            time.sleep(answer.drip)
        self.close_connection = True

    do_GET = do_POST

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.connection.close()

    def log_message(self, *_told: Any) -> None:
        """Says nothing."""


def _pieces(data: bytes, *, drip: bool) -> Iterator[bytes]:
    if not drip:
        yield data
        return
    for place in range(len(data)):
        yield data[place : place + 1]


@cache
def _certificate(host: str) -> trustme.LeafCert:
    return _authority().issue_cert(host)


@contextmanager
def services(monkeypatch: Any = None, **given: Any) -> Iterator[Services]:
    """Services that this process finds by its environment."""
    made = Services(**given)
    try:
        if monkeypatch is not None:
            for name, value in made.environment().items():
                monkeypatch.setenv(name, value)
        yield made
    finally:
        made.close()


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Mails:
    """A mail server's handler: keeps every mail."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], bytes]] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.mails.append((envelope.rcpt_tos, envelope.content))
        return "250 taken"


@contextmanager
def mail_server(answer: Callable[[], Any] = Mails) -> Iterator[tuple[int, Any]]:
    """A mail server: its port, and the handler that keeps what it took."""
    from aiosmtpd.controller import Controller

    handler = answer()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield controller.port, handler
    finally:
        controller.stop()
