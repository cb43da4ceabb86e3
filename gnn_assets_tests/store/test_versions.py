from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.core.clock import ReplayClock
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, PointerConflict
from gnn_assets.store.files import write_atomic
from gnn_assets.store.sealed import seal
from gnn_assets.store.versions import Lineage, Versions
from gnn_assets_tests.store.states import MOMENT, known, lineage, pointer_at

START = datetime(2020, 1, 1, tzinfo=UTC)


def _versions(folder, clock) -> Versions:
    return Versions(folder, clock=clock, lock_timeout_seconds=5)


def test_nothing_is_current_before_the_first_publication(tmp_path):
    pointer = pointer_at(tmp_path)
    assert pointer.current() is None
    assert pointer.history() == ()
    assert list(pointer.good()) == []
    assert pointer.as_of(MOMENT) is None
    assert pointer.pins() == {}
    assert not pointer.folder.exists(), "reading must make nothing"


def test_a_publication_says_when_why_and_by_whom(tmp_path):
    pointer = pointer_at(tmp_path)
    made = pointer.publish("abc", lineage=lineage(1), run_id="run 7", note={"rule": "bootstrap", "margin": 0.5})
    assert made == pointer.current()
    assert (made.sequence, made.version, made.published_at, made.run_id) == (1, "abc", MOMENT, "run 7")
    assert made.lineage == lineage(1)
    assert made.note == {"rule": "bootstrap", "margin": 0.5}


def test_the_same_version_and_lineage_write_nothing(tmp_path):
    pointer = pointer_at(tmp_path)
    first = pointer.publish("abc", lineage=lineage(1), run_id="a")
    before = {path: path.stat().st_mtime_ns for path in pointer.folder.rglob("*") if path.is_file()}
    assert pointer.publish("abc", lineage=lineage(1), run_id="b") == first
    after = {path: path.stat().st_mtime_ns for path in pointer.folder.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} <= {pointer.folder / ".lock"}


def test_the_same_version_from_other_inputs_is_published_again(tmp_path):
    pointer = pointer_at(tmp_path)
    pointer.publish("abc", lineage=lineage(1))
    assert pointer.publish("abc", lineage=lineage(2)).sequence == 2


def test_compare_and_set_refuses_when_somebody_was_faster(tmp_path):
    pointer = pointer_at(tmp_path)
    pointer.publish("a", expected=None)
    with pytest.raises(PointerConflict, match="expected nothing published yet, was a"):
        pointer.publish("b", expected=None)
    pointer.publish("b", expected="a")
    with pytest.raises(PointerConflict, match="expected a, was b"):
        pointer.publish("c", expected="a")
    assert [made.version for made in pointer.history()] == ["a", "b"]
    with pytest.raises(PointerConflict, match="expected a, was nothing"):
        _versions(tmp_path / "other", pointer._clock).publish("b", expected="a")


def test_a_rollback_is_a_publication_like_any_other(tmp_path):
    pointer = pointer_at(tmp_path)
    for version in ("a", "b", "a"):
        pointer.publish(version)
    assert [made.version for made in pointer.history()] == ["a", "b", "a"]
    assert known(pointer.current()).version == "a"


@settings(deadline=None, max_examples=20)
@given(hours=st.lists(st.integers(0, 5), min_size=1, max_size=8), asked=st.integers(-1, 45))
def test_as_of_gives_what_was_published_by_then(tmp_path_factory, hours, asked):
    clock = ReplayClock(START)
    pointer = _versions(tmp_path_factory.mktemp("versions"), clock)
    known = []
    for number, pause in enumerate(hours):
        clock.advance_to(clock.moment + timedelta(hours=pause))
        known.append((clock.moment, pointer.publish(f"v{number}").version))
    moment = START + timedelta(hours=asked)
    expected = [version for at, version in known if at <= moment]
    found = pointer.as_of(moment)
    assert (found.version if found else None) == (expected[-1] if expected else None)


def test_order_is_that_of_publication_when_the_clock_stands_still(tmp_path):
    pointer = pointer_at(tmp_path)
    for version in ("z", "a", "m"):
        pointer.publish(version)
    assert known(pointer.as_of(MOMENT)).version == "m"
    assert [made.sequence for made in pointer.history()] == [1, 2, 3]


