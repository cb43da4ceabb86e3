"""Contenders are asked one at a time, each in a process of its own, and nothing but their answers is heard."""

import sys
from functools import partial
from importlib.metadata import version

import pytest

from benchmarks import contenders

# What a benchmark is to the driver: a contender that prints, counts what it was asked and tells its threads.
NOISY = """
import os
from benchmarks.contenders import serve
def begin():
    print("loading")
    asked = []
    def done(work, **settings):
        print("noise")
        asked.append(work)
        return {"asked": asked, "settings": settings, "threads": os.environ["OMP_NUM_THREADS"]}
    return done
serve(begin)
"""


def noisy(*names):
    # -S -P: an interpreter that this project was never installed for, wherever it is started.
    return contenders.processes(
        {name: [sys.executable, "-S", "-P", "-c", NOISY] for name in names}, contenders.pinned(3)
    )


def test_a_contender_that_prints_is_heard_by_its_answers_alone_and_keeps_its_state():
    with noisy("a", "b") as asked:
        assert asked["a"].ask("first", size=2) == {"asked": ["first"], "settings": {"size": 2}, "threads": "3"}
        assert asked["a"].ask("second")["asked"] == ["first", "second"]
        assert asked["b"].ask("third")["asked"] == ["third"]


def test_a_contender_that_ended_is_named_by_the_work_it_ended_at():
    process = contenders.Process([sys.executable, "-c", "input()"], {})
    with pytest.raises(RuntimeError, match="times: the contender ended, its words are above"):
        process.ask("times")
    process.end()


def test_all_are_asked_in_turn_and_not_one_after_another_is_done():
    heard = []

    def ask(name):
        heard.append(name)
        return len(heard)

    told = contenders.in_turn({name: partial(ask, name) for name in "abc"}, repeats=2)
    assert heard == ["a", "b", "c", "a", "b", "c"]
    assert told == {"a": [1, 4], "b": [2, 5], "c": [3, 6]}


def test_the_versions_of_a_peer_are_told_if_its_interpreter_has_all_of_them(tmp_path):
    assert contenders.versions(sys.executable, "numpy", "pytest") == (
        f"numpy {version('numpy')}, pytest {version('pytest')}"
    )
    assert contenders.versions(sys.executable, "numpy", "no_such_package") is None
    assert contenders.versions(str(tmp_path / "none"), "numpy") is None


def test_a_clock_has_the_median_of_its_own_times():
    told = [{"wall": 1.0, "cpu": 9.0}, {"wall": 3.0, "cpu": 1.0}, {"wall": 2.0, "cpu": 5.0}]
    assert contenders.medians(told) == {"wall": 2.0, "cpu": 5.0}
