"""The log: whole lines from whoever writes, ids of whatever is going on, no secret, and never in anybody's way."""

import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest

import gnn_assets
from gnn_assets.core import logs
from gnn_assets.core.logs import LogFile, about, add_ids, get_log, logging_to, newest

log = get_log()
FRESH = multiprocessing.get_context("spawn")
LARGE = 10**9


@pytest.fixture
def file(tmp_path) -> LogFile:
    return LogFile(tmp_path / "logs" / "log.jsonl", largest=LARGE, kept=2)


def lines_of(file):
    """Every line, each of which must parse."""
    return [json.loads(line) for line in file.path.read_text().splitlines()]


def test_a_line_says_what_happened_when_and_in_what(file):
    with logging_to(file, run="r1", asset="returns", session="2022-12-01"):
        log.info("stage_started")
        with about(source="yahoo", symbol="AAPL"):
            log.warning("request_retried", attempt=1)
        add_ids(version="v1")
        log.info("stage_published", seconds=0.5, shares=(0.5, float("nan")))
    started, retried, published = lines_of(file)
    assert started.items() >= {"event": "stage_started", "level": "info", "run": "r1", "asset": "returns"}.items()
    assert datetime.fromisoformat(started["at"]).utcoffset().total_seconds() == 0
    assert retried.items() >= {"level": "warning", "run": "r1", "source": "yahoo", "symbol": "AAPL"}.items()
    assert published.items() >= {"version": "v1", "session": "2022-12-01", "shares": [0.5, "nan"]}.items()
    assert "source" not in published
    assert "version" not in started


def test_ids_end_with_their_block_and_nothing_is_kept_outside_of_any(file):
    log.info("to nobody")
    with logging_to(file, run="outer"):
        with logging_to(file, asset="inner"):
            add_ids(version="v1")
        log.info("after")
    log.info("to nobody")
    (line,) = lines_of(file)
    assert {"run", "asset", "version"} & set(line) == {"run"}


def test_each_platform_in_a_process_has_its_own_log(tmp_path):
    ours, theirs = (LogFile(tmp_path / name, largest=LARGE, kept=1) for name in ("ours", "theirs"))
    with logging_to(ours, run="1"):
        with logging_to(theirs, run="2"):
            log.info("theirs")
        log.info("ours")
    assert [line["event"] for line in lines_of(ours)] == ["ours"]
    assert [line["event"] for line in lines_of(theirs)] == ["theirs"]


def test_an_exception_is_data_with_its_chain_and_without_what_variables_held(file):
    hidden = "value of a variable"

    def fails():
        try:
            {}["first"]
        except KeyError as error:
            raise ValueError(f"second {len(hidden)}") from error

    with logging_to(file):
        try:
            fails()
        except ValueError:
            log.exception("stage_failed")
    (line,) = lines_of(file)
    assert [(each["exc_type"], each["exc_value"]) for each in line["exception"]] == [
        ("ValueError", "second 19"),
        ("KeyError", "'first'"),
    ]
    assert line["exception"][0]["frames"][0]["filename"].endswith("test_logs.py")
    assert hidden not in file.path.read_text()


@pytest.mark.parametrize("secret", ["s3cret-key", 'quote"and\\slash', "with/and?and&"])
def test_no_secret_reaches_the_file_however_it_is_spelt(tmp_path, secret):
    file = LogFile(tmp_path / "log", largest=LARGE, kept=1, secrets=(secret,))
    with logging_to(file, run=f"run of {secret}"):
        log.info("asked", url=f"https://x?key={logs.quote(secret, safe='')}", header={"Authorization": secret})
        log.error("failed", exc_info=ValueError(f"refused {secret}"))
    written = file.path.read_text()
    assert secret not in written
    assert json.dumps(secret)[1:-1] not in written
    assert logs.quote(secret, safe="") not in written
    assert written.count("***") >= 4
    assert len(lines_of(file)) == 2


def test_warnings_of_libraries_come_through_the_same_way_and_chatter_does_not(file):
    with logging_to(file, run="r1"):
        logging.getLogger("urllib3").warning("retrying %s", "this")
        logging.getLogger("urllib3").info("chatter")
    (line,) = lines_of(file)
    assert line.items() >= {"event": "library", "logger": "urllib3", "message": "retrying this", "run": "r1"}.items()


