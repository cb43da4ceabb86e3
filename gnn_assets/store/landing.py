"""Answers of a source on their way to the lake: one durable file each, so that a killed backfill asks nothing twice.

    landing/<hash of the key>.landing    one answer: a line with a checksum, its key and facts, its frames as Parquet
    landing/quarantine/                  answers that were damaged: they are simply asked for again

A file appears whole and never changes. What is in the lake is cleared; what is not stays until it is.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from gnn_assets.core.errors import CorruptArtefact, MissingArtefact
from gnn_assets.core.hashing import canonical_json, sha256_hex
from gnn_assets.store.files import (
    locked,
    refusal_named,
    set_aside,
    staging,
    sweep_temporaries,
    sync_folder,
    write_atomic,
    write_folder,
)
from gnn_assets.store.sealed import read_sealed, seal

_FORM = b"landing-1"
_SUFFIX = ".landing"
# Enough malformed answers to see a pattern, and never a disk full of them.
_MOST_REFUSALS, _MOST_REFUSED_BYTES = 200, 50_000_000
_LOCK_SECONDS = 20.0  # another process holds it for milliseconds


@dataclass(frozen=True)
class Landed:
    """An answer that has landed.

    Args:
        key: what was asked.
        facts: JSON data said about it.
        rows: name of a frame → its rows.
    """

    key: str
    facts: Mapping[str, Any]
    rows: Mapping[str, int]


class Landing:
    """A folder of answers.

    Args:
        folder: made at the first `land`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def land(self, key: str, frames: Mapping[str, pl.DataFrame], facts: Mapping[str, Any]) -> Landed:
        """Keeps an answer; on return it is on the disk. One that has landed under the key before stays instead.

        Args:
            key: what was asked; equal questions have the equal key.
            frames: name → rows.
            facts: JSON data: who answered, when, what failed.

        Raises:
            DiskFull: nothing has landed.
        """
        try:
            return self._read(self._path(key))[0]
        except (MissingArtefact, CorruptArtefact):
            pass
        # In the order that canonical JSON gives them: it is how their places in the file are told.
        parts = {name: _parquet(frames[name]) for name in sorted(frames)}
        header = {
            "key": key,
            "facts": dict(facts),
            "frames": {name: [len(part), frames[name].height] for name, part in parts.items()},
        }
        head = canonical_json(header).encode()
        rest = b"".join([head, *parts.values()])
        write_atomic(self._path(key), b"%s %d %s\n%s" % (_FORM, len(head), sha256_hex(rest).encode(), rest))
        return _landed(json.loads(head))

    def landed(self) -> list[Landed]:
        """Every answer that has landed and is whole, in order of key.

        What a dead writer left is swept. A damaged answer is moved to quarantine: it has not landed any more.
        """
        sweep_temporaries(self.folder)
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            try:
                found.append(self._read(path)[0])
            except (MissingArtefact, CorruptArtefact):
                continue
        return sorted(found, key=lambda landed: landed.key)

    def frames(self, landed: Landed, name: str) -> pl.DataFrame:
        """One frame of an answer.

        Raises:
            MissingArtefact: if the answer was cleared, or never had such a frame.
            CorruptArtefact: if it was damaged meanwhile; it is moved to quarantine, and can be asked for again.
        """
        path = self._path(landed.key)
        _, header, body = self._read(path)
        start = 0
        for stored, (size, _) in header["frames"].items():
            if stored == name:
                return _parsed(body[start : start + size], path=path, name=name)
            start += size
        raise MissingArtefact.of(
            str(path), expected=f"one of the frames {', '.join(header['frames'])}", was=name, do="name one of them"
        )

    def clear(self, *landed: Landed) -> None:
        """Forgets answers, once what they say is in the lake.

        Raises:
            ReadOnly: if the folder cannot be written; answers that are forgotten twice do no harm.
        """
        with refusal_named(self.folder, need=0):
            for answer in landed:
                self._path(answer.key).unlink(missing_ok=True)
        if landed and self.folder.is_dir():
            sync_folder(self.folder)

    def _path(self, key: str) -> Path:
        return self.folder / f"{sha256_hex(key.encode())[:32]}{_SUFFIX}"

    def _read(self, path: Path) -> tuple[Landed, dict[str, Any], memoryview]:
        try:
            with path.open("rb") as file:
                data = file.read()
                inode = os.fstat(file.fileno()).st_ino
        except FileNotFoundError as error:
            raise MissingArtefact.of(
                str(path), expected="an answer that has landed", was="none", do="ask the source again"
            ) from error
        line, _, rest = data.partition(b"\n")
        form, _, promised = line.partition(b" ")
        length, _, digest = promised.partition(b" ")
        if form != _FORM or not length.isdigit() or sha256_hex(rest).encode() != digest:
            quarantine = self.folder / "quarantine"
            if set_aside(path, quarantine, inode=inode):
                return self._read(path)
            raise CorruptArtefact.of(
                str(path),
                expected="an answer that matches its checksum",
                was=f"damaged ({len(data)} bytes)",
                do=f"run again, the source is asked again; the damaged file is kept in {quarantine}",
            )
        header = json.loads(rest[: int(length)])
        return _landed(header), header, memoryview(rest)[int(length) :]


