import math
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score
from sknetwork.clustering import Louvain, get_modularity

from gnn_assets.graphs.communities import partition_change
from gnn_assets.graphs.compiled_statistics import closed_walks, component_sizes, louvain, undirected
from gnn_assets.graphs.correlation import correlation_neighbours
from gnn_assets.graphs.neighbours import Neighbours
from gnn_assets.graphs.schema import GRAPH_STATISTICS
from gnn_assets.graphs.statistics import graph_statistics, spectral_distance
from gnn_assets_tests.graphs.market import (
    SESSIONS,
    SYMBOLS,
    WINDOW,
    graph_sessions,
    kernel,
    panel,
    returns_frame,
    stages,
)

FILE = Path(__file__).parents[2] / "../shared/data/nasdaq_bars.parquet"
A, B, C = range(3)
FLAT = np.zeros((10, 3))


def graphs(*days: dict[tuple[int, int], tuple[int, float]], n_nodes=3, k=2) -> Neighbours:
    """One graph a day from (node, rank) → (neighbour, correlation)."""
    shape = (len(days), n_nodes, k)
    dst = np.full(shape, -1, dtype=np.int32)
    corr = np.full(shape, np.nan, dtype=np.float32)
    for at, day in enumerate(days):
        for place, (partner, value) in day.items():
            dst[(at, *place)], corr[(at, *place)] = partner, value
    return Neighbours(np.arange(len(days)), dst, corr, np.where(dst >= 0, 30, 0).astype(np.int16))


def part(neighbours: Neighbours, rows: slice) -> Neighbours:
    return Neighbours(*(getattr(neighbours, field.name)[rows] for field in fields(neighbours)))


def statistics_of(neighbours, *, returns=FLAT, **options):
    return graph_statistics(neighbours, returns_TxN=returns, sessions=SESSIONS, **options)