CONTENDED = {"largest": 3_000, "kept": 400}


def write_many(path, number, start):
    file = LogFile(Path(path), **CONTENDED)
    start.wait(60)
    with logging_to(file, run=str(number)):
        for turn in range(300):
            log.info("line", turn=turn, filler="x" * (turn % 50) * 10)


def test_what_cannot_be_worded_stops_nobody(file, capsys):
    library = logs._Libraries()

    def says(level, text, *given):
        library.emit(logging.LogRecord("a_library", level, "", 0, text, given, None))

    with logging_to(file):
        log.info("told", reason="\ud800")
        says(logging.WARNING, "%d of %s", "x")
        says(logging.WARNING, "\ud800")
        says(35, "between two levels")
    told, worded, between = lines_of(file)
    assert told["reason"] == worded["message"] == "\ud800"
    assert (between["message"], between["level"]) == ("between two levels", "warning")
    assert "TypeError" in capsys.readouterr().err  # Python's own complaint


def test_processes_that_write_at_once_never_mix_lose_or_tear_a_line_also_while_the_file_is_moved_aside(tmp_path):
    path, start = tmp_path / "log", FRESH.Barrier(4)
    writers = [FRESH.Process(target=write_many, args=(str(path), number, start)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    told = list(LogFile(path, **CONTENDED).lines())
    raw = [line for part in tmp_path.glob("log*") for line in part.read_text().splitlines()]
    assert len(raw) == len(told)
    assert sorted((line["run"], line["turn"]) for line in told) == sorted(
        (str(number), turn) for number in range(4) for turn in range(300)
    )
    # A file is moved aside once it is full, and not by each of those who found it so.
    longest = max(len(line) for line in raw)
    aside = [part.stat().st_size for part in tmp_path.glob("log.*")]
    assert len(aside) > 50
    assert min(aside) > CONTENDED["largest"] - longest - 2


def test_a_file_of_its_largest_size_is_moved_aside_and_the_oldest_goes(tmp_path):
    file = LogFile(tmp_path / "log", largest=300, kept=2)
    with logging_to(file):
        for number in range(12):
            log.info("line", number=number)
    assert {path.name for path in tmp_path.glob("log*")} == {"log", "log.1", "log.2"}
    assert all(path.stat().st_size <= 300 for path in tmp_path.glob("log*"))
    numbers = [line["number"] for line in file.lines()]
    assert numbers == list(range(numbers[0], 12))
    assert 0 < numbers[0] < 9


def test_a_line_that_a_full_disk_cut_short_does_not_take_the_next_one_with_it(file, monkeypatch, capsys):
    honest = os.write
    with logging_to(file):
        log.info("first")
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda descriptor, data: honest(descriptor, data[:10]))
            log.info("second")
        log.info("third")
    assert [line["event"] for line in file.lines()] == ["first", "third"]
    assert "no room for the whole line" in capsys.readouterr().err


def test_a_log_that_cannot_be_written_stops_nothing_and_is_told_once(tmp_path, capsys):
    (tmp_path / "a file").write_text("where the folder should be")
    with logging_to(LogFile(tmp_path / "a file" / "log", largest=LARGE, kept=1)):
        for _ in range(3):
            log.info("lost")
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "expected to be written, was refused" in told.err
    assert told.out == ""


def test_the_newest_lines_of_a_run_are_found_by_how_its_id_begins(file):
    with logging_to(file, run="abc1"):
        for number in range(5):
            log.info("line", number=number)
    with logging_to(file, run="abd2"):
        log.info("other")
    assert [line["number"] for line in newest(file, last=2, ids={"run": "abc"})] == [3, 4]
    assert [line["event"] for line in newest(file, last=9, ids={"run": "abd", "asset": "x"})] == []


def test_a_thread_that_was_told_nothing_keeps_nothing(file):
    with logging_to(file):
        thread = threading.Thread(target=lambda: log.info("nobody's"))
        thread.start()
        thread.join()
    assert not file.path.exists()


def test_structlog_is_known_to_the_log_alone_and_nobody_prints():
    root = Path(gnn_assets.__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "T20", str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    knowing = [path for path in root.rglob("*.py") if "structlog" in path.read_text(encoding="utf-8")]
    assert knowing == [root / "core" / "logs.py"]
