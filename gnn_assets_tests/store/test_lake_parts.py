"""A table published month by month, on top of what an earlier version says before a session."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.core.errors import (
    CorruptArtefact,
    DataError,
    DiskFull,
    LockTimeout,
    MissingArtefact,
    NewerSchema,
    SchemaMismatch,
)
from gnn_assets.store import files
from gnn_assets.store.files import locked
from gnn_assets.store.lake import Lake
from gnn_assets.store.layout import checked, encoded
from gnn_assets.store.manifests import Manifest
from gnn_assets.store.schema import Table
from gnn_assets_tests.store.states import LEVELS, PRICES, known, lake_at, lineage, prices_of, prices_until, temporaries
from gnn_assets_tests.store.worker import PROJECT

START = date(2020, 1, 1)
END = START + timedelta(days=100)
MARCH = START + timedelta(days=60)  # the first of the month: February had 29 days
MIDDLE = date(2020, 3, 17)


def _whole(steps: int = 100) -> pl.DataFrame:
    return prices_until(steps)


def _months(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The frame month by month, with the rows of each turned round."""
    month = pl.col("session").dt.month_start().alias("month")
    for _, part in frame.sort("session").group_by(month, maintain_order=True):
        yield part.select(frame.columns).reverse()


def _never() -> Iterator[pl.DataFrame]:
    pytest.fail("a month was asked for")
    yield


def _from(lake: Lake, months: Iterator[pl.DataFrame] | list[pl.DataFrame], *, step: int = 1, **options) -> Manifest:
    return lake.publish_from(PRICES, months, lineage=lineage(step), data_end=END, **options)


def _since(frame: pl.DataFrame, day: date) -> pl.DataFrame:
    return frame.filter(pl.col("session") >= day)


def _file(root: Path, manifest: Manifest, position: int) -> Path:
    return root / "lake" / "prices" / "files" / manifest.files[position].name


def _held(root: Path) -> set[str]:
    return {path.name for path in (root / "lake" / "prices" / "files").glob("*")}


def test_months_one_by_one_are_the_table_published_at_once(tmp_path):
    whole = lake_at(tmp_path / "whole").publish(PRICES, _whole(), lineage=lineage(1), data_end=END, run_id="run 7")
    lake = lake_at(tmp_path / "parts")

    made = _from(lake, _months(_whole()), run_id="run 7")

    assert made == whole
    assert made == lake.manifest(PRICES)
    assert lake.read(PRICES).equals(_whole())
    assert known(lake.versions("prices").current()).run_id == "run 7"
    assert temporaries(tmp_path) == []


_COLUMNS = {"session": pl.Date, "src": pl.String, "rank": pl.Int16, "run": pl.Int64}
_TABLES = [
    Table("t", _COLUMNS, key, monthly=True, provenance=provenance)
    for key in (("session", "src", "rank"), ("src", "session", "rank"), ("rank", "src", "session"))
    for provenance in ((), ("run",))
]
_ROWS = st.lists(
    st.tuples(st.integers(0, 130), st.sampled_from(["", "A", "BB", "C-D", "é"]), st.integers(-1, 2), st.integers()),
    max_size=40,
    unique_by=lambda row: row[:3],
).map(lambda rows: [(day, src, rank, value % 7) for day, src, rank, value in rows])


def _frame(table: Table, rows: list[tuple[int, str, int, int]]) -> pl.DataFrame:
    dated = [(START + timedelta(days=day), *rest) for day, *rest in rows]
    return pl.DataFrame(dated, schema=dict(table.columns), orient="row")


