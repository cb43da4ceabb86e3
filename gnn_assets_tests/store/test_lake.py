from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.core.clock import ReplayClock
from gnn_assets.core.errors import CorruptArtefact, DataError, MissingArtefact, NewerSchema, SchemaMismatch
from gnn_assets.core.hashing import json_hash
from gnn_assets.store.lake import Lake
from gnn_assets.store.layout import checked
from gnn_assets.store.schema import MOMENT as MOMENT_TYPE
from gnn_assets.store.schema import Table
from gnn_assets.store.sealed import FORMAT, read_sealed, seal
from gnn_assets_tests.store.states import (
    LEVELS,
    MOMENT,
    PRICES,
    WRITE,
    known,
    lake_at,
    levels_of,
    lineage,
    prices_of,
    prices_until,
    temporaries,
)

END = date(2020, 2, 10)
STATUS = Table(
    name="symbol_status", columns={"stage": pl.String, "symbol": pl.String, "state": pl.String}, key=("stage", "symbol")
)


def _publish(lake: Lake, frame: pl.DataFrame, *, step: int = 1, **options):
    return lake.publish(PRICES, frame, lineage=lineage(step), data_end=END, **options)


def test_what_is_published_is_read_back_sorted_by_key(tmp_path):
    lake = lake_at(tmp_path)
    manifest = _publish(lake, prices_until(40).sample(fraction=1, shuffle=True, seed=1), run_id="run 7")
    assert lake.read(PRICES).equals(prices_until(40))
    assert manifest == lake.manifest(PRICES)
    assert [file.month for file in manifest.files] == ["2020-01", "2020-02"]
    assert (manifest.rows, manifest.data_end, manifest.written_at) == (120, END, MOMENT)
    assert known(lake.versions("prices").current()).run_id == "run 7"


def test_a_file_is_decoded_for_its_first_reader_in_a_process(tmp_path, monkeypatch):
    lake = lake_at(tmp_path)
    levels = LEVELS.empty().vstack(levels_of(77))
    lake.publish(LEVELS, levels, lineage=lineage(1), data_end=None)
    first = lake.read(LEVELS)
    monkeypatch.setattr(pl, "read_parquet", lambda *_, **__: pytest.fail("decoded again"))
    first.drop_in_place("value")

    assert lake.read(LEVELS).equals(levels)
    assert lake_at(tmp_path).read(LEVELS, where=pl.col("row") < 2).height == 2


def test_reading_makes_no_folder(tmp_path):
    lake = lake_at(tmp_path)
    assert lake.manifest(PRICES) is None
    assert lake.reuse(PRICES, lineage(1)) is None
    with pytest.raises(MissingArtefact, match="table prices: expected a publication, was none; materialise it first"):
        lake.read(PRICES)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_table_can_be_published_and_read(tmp_path):
    lake = lake_at(tmp_path)
    manifest = _publish(lake, PRICES.empty())
    assert (manifest.rows, manifest.files) == (0, ())
    assert lake.read(PRICES).equals(PRICES.empty())
    assert lake.append(PRICES, prices_of(1), lineage=lineage(2), data_end=END).rows == 3


def test_equal_content_is_the_equal_version_wherever_and_whenever(tmp_path):
    one, two = lake_at(tmp_path / "one"), lake_at(tmp_path / "two")
    first = _publish(one, prices_until(40))
    second = _publish(two, prices_until(40).rechunk().sample(fraction=1, shuffle=True, seed=3), step=2)
    assert first.version == second.version
    assert _publish(two, prices_until(41), step=3).version != first.version


def test_equal_content_gives_equal_bytes(tmp_path):
    one, two = lake_at(tmp_path / "one"), lake_at(tmp_path / "two")
    assert _publish(one, prices_until(40)).files == _publish(two, prices_until(40)).files


def test_provenance_does_not_change_the_version_and_the_first_files_stay(tmp_path):
    lake = lake_at(tmp_path)
    first = _publish(lake, prices_until(40))
    second = _publish(lake, prices_until(40).with_columns(run_id=pl.lit("later")), step=2)
    assert second.version == first.version
    assert second.files == first.files
    assert lake.read(PRICES)["run_id"].unique().to_list() == ["run"]
    assert len(lake.versions("prices").history()) == 2


def test_a_version_depends_on_the_table_and_its_schema_version(tmp_path):
    lake = lake_at(tmp_path)
    other = Table("other", LEVELS.columns, LEVELS.key)
    newer = Table("levels", LEVELS.columns, LEVELS.key, schema_version=2)
    versions = {
        lake.publish(table, levels_of(1), lineage=lineage(1), data_end=None).version for table in (LEVELS, other, newer)
    }
    assert len(versions) == 3


