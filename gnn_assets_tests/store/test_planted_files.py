"""A pickle or npz planted among the weights is refused, and what it would do is not done."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from gnn_assets.core.errors import CorruptArtefact
from gnn_assets.core.hashing import json_hash, sha256_hex
from gnn_assets.store.sealed import read_sealed, seal
from gnn_assets_tests.store.states import parts_of, weights_at


class _Payload:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return Path.touch, (self.canary,)


def _pickled(canary: Path) -> bytes:
    return pickle.dumps(_Payload(canary))


def _zipped(canary: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, kernel=np.array([_Payload(canary)], dtype=object))
    return buffer.getvalue()


@pytest.mark.parametrize("planted", [_pickled, _zipped])
@pytest.mark.parametrize("forged", [False, True])
def test_a_pickle_in_the_weights_is_refused_and_not_executed(tmp_path, planted, forged):
    """`forged`: the attacker also writes a manifest that vouches for it, under the version that manifest hashes to."""
    canary = tmp_path / "executed"
    data = planted(canary)
    store = weights_at(tmp_path)
    version = store.save(parts_of(1), {})
    folder = tmp_path / "weights" / "artefacts" / version
    (folder / "refit.safetensors").write_bytes(data)
    if forged:
        body = read_sealed(folder / "manifest.json")
        body["parts"]["refit"]["sha256"] = sha256_hex(data)
        (folder / "manifest.json").write_bytes(seal(body))
        with pytest.raises(CorruptArtefact, match="that of another"):
            store.load(version, "refit")
        version = json_hash(body)[:32]
        folder.rename(folder.with_name(version))

    with pytest.raises(CorruptArtefact):
        store.load(version, "refit")

    assert not canary.exists()
    pickle.loads(_pickled(canary))
    assert canary.exists(), "the payload must be able to do harm, else this test shows nothing"