@settings(deadline=None, max_examples=60)
@given(
    table=st.sampled_from(_TABLES),
    rows=st.tuples(_ROWS, _ROWS),
    day=st.integers(-3, 135),
    empty=st.booleans(),
)
def test_a_version_cut_and_followed_is_what_publishing_the_same_rows_at_once_gives(
    tmp_path_factory, table, rows, day, empty
):
    old, new = rows
    folder, since = tmp_path_factory.mktemp("lake"), START + timedelta(days=day)
    before, after = _frame(table, old), _since(_frame(table, new), since)
    expected = pl.concat([before.filter(pl.col("session") < since), after]).sort(table.key)
    lake, whole = lake_at(folder / "parts"), lake_at(folder / "whole")
    base = lake.publish(table, before, lineage=lineage(1), data_end=None)
    months = [*([table.empty()] if empty else []), *_months(after)]

    made = lake.publish_from(table, months, since=since, base=base.version, lineage=lineage(2), data_end=END)
    at_once = whole.publish(table, expected, lineage=lineage(2), data_end=END)

    assert (made.version, made.rows, made.data_end) == (at_once.version, at_once.rows, END)
    assert lake.read(table).drop(table.provenance).equals(expected.drop(table.provenance))
    assert lake.read(table, version=base.version).equals(before.sort(table.key))
    assert temporaries(folder) == []
    assert table.provenance or made.files == at_once.files
    stored = {path.name for path in (folder / "parts").rglob("*.parquet")}
    assert stored == {file.name for file in (*base.files, *made.files)}
    # What a month says decides whether its file stays, not which frame it came in.
    for file in made.files:
        assert file in base.files or file.content_hash not in {old.content_hash for old in base.files}


def test_months_before_the_first_new_session_keep_their_files_unread_frames_or_not(tmp_path):
    lake = lake_at(tmp_path)
    base = _from(lake, _months(_whole(90)))

    made = _from(lake, [prices_of(91)], since=START + timedelta(91), base=base.version, step=2)

    assert made.files[:3] == base.files[:3]
    assert [file.month for file in made.files] == ["2020-01", "2020-02", "2020-03", "2020-04"]
    assert lake.read(PRICES).equals(_whole(91))
    assert lake.read(PRICES, version=base.version).equals(_whole(90))


def test_a_month_that_says_the_same_keeps_its_file(tmp_path):
    """Also one that is computed again, and one of a version that is not current any more; provenance does not count."""
    lake = lake_at(tmp_path)
    base = _from(lake, _months(_whole()))
    again = _months(_since(_whole(), MARCH).with_columns(run_id=pl.lit("again")))
    assert _from(lake, again, since=MARCH, base=base.version, step=2).files == base.files
    other = _from(lake, _months(_whole(10)), step=3)
    assert other.files[0] != base.files[0]

    assert _from(lake, _months(_whole().with_columns(run_id=pl.lit("third"))), step=4) == lake.manifest(
        PRICES, base.version
    )

    assert lake.read(PRICES)["run_id"].unique().to_list() == ["run"]
    assert _held(tmp_path) == {file.name for file in (*base.files, *other.files)}


def test_publishing_the_same_twice_writes_nothing(tmp_path):
    lake = lake_at(tmp_path)
    base = _from(lake, _months(_whole()))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    assert _from(lake, _months(_since(_whole(), MIDDLE)), since=MIDDLE, base=base.version) == base
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(lake.versions("prices").history()) == 1


def test_how_rows_are_chunked_does_not_change_the_bytes():
    """Parquet's row groups follow chunks; rows in order already are not sorted, and so arrive as they were cut."""
    rows = pl.DataFrame({"row": np.arange(300_000), "value": np.arange(300_000) % 7})
    parts = pl.concat([rows[:7], rows[7:270_000], rows[270_000:]], rechunk=False)
    assert checked(LEVELS, parts).n_chunks() == 3
    assert encoded("all", parts, content="") == encoded("all", rows, content="")


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "A", "AB", "é"]), st.floats(width=32) | st.sampled_from([0.0, -0.0])), max_size=6
    ),
    st.booleans(),
)
def test_rows_in_order_are_told_from_others_as_a_sort_would(pairs, in_order):
    table = Table("t", {"name": pl.String, "value": pl.Float64}, ("name", "value"))
    rows = pl.DataFrame(pairs, schema=dict(table.columns), orient="row")
    ordered = table.conform(rows)
    if rows.is_duplicated().any():
        with pytest.raises(DataError, match="rows that share theirs"):
            checked(table, ordered if in_order else rows)
    else:
        assert checked(table, ordered if in_order else rows).equals(ordered)


