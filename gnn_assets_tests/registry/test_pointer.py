"""Which weights are served: one pointer, moved by whoever judged against the champion that is still there."""

import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gnn_assets.core.clock import ReplayClock
from gnn_assets.core.errors import CorruptArtefact, LockTimeout, PointerConflict
from gnn_assets.registry.pointer import Champion, ChampionPointer, Move
from gnn_assets.store.versions import Lineage

MONDAY = datetime(2022, 12, 5, 21, 30, tzinfo=UTC)
DAY = timedelta(days=1)
GATE = Lineage(inputs={"backtest_scores": "s"}, code_version="c", config_hash="h")
FIRST = Champion(
    version="w1",
    model="graph_attention",
    rule="bootstrap",
    reason="nobody was served yet",
    verdict="ITERATE",
    config_hash="recipe",
    oos_predictions="p1",
    portfolio_returns="r1",
    backtest_scores="s1",
    data_end="2022-12-02",
)
SECOND = replace(FIRST, version="w2", rule="refresh", oos_predictions="p2", data_end="2022-12-05")


@pytest.fixture
def clock() -> ReplayClock:
    return ReplayClock(MONDAY)


@pytest.fixture
def pointer(tmp_path, clock) -> ChampionPointer:
    return ChampionPointer.open(tmp_path / "champion", clock=clock, lock_timeout_seconds=5)


def promote(pointer, champion, *, expected, lineage=GATE):
    return pointer.promote(champion, expected=expected, lineage=lineage, run_id="run")


def test_before_the_first_promotion_nobody_is_served(pointer):
    assert pointer.current() is None
    assert pointer.as_of(MONDAY) is None


def test_a_champion_comes_back_as_it_was_promoted(pointer):
    made = promote(pointer, FIRST, expected=None)
    assert pointer.current() == FIRST
    assert (made.version, made.run_id, made.lineage, made.published_at) == ("w1", "run", GATE, MONDAY)
    assert {"version": made.version, **made.note} == asdict(FIRST)


def test_the_successor_is_served_and_the_history_keeps_both(pointer, clock):
    promote(pointer, FIRST, expected=None)
    clock.advance_to(MONDAY + DAY)
    promote(pointer, SECOND, expected="w1")
    assert pointer.current() == SECOND
    history = pointer.versions.history()
    assert [(made.sequence, made.version, made.note["rule"]) for made in history] == [
        (1, "w1", "bootstrap"),
        (2, "w2", "refresh"),
    ]


def test_the_newest_champions_are_told_each_once_newest_first(pointer):
    assert pointer.newest(5) == []
    promote(pointer, FIRST, expected=None)
    promote(pointer, SECOND, expected="w1")
    promote(pointer, FIRST, expected="w2")
    assert pointer.newest(5) == [FIRST, SECOND]
    assert pointer.newest(1) == [FIRST]


def test_who_was_served_at_a_moment_is_known_for_ever(pointer, clock):
    promote(pointer, FIRST, expected=None)
    clock.advance_to(MONDAY + 2 * DAY)
    promote(pointer, SECOND, expected="w1")
    assert [pointer.as_of(MONDAY + days * DAY) for days in (-1, 0, 1, 2, 3)] == [None, FIRST, FIRST, SECOND, SECOND]


def test_an_earlier_champion_can_be_served_again(pointer):
    promote(pointer, FIRST, expected=None)
    promote(pointer, SECOND, expected="w1")
    promote(pointer, FIRST, expected="w2")
    assert pointer.current() == FIRST
    assert [made.version for made in pointer.versions.history()] == ["w1", "w2", "w1"]


@pytest.mark.parametrize(("served", "expected"), [(None, "w1"), (FIRST, None), (FIRST, "w0")])
def test_a_judgement_against_another_champion_than_the_one_served_is_refused(pointer, served, expected):
    if served is not None:
        promote(pointer, served, expected=None)
    with pytest.raises(PointerConflict, match=f"expected {expected or 'nothing published yet'}, was"):
        promote(pointer, SECOND, expected=expected)
    assert pointer.current() == served
    assert len(pointer.versions.history()) == (served is not None)


def test_the_same_promotion_twice_is_one(pointer):
    promote(pointer, FIRST, expected=None)
    again = promote(pointer, FIRST, expected="w1")
    assert again.sequence == 1
    assert len(pointer.versions.history()) == 1


def test_moves_tell_who_was_served_before_and_who_moved_it(pointer, clock):
    promote(pointer, FIRST, expected=None)
    clock.advance_to(MONDAY + DAY)
    back = replace(SECOND, rule="rollback", by="ann@desk", decided_at="2022-12-06T09:00:00+00:00")
    pointer.promote(back, expected="w1", lineage=None, run_id="")
    assert pointer.moves() == [
        Move(sequence=1, champion=FIRST, before=None, moved_at=MONDAY, run_id="run"),
        Move(sequence=2, champion=back, before=FIRST, moved_at=MONDAY + DAY, run_id=""),
    ]


