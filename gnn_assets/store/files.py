"""Bytes on disk that are whole or absent: atomic writes, verified reads, locks that die with their holder.

An acknowledged write survives a power cut: data are synced before the rename, the folder after it. A name is only
ever given to finished bytes, and every read is checked against a SHA-256 written down beforehand.
"""

import errno
import fcntl
import os
import secrets
import shutil
import signal
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from gnn_assets.core import settings
from gnn_assets.core.errors import CorruptArtefact, DiskFull, LockTimeout, MissingArtefact, ReadOnly
from gnn_assets.core.hashing import sha256_hex

_TEMPORARY = ".tmp-"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def failpoint(name: str) -> None:
    """Kills this process at once if a fault test asked for it to die at the step `name`."""
    if settings.failpoint() == name:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def refusal_named(folder: Path, *, need: int) -> Generator[None]:
    """Turns a disk that takes no more, or takes nothing at all, into a sentence with the remedy.

    Args:
        folder: any path on the file system written to.
        need: bytes about to be written.

    Raises:
        DiskFull: if the block meets "no space", "over quota" or "no room for another file".
        ReadOnly: if it meets a disk or folder that this process may not write.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSED:
            raise ReadOnly.of(
                str(folder),
                expected="a folder this process may write",
                was=error.strerror,
                do="mount it writable or give the user write permission, and run again, nothing was half-written",
            ) from error
        if error.errno not in _FULL:
            raise
        there = next(path for path in (folder, *folder.parents) if path.exists())
        space = os.statvfs(there)
        have = f"{space.f_bavail * space.f_frsize}"
        # A file system without inodes of its own counts none at all.
        if space.f_files and not space.f_favail:
            have += " but no room for another file (0 inodes)"
        raise DiskFull(
            f"{folder}: disk full: need {need} bytes, have {have}; free some room and run again, "
            "nothing was half-written."
        ) from error


def ensure_folder(folder: Path) -> None:
    """Makes a folder and its parents, each one durable."""
    if folder.is_dir():
        return
    ensure_folder(folder.parent)
    with refusal_named(folder.parent, need=0), suppress(FileExistsError):
        folder.mkdir()
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def staging(folder: Path) -> Generator[Path]:
    """A temporary folder inside `folder`: removed at the end, and by `sweep_temporaries` if this process dies first."""
    ensure_folder(folder)
    while True:
        temporary = folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
        with refusal_named(folder, need=0):
            temporary.mkdir()
        with suppress(FileNotFoundError):
            claim = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(claim, fcntl.LOCK_EX)
            # A sweeper may have taken it between the two lines above; from here on it cannot.
            if temporary.is_dir():
                break
            os.close(claim)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(claim)


def sweep_temporaries(root: Path) -> int:
    """Removes what dead writers left half-written below `root`; what a living one is writing stays.

    Returns:
        How many temporary folders were removed.
    """
    removed = 0
    for folder, names, _ in os.walk(root):
        for name in [name for name in names if name.startswith(_TEMPORARY)]:
            names.remove(name)
            removed += _remove_if_dead(Path(folder) / name)
    return removed


def _remove_if_dead(temporary: Path) -> bool:
    try:
        claim = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        shutil.rmtree(temporary, ignore_errors=True)
        return True
    finally:
        os.close(claim)


def write_synced(path: Path, data: bytes) -> None:
    """Writes a new file and waits until its bytes are on the disk; its name is not durable yet."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Writes files of one folder: each appears whole or not at all, and all are durable on return.

    Args:
        folder: made if absent.
        contents: file name → bytes.

    Raises:
        DiskFull, ReadOnly: if nothing more can be written; files already in place stay whole, temporaries are gone.
    """
    need = sum(len(data) for data in contents.values())
    with staging(folder) as temporary, refusal_named(folder, need=need):
        for name, data in contents.items():
            write_synced(temporary / name, data)
        for name in contents:
            (temporary / name).replace(folder / name)
        sync_folder(folder)


def write_atomic(path: Path, data: bytes) -> None:
    """Writes or replaces one file: readers see the old bytes or the new, also after a crash.

    Raises:
        DiskFull, ReadOnly: if it cannot be written; the old file, if any, is untouched.
    """
    write_all(path.parent, {path.name: data})


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Writes a new folder of files: it appears with all of them or not at all, and is durable on return.

    Args:
        folder: must not exist; its parent is made if absent.
        contents: file name → bytes.

    Raises:
        DiskFull, ReadOnly: if it cannot be written; nothing is left of it.
    """
    need = sum(len(data) for data in contents.values())
    with staging(folder.parent) as temporary, refusal_named(folder, need=need):
        for name, data in contents.items():
            write_synced(temporary / name, data)
        sync_folder(temporary)
        temporary.replace(folder)
        sync_folder(folder.parent)


def read_verified(path: Path, sha256: str, *, quarantine: Path | None = None) -> bytes:
    """Reads a file once and hands out exactly the bytes that were checked.

    Args:
        path: the file.
        sha256: what its bytes must hash to, 64 hex digits.
        quarantine: folder a damaged file is moved to; by default `quarantine` beside it.

    Raises:
        MissingArtefact: if there is no such file.
        CorruptArtefact: if its bytes are not those promised.
    """
    try:
        with path.open("rb") as file:
            data = file.read()
            inode = os.fstat(file.fileno()).st_ino
    except FileNotFoundError as error:
        raise MissingArtefact.of(
            str(path), expected="a stored file", was="none (a damaged one is in quarantine)", do="materialise it again"
        ) from error
    found = sha256_hex(data)
    if found == sha256:
        return data
    kept = quarantine or path.parent / "quarantine"
    if set_aside(path, kept, inode=inode):
        return read_verified(path, sha256, quarantine=quarantine)
    raise CorruptArtefact.of(
        str(path),
        expected=f"sha256 {sha256[:16]}",
        was=f"{found[:16]} ({len(data)} bytes)",
        do=f"materialise it again; the damaged file is kept in {kept}",
    )


def set_aside(path: Path, quarantine: Path, *, inode: int) -> bool:
    """Moves a damaged file out of the way.

    Args:
        path: the file.
        quarantine: folder it is moved to.
        inode: of the file that was found damaged.

    Returns:
        True if somebody had put a new file in its place meanwhile: then that one stays.
    """
    moved = quarantine / path.name
    # On a read-only disk the file stays where it is: the caller refuses it all the same.
    with suppress(OSError):
        quarantine.mkdir(parents=True, exist_ok=True)
        path.replace(moved)
        if moved.stat().st_ino != inode:
            moved.replace(path)
            return True
    return False


@contextmanager
def locked(path: Path, *, timeout_seconds: float) -> Generator[None]:
    """Holds an exclusive lock that the kernel releases when this process dies, however it dies.

    Args:
        path: the lock file; its content, the holder's process id, is for people only.
        timeout_seconds: longest wait.

    Raises:
        LockTimeout: if another holder kept it that long.
    """
    ensure_folder(path.parent)
    with refusal_named(path.parent, need=0):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(descriptor, path, timeout_seconds=timeout_seconds)
        _note_holder(descriptor, str(os.getpid()))
        try:
            yield
        finally:
            _note_holder(descriptor, "")
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, *, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
                raise LockTimeout.of(
                    str(path),
                    expected=f"to be the only writer within {timeout_seconds:g} s",
                    was=f"held by process {holder}",
                    do="wait for it to finish, or stop it",
                ) from error
            time.sleep(0.01)
        else:
            return


def _note_holder(descriptor: int, holder: str) -> None:
    # Information for the sentence above only: a full disk must not turn it into a failure.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