def test_nothing_new_cuts_what_there_was(tmp_path):
    lake = lake_at(tmp_path)
    base = _from(lake, _months(_whole()))
    made = _from(lake, [], since=MIDDLE, base=base.version, step=2)
    assert [file.month for file in made.files] == ["2020-01", "2020-02", "2020-03"]
    assert lake.read(PRICES).equals(_whole().filter(pl.col("session") < MIDDLE))
    assert _from(lake, [], step=3).files == ()
    assert lake.read(PRICES).equals(PRICES.empty())


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([_whole(40)], "a frame of 2020-01, 2020-02"),
        ([*_months(_whole(70))][::-1], "2020-02 after 2020-03"),
        ([prices_of(1), prices_of(2)], "2020-01 after 2020-01"),
        ([prices_of(1).with_columns(session=pl.lit(None, pl.Date))], "null in session"),
        ([pl.concat([prices_of(1), prices_of(1)])], "6 rows that share theirs"),
    ],
)
def test_frames_that_are_no_months_in_order_are_refused(tmp_path, frames, said):
    lake = lake_at(tmp_path)
    with pytest.raises(DataError, match=said):
        _from(lake, frames)
    assert lake.manifest(PRICES) is None
    assert list(tmp_path.rglob("*.parquet")) == []
    assert temporaries(tmp_path) == []


def test_rows_before_the_first_new_session_are_refused(tmp_path):
    lake = lake_at(tmp_path)
    base = _from(lake, _months(_whole(20)))
    since = START + timedelta(15)
    months = list(_months(_since(_whole(20), since - timedelta(1))))
    for options in ({"base": base.version}, {}):
        with pytest.raises(DataError, match=f"from {since} on, was a row of {since - timedelta(1)}"):
            _from(lake, months, since=since, **options)
    assert lake.manifest(PRICES) == base


def test_only_a_monthly_table_keyed_by_session_and_a_session_to_cut_at_are_taken(tmp_path):
    lake = lake_at(tmp_path)
    for table in (
        Table("t", PRICES.columns, PRICES.key),
        Table("t", PRICES.columns, ("symbol",), monthly=True),
    ):
        with pytest.raises(ValueError, match="expected a monthly table with a key that has session, was t"):
            lake.publish_from(table, [], lineage=None, data_end=None)
    with pytest.raises(ValueError, match="expected the first session that is new"):
        _from(lake, [], base="version")


def test_a_base_that_is_unknown_or_of_another_shape_is_refused_before_anything_is_computed(tmp_path):
    lake = lake_at(tmp_path)
    base = _from(lake, _months(_whole(20)))
    with pytest.raises(MissingArtefact, match="expected a publication of version unknown, was none"):
        _from(lake, _never(), since=MARCH, base="unknown")
    wider = Table("prices", {**PRICES.columns, "unit": pl.String}, PRICES.key, monthly=True)
    with pytest.raises(SchemaMismatch, match="unit"):
        lake.publish_from(wider, _never(), since=MARCH, base=base.version, lineage=None, data_end=None)
    lake.publish(Table("prices", PRICES.columns, PRICES.key, schema_version=2), _whole(20), lineage=None, data_end=None)
    with pytest.raises(NewerSchema, match="written by a newer"):
        _from(lake, _never())


