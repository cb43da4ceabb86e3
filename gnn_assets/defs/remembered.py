"""What is read again only when it has changed: whoever looks every few seconds must not cost anybody anything."""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

from gnn_assets.defs.resources import Platform
from gnn_assets.store.ledger import Kind

_Found = TypeVar("_Found")
# One value a home and name, so it does not grow.
_FOUND: dict[tuple[Path, str], tuple[Hashable, Any]] = {}


def remembered(platform: Platform, what: str, stamp: Hashable, find: Callable[[], _Found]) -> _Found:
    """What was found when the stamp was last the same, else what is found now.

    Args:
        platform: whose.
        what: name of it.
        stamp: changes whenever the answer may.
        find: finds it; an error is not remembered.
    """
    key = (platform.data, what)
    if key not in _FOUND or _FOUND[key][0] != stamp:
        _FOUND[key] = (stamp, find())
    return _FOUND[key][1]


def ledger_entries(platform: Platform, kind: Kind) -> list[dict[str, Any]]:
    """All entries of a kind, oldest first, not to be changed.

    Raises:
        CorruptArtefact: if the ledger is damaged.
    """
    path = platform.ledger.folder / f"{kind}.jsonl"
    told = path.stat() if path.exists() else None
    stamp = (told.st_ino, told.st_size, told.st_mtime_ns) if told else None
    return remembered(platform, f"ledger {kind}", stamp, lambda: platform.ledger.read(kind))


def version_of(platform: Platform, asset: str) -> str | None:
    """Version of what an asset or table last published; None before the first.

    Raises:
        CorruptArtefact: if the publication is damaged.
    """
    publication = platform.versions(asset).current()
    return publication.version if publication else None
