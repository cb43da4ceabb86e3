"""Judges a batch of hypotheses on a real, dirty file of 1,026 NASDAQ stocks, by the commands a user has.

    python -m docs.make_nasdaq_hypotheses docs/results/YYYY-MM-DD-hypotheses-nasdaq.md [HOME]

The whole flow runs in HOME, a temporary folder by default, and goes on there if it was killed. The file stays outside
the project.
"""
# ruff: noqa: INP001, S603, T201, TID251 - a script; the commands are its own, and so is their environment

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from docs.make_dirty_file import FILE, WHOLE_FILE
from gnn_assets.core.clock import LiveClock

ROOT = Path(__file__).parents[1]
BATCH = ROOT / "docs" / "hypotheses" / "nasdaq.yaml"
COMMAND = Path(sys.executable).with_name("gnn-assets")
# One network instead of three, and each training stands for a year: a verdict wants a long record more than a fine one.
MODELS = {
    "folds": {"train": 504, "validation": 126, "test": 252},
    "training": {"ensemble": 1},
    "baselines": ["equal_weight", "reversal", "ridge", "lightgbm"],
}


def settings(home: Path, file: Path) -> dict[str, Any]:
    """What is set beside the profile `wide`.

    Args:
        home: the platform's folder; the universe is written there.
        file: the bars.
    """
    rows = pl.scan_parquet(file)
    first, last = rows.select(first=pl.col("session").min(), last=pl.col("session").max()).collect().row(0)
    symbols = rows.select(pl.col("symbol").unique().sort()).collect()["symbol"]
    members = [{"symbol": symbol, "tier": "core", "sector": "Unknown"} for symbol in symbols]
    universe = home / "universe.yaml"
    content = {"survivor_only": True, "exchange": "XNYS", "from_session": first, "symbols": members}
    universe.write_text(yaml.safe_dump(content), encoding="utf-8")
    return {
        "clock": {"kind": "snapshot", "session": str(last)},
        "universe": {"file": str(universe)},
        "bars": {"sources": ["files"], "from_session": str(first), **WHOLE_FILE},
        "sources": {"files": {"folder": str(file.parent), "pattern": file.name}},
        "models": MODELS,
    }


def environment(home: Path, chosen: dict[str, Any]) -> dict[str, str]:
    """The process environment in which the command works on that home with those settings."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("GNN_ASSETS", "DAGSTER"))}
    values = {
        f"GNN_ASSETS_CONFIG__{section.upper()}__{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for section, part in chosen.items()
        for name, value in part.items()
    }
    return {**mine, **values, "GNN_ASSETS_PROFILE": "wide", "GNN_ASSETS_HOME": str(home), "COLUMNS": "160"}


def main(page: Path, home: Path) -> None:
    """Runs the flow and the batch, and writes the page."""
    if not FILE.exists():
        sys.exit(f"{FILE.name}: is not here; put the file of NASDAQ bars beside the project.")
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, home / name)
    chosen = environment(home, settings(home, FILE))
    started = time.perf_counter()
    # Half of the file's last session is missing, so the gate lets nobody serve it; the backtest is there all the same.
    refused = "nothing"
    with subprocess.Popen([COMMAND, "demo"], cwd=home, env=chosen, stdout=subprocess.PIPE, text=True) as flow_run:
        for line in flow_run.stdout or ():
            print(line, end="", flush=True)
            refused = line.strip() if "not published" in line else refused
    flow = time.perf_counter() - started
    verdicts = home / "verdicts.md"
    subprocess.run([COMMAND, "hypotheses", "run", BATCH, "--report", verdicts], cwd=home, env=chosen, check=True)
    judged = time.perf_counter() - started - flow
    page.write_text(
        f"""# Hypotheses of 1,026 NASDAQ stocks

Made on {LiveClock().now().date()} by `python -m docs.make_nasdaq_hypotheses PAGE`: the whole flow with the profile `wide`, then
`gnn-assets hypotheses run docs/hypotheses/nasdaq.yaml`, in {flow:,.0f} and {judged:,.0f} seconds.
What the flow refused: {refused}

Beside the profile: {json.dumps(MODELS)}. Below the line is what the command wrote.

---

{verdicts.read_text(encoding="utf-8")}""",
        encoding="utf-8",
    )


if __name__ == "__main__":
    where = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())  # noqa: PLR2004 - of the command line
    where.mkdir(parents=True, exist_ok=True)
    main(Path(sys.argv[1]), where.resolve())
