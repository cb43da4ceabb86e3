"""Each benchmark runs at a small size and says what it promises."""

import subprocess
import sys
from pathlib import Path

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
