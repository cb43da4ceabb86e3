"""Dagster's own state on SQLite, as this project's dagster.yaml sets it, under several processes at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from gnn_assets_tests.conftest import Home

RUNS = """
import sys, dagster as dg

@dg.asset
def any_asset() -> int:
    return 1

with dg.DagsterInstance.get() as instance:
    for _ in range(int(sys.argv[1])):
        assert dg.materialize([any_asset], instance=instance, tags={"by": "this test"}).success
"""
COUNT = """
import dagster as dg
with dg.DagsterInstance.get() as instance:
    runs = instance.get_runs(dg.RunsFilter(tags={"by": "this test"}))
    print(len(runs), {run.status.value for run in runs})
"""


def runs_at_once(home: Home, *, processes: int, runs: int) -> tuple[str, str]:
    """What Dagster has counted once all of them are through, and all that they complained of."""
    environment = home.environment(DAGSTER_HOME=str(home.path))

    def begin(script: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            cwd=home.path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    # Who comes first lays the tables out; `gnn-assets demo` and the daemon never begin together on an empty folder.
    assert begin(COUNT).communicate()[0].startswith("0 ")
    begun = [begin(RUNS, str(runs)) for _ in range(processes)]
    told = [process.communicate()[1] for process in begun]
    assert [process.returncode for process in begun] == [0] * processes, told
    counted, _ = begin(COUNT).communicate()
    return counted.strip(), "".join(told)


@pytest.mark.slow
def test_processes_that_run_at_once_lose_no_run(tmp_path: Path):
    counted, told = runs_at_once(Home.fresh(tmp_path / "home"), processes=2, runs=3)
    assert counted == "6 {'SUCCESS'}"
    assert "database is locked" not in told


@pytest.mark.drill
def test_four_processes_of_six_runs_each(tmp_path: Path):
    counted, told = runs_at_once(Home.fresh(tmp_path / "home"), processes=4, runs=6)
    assert counted == "24 {'SUCCESS'}"
    assert "database is locked" not in told
    print(f"drill: 4 processes of 6 runs on one SQLite instance: {counted}")
