"""The backtest benchmark runs at a small size, and ends when its contenders do not agree."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import backtests

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "benchmarks" / "backtests.py"


@pytest.mark.slow
def test_without_vectorbt_the_benchmark_says_so_and_measures_the_others(tmp_path):
    out = tmp_path / "out.md"
    sizes = ["--names=60", "--sessions=60", "--variants=20", "--repeats=1", "--threads=1"]
    where = [f"--out={out}", f"--peer-python={tmp_path / 'none'}"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *sizes, *where], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written = out.read_text()
    assert written in done.stdout
    assert "was not found" in written
    assert "A sweep of 20 variants took" in written
    rows = [line.split("|")[1].strip() for line in written.splitlines() if line.startswith("| ")][1:]
    assert rows == ["gnn_assets", "pandas loop", "numpy loop", "gnn_assets, of a sweep"]


def test_the_market_is_the_same_each_time():
    once, again = backtests.market(30, 25), backtests.market(30, 25)
    assert all(np.array_equal(once[name], again[name]) for name in once)


def test_a_sweep_is_spread_over_the_grid_and_no_larger_than_it():
    assert len(set(backtests.grid(1000))) == 1000
    assert {held for held, *_ in backtests.grid(10)} == set(backtests.GRID[0])
    with pytest.raises(ValueError, match="--variants: expected at most 1000, was 1001"):
        backtests.grid(1001)


def test_another_equity_ends_the_run_and_vectorbts_costs_do_not():
    backtests._hold({backtests.VECTORBT: 1e-9, backtests.OURS: 0.0}, {backtests.VECTORBT: 0.1, backtests.OURS: 1e-12})
    for free, paying in (({backtests.VECTORBT: 1e-3}, {}), ({}, {backtests.OURS: float("nan")})):
        with pytest.raises(RuntimeError, match="expected the equity of pandas loop within 1e-06"):
            backtests._hold(free, paying)


def test_the_difference_of_equities_is_relative_and_never_small_for_missing_ones():
    truth_T = np.array([1.0, 2.0])
    assert backtests.difference(truth_T * [1, 1.01], truth_T) == pytest.approx(0.01)
    assert backtests.difference(truth_T[:1], truth_T) == np.inf
    assert np.isnan(backtests.difference(np.array([1.0, np.nan]), truth_T))
