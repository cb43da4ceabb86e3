"""A small platform with three scored candidates, and the commands run on it in processes of their own.

The weights are a few numbers and the tables a few rows: what is shown here is who is served, not how well.
"""

import multiprocessing
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import date, timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gnn_assets.backtests.schema import BACKTEST_SCORES, PORTFOLIO_RETURNS
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import GnnAssetsError
from gnn_assets.core.settings import Settings
from gnn_assets.defs.candidates import record_of, scored
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.switching import event_of, move_champion, promote_by_hand, roll_back
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.schema import Table
from gnn_assets.store.versions import Lineage

MODEL = "mlp"
SESSIONS = [date(2022, 12, 1) + timedelta(days=day) for day in range(5)]
TARGET = {"fill": "close_next", "horizon": 5}
SWITCHES = {"rollback": roll_back, "promote": promote_by_hand}

# Fresh interpreters: polars, whose threads no fork takes along, hangs in a process forked from one that has used it.
FRESH = multiprocessing.get_context("spawn")
# Longest wait for a word from a process.
LONGEST_SECONDS = 240


def platform_at(home: Path, *, automation: Mapping[str, Any] | None = None, **runtime: Any) -> Platform:
    config = build_config("test", {"runtime": runtime, "automation": automation or {}})
    return Platform(settings=Settings(profile="test", home=home), config=config)


def lineage(**inputs: str) -> Lineage:
    return Lineage(inputs=inputs, code_version="code", config_hash="config")


def rows_of(table: Table, **columns: Any) -> pl.DataFrame:
    """Rows that fit a table's contract: a session each, zeros and blanks where nothing is said."""
    blank = {pl.String: "", pl.Date: SESSIONS[0], pl.Boolean: False}
    filled = {
        name: columns.get(name, SESSIONS if name == "session" else [blank.get(dtype, 0)] * len(SESSIONS))
        for name, dtype in table.columns.items()
    }
    return pl.DataFrame(filled, schema=dict(table.columns))


def add_candidate(
    platform: Platform,
    number: int,
    *,
    arrays: Mapping[str, np.ndarray] | None = None,
    target: Mapping[str, Any] = TARGET,
    failure: str = "",
    scores: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5),
    training_end: date = SESSIONS[0] - timedelta(days=1),
    score: bool = True,
) -> str:
    """Stores a candidate with everything that judges it, unless its scores are to come; returns its version."""
    part = {"kernel": np.full(4, number, dtype=np.float32)} if arrays is None else arrays
    told = {"failure": failure, "curve": [], "test": None}
    facts = {
        "data_end": str(SESSIONS[-1]),
        "config_hash": "recipe",
        "recipe": {"models": {"candidate": MODEL}, "execution": dict(target)},
        "parts": {f"{MODEL}/refit": told},
        "inputs": {},
        "number": number,
    }
    version = platform.weights.save({f"{MODEL}/refit": part}, facts)
    platform.weights.publish(version, lineage=lineage(number=str(number)))
    if score:
        score_candidate(platform, version, number, scores=scores, training_end=training_end)
    return version


def score_candidate(
    platform: Platform,
    version: str,
    number: int,
    *,
    scores: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5),
    training_end: date = SESSIONS[0] - timedelta(days=1),
) -> None:
    """Stores what judges a candidate; the number is that of its returns."""
    publish = {"data_end": SESSIONS[-1]}
    predictions = rows_of(
        OOS_PREDICTIONS,
        version=[version] * 5,
        model=[MODEL] * 5,
        symbol=list("ABCDE"),
        score=list(scores),
        training_end=[training_end] * 5,
    )
    made = platform.lake.publish(OOS_PREDICTIONS, predictions, lineage=lineage(gnn_weights=version), **publish)
    oos = made.version
    portfolio = rows_of(PORTFOLIO_RETURNS, model=[MODEL] * 5, net=[number / 100] * 5)
    made = platform.lake.publish(PORTFOLIO_RETURNS, portfolio, lineage=lineage(oos_predictions=oos), **publish)
    judged = {"oos_predictions": oos, "portfolio_returns": made.version}
    scored_rows = rows_of(BACKTEST_SCORES, model=[MODEL] * 5, version=[version] * 5, fold=list(range(5)))
    platform.lake.publish(BACKTEST_SCORES, scored_rows, lineage=lineage(**judged), **publish)


def judged(platform: Platform, version: str, *, rule: str) -> Champion:
    record = record_of(platform, version, tables=scored(platform)[version])
    return Champion(**{**vars(record), "rule": rule, "reason": f"by rule {rule}: passed."})


