import errno
import os
from pathlib import Path
from typing import Any

import pytest

from gnn_assets.core import settings
from gnn_assets.core.errors import CorruptArtefact, DiskFull, LockTimeout, MissingArtefact, NewerSchema, ReadOnly
from gnn_assets.core.hashing import canonical_json, json_hash, sha256_hex
from gnn_assets.store import files
from gnn_assets.store.files import (
    ensure_folder,
    failpoint,
    locked,
    read_verified,
    refusal_named,
    staging,
    sweep_temporaries,
    write_all,
    write_atomic,
)
from gnn_assets.store.sealed import FORMAT, read_sealed, seal, unseal


def test_a_file_is_written_and_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "folder" / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_a_reader_that_holds_the_old_file_keeps_it(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with path.open("rb") as held:
        write_atomic(path, b"new")
        assert held.read() == b"old"


def test_bytes_are_synced_before_they_are_named_and_names_before_the_return(tmp_path, monkeypatch):
    """The order that survives a power cut: every file, then the renames, then the folder."""
    calls = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(Path(f"/proc/self/fd/{fd}").readlink().name), sync(fd)))
    monkeypatch.setattr(Path, "replace", lambda old, new: (calls.append(f"{old.name} named"), replace(old, new)))
    write_all(tmp_path, {"a": b"1", "b": b"2"})
    assert calls == ["a", "b", "a named", "b named", tmp_path.name]


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="broken"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert sweep_temporaries(tmp_path) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_is_one_sentence_with_both_numbers(tmp_path, code):
    with (
        pytest.raises(DiskFull, match=r"disk full: need 12345 bytes, have \d+; free some room"),
        refusal_named(tmp_path / "not" / "there" / "yet", need=12345),
    ):
        raise OSError(code, "no room")


def test_no_inode_left_is_said_so(tmp_path, monkeypatch):
    real = os.statvfs(tmp_path)
    none = os.statvfs_result((*real[:5], 100, 0, 0, *real[8:]))
    monkeypatch.setattr(os, "statvfs", lambda _: none)
    with (
        pytest.raises(DiskFull, match=r"have \d+ but no room for another file \(0 inodes\); free some room"),
        refusal_named(tmp_path, need=1),
    ):
        raise OSError(errno.ENOSPC, "no room")


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_that_must_not_be_written_is_named(tmp_path, code):
    with (
        pytest.raises(ReadOnly, match=f"{tmp_path}: expected a folder this process may write, was not yours; mount it"),
        refusal_named(tmp_path, need=1),
    ):
        raise OSError(code, "not yours")


def test_other_failures_of_the_disk_keep_their_own_name(tmp_path):
    with pytest.raises(OSError, match="broken"), refusal_named(tmp_path, need=1):
        raise OSError(errno.EIO, "broken")


def test_a_folder_and_its_parents_are_made_once(tmp_path):
    ensure_folder(tmp_path / "a" / "b" / "c")
    ensure_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_temporary_swept_while_it_is_made_is_made_again(tmp_path, monkeypatch):
    """Between making a temporary folder and claiming it a sweeper may take it."""
    made = []
    mkdir = Path.mkdir

    def swept(folder: Path, *rest: Any, **options: Any) -> None:
        mkdir(folder, *rest, **options)
        made.append(folder)
        if len(made) == 1:
            folder.rmdir()

    monkeypatch.setattr(Path, "mkdir", swept)
    with staging(tmp_path) as temporary:
        assert temporary.is_dir()
        assert temporary == made[1]


def test_a_temporary_swept_before_its_claim_counts_is_made_again(tmp_path, monkeypatch):
    """The sweeper came between opening and locking: the lock is on a folder that is gone."""
    flock, taken = files.fcntl.flock, []

    def lock(descriptor: int, how: int) -> None:
        if not taken:
            taken.append(Path(f"/proc/self/fd/{descriptor}").readlink())
            taken[0].rmdir()
        flock(descriptor, how)

    monkeypatch.setattr(files.fcntl, "flock", lock)
    with staging(tmp_path) as temporary:
        assert temporary.is_dir()
        assert temporary != taken[0]


