import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from gnn_assets.core.errors import CorruptArtefact, MissingArtefact
from gnn_assets.store.landing import Landed, Landing, Refusals
from gnn_assets_tests.store.states import temporaries
from gnn_assets_tests.store.worker import PROJECT, wait_for

SEED = 20221228
BARS = pl.DataFrame(
    {
        "symbol": ["AAA", "AAA", "AAA"],
        "session": [date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 3)],
        "close": [1.5, None, float("inf")],
    }
)
ACTIONS = pl.DataFrame(
    {"symbol": ["AAA"], "known_at": [datetime(2020, 1, 2, 21, tzinfo=UTC)]},
    schema_overrides={"known_at": pl.Datetime("us", "UTC")},
)
FACTS = {"source": "sample", "failures": {"BBB": "no data"}, "requests": 3}


def _land(landing: Landing, key: str = "sample AAA 2020", *, bars: pl.DataFrame = BARS) -> Landed:
    return landing.land(key, {"bars": bars, "actions": ACTIONS}, FACTS)


def _files(landing: Landing) -> list[Path]:
    return sorted(landing.folder.glob("*.landing"))


def test_what_landed_is_there_for_the_next_process_exactly_as_it_came(tmp_path):
    landed = _land(Landing(tmp_path / "landing"))

    later = Landing(tmp_path / "landing")
    assert later.landed() == [landed]
    assert landed == Landed("sample AAA 2020", FACTS, {"bars": 3, "actions": 1})
    assert later.frames(landed, "bars").equals(BARS)
    assert later.frames(landed, "actions").equals(ACTIONS)
    assert later.frames(landed, "actions").schema == ACTIONS.schema


def test_a_frame_without_rows_keeps_its_columns(tmp_path):
    landing = Landing(tmp_path)
    landed = _land(landing, bars=BARS.clear())
    assert landing.frames(landed, "bars").equals(BARS.clear())
    assert landing.frames(landed, "bars").schema == BARS.schema


def test_an_answer_without_frames_is_an_answer(tmp_path):
    landing = Landing(tmp_path)
    landed = landing.land("nobody knows it", {}, {"failures": {"AAA": "unknown"}})
    assert landing.landed() == [landed]


def test_answers_come_in_order_of_their_keys(tmp_path):
    landing = Landing(tmp_path)
    for key in ("b", "c", "a"):
        _land(landing, key)
    assert [landed.key for landed in landing.landed()] == ["a", "b", "c"]


def test_nothing_has_landed_in_a_folder_that_is_not_there(tmp_path):
    assert Landing(tmp_path / "none").landed() == []
    Landing(tmp_path / "none").clear()
    assert list(tmp_path.iterdir()) == []


def test_a_key_may_be_any_text(tmp_path):
    landing = Landing(tmp_path / "landing")
    for key in ("../../etc/passwd", "BRK.B/2020\n", "ü" * 300, ""):
        landed = _land(landing, key)
        assert landing.frames(landed, "bars").equals(BARS)
    assert len(landing.landed()) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["landing"]


def test_the_first_answer_to_a_question_stays(tmp_path):
    landing = Landing(tmp_path)
    first = _land(landing)
    assert _land(landing, bars=BARS[:1]) == first
    assert landing.frames(first, "bars").equals(BARS)
    assert len(_files(landing)) == 1


def test_what_is_cleared_is_gone_and_the_rest_stays(tmp_path):
    landing = Landing(tmp_path)
    one, two, three = (_land(landing, key) for key in ("1", "2", "3"))
    landing.clear(one, three)
    assert landing.landed() == [two]
    landing.clear(one)
    with pytest.raises(MissingArtefact, match="expected an answer that has landed, was none; ask the source again"):
        landing.frames(one, "bars")
    assert landing.frames(two, "bars").equals(BARS)


def test_a_frame_that_was_never_part_of_it_is_refused_by_name(tmp_path):
    landing = Landing(tmp_path)
    with pytest.raises(MissingArtefact, match="one of the frames actions, bars, was volumes"):
        landing.frames(_land(landing), "volumes")


def test_a_flipped_bit_anywhere_moves_an_answer_to_quarantine_and_it_can_land_again(tmp_path):
    rng = random.Random(SEED)
    landing = Landing(tmp_path)
    kept = _land(landing, "kept")
    for flip in range(150):
        landed = _land(landing)
        (path,) = set(_files(landing)) - {landing._path("kept")}
        damaged = bytearray(path.read_bytes())
        bit = rng.randrange(len(damaged) * 8)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        told = f"seed {SEED}, flip {flip}, bit {bit}"
        if flip % 2:
            with pytest.raises(CorruptArtefact, match=f"{path.name}: expected an answer that matches its checksum"):
                landing.frames(landed, "bars")
        else:
            assert landing.landed() == [kept], told
        assert not path.exists(), told
        assert (tmp_path / "quarantine" / path.name).read_bytes() == damaged
        assert landing.frames(_land(landing), "bars").equals(BARS), told


