"""The file of looks: one line for every time a recipe was held against test sessions, so that they can be counted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnn_assets.core.errors import DataError
from gnn_assets.core.hashing import canonical_json
from gnn_assets.store.files import write_atomic


def append_look(path: Path, look: Mapping[str, Any]) -> int:
    """Adds a line to the file of looks; the lines before stay as they are.

    Args:
        path: JSON lines; made if absent.
        look: what was looked at (`bars`, `valid_end`, `test_end`), by whom, and what was seen.

    Returns:
        How many lines of the file, this one included, are looks at the same bars and some of the same test sessions.

    Raises:
        DataError: if a line of the file is no JSON object.
    """
    written = path.read_text(encoding="utf-8") if path.exists() else ""
    before = [_parsed(line, path) for line in written.splitlines() if line.strip()]
    line = canonical_json(look)
    lead = written if not written or written.endswith("\n") else f"{written}\n"
    write_atomic(path, f"{lead}{line}\n".encode())
    asked = json.loads(line)
    return 1 + sum(_overlap(one, asked) for one in before)


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether some test session was looked at in both."""
    return (
        one["bars"] == other["bars"] and one["valid_end"] < other["test_end"] and other["valid_end"] < one["test_end"]
    )


def _parsed(line: str, path: Path) -> Mapping[str, Any]:
    try:
        look = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError.of(
            str(path), expected="one look a line, as JSON", was=repr(line[:60]), do="mend the line or name another file"
        ) from error
    return look
