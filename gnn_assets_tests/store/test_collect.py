"""Clean-up: what is needed stays, whoever reads or writes meanwhile."""

import os
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from gnn_assets.core.clock import LiveClock, ReplayClock
from gnn_assets.core.errors import CorruptArtefact, LockTimeout, MissingArtefact
from gnn_assets.store.collect import Collected, collect
from gnn_assets.store.files import locked
from gnn_assets.store.lake import Lake
from gnn_assets.store.manifests import StoredFile
from gnn_assets.store.versions import Versions
from gnn_assets.store.weights import WeightsStore
from gnn_assets_tests.store.states import LEVELS, PRICES, known, levels_of, lineage, parts_of, prices_until, temporaries

START = datetime(2020, 1, 1, tzinfo=UTC)
SEED = 20221228


class _Platform:
    """A lake of which every file is as old as the clock says."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "lake"
        self.clock = ReplayClock(START)
        self.lake = Lake(self.root, clock=self.clock, lock_timeout_seconds=20)
        self.weights = WeightsStore(self.root / "gnn_weights", clock=self.clock, lock_timeout_seconds=20)

    def a_day_later(self) -> None:
        self.pass_time(timedelta(days=1))

    def pass_time(self, time_passed: timedelta) -> None:
        for path in self.root.rglob("*"):
            if path.stat().st_mtime > time.time() - 10**6:
                os.utime(path, times=(self.clock.now().timestamp(),) * 2)
        self.clock.advance_to(self.clock.now() + time_passed)

    def levels(self, *steps: int) -> list[str]:
        made = []
        for step in steps:
            made.append(self.lake.publish(LEVELS, levels_of(step), lineage=lineage(step), data_end=None).version)
            self.a_day_later()
        return made

    def train(self, *steps: int) -> list[str]:
        made = []
        for step in steps:
            made.append(self.weights.save(parts_of(step), {"step": step}))
            self.weights.publish(made[-1], lineage=lineage(step))
            self.a_day_later()
        return made

    def collect(self, *, keep: int = 2, grace: timedelta = timedelta(0), **options) -> Collected:
        return collect(self.root, keep=keep, grace=grace, clock=self.clock, lock_timeout_seconds=5, **options)

    def readable(self, versions: list[str]) -> list[bool]:
        return [self._is_readable(version) for version in versions]

    def _is_readable(self, version: str) -> bool:
        try:
            self.lake.read(LEVELS, version=version)
        except MissingArtefact:
            return False
        return True


def _manifests(root: Path) -> set[str]:
    return {path.stem for path in (root / "levels" / "manifests").iterdir()}


def test_the_newest_versions_stay_and_the_others_go_with_their_files(tmp_path):
    platform = _Platform(tmp_path)
    versions = platform.levels(1, 2, 3, 4, 5)
    size = sum(path.stat().st_size for path in platform.root.rglob("*.*") if path.is_file())

    done = platform.collect(keep=2)

    assert platform.readable(versions) == [False, False, False, True, True]
    assert platform.lake.read(LEVELS).equals(levels_of(5))
    assert done.kept == {"levels": {versions[4]: "current", versions[3]: "rollback"}}
    assert len(list((platform.root / "levels" / "files").iterdir())) == 2
    assert sorted(path.split("/")[1] for path in done.removed) == ["files"] * 3 + ["manifests"] * 3 + ["memo"] * 3
    assert size - done.bytes == sum(path.stat().st_size for path in platform.root.rglob("*.*") if path.is_file())
    assert temporaries(tmp_path) == []
    assert platform.collect(keep=2).removed == ()


def test_what_was_collected_is_said_to_be_missing_and_the_history_stays(tmp_path):
    platform = _Platform(tmp_path)
    platform.levels(1, 2, 3)
    platform.collect(keep=1)
    with pytest.raises(MissingArtefact, match="expected a record, was none; materialise it again"):
        platform.lake.read(LEVELS, as_of=START + timedelta(hours=1))
    assert len(platform.lake.versions("levels").history()) == 3
    assert platform.lake.reuse(LEVELS, lineage(1)) is None
    assert platform.lake.publish(LEVELS, levels_of(1), lineage=lineage(1), data_end=None).rows == 1001
    assert platform.lake.read(LEVELS).equals(levels_of(1))
    assert platform.lake.read(LEVELS, as_of=START + timedelta(hours=1)).equals(levels_of(1))


def test_a_month_that_a_newer_version_shares_stays(tmp_path):
    platform = _Platform(tmp_path)
    for step in (10, 25, 40):
        platform.lake.publish(PRICES, prices_until(step), lineage=lineage(step), data_end=None)
    platform.a_day_later()
    platform.collect(keep=1)
    assert platform.lake.read(PRICES).equals(prices_until(40))
    files = {path.name for path in (platform.root / "prices" / "files").iterdir()}
    assert files == {file.name for file in known(platform.lake.manifest(PRICES)).files}


def test_what_is_cited_stays_whoever_cites_it(tmp_path):
    platform = _Platform(tmp_path)
    versions = platform.levels(1, 2, 3, 4)
    platform.lake.versions("levels").pin(versions[0], by="card 7")

    done = platform.collect(keep=1, cited={"levels": {versions[1]: "the champion"}, "other": {"x": "nobody"}})

    assert platform.readable(versions) == [True, True, False, True]
    assert done.kept["levels"] == {
        versions[0]: "cited by card 7",
        versions[1]: "the champion",
        versions[3]: "current",
    }


def test_a_version_published_again_is_as_new_as_that(tmp_path):
    platform = _Platform(tmp_path)
    versions = platform.levels(1, 2, 3, 1)
    platform.collect(keep=2)
    assert platform.readable(versions) == [True, False, True, True]


def test_grace_counts_from_when_a_version_stopped_being_current(tmp_path):
    """Published long ago, replaced a moment ago: a read of it may have begun just before."""
    platform = _Platform(tmp_path)
    versions = platform.levels(1)
    platform.clock.advance_to(START + timedelta(days=100))
    versions += platform.levels(2, 3)
    assert platform.collect(keep=1, grace=timedelta(days=1, hours=1)).kept["levels"] == {
        versions[2]: "current",
        versions[1]: "current within the grace period",
    }
    assert platform.readable(versions) == [False, True, True]


def test_what_was_written_within_the_grace_period_stays_though_nothing_names_it(tmp_path):
    platform = _Platform(tmp_path)
    platform.levels(1)
    version = platform.weights.save(parts_of(1), {})
    orphan = platform.root / "levels" / "files" / "all-0123456789abcdef.parquet"
    orphan.write_bytes(b"a writer that died")
    platform.train(2)
    platform.collect(grace=timedelta(days=2))
    assert orphan.exists()
    platform.weights.check(version)
    platform.a_day_later()
    platform.a_day_later()
    done = platform.collect(grace=timedelta(days=2))
    assert sorted(done.removed) == [
        f"gnn_weights/artefacts/{version}",
        "levels/files/all-0123456789abcdef.parquet",
    ]


def test_a_clock_that_stands_still_in_the_past_removes_nothing(tmp_path):
    platform = _Platform(tmp_path)
    for step in (1, 2, 3):
        platform.lake.publish(LEVELS, levels_of(step), lineage=lineage(step), data_end=None)
    assert platform.collect(keep=1).removed == ()


def test_weights_go_the_same_way(tmp_path):
    platform = _Platform(tmp_path)
    versions = platform.train(1, 2, 3, 4)
    platform.weights.versions.pin(versions[0], by="card 1")
    done = platform.collect(keep=2)
    for version, stays in zip(versions, (True, False, True, True), strict=True):
        if stays:
            platform.weights.check(version)
        else:
            with pytest.raises(MissingArtefact, match="a stored version"):
                platform.weights.check(version)
    assert platform.weights.find(lineage(2).key) is None
    assert platform.weights.find(lineage(1).key) == versions[0]
    assert done.bytes > 0
    with pytest.raises(MissingArtefact):
        platform.weights.publish(versions[1], lineage=None)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    platform = _Platform(tmp_path)
    platform.levels(1)
    for name in ("cards/ab/x.json", "champion/current"):
        path = platform.root / name
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    platform.a_day_later()
    assert platform.collect(keep=1).removed == ()
    assert Path(tmp_path / "lake" / "cards" / "ab" / "x.json").exists()


def test_of_no_lake_nothing_is_collected(tmp_path):
    done = _Platform(tmp_path).collect()
    assert (done.removed, done.bytes, done.kept, done.skipped) == ((), 0, {}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damaged", ["pin", "current", "record", "manifest", "no manifest"])
def test_nothing_is_removed_on_a_guess(tmp_path, damaged):
    """Where something is damaged that may cite anything, that artefact is left alone and named; the others go on."""
    platform = _Platform(tmp_path)
    versions = platform.levels(1, 2, 3)
    platform.train(1, 2, 3)
    platform.lake.versions("levels").pin(versions[0], by="card")
    folder = platform.root / "levels"
    path = {
        "pin": next((folder / "pins").iterdir()),
        "current": folder / "current",
        "record": folder / "publications" / "000003.json",
        "manifest": folder / "manifests" / f"{versions[2]}.json",
        "no manifest": folder / "manifests" / f"{versions[2]}.json",
    }[damaged]
    if damaged == "no manifest":
        path.unlink()
    else:
        path.write_bytes(b"{}")
    platform.a_day_later()

    done = platform.collect(keep=1)

    assert list(done.skipped) == ["levels"]
    assert not any(path.startswith("levels") for path in done.removed)
    assert len([path for path in done.removed if "artefacts" in path]) == 2


def test_an_old_record_that_is_damaged_does_not_stop_the_clean_up_for_ever(tmp_path):
    platform = _Platform(tmp_path)
    versions = platform.levels(1, 2, 3, 4)
    (platform.root / "levels" / "publications" / "000001.json").write_bytes(b"{}")
    assert platform.collect(keep=2).skipped == {}
    assert _manifests(platform.root) == set(versions[2:])


def test_it_waits_for_a_writer(tmp_path):
    platform = _Platform(tmp_path)
    versions = platform.levels(1, 2, 3)
    with locked(platform.root / "levels" / ".lock", timeout_seconds=0), pytest.raises(LockTimeout, match="levels"):
        collect(platform.root, keep=1, grace=timedelta(0), clock=platform.clock, lock_timeout_seconds=0.05)
    assert platform.readable(versions) == [True, True, True]


def test_what_is_cleaned_up_while_a_reuse_waits_is_not_made_current(tmp_path):
    """The look and the publication are one step: nothing may vanish between them."""
    platform = _Platform(tmp_path)
    versions = platform.levels(1, 2)
    held = threading.Event()

    def clean() -> None:
        with locked(platform.root / "levels" / ".lock", timeout_seconds=5):
            held.set()
            time.sleep(0.3)
            (platform.root / "levels" / "manifests" / f"{versions[0]}.json").unlink()

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    held.wait()
    assert platform.lake.reuse(LEVELS, lineage(1)) is None
    cleaner.join()
    assert known(platform.lake.manifest(LEVELS)).version == versions[1]
    assert platform.lake.read(LEVELS).equals(levels_of(2))


def test_what_is_not_whole_any_more_is_not_published(tmp_path):
    versions = Versions(tmp_path, clock=LiveClock(), lock_timeout_seconds=5, complete=lambda name: name == "whole")
    versions.publish("whole")
    with pytest.raises(
        MissingArtefact, match="version gone: expected all of it, stored and whole, was damaged, or cle"
    ):
        versions.publish("gone")
    assert known(versions.current()).version == "whole"


class _LongLake(Lake):
    """A reader that is held up before each file it reads."""

    def __init__(self, root: Path, *, held_up: Callable[[], None]) -> None:
        super().__init__(root, clock=LiveClock(), lock_timeout_seconds=20)
        self._held_up = held_up

    def _bytes(self, table_name: str, file: StoredFile) -> bytes:
        self._held_up()
        return super()._bytes(table_name, file)


def _revalued(number: float) -> pl.DataFrame:
    return prices_until(200).with_columns(value=pl.lit(number, pl.Float64))


def _read_while_all_changes(folder: Path, *, grace: timedelta) -> tuple[int, int]:
    """Four long reads: before each of their files a new version comes, ten minutes pass and the clean-up runs."""
    platform = _Platform(folder)
    publish = partial(platform.lake.publish, PRICES, lineage=None, data_end=None)
    removed, numbers = [], iter(range(1, 1000))

    def held_up() -> None:
        publish(_revalued(next(numbers)))
        platform.pass_time(timedelta(minutes=10))
        removed.extend(platform.collect(keep=1, grace=grace).removed)

    pinned = publish(_revalued(0)).version
    platform.lake.versions("prices").pin(pinned, by="card")
    reader = _LongLake(platform.root, held_up=held_up)
    for _ in range(4):
        rows = reader.read(PRICES)
        assert rows["value"].n_unique() == 1
        assert rows.height == 600
    assert platform.lake.read(PRICES, version=pinned).equals(_revalued(0))
    return len(removed), len(known(platform.lake.manifest(PRICES)).files)


def test_no_long_read_misses_a_file_while_versions_come_and_go(tmp_path):
    removed, months = _read_while_all_changes(tmp_path, grace=timedelta(minutes=10) * 8)
    assert months == 7
    assert removed > 50


def test_with_no_grace_a_long_read_does_miss_a_file(tmp_path):
    """The guard's guard: the same reads, and nothing kept for those who read."""
    with pytest.raises(MissingArtefact):
        _read_while_all_changes(tmp_path, grace=timedelta(0))