def test_publishing_the_same_twice_writes_nothing(tmp_path):
    lake = lake_at(tmp_path)
    _publish(lake, prices_until(40))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}
    _publish(lake, prices_until(40), run_id="again")
    assert {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"
    }.keys() == before.keys()
    assert len(lake.versions("prices").history()) == 1
    assert temporaries(tmp_path) == []


def test_an_append_rewrites_only_the_months_it_touches(tmp_path):
    lake = lake_at(tmp_path)
    first = _publish(lake, prices_until(40))
    second = lake.append(PRICES, prices_of(41), lineage=lineage(2), data_end=END + timedelta(1))
    assert second.files[0] == first.files[0]
    assert second.files[1] != first.files[1]
    assert second.data_end == END + timedelta(1)
    assert lake.read(PRICES).equals(prices_until(41))


@settings(deadline=None, max_examples=6)
@given(cuts=st.lists(st.integers(1, 70), max_size=4))
def test_appending_in_pieces_is_publishing_at_once(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("lake")
    whole = _publish(lake_at(folder / "whole"), prices_until(70))
    pieces, start = lake_at(folder / "pieces"), 1
    for cut in [*sorted(set(cuts)), 70]:
        rows = pl.concat([PRICES.empty(), *(prices_of(step) for step in range(start, cut + 1))])
        made = pieces.append(PRICES, rows, lineage=lineage(cut), data_end=END)
        start = cut + 1
    assert made.version == whole.version
    assert pieces.read(PRICES).equals(prices_until(70))


def test_an_append_without_rows_writes_nothing_unless_the_data_reach_further(tmp_path):
    lake = lake_at(tmp_path)
    first = lake.append(PRICES, PRICES.empty(), lineage=lineage(0), data_end=None)
    assert first.rows == 0
    _publish(lake, prices_until(3))
    assert lake.append(PRICES, PRICES.empty(), lineage=lineage(2), data_end=END) == lake.manifest(PRICES)
    assert len(lake.versions("prices").history()) == 2
    further = lake.append(PRICES, PRICES.empty(), lineage=lineage(3), data_end=END + timedelta(1))
    assert further.version == known(lake.manifest(PRICES)).version
    assert known(lake.manifest(PRICES)).data_end == END + timedelta(1)


def test_a_key_can_be_appended_once(tmp_path):
    lake = lake_at(tmp_path)
    _publish(lake, prices_until(3))
    with pytest.raises(DataError, match=r"expected one row a key \(symbol, session\), was 6 rows that share theirs"):
        lake.append(PRICES, prices_of(3), lineage=lineage(2), data_end=END)
    assert lake.read(PRICES).equals(prices_until(3))


@pytest.mark.parametrize("column", ["symbol", "session"])
def test_a_key_without_a_value_is_refused(tmp_path, column):
    rows = prices_of(1).with_columns(pl.lit(None, PRICES.columns[column]).alias(column))
    with pytest.raises(DataError, match=f"null in {column}"):
        _publish(lake_at(tmp_path), rows)


def test_an_upsert_replaces_equal_keys_and_keeps_the_rest(tmp_path):
    lake = lake_at(tmp_path)

    def rows(*triples: tuple[str, str, str]) -> pl.DataFrame:
        return pl.DataFrame(triples, schema=dict(STATUS.columns), orient="row")

    lake.upsert(STATUS, rows(("bars", "AAA", "FAILED"), ("bars", "BBB", "SUCCESS")))
    lake.upsert(STATUS, rows(("bars", "AAA", "SUCCESS"), ("graphs", "AAA", "SUCCESS")), run_id="second")
    expected = rows(("bars", "AAA", "SUCCESS"), ("bars", "BBB", "SUCCESS"), ("graphs", "AAA", "SUCCESS"))
    assert lake.read(STATUS).equals(expected)
    before = len(lake.versions("symbol_status").history())
    lake.upsert(STATUS, rows(("bars", "AAA", "SUCCESS")))
    assert len(lake.versions("symbol_status").history()) == before


def test_the_same_inputs_reuse_what_was_made_of_them(tmp_path):
    lake = lake_at(tmp_path)
    first = _publish(lake, prices_until(10), step=1)
    _publish(lake, prices_until(20), step=2)

    again = lake.reuse(PRICES, lineage(1), run_id="third")

    assert again == first
    assert lake.read(PRICES).equals(prices_until(10))
    assert known(lake.versions("prices").current()).run_id == "third"
    assert lake.reuse(PRICES, lineage(1)) == first
    assert len(lake.versions("prices").history()) == 3


def test_a_reuse_remembers_how_far_its_data_reached(tmp_path):
    lake = lake_at(tmp_path)
    lake.publish(LEVELS, levels_of(1), lineage=lineage(1), data_end=date(2020, 1, 2))
    lake.publish(LEVELS, levels_of(1), lineage=lineage(2), data_end=date(2020, 1, 3))
    assert known(lake.manifest(LEVELS)).data_end == date(2020, 1, 3)
    assert known(lake.reuse(LEVELS, lineage(1))).data_end == date(2020, 1, 2)


def test_what_is_damaged_is_not_reused(tmp_path):
    lake = lake_at(tmp_path)
    manifest = _publish(lake, prices_until(10))
    (tmp_path / "lake" / "prices" / "files" / manifest.files[0].name).write_bytes(b"PAR1")
    assert lake.reuse(PRICES, lineage(1)) is None


def test_what_has_other_columns_is_not_reused(tmp_path):
    lake = lake_at(tmp_path)
    _publish(lake, prices_until(10))
    other = Table("prices", {**PRICES.columns, "volume": pl.Float64}, PRICES.key, monthly=True)
    assert lake.reuse(other, lineage(1)) is None


def test_history_is_read_as_of_a_moment_and_by_version(tmp_path):
    clock = ReplayClock(datetime(2020, 1, 1, tzinfo=UTC))
    lake = Lake(tmp_path, clock=clock, lock_timeout_seconds=5)
    made = []
    for step in (1, 2, 3):
        clock.advance_to(datetime(2020, 1, step, 12, tzinfo=UTC))
        made.append(lake.publish(LEVELS, levels_of(step), lineage=lineage(step), data_end=None))
    assert lake.read(LEVELS, as_of=datetime(2020, 1, 2, 12, tzinfo=UTC)).equals(levels_of(2))
    assert lake.read(LEVELS, as_of=datetime(2020, 1, 3, 11, tzinfo=UTC)).equals(levels_of(2))
    assert lake.read(LEVELS, version=made[0].version).equals(levels_of(1))
    assert lake.manifest(LEVELS, made[1].version) == made[1]
    with pytest.raises(MissingArtefact, match="a publication by 2019"):
        lake.read(LEVELS, as_of=datetime(2019, 1, 1, tzinfo=UTC))
    with pytest.raises(MissingArtefact, match="of version unknown"):
        lake.read(LEVELS, version="unknown")
    assert lake.manifest(LEVELS, "unknown") is None
    with pytest.raises(ValueError, match="was both"):
        lake.read(LEVELS, version=made[0].version, as_of=MOMENT)


def test_rows_that_say_when_they_were_known_are_read_as_of_that_moment(tmp_path):
    """Whenever they were published: a bar fetched late was known at its close, a revision of it only when fetched."""
    bars = Table("bars", {"bar": pl.Int64, "rev": pl.Int64, "known_at": MOMENT_TYPE}, ("bar", "rev"))
    close, fetched = datetime(2020, 1, 2, 21, tzinfo=UTC), datetime(2020, 1, 9, tzinfo=UTC)
    lake = Lake(tmp_path, clock=ReplayClock(fetched), lock_timeout_seconds=5)
    with pytest.raises(MissingArtefact, match="expected a publication, was none"):
        lake.read(bars, as_of=close)
    rows = pl.DataFrame([(1, 0, close), (1, 1, fetched)], schema=dict(bars.columns), orient="row")
    lake.publish(bars, rows, lineage=lineage(1), data_end=None)

    assert lake.read(bars, as_of=close).equals(rows[:1])
    assert lake.read(bars, as_of=fetched - timedelta(microseconds=1)).equals(rows[:1])
    assert lake.read(bars, as_of=fetched).equals(rows)
    assert lake.read(bars, as_of=close - timedelta(microseconds=1)).equals(bars.empty())


def test_the_last_good_version_of_a_whole_table_is_the_current_one(tmp_path):
    lake = lake_at(tmp_path)
    manifest = _publish(lake, prices_until(10))
    found, rows = lake.last_good(PRICES)
    assert found == manifest
    assert rows.equals(prices_until(10))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (prices_of(1).drop("value"), "value is missing"),
        (prices_of(1).with_columns(x=1), "x is not declared"),
        (prices_of(1).cast({"value": pl.Float32}), "value is Float32 instead of Float64"),
    ],
)
def test_a_frame_of_another_shape_is_refused_with_the_difference(tmp_path, frame, said):
    with pytest.raises(SchemaMismatch, match=said):
        _publish(lake_at(tmp_path), frame)


