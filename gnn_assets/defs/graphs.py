"""The asset of the graphs stage: correlation_graphs, with its statistics beside it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.bars.schema import RETURNS, UNIVERSE
from gnn_assets.core.checks import Check
from gnn_assets.core.config import Config
from gnn_assets.core.errors import ConfigError, CorruptArtefact, MissingArtefact
from gnn_assets.core.plugins import load_plugin
from gnn_assets.defs.market import panel_of
from gnn_assets.defs.plots import heat_map, lines, network
from gnn_assets.defs.recipe import GRAPH_SETTINGS
from gnn_assets.defs.stage import Report, Stage, StageRun, core_symbols
from gnn_assets.graphs.checks import graphs_checks, tripwire
from gnn_assets.graphs.clusters import clustered
from gnn_assets.graphs.correlation import MEASURES, lookback_of, measured_neighbours
from gnn_assets.graphs.kernel import correlation_matrix
from gnn_assets.graphs.neighbours import Neighbours, graph_frame, stored_neighbours
from gnn_assets.graphs.schema import CORRELATION_GRAPHS, GRAPH_STATISTICS
from gnn_assets.graphs.statistics import graph_statistics
from gnn_assets.graphs.window import Window
from gnn_assets.store.panels import Panel
from gnn_assets.store.versions import Lineage, Publication

_TOLD_SHARES = 10  # of the sessions' graphs, progress is told so many times
_CHURN_MEAN = 20  # sessions over which churn is averaged in its picture


@dataclass(frozen=True)
class DatedGraphs:
    """Graphs of many sessions.

    Args:
        made: graphs of the sessions made now, or of the newest month of those made before.
        sessions: the row axis that `made.sessions_S` points into.
        symbols: the nodes.
        statistics: a frame of `GRAPH_STATISTICS` of every session that has a graph.
        base: stored version whose graphs stay for the sessions before the first of `made`; None if there is none.
    """

    made: Neighbours
    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    statistics: pl.DataFrame
    base: str | None


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
        """The statistics of a version, and of its graphs those of the newest month."""
        lake = run.platform.lake
        statistics = _statistics_of(run, lineage=run.lineage)
        _, symbols, _ = _panel(run)
        newest: date = statistics["session"].max()  # ty: ignore[invalid-assignment] - a Date column
        sessions = tuple(statistics.filter(pl.col("session") >= newest.replace(day=1))["session"])
        edges = lake.read(CORRELATION_GRAPHS, version=version, first=sessions[0])
        made = stored_neighbours(edges, sessions=sessions, symbols=symbols, k=run.config.graphs.k)
        return DatedGraphs(made=made, sessions=sessions, symbols=symbols, statistics=statistics, base=None)

    def publish(self, run: StageRun, artefact: DatedGraphs, *, lineage: Lineage, data_end: date | None) -> str:
        """Stores the statistics, then the edges, month by month; the edges make both count."""
        lake = run.platform.lake
        lake.publish(GRAPH_STATISTICS, artefact.statistics, lineage=lineage, data_end=data_end, run_id=run.run_id)
        try:
            return self._publish_edges(run, artefact, lineage=lineage, data_end=data_end)
        except (CorruptArtefact, MissingArtefact):
            if artefact.base is None:
                raise
            # What was to stay is damaged: all of it is made again. Equal graphs have the statistics just stored.
            again = _made(run, base=None)
            refused = [check.sentence for check in _checks(run, again) if check.blocks]
            if refused:
                raise
            return self._publish_edges(run, again, lineage=lineage, data_end=data_end)

    def _publish_edges(self, run: StageRun, graphs: DatedGraphs, *, lineage: Lineage, data_end: date | None) -> str:
        return run.platform.lake.publish_from(
            CORRELATION_GRAPHS,
            _months(graphs),
            since=graphs.sessions[graphs.made.sessions_S[0]] if graphs.base else None,
            base=graphs.base,
            lineage=lineage,
            data_end=data_end,
            run_id=run.run_id,
        ).version


def _correlation_graphs(run: StageRun) -> DatedGraphs:
    """Who moves with whom: each symbol's strongest neighbours, session by session.

    Pairwise-complete correlation of log returns over the trailing window, by the measure that is configured; a
    session's graph uses returns up to that session's close and nothing later. Only sessions whose returns are new or
    were corrected are computed, and those after them. Density, degrees, churn, spectral distance and communities
    stand beside the edges in `graph_statistics`.
    """
    return _made(run, base=_to_build_on(run))


def _made(run: StageRun, *, base: Publication | None) -> DatedGraphs:
    graphs = run.config.graphs
    sessions, symbols, returns_TxN = _panel(run)
    first = lookback_of(graphs) - 1
    if len(sessions) <= first:
        raise ConfigError.of(
            "graphs.window",
            expected=f"at most the {len(sessions)} sessions there are returns for",
            was=first + 1,
            do="shorten the window, or start the bars earlier",
        )
    start, earlier = first, GRAPH_STATISTICS.empty()
    if base is not None:
        start = max(first, min(_first_difference(run, base, sessions, symbols, returns_TxN), len(sessions) - 1))
        earlier = _statistics_of(run, lineage=base.lineage).filter(pl.col("session") < sessions[start])
        # Statistics that do not reach back to the first session are not those of the base.
        if earlier["session"].to_list() != list(sessions[first:start]):
            base, start, earlier = None, first, GRAPH_STATISTICS.empty()
    run.progress(0.1, f"{len(sessions) - start} of {len(sessions)} sessions of {len(symbols)} symbols")
    # The session before the first is made again: the first is compared with it.
    rows = range(max(start - 1, first), len(sessions))
    threads = run.config.runtime.threads
    found = measured_neighbours(
        returns_TxN, config=graphs, sessions=rows, threads=threads, progress=_told(run, of=len(rows))
    )
    before, made = _split(found, start - rows[0])
    run.progress(0.6, "measuring change")
    statistics = graph_statistics(made, returns_TxN=returns_TxN, sessions=sessions, before=before, threads=threads)
    return DatedGraphs(
        made=made,
        sessions=sessions,
        symbols=symbols,
        statistics=pl.concat([earlier, statistics]),
        base=base.version if base is not None and start > first else None,
    )


def _to_build_on(run: StageRun) -> Publication | None:
    """The current graphs, if they differ from those wanted in nothing but the returns they were made from."""
    try:
        current = run.platform.versions(CORRELATION_GRAPHS.name).current()
    except CorruptArtefact:
        return None
    if current is None or current.lineage is None:
        return None
    theirs, ours = current.lineage, run.lineage
    same = (theirs.code_version, theirs.config_hash) == (ours.code_version, ours.config_hash)
    others = [{name: made for name, made in one.inputs.items() if name != RETURNS.name} for one in (theirs, ours)]
    return current if same and others[0] == others[1] else None


def _first_difference(
    run: StageRun, base: Publication, sessions: tuple[date, ...], symbols: tuple[str, ...], returns_TxN: np.ndarray
) -> int:
    """First row whose returns are not those the base was made from; 0 if nothing can be told of those."""
    assert base.lineage is not None
    try:
        before = panel_of(run.platform, base.lineage.inputs[RETURNS.name])
    except (CorruptArtefact, MissingArtefact):
        return 0
    shared = min(len(before.sessions), len(sessions))
    if before.sessions[:shared] != sessions[:shared]:
        return 0
    theirs_TxN, ours_TxN = _returns(before, symbols)[:shared], returns_TxN[:shared]
    differs_T = ~((theirs_TxN == ours_TxN) | (np.isnan(theirs_TxN) & np.isnan(ours_TxN))).all(axis=1)
    return int(differs_T.argmax()) if differs_T.any() else shared


def _statistics_of(run: StageRun, *, lineage: Lineage | None) -> pl.DataFrame:
    """The statistics published with the graphs of a lineage; none if they are damaged."""
    lake = run.platform.lake
    for made in lake.versions(GRAPH_STATISTICS.name).good():
        if made.lineage == lineage:
            try:
                return lake.read(GRAPH_STATISTICS, version=made.version)
            except (CorruptArtefact, MissingArtefact):
                break
    return GRAPH_STATISTICS.empty()


def _split(found: Neighbours, at: int) -> tuple[Neighbours | None, Neighbours]:
    parts = [
        Neighbours(found.sessions_S[rows], found.dst_SxNxk[rows], found.corr_SxNxk[rows], found.overlap_SxNxk[rows])
        for rows in (slice(at), slice(at, None))
    ]
    return parts[0] if at else None, parts[1]


def _told(run: StageRun, *, of: int) -> Callable[[float], None]:
    """Tells the run of progress now and then: a line for each of a thousand sessions helps nobody."""
    step = max(of // _TOLD_SHARES, 1)

    def tell(share: float) -> None:
        done = round(share * of)
        if done % step == 0:
            run.progress(0.1 + 0.5 * share, f"{done} of {of} sessions")

    return tell


def _months(graphs: DatedGraphs) -> Iterator[pl.DataFrame]:
    """The long table of the graphs made now, a month at a time."""
    months = np.array([f"{graphs.sessions[row]:%Y-%m}" for row in graphs.made.sessions_S])
    _, starts = np.unique(months, return_index=True)
    for first, end in zip(starts, [*starts[1:], len(months)], strict=True):
        _, month = _split(_split(graphs.made, end)[0] or graphs.made, first)
        yield graph_frame(month, graphs.sessions, graphs.symbols)


def _checks(run: StageRun, graphs: DatedGraphs) -> tuple[Check, ...]:
    sessions, _, returns_TxN = _panel(run)
    return (
        *graphs_checks(
            graphs.made,
            graphs.statistics,
            sessions=graphs.sessions,
            symbols=graphs.symbols,
            config=run.config.graphs,
            directed=_newest_window(run, graphs).senders_WxN is not None,
        ),
        _tripwire(run, graphs, returns_TxN, sessions=sessions),
    )


def _newest_window(run: StageRun, graphs: DatedGraphs) -> Window:
    sessions, _, returns_TxN = _panel(run)
    measure = load_plugin(MEASURES, run.config.graphs.measure)
    return measure.window_at(returns_TxN, sessions.index(graphs.statistics["session"][-1]), config=run.config.graphs)


def _correlation_graphs_report(run: StageRun, graphs: DatedGraphs) -> Report:
    config = run.config.graphs
    _, symbols, returns_TxN = _panel(run)
    newest = graphs.statistics.row(-1, named=True)
    return Report(
        data_end=newest["session"],
        checks=_checks(run, graphs),
        metadata={
            "dagster/row_count": round(float((graphs.statistics["degree_mean"] * graphs.statistics["symbols"]).sum())),
            "sessions": graphs.statistics.height,
            "sessions_made": len(graphs.made.sessions_S),
            "measure": config.measure,
            "density": float(newest["density"]),
            "mean_degree": float(newest["degree_mean"]),
            "full_degree": float(newest["full_degree"]),
            "components": int(newest["components"]),
            "communities": int(newest["communities"]),
            "churn": float(newest["churn"] or 0.0),
            "spectral_distance": float(newest["spectral_distance"] or 0.0),
            "community_change": float(newest["community_change"] or 0.0),
            "symbols_with_neighbours": int((graphs.made.dst_SxNxk[-1] >= 0).any(axis=1).sum()),
            **_pictures(run, graphs, _newest_window(run, graphs), newest=newest["session"]),
        },
        # A symbol without a strong partner is still a node; only one without a window of returns is lost.
        failures={
            symbol: "too few returns in the window"
            for position, symbol in enumerate(symbols)
            if np.isfinite(returns_TxN[-config.window :, position]).sum() < config.min_overlap
        },
    )


def _tripwire(run: StageRun, graphs: DatedGraphs, returns_TxN: np.ndarray, *, sessions: tuple[date, ...]) -> Check:
    """The look-ahead check.

    Where earlier graphs stay, the newest of them, stored when nothing later was known, is made again from all that is
    known now. Otherwise the session in the middle of those just made is made again from nothing later than itself.
    """
    stored = _stored_before(run, graphs)
    offset = sessions.index(graphs.sessions[0])
    made = graphs.made if stored is None else stored
    placed = Neighbours(made.sessions_S + offset, made.dst_SxNxk, made.corr_SxNxk, made.overlap_SxNxk)

    def make(cut_TxN: np.ndarray, rows: np.ndarray) -> Neighbours:
        known_TxN = cut_TxN if stored is None else returns_TxN
        return measured_neighbours(known_TxN, config=run.config.graphs, sessions=rows)

    return tripwire(placed, returns_TxN, sessions=sessions, symbols=graphs.symbols, make=make)


def _stored_before(run: StageRun, graphs: DatedGraphs) -> Neighbours | None:
    """The graph of the session before those made, as it is stored; None if there is none, or it is damaged."""
    if graphs.base is None:
        return None
    row = int(graphs.made.sessions_S[0]) - 1
    session = graphs.sessions[row]
    try:
        edges = run.platform.lake.read(CORRELATION_GRAPHS, version=graphs.base, first=session, last=session)
    except (CorruptArtefact, MissingArtefact):
        return None  # publishing meets it again, and makes everything anew
    found = stored_neighbours(edges, sessions=[session], symbols=graphs.symbols, k=run.config.graphs.k)
    return Neighbours(np.array([row]), found.dst_SxNxk, found.corr_SxNxk, found.overlap_SxNxk)


def _pictures(run: StageRun, graphs: DatedGraphs, window: Window, *, newest: date) -> dict[str, object]:
    config = run.config.graphs
    corr_NxN = correlation_matrix(window, min_overlap=config.min_overlap)
    order = clustered(corr_NxN)
    np.fill_diagonal(corr_NxN, 1.0)
    statistics = graphs.statistics
    return {
        "heat_map": heat_map(
            corr_NxN[np.ix_(order, order)],
            labels=[graphs.symbols[position] for position in order],
            title=f"Correlation ({config.measure}) over {config.window} sessions to {newest}, clustered",
        ),
        "network": network(
            graphs.made.dst_SxNxk[-1],
            graphs.made.corr_SxNxk[-1],
            labels=graphs.symbols,
            groups=_sectors(run, graphs.symbols),
            title=f"Neighbours on {newest}, by sector",
        ),
        "change": lines(
            statistics["session"].to_list(),
            {
                f"churn ({_CHURN_MEAN}-session mean)": statistics["churn"]
                .rolling_mean(_CHURN_MEAN, min_samples=1)
                .to_numpy(),
                "density": statistics["density"].to_numpy(),
                f"community change ({_CHURN_MEAN}-session mean)": statistics["community_change"]
                .rolling_mean(_CHURN_MEAN, min_samples=1)
                .to_numpy(),
            },
            title="Churn, density and change of communities",
            x_label="session",
            y_label="share",
        ),
    }


def _panel(run: StageRun) -> tuple[tuple[date, ...], tuple[str, ...], np.ndarray]:
    symbols = core_symbols(run)
    panel = panel_of(run.platform, run.inputs[RETURNS.name])
    return panel.sessions, symbols, _returns(panel, symbols)


def _returns(panel: Panel, symbols: tuple[str, ...]) -> np.ndarray:
    """Float (T, N): the mapped file itself where it has just these symbols, for one session touches little of it."""
    if panel.symbols == symbols:
        return panel.field("close_return")
    return panel.values("close_return", sessions=panel.sessions, symbols=symbols)


def _sectors(run: StageRun, symbols: tuple[str, ...]) -> list[str]:
    sector = dict(run.read(UNIVERSE).select("symbol", "sector").iter_rows())
    return [sector[symbol] for symbol in symbols]


def measure_module(config: Config) -> str:
    """The module of the configured measure: its code counts wherever graphs are made."""
    return f"{MEASURES}.{config.graphs.measure}"


GRAPH_CHECKS = (
    "correlations_finite",
    "correlations_in_range",
    "degree_bounds",
    "density_history",
    "churn_history",
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
        plugins=lambda config: (measure_module(config),),
        sections=GRAPH_SETTINGS,
        deps=("universe", "returns"),
        checks=lambda _config: GRAPH_CHECKS,
        follows="returns",
        kinds=frozenset({"numba", "numpy", "polars"}),
        table=CORRELATION_GRAPHS,
    ),
)
