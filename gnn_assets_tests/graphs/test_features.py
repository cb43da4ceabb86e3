import tracemalloc
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from gnn_assets.graphs.features import neighbour_mean, own_minus_neighbours
from gnn_assets_tests.lookahead import assert_no_lookahead

NAN = np.nan


def graph_of(rng, n_nodes, k, *, absent=0.2):
    """Random distinct neighbours, none of them the node itself."""
    others = np.array([np.delete(np.arange(n_nodes), node) for node in range(n_nodes)]).reshape(n_nodes, -1)
    dst = np.full((n_nodes, k), -1, dtype=np.int32)
    chosen = rng.permuted(others, axis=1)[:, :k]
    dst[:, : chosen.shape[1]] = np.where(rng.random(chosen.shape) < absent, -1, chosen)
    return dst


def mean_of(pairs):
    """Weighted mean of (weight, value), the missing left out."""
    there = [(weight, value) for weight, value in pairs if weight > 0 and np.isfinite(value)]
    total = sum(weight for weight, _ in there)
    return sum(weight * value for weight, value in there) / total if there else NAN


def by_hand(values_N, dst, weights, hops):
    """The definition, edge by edge."""

    def neighbours(node, *, other_than=-1):
        return [(w, j) for j, w in zip(dst[node].tolist(), weights[node], strict=True) if j not in (-1, other_than)]

    def hop(node, *, other_than=-1):
        return mean_of([(w, values_N[j]) for w, j in neighbours(node, other_than=other_than)])

    nodes = range(len(values_N))
    if hops == 1:
        return [hop(i) for i in nodes]
    return [mean_of([(w, hop(j, other_than=i)) for w, j in neighbours(i)]) for i in nodes]


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
    st.integers(1, 6),
    st.sampled_from([1, 2]),
    st.fixed_dictionaries({"weighted": st.booleans(), "masked": st.booleans()}),
)
@settings(max_examples=300)
def test_means_are_those_of_the_definition_edge_by_edge(seed, n_nodes, k, hops, given_too):
    rng = np.random.default_rng(seed)
    dst = graph_of(rng, n_nodes, k)
    values = rng.normal(size=(n_nodes, 3))
    values[rng.random(values.shape) < 0.3] = rng.choice([NAN, np.inf])
    mask = rng.random(n_nodes) < 0.7 if given_too["masked"] else None
    weights = rng.choice([NAN, 0.0, 0.1, 0.3, 1.0], size=dst.shape) if given_too["weighted"] else None
    counted = values if mask is None else np.where(mask[:, None], values, NAN)
    expected = np.column_stack(
        [by_hand(column, dst, np.ones(dst.shape) if weights is None else weights, hops) for column in counted.T]
    )
    settings_of = {"hops": hops, "mask_TxN": mask, "weights_TxNxk": weights}
    mean = neighbour_mean(values, dst, **settings_of)
    np.testing.assert_allclose(mean, expected, atol=1e-12)
    own = np.where(np.isfinite(counted), counted, NAN)
    np.testing.assert_allclose(own_minus_neighbours(values, dst, **settings_of), own - expected, atol=1e-12)


def test_one_hop_is_a_row_normalised_adjacency_times_the_values():
    rng = np.random.default_rng(0)
    dst, values = graph_of(rng, 300, 20), rng.normal(size=(300, 7))
    source, rank = np.nonzero(dst >= 0)
    adjacency = sparse.csr_array((np.ones(len(source)), (source, dst[source, rank])), shape=(300, 300))
    expected = adjacency @ values / adjacency.sum(axis=1)[:, None]
    np.testing.assert_allclose(neighbour_mean(values, dst), expected, atol=1e-12)


def test_two_hops_never_come_back_to_the_node_and_may_meet_a_neighbour():
    # 0 and 1 name each other; 1 also names 2, which names 0 alone.
    dst = np.array([[1, -1], [0, 2], [0, -1]], dtype=np.int32)
    values = np.array([[100.0], [10.0], [1.0]])
    assert neighbour_mean(values, dst, hops=2)[:, 0].tolist() == [1.0, 100.0, 10.0]


def test_each_neighbour_speaks_with_one_voice_however_many_neighbours_it_has():
    dst = np.array([[1, 2, -1], [3, -1, -1], [4, 5, 6], *[[-1] * 3] * 4], dtype=np.int32)
    values = np.array([0.0, 0.0, 0.0, 8.0, 1.0, 2.0, 3.0])[:, None]
    assert neighbour_mean(values, dst, hops=2)[0, 0] == (8 + 2) / 2


def test_a_neighbour_without_a_value_passes_on_its_neighbours():
    dst = np.array([[1], [2], [0]], dtype=np.int32)
    values = np.array([[1.0], [NAN], [3.0]])
    assert neighbour_mean(values, dst, hops=2)[:, 0].tolist()[0] == 3.0
    assert np.isnan(neighbour_mean(values, dst)[0, 0])