_DTYPES = st.sampled_from([pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.String, pl.Boolean, pl.Date, MOMENT_TYPE])
_COLUMNS = st.dictionaries(st.sampled_from("abcd"), _DTYPES)


@settings(deadline=None, max_examples=20)
@given(written=_COLUMNS, wanted=_COLUMNS, rows=st.booleans())
def test_no_column_is_ever_cast_silently(tmp_path_factory, written, wanted, rows):
    """Whatever was stored and whatever is declared now: the same frame comes back, or a refusal with the difference."""
    lake = lake_at(tmp_path_factory.mktemp("lake"))
    before = Table("t", {"key": pl.Int64, **written}, ("key",))
    after = Table("t", {"key": pl.Int64, **wanted}, ("key",))
    filled = pl.DataFrame({"key": [1, 2] if rows else []}, schema={"key": pl.Int64})
    frame = filled.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in written.items())
    lake.publish(before, frame, lineage=lineage(1), data_end=None)
    assert lake.read(before).equals(frame)
    if list(written.items()) == list(wanted.items()):
        assert lake.read(after).schema == frame.schema
    elif written == wanted and not rows:
        assert lake.read(after).schema == pl.Schema(after.columns)
    else:
        with pytest.raises(SchemaMismatch) as refusal:
            lake.read(after)
        for name in written.keys() | wanted.keys():
            assert (f"{name} is" in str(refusal.value)) == (written.get(name) != wanted.get(name))
        # An explicit migration is a publication of the whole content in the new shape.
        lake.publish(after, after.empty(), lineage=lineage(2), data_end=None)
        assert lake.read(after).equals(after.empty())
        assert lake.read(before, version=lake.versions("t").history()[0].version).equals(frame)


