"""The asset of the graphs stage: correlation_graphs, with its statistics beside it."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.bars.schema import RETURNS, UNIVERSE
from gnn_assets.bars.universe import symbols_of
from gnn_assets.core.errors import ConfigError
from gnn_assets.defs.market import panel_of
from gnn_assets.defs.plots import heat_map, lines
from gnn_assets.defs.stage import Report, Stage, StageRun
from gnn_assets.graphs.checks import graphs_checks, tripwire
from gnn_assets.graphs.correlation import correlation_neighbours, pairwise_correlation
from gnn_assets.graphs.neighbours import graph_frame
from gnn_assets.graphs.schema import CORRELATION_GRAPHS, GRAPH_STATISTICS
from gnn_assets.graphs.statistics import graph_statistics
from gnn_assets.store.versions import Lineage


@dataclass(frozen=True)
class DatedGraphs:
    """Graphs of many sessions.

    Args:
        edges: a frame of `CORRELATION_GRAPHS`.
        statistics: a frame of `GRAPH_STATISTICS`.
    """

    edges: pl.DataFrame
    statistics: pl.DataFrame


@dataclass(frozen=True)
class GraphShelf:
    """Keeps edges and statistics as two tables; the edges carry the asset's version."""

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """The graphs this lineage made before, if both tables are whole."""
        lake = run.platform.lake
        if lake.reuse(GRAPH_STATISTICS, lineage, run_id=run.run_id) is None:
            return None
        manifest = lake.reuse(CORRELATION_GRAPHS, lineage, run_id=run.run_id)
        return manifest.version if manifest else None

    def load(self, run: StageRun, version: str) -> DatedGraphs:
        """The graphs of a version and the statistics published with them."""
        lake = run.platform.lake
        return DatedGraphs(edges=lake.read(CORRELATION_GRAPHS, version=version), statistics=lake.read(GRAPH_STATISTICS))

    def publish(self, run: StageRun, artefact: DatedGraphs, *, lineage: Lineage, data_end: date | None) -> str:
        """Stores the statistics, then the edges, which make both count."""
        lake = run.platform.lake
        lake.publish(GRAPH_STATISTICS, artefact.statistics, lineage=lineage, data_end=data_end, run_id=run.run_id)
        return lake.publish(
            CORRELATION_GRAPHS, artefact.edges, lineage=lineage, data_end=data_end, run_id=run.run_id
        ).version


def _correlation_graphs(run: StageRun) -> DatedGraphs:
    """Who moves with whom: each symbol's most correlated neighbours, session by session.

    Pairwise-complete Pearson correlation of log returns over the trailing window; a session's graph uses returns up
    to that session's close and nothing later. Density, degrees, churn and spectral distance stand beside it in
    `graph_statistics`.
    """
    graphs = run.config.graphs
    sessions, symbols, panel = _panel(run)
    if len(sessions) < graphs.window:
        raise ConfigError.of(
            "graphs.window",
            expected=f"at most the {len(sessions)} sessions there are returns for",
            was=graphs.window,
            do="shorten the window, or start the bars earlier",
        )
    run.progress(0.1, f"{len(sessions)} sessions of {len(symbols)} symbols")
    neighbours = correlation_neighbours(
        panel, window=graphs.window, k=graphs.k, min_abs_corr=graphs.min_abs_corr, min_overlap=graphs.min_overlap
    )
    edges = graph_frame(neighbours, sessions, symbols)
    run.progress(0.7, f"{edges.height} edges; measuring change")
    statistics = graph_statistics(
        edges, returns=run.read(RETURNS), sessions=[sessions[row] for row in neighbours.sessions_S], symbols=symbols
    )
    return DatedGraphs(edges=edges, statistics=statistics)


def _correlation_graphs_report(run: StageRun, graphs: DatedGraphs) -> Report:
    sessions, symbols, panel = _panel(run)
    newest = graphs.statistics.row(-1, named=True)
    connected = set(graphs.edges.filter(pl.col("session") == newest["session"])["src"])
    corr, _ = pairwise_correlation(panel[-run.config.graphs.window :])
    np.fill_diagonal(corr, 1.0)
    order = np.argsort(_sectors(run, symbols), kind="stable")
    return Report(
        data_end=newest["session"],
        checks=(
            *graphs_checks(graphs.edges, graphs.statistics, config=run.config.graphs),
            tripwire(graphs.edges, panel, sessions=sessions, symbols=symbols, config=run.config.graphs),
        ),
        metadata={
            "dagster/row_count": graphs.edges.height,
            "density": float(newest["density"]),
            "mean_degree": float(newest["degree_mean"]),
            "churn": float(newest["churn"] or 0.0),
            "spectral_distance": float(newest["spectral_distance"] or 0.0),
            "symbols_with_neighbours": len(connected),
            "heat_map": heat_map(
                corr[np.ix_(order, order)],
                labels=[symbols[position] for position in order],
                title=f"Correlation over {run.config.graphs.window} sessions to {newest['session']}, by sector",
            ),
            "change": lines(
                graphs.statistics["session"].to_list(),
                {
                    "density": graphs.statistics["density"].to_numpy(),
                    "churn (20-session mean)": graphs.statistics["churn"].rolling_mean(20, min_samples=1).to_numpy(),
                },
                title="Density and churn of the graph",
                x_label="session",
                y_label="share",
            ),
        },
        # A symbol without a strong partner is still a node; only one without a window of returns is lost.
        failures={
            symbol: "too few returns in the window"
            for position, symbol in enumerate(symbols)
            if np.isfinite(panel[-run.config.graphs.window :, position]).sum() < run.config.graphs.min_overlap
        },
    )


def _panel(run: StageRun) -> tuple[tuple[date, ...], tuple[str, ...], np.ndarray]:
    universe = run.read(UNIVERSE)
    symbols = tuple(symbol for symbol in symbols_of(universe, "core") if symbol in run.symbols)
    panel = panel_of(run.platform, run.inputs[RETURNS.name])
    return panel.sessions, symbols, panel.values("close_return", sessions=panel.sessions, symbols=symbols)


def _sectors(run: StageRun, symbols: tuple[str, ...]) -> list[str]:
    sector = dict(run.read(UNIVERSE).select("symbol", "sector").iter_rows())
    return [sector[symbol] for symbol in symbols]


GRAPH_CHECKS = (
    "correlations_finite",
    "correlations_in_range",
    "degree_bounds",
    "density_change",
    "data_end_not_later",
    "symmetric",
    "no_look_ahead",
)

STAGES = (
    Stage(
        name="correlation_graphs",
        group="graphs",
        compute=_correlation_graphs,
        report=_correlation_graphs_report,
        shelf=GraphShelf(),
        code=(
            "gnn_assets.graphs.correlation",
            "gnn_assets.graphs.neighbours",
            "gnn_assets.graphs.statistics",
            "gnn_assets.bars.universe",
        ),
        sections=("graphs",),
        deps=("universe", "returns"),
        checks=lambda _config: GRAPH_CHECKS,
        follows="returns",
        kinds=frozenset({"numpy", "polars"}),
        table=CORRELATION_GRAPHS,
    ),
)
