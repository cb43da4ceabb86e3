"""Small records as JSON that carries its own checksum: any changed bit shows when they are read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, NewerSchema
from gnn_assets.core.hashing import canonical_json, json_hash

FORMAT = 1  # raised when an older release could misread what is inside


def seal(body: Mapping[str, Any]) -> bytes:
    """The bytes of a record, checksum included."""
    return _sealed(FORMAT, body)


def _sealed(form: int, body: Any) -> bytes:
    envelope = {"body": body, "format": form, "sha256": json_hash([form, body])}
    return f"{canonical_json(envelope)}\n".encode()


def unseal(data: bytes, *, path: Path) -> dict[str, Any]:
    """The record inside sealed bytes.

    Args:
        data: what `seal` made.
        path: where they were read, for the sentence.

    Raises:
        CorruptArtefact: if a bit differs.
        NewerSchema: if a newer release wrote them.
    """
    try:
        envelope = json.loads(data)
        form, body = envelope["format"], envelope["body"]
        intact = _sealed(form, body) == data
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        raise CorruptArtefact.of(
            str(path), expected="a record that matches its own checksum", was="damaged", do="materialise it again"
        )
    if form > FORMAT:
        raise NewerSchema.of(
            str(path), expected=f"format {FORMAT} or older", was=f"format {form}", do="install the newer release"
        )
    return body


def read_sealed(path: Path) -> dict[str, Any]:
    """Reads a sealed record.

    Raises:
        MissingArtefact: if there is none.
        CorruptArtefact: if a bit differs.
        NewerSchema: if a newer release wrote it.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingArtefact.of(str(path), expected="a record", was="none", do="materialise it again") from error
    return unseal(data, path=path)
