"""The graph as models see it, and the graphs that stand in for it."""

from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from gnn_assets.graphs.factors import Factors, project_off, residual_returns, residual_rows
from gnn_assets.models.graph import Graph
from gnn_assets_tests.lookahead import assert_no_lookahead
from gnn_assets_tests.models.candles import CONFIG, candle_data, candles, graph_for

BARS = candles()
GRAPH = graph_for(BARS)
FACTORS = CONFIG.graphs.factors
N_SESSIONS, N_SYMBOLS = BARS.close_return_TxN.shape
ALL = np.ones((N_SESSIONS, N_SYMBOLS), dtype=bool)
EVERY = range(N_SESSIONS)
FIRST = BARS.sessions.index(GRAPH.factors.sessions_R[0])


def basis_of(graph, mask=ALL, rows=EVERY, count=FACTORS.projected):
    return graph.basis(rows, mask, count=count)


def test_a_graph_of_returns_holds_their_leading_directions():
    edges = (GRAPH.neighbours_TxNxK, GRAPH.corr_TxNxK)
    made = Graph.of(BARS.close_return_TxN, edges, sessions=BARS.sessions, factors=FACTORS)
    assert made.factors.sessions_R == GRAPH.factors.sessions_R
    assert made.factors.loadings_RxNxC.tobytes() == GRAPH.factors.loadings_RxNxC.tobytes()
    expected = residual_returns(BARS.close_return_TxN, made.factors, sessions=BARS.sessions)
    np.testing.assert_array_equal(made.residual_TxN, expected)


# --- labels --------------------------------------------------------------------------------------------------------


def test_a_label_is_regressed_on_the_loadings_known_at_its_signal():
    labels = np.random.default_rng(1).normal(size=(N_SESSIONS, N_SYMBOLS))
    labels[FIRST, 2] = np.nan
    residual = GRAPH.residual_label(labels, EVERY)
    assert np.isnan(residual[:FIRST]).all()
    # The fit of the signal's own close is known by then, as it is not for the session's own return.
    np.testing.assert_array_equal(residual[FIRST], residual_rows(labels[FIRST : FIRST + 1], GRAPH.factors, [0])[0])
    assert np.flatnonzero(np.isnan(residual[FIRST])).tolist() == [2]
    assert np.isnan(GRAPH.residual_TxN[FIRST]).all()
    some = range(FIRST + 3, FIRST + 9)
    np.testing.assert_array_equal(GRAPH.residual_label(labels[some.start : some.stop], some), residual[some])


def residuals(told):
    """Residuals of returns that come as an array."""
    return {"residual": graph_for(replace(BARS, close_return_TxN=told["returns"])).residual_TxN}


def test_residuals_know_nothing_of_later_sessions_and_a_planted_fit_still_to_come_is_caught(monkeypatch):
    told, given = {"returns": BARS.close_return_TxN}, {"at": BARS.sessions[61], "sessions": BARS.sessions}
    assert_no_lookahead(residuals, told, **given)
    monkeypatch.setattr(Factors, "known_before", lambda self, _: len(self.sessions_R) - 1)
    with pytest.raises(AssertionError, match="look-ahead: residual of"):
        assert_no_lookahead(residuals, told, **given)


# --- basis ---------------------------------------------------------------------------------------------------------


def test_the_basis_is_orthonormal_over_those_who_are_scored():
    mask = np.random.default_rng(2).random(ALL.shape) < 0.8
    mask[FIRST + 5] = False
    basis = basis_of(GRAPH, mask)
    assert basis.shape == (N_SESSIONS, N_SYMBOLS, FACTORS.projected + 2)
    assert basis.dtype == np.float32
    assert not basis[~mask].any()
    for columns in basis:
        product = columns.T @ columns
        lengths = np.diag(product).round(6)
        assert set(lengths) <= {0.0, 1.0}
        np.testing.assert_allclose(product, np.diag(lengths), atol=1e-6)


