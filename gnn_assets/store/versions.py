"""Versions and the pointer to the current one: the one mechanism behind lake tables, weights and the champion.

    publications/000007.json   when and why: version, moment, lineage, run, note (immutable once pointed at)
    current                    "7 <sha256 of that record>": one line, replaced atomically
    memo/<key>.json            which version came out of these inputs, this code and this configuration before
    pins/                      versions that somebody still cites

A crash between record and pointer leaves an orphan record beyond the pointer: readers never look there, and the
next publisher overwrites it. Order is the sequence number's, never the clock's, which may stand still.
"""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import EllipsisType
from typing import Any

from gnn_assets.core.clock import Clock
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, PointerConflict
from gnn_assets.core.hashing import json_hash, sha256_hex
from gnn_assets.store.files import failpoint, locked, sweep_temporaries, write_atomic
from gnn_assets.store.sealed import read_sealed, seal, unseal


@dataclass(frozen=True)
class Lineage:
    """What a version was made from.

    Args:
        inputs: name of an input → its data version.
        code_version: of the code that made it.
        config_hash: of the slice of the configuration it depends on.
    """

    inputs: Mapping[str, str]
    code_version: str
    config_hash: str

    @property
    def key(self) -> str:
        """The memo key: equal inputs, code and configuration give an equal one."""
        return json_hash(asdict(self))


@dataclass(frozen=True)
class Publication:
    """One move of the pointer.

    Args:
        sequence: 1, 2, ... in order of publication.
        version: what was published.
        published_at: aware UTC moment, by the platform's clock.
        run_id: run that published it; empty outside a run.
        lineage: what it was made from; None where nobody said.
        note: further facts as JSON data.
    """

    sequence: int
    version: str
    published_at: datetime
    run_id: str
    lineage: Lineage | None
    note: Mapping[str, Any]


