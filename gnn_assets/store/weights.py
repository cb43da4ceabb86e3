"""Weights: one immutable folder a version, safetensors and a manifest. Nothing here can execute what it loads.

    artefacts/<version>/manifest.json        arrays with shapes and dtypes, hash of each part, facts (config, data, seeds)
    artefacts/<version>/<part>.safetensors   for example one part a fold, and the final refit
    publications/ current memo/ pins/        when and why: see `versions`

A version is the hash of its manifest: equal arrays and facts are the equal version, with equal bytes.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as safetensors_bytes

from gnn_assets.core.clock import Clock
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, StoreError, WeightsMismatch
from gnn_assets.core.hashing import json_hash, sha256_hex
from gnn_assets.store.files import (
    failpoint,
    read_verified,
    refusal_named,
    staging,
    sync_folder,
    write_atomic,
    write_synced,
)
from gnn_assets.store.sealed import read_sealed, seal
from gnn_assets.store.versions import Lineage, Publication, Versions

_MANIFEST = "manifest.json"


class WeightsStore:
    """All versions of one kind of weights.

    Args:
        root: folder of the store.
        clock: tells the moment of a publication.
        lock_timeout_seconds: longest wait for another writer.
    """

    def __init__(self, root: Path, *, clock: Clock, lock_timeout_seconds: float) -> None:
        self.root = root
        self.versions = Versions(root, clock=clock, lock_timeout_seconds=lock_timeout_seconds, complete=self._is_whole)

    def save(self, parts: Mapping[str, Mapping[str, np.ndarray]], facts: Mapping[str, Any]) -> str:
        """Stores arrays for good; nothing points at them yet.

        Args:
            parts: part → name → array, any shape, numeric dtype.
            facts: JSON data that say how they came about: hashes of config and data, seeds, thread count.

        Returns:
            The version, 32 hex digits. What is already stored is checked, and repaired where damaged.

        Raises:
            StoreError: if a part's name cannot be a file name.
            LockTimeout, DiskFull: nothing of the version is visible.
        """
        contents = {_file_name(part): _encoded(part, arrays) for part, arrays in parts.items()}
        body = {
            "parts": {
                part: {
                    "sha256": sha256_hex(contents[_file_name(part)]),
                    "arrays": {name: [list(array.shape), str(array.dtype)] for name, array in sorted(arrays.items())},
                }
                for part, arrays in parts.items()
            },
            "facts": dict(facts),
        }
        contents[_MANIFEST] = seal(body)
        version = json_hash(body)[:32]
        with self.versions.writing():
            self._store(self._folder(version), contents)
        failpoint("weights:saved")
        return version

    def publish(self, version: str, *, lineage: Lineage | None, run_id: str = "") -> Publication:
        """Makes a saved version the current one, once every one of its bytes has been checked.

        Raises:
            MissingArtefact, CorruptArtefact: if it is not whole; the pointer has not moved.
        """
        self.check(version)
        return self.versions.publish(version, lineage=lineage, run_id=run_id)

    def current(self) -> Publication | None:
        """See `Versions.current`."""
        return self.versions.current()

    def find(self, key: str) -> str | None:
        """See `Versions.find`; every byte of the version found has been checked."""
        return self.versions.find(key)

    def history(self) -> tuple[Publication, ...]:
        """See `Versions.history`."""
        return self.versions.history()

    def load(
        self, version: str, part: str, *, expected: Mapping[str, tuple[tuple[int, ...], str]] | None = None
    ) -> dict[str, np.ndarray]:
        """The arrays of one part.

        Args:
            version: a saved version.
            part: one of `parts(version)`.
            expected: name → (shape, dtype) of the network that will hold them.

        Raises:
            MissingArtefact: if version or part is not stored.
            CorruptArtefact: if bytes are not those saved; the file is moved to quarantine.
            WeightsMismatch: if names, shapes or dtypes are not those of the network.
        """
        described = self._manifest(version)["parts"]
        if part not in described:
            raise MissingArtefact.of(
                f"weights {version}",
                expected=f"one of the parts {', '.join(described)}",
                was=part,
                do="name one of them",
            )
        if expected is not None:
            _refuse_other_network(version, part, described[part]["arrays"], expected)
        data = self._bytes(version, part, described[part]["sha256"])
        try:
            return parse_safetensors(data)
        except SafetensorError as error:
            raise CorruptArtefact.of(
                f"weights {version}, part {part}", expected="safetensors", was="something else", do="train again"
            ) from error

    def facts(self, version: str) -> dict[str, Any]:
        """What was said about the version when it was saved."""
        return self._manifest(version)["facts"]

    def parts(self, version: str) -> tuple[str, ...]:
        """Names of the version's parts, sorted."""
        return tuple(sorted(self._manifest(version)["parts"]))

    def check(self, version: str) -> None:
        """Reads and checks every byte of a version.

        Raises:
            MissingArtefact, CorruptArtefact: if it is not whole.
        """
        for part, described in self._manifest(version)["parts"].items():
            self._bytes(version, part, described["sha256"])

    def _folder(self, version: str) -> Path:
        return self.root / "artefacts" / version

    def _store(self, folder: Path, contents: Mapping[str, bytes]) -> None:
        if folder.is_dir():
            for name, data in contents.items():
                path = folder / name
                if not path.is_file() or path.read_bytes() != data:
                    write_atomic(path, data)
            # Whoever renamed it may have died before this: now the name is durable, too.
            sync_folder(folder.parent)
            return
        need = sum(len(data) for data in contents.values())
        with staging(folder.parent) as temporary, refusal_named(folder, need=need):
            for name, data in contents.items():
                write_synced(temporary / name, data)
                failpoint("weights:part-written")
            sync_folder(temporary)
            temporary.replace(folder)
            sync_folder(folder.parent)

    def _manifest(self, version: str) -> dict[str, Any]:
        path = self._folder(version) / _MANIFEST
        # A version comes from outside at times: it must not lead out of the store.
        if re.fullmatch("[0-9a-f]{32}", version) is None or not path.parent.is_dir():
            raise MissingArtefact.of(
                f"weights {version}", expected="a stored version", was="none of that name", do="train, or name another"
            )
        body = read_sealed(path)
        if json_hash(body)[:32] != version:
            raise CorruptArtefact.of(
                str(path), expected=f"the manifest of {version}", was="that of another", do="train again"
            )
        return body

    def _bytes(self, version: str, part: str, sha256: str) -> bytes:
        path = self._folder(version) / _file_name(part)
        return read_verified(path, sha256, quarantine=self.root / "quarantine" / version)

    def _is_whole(self, version: str) -> bool:
        try:
            self.check(version)
        except (MissingArtefact, CorruptArtefact):
            return False
        return True


def _file_name(part: str) -> str:
    return f"{part.replace('/', '.')}.safetensors"


def _encoded(part: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    if re.fullmatch("[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)?", part) is None:
        raise StoreError.of(
            "weights",
            expected="a part named in letters, digits, _ and -, such as model/fold_00",
            was=repr(part),
            do="rename it",
        )
    return safetensors_bytes({name: np.array(arrays[name], order="C") for name in sorted(arrays)})


def _refuse_other_network(
    version: str, part: str, stored: Mapping[str, Any], expected: Mapping[str, tuple[tuple[int, ...], str]]
) -> None:
    wanted = {name: (tuple(shape), dtype) for name, (shape, dtype) in expected.items()}
    held = {name: (tuple(shape), dtype) for name, (shape, dtype) in stored.items()}
    differences = [
        f"{name} is {held.get(name, 'missing')} instead of {wanted.get(name, 'absent')}"
        for name in sorted({*wanted, *held})
        if held.get(name) != wanted.get(name)
    ]
    if differences:
        raise WeightsMismatch.of(
            f"weights {version}, part {part}",
            expected="the arrays of the network they are loaded into",
            was="; ".join(differences),
            do="use the configuration they were trained with, or train again",
        )
