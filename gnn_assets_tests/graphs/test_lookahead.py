"""From bars to graph statistics: what comes after a session changes nothing up to it."""

import numpy as np
import polars as pl
import pytest

from gnn_assets.bars.fetched import FETCHED_COLUMNS, VALUES, no_actions
from gnn_assets.bars.returns import returns_of
from gnn_assets.bars.rules import judge_rows
from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS
from gnn_assets.core.config import build_config
from gnn_assets.graphs.correlation import Neighbours
from gnn_assets.graphs.neighbours import graph_frame
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.bars.market import bars, exchanges, record, universe
from gnn_assets_tests.graphs.market import SESSIONS, SYMBOLS, WINDOW, K, kernel, panel, stages
from gnn_assets_tests.lookahead import assert_no_lookahead

CLOSES = 100 * np.exp(np.nancumsum(panel(), axis=0))
TOLD = bars({symbol: CLOSES[:, column] for column, symbol in enumerate(SYMBOLS)}, dates=SESSIONS)
# A wild price must get past the refusal of jumps, to do its harm further down.
BARS = build_config("test", {"bars": {"rules": {"max_abs_log_return": 1000.0}}}).bars
END = exchanges().primary.available_at(SESSIONS[-1])


def returns_from(told):
    """Returns as the bars stage makes them of what a source tells: what is no price at all is refused on the way."""
    good = judge_rows(
        told.select(*FETCHED_COLUMNS),
        source="sample",
        basis="split_div",
        actions=no_actions(),
        before=told.select(*FETCHED_COLUMNS).clear(),
        exchange_of={},
        exchanges=exchanges(),
        now=END,
        config=BARS.rules,
    ).good
    return returns_of(
        record(MARKET_BARS.empty(), good.select(*FETCHED_COLUMNS), at=END),
        CORPORATE_ACTIONS.empty(),
        universe=universe(dict.fromkeys(SYMBOLS, "XNYS")),
        exchanges=exchanges(),
        sources=["sample"],
        sessions=SESSIONS,
        symbols=SYMBOLS,
        fill="close_next",
        config=BARS,
    )


def closes_only(data):
    """The source has closes only; garbage in its other columns would have most rows refused."""
    return data["told"].with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in VALUES if name != "close")


def from_bars(data):
    returns = returns_from(closes_only(data))
    return {"returns": returns, **stages(returns)}


def centred(data):
    """A planted leak: each session's graph is the one of a window that ends ten sessions later."""
    honest = kernel(returns_from(closes_only(data)))
    shifted = Neighbours(
        honest.sessions_S[:-10], honest.dst_SxNxk[10:], honest.corr_SxNxk[10:], honest.overlap_SxNxk[10:]
    )
    return {"graph": graph_frame(shifted, SESSIONS, SYMBOLS)}


@pytest.mark.parametrize("row", [WINDOW - 1, WINDOW, 50, 98])
@pytest.mark.parametrize("seed", [0, 1])
def test_returns_graphs_and_statistics_are_byte_equal_whatever_comes_later(row, seed):
    # Statistics are made for every session of the axis: those after the cut are there, and full of garbage.
    assert_no_lookahead(from_bars, {"told": TOLD}, at=SESSIONS[row], sessions=SESSIONS, seed=seed)


def test_the_same_test_fails_on_a_planted_centred_window():
    with pytest.raises(AssertionError, match=f"look-ahead: graph of {SESSIONS[41]} changed"):
        assert_no_lookahead(centred, {"told": TOLD}, at=SESSIONS[50], sessions=SESSIONS)


def test_the_market_under_test_has_edges_to_lose():
    graph = from_bars({"told": TOLD})["graph"]
    assert graph.height > len(SESSIONS) * K
    assert to_panel(TOLD, "close", sessions=SESSIONS, symbols=SYMBOLS).shape == (len(SESSIONS), len(SYMBOLS))
    assert isinstance(graph, pl.DataFrame)
