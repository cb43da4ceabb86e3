"""Changed bits, cut files and planted files: refused by name, never parsed into numbers."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, SchemaMismatch, StoreError
from gnn_assets.core.hashing import sha256_hex
from gnn_assets.store.cards import Cards
from gnn_assets.store.lake import Lake
from gnn_assets.store.layout import decoded, encoded
from gnn_assets.store.schema import Table
from gnn_assets_tests.store.states import (
    LEVELS,
    PRICES,
    STORED,
    WRITE,
    known,
    lake_at,
    ledger_at,
    levels_of,
    lineage,
    parts_of,
    pointer_at,
    prices_until,
    weights_at,
)

SEED = 20221228


def _targets(root: Path) -> dict[Path, Callable[[], object]]:
    """Every stored file that content depends on, with the read that must refuse it once it is damaged."""
    for write in WRITE.values():
        write(root, 1)
        write(root, 2)
    cards = Cards(root / "cards")
    card_id = cards.put({"session": "2022-12-28", "bars": "abc"})
    pointer_at(root).pin("step-1", by="card")
    reads: dict[Path, Callable[[], object]] = {}
    for name in STORED:
        folder = root / {"prices": "lake/prices", "levels": "lake/levels", "pointer": "champion"}.get(name, name)
        for path in folder.rglob("*"):
            if path.is_file() and not {"memo", "pins"} & {*path.parts} and "lock" not in path.name:
                reads[path] = lambda name=name: (_history(root), STORED[name](root))
    store = weights_at(root)
    for path in (root / "weights" / "artefacts").rglob("*.*"):
        version = path.parent.name
        reads[path] = lambda version=version: [store.load(version, name) for name in store.parts(version)]
    for path in (root / "lake" / "levels" / "files").iterdir():
        reads[path] = lambda: [lake_at(root).read(LEVELS, version=made.version) for made in _history(root)["levels"]]
    for path in (root / "lake" / "levels" / "manifests").iterdir():
        reads[path] = lambda: [lake_at(root).manifest(LEVELS, made.version) for made in _history(root)["levels"]]
    for path in (root / "lake" / "prices" / "files").iterdir():
        reads[path] = lambda: [lake_at(root).read(PRICES, version=made.version) for made in _history(root)["prices"]]
    for path in (root / "lake" / "prices" / "manifests").iterdir():
        reads[path] = lambda: [lake_at(root).manifest(PRICES, made.version) for made in _history(root)["prices"]]
    reads |= {path: lambda: cards.get(card_id) for path in (root / "cards").rglob("*.json")}
    reads |= {path: lambda: pointer_at(root).pins() for path in (root / "champion" / "pins").iterdir()}
    return reads


def _history(root: Path) -> dict[str, tuple]:
    lake = lake_at(root)
    return {
        "levels": lake.versions("levels").history(),
        "prices": lake.versions("prices").history(),
        "weights": weights_at(root).history(),
        "pointer": pointer_at(root).history(),
    }


def _flip_and_read(root: Path, *, flips: int) -> None:
    rng = random.Random(SEED)
    reads = _targets(root)
    assert len(reads) > 20
    for read in reads.values():
        read()
    refused: dict[str, int] = {}
    for flip in range(flips):
        path = rng.choice(sorted(reads))
        whole = path.read_bytes()
        bit = rng.randrange(len(whole) * 8)
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        told = f"seed {SEED}, flip {flip}: bit {bit} of {path}"
        said = _refusal(reads[path])
        assert str(root) in said, f"{told}: went unnoticed, or was refused without a name: {said!r}"
        path.write_bytes(whole)
        refused[path.suffix] = refused.get(path.suffix, 0) + 1
    print(f"\n{flips} flips over {len(reads)} files (seed {SEED}): {sum(refused.values())} refused by name {refused}")


def _refusal(read: Callable[[], object]) -> str:
    try:
        read()
    except CorruptArtefact as error:
        return str(error)
    return ""


def test_flipped_bits_are_refused(tmp_path):
    _flip_and_read(tmp_path, flips=150)


@pytest.mark.drill
def test_ten_thousand_flipped_bits_are_refused(tmp_path):
    _flip_and_read(tmp_path, flips=10_000)


def test_without_the_hash_most_flips_would_load_unnoticed():
    """Why the hash is checked: the same flips against the parser alone."""
    rng = random.Random(SEED)
    file, whole = encoded("all", levels_of(1), content="")
    unnoticed = 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        try:
            decoded(LEVELS, file, bytes(damaged))
        except StoreError:
            continue
        unnoticed += 1
    assert unnoticed > 100


@pytest.mark.parametrize("share", [*range(16), -1])
def test_a_cut_parquet_file_is_refused_with_its_path(tmp_path, share):
    WRITE["levels"](tmp_path, 1)
    (file,) = (tmp_path / "lake" / "levels" / "files").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] if share < 0 else whole[: len(whole) * share // 16])

    with pytest.raises(CorruptArtefact, match=r"materialise it again") as refusal:
        lake_at(tmp_path).read(LEVELS)

    assert str(file) in str(refusal.value)
    assert not file.exists()
    assert (tmp_path / "lake" / "levels" / "quarantine" / file.name).exists()


@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=300), keep=st.integers(0, 400))
def test_verified_bytes_that_are_no_parquet_are_still_one_typed_error(data, keep):
    """Whatever the parser does with them, a panic included."""
    file, whole = encoded("all", levels_of(1), content="")
    bad = whole[:keep] + data + b"PAR1"
    with pytest.raises((CorruptArtefact, SchemaMismatch)):
        decoded(LEVELS, replace(file, sha256=sha256_hex(bad)), bad)


def test_a_panic_of_the_parser_is_a_typed_error(monkeypatch):
    def panic(_: object) -> pl.DataFrame:
        raise pl.exceptions.PanicException("index out of bounds")

    file, whole = encoded("all", levels_of(99), content="")
    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(CorruptArtefact, match="unreadable"):
        decoded(LEVELS, file, whole)


def test_the_last_good_version_is_served_while_the_current_one_is_damaged(tmp_path):
    lake = lake_at(tmp_path)
    first = lake.publish(LEVELS, levels_of(1), lineage=lineage(1), data_end=None)
    lake.publish(LEVELS, levels_of(2), lineage=lineage(2), data_end=None)
    _damage(tmp_path / "lake" / "levels" / "files" / known(lake.manifest(LEVELS)).files[0].name)

    manifest, rows = lake.last_good(LEVELS)

    assert manifest == first
    assert rows.equals(levels_of(1))
    with pytest.raises(MissingArtefact, match="quarantine"):
        lake.read(LEVELS)


@pytest.mark.parametrize("name", ["current", "publications/000002.json"])
def test_a_damaged_pointer_or_record_stops_readers_but_not_the_repair(tmp_path, name):
    lake = lake_at(tmp_path)
    for step in (1, 2):
        WRITE["levels"](tmp_path, step)
    _damage(tmp_path / "lake" / "levels" / name)

    with pytest.raises(CorruptArtefact, match="current"):
        lake.read(LEVELS)
    assert lake.last_good(LEVELS)[1].height in {1001, 1002}
    lake.publish(LEVELS, levels_of(2), lineage=lineage(2), data_end=None)
    assert lake.read(LEVELS).equals(levels_of(2))


def test_nothing_whole_and_nothing_at_all_are_told_apart(tmp_path):
    lake = lake_at(tmp_path)
    with pytest.raises(MissingArtefact, match="levels"):
        lake.last_good(LEVELS)
    for step in (1, 2, 1):
        lake.publish(LEVELS, levels_of(step), lineage=lineage(step), data_end=None)
    for file in (tmp_path / "lake" / "levels" / "files").iterdir():
        _damage(file)
    with pytest.raises(CorruptArtefact, match="2 damaged"):
        lake.last_good(LEVELS)


def test_a_damaged_file_heals_when_the_same_content_is_published(tmp_path):
    """Also where provenance differs, so that the bytes are others: the version stays, its manifest names the new file."""
    lake = lake_at(tmp_path)
    first = lake.publish(PRICES, prices_until(40), lineage=lineage(1), data_end=None)
    damaged = tmp_path / "lake" / "prices" / "files" / first.files[0].name
    _damage(damaged)

    again = prices_until(40).with_columns(run_id=pl.lit("another run"))
    healed = lake.publish(PRICES, again, lineage=lineage(1), data_end=None)

    assert healed.version == first.version
    assert healed.files[1:] == first.files[1:]
    assert healed.files[0].name != first.files[0].name
    assert lake.read(PRICES)["run_id"].unique().sort().to_list() == ["another run", "run"]
    assert not damaged.exists()


def test_a_damaged_manifest_heals_when_the_same_content_is_published(tmp_path):
    WRITE["levels"](tmp_path, 1)
    (manifest,) = (tmp_path / "lake" / "levels" / "manifests").iterdir()
    _damage(manifest)
    assert lake_at(tmp_path).reuse(LEVELS, lineage(1)) is None
    WRITE["levels"](tmp_path, 1)
    assert STORED["levels"](tmp_path) == 1


def test_a_manifest_under_another_versions_name_is_refused(tmp_path):
    lake = lake_at(tmp_path)
    for step in (1, 2):
        WRITE["levels"](tmp_path, step)
    folder = tmp_path / "lake" / "levels" / "manifests"
    current = folder / f"{known(lake.manifest(LEVELS)).version}.json"
    (other,) = set(folder.iterdir()) - {current}
    current.write_bytes(other.read_bytes())
    with pytest.raises(CorruptArtefact, match="that of another"):
        lake.read(LEVELS)


def test_a_damaged_month_stops_an_append(tmp_path):
    lake = lake_at(tmp_path)
    first = lake.publish(PRICES, prices_until(40), lineage=lineage(1), data_end=None)
    _damage(tmp_path / "lake" / "prices" / "files" / first.files[0].name)
    with pytest.raises(CorruptArtefact):
        WRITE["prices"](tmp_path, 41)
    assert len(lake.versions("prices").history()) == 1


def _upsertable(tmp_path) -> tuple[Lake, pl.DataFrame]:
    """A table only ever upserted: two publications, of a row each."""
    lake = lake_at(tmp_path)
    rows = pl.DataFrame({"row": [1, 2, 3], "value": [10, 20, 30]}, schema=dict(LEVELS.columns))
    lake.upsert(LEVELS, rows[:1])
    lake.upsert(LEVELS, rows[1:2])
    return lake, rows


def test_an_upsert_starts_from_the_newest_whole_publication(tmp_path):
    lake, rows = _upsertable(tmp_path)
    _damage(tmp_path / "lake" / "levels" / "files" / known(lake.manifest(LEVELS)).files[0].name)
    with pytest.raises(CorruptArtefact):
        lake.read(LEVELS)

    lake.upsert(LEVELS, rows[2:])

    assert lake.read(LEVELS).equals(rows[[0, 2]])
    lake.upsert(LEVELS, rows[1:2])
    assert lake.read(LEVELS).equals(rows)


@pytest.mark.parametrize("folder", ["files", "manifests", "publications"])
def test_an_upsert_over_nothing_whole_starts_from_nothing(tmp_path, folder):
    lake, rows = _upsertable(tmp_path)
    for path in (tmp_path / "lake" / "levels" / folder).iterdir():
        _damage(path)
    lake.upsert(LEVELS, rows[2:])
    assert lake.read(LEVELS).equals(rows[2:])


def test_an_upsert_of_what_a_damaged_file_said_heals_it(tmp_path):
    lake, rows = _upsertable(tmp_path)
    damaged = known(lake.manifest(LEVELS))
    _damage(tmp_path / "lake" / "levels" / "files" / damaged.files[0].name)
    assert lake.upsert(LEVELS, rows[:2]).version == damaged.version
    assert lake.read(LEVELS).equals(rows[:2])


def test_an_upsert_passes_over_the_columns_of_old_only_behind_damage(tmp_path):
    lake, rows = _upsertable(tmp_path)
    wider = Table("levels", {**LEVELS.columns, "unit": pl.String}, LEVELS.key)
    more = rows.with_columns(unit=pl.lit("m"))
    with pytest.raises(SchemaMismatch, match="unit"):
        lake.upsert(wider, more)
    made = lake.publish(wider, more[:1], lineage=None, data_end=None)
    _damage(tmp_path / "lake" / "levels" / "files" / made.files[0].name)
    lake.upsert(wider, more[2:])
    assert lake.read(wider).equals(more[2:])


def test_a_damaged_memo_is_no_memo(tmp_path):
    WRITE["levels"](tmp_path, 1)
    versions = lake_at(tmp_path).versions("levels")
    assert versions.find(lineage(1).key)
    _damage(versions.memo_path(lineage(1).key))
    assert versions.find(lineage(1).key) is None


def test_a_memo_filed_under_another_key_is_no_memo(tmp_path):
    WRITE["levels"](tmp_path, 1)
    versions = lake_at(tmp_path).versions("levels")
    versions.memo_path(lineage(1).key).rename(versions.memo_path(lineage(2).key))
    assert versions.find(lineage(2).key) is None


def test_damaged_weights_keep_the_pointer_where_it_was(tmp_path):
    store = weights_at(tmp_path)
    old = store.save(parts_of(1), {"step": 1})
    store.publish(old, lineage=lineage(1))
    new = store.save(parts_of(2), {"step": 2})
    _damage(tmp_path / "weights" / "artefacts" / new / "fold_1.safetensors")

    with pytest.raises(CorruptArtefact):
        store.publish(new, lineage=lineage(2))

    assert known(store.current()).version == old
    assert (tmp_path / "weights" / "quarantine" / new / "fold_1.safetensors").exists()
    assert store.save(parts_of(2), {"step": 2}) == new
    store.check(new)
    assert store.publish(new, lineage=lineage(2)).version == new


def test_damaged_weights_are_not_found_by_their_inputs(tmp_path):
    store = weights_at(tmp_path)
    store.publish(store.save(parts_of(1), {}), lineage=lineage(1))
    version = store.find(lineage(1).key)
    _damage(tmp_path / "weights" / "artefacts" / version / "refit.safetensors")
    assert store.find(lineage(1).key) is None


def test_a_ledger_shows_a_line_that_is_gone_or_changed(tmp_path):
    for step in (1, 2, 3):
        WRITE["ledger"](tmp_path, step)
    path = tmp_path / "ledger" / "events.jsonl"
    first, second, third = path.read_bytes().splitlines(keepends=True)
    for lines, number in [
        ([first, third], 2),
        ([second, third], 1),
        ([third, second, first], 1),
        ([first, second, second, third], 3),
        ([first, second[:-10] + b"\n", third], 2),
        ([first, b"\n", second, third], 2),
        ([first, second, third[:-1] + b"\v"], 3),
    ]:
        path.write_bytes(b"".join(lines))
        with pytest.raises(CorruptArtefact, match=f"line {number}"):
            ledger_at(tmp_path).read("events")


def test_a_ledger_with_a_damaged_last_line_takes_no_more(tmp_path):
    WRITE["ledger"](tmp_path, 1)
    path = tmp_path / "ledger" / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b"xxx", b"xyx", 1)[:-3] + b"??\n")
    with pytest.raises(CorruptArtefact, match="line 1"):
        WRITE["ledger"](tmp_path, 2)


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
