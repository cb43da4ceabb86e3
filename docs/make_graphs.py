"""Builds the correlation graphs of a real file of 1,026 symbols as an asset, then one more session, and writes it down.

    python -m docs.make_graphs docs/results/YYYY-MM-DD-graphs.md

The file stays outside the project.
"""
# ruff: noqa: INP001, T201, S603 - a script; the command is its own

import json
import os
import platform as machine
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from docs.make_dirty_file import FILE, WHOLE_FILE, Ground
from gnn_assets.defs import graphs
from gnn_assets.defs.io import current_version, lineage_of
from gnn_assets.defs.market import panel_of
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import StageRun
from gnn_assets.graphs.correlation import measured_neighbours

GRAPHS = {"window": 60, "k": 20, "min_abs_corr": 0.3, "min_overlap": 45}
HELD_BACK = 5  # sessions added one by one after the rest
STAGE = graphs.STAGES[0]


@dataclass(frozen=True)
class Made:
    """What one making of the graphs came to, in a process of its own.

    Args:
        sessions: how many were computed.
        panel: seconds to open the dense panel of the new returns, which every stage shares.
        compute: seconds for graphs and statistics.
        report: seconds for checks and pictures.
        publish: seconds for both tables.
        peak: most memory the process held (GB).
    """

    sessions: int
    panel: float
    compute: float
    report: float
    publish: float
    peak: float

    @property
    def total(self) -> float:
        """All of it but the panel."""
        return self.compute + self.report + self.publish


