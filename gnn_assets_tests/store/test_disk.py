"""A disk that is full or closed to writers, and power that fails: real file systems, mounted for the test."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from gnn_assets.core.errors import StoreError
from gnn_assets.store.cards import Cards
from gnn_assets.store.landing import Landing, Refusals
from gnn_assets.store.panels import PanelData, Panels
from gnn_assets_tests.store.states import STORED, WRITE, levels_of
from gnn_assets_tests.store.worker import PROJECT

WORKER = [sys.executable, "-m", "gnn_assets_tests.store.worker"]


def _in_tmpfs(folder: Path, *command: str, options: str = "size=1m") -> subprocess.CompletedProcess[str]:
    """Runs a command in a namespace of its own in which `folder` is a small disk."""
    script = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
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


# Prepared on a disk that is then closed to writers; what they are told, and whether all goes on once it is open again.
_CLOSED = """
import sys
from pathlib import Path
from gnn_assets_tests.store.test_disk import write_while_closed
write_while_closed(Path(sys.argv[1]), sys.argv[2])
"""
_SESSIONS = [date(2020, 1, 2), date(2020, 1, 3)]


def _panel_of(value: float) -> PanelData:
    return PanelData(_SESSIONS, ["AAA"], {"close": np.full((2, 1), value)})


def _close(root: Path, how: str) -> None:
    if how == "inodes":
        (root / "ballast").mkdir()
        with suppress(OSError):
            for number in range(10**6):
                (root / "ballast" / str(number)).touch()
    elif how == "permission":
        for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
            folder.chmod(0o555)
        for lock in root.rglob("*lock*"):
            lock.chmod(0o444)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)


def _open(root: Path, how: str) -> None:
    if how == "inodes":
        shutil.rmtree(root / "ballast")
    elif how == "permission":
        for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)
        for lock in root.rglob("*lock*"):
            lock.chmod(0o644)
    else:
        subprocess.run(["mount", "-o", "remount,rw", str(root)], check=True)


def write_while_closed(root: Path, how: str) -> None:
    """Runs in a process of its own: every kind of store meets a disk that takes nothing."""
    landing, refusals, cards = Landing(root / "landing"), Refusals(root / "refusals"), Cards(root / "cards")
    panels = Panels(root / "panels", lock_timeout_seconds=5)
    for write in WRITE.values():
        write(root, 1)
    landed = landing.land("one", {"levels": levels_of(1)}, {})
    card = cards.put({"step": 1})
    refusals.keep("yahoo", b"1", "bad")
    panels.open("1" * 16, lambda: _panel_of(1))
    files = {path for path in root.rglob("*") if path.is_file()}
    attempts = {name: lambda name=name: WRITE[name](root, STORED[name](root) + 1) for name in WRITE} | {
        "landing": lambda: landing.land("two", {"levels": levels_of(2)}, {}),
        "refusals": lambda: refusals.keep("yahoo", b"2", "bad"),
        "cards": lambda: cards.put({"step": 2}),
        "panels": lambda: panels.open("2" * 16, lambda: _panel_of(2)),
        "new home": lambda: WRITE["levels"](root / "new" / "home", 1),
    }
    if how != "inodes":
        attempts["clear"] = lambda: landing.clear(landed)
    _close(root, how)
    said = {name: _refusal(attempt) for name, attempt in attempts.items()}
    held = {name: stored(root) for name, stored in STORED.items()}
    held |= {"panels": int(panels.open("1" * 16, lambda: _panel_of(9)).field("close")[0, 0])}
    held |= {"landing": landing.landed() == [landed], "cards": cards.get(card)["step"]}
    left = [str(path) for path in root.rglob("*") if path.is_file() and path not in files]
    _open(root, how)
    after = {name: _refusal(attempt) for name, attempt in attempts.items()}
    after |= {name: stored(root) for name, stored in STORED.items()}
    print(json.dumps({"said": said, "held": held, "left": left, "after": after}))


def _refusal(attempt: Callable[[], object]) -> list[str]:
    try:
        attempt()
    except StoreError as error:
        return [type(error).__name__, str(error)]
    return []


# Root writes everywhere unless it gives up the right to.
_AS_OTHERS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "error", "sentence"),
    [
        ("read-only", "ReadOnly", "expected a folder this process may write, was Read-only file system"),
        ("permission", "ReadOnly", "expected a folder this process may write, was Permission denied"),
        ("inodes", "DiskFull", "but no room for another file (0 inodes)"),
    ],
)
def test_a_disk_that_takes_nothing_is_said_in_one_sentence_and_loses_nothing(tmp_path, how, error, sentence):
    _skip_unless_tmpfs(tmp_path)
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv to take root's right to write everywhere")
    prefix = _AS_OTHERS if how == "permission" else []
    options = "size=64m,nr_inodes=400" if how == "inodes" else "size=64m"
    done = _in_tmpfs(tmp_path, *prefix, sys.executable, "-c", _CLOSED, str(tmp_path), how, options=options)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    # A ledger's line needs no new file: without inodes it is written all the same.
    spared = {"ledger"} if how == "inodes" else set()
    for name, complaint in told["said"].items():
        if name not in spared:
            assert complaint[:1] == [error], name
            assert str(tmp_path) in complaint[1], name
            assert sentence in complaint[1], name
            assert "nothing was half-written" in complaint[1], name
    assert told["held"] == dict.fromkeys(STORED, 1) | dict.fromkeys(spared, 2) | {
        "panels": 1,
        "landing": True,
        "cards": 1,
    }
    assert [path for path in told["left"] if "ballast" not in path] == []
    assert told["after"] == {name: [] for name in told["said"]} | dict.fromkeys(STORED, 2) | dict.fromkeys(spared, 3)


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
