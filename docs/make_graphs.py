"""Builds the correlation graphs of a real file of 1,026 symbols as an asset, then one more session, and writes it down.

    python -m docs.make_graphs docs/results/YYYY-MM-DD-graphs.md

The file stays outside the project.
"""
# ruff: noqa: T201 - a script

import os
import platform as machine
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl

from docs.make_dirty_file import FILE, WHOLE_FILE, Ground
from gnn_assets.definitions import build_definitions
from gnn_assets.defs import graphs
from gnn_assets.defs.io import current_version, lineage_of
from gnn_assets.defs.market import panel_of
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import StageRun
from gnn_assets.graphs.correlation import measured_neighbours
from gnn_assets.graphs.schema import CORRELATION_GRAPHS

GRAPHS = {"window": 60, "k": 20, "min_abs_corr": 0.3, "min_overlap": 45}
HELD_BACK = 5  # sessions added one by one after the rest
STAGE = graphs.STAGES[0]


@dataclass(frozen=True)
class Made:
    """What one making of the graphs took, in seconds.

    Args:
        sessions: how many were computed.
        panel: opening the dense panel of the new returns.
        compute: graphs and statistics.
        report: checks and pictures.
        publish: both tables.
    """

    sessions: int
    panel: float
    compute: float
    report: float
    publish: float

    @property
    def total(self) -> float:
        """All of it but the panel, which every stage shares."""
        return self.compute + self.report + self.publish


class GraphGround(Ground):
    """The same home with the graphs' settings of the benchmark."""

    threads = 1

    def platform(self, **settings: object) -> Platform:
        """The platform of the bars' page, its graphs those of the benchmark."""
        opened = super().platform(**settings)  # type: ignore[arg-type]
        config = opened.config
        opened.config = config.model_copy(
            update={
                "graphs": config.graphs.model_copy(update=GRAPHS),
                "runtime": config.runtime.model_copy(update={"threads": self.threads}),
            }
        )
        return opened

    def returns(self) -> None:
        """Takes in the file as it stands."""
        refusal = self.update(accept_revisions=True).refusal
        if refusal:
            sys.exit(refusal)

    def make(self) -> Made:
        """Makes the graphs as the asset does, part by part, and publishes them."""
        opened = self.platform()
        inputs = {name: current_version(opened, name) for name in STAGE.deps}
        symbols = tuple(opened.lake.read(graphs.UNIVERSE)["symbol"].sort())
        run = StageRun(
            platform=opened,
            asset=STAGE.name,
            inputs=inputs,
            lineage=lineage_of(STAGE, opened, {**inputs, "symbols": "all"}),
            symbols=symbols,
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
        for sentence in failed:
            print("check failed:", sentence)
        return Made(len(artefact.made.sessions_S), panel, compute, report, publish)


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


def in_the_ui(ground: GraphGround) -> float:
    """Seconds of the whole run of the asset under Dagster, everything computed before: what reuse costs."""
    job = build_definitions(ground.platform()).resolve_job_def("rebuild_graphs")
    started = time.perf_counter()
    with dg.DagsterInstance.ephemeral() as instance:
        job.execute_in_process(
            instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        )
    return time.perf_counter() - started


def main(target: Path) -> None:
    """Measures and writes the page."""
    told = pl.read_parquet(FILE)
    sessions: list[date] = told["session"].unique().sort().to_list()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bars" / FILE.name
        file.parent.mkdir()
        home = Path(folder) / "home"
        home.mkdir()

        def ground(last: date, threads: int) -> GraphGround:
            told.filter(pl.col("session") <= last).write_parquet(file)
            made = GraphGround(home=home, file=file, session=last, bars=WHOLE_FILE)
            made.threads = threads
            return made

        # The newest sessions are told later, one by one.
        here = ground(sessions[-1 - HELD_BACK], 1)
        here.returns()
        memory_before = _peak()
        one = here.make()
        here.platform().lake.versions(CORRELATION_GRAPHS.name)
        print(one)
        memory = _peak()
        fifths = by_fifths(here)
        more = []
        for last in sessions[-HELD_BACK:]:
            here = ground(last, 1)
            here.returns()
            more.append(here.make())
            print(more[-1])
    rows = "\n".join(
        f"| {name} | {made.sessions:,} | {made.compute:.2f} | {made.report:.2f} | {made.publish:.2f} | {made.total:.2f} |"
        for name, made in [
            ("whole history", one),
            *((f"one more, {number + 1}", part) for number, part in enumerate(more)),
        ]
    )
    median = float(np.median([made.compute + made.publish for made in more]))
    page = f"""# {date.fromtimestamp(time.time())}: the graphs of 1,026 symbols as an asset

**Asked.** How long do the whole history of the NASDAQ file, and one more session after it, take as an asset, and in how
much memory? Does a session cost more the longer the history is?

**How.** `python -m docs.make_graphs PAGE`: the file is taken in by the update path up to its last {HELD_BACK} sessions; the
asset's own functions make graphs and statistics, check, draw and publish them; then the held-back sessions are told
one by one. Window {GRAPHS["window"]}, k = {GRAPHS["k"]}, |r| ≥ {GRAPHS["min_abs_corr"]}, at least {GRAPHS["min_overlap"]} shared sessions; one thread.

**On what.** {os.cpu_count()} cores, {machine.system()}, Python {machine.python_version()}, numpy {version("numpy")}, numba {version("numba")},
polars {version("polars")}.

**What came out.** Seconds:

| | sessions computed | graphs and statistics | checks and pictures | publication | together |
|---|---:|---:|---:|---:|---:|
{rows}

One more session: **{median:.2f} s** for graphs, statistics and publication (median of {HELD_BACK}).
The dense panel of the returns, which every later stage shares, was opened in {one.panel:.1f} s for the whole history and in
{np.median([made.panel for made in more]):.1f} s after each further session.

Milliseconds a session in each fifth of the history (kernel alone, one thread): {", ".join(f"{value:.1f}" for value in fifths)}.

Peak memory of the process {memory:.2f} GB; {memory_before:.2f} GB of it were reached by taking in the bars, before any graph.
"""
    target.write_text(page, encoding="utf-8")
    print(page)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main(Path(sys.argv[1]))