def random_graph(seed, n_nodes, k, share=1.0):
    """Neighbours drawn at random, some of them absent, one weight a pair."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.05, 1, (n_nodes, n_nodes)).astype(np.float32)
    weights = np.maximum(weights, weights.T)
    dst = np.full((n_nodes, k), -1, dtype=np.int32)
    for i in range(n_nodes):
        chosen = rng.permutation([j for j in range(n_nodes) if j != i])[: rng.binomial(min(k, n_nodes - 1), share)]
        dst[i, : len(chosen)] = chosen
    corr = np.where(dst >= 0, weights[np.arange(n_nodes)[:, None], dst] * rng.choice([-1, 1]), np.nan)
    return dst, corr.astype(np.float32)


def dense(dst, corr):
    weights = np.zeros((len(dst), len(dst)))
    i, rank = np.nonzero(dst >= 0)
    weights[i, dst[i, rank]] = np.abs(corr[i, rank])
    return np.maximum(weights, weights.T)


def laplacian_angles(weights):
    """arccos(1 − λ) of the eigenvalues λ of the normalised Laplacian; λ is 0 for a node without an edge."""
    strength = weights.sum(axis=1)
    root = np.sqrt(np.where(strength > 0, strength, 1))
    similar = weights / np.outer(root, root) + np.diag((strength == 0).astype(float))
    return np.arccos(np.clip(np.linalg.eigvalsh(similar), -1, 1))


graph_cases = given(st.integers(0, 10_000), st.integers(1, 24), st.integers(1, 5), st.sampled_from([0.3, 0.8, 1.0]))


def test_shape_and_change_of_graphs_small_enough_to_do_by_hand():
    rows = statistics_of(
        graphs(
            {(A, 0): (B, 0.5), (B, 0): (A, 0.5)},
            {(A, 0): (B, 0.5), (A, 1): (C, -0.25)},
            {},
        )
    )
    assert rows.schema == GRAPH_STATISTICS.empty().schema
    assert rows["session"].to_list() == list(SESSIONS[:3])
    assert rows["density"].to_list() == [2 / 6, 2 / 6, 0.0]
    assert rows.select("degree_min", "degree_mean", "degree_max").rows() == [(0, 2 / 3, 1), (0, 2 / 3, 2), (0, 0.0, 0)]
    assert rows["full_degree"].to_list() == [0.0, 1 / 3, 0.0]
    assert rows["components"].to_list() == [2, 1, 3]
    assert rows["largest_component"].to_list() == [2 / 3, 1.0, 1 / 3]
    assert rows["communities"].to_list() == [1, 1, 0]
    assert rows["churn"].to_list() == [None, 1 - 1 / 3, 1.0]
    assert rows["community_change"].to_list() == [None, 0.0, None]
    # Closed walks of one edge and a lone node: 1 + (1, -1); of any path of three: 0 and ±1; of three lone nodes: 1.
    moments = np.array([[1, 3, 1, 3], [0, 2, 0, 2], [3, 3, 3, 3]]) / 3
    expected = [spectral_distance(*moments[at : at + 2]) for at in range(2)]
    assert rows["spectral_distance"].to_list() == pytest.approx([None, *expected], abs=1e-12)


def test_a_graph_that_stays_does_not_change():
    dst, corr = random_graph(3, 24, 4)
    day = graphs(*[{(i, r): (dst[i, r], corr[i, r]) for i in range(24) for r in range(4)}] * 3, n_nodes=24, k=4)
    rows = statistics_of(day)
    for name in ("churn", "spectral_distance", "community_change"):
        assert rows[name].to_list() == [None, 0.0, 0.0]


def test_the_data_end_is_the_last_session_with_any_return_never_a_later_one():
    returns = np.full((4, 3), np.nan)
    returns[1, 2] = returns[3, 0] = 0.1
    assert statistics_of(graphs({}, {}, {}), returns=returns)["data_end"].to_list() == [None, *[SESSIONS[1]] * 2]


def test_one_node_is_a_graph_without_edges():
    rows = statistics_of(graphs({}, {}, n_nodes=1))
    assert rows.select("density", "components", "largest_component", "communities").rows() == [(0.0, 1, 1.0, 0)] * 2
    assert rows["spectral_distance"].to_list() == [None, 0.0]


def test_no_session_has_no_statistics():
    assert_frame_equal(statistics_of(graphs()), GRAPH_STATISTICS.empty())


def test_an_edge_without_a_correlation_is_counted_and_otherwise_left_out():
    rows = statistics_of(graphs({(A, 0): (B, float("nan")), (B, 0): (C, 0.0)}))
    assert rows.select("degree_max", "components", "communities").rows() == [(1, 3, 0)]


def test_statistics_of_a_real_graph_agree_with_its_arrays():
    neighbours, rows = kernel(returns_frame(panel())), stages(returns_frame(panel()))["statistics"]
    np.testing.assert_allclose(rows["degree_mean"], (neighbours.dst_SxNxk >= 0).sum(axis=(1, 2)) / len(SYMBOLS))
    assert rows["session"].to_list() == list(graph_sessions())
    assert rows["data_end"].to_list() == list(graph_sessions())
    edges = [
        {(i, j) for i, partners in enumerate(day) for j in partners if j >= 0} for day in neighbours.dst_SxNxk.tolist()
    ]
    jaccard = [1 - len(a & b) / len(a | b) for a, b in pairwise(edges)]
    assert rows["churn"].to_list() == [None, *jaccard]


@pytest.mark.parametrize("cut", [1, 2, 40, 70])
def test_one_session_more_has_the_same_bits_as_in_a_run_over_everything(cut):
    neighbours = kernel(returns_frame(panel()))
    whole = statistics_of(neighbours, returns=panel())
    later = statistics_of(part(neighbours, slice(cut, None)), returns=panel(), before=part(neighbours, slice(cut)))
    assert_frame_equal(later, whole[cut:], check_exact=True)
    one = statistics_of(
        part(neighbours, slice(cut, cut + 1)),
        returns=panel()[: WINDOW + cut],
        before=part(neighbours, slice(cut - 1, cut)),
    )
    assert_frame_equal(one, whole[cut : cut + 1], check_exact=True)


@pytest.mark.parametrize("threads", [2, 3, 100])
def test_the_number_of_threads_changes_no_bit(threads):
    neighbours = kernel(returns_frame(panel()))
    alone = statistics_of(neighbours, returns=panel())
    assert_frame_equal(statistics_of(neighbours, returns=panel(), threads=threads), alone, check_exact=True)
    first = part(neighbours, slice(1)), part(neighbours, slice(1, None))
    assert_frame_equal(
        statistics_of(first[1], returns=panel(), before=first[0], threads=threads), alone[1:], check_exact=True
    )


@graph_cases
def test_the_undirected_graph_joins_pairs_of_either_direction(seed, n_nodes, k, share):
    dst, corr = random_graph(seed, n_nodes, k, share)
    # One direction may say more than the other, as a directed measure does.
    corr *= np.random.default_rng(seed).uniform(0.5, 1, corr.shape).astype(np.float32)
    start, column, value = undirected(dst, corr)
    expected = sparse.csr_array(dense(dst, corr))
    np.testing.assert_array_equal(start, expected.indptr)
    np.testing.assert_array_equal(column, expected.indices)
    np.testing.assert_array_equal(value, expected.data)


@graph_cases
def test_closed_walks_are_the_moments_of_the_dense_spectrum(seed, n_nodes, k, share):
    dst, corr = random_graph(seed, n_nodes, k, share)
    cosines = np.cos(laplacian_angles(dense(dst, corr)))
    moments = [np.mean(cosines**power) for power in range(1, 5)]
    np.testing.assert_allclose(closed_walks(undirected(dst, corr)), moments, atol=1e-12)


@given(st.integers(0, 10_000), st.integers(2, 24))
def test_the_spectral_distance_is_cramers_in_its_first_four_cosines_and_never_above_the_whole(seed, n_nodes):
    pairs = [random_graph(seed + at, n_nodes, 4, 0.8) for at in range(2)]
    angles = [laplacian_angles(dense(*pair)) for pair in pairs]
    distance = spectral_distance(*(closed_walks(undirected(*pair)) for pair in pairs))
    terms = [(np.cos(m * angles[1]).mean() - np.cos(m * angles[0]).mean()) / m for m in range(1, 5)]
    assert distance == pytest.approx(math.sqrt(2 / math.pi * np.sum(np.square(terms))), abs=1e-9)
    # Between two neighbouring angles of either graph both distributions stand still.
    knots = np.sort(np.concatenate(angles))
    below = [np.searchsorted(np.sort(one), knots[:-1], side="right") / n_nodes for one in angles]
    whole = math.sqrt(np.sum((below[1] - below[0]) ** 2 * np.diff(knots)))
    assert distance <= whole + 1e-7


@graph_cases
def test_components_are_those_of_scipy(seed, n_nodes, k, share):
    dst, corr = random_graph(seed, n_nodes, k, share)
    _, labels = connected_components(sparse.csr_array(dense(dst, corr)), directed=False)
    np.testing.assert_array_equal(component_sizes(undirected(dst, corr)), np.bincount(labels))


def planted(seed, *, n_groups=4, size=12, k=6):
    """Groups whose nodes have four neighbours inside to two outside, whose weights are smaller."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), size)
    dst = np.empty((len(group), k), dtype=np.int32)
    for i in range(len(group)):
        inside = rng.choice(np.setdiff1d(np.nonzero(group == group[i])[0], [i]), 4, replace=False)
        dst[i] = np.concatenate([inside, rng.choice(np.nonzero(group != group[i])[0], k - 4, replace=False)])
    weights = np.where(group[dst] == group[:, None], 0.8, 0.3) * rng.uniform(0.9, 1.1, dst.shape)
    return group, dst, weights.astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_planted_communities_are_found(seed):
    group, dst, corr = planted(seed)
    pairs = undirected(dst, corr)
    np.testing.assert_array_equal(louvain(pairs, np.full(len(group), -1, dtype=np.int32)), group)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(10, 60))
