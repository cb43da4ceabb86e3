"""A disk that is full, and power that fails: real file systems, mounted for the test."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gnn_assets_tests.store.states import STORED
from gnn_assets_tests.store.worker import PROJECT

WORKER = [sys.executable, "-m", "gnn_assets_tests.store.worker"]


def _in_tmpfs(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a namespace of its own in which `folder` is a disk of 1 MiB."""
    script = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    return subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, str(folder), *command],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def _skip_unless_tmpfs(folder: Path) -> None:
    if shutil.which("unshare") is None or _in_tmpfs(folder, "true").returncode:
        pytest.skip("this machine lets nobody mount a tmpfs in a namespace of its own")


def test_a_full_disk_is_said_in_one_sentence_and_loses_nothing(tmp_path):
    _skip_unless_tmpfs(tmp_path)
    done = _in_tmpfs(tmp_path, *WORKER, "fill_disk", str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for name, sentence in told["said"].items():
        if sentence or not name.endswith("last byte"):
            assert "disk full: need " in sentence, name
            assert ", have " in sentence, name
    # Without any room nothing can be published, in whatever step the first refusal comes.
    refused = [name for name, sentence in told["said"].items() if sentence and name.endswith("last byte")]
    assert {"levels on the last byte", "weights on the last byte", "pointer on the last byte"} <= {*refused}
    assert all(1 <= step <= 2 for step in told["held"].values())
    assert told["left"] == []
    assert told["after"] == {name: step + 1 for name, step in told["held"].items()}


@contextmanager
def _mounted(image: Path, folder: Path, *, mode: str) -> Generator[bool]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-o", f"loop,data={mode}", str(image), str(folder)], capture_output=True, check=False
    )
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)


def _empty_disk(image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(32 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)


@pytest.mark.drill
@pytest.mark.parametrize("mode", ["ordered", "writeback", "journal"])
def test_what_was_acknowledged_survives_a_power_cut(tmp_path, mode):
    """The raw image, copied right after the last acknowledgement, is what a disk holds when the power fails then."""
    held = _held_after_power_cut(tmp_path, mode=mode, job="survive_power_cut")
    assert held == dict.fromkeys(STORED, 3)
    print(f"\npower cut, ext4 data={mode}: all {len(held)} stores hold step 3 of 3")


@pytest.mark.drill
def test_the_power_cut_is_a_real_one(tmp_path):
    """The guard's guard: without fsync the same cut loses acknowledged steps."""
    held = _held_after_power_cut(tmp_path, mode="ordered", job="survive_power_cut_without_sync")
    assert held != dict.fromkeys(STORED, 3)
    print(f"\npower cut without fsync: {held}")


def _held_after_power_cut(folder: Path, *, mode: str, job: str) -> dict[str, object]:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root and mkfs.ext4 to mount an image")
    image, copy = folder / "image", folder / "copy"
    _empty_disk(image)
    with _mounted(image, folder / "disk", mode=mode) as permitted:
        if not permitted:
            pytest.skip("this machine lets root mount no image")
        root = folder / "disk" / "home"
        root.mkdir()
        subprocess.run([*WORKER, job, str(root), str(image), str(copy)], cwd=PROJECT, check=True)
    with _mounted(copy, folder / "after", mode=mode) as permitted:
        assert permitted, "the copied image must mount: its journal is replayed then"
        done = subprocess.run(
            [*WORKER, "report_steps", str(folder / "after" / "home")],
            cwd=PROJECT,
            check=True,
            capture_output=True,
            text=True,
        )
    return json.loads(done.stdout)