def test_a_memo_gives_the_version_made_from_the_same_inputs(tmp_path):
    pointer = pointer_at(tmp_path)
    pointer.publish("a", lineage=lineage(1), note={"data_end": "2020-01-02"})
    pointer.publish("b", lineage=lineage(2))
    assert pointer.find(lineage(1).key) == "a"
    assert pointer.recall(lineage(1).key) == ("a", {"data_end": "2020-01-02"})
    assert pointer.find(lineage(3).key) is None


def test_a_memo_of_something_no_longer_whole_is_none(tmp_path):
    gone = set()
    pointer = Versions(
        tmp_path, clock=ReplayClock(START), lock_timeout_seconds=5, complete=lambda version: version not in gone
    )
    pointer.publish("a", lineage=lineage(1))
    assert pointer.find(lineage(1).key) == "a"
    gone.add("a")
    assert pointer.find(lineage(1).key) is None


def test_a_memo_follows_the_newest_version_of_its_key(tmp_path):
    """Code that gave another result from the same inputs (it should not) is remembered by its last."""
    pointer = pointer_at(tmp_path)
    pointer.publish("a", lineage=lineage(1))
    pointer.publish("b", lineage=lineage(1))
    assert pointer.find(lineage(1).key) == "b"


def test_the_memo_key_depends_on_inputs_code_and_configuration_only():
    base = Lineage({"bars": "1", "graph": "2"}, "code", "config")
    assert base.key == Lineage({"graph": "2", "bars": "1"}, "code", "config").key
    others = [
        Lineage({"bars": "1"}, "code", "config"),
        Lineage({"bars": "1", "graph": "3"}, "code", "config"),
        Lineage(base.inputs, "other", "config"),
        Lineage(base.inputs, "code", "other"),
    ]
    assert len({base.key, *(other.key for other in others)}) == 5


def test_pins_say_who_cites_a_version(tmp_path):
    pointer = pointer_at(tmp_path)
    for version, by in [("a", "card 1"), ("a", "card 2"), ("b", "champion"), ("a", "card 1")]:
        pointer.pin(version, by=by)
    assert pointer.pins() == {"a": {"card 1", "card 2"}, "b": {"champion"}}


def test_history_refuses_a_damaged_record_and_good_leaves_it_out(tmp_path):
    pointer = pointer_at(tmp_path)
    for version in ("a", "b", "c"):
        pointer.publish(version)
    (pointer.folder / "publications" / "000002.json").write_bytes(b"{}")
    with pytest.raises(CorruptArtefact, match="000002"):
        pointer.history()
    assert [made.version for made in pointer.good()] == ["c", "a"]
    (pointer.folder / "publications" / "000002.json").unlink()
    with pytest.raises(MissingArtefact, match="000002"):
        pointer.history()
    assert [made.version for made in pointer.good()] == ["c", "a"]


@pytest.mark.parametrize("line", [b"", b"2\n", b"2 " + b"0" * 64 + b"\n", b"9 " + b"0" * 64 + b"\n", b"\xff\n"])
def test_a_damaged_pointer_is_refused_and_the_next_publication_repairs_it(tmp_path, line):
    pointer = pointer_at(tmp_path)
    pointer.publish("a", lineage=lineage(1))
    pointer.publish("b", lineage=lineage(2))
    (pointer.folder / "current").write_bytes(line)

    with pytest.raises(CorruptArtefact, match="current"):
        pointer.current()
    assert [made.version for made in pointer.good()] == ["b", "a"]
    repaired = pointer.publish("b", lineage=lineage(2), expected="b")

    assert pointer.current() == repaired
    assert [made.version for made in pointer.history()] == ["a", "b", "b"]


def test_a_swapped_record_is_refused_even_though_it_is_whole(tmp_path):
    pointer = pointer_at(tmp_path)
    pointer.publish("a")
    record = pointer.folder / "publications" / "000001.json"
    forged = {
        "sequence": 1,
        "version": "b",
        "published_at": MOMENT.isoformat(),
        "run_id": "",
        "lineage": None,
        "note": {},
    }
    write_atomic(record, seal(forged))
    with pytest.raises(CorruptArtefact):
        pointer.current()