def fill(home: Path) -> tuple[str, str, str]:
    """A platform whose gate promoted the first candidate, then the second, and refused the third."""
    platform = platform_at(home)
    first, second, third = (add_candidate(platform, number) for number in (1, 2, 3))
    for version, expected, rule in ((first, None, "bootstrap"), (second, first, "refresh")):
        move_champion(
            platform, judged(platform, version, rule=rule), expected=expected, lineage=lineage(), run_id=f"run {rule}"
        )
    refused = Champion(**{**vars(judged(platform, third, rule="replace")), "reason": "not superior."})
    platform.ledger.append("events", event_of("refused", refused, against=second))
    return first, second, third


def command(home: Path, asked: tuple[str, str], failpoint: str, start: Any, line: Connection) -> None:
    """One command in this process, which dies at the failpoint; its sentence goes down the line."""
    os.environ["GNN_ASSETS_FAILPOINT"] = failpoint
    name, version = asked
    platform = platform_at(home)
    if start is not None:
        # What is slow the first time is done before everybody starts at once.
        platform.champion.current()
        start.wait(LONGEST_SECONDS)
    try:
        done = SWITCHES[name](platform, version, reason=f"{name} in a test")
    except GnnAssetsError as error:
        line.send(str(error))
        raise SystemExit(1) from None
    line.send("moved" if done.moved else "already")


def run_commands(
    home: Path, *commands: tuple[str, str], failpoint: str = "", at_once: bool = False
) -> list[tuple[int, str]]:
    """Runs commands, each in a process of its own; returns exit code and sentence of each, in order."""
    start = FRESH.Barrier(len(commands)) if at_once else None
    with ExitStack() as running:
        begun = [running.enter_context(process_of(command, home, asked, failpoint, start)) for asked in commands]
        return [_ended(process, line) for process, line in begun]


def _ended(process: SpawnProcess, line: Connection) -> tuple[int, str]:
    try:
        said = line.recv() if line.poll(LONGEST_SECONDS) else ""
    except (EOFError, OSError):
        said = ""
    process.join(LONGEST_SECONDS)
    return -1 if process.exitcode is None else process.exitcode, said


@contextmanager
def process_of(target: Callable[..., None], *given: Any) -> Generator[tuple[SpawnProcess, Connection]]:
    """A process and the line to it, the last argument it is given; when the block ends, so does the process.

    Each end of the line is open in one process alone: when one dies, whoever waits at the other hears of it at once. A
    queue would leave him waiting, as he holds both ends of it himself.
    """
    ours, theirs = FRESH.Pipe()
    process = FRESH.Process(target=target, args=(*given, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        ours.close()
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join(10)


def publish_forecasts(platform: Platform) -> None:
    """Forecasts by whoever is served, as the asset would publish them after a switch."""
    champion = platform.champion.current()
    assert champion is not None
    rows = rows_of(FORECASTS, champion=[champion.version] * 5, symbol=list("ABCDE"))
    platform.lake.publish(FORECASTS, rows, lineage=lineage(champion=champion.version), data_end=SESSIONS[-1])


def read_until_told(home: Path, line: Connection) -> None:
    """Reads what is served, again and again, as whoever serves it would, until a word comes down the line.

    Says when it has begun; at the end how often it read, and what went wrong. The end of a line that nobody holds any
    more is a word as well: no reader outlives the tests.
    """
    platform, reads, failed = platform_at(home), 0, []
    while not line.poll():
        try:
            champion = platform.champion.current()
            assert champion is not None
            (part,) = platform.weights.parts(champion.version)
            platform.weights.load(champion.version, part)
            platform.lake.read(OOS_PREDICTIONS, version=champion.oos_predictions)
            assert platform.lake.read(FORECASTS)["champion"].n_unique() == 1
        except Exception as error:  # whatever it is, a read failed
            failed.append(repr(error))
        reads += 1
        if reads == 1:
            line.send("reading")
    line.send((reads, failed))


@contextmanager
def readers(home: Path, count: int) -> Generator[list[tuple[int, list[str]]]]:
    """Processes that all read while the block runs; afterwards, how often each did and what failed.

    Raises:
        AssertionError: if one of them ended by itself, or says nothing in time.
    """
    told: list[tuple[int, list[str]]] = []
    with ExitStack() as running:
        begun = [running.enter_context(process_of(read_until_told, home)) for _ in range(count)]
        assert [_word(process, line) for process, line in begun] == ["reading"] * count
        yield told
        for _, line in begun:
            with suppress(BrokenPipeError):  # of one that died, which is told next
                line.send("enough")
        told += [_word(process, line) for process, line in begun]


def _word(process: SpawnProcess, line: Connection) -> Any:
    """What a process says next."""
    assert line.poll(LONGEST_SECONDS), f"process {process.pid} says nothing"
    try:
        return line.recv()
    except (EOFError, OSError):
        process.join(LONGEST_SECONDS)
        raise AssertionError(f"process {process.pid} ended by itself, exit code {process.exitcode}") from None