def test_before_the_first_fit_the_mean_alone_is_taken_off():
    mask = ALL.copy()
    mask[0, :3] = False
    basis = basis_of(GRAPH, mask)[:FIRST]
    assert not basis[:, :, 1:].any()
    np.testing.assert_allclose(basis[0, 3:, 0], 5**-0.5, rtol=1e-6)
    np.testing.assert_allclose(basis[1, :, 0], N_SYMBOLS**-0.5, rtol=1e-6)


def test_the_basis_takes_off_what_the_graph_stage_takes_off():
    scores = np.random.default_rng(3).normal(size=(N_SESSIONS, N_SYMBOLS))
    oracle = project_off(scores, GRAPH.factors, sessions=BARS.sessions, count=FACTORS.projected)
    columns = basis_of(GRAPH).astype(float)
    left = scores - np.einsum("snd,sd->sn", columns, np.einsum("snd,sn->sd", columns, scores))
    np.testing.assert_allclose(left[FIRST:], oracle[FIRST:], atol=1e-5)


def test_a_session_s_basis_has_the_same_bits_whatever_is_asked_for_with_it_and_however_many_threads():
    whole = basis_of(GRAPH)
    rows = range(FIRST + 4, FIRST + 6)
    for threads in (1, 2):
        with threadpool_limits(limits=threads, user_api="blas"):
            assert basis_of(GRAPH, ALL[rows.start : rows.stop], rows).tobytes() == whole[rows].tobytes()