def test_a_sweeper_that_comes_second_finds_nothing(tmp_path):
    assert not files._remove_if_dead(tmp_path / ".tmp-gone")


def test_a_verified_read_gives_the_bytes_it_checked(tmp_path):
    write_atomic(tmp_path / "file", b"content")
    assert read_verified(tmp_path / "file", sha256_hex(b"content")) == b"content"


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(MissingArtefact, match="materialise it again"):
        read_verified(tmp_path / "file", sha256_hex(b"content"))


def test_a_damaged_file_is_moved_aside(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"damaged")
    with pytest.raises(CorruptArtefact, match=r"file: expected sha256 .*was .* \(7 bytes\); materialise it again"):
        read_verified(path, sha256_hex(b"content"))
    assert not path.exists()
    assert (tmp_path / "quarantine" / "file").read_bytes() == b"damaged"


def test_a_file_repaired_between_check_and_move_is_put_back(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"damaged")
    checked = files.sha256_hex

    def repair_meanwhile(data: bytes) -> str:
        if data == b"damaged":
            write_atomic(path, b"content")
        return checked(data)

    monkeypatch.setattr(files, "sha256_hex", repair_meanwhile)
    assert read_verified(path, checked(b"content")) == b"content"
    assert path.read_bytes() == b"content"


def test_a_damaged_file_that_cannot_be_moved_is_refused_all_the_same(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"damaged")
    (tmp_path / "quarantine").write_bytes(b"a file where the folder should be")
    with pytest.raises(CorruptArtefact):
        read_verified(path, sha256_hex(b"content"))


def test_a_lock_excludes_and_is_released_by_an_error(tmp_path):
    path = tmp_path / "folder" / ".lock"

    def fail_while_holding() -> None:
        with locked(path, timeout_seconds=0):
            with pytest.raises(LockTimeout, match=rf"held by process {os.getpid()}"):
                locked(path, timeout_seconds=0.03).__enter__()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_holding()
    with locked(path, timeout_seconds=0):
        pass


def test_a_failpoint_nobody_asked_for_does_nothing(monkeypatch):
    assert settings.failpoint() == ""
    failpoint("lake:files-written")


def test_a_failpoint_kills_only_at_its_own_step(monkeypatch):
    killed = []
    monkeypatch.setattr(settings, "failpoint", lambda: "this step")
    monkeypatch.setattr(os, "kill", lambda pid, how: killed.append((pid, how)))
    failpoint("another step")
    assert killed == []
    failpoint("this step")
    assert killed == [(os.getpid(), 9)]


def test_a_sealed_record_comes_back(tmp_path):
    body = {"number": 1.5, "text": "ü−", "list": [None, True]}
    write_atomic(tmp_path / "record.json", seal(body))
    assert read_sealed(tmp_path / "record.json") == body


def test_every_flipped_bit_of_a_sealed_record_is_seen():
    data = seal({"version": "abc", "rows": 17, "text": "ü"})
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptArtefact, match=r"record\.json"):
            unseal(bytes(damaged), path=Path("record.json"))


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b'{"format": 1}', b"\xff", b'{"body":1,"format":1}'])
def test_what_is_no_sealed_record_is_refused(data):
    with pytest.raises(CorruptArtefact):
        unseal(data, path=Path("record.json"))


def test_a_record_of_a_newer_release_is_refused_by_name():
    form, body = FORMAT + 1, {"unknown": True}
    envelope = {"body": body, "format": form, "sha256": json_hash([form, body])}
    with pytest.raises(NewerSchema, match=f"expected format {FORMAT} or older, was format {form}; install the newer"):
        unseal(f"{canonical_json(envelope)}\n".encode(), path=Path("record.json"))


def test_a_missing_record_is_said_to_be_missing(tmp_path):
    with pytest.raises(MissingArtefact, match=r"none\.json"):
        read_sealed(tmp_path / "none.json")
