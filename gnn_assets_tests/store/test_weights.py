import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, StoreError, WeightsMismatch
from gnn_assets.store.sealed import seal
from gnn_assets_tests.store.states import lineage, parts_of, weights_at

SHAPES = {"kernel": ((32, 16), "float32"), "bias": ((16,), "float32")}


def test_what_is_saved_is_loaded(tmp_path):
    store = weights_at(tmp_path)
    facts = {"config": "abc", "seed": 7, "folds": [0, 1], "threads": 2}
    version = store.save(parts_of(1), facts)
    assert store.parts(version) == ("fold_0", "fold_1", "refit")
    assert store.facts(version) == facts
    for part, arrays in parts_of(1).items():
        loaded = store.load(version, part, expected=SHAPES)
        assert loaded.keys() == arrays.keys()
        assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)


def test_saving_publishes_nothing(tmp_path):
    store = weights_at(tmp_path)
    store.save(parts_of(1), {})
    assert store.current() is None
    assert store.history() == ()


def test_equal_weights_are_the_equal_version_with_equal_bytes(tmp_path):
    one, two = weights_at(tmp_path / "one"), weights_at(tmp_path / "two")
    parts = parts_of(1)
    shuffled = {part: dict(reversed(parts[part].items())) for part in reversed(parts)}
    version = one.save(parts, {"a": 1, "b": 2})
    assert two.save(shuffled, {"b": 2, "a": 1}) == version
    for path in (tmp_path / "one" / "weights" / "artefacts" / version).iterdir():
        assert (tmp_path / "two" / "weights" / "artefacts" / version / path.name).read_bytes() == path.read_bytes()


def test_other_arrays_or_other_facts_are_another_version(tmp_path):
    store = weights_at(tmp_path)
    base = store.save(parts_of(1), {"seed": 1})
    assert len({base, store.save(parts_of(2), {"seed": 1}), store.save(parts_of(1), {"seed": 2})}) == 3


def test_saving_again_writes_nothing(tmp_path):
    store = weights_at(tmp_path)
    version = store.save(parts_of(1), {})
    folder = tmp_path / "weights" / "artefacts" / version
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    assert store.save(parts_of(1), {}) == version
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before


_ARRAYS = nps.arrays(
    st.sampled_from(["float32", "float64", "int32", "uint8", "bool"]), nps.array_shapes(min_dims=0, min_side=0)
)


@settings(deadline=None, max_examples=30)
@given(arrays=st.dictionaries(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), _ARRAYS))
def test_any_array_comes_back_bit_for_bit(tmp_path_factory, arrays):
    store = weights_at(tmp_path_factory.mktemp("weights"))
    loaded = store.load(store.save({"refit": arrays}, {}), "refit")
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (loaded[name].shape, loaded[name].dtype) == (array.shape, array.dtype)
        assert loaded[name].tobytes() == array.tobytes()


def test_an_array_in_another_memory_order_comes_back_the_same(tmp_path):
    store = weights_at(tmp_path)
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    version = store.save({"refit": {"a": np.asfortranarray(matrix), "b": matrix.T, "c": matrix[:, ::2]}}, {})
    loaded = store.load(version, "refit")
    assert np.array_equal(loaded["a"], matrix)
    assert np.array_equal(loaded["b"], matrix.T)
    assert np.array_equal(loaded["c"], matrix[:, ::2])


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({**SHAPES, "kernel": ((32, 8), "float32")}, r"kernel is \(\(32, 16\), 'float32'\) instead of \(\(32, 8\)"),
        ({**SHAPES, "bias": ((16,), "float64")}, "bias is"),
        ({"kernel": SHAPES["kernel"]}, "bias is .* instead of absent"),
        ({**SHAPES, "scale": ((16,), "float32")}, "scale is missing"),
    ],
)
def test_weights_of_another_architecture_are_refused(tmp_path, expected, said):
    store = weights_at(tmp_path)
    version = store.save(parts_of(1), {})
    with pytest.raises(WeightsMismatch, match=said):
        store.load(version, "refit", expected=expected)


@pytest.mark.parametrize("version", ["0" * 32, "unknown", "../../etc", ""])
def test_a_version_that_is_not_stored_is_said_to_be_missing(tmp_path, version):
    store = weights_at(tmp_path)
    store.save(parts_of(1), {})
    for ask in (store.facts, store.parts, store.check, lambda name: store.load(name, "refit")):
        with pytest.raises(MissingArtefact, match="a stored version"):
            ask(version)
    with pytest.raises(MissingArtefact):
        store.publish(version, lineage=lineage(1))


def test_a_part_that_is_not_stored_is_said_to_be_missing(tmp_path):
    store = weights_at(tmp_path)
    version = store.save(parts_of(1), {})
    with pytest.raises(MissingArtefact, match="one of the parts fold_0, fold_1, refit, was fold_9"):
        store.load(version, "fold_9")


@pytest.mark.parametrize("part", ["", "a/b/c", "/a", "a/", "../x", "a.b", "ü"])
def test_a_part_whose_name_is_no_file_name_is_refused(tmp_path, part):
    with pytest.raises(StoreError, match="letters, digits"):
        weights_at(tmp_path).save({part: {"a": np.zeros(1)}}, {})


def test_the_same_inputs_find_what_was_trained_on_them(tmp_path):
    store = weights_at(tmp_path)
    first = store.save(parts_of(1), {})
    store.publish(first, lineage=lineage(1), run_id="a")
    store.publish(store.save(parts_of(2), {}), lineage=lineage(2))
    assert store.find(lineage(1).key) == first
    assert store.find(lineage(3).key) is None
    assert [made.run_id for made in store.history()] == ["a", ""]


def test_a_manifest_of_another_version_is_refused(tmp_path):
    store = weights_at(tmp_path)
    version = store.save(parts_of(1), {})
    (tmp_path / "weights" / "artefacts" / version / "manifest.json").write_bytes(seal({"parts": {}, "facts": {}}))
    with pytest.raises(CorruptArtefact, match="that of another"):
        store.facts(version)
    assert store.save(parts_of(1), {}) == version
    store.check(version)


def test_parts_are_grouped_by_the_model_they_belong_to(tmp_path):
    store = weights_at(tmp_path)
    parts = {"model/refit": {"a": np.zeros(2)}, "model_refit": {"a": np.ones(2)}, "refit": {"a": np.full(2, 2.0)}}
    version = store.save(parts, {})
    assert store.parts(version) == ("model/refit", "model_refit", "refit")
    assert [store.load(version, part)["a"][0] for part in store.parts(version)] == [0, 1, 2]