class Refusals:
    """Raw answers that were not in their source's format, kept for people, a bounded number of them.

        <number>-<hash>/payload       the bytes as they came
        <number>-<hash>/about.json    who sent them, and why they were refused

    Args:
        folder: made at the first `keep`.
        most: how many answers are kept; the oldest go first.
        most_bytes: of all of them together; of one that is larger alone, its beginning is kept.
    """

    def __init__(self, folder: Path, *, most: int = _MOST_REFUSALS, most_bytes: int = _MOST_REFUSED_BYTES) -> None:
        self.folder = folder
        self._most = most
        self._most_bytes = most_bytes

    def keep(self, source: str, payload: bytes, reason: str) -> str:
        """Keeps an answer; one with the same bytes is kept once.

        Args:
            source: who sent it.
            payload: its bytes.
            reason: what is wrong with them.

        Returns:
            Its name: that of its folder.

        Raises:
            LockTimeout, DiskFull: it was not kept.
        """
        with locked(self.folder / ".lock", timeout_seconds=_LOCK_SECONDS):
            sweep_temporaries(self.folder)
            return self._keep(source, payload, reason)

    def names(self) -> list[str]:
        """Names of the answers kept, oldest first."""
        return sorted(path.name for path in self.folder.glob("[0-9]*-*"))

    def about(self, name: str) -> dict[str, Any]:
        """Source, reason, bytes and sha256 of one."""
        return read_sealed(self.folder / name / "about.json")

    def payload(self, name: str) -> bytes:
        """The bytes of one as they came; cut where they were too many."""
        return (self.folder / name / "payload").read_bytes()

    def _keep(self, source: str, payload: bytes, reason: str) -> str:
        digest = sha256_hex(payload)
        before = self.names()
        again = next((name for name in before if name.endswith(f"-{digest[:32]}")), None)
        if again is not None:
            return again
        number = 1 + (int(before[-1].partition("-")[0]) if before else 0)
        name = f"{number:08d}-{digest[:32]}"
        about = {"source": source, "reason": reason, "bytes": len(payload), "sha256": digest}
        write_folder(self.folder / name, {"payload": payload[: self._most_bytes], "about.json": seal(about)})
        self._remove_beyond_bounds()
        return name

    def _remove_beyond_bounds(self) -> None:
        names = self.names()
        sizes = [(self.folder / name / "payload").stat().st_size for name in names]
        beyond = 0
        while len(names) - beyond > self._most or sum(sizes[beyond:]) > self._most_bytes:
            beyond += 1
        if beyond:
            with staging(self.folder) as temporary:
                for name in names[:beyond]:
                    (self.folder / name).replace(temporary / name)


def _landed(header: Mapping[str, Any]) -> Landed:
    rows = {name: height for name, (_, height) in header["frames"].items()}
    return Landed(key=header["key"], facts=header["facts"], rows=rows)


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def _parsed(data: memoryview, *, path: Path, name: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(BytesIO(data))
    # The bytes are those written; another release of the library may still not understand them, or panic.
    except (pl.exceptions.PanicException, Exception) as error:
        raise CorruptArtefact.of(
            f"{path}, frame {name}",
            expected="Parquet",
            was=f"unreadable ({type(error).__name__})",
            do="clear it and ask the source again",
        ) from error
