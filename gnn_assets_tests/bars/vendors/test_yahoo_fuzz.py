"""Whatever bytes come as a chart: the parser gives its declared columns or a typed error, and nothing else."""

import random
from datetime import date

import pytest

from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS, Ask
from gnn_assets.bars.sources import yahoo
from gnn_assets.core.errors import SourceError
from gnn_assets_tests.bars.vendors.yahoo_server import NOT_FOUND, Listing, chart, result_of

ASK = Ask(("AAPL",), "XNYS", date(2022, 1, 3), date(2022, 1, 6))
ROWS = [(date(2022, 1, day), 10.0, 11.25, None, 10.5, 1000 * day) for day in (3, 4, 5)]
LISTING = Listing(ROWS, splits={date(2022, 1, 4): (4, 1)}, dividends={date(2022, 1, 5): 0.22})
SEEDS = (
    chart(result_of("AAPL", LISTING)),
    chart(result_of("AAPL", Listing(ROWS[:1]))),
    chart(result_of("AAPL", Listing())),
    chart(error=NOT_FOUND),
)
# Parts of the format and of other formats: single bytes seldom make another valid document.
PARTS = (
    *(
        b"null",
        b"true",
        b"-1",
        b"0",
        b"1e999",
        b"-1e999",
        b"1" + b"0" * 400,
        b"NaN",
        b'""',
        b"{}",
        b"[]",
        b"[[",
        b",",
        b":",
    ),
    *(
        b'"timestamp":',
        b'"quote":',
        b'"events":',
        b'"splits":',
        b'"date":',
        b'"error":',
        b'"\\ud800"',
        b"\xff\xfe",
        b"\0",
    ),
    *(b"-62135596800", b"253402300800", b"1641220200", b"0.1", b"<html>", b"[" * 2000),
)


def mutant(dice: random.Random) -> bytes:
    payload = bytearray(dice.choice(SEEDS))
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        place = dice.randrange(len(payload) + 1)
        kind = dice.randrange(6)
        if kind == 0:
            payload[place : place + 1] = bytes([dice.randrange(256)])
        elif kind == 1:
            payload[place : place + dice.randrange(1, 20)] = b""
        elif kind == 2:
            payload[place:place] = dice.choice(PARTS)
        elif kind == 3:
            payload[place : place + dice.randrange(1, 12)] = dice.choice(PARTS)
        elif kind == 4:
            # A digit for a digit keeps the document valid and changes what it says.
            digits = [spot for spot in range(place, min(place + 40, len(payload))) if chr(payload[spot]).isdigit()]
            if digits:
                payload[dice.choice(digits)] = ord(dice.choice("0123456789"))
        else:
            value = _value(payload, place)
            payload[value] = dice.choice(PARTS)
    return bytes(payload)


def _value(payload: bytearray, place: int) -> slice:
    """The text between two separators around a place: mostly a whole value."""
    start = max(payload.rfind(mark, 0, place) for mark in (b",", b":", b"[", b"{")) + 1
    ends = [end for mark in (b",", b"]", b"}") if (end := payload.find(mark, start)) >= 0]
    return slice(start, min(ends, default=len(payload)))


def accepted(count: int, seed: int) -> int:
    """How many of so many mutants are accepted; each keeps the promise."""
    dice = random.Random(seed)
    good = 0
    for _ in range(count):
        payload = mutant(dice)
        try:
            bars, actions = yahoo.parse_chart(payload, ask=ASK, timezone="America/New_York")
        except SourceError as error:
            str(error).encode()
            continue
        good += 1
        assert bars.schema == dict(FETCHED_COLUMNS), payload
        assert actions.schema == dict(ACTION_COLUMNS), payload
        assert not bars.is_empty(), payload
        for frame in (bars, actions):
            assert all(ASK.first <= session <= ASK.last for session in frame["session"]), payload
        assert all(0 <= value < float("inf") for value in actions["value"]), payload
        assert bars.null_count().select("symbol", "session").row(0) == (0, 0), payload
    return good


def test_mutants_of_valid_answers_are_typed_errors_or_bars_of_the_declared_schema():
    # Enough of them get through, so that the promise about what is accepted is tried as well.
    assert 500 < accepted(10_000, seed=20_220_103) < 9_000


@pytest.mark.drill
def test_a_million_mutants_of_valid_answers_are_typed_errors_or_bars_of_the_declared_schema():
    assert 50_000 < accepted(1_000_000, seed=1) < 900_000
