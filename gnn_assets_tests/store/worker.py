"""Real processes for tests that kill, race or starve them.

One server imports the libraries once and forks a process for each job, so that two hundred kills take seconds each
to none. Polars starts its threads at first use, hence the server itself never uses it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Self

from gnn_assets.core.errors import CorruptArtefact, DiskFull, MissingArtefact, StoreError
from gnn_assets.store.cards import Cards
from gnn_assets.store.files import locked, write_atomic
from gnn_assets.store.query import sql
from gnn_assets_tests.store import states

PROJECT = Path(__file__).parents[2]


class Workers:
    """Starts jobs, each in a process of its own. A context manager."""

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "gnn_assets_tests.store.worker"],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def start(self, job: str, *arguments: Any, failpoint: str = "") -> int:
        """Starts a job; returns its process id."""
        return self._ask({"job": job, "arguments": [str(argument) for argument in arguments], "failpoint": failpoint})

    def wait(self, pid: int) -> int:
        """Waits for a job; returns its exit code, negative for the signal it died from."""
        return self._ask({"wait": pid})

    def run(self, job: str, *arguments: Any, failpoint: str = "") -> int:
        return self.wait(self.start(job, *arguments, failpoint=failpoint))

    def kill(self, pid: int) -> int:
        os.kill(pid, signal.SIGKILL)
        return self.wait(pid)

    def _ask(self, question: dict[str, Any]) -> int:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


def wait_for(path: Path, *, seconds: float = 20) -> None:
    """Waits until another process has made `path`."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.002)


