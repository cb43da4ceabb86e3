"""Keys are for the vendors alone: whatever they answer, no key is in a file, a line of a log, an event or an output."""

from pathlib import Path

import pytest

from gnn_assets_tests.bars.vendors.alpaca_server import BARS as ALPACA_BARS
from gnn_assets_tests.bars.vendors.faults import Reply
from gnn_assets_tests.bars.vendors.massive_server import AGGS
from gnn_assets_tests.defs.market_home import KEYS, MarketHome, names, sessions, traded, vendors

pytestmark = pytest.mark.slow

SYMBOLS = names(5)
*_, YESTERDAY, TODAY = DAYS = sessions(16)
ECHO = "<html>who uses {}?</html>".format(" or ".join(KEYS.values())).encode()


def files_with_a_key(folder: Path) -> list[Path]:
    """Files whose bytes hold a key, as text of one or two bytes a letter."""
    forms = [key.encode(how) for key in KEYS.values() for how in ("utf-8", "utf-16-le")]
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in found if any(form in path.read_bytes() for form in forms)]


def spoken(home: MarketHome, *arguments: str) -> str:
    """Everything a command says."""
    code, said = home.say(TODAY, *arguments)
    assert code == 0, said
    return said


def assert_silent(text: str) -> None:
    assert not [key for key in KEYS.values() if key in text]


@pytest.fixture
def asked_with_keys(tmp_path):
    """A home whose three vendors are asked in turn."""
    bars = traded(SYMBOLS, DAYS)
    with vendors(bars, "massive", "alpaca", "yahoo") as servers:
        yield MarketHome(tmp_path / "home", SYMBOLS, servers), servers


def test_no_key_is_found_after_vendors_that_refuse_and_repeat_it(asked_with_keys):
    home, servers = asked_with_keys
    # massive repeats the key in an answer, breaks down with it, then refuses it; Alpaca refuses it, repeating it too.
    servers["massive"].script(AGGS, Reply(ECHO), Reply(ECHO, status=500), Reply(ECHO, status=401))
    servers["alpaca"].always(ALPACA_BARS, Reply(ECHO, status=403))

    done = home.command(TODAY, "update")
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr

    # They were asked with the keys, and their answers were heard.
    assert f"Bearer {KEYS['massive_key']}" in servers["massive"].asked[0].headers.values()
    assert {KEYS["alpaca_key"], KEYS["alpaca_secret"]} <= set(servers["alpaca"].asked[0].headers.values())
    assert sum(reply.body == ECHO for server in servers.values() for reply in server.told) == 4
    assert len(servers["yahoo"].asked) == 5
    events = home.events("answer_refused")
    assert [event["source"] for event in events] == ["massive"]
    assert "repeats it" in events[0]["reason"]
    assert home.status()["sources"]["massive"]["why"] == "access refused"
    # Nothing of it is anywhere.
    assert files_with_a_key(home.path) == []
    assert_silent(said)
    assert_silent(spoken(home, "status"))
    assert_silent(str(home.status()))
    assert_silent(str(home.platform(TODAY).ledger.read("events")))
    assert_silent(home.platform(TODAY).refusals.payload(events[0]["payload"]).decode())


def test_no_key_is_told_by_a_run_that_fails_on_it(asked_with_keys, capfd):
    home, servers = asked_with_keys
    home.servers = {"massive": servers["massive"]}
    servers["massive"].always("/", Reply(ECHO, status=401))

    refused = home.update(TODAY)

    assert "HTTP 401" in refused.failures["market_bars"]
    servers["massive"].heal()
    servers["massive"].script("/", Reply(ECHO, status=500))
    published = home.update(TODAY)
    assert published.success
    # Checks, metadata and progress as this process has them, and all that it printed.
    assert_silent(str((refused, published, capfd.readouterr())))
    assert files_with_a_key(home.path) == []


def test_no_key_is_told_by_the_configuration_or_under_a_misspelt_name(asked_with_keys):
    home, _ = asked_with_keys
    assert_silent(spoken(home, "config", "show"))
    assert_silent(spoken(home, "config", "check"))
    home.secrets = {**KEYS, "masive_key": KEYS["massive_key"]}
    code, said = home.say(TODAY, "config", "check")
    assert code == 2
    assert "GNN_ASSETS_MASIVE_KEY" in said
    assert_silent(said)


def test_the_search_for_keys_finds_one(tmp_path):
    hidden = tmp_path / "deep" / "log.bin"
    hidden.parent.mkdir()
    hidden.write_bytes(b"\x00" + KEYS["alpaca_secret"].encode() + b"\x00")
    assert files_with_a_key(tmp_path) == [hidden]
