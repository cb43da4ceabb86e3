import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from gnn_assets.core.errors import ReadOnly, StoreError
from gnn_assets.store.checkpoints import Checkpoints

ARRAYS = {
    "params['w']": np.arange(6, dtype=np.float32).reshape(2, 3),
    "count": np.array([3, 3], dtype=np.int32),
    "finite": np.array([True, False]),
    "model": np.frombuffer(b"tree", dtype=np.uint8),
}
FACTS = {"epoch": 3, "curve": [{"loss": 0.1, "ic": None}]}


def _same(found, arrays, facts):
    assert found is not None
    assert found[1] == facts
    assert {name: (array.dtype, array.tobytes()) for name, array in found[0].items()} == {
        name: (array.dtype, array.tobytes()) for name, array in arrays.items()
    }


@pytest.fixture
def kept(tmp_path):
    checkpoint = Checkpoints(tmp_path).of("key")
    checkpoint.save("model/fold_00/epoch", ARRAYS, FACTS)
    return checkpoint


def test_what_was_saved_is_loaded_bit_for_bit(kept):
    _same(kept.load("model/fold_00/epoch"), ARRAYS, FACTS)


def test_no_arrays_are_kept_too(kept):
    kept.save("reversal", {}, FACTS)
    _same(kept.load("reversal"), {}, FACTS)


@given(value=arrays_of.arrays(np.float32, st.integers(0, 5)))
def test_any_floats_are_kept(tmp_path_factory, value):
    checkpoint = Checkpoints(tmp_path_factory.mktemp("any")).of("key")
    checkpoint.save("name", {"a": value}, {})
    _same(checkpoint.load("name"), {"a": value}, {})


def test_the_last_save_counts_and_leaves_one_file_of_arrays(kept):
    kept.save("model/fold_00/epoch", {"a": np.ones(3)}, {"epoch": 4})
    _same(kept.load("model/fold_00/epoch"), {"a": np.ones(3)}, {"epoch": 4})
    assert len(list(kept.folder.iterdir())) == 2


def test_names_and_keys_are_kept_apart(kept, tmp_path):
    assert kept.load("model/fold_00") is None
    assert kept.load("model/fold_01/epoch") is None
    assert Checkpoints(tmp_path).of("other").load("model/fold_00/epoch") is None


@pytest.mark.parametrize("ending", ["json", "safetensors"])
@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data[:0], lambda data: data[:50] + b"x" + data[51:]]
)
def test_a_torn_or_altered_file_counts_as_absent_until_the_next_save(kept, ending, damage):
    (path,) = kept.folder.glob(f"*.{ending}")
    path.write_bytes(damage(path.read_bytes()))
    assert kept.load("model/fold_00/epoch") is None
    kept.save("model/fold_00/epoch", ARRAYS, FACTS)
    _same(kept.load("model/fold_00/epoch"), ARRAYS, FACTS)


def test_a_missing_file_counts_as_absent(kept):
    (path,) = kept.folder.glob("*.safetensors")
    path.unlink()
    assert kept.load("model/fold_00/epoch") is None


def test_a_foreign_file_counts_as_absent(kept):
    (kept.folder / "foreign.json").write_text("{}")
    assert kept.load("foreign") is None


def test_a_cleared_key_is_forgotten_and_no_other(kept, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.of("other").save("name", ARRAYS, FACTS)
    checkpoints.clear("key")
    checkpoints.clear("key")
    assert kept.load("model/fold_00/epoch") is None
    _same(checkpoints.of("other").load("name"), ARRAYS, FACTS)


@pytest.mark.parametrize("name", ["", "../x", "/x", "a//b", "a.b", "a/"])
def test_a_name_that_could_lead_elsewhere_is_refused(kept, tmp_path, name):
    with pytest.raises(StoreError, match="checkpoint"):
        kept.save(name, ARRAYS, FACTS)
    with pytest.raises(StoreError, match="checkpoint"):
        Checkpoints(tmp_path).of(name)


def test_a_folder_that_cannot_be_written_is_told(kept, monkeypatch):
    def refuse(path, data):
        raise ReadOnly("not here")

    monkeypatch.setattr("gnn_assets.store.checkpoints.write_atomic", refuse)
    with pytest.raises(ReadOnly):
        kept.save("model/fold_00/epoch", {}, {})
    _same(kept.load("model/fold_00/epoch"), ARRAYS, FACTS)


DYING = """
import sys
from pathlib import Path
import numpy as np
from gnn_assets.store.checkpoints import Checkpoints
Checkpoints(Path(sys.argv[1])).of("key").save("model/fold_00/epoch", {"a": np.ones(3)}, {"epoch": 4})
"""


def test_a_kill_between_arrays_and_facts_leaves_the_checkpoint_before(kept, tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path)],
        env={"GNN_ASSETS_FAILPOINT": "checkpoint:arrays-written"},
        check=False,
    )
    assert result.returncode == -9
    _same(kept.load("model/fold_00/epoch"), ARRAYS, FACTS)
    kept.save("model/fold_00/epoch", {"a": np.ones(3)}, {"epoch": 4})
    assert len(list(kept.folder.glob("*.safetensors"))) == 1
