"""Only public addresses: a guard that looks where a connection really goes, at the moment it is made.

A host's name proves nothing: it may resolve to the machine itself, to another address the second time it is asked, or
be a number in disguise. So the guard hears every `connect` of a thread through the interpreter's audit events, with the
address in it, and refuses what is not global; a redirect or another resolution of the name comes by there as well. It
also ends a conversation that takes too long: a timeout of a socket counts anew with each byte.
"""

import ipaddress
import socket
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

_CONNECT, _LOOKUP = "socket.connect", "socket.getaddrinfo"
# IPv4 inside of IPv6, as a gateway would translate it (RFC 6052); the others ipaddress knows.
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
# Seconds that a conversation which was cut short is given to notice.
_NOTICE = 1.0
_HERE = threading.local()


class NotPublic(ConnectionRefusedError):
    """The address is not a public one."""


class Guard:
    """What the connections of one thread may do.

    Args:
        private_hosts: names that may have an address which is not public.
    """

    def __init__(self, private_hosts: Collection[str]) -> None:
        self._private_hosts = {host.lower() for host in private_hosts}
        self._host = ""
        self._open: list[socket.socket] = []
        self._over = False
        self.refused = False

    def hear(self, event: str, told: tuple[Any, ...]) -> None:
        """Takes note of a name that is looked up; lets a connection be made or refuses it.

        Raises:
            NotPublic: if the connection would go where it must not.
        """
        if event == _LOOKUP:
            host = told[0]
            self._host = (host.decode() if isinstance(host, bytes) else str(host)).lower()
            return
        made, address = told
        if self._over or not (self._host in self._private_hosts or is_public(address)):
            self.refused = not self._over
            raise NotPublic("not a public address")
        # A copy: TLS takes the connection out of the object that opened it.
        self._open.append(made.dup())

    def end(self) -> None:
        """Ends what is open, and lets nothing more be opened."""
        self._over = True
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives the copies back."""
        for connection in self._open:
            connection.close()


def is_public(address: object) -> bool:
    """Whether a socket's address is a global one: neither private, loopback, link-local, multicast nor reserved.

    Args:
        address: as `connect` is given it; anything but an IP address and a port is refused.
    """
    if not isinstance(address, tuple) or len(address) < 2:  # noqa: PLR2004 - host and port
        return False
    try:
        found = ipaddress.ip_address(str(address[0]).partition("%")[0])
    except ValueError:
        return False  # a name: what it resolves to would be known to nobody here
    inner = [found]
    if isinstance(found, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if found in _TRANSLATED else None
        inner += [one for one in (found.ipv4_mapped, found.sixtofour, translated, *(found.teredo or ())) if one]
        # A mapped address is as global as what is in it.
        inner = inner[1:] if found.ipv4_mapped else inner
    return all(one.is_global and not one.is_multicast for one in inner)


def run_guarded(work: Callable[[], object], guard: Guard, *, seconds: float) -> bool:
    """Runs something that connects in a thread of its own, and cuts it short when its time is over.

    Args:
        work: what is run; an error is its own business.
        guard: hears its connections.
        seconds: longest it may take.

    Returns:
        Whether it ended in time.
    """
    _listen()

    def guarded() -> None:
        _HERE.guard = guard
        with suppress(Exception):
            work()

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(seconds)
    in_time = not thread.is_alive()
    if not in_time:
        guard.end()
        thread.join(_NOTICE)
    guard.close()
    return in_time


def in_guarded_thread() -> Guard | None:
    """The guard of this thread; None outside of `run_guarded`."""
    return getattr(_HERE, "guard", None)


_LISTENING = threading.Lock()
_listens = False


def _listen() -> None:
    """Has the interpreter tell of connections, from the first message on; it cannot be told to stop."""
    global _listens  # noqa: PLW0603 - what is added to the interpreter once must be known to have been
    with _LISTENING:
        if not _listens:
            sys.addaudithook(_hear)
            _listens = True


def _hear(event: str, told: tuple[Any, ...]) -> None:
    if event in (_CONNECT, _LOOKUP):
        guard = in_guarded_thread()
        if guard is not None:
            guard.hear(event, told)