def test_a_base_with_one_file_of_all_sessions_is_refused(tmp_path):
    """Its rows before the cut would be lost without a word: no month says where they are."""
    lake = lake_at(tmp_path)
    flat = Table("prices", PRICES.columns, PRICES.key, provenance=PRICES.provenance)
    base = lake.publish(flat, _whole(40), lineage=None, data_end=None)
    with pytest.raises(SchemaMismatch, match="expected a file a month, was one of all sessions"):
        _from(lake, _never(), since=MARCH, base=base.version)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_damaged_base_is_refused_before_anything_is_computed_and_healed_by_all_months(tmp_path, position):
    lake = lake_at(tmp_path)
    base = _from(lake, _months(_whole()))
    path = _file(tmp_path, base, position)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(CorruptArtefact, match=path.name):
        _from(lake, _never(), since=MIDDLE, base=base.version)
    with pytest.raises(MissingArtefact, match="a damaged one is in quarantine"):
        _from(lake, _never(), since=MIDDLE, base=base.version)

    assert _from(lake, _months(_whole())).version == base.version
    assert lake.read(PRICES).equals(_whole())


def test_damage_after_the_cut_does_not_matter(tmp_path):
    lake = lake_at(tmp_path)
    base = _from(lake, _months(_whole()))
    for position in (2, 3):
        _file(tmp_path, base, position).write_bytes(b"")
    made = _from(lake, _months(_since(_whole(), MARCH)), since=MARCH, base=base.version)
    assert made.version == base.version
    assert lake.read(PRICES).equals(_whole())


def test_a_file_that_goes_while_the_months_are_computed_is_missed(tmp_path):
    lake = lake_at(tmp_path)
    base = _from(lake, _months(_whole(90)))

    def months() -> Iterator[pl.DataFrame]:
        _file(tmp_path, base, 0).unlink()
        yield prices_of(91)

    with pytest.raises(MissingArtefact, match="the file that was whole when this version was begun"):
        _from(lake, months(), since=START + timedelta(91), base=base.version, step=2)
    assert known(lake.manifest(PRICES)).version == base.version
    assert temporaries(tmp_path) == []


def test_one_frame_is_taken_at_a_time_and_its_rows_are_on_the_disk_before_the_next(tmp_path):
    seen = []

    def months() -> Iterator[pl.DataFrame]:
        for part in _months(_whole()):
            seen.append(len([path for folder in temporaries(tmp_path) for path in folder.iterdir()]))
            yield part

    _from(lake_at(tmp_path), months())
    assert seen == [0, 1, 2, 3]


def test_another_writer_need_not_wait_while_the_months_are_computed(tmp_path):
    """Nor does its sweep take what is being written; both are on record, the one that ends last is current."""
    lake, other = lake_at(tmp_path, timeout=0), lake_at(tmp_path, timeout=0)

    def months() -> Iterator[pl.DataFrame]:
        parts = _months(_whole())
        yield next(parts)
        other.publish(PRICES, _whole(5), lineage=lineage(5), data_end=END)
        assert len(temporaries(tmp_path)) == 1
        yield from parts

    made = _from(lake, months())
    assert [publication.version for publication in lake.versions("prices").history()][1:] == [made.version]
    assert lake.read(PRICES).equals(_whole())


def test_of_two_that_say_the_same_the_first_files_stay(tmp_path):
    lake = lake_at(tmp_path)

    def months() -> Iterator[pl.DataFrame]:
        yield from _months(_whole().with_columns(run_id=pl.lit("second")))
        lake.publish(PRICES, _whole(), lineage=lineage(1), data_end=END)

    made = _from(lake, months(), step=2)
    assert lake.read(PRICES)["run_id"].unique().to_list() == ["run"]
    assert _held(tmp_path) == {file.name for file in made.files}


def test_a_held_lock_leaves_the_previous_version(tmp_path):
    lake = lake_at(tmp_path, timeout=0.05)
    base = _from(lake, _months(_whole(40)))
    with locked(tmp_path / "lake" / "prices" / ".lock", timeout_seconds=0), pytest.raises(LockTimeout):
        _from(lake, _months(_whole()), step=2)
    assert lake.manifest(PRICES) == base
    assert _held(tmp_path) == {file.name for file in base.files}