@pytest.mark.parametrize("share", range(8))
def test_a_cut_answer_has_not_landed(tmp_path, share):
    landing = Landing(tmp_path)
    _land(landing)
    (path,) = _files(landing)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * share // 8])
    assert landing.landed() == []


def test_a_damaged_answer_does_not_stop_the_one_that_replaces_it(tmp_path):
    landing = Landing(tmp_path)
    landed = _land(landing)
    (path,) = _files(landing)
    path.write_bytes(b"")
    assert _land(landing) == landed
    assert landing.frames(landed, "bars").equals(BARS)


def test_what_a_dead_writer_left_is_invisible_and_swept(tmp_path):
    landing = Landing(tmp_path)
    landed = _land(landing)
    (path,) = _files(landing)
    half = tmp_path / ".tmp-0123456789abcdef"
    half.mkdir()
    (half / path.name).write_bytes(path.read_bytes()[:100])
    assert landing.landed() == [landed]
    assert temporaries(tmp_path) == []


_LANDER = """
import sys
from pathlib import Path
from gnn_assets_tests.store.test_landing import BARS, Landing, _land
landing = Landing(Path(sys.argv[1]))
for number in range(int(sys.argv[3]), 10**6):
    _land(landing, str(number))
    with open(sys.argv[2], "a") as acks:
        acks.write(f"{number}\\n")
"""


def _kill_and_check(folder: Path, *, kills: int) -> None:
    rng = random.Random(SEED)
    landing, interrupted, acked = Landing(folder / "landing"), 0, 0
    for kill in range(kills):
        acks = folder / f"acks-{kill}"
        before = len(landing.landed())
        lander = subprocess.Popen(
            [sys.executable, "-c", _LANDER, str(landing.folder), str(acks), str(before)], cwd=PROJECT
        )
        wait_for(acks)
        time.sleep(rng.uniform(0, 0.2))
        os.kill(lander.pid, signal.SIGKILL)
        assert lander.wait() == -signal.SIGKILL
        interrupted += bool(temporaries(folder))
        landed = landing.landed()
        told = f"seed {SEED}, kill {kill}"
        acked = max(acked, 1 + max(int(line) for line in acks.read_text().split()))
        assert acked <= len(landed) <= acked + 1, told
        assert {answer.key for answer in landed} == {str(number) for number in range(len(landed))}, told
        assert temporaries(folder) == [], told
        assert not (landing.folder / "quarantine").exists(), told
    assert all(landing.frames(answer, "bars").equals(BARS) for answer in landing.landed())
    print(f"\n{kills} kills (seed {SEED}): {acked} answers acknowledged, 0 lost, {interrupted} kills inside a write")


@pytest.mark.slow
def test_a_killed_backfill_keeps_every_answer_that_was_acknowledged(tmp_path):
    _kill_and_check(tmp_path, kills=3)


@pytest.mark.drill
def test_fifty_killed_backfills(tmp_path):
    _kill_and_check(tmp_path, kills=50)


def test_a_refused_answer_is_kept_as_it_came_with_the_reason(tmp_path):
    refusals = Refusals(tmp_path)
    name = refusals.keep("yahoo", b"<html>\xff busy", "expected JSON, was HTML")
    assert refusals.names() == [name]
    assert refusals.payload(name) == b"<html>\xff busy"
    about = refusals.about(name)
    assert (about["source"], about["reason"], about["bytes"]) == ("yahoo", "expected JSON, was HTML", 12)
    assert name.endswith(about["sha256"][:32])


def test_the_same_answer_is_kept_once(tmp_path):
    refusals = Refusals(tmp_path)
    assert refusals.keep("yahoo", b"x", "one") == refusals.keep("alpaca", b"x", "another")
    assert len(refusals.names()) == 1


def test_nothing_is_kept_of_a_folder_that_is_not_there(tmp_path):
    assert Refusals(tmp_path / "none").names() == []
    assert list(tmp_path.iterdir()) == []


def test_of_too_many_refused_answers_the_oldest_go(tmp_path):
    refusals = Refusals(tmp_path, most=3)
    names = [refusals.keep("yahoo", b"%d" % number, "bad") for number in range(12)]
    assert refusals.names() == names[-3:]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", *names[-3:]]


def test_refused_answers_are_bounded_in_bytes(tmp_path):
    refusals = Refusals(tmp_path, most_bytes=100)
    names = [refusals.keep("yahoo", bytes([number]) * 40, "bad") for number in range(5)]
    assert refusals.names() == names[-2:]
    large = refusals.keep("yahoo", b"y" * 1000, "bad")
    assert refusals.names() == [large]
    assert refusals.payload(large) == b"y" * 100
    assert refusals.about(large)["bytes"] == 1000


def test_the_hundredth_refusal_is_still_the_newest(tmp_path):
    refusals = Refusals(tmp_path, most=2)
    for number in range(103):
        last = refusals.keep("yahoo", b"%d" % number, "bad")
    assert refusals.names()[-1] == last