def test_a_record_from_before_people_could_switch_is_read_as_the_gates(pointer):
    note = {name: value for name, value in asdict(FIRST).items() if name not in {"version", "by", "decided_at"}}
    pointer.versions.publish("w1", note=note)
    assert pointer.current() == FIRST


def test_a_move_is_told_after_those_before_it_while_nobody_else_can_move(pointer):
    told: list[list[str]] = []

    def tell(moves):
        told.append([move.champion.version for move in moves])
        other = ChampionPointer.open(pointer.versions.folder, clock=ReplayClock(MONDAY), lock_timeout_seconds=0.05)
        with pytest.raises(LockTimeout):
            promote(other, SECOND, expected=None)

    promote(pointer, FIRST, expected=None)
    pointer.promote(SECOND, expected="w1", lineage=GATE, run_id="run", tell=tell)
    pointer.tell(tell)
    assert told == [["w1"], ["w1", "w2"], ["w1", "w2"]]


def test_a_move_that_lost_is_not_told(pointer):
    promote(pointer, FIRST, expected=None)
    told = []
    with pytest.raises(PointerConflict):
        pointer.promote(SECOND, expected="w0", lineage=GATE, run_id="run", tell=told.append)
    assert [len(moves) for moves in told] == [1]


def test_a_damaged_pointer_is_named_instead_of_serving_a_guess(pointer):
    promote(pointer, FIRST, expected=None)
    file = pointer.versions.folder / "current"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(CorruptArtefact, match="current"):
        pointer.current()


PROMOTER = """
import dataclasses, sys, time
from datetime import UTC, datetime
from pathlib import Path
from gnn_assets.core.clock import SnapshotClock
from gnn_assets.core.errors import PointerConflict
from gnn_assets.registry.pointer import ChampionPointer
from gnn_assets.store.versions import Lineage

folder, mine = Path(sys.argv[1]), sys.argv[2]
clock = SnapshotClock(datetime(2022, 12, 6, tzinfo=UTC))
pointer = ChampionPointer.open(folder, clock=clock, lock_timeout_seconds=20)
served = pointer.current()
print("ready", flush=True)
sys.stdin.readline()
try:
    lineage = Lineage(inputs={}, code_version="", config_hash="")
    candidate = dataclasses.replace(served, version=mine)
    pointer.promote(candidate, expected=served.version, lineage=lineage, run_id=mine)
except PointerConflict as conflict:
    print("conflict", conflict)
else:
    print("promoted")
"""


def test_of_two_processes_that_judged_the_same_champion_one_promotes(pointer):
    promote(pointer, FIRST, expected=None)
    rivals = {name: _rival(pointer.versions.folder, name) for name in ("left", "right")}
    for process in rivals.values():
        assert process.stdout.readline() == "ready\n"
    for process in rivals.values():
        process.stdin.write("go\n")
        process.stdin.flush()
    said = {name: process.communicate()[0] for name, process in rivals.items()}
    winners = [name for name, words in said.items() if words == "promoted\n"]
    losers = [name for name, words in said.items() if words.startswith("conflict ")]
    assert (len(winners), len(losers)) == (1, 1), said
    assert f"expected w1, was {winners[0]}" in said[losers[0]]
    assert pointer.current() == replace(FIRST, version=winners[0])
    assert [made.run_id for made in pointer.versions.history()] == ["run", winners[0]]


def _rival(folder: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", PROMOTER, str(folder), name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_champion_that_went_and_came_back_is_another_decision(pointer):
    promote(pointer, FIRST, expected=None)
    promote(pointer, SECOND, expected="w1")
    promote(pointer, FIRST, expected="w2")
    third = replace(SECOND, version="w3")
    with pytest.raises(PointerConflict, match="expected no move after number 1, was number 3"):
        pointer.promote(third, expected="w1", lineage=GATE, run_id="run", seen=1)
    assert pointer.current() == FIRST
    pointer.promote(third, expected="w1", lineage=GATE, run_id="run", seen=3)
    assert pointer.current() == third


def test_a_reign_is_the_champion_and_those_it_refreshed(pointer):
    assert pointer.reign() == frozenset()
    promote(pointer, FIRST, expected=None)
    promote(pointer, replace(FIRST, version="x1", config_hash="other"), expected="w1")
    assert pointer.reign() == {"x1"}
    promote(pointer, replace(FIRST, version="x2", config_hash="other", rule="refresh"), expected="x1")
    assert pointer.reign() == {"x1", "x2"}