def test_sessions_that_share_a_basis_have_the_bits_each_has_by_itself():
    # Some sessions on end score the same symbols, some others, one nobody.
    mask = np.random.default_rng(5).random((6, N_SYMBOLS))[np.arange(N_SESSIONS) // 7 % 6] < 0.7
    mask[FIRST + 5] = False
    whole = basis_of(GRAPH, mask)
    for row in range(N_SESSIONS):
        assert basis_of(GRAPH, mask[row : row + 1], range(row, row + 1)).tobytes() == whole[row].tobytes()


@pytest.mark.parametrize("n_symbols", [1, 2, 3])
def test_of_fewer_symbols_than_directions_nothing_is_left(n_symbols):
    data = candle_data(candles(n_symbols=n_symbols))
    rows = range(FIRST, N_SESSIONS)
    scores = np.random.default_rng(4).normal(size=(len(rows), n_symbols)).astype(np.float32)
    np.testing.assert_allclose(data.project_off(scores, rows), 0, atol=1e-5)
    for target in ("label", "residual", "scaled"):
        targets, known = data.targets(target, rows)
        assert np.isfinite(targets).all()
        assert not targets[~known].any()


# --- what stands in for the graph ----------------------------------------------------------------------------------


def test_the_true_graph_is_the_graph():
    assert GRAPH.of_kind("true", seed=1) is GRAPH


def test_alone_nobody_has_neighbours_and_nothing_but_the_mean_is_common():
    alone = GRAPH.of_kind("identity", seed=1)
    assert (alone.neighbours_TxNxK == -1).all()
    assert not alone.corr_TxNxK.any()
    assert alone.neighbours_TxNxK.shape == GRAPH.neighbours_TxNxK.shape
    np.testing.assert_allclose(alone.residual_TxN[FIRST + 1 :], BARS.close_return_TxN[FIRST + 1 :], rtol=1e-12)
    basis = basis_of(alone)
    assert not basis[:, :, 1:].any()
    np.testing.assert_allclose(np.abs(basis[:, :, 0]), N_SYMBOLS**-0.5, rtol=1e-6)


def test_alone_the_same_symbols_have_residuals():
    np.testing.assert_array_equal(
        np.isnan(GRAPH.of_kind("identity", seed=1).residual_TxN), np.isnan(GRAPH.residual_TxN)
    )


def place_of(shuffled):
    """Where each symbol's beta went, told by its bits."""
    fit = -1
    return np.array(
        [np.flatnonzero(shuffled.factors.beta_RxN[fit] == beta).item() for beta in GRAPH.factors.beta_RxN[fit]]
    )


def test_shuffled_the_graph_is_the_same_but_for_who_is_who():
    shuffled = GRAPH.of_kind("shuffled", seed=1)
    place = place_of(shuffled)
    assert sorted(place) == list(range(N_SYMBOLS))
    assert (place != np.arange(N_SYMBOLS)).any()
    np.testing.assert_array_equal(shuffled.corr_TxNxK[:, place], GRAPH.corr_TxNxK)
    expected = np.where(GRAPH.neighbours_TxNxK >= 0, place[GRAPH.neighbours_TxNxK], -1)
    np.testing.assert_array_equal(shuffled.neighbours_TxNxK[:, place], expected)
    np.testing.assert_array_equal(shuffled.factors.loadings_RxNxC[:, place], GRAPH.factors.loadings_RxNxC)
    np.testing.assert_array_equal(shuffled.factors.deviation_RxN, GRAPH.factors.deviation_RxN)
    assert shuffled.factors.sessions_R == GRAPH.factors.sessions_R


def test_shuffled_nobody_is_their_own_neighbour_and_types_stay():
    shuffled = GRAPH.of_kind("shuffled", seed=1)
    assert (shuffled.neighbours_TxNxK != np.arange(N_SYMBOLS)[None, :, None]).all()
    assert (shuffled.neighbours_TxNxK.dtype, shuffled.corr_TxNxK.dtype) == (np.int32, np.float32)


def test_shuffled_those_without_history_stay_without():
    bars = candles()
    bars.close_return_TxN[:, 3] = np.nan
    graph = graph_for(bars)
    shuffled = graph.of_kind("shuffled", seed=1)
    for kept in (shuffled.factors.beta_RxN, shuffled.factors.deviation_RxN, shuffled.factors.loadings_RxNxC[..., 0]):
        np.testing.assert_array_equal(np.isnan(kept), np.isnan(graph.factors.beta_RxN))
    np.testing.assert_array_equal(np.isnan(shuffled.residual_TxN), np.isnan(graph.residual_TxN))


def test_shuffled_everybody_who_is_in_the_graph_hears_as_many_as_before_when_others_have_left_it():
    bars = candles()
    gone = np.arange(N_SYMBOLS) % 2 == 0
    bars.close_return_TxN[N_SESSIONS // 2 :, gone] = np.nan
    graph = graph_for(bars)
    shuffled = graph.of_kind("shuffled", seed=1)
    np.testing.assert_array_equal(
        np.sort((shuffled.neighbours_TxNxK >= 0).sum(axis=2), axis=1),
        np.sort((graph.neighbours_TxNxK >= 0).sum(axis=2), axis=1),
    )
    last = graph.neighbours_TxNxK[-1]
    np.testing.assert_array_equal((last >= 0).any(axis=1), ~gone)
    np.testing.assert_array_equal((shuffled.neighbours_TxNxK[-1] >= 0).any(axis=1), ~gone)
    assert not gone[shuffled.neighbours_TxNxK[-1][~gone]].any()
    assert (shuffled.neighbours_TxNxK[-1] != last).any()
    np.testing.assert_array_equal(np.isnan(shuffled.factors.beta_RxN), np.isnan(graph.factors.beta_RxN))
    np.testing.assert_array_equal(np.sort(shuffled.factors.beta_RxN), np.sort(graph.factors.beta_RxN))


def test_a_seed_draws_the_same_places_and_another_seed_others():
    first, again, other = (GRAPH.of_kind("shuffled", seed=seed) for seed in (1, 1, 2))
    assert first.corr_TxNxK.tobytes() == again.corr_TxNxK.tobytes()
    assert first.corr_TxNxK.tobytes() != other.corr_TxNxK.tobytes()