@pytest.mark.drill
def test_no_reader_misses_a_file_for_a_minute(tmp_path):
    """A writer, two slow readers and a clean-up beside each other, in real time."""
    rng = random.Random(SEED)
    lake = Lake(tmp_path, clock=LiveClock(), lock_timeout_seconds=20)
    slow = _LongLake(tmp_path, held_up=lambda: time.sleep(0.01))
    pinned = lake.publish(PRICES, _revalued(0), lineage=None, data_end=None).version
    lake.versions("prices").pin(pinned, by="card")
    wrong: list[str] = []
    done = {"reads": 0, "removed": 0}
    deadline = time.monotonic() + 60

    def until_over(work: Callable[[], None]) -> None:
        while time.monotonic() < deadline:
            try:
                work()
            except (MissingArtefact, CorruptArtefact, OSError) as error:
                wrong.append(repr(error))

    def write() -> None:
        lake.publish(PRICES, _revalued(rng.random()), lineage=None, data_end=None)

    def read() -> None:
        if slow.read(PRICES)["value"].n_unique() != 1:
            wrong.append("a mix of versions")
        done["reads"] += 1

    def clean() -> None:
        told = collect(tmp_path, keep=5, grace=timedelta(seconds=10), clock=LiveClock(), lock_timeout_seconds=20)
        done["removed"] += len(told.removed)
        wrong.extend(told.skipped.values())

    threads = [threading.Thread(target=until_over, args=(work,)) for work in (write, read, read, clean)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert done["removed"] > 0
    assert lake.read(PRICES, version=pinned).equals(_revalued(0))
    print(f"\nclean-up beside a writer and two slow readers, 60 s: {done}, 0 missing")
