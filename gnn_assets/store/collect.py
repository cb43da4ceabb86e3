"""Clean-up: what nobody needs any more is removed from the lake, tables and weights alike.

Kept of every artefact: the current version, the newest few (to roll back to), whatever a card or the champion cites,
and, for a grace period longer than any read, whatever was current or written within it. Publications stay for good:
they say what there was, and reading content that was collected says that it is missing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from gnn_assets.core.clock import Clock
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, StoreError
from gnn_assets.store.files import staging, sync_folder
from gnn_assets.store.manifests import read_manifest
from gnn_assets.store.sealed import read_sealed
from gnn_assets.store.versions import Versions


@dataclass(frozen=True)
class Collected:
    """What a clean-up did.

    Args:
        removed: what is gone, relative to the lake, sorted.
        bytes: how much room that gave.
        kept: artefact → version → why it stays.
        skipped: artefact → why nothing of it was touched.
    """

    removed: tuple[str, ...]
    bytes: int
    kept: Mapping[str, Mapping[str, str]]
    skipped: Mapping[str, str]


def collect(
    root: Path,
    *,
    keep: int,
    grace: timedelta,
    clock: Clock,
    lock_timeout_seconds: float,
    cited: Mapping[str, Mapping[str, str]] | None = None,
) -> Collected:
    """Removes manifests, files and weights that nothing needs, artefact by artefact, each under its writers' lock.

    Args:
        root: folder of the lake.
        keep: how many versions of each artefact stay to roll back to, the current one included; at least 1.
        grace: longer than any read takes: a version that stopped being current, or a file that was written, within it
            stays. Files are as old as the file system says: with a clock that stands still in the past none is old
            enough, and nothing is removed.
        clock: tells the moment it is now.
        lock_timeout_seconds: longest wait for a writer of an artefact.
        cited: artefact → version → who cites it, beyond what is pinned: what the champion names.

    Raises:
        LockTimeout: if an artefact is being written for too long; those before it are done.
    """
    removed: list[str] = []
    freed, kept, skipped = 0, {}, {}
    since = clock.now() - grace
    for folder in _below(root):
        if not (folder / "manifests").is_dir() and not (folder / "artefacts").is_dir():
            continue
        versions = Versions(folder, clock=clock, lock_timeout_seconds=lock_timeout_seconds)
        with versions.writing():
            try:
                needed = dict((cited or {}).get(folder.name, {})) | _needed(versions, keep=keep, since=since)
                unneeded = list(_unneeded(folder, needed, before=since.timestamp()))
            except StoreError as error:
                # What is damaged may cite anything: nothing is removed on a guess.
                skipped[folder.name] = str(error)
                continue
            kept[folder.name] = needed
            freed += sum(map(_size, unneeded))
            removed.extend(str(path.relative_to(root)) for path in unneeded)
            _remove(folder, unneeded)
    return Collected(tuple(sorted(removed)), freed, kept, skipped)


def _needed(versions: Versions, *, keep: int, since: datetime) -> dict[str, str]:
    """Version → why it stays.

    Raises:
        StoreError: if a pin, a publication that may matter or the current version is damaged.
    """
    needed = {version: f"cited by {', '.join(sorted(by))}" for version, by in versions.pins().items()}
    newest: list[str] = []
    ended = None  # when the publication looked at stopped being the current one
    for made in versions.newest_first():
        if made.version not in newest:
            newest.append(made.version)
        # A read may have begun just before it ended: it is not its own age that counts.
        if len(newest) > keep and ended is not None and ended < since:
            break
        why = "current" if ended is None else "rollback" if len(newest) <= keep else "current within the grace period"
        if ended is None:
            _refuse_absent(versions.folder, made.version)
        needed.setdefault(made.version, why)
        ended = made.published_at
    return needed


def _refuse_absent(folder: Path, current: str) -> None:
    """Raises MissingArtefact if nobody can tell any more what the current version needs."""
    if not (folder / "manifests" / f"{current}.json").is_file() and not (folder / "artefacts" / current).is_dir():
        raise MissingArtefact.of(
            f"{folder}, version {current}", expected="the manifest of what is current", was="none", do="make it again"
        )


def _unneeded(folder: Path, needed: Mapping[str, str], *, before: float) -> Iterator[Path]:
    """What may go: manifests first, so that a clean-up that is killed leaves none that promises too much.

    Args:
        folder: of the artefact.
        needed: versions that stay.
        before: seconds since 1970; what was written since then stays.

    Raises:
        StoreError: if a manifest that stays is damaged: nobody knows what it needs.
    """
    held, files = set(needed), set()
    for path in _below(folder / "manifests"):
        if path.stem in needed or path.stat().st_mtime >= before:
            held.add(path.stem)
            files |= {file.name for file in read_manifest(path).files}
        else:
            yield path
    artefacts = [path for path in _below(folder / "artefacts") if path.name not in needed]
    young = {path for path in artefacts if path.stat().st_mtime >= before}
    held |= {path.name for path in young}
    for path in _below(folder / "memo"):
        if path.stat().st_mtime < before and _remembered(path) not in held:
            yield path
    yield from (path for path in artefacts if path not in young)
    for path in _below(folder / "files"):
        if path.name not in files and path.stat().st_mtime < before:
            yield path


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def _remembered(memo: Path) -> str | None:
    try:
        return read_sealed(memo)["version"]
    except CorruptArtefact:
        return None  # a damaged memo remembers nothing


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]))


def _remove(folder: Path, paths: list[Path]) -> None:
    if paths:
        with staging(folder) as temporary:
            for number, path in enumerate(paths):
                path.replace(temporary / str(number))
            for parent in {path.parent for path in paths}:
                sync_folder(parent)
