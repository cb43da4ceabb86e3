"""A CONNECT proxy that speaks TLS for every host and hands the request on in plain HTTP to a server of the test's."""

import contextlib
import socket
import socketserver
import ssl
import struct
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trustme

_LINGER_ZERO = struct.pack("ii", 1, 0)


class TlsProxy:
    """What a client with `environment` takes for the hosts it asks; a context manager that stops by its own handle.

    Args:
        upstream: port on the loopback that answers the requests; each connection carries one GET.
        hosts: names its certificate holds for, such as ``*.yahoo.com``.
    """

    def __init__(self, upstream: int, *hosts: str) -> None:
        self.upstream = upstream
        self.connected: list[str] = []
        self.cuts = 0
        authority = trustme.CA()
        self._folder = tempfile.TemporaryDirectory()
        self.ca_file = Path(self._folder.name) / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["http/1.1"])
        authority.issue_cert(*hosts).configure_cert(self.context)
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def cut_handshakes(self, times: int) -> None:
        """The next connections are reset where TLS would begin."""
        self.cuts = times

    def environment(self) -> dict[str, str]:
        """The variables by which a client of the real world finds the proxy and trusts it."""
        url = "http://{}:{}".format(*self._server.server_address[:2])
        trusted = dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"), str(self.ca_file))
        # curl prefers the small letters, and a machine may have either.
        proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), url)
        return {**trusted, **proxies, **dict.fromkeys(("NO_PROXY", "no_proxy"), "")}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._folder.cleanup()


class _Server(socketserver.ThreadingTCPServer):
    owner: TlsProxy
    # A connection may still wait for a slow answer that nobody wants any more.
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is part of the script."""


class _Connection(socketserver.BaseRequestHandler):
    request: socket.socket
    server: _Server  # ty: ignore[incompatible-mutable-override] - socketserver's own way to say what serves it

    def handle(self) -> None:
        owner = self.server.owner
        head = _head(self.request)
        owner.connected.append(head.split()[1].decode())
        self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if owner.cuts:
            owner.cuts -= 1
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self.request.close()
            return
        with owner.context.wrap_socket(self.request, server_side=True) as client:
            _forward(client, owner.upstream)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            self.request.close()


def _forward(client: ssl.SSLSocket, upstream: int) -> None:
    """One request to the server behind, and its answer back, with the same end."""
    request = _head(client)
    with socket.create_connection(("127.0.0.1", upstream)) as behind:
        behind.sendall(request)
        try:
            while part := behind.recv(65536):
                client.sendall(part)
        except ConnectionResetError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)


def _head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError
        head += byte
    return head
