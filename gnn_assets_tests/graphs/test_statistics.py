from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.schema import RETURNS
from gnn_assets.graphs.neighbours import graph_arrays
from gnn_assets.graphs.schema import CORRELATION_GRAPHS, GRAPH_STATISTICS
from gnn_assets.graphs.statistics import graph_statistics, jaccard_distance, laplacian_spectrum
from gnn_assets_tests.graphs.market import SESSIONS, SYMBOLS, graph_sessions, panel, returns_frame, stages

DAYS = SESSIONS[:3]


def graph(*edges: tuple[date, str, int, str, float]) -> pl.DataFrame:
    rows = pl.DataFrame(
        edges, schema={name: CORRELATION_GRAPHS.columns[name] for name in ("session", "src", "rank", "dst", "corr")},
        orient="row",
    )  # fmt: skip
    return CORRELATION_GRAPHS.conform(rows.with_columns(overlap=pl.lit(30, pl.Int16)))


def statistics_of(frame, *, symbols=("A", "B", "C"), returns=None, sessions=DAYS):
    returns = returns_frame(panel()) if returns is None else returns
    return graph_statistics(frame, returns=returns, sessions=sessions, symbols=symbols)


def test_density_degrees_churn_and_spectrum_of_graphs_small_enough_to_do_by_hand():
    frame = graph(
        (DAYS[0], "A", 0, "B", 0.5),
        (DAYS[0], "B", 0, "A", 0.5),
        (DAYS[1], "A", 0, "B", 0.5),
        (DAYS[1], "A", 1, "C", -0.25),
        # Nothing on the third session.
    )
    rows = statistics_of(frame)
    assert rows.schema == GRAPH_STATISTICS.empty().schema
    assert rows["density"].to_list() == [2 / 6, 2 / 6, 0.0]
    assert rows.select("degree_min", "degree_mean", "degree_max").rows() == [(0, 2 / 3, 1), (0, 2 / 3, 2), (0, 0.0, 0)]
    assert rows["churn"].to_list() == [None, 1 - 1 / 3, 1.0]
    # One edge of weight w has the spectrum 0, 0, 2w; a path with weights a and b has 0 and a+b ± sqrt(a²+b²−ab).
    root = np.sqrt(0.5**2 + 0.25**2 - 0.5 * 0.25)
    path = [0, 0.75 - root, 0.75 + root]
    distances = [np.linalg.norm(np.subtract(path, [0, 0, 1.0])), np.linalg.norm(path)]
    assert rows["spectral_distance"][0] is None
    assert rows["spectral_distance"].to_list()[1:] == pytest.approx(distances, abs=1e-7)


def test_a_graph_that_stays_has_no_churn_and_no_distance():
    frame = graph(*((day, "A", 0, "B", 0.5) for day in DAYS))
    rows = statistics_of(frame)
    assert rows["churn"].to_list() == [None, 0.0, 0.0]
    assert rows["spectral_distance"].to_list() == [None, 0.0, 0.0]


def test_the_data_end_is_the_last_session_with_a_return_of_a_node_never_a_later_one():
    returns = RETURNS.conform(
        pl.DataFrame(
            {
                "session": [SESSIONS[0], SESSIONS[1], SESSIONS[2]],
                "symbol": ["A", "other", "A"],
                "close_return": [0.1, 0.1, None],
                "fill_return": [0.1, 0.1, 0.1],
                "source": "sample",
            }
        )
    )
    assert statistics_of(graph(), returns=returns)["data_end"].to_list() == [SESSIONS[0]] * 3
    assert statistics_of(graph(), returns=RETURNS.empty())["data_end"].to_list() == [None] * 3


def test_one_node_is_a_graph_without_edges():
    rows = statistics_of(graph(), symbols=("A",))
    assert rows["density"].to_list() == [0.0] * 3
    assert rows["spectral_distance"].to_list() == [None, 0.0, 0.0]


def test_statistics_of_a_real_graph_agree_with_its_arrays():
    tables = stages(returns_frame(panel()))
    dst, _ = graph_arrays(tables["graph"], sessions=graph_sessions(), symbols=SYMBOLS, k=2)
    np.testing.assert_allclose(tables["statistics"]["degree_mean"], (dst >= 0).sum(axis=(1, 2)) / len(SYMBOLS))
    assert (tables["statistics"]["data_end"] == tables["statistics"]["session"]).all()
    assert tables["statistics"]["churn"].drop_nulls().is_between(0, 1).all()


@settings(deadline=None)
@given(st.sets(st.integers(0, 12)), st.sets(st.integers(0, 12)))
def test_churn_is_the_jaccard_distance_of_sets(before, after):
    distance = jaccard_distance(np.array(sorted(before), dtype=int), np.array(sorted(after), dtype=int))
    expected = 1 - len(before & after) / len(before | after) if before | after else 0.0
    assert distance == pytest.approx(expected)


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(0, 10_000))
def test_a_laplacian_spectrum_starts_at_zero_and_sums_to_twice_the_weights(n_nodes, seed):
    rng = np.random.default_rng(seed)
    others = [[j for j in range(n_nodes) if j != i] for i in range(n_nodes)]
    dst = np.array([rng.choice(row, size=1) for row in others], dtype=np.int32)
    corr = rng.uniform(-1, 1, size=dst.shape).astype(np.float32)
    weights = {}
    for i, (j, r) in enumerate(zip(dst[:, 0], corr[:, 0], strict=True)):
        pair = frozenset((i, int(j)))
        weights[pair] = max(weights.get(pair, 0.0), abs(float(r)))
    spectrum = laplacian_spectrum(dst, corr)
    assert spectrum[0] == pytest.approx(0, abs=1e-12)
    assert spectrum.sum() == pytest.approx(2 * sum(weights.values()))