def test_communities_are_as_modular_as_scikit_networks_and_stay_when_handed_in_again(seed, n_nodes):
    dst, corr = random_graph(seed, n_nodes, 3)
    pairs = undirected(dst, corr)
    labels = louvain(pairs, np.full(n_nodes, -1, dtype=np.int32))
    np.testing.assert_array_equal(louvain(pairs, labels), labels)
    weights = sparse.csr_matrix(dense(dst, corr))
    assert (
        get_modularity(weights, labels) > get_modularity(weights, Louvain(random_state=0).fit_predict(weights)) - 0.08
    )


def test_a_node_that_loses_its_edges_is_in_no_community_and_one_that_gains_some_is():
    pairs = undirected(np.array([[1], [0], [3], [2], [-1]], dtype=np.int32), np.full((5, 1), 0.5, dtype=np.float32))
    before = np.array([0, 0, -1, -1, 0], dtype=np.int32)
    np.testing.assert_array_equal(louvain(pairs, before), [0, 0, 1, 1, -1])


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4)), min_size=1, max_size=40))
def test_community_change_is_one_minus_the_adjusted_rand_index_over_nodes_in_both(labels):
    before, after = np.array(labels).T
    both = (before >= 0) & (after >= 0)
    if not both.any():
        assert partition_change(before, after) is None
    else:
        expected = 1 - adjusted_rand_score(before[both], after[both])
        assert partition_change(before, after) == pytest.approx(expected, abs=1e-12)


def test_a_node_that_changes_sides_is_seen_and_a_new_search_alone_is_not():
    group, dst, corr = planted(1)
    moved = corr.copy()
    # The first node turns to the last group, and everyone else stays.
    turned = dst.copy()
    turned[0, :4] = np.nonzero(group == group[-1])[0][:4]
    for i, rank in np.argwhere(dst == 0):
        moved[i, rank] = 0.05
    days = [(dst, corr), (dst, corr * np.float32(0.99)), (turned, moved)]
    neighbours = Neighbours(
        np.arange(3),
        np.stack([day[0] for day in days]),
        np.stack([day[1] for day in days]),
        np.full((3, *dst.shape), 30, dtype=np.int16),
    )
    changes = statistics_of(neighbours)["community_change"].to_list()
    after = group.copy()
    after[0] = group[-1]
    assert changes == [None, 0.0, pytest.approx(1 - adjusted_rand_score(group, after))]


@pytest.mark.skipif(not FILE.exists(), reason="shared/data/nasdaq_bars.parquet is not beside the project")
def test_on_real_data_most_symbols_stay_in_their_community_from_one_day_to_the_next():
    early = pl.scan_parquet(FILE).filter(pl.col("session") < pl.date(2013, 1, 1), pl.col("symbol") < "C")
    closes = early.select("symbol", "session", pl.col("close").cast(pl.Float64)).collect()
    table = closes.pivot(on="symbol", index="session", values="close").sort("session").drop("session")
    returns = np.diff(np.log(table.to_numpy()[: len(SESSIONS) + 1]), axis=0)
    neighbours = correlation_neighbours(returns, window=60, k=20, min_abs_corr=0.3, min_overlap=45)
    change = statistics_of(neighbours, returns=returns)["community_change"].drop_nulls()
    assert change.len() == len(SESSIONS) - 60
    # Two searches from nothing differ by a third.
    assert 0.02 < change.median() < 0.25
