"""Each benchmark runs at a small size and says what it promises."""

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

PROJECT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_market_data_benchmark_asks_all_for_the_same_and_writes_its_table(tmp_path):
    sizes = ["--symbols=20", "--years=1", "--repeats=1"]
    done = subprocess.run(
        [sys.executable, "benchmarks/market_data.py", *sizes, f"--folder={tmp_path}", f"--out={tmp_path / 'out.md'}"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "out.md").read_text()
    assert written in done.stdout
    table = [line.split("|")[1:-1] for line in written.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in table[0]] == [
        "work",
        "gnn_assets",
        "pandas + pyarrow",
        "polars alone",
        "DuckDB alone",
    ]
    assert len(table) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["out.md"]


@pytest.mark.slow
def test_the_graphs_benchmark_compares_all_with_pandas_and_writes_its_tables(tmp_path):
    n_sessions, n_symbols = 900, 25
    closes = np.exp(np.random.default_rng(5).normal(0, 0.01, (n_sessions, n_symbols)).cumsum(axis=0))
    sessions = [date(2012, 1, 2) + timedelta(days=row) for row in range(n_sessions)]
    bars = tmp_path / "bars.parquet"
    pl.DataFrame(
        {
            "symbol": [f"S{column}" for _ in sessions for column in range(n_symbols)],
            "session": [session for session in sessions for _ in range(n_symbols)],
            "close": closes.ravel(),
        }
    ).write_parquet(bars)
    out = tmp_path / "out.md"
    sizes = ["--sizes", "30", "--repeats=1", "--threads=1", f"--bars={bars}", f"--history={bars}", f"--out={out}"]
    done = subprocess.run(
        [sys.executable, "benchmarks/graphs.py", *sizes], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written = out.read_text()
    assert written in done.stdout
    # A heading starts a part; the first column says what a row of its table is about.
    parts = [
        [line.split("|")[1].strip() for line in part.splitlines() if line.startswith("| ")]
        for part in written.split("\n## ")[1:]
    ]
    one, answers, floor = ([row for row in part if not row.startswith("torch")] for part in parts)
    assert [len(part) for part in (one, answers)] == [9, 8]
    # The product alone has no answer.
    assert one == [*answers, "half product alone"]
    assert floor == ["gnn_assets", "N = 30", "N = 25, real"]
    # A window of 60 returns begins with the second session.
    assert written.count(f"{n_symbols} symbols, {n_sessions - 60} graphs: ") == 1
