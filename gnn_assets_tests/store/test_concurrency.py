"""Many processes at one store: one writer at a time, readers never disturbed, locks that die with their holder."""

import json
import signal
import time
from pathlib import Path

import pytest

from gnn_assets.core.errors import LockTimeout
from gnn_assets.store.files import locked
from gnn_assets.store.query import sql
from gnn_assets_tests.store.states import LEVELS, WRITE, known, lake_at, ledger_at, levels_of, pointer_at
from gnn_assets_tests.store.worker import Workers, wait_for


def _read_while_publishing(root: Path, workers: Workers, *, seconds: float) -> None:
    WRITE["levels"](root, 1)
    readers = {
        name: workers.start(name, root, root / f"{name}.json") for name in ("read_with_polars", "read_with_duckdb")
    }
    for name in readers:
        wait_for(root / f"{name}.json.started")
    assert workers.run("publish_levels", root, seconds) == 0
    published = len(lake_at(root).versions("levels").history())
    for name, pid in readers.items():
        assert workers.wait(pid) == 0
        told = json.loads((root / f"{name}.json").read_text())
        assert told["errors"] == []
        assert told["mixes"] == 0
        assert told["versions"] > 1
        print(f"\n{name}, {seconds:g} s, {published} publications: {told['reads']} reads, 0 errors, 0 mixes")


def test_readers_see_one_whole_version_while_others_are_published(tmp_path, workers):
    _read_while_publishing(tmp_path, workers, seconds=1.5)


@pytest.mark.drill
def test_readers_for_a_minute(tmp_path, workers):
    _read_while_publishing(tmp_path, workers, seconds=60)


def test_a_file_read_by_name_stays_while_newer_versions_come(tmp_path):
    """What a reader outside the store, such as a notebook with DuckDB, opened by name is never touched."""
    import duckdb

    lake = lake_at(tmp_path)
    WRITE["levels"](tmp_path, 1)
    (file,) = (tmp_path / "lake" / "levels" / "files").iterdir()
    with duckdb.connect(":memory:") as connection:
        for step in range(2, 6):
            WRITE["levels"](tmp_path, step)
            assert connection.execute("select min(value), max(value) from read_parquet(?)", [str(file)]).fetchone() == (
                1,
                1,
            )
    assert lake.read(LEVELS).equals(levels_of(5))


def test_two_runs_with_the_same_content_publish_once(tmp_path, workers):
    _race(tmp_path, workers, "publish_at_barrier", [("a", 7), ("b", 7)])
    (made,) = lake_at(tmp_path).versions("levels").history()
    assert made.run_id in {"a", "b"}
    assert lake_at(tmp_path).read(LEVELS).equals(levels_of(7))
    assert len(list((tmp_path / "lake" / "levels" / "files").iterdir())) == 1


def test_two_runs_with_different_content_leave_one_of_them_exactly_and_both_on_record(tmp_path, workers):
    _race(tmp_path, workers, "publish_at_barrier", [("a", 7), ("b", 8)])
    lake = lake_at(tmp_path)
    made = lake.versions("levels").history()
    assert sorted(publication.run_id for publication in made) == ["a", "b"]
    for publication in made:
        expected = levels_of({"a": 7, "b": 8}[publication.run_id])
        assert lake.read(LEVELS, version=publication.version).equals(expected)
    assert known(lake.manifest(LEVELS)).version == made[-1].version


def test_of_many_that_move_the_pointer_one_wins(tmp_path, workers):
    pointer_at(tmp_path).publish("old", expected=None)
    names = [str(number) for number in range(8)]
    codes = _race(tmp_path, workers, "move_pointer_at_barrier", [(name,) for name in names])
    assert sorted(codes) == [0, 1, 1, 1, 1, 1, 1, 1]
    winner = names[codes.index(0)]
    assert [made.version for made in pointer_at(tmp_path).history()] == ["old", f"new-{winner}"]


def test_a_ledger_loses_no_line_of_many_writers(tmp_path, workers):
    names = ["a", "b", "c", "d"]
    assert _race(tmp_path, workers, "append_ledger_at_barrier", [(name,) for name in names]) == [0, 0, 0, 0]
    records = ledger_at(tmp_path).read("trials")
    assert len({record["id"] for record in records}) == 80
    for name in names:
        assert [record["number"] for record in records if record["me"] == name] == list(range(20))


def test_a_held_lock_names_its_holder(tmp_path, workers):
    path = tmp_path / "lake" / "levels" / ".lock"
    holder = workers.start("hold_lock", tmp_path, path)
    wait_for(tmp_path / "held")
    lake = lake_at(tmp_path, timeout=0.05)
    with pytest.raises(LockTimeout, match=rf"held by process {holder}\b"):
        lake.publish(LEVELS, levels_of(1), lineage=None, data_end=None)
    assert lake.manifest(LEVELS) is None
    workers.kill(holder)


def test_the_lock_of_a_killed_holder_is_free_at_once(tmp_path, workers):
    """No waiting for a time limit: the next writer is asked not to wait at all."""
    path = tmp_path / ".lock"
    holder = workers.start("hold_lock", tmp_path, path)
    wait_for(tmp_path / "held")
    with pytest.raises(LockTimeout), locked(path, timeout_seconds=0):
        pass
    assert workers.kill(holder) == -signal.SIGKILL
    with locked(path, timeout_seconds=0):
        assert path.read_text().isdigit()
    assert path.read_text() == ""


def test_a_writer_that_waits_goes_on_when_the_lock_is_released(tmp_path, workers):
    path = tmp_path / "lake" / "levels" / ".lock"
    with locked(path, timeout_seconds=0):
        (tmp_path / "go").touch()
        writer = workers.start("publish_at_barrier", tmp_path, "late", 3)
        wait_for(tmp_path / "ready-late")
        time.sleep(0.1)
        assert lake_at(tmp_path).manifest(LEVELS) is None
    assert workers.wait(writer) == 0
    assert lake_at(tmp_path).read(LEVELS).equals(levels_of(3))


def test_a_duckdb_file_held_by_a_notebook_does_not_matter(tmp_path, workers):
    WRITE["levels"](tmp_path, 1)
    path = tmp_path / "lake" / "levels" / "notebook.duckdb"
    holder = workers.start("hold_duckdb", tmp_path, path)
    wait_for(tmp_path / "held")
    import duckdb

    with pytest.raises(duckdb.IOException, match="lock"):
        duckdb.connect(str(path), read_only=True)

    WRITE["levels"](tmp_path, 2)
    assert sql("select max(value) as v from levels", lake=lake_at(tmp_path), tables=[LEVELS]).item() == 2
    workers.kill(holder)


def _race(root: Path, workers: Workers, job: str, arguments: list[tuple]) -> list[int]:
    started = [workers.start(job, root, *each) for each in arguments]
    for name, *_ in arguments:
        wait_for(root / f"ready-{name}")
    (root / "go").touch()
    return [workers.wait(pid) for pid in started]