def test_a_table_written_by_a_newer_release_is_refused_and_left_alone(tmp_path):
    lake = lake_at(tmp_path)
    newer = Table("levels", {**LEVELS.columns, "unit": pl.String}, LEVELS.key, schema_version=2)
    lake.publish(newer, newer.empty(), lineage=lineage(1), data_end=None)
    for attempt in (
        lambda: lake.read(LEVELS),
        lambda: lake.last_good(LEVELS),
        lambda: lake.upsert(LEVELS, levels_of(1)),
        lambda: lake.append(LEVELS, levels_of(1), lineage=lineage(2), data_end=None),
        lambda: lake.publish(LEVELS, levels_of(1), lineage=lineage(2), data_end=None),
    ):
        with pytest.raises(
            NewerSchema, match="table levels: expected schema version 1 or older, was 2, written by a newer"
        ):
            attempt()
    assert lake.read(newer).equals(newer.empty())


def test_a_lake_in_a_newer_format_is_refused(tmp_path):
    WRITE["levels"](tmp_path, 1)
    lake = lake_at(tmp_path)
    (path,) = (tmp_path / "lake" / "levels" / "manifests").iterdir()
    body = read_sealed(path)
    form = FORMAT + 1
    path.write_bytes(seal(body).replace(b'"format":1', b'"format":2'))
    data = path.read_text().replace(json_hash([FORMAT, body]), json_hash([form, body]))
    path.write_text(data)
    with pytest.raises(NewerSchema, match="install the newer release"):
        lake.read(LEVELS)


def test_columns_in_another_order_are_refused(tmp_path):
    lake = lake_at(tmp_path)
    WRITE["levels"](tmp_path, 1)
    turned = Table("levels", dict(reversed([*LEVELS.columns.items()])), LEVELS.key)
    with pytest.raises(SchemaMismatch, match="the declared ones in another order"):
        lake.read(turned)


_BY_SYMBOL = Table(
    name="revised",
    columns={
        "symbol": pl.String,
        "session": pl.Date,
        "rev": pl.Int32,
        "close": pl.Float64,
        "known_at": MOMENT_TYPE,
    },
    key=("symbol", "session", "rev"),
    monthly=True,
)
_KEYS = [("symbol", "session", "rev"), ("session", "symbol", "rev"), ("rev", "symbol", "session"), ("close",)]
_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["AAA", "BB", "C", "C-D"]),
        st.integers(0, 130),
        st.integers(0, 2),
        st.integers(1, 10),
    ),
    max_size=60,
    unique_by=lambda row: row[:3],
)