def test_months_that_fail_leave_the_previous_version_and_nothing_else(tmp_path):
    lake = lake_at(tmp_path)
    base = _from(lake, _months(_whole(40)))

    def months() -> Iterator[pl.DataFrame]:
        yield from _months(_whole(70))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as failure:
        _from(lake, months(), step=2)
    assert lake.manifest(PRICES) == base
    # At once, not when the traceback, which holds all that was under way, is forgotten.
    assert _held(tmp_path) == {file.name for file in base.files}
    assert failure.traceback


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_disk_that_fills_leaves_the_previous_version_and_nothing_else(tmp_path, monkeypatch, where):
    lake = lake_at(tmp_path)
    base = _from(lake, _months(_whole(40)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (files.os, "fsync"), "replace": (Path, "replace")}[where], full)
    with pytest.raises(DiskFull, match="disk full: need"):
        _from(lake, _months(_whole()), step=2)
    monkeypatch.undo()
    assert lake.manifest(PRICES) == base
    assert _held(tmp_path) == {file.name for file in base.files}
    assert _from(lake, _months(_whole()), step=2).rows == 300


KILLED = """
import sys
from pathlib import Path
from gnn_assets_tests.store.test_lake_parts import publish_to_die
publish_to_die(Path(sys.argv[1]), sys.argv[2])
"""


def publish_to_die(root: Path, step: str) -> None:
    """Runs in a process of its own, which a failpoint or its own hand kills."""
    lake = lake_at(root)

    def months() -> Iterator[pl.DataFrame]:
        yield from _months(_since(_whole(), MIDDLE))
        if step == "computing":
            os.kill(os.getpid(), signal.SIGKILL)

    _from(lake, months(), since=MIDDLE, base=known(lake.manifest(PRICES)).version, step=2)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("computing", 90),
        ("lake:files-written", 90),
        ("pointer:moved", 100),
    ],
)
def test_a_writer_killed_at_a_step_leaves_the_old_or_the_new(tmp_path, step, expected):
    lake = lake_at(tmp_path)
    _from(lake, _months(_whole(90)))

    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), step],
        cwd=PROJECT,
        env={**os.environ, "GNN_ASSETS_FAILPOINT": step},
        check=False,
    )

    assert done.returncode == -signal.SIGKILL
    assert lake.read(PRICES).equals(_whole(expected))
    if step == "computing":
        assert temporaries(tmp_path) != []  # until the next writer sweeps them
    base = known(lake.manifest(PRICES)).version
    assert _from(lake, _months(_since(_whole(), MIDDLE)), since=MIDDLE, base=base, step=3).rows == 300
    assert lake.read(PRICES).equals(_whole())
    assert temporaries(tmp_path) == []


EDGES = Table(
    name="edges",
    columns={"session": pl.Date, "src": pl.Int32, "corr": pl.Float64},
    key=("session", "src"),
    monthly=True,
)
ROWS = 200_000  # of a month: 3.2 MB
MEASURED = """
import resource, sys
from pathlib import Path
from gnn_assets_tests.store.test_lake_parts import publish_edges
publish_edges(Path(sys.argv[1]), int(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def publish_edges(root: Path, months: int) -> None:
    """Runs in a process of its own, whose peak of memory is measured."""
    rng = np.random.default_rng(0)
    src = np.arange(ROWS, dtype=np.int32)
    frames = (
        pl.DataFrame({"src": src, "corr": rng.random(ROWS)}).select(
            pl.lit(date(2000 + month // 12, month % 12 + 1, 1)).alias("session"), "src", "corr"
        )
        for month in range(months)
    )
    lake_at(root).publish_from(EDGES, frames, lineage=None, data_end=None)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_months(tmp_path):
    few, many = (_peak(tmp_path / f"{months}", months) for months in (4, 44))
    whole = 40 * ROWS * 16 / 2**20
    assert many - few < whole / 4, f"{few:.0f} MiB for 4 months, {many:.0f} MiB for 44"


def _peak(root: Path, months: int) -> float:
    """MiB."""
    command = [sys.executable, "-c", MEASURED, str(root), str(months)]
    return int(subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout) / 1024
