"""The ledger: what happened, one line an event, appended for good.

Each line carries a checksum over itself and the line before, so that a changed or removed line shows. A line cut
short by a crash was never acknowledged and is dropped by the next reader or writer.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal

from gnn_assets.core.clock import Clock
from gnn_assets.core.errors import CorruptArtefact, PointerConflict, StoreError
from gnn_assets.core.hashing import canonical_json, json_hash
from gnn_assets.core.logs import get_log
from gnn_assets.store.files import failpoint, locked, refusal_named, sync_folder

Kind = Literal["trials", "events", "decisions", "alerts"]
_OWN = ("id", "recorded_at")
_log = get_log()
_ID = 16  # hex digits of a record's id


class Ledger:
    """The append-only tables of the platform.

    Args:
        folder: holds one JSON-lines file a kind.
        clock: tells the moment a record is made.
        lock_timeout_seconds: longest wait for another writer of the same kind.
    """

    def __init__(self, folder: Path, *, clock: Clock, lock_timeout_seconds: float) -> None:
        self.folder = folder
        self._clock = clock
        self._lock_timeout_seconds = lock_timeout_seconds

    def append(self, kind: Kind, record: Mapping[str, Any], *, after: str | EllipsisType | None = ...) -> str:
        """Adds one record; on return it is on the disk.

        Args:
            kind: which table.
            record: JSON data; `id` and `recorded_at` are the ledger's own.
            after: id of the record that must be the newest still, None for "none yet"; left out, anything may be.

        Returns:
            The record's id, 16 hex digits.

        Raises:
            StoreError: if the record claims one of the ledger's own names.
            CorruptArtefact: if the last line is damaged.
            PointerConflict: if another record has come since.
            LockTimeout, DiskFull: nothing was added.
        """
        claimed = [name for name in _OWN if name in record]
        if claimed:
            raise StoreError.of(
                f"ledger {kind}", expected="a record without the ledger's own names", was=claimed[0], do="rename it"
            )
        path = self._path(kind)
        with locked(self.folder / f".{kind}.lock", timeout_seconds=self._lock_timeout_seconds):
            with refusal_named(self.folder, need=0):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                size, last = _end(path)
                newest = last[:_ID] or None
                if after is not ... and after != newest:
                    raise PointerConflict.of(
                        f"ledger {kind}",
                        expected=after or "no record yet",
                        was=newest or "none",
                        do="look at what was entered meanwhile and decide again",
                    )
                body = {**record, "recorded_at": self._clock.now().isoformat()}
                checksum = _checksum(last, body)
                line = f"{canonical_json({'record': body, 'sha256': checksum})}\n".encode()
                _write_at(descriptor, size, line, path=path)
            finally:
                os.close(descriptor)
            sync_folder(self.folder)
        # Everything that is decided, moved or told comes through here.
        _log.info("ledger_entry", kind=kind, id=checksum[:_ID], entry=record)
        return checksum[:_ID]

    def read(self, kind: Kind) -> list[dict[str, Any]]:
        """Every record, oldest first, each with its `id` and `recorded_at`.

        Raises:
            CorruptArtefact: if a line is damaged, added or gone; the file and the line are named.
        """
        path = self._path(kind)
        if not path.exists():
            return []
        records, last = [], ""
        for number, line in enumerate(_lines(path), start=1):
            record, checksum = _parsed(line, path=path, number=number)
            if checksum != _checksum(last, record):
                raise _damaged(path, number)
            records.append({**record, "id": checksum[:_ID]})
            last = checksum
        return records

    def _path(self, kind: Kind) -> Path:
        return self.folder / f"{kind}.jsonl"


def _lines(path: Path) -> list[bytes]:
    """Whole lines; a tail without its end was torn in a crash and is none."""
    *lines, tail = path.read_bytes().split(b"\n")
    try:
        _parsed(tail[:-1], path=path, number=len(lines) + 1)
    except CorruptArtefact:
        return lines
    # Whole but for its end of line: it was acknowledged, and damaged since.
    raise _damaged(path, len(lines) + 1)


def _end(path: Path) -> tuple[int, str]:
    """Size of the whole lines in bytes, and the checksum of the last."""
    lines = _lines(path)
    if not lines:
        return 0, ""
    _, checksum = _parsed(lines[-1], path=path, number=len(lines))
    return sum(len(line) + 1 for line in lines), checksum


def _parsed(line: bytes, *, path: Path, number: int) -> tuple[dict[str, Any], str]:
    try:
        parsed = json.loads(line)
        record, checksum = parsed["record"], parsed["sha256"]
        spelt = canonical_json({"record": record, "sha256": checksum}).encode()
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, number) from error
    if spelt != line:
        raise _damaged(path, number)
    return record, checksum


def _damaged(path: Path, number: int) -> CorruptArtefact:
    return CorruptArtefact.of(
        f"{path}, line {number}", expected="a line that matches its checksum", was="damaged", do="restore a backup"
    )


def _checksum(last: str, body: Mapping[str, Any]) -> str:
    return json_hash([last, body])


def _write_at(descriptor: int, size: int, line: bytes, *, path: Path) -> None:
    """Appends behind the whole lines; without room the file keeps them and nothing else."""
    os.ftruncate(descriptor, size)
    try:
        with refusal_named(path, need=len(line)):
            rest, offset = line, size
            while rest:
                written = os.pwrite(descriptor, rest, offset)
                rest, offset = rest[written:], offset + written
            failpoint("ledger:line-written")
            os.fsync(descriptor)
    except BaseException:
        os.ftruncate(descriptor, size)
        raise
