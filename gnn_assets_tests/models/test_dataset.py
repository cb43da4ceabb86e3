import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DataError
from gnn_assets.models.dataset import build_dataset, forward_sum
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.lookahead import assert_no_lookahead
from gnn_assets_tests.models.synthetic import CONFIG, PURGE, SMALL, small_data
from gnn_assets_tests.simulation import lead_lag_market


def _build(returns, graph, market, config=CONFIG):
    axes = {"sessions": market.sessions, "symbols": market.symbols}
    return build_dataset(
        to_panel(returns, "close_return", **axes),
        to_panel(returns, "fill_return", **axes),
        graph,
        **axes,
        features=config.models.features,
        execution=config.execution,
        k=config.graphs.k,
    )


@given(lag=st.integers(0, 2), horizon=st.integers(1, 4), n_sessions=st.integers(1, 12), hole=st.integers(0, 11))
def test_a_label_is_the_sum_of_the_fills_ahead_and_absent_where_one_is(lag, horizon, n_sessions, hole):
    returns = np.random.default_rng(0).normal(size=(n_sessions, 2))
    returns[hole % n_sessions, 0] = np.nan
    labels = forward_sum(returns, lag=lag, horizon=horizon)
    assert labels.dtype == np.float32
    for session in range(n_sessions):
        ahead = returns[session + lag + 1 : session + lag + horizon + 1]
        expected = ahead.sum(axis=0) if len(ahead) == horizon else np.full(2, np.nan)
        np.testing.assert_allclose(labels[session], expected, rtol=1e-5)


def test_labels_come_from_fills_and_features_from_closes():
    market = lead_lag_market(seed=1, n_sessions=60, n_clusters=2, cluster_size=3)
    returns, graph = market.returns_frame(), market.graph_frame(CONFIG.graphs)
    plain = _build(returns, graph, market)
    other_fill = _build(returns.with_columns(fill_return=pl.col("fill_return") * 2), graph, market)
    np.testing.assert_allclose(other_fill.labels_TxN, plain.labels_TxN * 2, rtol=1e-6)
    np.testing.assert_array_equal(other_fill.features_TxNxF, plain.features_TxNxF)
    other_close = _build(returns.with_columns(close_return=pl.col("close_return").abs()), graph, market)
    np.testing.assert_array_equal(other_close.labels_TxN, plain.labels_TxN)


def test_labels_end_where_the_data_do():
    data = small_data(gaps=False)
    assert np.isfinite(data.labels_TxN[:-PURGE]).all()
    assert np.isnan(data.labels_TxN[-PURGE:]).all()


def test_a_null_is_a_gap():
    market = lead_lag_market(seed=1, n_sessions=60, n_clusters=2, cluster_size=3)
    returns = market.returns_frame().with_columns(
        close_return=pl.when(pl.col("session") == market.sessions[30]).then(None).otherwise("close_return")
    )
    assert not _build(returns, market.graph_frame(CONFIG.graphs), market).mask_TxN[30].any()


@pytest.mark.parametrize("column", ["close_return", "fill_return"])
def test_an_infinite_return_is_refused_by_name(column):
    market = lead_lag_market(seed=1, n_sessions=60, n_clusters=2, cluster_size=3)
    first = (pl.col("session") == market.sessions[7]) & (pl.col("symbol") == "S004")
    returns = market.returns_frame().with_columns(pl.when(first).then(-np.inf).otherwise(column).alias(column))
    with pytest.raises(DataError, match=f"returns.{column}: .* S004 on {market.sessions[7]}"):
        _build(returns, market.graph_frame(CONFIG.graphs), market)


def test_the_first_session_has_features_and_an_edge():
    data = small_data()
    assert data.mask_TxN[data.first_index].any()
    assert (data.neighbours_TxNxK[data.first_index] >= 0).any()
    assert not (data.neighbours_TxNxK[: data.first_index] >= 0).any()


def test_without_any_edge_the_first_session_is_the_first_with_features():
    data = small_data().without_graph()
    assert data.first_index == CONFIG.models.features.lookback - 1


def test_too_short_a_history_is_refused():
    market = lead_lag_market(seed=1, n_sessions=4, n_clusters=2, cluster_size=3)
    with pytest.raises(DataError, match="start the bars earlier"):
        _ = _build(market.returns_frame(), market.graph_frame(CONFIG.graphs), market).first_index


def test_without_graph_only_edges_are_gone():
    data = small_data()
    bare = data.without_graph()
    assert (bare.neighbours_TxNxK == -1).all()
    assert not bare.corr_TxNxK.any()
    assert bare.neighbours_TxNxK.shape == data.neighbours_TxNxK.shape
    assert bare.features_TxNxF is data.features_TxNxF
    assert bare.labels_TxN is data.labels_TxN


def test_targets_are_standardised_over_the_symbols_whose_label_is_known():
    data = small_data()
    targets, known = data.targets()
    assert targets.dtype == np.float32
    assert not known[~data.mask_TxN].any()
    assert not targets[~known].any()
    rows = known.any(axis=1)
    assert np.abs(targets[rows].mean(axis=1)).max() < 1e-6


def test_nothing_of_a_session_depends_on_later_ones():
    config = build_config("test", SMALL)
    market = lead_lag_market(seed=1, n_sessions=80, n_clusters=2, cluster_size=3)
    at = market.sessions[50]

    def compute(frames):
        data = _build(frames["returns"], market.graph_frame(config.graphs), market)
        return {
            "features": data.features_TxNxF,
            "mask": data.mask_TxN,
            # A label is known `purge` sessions after its own.
            "labels": np.concatenate([np.full_like(data.labels_TxN[:PURGE], 0), data.labels_TxN[:-PURGE]]),
        }

    assert_no_lookahead(compute, {"returns": market.returns_frame()}, at=at, sessions=market.sessions)
