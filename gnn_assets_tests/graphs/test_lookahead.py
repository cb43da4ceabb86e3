"""From bars to graph statistics: what comes after a session changes nothing up to it."""

import numpy as np
import polars as pl
import pytest

from gnn_assets.bars.returns import log_returns
from gnn_assets.graphs.correlation import Neighbours
from gnn_assets.graphs.neighbours import graph_frame
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.bars.market import bars
from gnn_assets_tests.graphs.market import SESSIONS, SYMBOLS, WINDOW, K, kernel, panel, stages
from gnn_assets_tests.lookahead import assert_no_lookahead

CLOSES = 100 * np.exp(np.nancumsum(panel(), axis=0))
BARS = bars({symbol: CLOSES[:, column] for column, symbol in enumerate(SYMBOLS)}, dates=SESSIONS)


def from_bars(data):
    returns = log_returns(data["bars"], sessions=SESSIONS, symbols=SYMBOLS, fill="close_next")
    return {"returns": returns, **stages(returns)}


def centred(data):
    """A planted leak: each session's graph is the one of a window that ends ten sessions later."""
    returns = log_returns(data["bars"], sessions=SESSIONS, symbols=SYMBOLS, fill="close_next")
    honest = kernel(returns)
    shifted = Neighbours(
        honest.sessions_S[:-10], honest.dst_SxNxk[10:], honest.corr_SxNxk[10:], honest.overlap_SxNxk[10:]
    )
    return {"graph": graph_frame(shifted, SESSIONS, SYMBOLS)}


@pytest.mark.parametrize("row", [WINDOW - 1, WINDOW, 50, 98])
@pytest.mark.parametrize("seed", [0, 1])
def test_returns_graphs_and_statistics_are_byte_equal_whatever_comes_later(row, seed):
    # Statistics are made for every session of the axis: those after the cut are there, and full of garbage.
    assert_no_lookahead(from_bars, {"bars": BARS}, at=SESSIONS[row], sessions=SESSIONS, seed=seed)


def test_the_same_test_fails_on_a_planted_centred_window():
    with pytest.raises(AssertionError, match=f"look-ahead: graph of {SESSIONS[41]} changed"):
        assert_no_lookahead(centred, {"bars": BARS}, at=SESSIONS[50], sessions=SESSIONS)


def test_the_market_under_test_has_edges_to_lose():
    graph = from_bars({"bars": BARS})["graph"]
    assert graph.height > len(SESSIONS) * K
    assert to_panel(BARS, "close", sessions=SESSIONS, symbols=SYMBOLS).shape == (len(SESSIONS), len(SYMBOLS))
    assert isinstance(graph, pl.DataFrame)
