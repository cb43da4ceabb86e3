"""Writers that die in the middle: whatever was acknowledged is there, whatever was not is there whole or not at all."""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from gnn_assets.core.errors import CorruptArtefact
from gnn_assets.store.files import sweep_temporaries
from gnn_assets_tests.store.states import (
    LEVELS,
    STORED,
    WRITE,
    known,
    lake_at,
    levels_of,
    lineage,
    pointer_at,
    temporaries,
)
from gnn_assets_tests.store.worker import Workers, wait_for

SEED = 20221228
LONGEST_LIFE = 0.3  # seconds from a writer's first line to its death

FAILPOINTS = [
    ("prices", "lake:files-written", "old"),
    ("levels", "lake:files-written", "old"),
    ("levels", "lake:manifest-written", "old"),
    ("levels", "pointer:memo-written", "old"),
    ("levels", "pointer:record-written", "old"),
    ("levels", "pointer:moved", "new"),
    ("weights", "weights:part-written", "old"),
    ("weights", "weights:saved", "old"),
    ("weights", "pointer:record-written", "old"),
    ("weights", "pointer:moved", "new"),
    ("pointer", "pointer:record-written", "old"),
    ("pointer", "pointer:moved", "new"),
    ("ledger", "ledger:line-written", "new"),
]


@pytest.mark.parametrize(("store", "failpoint", "expected"), FAILPOINTS)
def test_a_writer_killed_at_a_named_step_leaves_the_old_or_the_new(tmp_path, workers, store, failpoint, expected):
    WRITE[store](tmp_path, 1)

    assert workers.run("write_step", tmp_path, store, 2, failpoint=failpoint) == -signal.SIGKILL

    step = STORED[store](tmp_path)
    assert step == {"old": 1, "new": 2}[expected]
    WRITE[store](tmp_path, step + 1)
    assert STORED[store](tmp_path) == step + 1
    assert temporaries(tmp_path) == []


def test_an_orphan_publication_is_ignored_and_overwritten(tmp_path, workers):
    WRITE["pointer"](tmp_path, 1)
    workers.run("write_step", tmp_path, "pointer", 2, failpoint="pointer:record-written")
    pointer = pointer_at(tmp_path)
    assert (pointer.folder / "publications" / "000002.json").exists()

    assert [made.version for made in pointer.history()] == ["step-1"]
    assert pointer.publish("another", expected="step-1").sequence == 2
    assert [made.version for made in pointer.history()] == ["step-1", "another"]


def test_what_a_dead_writer_left_is_not_trusted_unread(tmp_path, workers):
    """A complete file of a dead writer is reused; one that was damaged since is written again."""
    workers.run("write_step", tmp_path, "levels", 1, failpoint="lake:files-written")
    (file,) = (tmp_path / "lake" / "levels" / "files").glob("*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])

    WRITE["levels"](tmp_path, 1)

    assert file.read_bytes() == whole
    assert STORED["levels"](tmp_path) == 1


def test_a_living_writers_temporaries_are_left_alone(tmp_path, workers):
    from gnn_assets.store.files import staging

    with staging(tmp_path) as mine:
        workers.run("write_step", tmp_path, "weights", 1, failpoint="weights:part-written")
        assert len(temporaries(tmp_path)) == 2
        assert sweep_temporaries(tmp_path) == 1
        assert temporaries(tmp_path) == [mine]
    assert temporaries(tmp_path) == []


def test_random_kills(tmp_path, workers):
    _kill_and_check(tmp_path, workers, kills=8)


@pytest.mark.drill
def test_two_hundred_random_kills(tmp_path, workers):
    _kill_and_check(tmp_path, workers, kills=200)


@pytest.mark.parametrize("store", ["prices", "levels", "weights", "pointer", "ledger"])
def test_the_check_behind_the_kills_sees_a_torn_write(tmp_path, store):
    """The guard's guard: cut short what the last step wrote, as a writer in place would, and the check complains."""
    WRITE[store](tmp_path, 1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    WRITE[store](tmp_path, 2)
    changed = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and "memo" not in path.parts and path.read_bytes() != before.get(path)
    ]
    assert changed
    for path in changed:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        if store == "ledger":
            # A torn last line was never acknowledged: it is dropped, and so the step is the one before.
            assert STORED[store](tmp_path) == 1
        else:
            with pytest.raises(CorruptArtefact):
                STORED[store](tmp_path)
        path.write_bytes(whole)
    assert STORED[store](tmp_path) == 2


def _kill_and_check(root: Path, workers: Workers, *, kills: int) -> None:
    rng = random.Random(SEED)
    acked = dict.fromkeys(STORED, 0)
    ahead = interrupted = 0
    for kill in range(kills):
        (root / "started").unlink(missing_ok=True)
        writer = workers.start("write_forever", root)
        wait_for(root / "started")
        life = rng.uniform(0, LONGEST_LIFE)
        time.sleep(life)
        assert workers.kill(writer) == -signal.SIGKILL
        interrupted += bool(temporaries(root))
        for line in (root / "acks").read_text().splitlines():
            name, step = line.split()
            acked[name] = max(acked[name], int(step))
        for name, stored in STORED.items():
            step = stored(root)
            told = f"seed {SEED}, kill {kill}, after {life:.4f} s, {name}: acknowledged {acked[name]}, stored {step}"
            assert acked[name] <= step <= acked[name] + 1, told
            ahead += step > acked[name]
            acked[name] = step
    for name, write in WRITE.items():
        write(root, acked[name] + 1)
        assert STORED[name](root) == acked[name] + 1, f"seed {SEED}, {name}: the next writer could not go on"
    sweep_temporaries(root)
    assert temporaries(root) == []
    print(
        f"\n{kills} kills (seed {SEED}): 0 torn, 0 acknowledged lost; {sum(acked.values())} steps written, "
        f"{interrupted} kills in the middle of a file, {ahead} between the write and its acknowledgement"
    )


def test_a_healed_copy_serves_the_same_content(tmp_path):
    """A damaged home copied elsewhere is repaired there by publishing the same content again."""
    lake_at(tmp_path).publish(LEVELS, levels_of(1), lineage=lineage(1), data_end=None)
    shutil.copytree(tmp_path / "lake", tmp_path / "copy" / "lake")
    (file,) = (tmp_path / "copy" / "lake" / "levels" / "files").glob("*.parquet")
    file.write_bytes(b"")
    other = lake_at(tmp_path / "copy")

    healed = other.publish(LEVELS, levels_of(1), lineage=lineage(1), data_end=None)

    assert healed.version == known(lake_at(tmp_path).manifest(LEVELS)).version
    assert other.read(LEVELS).equals(levels_of(1))
    assert len(other.versions("levels").history()) == 1
