import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.core.errors import CorruptArtefact, DiskFull, StoreError
from gnn_assets_tests.store.states import MOMENT, WRITE, ledger_at

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_an_empty_ledger_has_no_records(tmp_path):
    assert ledger_at(tmp_path).read("decisions") == []
    assert list(tmp_path.iterdir()) == []


def test_records_come_back_in_order_with_id_and_moment(tmp_path):
    ledger = ledger_at(tmp_path)
    first = ledger.append("trials", {"model": "ridge", "ic": 0.01})
    second = ledger.append("trials", {"model": "ridge", "ic": 0.01})
    assert first != second, "equal records are two events"
    moment = MOMENT.isoformat()
    assert ledger.read("trials") == [
        {"model": "ridge", "ic": 0.01, "recorded_at": moment, "id": first},
        {"model": "ridge", "ic": 0.01, "recorded_at": moment, "id": second},
    ]
    assert ledger.read("events") == []


@settings(deadline=None, max_examples=20)
@given(records=st.lists(st.dictionaries(st.text(), _JSON, max_size=4), max_size=6))
def test_any_json_comes_back(tmp_path_factory, records):
    ledger = ledger_at(tmp_path_factory.mktemp("ledger"))
    ids = [ledger.append("events", record) for record in records]
    read = ledger.read("events")
    assert [record.pop("id") for record in read] == ids
    assert [record.pop("recorded_at") for record in read] == [MOMENT.isoformat()] * len(records)
    assert read == records


@pytest.mark.parametrize("name", ["id", "recorded_at"])
def test_a_record_may_not_claim_the_ledgers_own_names(tmp_path, name):
    with pytest.raises(StoreError, match=name):
        ledger_at(tmp_path).append("events", {name: "mine"})


def test_a_line_torn_anywhere_is_dropped_and_written_over(tmp_path):
    WRITE["ledger"](tmp_path, 1)
    path = tmp_path / "ledger" / "events.jsonl"
    one = path.read_bytes()
    WRITE["ledger"](tmp_path, 2)
    two = path.read_bytes()
    ledger = ledger_at(tmp_path)
    for cut in (len(one), len(one) + 1, len(one) + 100, len(two) - 2, len(two) - 1):
        path.write_bytes(two[:cut])
        assert [record["step"] for record in ledger.read("events")] == [1]
        WRITE["ledger"](tmp_path, 2)
        assert path.read_bytes() == two


def test_a_tail_of_zeros_is_a_torn_line(tmp_path):
    """What some file systems show after a power cut: the new length, but not yet the new bytes."""
    WRITE["ledger"](tmp_path, 1)
    path: Path = tmp_path / "ledger" / "events.jsonl"
    path.write_bytes(path.read_bytes() + bytes(500))
    assert len(ledger_at(tmp_path).read("events")) == 1
    WRITE["ledger"](tmp_path, 2)
    assert [record["step"] for record in ledger_at(tmp_path).read("events")] == [1, 2]


def test_a_damaged_line_names_file_and_number(tmp_path):
    for step in (1, 2, 3):
        WRITE["ledger"](tmp_path, step)
    path = tmp_path / "ledger" / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step":2', b'"step":9'))
    with pytest.raises(CorruptArtefact, match=r"events\.jsonl, line 2: .* restore a backup"):
        ledger_at(tmp_path).read("events")


def test_a_line_spelt_otherwise_is_a_damaged_one(tmp_path):
    WRITE["ledger"](tmp_path, 1)
    path = tmp_path / "ledger" / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step":1', b'"step": 1'))
    with pytest.raises(CorruptArtefact, match="line 1"):
        ledger_at(tmp_path).read("events")


def test_a_line_that_does_not_reach_the_disk_is_taken_back(tmp_path, monkeypatch):
    WRITE["ledger"](tmp_path, 1)
    path = tmp_path / "ledger" / "events.jsonl"
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull, match="disk full: need"):
            WRITE["ledger"](tmp_path, 2)
    assert path.read_bytes() == before
    WRITE["ledger"](tmp_path, 2)
    assert [record["step"] for record in ledger_at(tmp_path).read("events")] == [1, 2]