class Versions:
    """The publications of one artefact, and the pointer to the current one.

    Args:
        folder: where they live.
        clock: tells the moment of a publication.
        lock_timeout_seconds: longest wait for another writer.
        complete: whether everything behind a version is still stored and whole; a pointer alone has nothing behind it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock,
        lock_timeout_seconds: float,
        complete: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.folder = folder
        self._clock = clock
        self._lock_timeout_seconds = lock_timeout_seconds
        self._complete = complete

    def current(self) -> Publication | None:
        """The publication the pointer names; None before the first.

        Raises:
            CorruptArtefact: if pointer or record is damaged; `good()` still offers the others.
            NewerSchema: if a newer release wrote the record.
        """
        path = self.folder / "current"
        try:
            line = path.read_bytes()
        except FileNotFoundError:
            return None
        named = re.fullmatch(rb"(\d{1,15}) ([0-9a-f]{64})\n", line)
        record = self._record_path(int(named[1])) if named else path
        data = record.read_bytes() if record.is_file() else b""
        if named is None or sha256_hex(data) != named[2].decode():
            raise CorruptArtefact.of(
                str(path), expected="the checksum of a stored publication", was="damaged", do="materialise it again"
            )
        return _publication(unseal(data, path=record))

    def history(self) -> tuple[Publication, ...]:
        """Every publication, oldest first.

        Raises:
            CorruptArtefact: if one of them is damaged.
        """
        return tuple(reversed(list(self.newest_first())))

    def newest_first(self) -> Iterator[Publication]:
        """Every publication, newest first, each read when it is asked for.

        Raises:
            CorruptArtefact: if one of them is damaged, as soon as it is met.
        """
        current = self.current()
        if current is not None:
            yield current
            for sequence in range(current.sequence - 1, 0, -1):
                yield self._record(sequence)

    def as_of(self, moment: datetime) -> Publication | None:
        """The newest publication made at or before `moment`; None if there was none yet.

        Raises:
            CorruptArtefact: if a publication that might be the one is damaged.
        """
        return next((made for made in self.newest_first() if made.published_at <= moment), None)

    def good(self) -> Iterator[Publication]:
        """Every undamaged publication, newest first: what to fall back on when the current one is damaged."""
        try:
            current = self.current()
        except CorruptArtefact:
            records = (self.folder / "publications").glob("*.json")
            newest = max((int(path.stem) for path in records), default=0)
        else:
            newest = current.sequence if current else 0
        for sequence in range(newest, 0, -1):
            try:
                made = self._record(sequence)
            except (CorruptArtefact, MissingArtefact):
                continue
            yield made

    def publish(
        self,
        version: str,
        *,
        lineage: Lineage | None = None,
        run_id: str = "",
        note: Mapping[str, Any] | None = None,
        expected: str | EllipsisType | None = ...,
    ) -> Publication:
        """Moves the pointer. The same version with the same lineage as now writes nothing.

        Args:
            version: what becomes current.
            lineage: what it was made from; remembered, so that `find` knows it again.
            run_id: run that publishes it.
            note: further facts as JSON data.
            expected: version that must be current now, None for "nothing yet"; left out, anything may be.

        Raises:
            MissingArtefact: if what the version stands for is not whole.
            PointerConflict: if another version than the expected one is current.
            LockTimeout: if another writer holds the artefact too long.
            DiskFull: if there is no room; the pointer has not moved.
        """
        with self.writing() as writer:
            # Only here, with the lock held, is nobody cleaning up.
            if not self._complete(version):
                raise MissingArtefact.of(
                    f"{self.folder}, version {version}",
                    expected="all of it, stored and whole",
                    was="damaged, or cleaned up",
                    do="make it again",
                )
            return writer.publish(version, lineage=lineage, run_id=run_id, note=note, expected=expected)

    @contextmanager
    def writing(self) -> Generator["Writer"]:
        """The right to write this artefact, one process at a time; what a dead writer left is swept first.

        Raises:
            LockTimeout: if another writer holds the artefact too long.
        """
        with locked(self.folder / ".lock", timeout_seconds=self._lock_timeout_seconds):
            sweep_temporaries(self.folder)
            yield Writer(self, self._clock)

    def find(self, key: str) -> str | None:
        """The version made earlier from the inputs, code and configuration behind `key`, if it is still whole."""
        remembered = self.recall(key)
        return None if remembered is None else remembered[0]

    def recall(self, key: str) -> tuple[str, dict[str, Any]] | None:
        """What `find` gives, with the note it was published with."""
        try:
            memo = read_sealed(self.memo_path(key))
        except (MissingArtefact, CorruptArtefact):
            return None
        if memo["key"] != key or not self._complete(memo["version"]):
            return None
        return memo["version"], memo["note"]

    def memo_path(self, key: str) -> Path:
        """Where the answer to `find(key)` is stored."""
        return self.folder / "memo" / f"{key}.json"

    def pin(self, version: str, *, by: str) -> None:
        """Marks a version as cited by `by`, so that no clean-up takes it."""
        path = self.folder / "pins" / f"{json_hash([version, by])}.json"
        if not path.is_file():
            write_atomic(path, seal({"version": version, "by": by}))

    def pins(self) -> dict[str, frozenset[str]]:
        """Pinned versions, each with those that cite it.

        Raises:
            CorruptArtefact: if a pin is damaged: nothing may be cleaned up on a guess.
        """
        pinned: dict[str, frozenset[str]] = {}
        for path in sorted((self.folder / "pins").glob("*.json")):
            pin = read_sealed(path)
            pinned[pin["version"]] = pinned.get(pin["version"], frozenset()) | {pin["by"]}
        return pinned

    def _record_path(self, sequence: int) -> Path:
        return self.folder / "publications" / f"{sequence:06d}.json"

    def _record(self, sequence: int) -> Publication:
        return _publication(read_sealed(self._record_path(sequence)))


class Writer:
    """The right to publish, while the lock is held: `Versions.writing()` hands it out."""

    def __init__(self, versions: Versions, clock: Clock) -> None:
        self._versions = versions
        self._clock = clock
        # A damaged pointer must not stop the publication that replaces it.
        self.current = next(versions.good(), None)

    def publish(
        self,
        version: str,
        *,
        lineage: Lineage | None = None,
        run_id: str = "",
        note: Mapping[str, Any] | None = None,
        expected: str | EllipsisType | None = ...,
    ) -> Publication:
        """See `Versions.publish`."""
        now = self.current.version if self.current else None
        if expected is not ... and expected != now:
            raise PointerConflict.of(
                f"pointer {self._versions.folder}",
                expected=expected or "nothing published yet",
                was=now or "nothing",
                do="look at what was published meanwhile and decide again",
            )
        if lineage is not None:
            self._remember(lineage.key, version, dict(note or {}))
        if self.current and (self.current.version, self.current.lineage) == (version, lineage) and self._points():
            return self.current
        sequence = self.current.sequence + 1 if self.current else 1
        record = seal(
            {
                "sequence": sequence,
                "version": version,
                "published_at": self._clock.now().isoformat(),
                "run_id": run_id,
                "lineage": asdict(lineage) if lineage else None,
                "note": dict(note or {}),
            }
        )
        folder = self._versions.folder
        path = folder / "publications" / f"{sequence:06d}.json"
        write_atomic(path, record)
        failpoint("pointer:record-written")
        write_atomic(folder / "current", f"{sequence} {sha256_hex(record)}\n".encode())
        failpoint("pointer:moved")
        self.current = _publication(unseal(record, path=path))
        return self.current

    def _points(self) -> bool:
        try:
            return self._versions.current() == self.current
        except CorruptArtefact:
            return False

    def _remember(self, key: str, version: str, note: dict[str, Any]) -> None:
        path = self._versions.memo_path(key)
        memo = seal({"key": key, "version": version, "note": note})
        if not path.is_file() or path.read_bytes() != memo:
            write_atomic(path, memo)
            failpoint("pointer:memo-written")


def _publication(body: Mapping[str, Any]) -> Publication:
    lineage = body["lineage"]
    return Publication(
        sequence=body["sequence"],
        version=body["version"],
        published_at=datetime.fromisoformat(body["published_at"]),
        run_id=body["run_id"],
        lineage=Lineage(**lineage) if lineage else None,
        note=body["note"],
    )
