"""The asset graph_drift: how far each session's graph lies from its reference, and how far it may by chance."""

from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from gnn_assets.bars.schema import RETURNS
from gnn_assets.core.errors import CorruptArtefact
from gnn_assets.defs.io import lineage_of
from gnn_assets.defs.market import panel_of
from gnn_assets.defs.plots import lines, table
from gnn_assets.defs.stage import Report, Stage, StageRun, TableShelf, core_symbols
from gnn_assets.defs.tables import stored
from gnn_assets.graphs.drift import Move, compared_columns, largest_moves
from gnn_assets.graphs.drift_checks import drift_checks, drift_tripwire
from gnn_assets.graphs.drift_table import alarms_by_year, graph_drift
from gnn_assets.graphs.schema import GRAPH_DRIFT

_MOVES_SHOWN = 10


def _graph_drift(run: StageRun) -> pl.DataFrame:
    """Is today's graph farther from its reference than chance explains?

    The distance is the root mean square difference between the pairwise-complete Pearson correlations of the trailing
    window and those of the window before it, which shares no session with it. The limit is what a market that does not
    change passes in one alarm episode a year, by a block bootstrap of the returns known when the year began.
    """
    sessions, symbols, returns_TxN = _panel(run)
    run.progress(0.1, f"{len(sessions)} sessions of {len(symbols)} symbols")
    drift = graph_drift(
        returns_TxN,
        sessions=sessions,
        symbols=symbols,
        config=run.config.graphs,
        recipe=_recipe(run),
        before=_made_before(run),
    )
    run.progress(0.9, f"{drift['alarm'].sum()} of {drift.height} sessions above their limit")
    return drift


def _graph_drift_report(run: StageRun, drift: pl.DataFrame) -> Report:
    sessions, symbols, returns_TxN = _panel(run)
    moves = _moves(run, drift, sessions, symbols, returns_TxN)
    wire = drift_tripwire(
        drift, returns_TxN, sessions=sessions, symbols=symbols, config=run.config.graphs, recipe=_recipe(run)
    )
    metadata: dict[str, Any] = {"dagster/row_count": drift.height}
    if not drift.is_empty():
        newest = drift.row(-1, named=True)
        metadata |= {
            "statistic": newest["statistic"],
            "limit": newest["limit"],
            "reference": str(newest["reference"]),
            "calibrated_on": str(newest["calibrated_on"]),
            "symbols_compared": newest["compared"],
            "alarm_episode": str(newest["episode"] or "none"),
            "drift": _picture(drift),
            "alarms_by_year": table(alarms_by_year(drift), digits=3),
            "largest_moves": table(pl.DataFrame(moves), digits=2),
        }
    return Report(
        # Without a limit nothing was judged, but these are the sessions that were looked at.
        data_end=sessions[-1],
        checks=(*drift_checks(drift, moves, config=run.config.graphs), wire),
        metadata=metadata,
    )


def _panel(run: StageRun) -> tuple[tuple[date, ...], tuple[str, ...], np.ndarray]:
    symbols = core_symbols(run)
    panel = panel_of(run.platform, run.inputs[RETURNS.name])
    return panel.sessions, symbols, panel.values("close_return", sessions=panel.sessions, symbols=symbols)


def _recipe(run: StageRun) -> str:
    """Names the code and the settings; which returns a row was made from, each row says itself."""
    return lineage_of(STAGE, run.platform, {}).key


def _made_before(run: StageRun) -> pl.DataFrame:
    try:
        return stored(run.platform, GRAPH_DRIFT)
    except CorruptArtefact:
        return GRAPH_DRIFT.empty()  # it only saves work, and what is written now mends it


def _moves(
    run: StageRun, drift: pl.DataFrame, sessions: tuple[date, ...], symbols: tuple[str, ...], returns_TxN: np.ndarray
) -> list[Move]:
    if drift.is_empty():
        return []
    newest = drift.row(-1, named=True)
    graphs = run.config.graphs
    history_HxN = returns_TxN[: sessions.index(newest["calibrated_on"])]
    columns = compared_columns(history_HxN, symbols=symbols, config=graphs)
    return largest_moves(
        returns_TxN[:, columns],
        symbols=[symbols[column] for column in columns],
        row=sessions.index(newest["session"]),
        reference=sessions.index(newest["reference"]),
        config=graphs,
        most=_MOVES_SHOWN,
    )


def _picture(drift: pl.DataFrame) -> dg.MarkdownMetadataValue:
    statistic, limit = drift["statistic"].to_numpy(), drift["limit"].to_numpy()
    in_episode = drift["episode"].is_not_null().to_numpy()
    return lines(
        drift["session"].to_list(),
        {
            "distance from the reference": statistic,
            "limit": limit,
            # Only inside an episode is there anything to draw.
            "alarm episode": np.where(in_episode, statistic.max(), np.nan),
        },
        title="How far the graph is from its reference, and how far it may be by chance",
        x_label="session",
        y_label="root mean square difference of correlations",
    )


STAGE = Stage(
    name="graph_drift",
    group="graphs",
    compute=_graph_drift,
    report=_graph_drift_report,
    shelf=TableShelf(GRAPH_DRIFT),
    code=("gnn_assets.graphs.drift_table", "gnn_assets.bars.universe"),
    sections=("graphs.window", "graphs.min_overlap", "graphs.drift"),
    deps=("universe", "returns"),
    checks=lambda _config: ("statistic_finite", "drift", "no_look_ahead"),
    follows="returns",
    kinds=frozenset({"numpy", "polars"}),
    table=GRAPH_DRIFT,
)

STAGES = (STAGE,)
