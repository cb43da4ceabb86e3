"""Unfinished work on disk: arrays and facts under names, one folder a key. It may be lost at any time, never wrong.

    <root>/<key>/<name>.json                        facts, and which arrays belong to them; replaced whole
    <root>/<key>/<name>.<sha256, 16>.safetensors    the arrays

A key is a hash of all that the work depends on: other settings, other data or another seed are another folder.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as safetensors_bytes

from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, NewerSchema, StoreError
from gnn_assets.core.hashing import sha256_hex
from gnn_assets.store.files import failpoint, read_verified, write_atomic
from gnn_assets.store.sealed import read_sealed, seal

_UNUSABLE = (MissingArtefact, CorruptArtefact, NewerSchema, SafetensorError, KeyError)


@dataclass(frozen=True)
class Checkpoint:
    """What is kept of one piece of work; for one process at a time, and any number of its threads.

    Args:
        folder: made at the first save.
    """

    folder: Path

    def load(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """What was saved last under the name; None if there is nothing, or what there is is torn or foreign."""
        try:
            record = read_sealed(self._path(name, "json"))
            sha256 = record["sha256"]
            data = read_verified(self._path(name, f"{sha256[:16]}.safetensors"), sha256)
            return parse_safetensors(data), record["facts"]
        except _UNUSABLE:
            return None

    def save(self, name: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        """Keeps arrays and facts in place of what was there; a reader, or a crash, meets the old or the new.

        Args:
            name: letters, digits, ``_``, ``-``, and ``/`` between them.
            arrays: name → array, any shape, numeric or bool.
            facts: JSON data.

        Raises:
            StoreError: if the name cannot be a file name.
            DiskFull, ReadOnly: what was there still stands.
        """
        data = safetensors_bytes({key: np.array(arrays[key], order="C") for key in sorted(arrays)})
        sha256 = sha256_hex(data)
        written = self._path(name, f"{sha256[:16]}.safetensors")
        write_atomic(written, data)
        failpoint("checkpoint:arrays-written")
        write_atomic(self._path(name, "json"), seal({"sha256": sha256, "facts": dict(facts)}))
        for old in set(self.folder.glob(f"{self._stem(name)}.*.safetensors")) - {written}:
            old.unlink(missing_ok=True)

    def _path(self, name: str, ending: str) -> Path:
        return self.folder / f"{self._stem(name)}.{ending}"

    @staticmethod
    def _stem(name: str) -> str:
        if re.fullmatch("[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", name) is None:
            raise StoreError.of(
                "checkpoint",
                expected="a name in letters, digits, _ and -, with / between",
                was=repr(name),
                do="rename it",
            )
        return name.replace("/", ".")


@dataclass(frozen=True)
class Checkpoints:
    """All unfinished work.

    Args:
        root: folder of the folders.
    """

    root: Path

    def of(self, key: str) -> Checkpoint:
        """What is kept under a key.

        Raises:
            StoreError: if the key cannot be a folder name.
        """
        return Checkpoint(self._folder(key))

    def clear(self, key: str) -> None:
        """Forgets what was kept under a key: the work is done."""
        rmtree(self._folder(key), ignore_errors=True)

    def _folder(self, key: str) -> Path:
        if re.fullmatch("[A-Za-z0-9_-]+", key) is None:
            raise StoreError.of(
                "checkpoint", expected="a key in letters, digits, _ and -", was=repr(key), do="hash what it stands for"
            )
        return self.root / key
