"""A message goes to public addresses and nowhere else, whatever the address looks like and whoever resolves it."""

import socket
import threading
import urllib.request
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.core.config import AlertsConfig, build_config
from gnn_assets.monitoring.channels import Channel, ping
from gnn_assets.monitoring.public_addresses import Guard, is_public, run_guarded
from gnn_assets_tests.monitoring.services import Answer, Services, services
from gnn_assets_tests.monitoring.test_channels import ALERT

PUBLIC = "93.184.216.34"
SPELLINGS = (
    *("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "127.255.255.254"),
    *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]"),
)


def config(*private_hosts: str) -> AlertsConfig:
    return build_config("test", {"alerts": {"private_hosts": private_hosts, "timeout_seconds": 3}}).alerts


@pytest.fixture
def server():
    with services() as made:
        yield made


def refused(failure: str) -> bool:
    return "not public" in failure


@pytest.mark.parametrize("host", SPELLINGS)
def test_this_machine_is_refused_however_it_is_spelt(server, host):
    assert refused(ping(f"http://{host}:{server.port}/hook", config=config()))
    assert server.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433"])
def test_a_webhook_to_this_machine_is_refused(server, host):
    assert refused(Channel.of("team", f"json://{host}:{server.port}/hook").send(ALERT, config=config()))
    assert server.asked == []


def test_a_mail_server_on_this_machine_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        port = listening.getsockname()[1]
        address = f"mailto://127.0.0.1:{port}?from=platform@example.com&to=team@example.com"
        assert refused(Channel.of("mail", address).send(ALERT, config=config()))
        with pytest.raises(TimeoutError):
            listening.accept()


def test_a_host_that_is_meant_is_let_through_by_its_name(server):
    assert Channel.of("team", f"json://127.0.0.1:{server.port}/hook").send(ALERT, config=config("127.0.0.1")) == ""
    assert ping(f"http://LocalHost:{server.port}/", config=config("localhost")) == ""
    assert refused(ping(f"http://localhost:{server.port}/", config=config("127.0.0.1")))
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server, status):
    with services() as inner:
        server.answers[""] = Answer(status=status, headers={"Location": f"http://localhost:{inner.port}/inner"})
        hook = Channel.of("team", f"json://127.0.0.1:{server.port}/hook?redirect=yes")
        assert hook.send(ALERT, config=config("127.0.0.1")) == f"answered HTTP {status}"
        assert ping(f"http://127.0.0.1:{server.port}/", config=config("127.0.0.1")) == f"answered HTTP {status}"
        assert inner.asked == []


def test_a_name_that_resolves_to_another_address_the_second_time_is_refused_where_it_connects(server, monkeypatch):
    told: list[str] = []

    def rebinding(host: str, port: Any, *_given: Any, **_named: Any) -> list[Any]:
        told.append(PUBLIC if not told else "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (told[-1], port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    hook = Channel.of("team", f"json://hook.example.com:{server.port}/hook")
    assert refused(hook.send(ALERT, config=config()))
    assert told == [PUBLIC, "127.0.0.1"]
    assert server.asked == []


def test_through_a_proxy_that_is_meant_a_private_host_behind_it_is_refused(server, monkeypatch):
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    hook = Channel.of("team", "jsons://192.168.7.1/hook")
    assert refused(hook.send(ALERT, config=config("127.0.0.1")))
    assert server.asked == []


def test_only_the_thread_that_sends_is_guarded(server):
    inside, let_go = threading.Event(), threading.Event()

    def work() -> None:
        inside.set()
        let_go.wait(5)

    sending = threading.Thread(target=lambda: run_guarded(work, Guard(()), seconds=5))
    sending.start()
    inside.wait(5)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=3) as answer:
        assert answer.status == 200
    let_go.set()
    sending.join()


def test_a_conversation_that_takes_too_long_is_ended():
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def work() -> None:
            with socket.create_connection(silent.getsockname(), timeout=30) as connection:
                connection.recv(1)
                ended.set()

        assert not run_guarded(work, Guard(["127.0.0.1"]), seconds=0.2)
        assert ended.is_set()


def test_what_is_cut_short_can_open_no_connection_any_more(server):
    late, outcome = threading.Event(), []

    def work() -> None:
        late.wait(5)
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError as error:
            outcome.append(error)

    threading.Timer(0.4, late.set).start()
    assert not run_guarded(work, Guard(["127.0.0.1"]), seconds=0.1)
    assert len(outcome) == 1


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "239.1.1.1"),
        *("255.255.255.255", "0.0.0.0", "127.8.8.8", "198.18.0.1", "192.0.2.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:10.0.0.1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
        *("host.example.com", "", "/run/socket"),
    ],
)
def test_what_is_not_global_is_not_public(address):
    assert not is_public((address, 443))
    assert not is_public((address, 443, 0, 0))


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700::1111", f"::ffff:{PUBLIC}", "64:ff9b::808:808"])
def test_what_is_global_is_public(address):
    assert is_public((address, 443))


@given(value=st.integers(0, 2**32 - 1))
def test_an_address_inside_of_ipv6_is_judged_as_by_itself(value):
    plain = socket.inet_ntoa(value.to_bytes(4, "big"))
    for around in ("::ffff:{}", "64:ff9b::{}"):
        assert is_public((around.format(plain), 443)) == is_public((plain, 443))


def test_a_socket_of_another_kind_is_refused():
    assert not is_public("/run/secret.sock")
    assert not is_public((PUBLIC,))


def test_services_on_the_loopback_are_what_these_tests_say(server: Services):
    assert ping(f"http://127.0.0.1:{server.port}/", config=config("127.0.0.1")) == ""
    assert len(server.asked) == 1
