"""Damaged answers: every parser refuses them by a typed error or reads what has the declared shape, nothing else."""

from collections import Counter
from collections.abc import Callable
from datetime import date
from functools import partial
from random import Random
from zoneinfo import ZoneInfo

import pytest

from gnn_assets.bars.fetched import FETCHED_COLUMNS
from gnn_assets.bars.paged import TOLD_ACTIONS, Page
from gnn_assets.bars.sources import alpaca, massive
from gnn_assets.core.errors import Malformed
from gnn_assets_tests.bars.vendors.alpaca_server import bar_row
from gnn_assets_tests.bars.vendors.faults import Asked
from gnn_assets_tests.bars.vendors.massive_server import AGGS, DIVIDENDS, GROUPED, SPLITS, MassiveServer, dumps
from gnn_assets_tests.bars.vendors.scenarios import told

ZONE = ZoneInfo("America/New_York")
NAMES = frozenset({"AAPL", "BRK.B"})
FIRST, LAST = date(2022, 1, 3), date(2022, 1, 7)
BASE = "http://127.0.0.1:1"
# What a damaged number, text or list often turns into.
TOKENS = (
    b"null", b"true", b"-1", b"0", b"1e999", b"-1e999", b"NaN", b"9" * 400, b'"AAPL"', b'"\\ud800"', b"[]", b"{}",
    b"[[[[", b'{"t":1}', b"1641186000000", b'"2022-01-03"', b'"2022-01-03T05:00:00Z"', b"\x00", b"\xff", b'","', b"\n",
)  # fmt: skip


def massive_payload(path: str) -> bytes:
    splits = [{"ticker": "AAPL", "execution_date": "2022-01-04", "split_from": 1, "split_to": 4}] * 3
    dividends = [
        {
            "ticker": "AAPL",
            "ex_dividend_date": "2022-01-05",
            "cash_amount": 0.2,
            "dividend_type": "CD",
            "currency": "USD",
        }
    ] * 3
    server = MassiveServer(told(("AAPL", "BRK.B")), splits=splits, dividends=dividends, page_size=2)
    with server:
        headers = {"Authorization": f"Bearer {server.key}"}
        return server.answer(Asked(path, headers)).body.replace(server.url.encode(), BASE.encode())


def alpaca_payload(group: str) -> bytes:
    if group == "bars":
        bars = {name: [bar_row(row) for row in told((name,)).iter_rows(named=True)][:2] for name in sorted(NAMES)}
        return dumps({"bars": bars, "next_page_token": "QUFQTHxE"})
    split = {"symbol": "AAPL", "ex_date": "2022-01-04", "process_date": "2022-01-04", "new_rate": 4, "old_rate": 1}
    cash = {"symbol": "BRK.B", "ex_date": "2022-01-05", "process_date": "2022-02-04", "rate": 0.2, "special": False}
    groups = {"forward_splits": [split], "reverse_splits": [split], "cash_dividends": [cash]}
    return dumps({"corporate_actions": groups, "next_page_token": "QUFQTHxE"})


# Parser → a healthy payload, how it is read, and the columns promised.
PARSERS: dict[str, tuple[Callable[[], bytes], Callable[[bytes], Page], dict]] = {
    "aggs": (
        partial(massive_payload, f"{AGGS}AAPL/range/1/day/{FIRST}/{LAST}"),
        partial(massive.parse_aggs, name="AAPL", first=FIRST, last=LAST, zone=ZONE, base=BASE),
        dict(FETCHED_COLUMNS),
    ),
    "grouped": (
        partial(massive_payload, f"{GROUPED}{FIRST}"),
        partial(massive.parse_grouped, names=NAMES, session=FIRST, zone=ZONE),
        dict(FETCHED_COLUMNS),
    ),
    "splits": (
        partial(massive_payload, SPLITS),
        partial(massive.parse_splits, names=NAMES, base=BASE),
        dict(TOLD_ACTIONS),
    ),
    "dividends": (
        partial(massive_payload, DIVIDENDS),
        partial(massive.parse_dividends, names=NAMES, base=BASE),
        dict(TOLD_ACTIONS),
    ),
    "bars": (
        partial(alpaca_payload, "bars"),
        partial(alpaca.parse_bars, names=NAMES, first=FIRST, last=LAST, zone=ZONE),
        dict(FETCHED_COLUMNS),
    ),
    "actions": (
        partial(alpaca_payload, "actions"),
        partial(alpaca.parse_actions, names=NAMES),
        dict(TOLD_ACTIONS),
    ),
}


def damaged(payload: bytes, random: Random) -> bytes:
    """The payload with one to three bytes, slices or values changed."""
    changed = bytearray(payload)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(changed) + 1)
        match random.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                changed[at : at + random.randint(1, 40)] = b""
            case 2:
                changed[at:at] = changed[at : at + random.randint(1, 40)]
            case 3:
                changed[at:] = b""
            case _:
                _replace_value(changed, at, random)
    return bytes(changed)


def _replace_value(changed: bytearray, at: int, random: Random) -> None:
    """Puts a token in the place of the next value after a colon."""
    start = changed.find(b": ", at) + 2
    ends = [end for end in (changed.find(mark, start) for mark in (b",", b"}", b"]")) if end >= 0]
    if start > 1 and ends:
        changed[start : min(ends)] = random.choice(TOKENS)


def check(name: str, count: int, seed: int) -> Counter[str]:
    healthy, parse, columns = PARSERS[name]
    payload, random, seen = healthy(), Random(f"{name}{seed}"), Counter()
    assert parse(payload).rows.height > 1
    for _ in range(count):
        mutant = damaged(payload, random)
        page, refusal = _outcome(parse, mutant)
        if page is None:
            seen["refused"] += 1
            assert refusal.payload == mutant
            assert str(refusal).isprintable()
            continue
        seen["read"] += mutant != payload
        assert dict(page.rows.schema) == columns
        assert set(page.rows["symbol"]) <= NAMES
        if "kind" in columns:
            assert (page.rows["value"] > 0).all()
            assert page.rows["value"].is_finite().all()
        else:
            assert page.rows["session"].is_between(FIRST, LAST).all()
        assert page.following is None or page.following.isascii()
    return seen


def _outcome(parse: Callable[[bytes], Page], mutant: bytes) -> tuple[Page, None] | tuple[None, Malformed]:
    try:
        return parse(mutant), None
    except Malformed as refused:
        return None, refused


@pytest.mark.parametrize("name", PARSERS)
def test_damaged_answers_are_refused_or_read_in_the_declared_shape(name):
    seen = check(name, 5_000, seed=1)
    assert seen["refused"] > 1_000
    assert seen["read"] > 100


@pytest.mark.drill
@pytest.mark.parametrize("name", PARSERS)
def test_a_million_damaged_answers_are_refused_or_read_in_the_declared_shape(name):
    seen = check(name, -(-1_000_000 // len(PARSERS)), seed=2)
    print(f"{name}: {dict(seen)}")
