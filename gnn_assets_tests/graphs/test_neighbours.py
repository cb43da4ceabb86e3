import numpy as np
import polars as pl

from gnn_assets.graphs.neighbours import graph_arrays, graph_frame
from gnn_assets.graphs.schema import CORRELATION_GRAPHS
from gnn_assets_tests.graphs.market import SESSIONS, SYMBOLS, WINDOW, K, kernel, panel, returns_frame

NEIGHBOURS = kernel(returns_frame(panel()))
FRAME = graph_frame(NEIGHBOURS, SESSIONS, SYMBOLS)


def test_the_table_has_a_row_an_edge_dated_by_the_last_session_of_its_window():
    assert FRAME.schema == CORRELATION_GRAPHS.empty().schema
    assert FRAME.height == (NEIGHBOURS.dst_SxNxk >= 0).sum()
    assert FRAME["session"].min() == SESSIONS[WINDOW - 1]
    assert FRAME["session"].max() == SESSIONS[-1]
    assert FRAME.select(CORRELATION_GRAPHS.key).is_unique().all()


def test_arrays_come_back_as_the_kernel_gave_them():
    dst, corr = graph_arrays(FRAME, sessions=SESSIONS, symbols=SYMBOLS, k=K)
    assert (dst.dtype, corr.dtype) == (np.int32, np.float32)
    np.testing.assert_array_equal(dst[WINDOW - 1 :], NEIGHBOURS.dst_SxNxk)
    np.testing.assert_array_equal(corr[WINDOW - 1 :], np.nan_to_num(NEIGHBOURS.corr_SxNxk))
    assert (dst[: WINDOW - 1] == -1).all()
    assert (corr[dst < 0] == 0).all()


def test_other_axes_leave_out_what_they_do_not_name_and_keep_ranks_in_place():
    named = SYMBOLS[::-1][:4]
    dst, _ = graph_arrays(FRAME, sessions=SESSIONS[-1:], symbols=named, k=K + 1)
    assert (dst[:, :, K] == -1).all()
    for row in FRAME.filter(pl.col("session") == SESSIONS[-1]).iter_rows(named=True):
        if row["src"] in named:
            expected = named.index(row["dst"]) if row["dst"] in named else -1
            assert dst[0, named.index(row["src"]), row["rank"]] == expected
    first, _ = graph_arrays(FRAME, sessions=SESSIONS, symbols=SYMBOLS, k=1)
    np.testing.assert_array_equal(first[WINDOW - 1 :, :, 0], NEIGHBOURS.dst_SxNxk[:, :, 0])


def test_a_graph_without_edges_is_an_empty_table_and_empty_arrays():
    empty = graph_frame(kernel(returns_frame(np.full(panel().shape, np.nan))), SESSIONS, SYMBOLS)
    assert empty.is_empty()
    assert empty.schema == FRAME.schema
    dst, corr = graph_arrays(empty, sessions=SESSIONS, symbols=SYMBOLS, k=K)
    assert (dst == -1).all()
    assert (corr == 0).all()