class GraphGround(Ground):
    """The same home with the graphs' settings of the benchmark."""

    def platform(self, *, later: timedelta = timedelta()) -> Platform:
        """The platform of the bars' page, its graphs those of the benchmark."""
        opened = super().platform(later=later)
        opened.config = opened.config.model_copy(update={"graphs": opened.config.graphs.model_copy(update=GRAPHS)})
        return opened

    def returns(self) -> None:
        """Takes in the file as it stands."""
        refusal = self.update(accept_revisions=True).refusal
        if refusal:
            sys.exit(refusal)

    def made(self, *, threads: int) -> Made:
        """What `make` comes to in a process of its own."""
        told = subprocess.run(
            [sys.executable, "-m", "docs.make_graphs", "--make", self.home, self.file, str(self.session), str(threads)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        *failed, made = told.splitlines()
        print(*failed, made, sep="\n")
        return Made(**json.loads(made))

    def make(self, *, threads: int) -> Made:
        """Makes the graphs as the asset does, part by part, and publishes them."""
        opened = self.platform()
        opened.config = opened.config.model_copy(
            update={"runtime": opened.config.runtime.model_copy(update={"threads": threads})}
        )
        # What is compiled is loaded before the clock runs, as in any process that has made a graph.
        measured_neighbours(np.random.default_rng(0).normal(size=(70, 9)), config=opened.config.graphs)
        inputs = {name: current_version(opened, name) for name in STAGE.deps}
        run = StageRun(
            platform=opened,
            asset=STAGE.name,
            inputs=inputs,
            lineage=lineage_of(STAGE, opened, {**inputs, "symbols": "all"}),
            symbols=tuple(opened.lake.read(graphs.UNIVERSE)["symbol"].sort()),
            run_id="",
            log=lambda _text: None,
        )
        times = [time.perf_counter()]

        def lap() -> float:
            times.append(time.perf_counter())
            return times[-1] - times[-2]

        panel_of(opened, inputs["returns"])
        panel = lap()
        artefact = STAGE.compute(run)
        compute = lap()
        failed = [check.sentence for check in STAGE.report(run, artefact).checks if not check.passed]
        report = lap()
        STAGE.shelf.publish(run, artefact, lineage=run.lineage, data_end=None)
        publish = lap()
        print(*failed, sep="\n", end="\n" if failed else "")
        # Not `getrusage`: that remembers the process this one was forked from.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak = int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9
        return Made(len(artefact.made.sessions_S), panel, compute, report, publish, peak)


def by_fifths(ground: GraphGround) -> list[float]:
    """Milliseconds a session in each fifth of the history, one thread."""
    opened = ground.platform()
    panel = panel_of(opened, current_version(opened, "returns"))
    returns_TxN = panel.values("close_return", sessions=panel.sessions, symbols=panel.symbols)
    config = opened.config.graphs
    fifths = np.array_split(np.arange(config.window - 1, len(panel.sessions)), 5)
    measured = []
    for rows in fifths:
        started = time.perf_counter()
        measured_neighbours(returns_TxN, config=config, sessions=rows)
        measured.append(1000 * (time.perf_counter() - started) / len(rows))
    return measured


def main(target: Path) -> None:
    """Measures and writes the page."""
    told = pl.read_parquet(FILE)
    sessions: list[date] = told["session"].unique().sort().to_list()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bars" / FILE.name
        file.parent.mkdir()
        home = Path(folder) / "home"
        home.mkdir()

        def taken_in(last: date) -> GraphGround:
            told.filter(pl.col("session") <= last).write_parquet(file)
            ground = GraphGround(home=home, file=file, session=last, bars=WHOLE_FILE)
            ground.returns()
            return ground

        whole = taken_in(sessions[-1 - HELD_BACK])
        first = whole.made(threads=1)
        fifths = by_fifths(whole)
        shutil.rmtree(home / "data" / "lake" / "correlation_graphs")
        shutil.rmtree(home / "data" / "lake" / "graph_statistics")
        second = whole.made(threads=2)
        more = [taken_in(last).made(threads=2) for last in sessions[-HELD_BACK:]]
    named = [
        ("whole history, one thread", first),
        ("whole history, two threads", second),
        *((f"one more session, {number}", made) for number, made in enumerate(more, start=1)),
    ]
    rows = "\n".join(
        f"| {name} | {made.sessions:,} | {made.compute:.2f} | {made.report:.2f} | {made.publish:.2f} | {made.total:.2f} "
        f"| {made.peak:.2f} |"
        for name, made in named
    )
    new = float(np.median([made.compute + made.publish for made in more]))
    panel = float(np.median([made.panel for made in more]))
    settings = ", ".join(f"{name} {value}" for name, value in GRAPHS.items())
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "polars"))
    page = f"""# {target.stem[:10]}: the graphs of 1,026 symbols as an asset

**Asked.** How long do the whole history of a real file, and one more session after it, take as an asset, and in how much
memory? Does a session cost more the longer the history is?

**How.** `python -m docs.make_graphs PAGE`: the file is taken in by the update path but for its last {HELD_BACK} sessions; the
asset's own functions make graphs and statistics, check, draw and publish them, in a process of its own; then the
sessions held back are told one by one. Settings: {settings}.

**On what.** {os.cpu_count()} cores, {machine.system()}, Python {machine.python_version()}, {libraries}.

**What came out.** Seconds, and the peak memory of the process in GB:

| | sessions computed | graphs and statistics | checks and pictures | publication | together | peak |
|---|---:|---:|---:|---:|---:|---:|
{rows}

One more session takes **{new:.2f} s** for graphs, statistics and publication (median of {HELD_BACK}). Left out is the dense
panel of the returns, which every stage below shares: {panel:.1f} s whenever returns change. Every publication reads and
hashes the files that stay, so that no version is born damaged.

One session of the kernel alone, one thread, in each fifth of the history (ms): {", ".join(f"{value:.1f}" for value in fifths)}.
"""
    target.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    if sys.argv[1] == "--make":
        at, bars, last, threads = sys.argv[2:]
        ground = GraphGround(home=Path(at), file=Path(bars), session=date.fromisoformat(last), bars=WHOLE_FILE)
        print(json.dumps(asdict(ground.make(threads=int(threads)))))
    else:
        main(Path(sys.argv[1]))