def test_mutual_neighbours_alone_have_nobody_two_hops_away_whatever_their_weights():
    dst = np.array([[1, -1], [0, -1], [0, 1]], dtype=np.int32)
    weights = np.array([[0.1, NAN], [0.3, NAN], [0.2, 0.7]])
    two = neighbour_mean(np.array([[1.0], [2.0], [4.0]]), dst, hops=2, weights_TxNxk=weights)
    assert np.isnan(two[:2]).all()
    # By way of 0 it comes to 1, by way of 1 to 0.
    assert two[2, 0] == pytest.approx((0.2 * 2 + 0.7 * 1) / 0.9)


def test_rounding_of_many_weights_leaves_nobody_behind_a_lasting_tie():
    dst = np.repeat(np.array([[1], [0]], dtype=np.int32), 80, axis=1)
    for seed in range(10):
        weights = np.random.default_rng(seed).random(dst.shape)
        assert np.isnan(neighbour_mean(np.array([[1.0], [2.0]]), dst, hops=2, weights_TxNxk=weights)).all()


@pytest.mark.parametrize("hops", [1, 2])
def test_a_node_without_present_neighbours_has_no_mean_and_stands_nowhere(hops):
    dst = np.array([[-1, -1], [0, -1]], dtype=np.int32)
    values = np.array([[1.0], [2.0]])
    for result in (neighbour_mean(values, dst, hops=hops), own_minus_neighbours(values, dst, hops=hops)):
        assert np.isnan(result[0, 0])


def test_a_neighbour_named_twice_counts_twice():
    dst = np.array([[1, 1, 2], [-1] * 3, [-1] * 3], dtype=np.int32)
    assert neighbour_mean(np.array([[0.0], [3.0], [6.0]]), dst)[0, 0] == 4.0


def test_negative_weights_are_refused():
    dst = np.array([[1], [0]], dtype=np.int32)
    with pytest.raises(ValueError, match=r"weights: expected none below 0, was -0\.5"):
        neighbour_mean(np.ones((2, 1)), dst, weights_TxNxk=np.array([[NAN], [-0.5]]))


def market(n_sessions=12, n_nodes=15, k=4):
    rng = np.random.default_rng(2)
    values = rng.normal(size=(n_sessions, n_nodes, 2)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = NAN
    dst = np.stack([graph_of(rng, n_nodes, k) for _ in range(n_sessions)])
    return values, dst, rng.random((n_sessions, n_nodes)) < 0.9, rng.random(dst.shape)


@pytest.mark.parametrize("hops", [1, 2])
def test_a_session_has_the_same_bits_alone_and_among_others(hops):
    values, dst, mask, weights = market()
    whole = neighbour_mean(values, dst, hops=hops, mask_TxN=mask, weights_TxNxk=weights)
    assert whole.dtype == np.float64
    for row in range(len(values)):
        alone = neighbour_mean(values[row], dst[row], hops=hops, mask_TxN=mask[row], weights_TxNxk=weights[row])
        assert alone.tobytes() == whole[row].tobytes()


SESSIONS = [date(2020, 1, 1) + timedelta(day) for day in range(12)]


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("row", [0, 5, 10])
def test_nothing_of_a_session_changes_by_a_bit_whatever_comes_later(hops, row):
    values, dst, _, _ = market()

    def compute(data):
        graph = np.clip(np.nan_to_num(data["graph"], nan=-1), -1, values.shape[1] - 1).astype(np.int32)
        return {"features": own_minus_neighbours(data["values"], graph, hops=hops)}

    data = {"values": values.astype(np.float64), "graph": dst.astype(np.float64)}
    assert_no_lookahead(compute, data, at=SESSIONS[row], sessions=SESSIONS)


def test_the_same_test_fails_on_planted_features_of_tomorrow():
    values, dst, _, _ = market()

    def tomorrow(data):
        return {"features": np.roll(own_minus_neighbours(data["values"], dst), -1, axis=0)}

    with pytest.raises(AssertionError, match="look-ahead: features of 2020-01-06"):
        assert_no_lookahead(tomorrow, {"values": values}, at=SESSIONS[5], sessions=SESSIONS)


@pytest.mark.parametrize("hops", [1, 2])
def test_memory_beyond_the_result_does_not_grow_with_the_sessions(hops):
    rng = np.random.default_rng(0)
    one = graph_of(rng, 200, 10)
    peaks = []
    for n_sessions in (2, 40):
        values, dst = rng.normal(size=(n_sessions, 200, 8)), np.tile(one, (n_sessions, 1, 1))
        tracemalloc.start()
        neighbour_mean(values, dst, hops=hops)
        peaks.append(tracemalloc.get_traced_memory()[1] - values.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
