"""The training benchmark runs at a small size, and says so when it is not comparing like with like."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import training

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "benchmarks" / "training.py"


@pytest.mark.slow
def test_without_pytorch_the_benchmark_says_so_and_measures_our_networks_alone(tmp_path):
    out = tmp_path / "out.md"
    sizes = ["--symbols=30", "--repeats=1", "--threads=1", f"--out={out}", f"--torch-python={tmp_path / 'none'}"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *sizes], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written = out.read_text()
    assert written in done.stdout
    assert "was not found" in written
    # A heading starts a part; the first column says what a row of its table is about.
    times, held = (
        [line.split("|")[1].strip() for line in part.splitlines() if line.startswith("| ")][1:]
        for part in written.split("\n## ")[1:]
    )
    assert times == held == ["gnn_assets", "graph_attention", "high_pass"]


def test_the_market_is_the_same_each_time_and_nobody_neighbours_themselves():
    once, again = training.market(3, 25), training.market(3, 25)
    assert all(np.array_equal(once[name], again[name]) for name in once)
    neighbours_SxNxK = once["neighbours_SxNxK"]
    assert neighbours_SxNxK.min() >= 0
    assert neighbours_SxNxK.max() < 25
    assert not (neighbours_SxNxK == np.arange(25)[:, None]).any()


def test_a_gradient_that_is_missing_or_not_a_number_is_not_taken_for_an_equal_one():
    truth = {"loss": np.array(2.0), "head": np.array([1.0, -4.0])}
    assert training.difference(dict(truth), truth) == 0
    assert training.difference(truth | {"head": np.array([1.0, -4.4])}, truth) == pytest.approx(0.1)
    assert training.difference({"loss": truth["loss"]}, truth) == np.inf
    assert not training.difference(truth | {"head": np.array([np.nan, -4.0])}, truth) <= training.TOLERANCE


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_is_that_of_the_law_the_seconds_follow(power):
    sizes = (250, 500, 1000)
    assert training.exponent(sizes, [3e-3 * size**power for size in sizes]) == pytest.approx(power)
