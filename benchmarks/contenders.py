"""What the benchmarks share: contenders in processes of their own, asked in turn, and the tables of what they told.

A benchmark starts its own file once for each contender, by the interpreter that has the contender's libraries. It asks
by one line of JSON, the work and its settings, and is told by one line what came of it; one contender works at a time.
So peak memory is a contender's own, and what else the machine does hits all of them alike.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any, TypeVar

# Nothing of the project, and of libraries none: what is imported here, every contender's memory holds.

PROJECT = Path(__file__).parents[1]
REST = 0.05  # seconds between two contenders, until waiting threads of the one before sleep
# Read once, before any library is imported. NPROC is what XLA takes for the number of cores.
POOLS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")
T = TypeVar("T")


def pinned(threads: int) -> dict[str, str]:
    """The environment that holds the libraries of a contender to a number of threads."""
    return dict.fromkeys(POOLS, str(threads)) | {"JAX_PLATFORMS": "cpu"}


def command(benchmark: str, contender: str, *, interpreter: str = sys.executable, **arguments: object) -> list[str]:
    """The command line of a contender's process.

    Args:
        benchmark: file of the benchmark.
        contender: its name there.
        interpreter: Python that has its libraries.
        arguments: further ones of the benchmark's command line.
    """
    further = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    return [interpreter, benchmark, "--contender", contender, *further]


class Process:
    """A contender in a process of its own.

    Args:
        words: its command line.
        environment: what is set for it beside what is set already.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        inherited = dict(os.environ)  # noqa: TID251 (a child's, handed on)
        # An interpreter of other libraries has this project no more than its benchmarks.
        paths = [str(PROJECT), *filter(None, [inherited.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=inherited | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
        )

    def ask(self, work: str, **settings: Any) -> Any:
        """What the contender tells of a work when it is done.

        Raises:
            RuntimeError: if its process ended.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("a contender without pipes.")
        sleep(REST)
        stdin.write(json.dumps([work, settings]) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"{work}: the contender ended, its words are above.")
        return json.loads(line)

    def end(self) -> None:
        """Waits until the process has ended."""
        self._process.communicate()


@contextmanager
def processes(commands: Mapping[str, Sequence[str]], environment: Mapping[str, str]) -> Iterator[dict[str, Process]]:
    """A process for each contender, named as its command is; all of them end with the block."""
    started: dict[str, Process] = {}
    try:
        for name, words in commands.items():
            started[name] = Process(words, environment)
        yield started
    finally:
        for process in started.values():
            process.end()


def serve(begin: Callable[[], Callable[..., Any]]) -> None:
    """A contender's process: one line in says what to do, one line out says what came of it.

    Args:
        begin: makes the contender and returns what it is asked by: a function of the work and of its settings by name.
    """
    # Libraries may print: what is told goes out by a descriptor of its own.
    told_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = begin()
    for line in sys.stdin:
        work, settings = json.loads(line)
        print(json.dumps(asked(work, **settings)), file=told_to, flush=True)


def in_turn(asks: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """What each is told when all are asked one after the other, again and again."""
    told: dict[str, list[T]] = {name: [] for name in asks}
    for _ in range(repeats):
        for name, ask in asks.items():
            told[name].append(ask())
    return told


def medians(told: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Median of each clock."""
    return {clock: median(one[clock] for one in told) for clock in told[0]}


def per_session(work: Callable[[], int]) -> dict[str, float]:
    """Wall and CPU seconds (of all threads) that each session of some work took; it returns how many it worked on."""
    wall, cpu = perf_counter(), process_time()
    sessions = work()
    return {"wall": (perf_counter() - wall) / sessions, "cpu": (process_time() - cpu) / sessions}


def memory(kind: str) -> int:
    """Bytes of this process: `VmRSS` now, or `VmHWM`, the most since `forget_peak`. Linux only."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status: expected {kind}, was not there.")


def forget_peak() -> None:
    """Has the most memory that this process held counted from now on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def versions(interpreter: str, *packages: str) -> str | None:
    """Packages that an interpreter has, with their versions, in words; None if it lacks one of them."""
    asked = f"from importlib.metadata import version as v; print(', '.join(f'{{p}} {{v(p)}}' for p in {packages}))"
    try:
        done = subprocess.run([interpreter, "-c", asked], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine(loads: tuple[float, float]) -> str:
    """The machine in words, with its load before and after."""
    before, after = loads
    return f"{os.cpu_count()} cores, load {before:.1f} before and {after:.1f} after, Python {platform.python_version()}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> list[str]:
    """Lines of a Markdown table, numbers to the right of the first columns, which are words."""
    rule = "|" + "---|" * words + "---:|" * (len(header) - words)
    return [f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


def ms(seconds: float) -> str:
    """Seconds as milliseconds, three digits."""
    return f"{seconds * 1e3:.3g}"


def publish(text: str, out: Path | None) -> None:
    """Prints a page, and writes it to a file where one is named."""
    print(text)
    if out:
        out.write_text(text, encoding="utf-8")