def write_forever(root: Path) -> None:
    """Brings store after store one step on, and notes each acknowledged step in `root/acks`."""
    steps = {name: stored(root) for name, stored in states.STORED.items()}
    acks = os.open(root / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    (root / "started").touch()
    while True:
        for name, write in states.WRITE.items():
            write(root, steps[name] + 1)
            steps[name] += 1
            os.write(acks, f"{name} {steps[name]}\n".encode())


def write_step(root: Path, store: str, step: str) -> None:
    states.WRITE[store](root, int(step))


def publish_levels(root: Path, seconds: str) -> None:
    """Publishes one version after the other, and back again."""
    deadline, step = time.monotonic() + float(seconds), 1
    while step == 1 or time.monotonic() < deadline:
        step = step % 50 + 1
        states.WRITE["levels"](root, step)
    (root / "over").touch()


def _read_until_over(root: Path, out: str, read: Any) -> None:
    reads, errors, mixes, seen = 0, [], 0, set()
    over = False
    while not over:
        over = (root / "over").exists()  # seen before the last read, so that one read comes after every publication
        try:
            height, low, high = read()
        except BaseException as error:
            errors.append(repr(error))
        else:
            reads += 1
            mixes += not low == high == height - 1000
            seen.add(low)
        Path(f"{out}.started").touch()
    Path(out).write_text(json.dumps({"reads": reads, "errors": errors, "mixes": mixes, "versions": len(seen)}))


def read_with_polars(root: Path, out: str) -> None:
    lake = states.lake_at(root)

    def read() -> tuple[int, int, int]:
        rows = lake.read(states.LEVELS)
        values = rows["value"].to_numpy()
        return rows.height, int(values.min()), int(values.max())

    _read_until_over(root, out, read)


def read_with_duckdb(root: Path, out: str) -> None:
    lake = states.lake_at(root)
    query = "select count(*) as n, min(value) as low, max(value) as high from levels"
    _read_until_over(root, out, lambda: sql(query, lake=lake, tables=[states.LEVELS]).row(0))


def hold_lock(root: Path, path: str) -> None:
    with locked(Path(path), timeout_seconds=0):
        (root / "held").touch()
        time.sleep(60)


def hold_duckdb(root: Path, path: str) -> None:
    import duckdb

    with duckdb.connect(path) as connection:
        connection.execute("create table held (a int); begin; insert into held values (1)")
        (root / "held").touch()
        time.sleep(60)


def publish_at_barrier(root: Path, me: str, value: str) -> None:
    """Publishes as soon as the test opens the barrier."""
    lake = states.lake_at(root)
    frame = states.levels_of(int(value))
    (root / f"ready-{me}").touch()
    wait_for(root / "go")
    lake.publish(states.LEVELS, frame, lineage=states.lineage(value), data_end=None, run_id=me)


def move_pointer_at_barrier(root: Path, me: str) -> None:
    """Tries to move the pointer from "old", as soon as the test opens the barrier; exit code 1 for the losers."""
    pointer = states.pointer_at(root)
    (root / f"ready-{me}").touch()
    wait_for(root / "go")
    pointer.publish(f"new-{me}", expected="old", run_id=me)


def append_ledger_at_barrier(root: Path, me: str) -> None:
    ledger = states.ledger_at(root)
    (root / f"ready-{me}").touch()
    wait_for(root / "go")
    for number in range(20):
        ledger.append("trials", {"me": me, "number": number})


def fill_disk(root: Path) -> None:
    """On a disk of 1 MiB: every kind of write meets "no space", and what was there before is still there."""
    for name, write in states.WRITE.items():
        write(root, 1)
        assert states.STORED[name](root) == 1
    big = os.urandom(4_000_000)
    rows = 500_000
    wide = states.pl.DataFrame(
        {"row": states.np.arange(rows), "value": states.np.random.default_rng(0).integers(0, 2**62, rows)}
    )
    lake, weights = states.lake_at(root), states.weights_at(root)
    attempts = {
        "file": lambda: write_atomic(root / "file", big),
        "levels": lambda: lake.publish(states.LEVELS, wide, lineage=states.lineage(2), data_end=None),
        "weights": lambda: weights.save({"refit": {"a": states.np.zeros(10**6)}}, {}),
        "ledger": lambda: states.ledger_at(root).append("events", {"text": big.hex()}),
        "card": lambda: Cards(root / "cards").put({"text": big.hex()}),
    }
    # A disk that is full to the last byte: not even a pointer, a lock or a folder fits.
    said = {name: _complaint(attempt) for name, attempt in attempts.items()}
    with (root / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(b"x" * 4096):
                pass
        except OSError:
            pass
    said |= {f"{name} on the last byte": _complaint(lambda w=write: w(root, 2)) for name, write in states.WRITE.items()}
    held = {name: stored(root) for name, stored in states.STORED.items()}
    left = [str(path) for path in states.temporaries(root)]
    (root / "ballast").unlink()
    for name, write in states.WRITE.items():
        write(root, held[name] + 1)
    after = {name: stored(root) for name, stored in states.STORED.items()}
    print(json.dumps({"said": said, "held": held, "after": after, "left": left}))


def _complaint(attempt: Any) -> str:
    try:
        attempt()
    except DiskFull as error:
        return str(error)
    return ""


def survive_power_cut(root: Path, image: str, copy: str) -> None:
    """Writes to a mounted image and copies it raw after the last acknowledgement, as if the power failed then."""
    for step in (1, 2, 3):
        for write in states.WRITE.values():
            write(root, step)
    shutil.copyfile(image, copy)


def survive_power_cut_without_sync(root: Path, image: str, copy: str) -> None:
    setattr(os, "fsync", lambda _: None)  # noqa: B010 (a process of its own)
    survive_power_cut(root, image, copy)


def report_steps(root: Path) -> None:
    """Prints the step each store holds; the text of the refusal where one is damaged."""
    held: dict[str, Any] = {}
    for name, stored in states.STORED.items():
        try:
            held[name] = stored(root)
        except (CorruptArtefact, MissingArtefact, StoreError) as error:
            held[name] = str(error)
    print(json.dumps(held))


def _serve() -> None:
    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            _, status = os.waitpid(question["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            _run(question)
        print(pid, flush=True)


def _run(question: dict[str, Any]) -> None:
    code = 1
    try:
        os.environ["GNN_ASSETS_FAILPOINT"] = question["failpoint"]
        sys.stdout = sys.stderr
        root, *rest = question["arguments"]
        globals()[question["job"]](Path(root), *rest)
        code = 0
    except StoreError:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        globals()[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
    else:
        _serve()