@settings(deadline=None, max_examples=80)
@given(
    rows=_ROWS,
    layout=st.tuples(st.sampled_from(_KEYS), st.booleans()),
    columns=st.none() | st.lists(st.sampled_from([*_BY_SYMBOL.columns]), min_size=1, unique=True),
    limits=st.tuples(
        st.none() | st.integers(-10, 140),
        st.none() | st.integers(-10, 140),
        st.none() | st.integers(0, 12),
        st.none() | st.sampled_from(["AAA", "C", "Z"]),
    ),
)
def test_a_part_of_a_table_is_that_part_of_the_whole(tmp_path_factory, rows, layout, columns, limits):
    """Whatever columns, sessions, moment and condition: what is read equals the whole, filtered and cut afterwards."""
    (key, monthly), (*span, known, symbol) = layout, limits
    if key == ("close",):
        rows = [(name, day, rev, number) for number, (name, day, rev, _) in enumerate(rows)]
    start = date(2019, 12, 20)
    frame = pl.DataFrame(
        [
            (name, start + timedelta(day), rev, float(close), datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=close))
            for name, day, rev, close in rows
        ],
        schema=dict(_BY_SYMBOL.columns),
        orient="row",
    )
    table = Table("revised", _BY_SYMBOL.columns, key, monthly=monthly)
    lake = lake_at(tmp_path_factory.mktemp("lake"))
    lake.publish(table, frame, lineage=None, data_end=None)
    first, last = (None if day is None else start + timedelta(day) for day in span)
    as_of = None if known is None else datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=known)

    found = lake.read(
        table,
        as_of=as_of,
        columns=columns,
        first=first,
        last=last,
        where=None if symbol is None else pl.col("symbol") == symbol,
    )

    expected = frame.sort(key)
    if as_of is not None:
        expected = expected.filter(pl.col("known_at") <= as_of)
    if symbol is not None:
        expected = expected.filter(pl.col("symbol") == symbol)
    expected = expected.filter(
        pl.col("session").is_between(first or date(1900, 1, 1), last or date(2100, 1, 1))
    ).select(columns or [*_BY_SYMBOL.columns])
    assert found.equals(expected)
    assert found.schema == expected.schema


def test_only_the_months_that_are_wanted_are_read(tmp_path):
    lake = lake_at(tmp_path)
    manifest = _publish(lake, prices_until(100))
    assert [file.month for file in manifest.files] == ["2020-01", "2020-02", "2020-03", "2020-04"]
    for file in (manifest.files[0], manifest.files[3]):
        (tmp_path / "lake" / "prices" / "files" / file.name).write_bytes(b"damaged")

    found = lake.read(PRICES, first=date(2020, 2, 1), last=date(2020, 3, 31))

    assert found.equals(prices_until(100).filter(pl.col("session").is_between(date(2020, 2, 1), date(2020, 3, 31))))
    for day in (date(2020, 1, 31), date(2020, 4, 1)):
        with pytest.raises(CorruptArtefact, match=f"{day:%Y-%m}-"):
            lake.read(PRICES, columns=["value"], first=day, last=day)


def test_one_bit_in_a_column_that_is_not_wanted_is_found_too(tmp_path):
    lake = lake_at(tmp_path)
    (file,) = _publish(lake, prices_until(20)).files
    path = tmp_path / "lake" / "prices" / "files" / file.name
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"run")] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CorruptArtefact, match=file.name):
        lake.read(PRICES, columns=["value"])


def test_a_column_that_is_not_declared_is_refused_by_name(tmp_path):
    lake = lake_at(tmp_path)
    _publish(lake, prices_until(1))
    with pytest.raises(ValueError, match="read: expected columns of prices, was volume, known"):
        lake.read(PRICES, columns=["value", "volume"], where=pl.col("known") > 1)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=12))
def test_every_row_that_shares_its_key_is_counted(pairs):
    table = Table("t", {"name": pl.String, "number": pl.Int64}, ("name", "number"))
    frame = pl.DataFrame(pairs, schema=dict(table.columns), orient="row")
    sharing = sum(pairs.count(pair) > 1 for pair in pairs)
    if sharing:
        with pytest.raises(DataError, match=f"was {sharing} rows that share theirs"):
            checked(table, frame)
    else:
        assert checked(table, frame).equals(frame.sort("name", "number"))
