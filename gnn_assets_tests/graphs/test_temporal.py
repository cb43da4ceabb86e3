import numpy as np
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError
from gnn_assets.graphs.correlation import correlation_neighbours
from gnn_assets.graphs.neighbours import Neighbours
from gnn_assets.graphs.temporal import temporal_neighbours
from gnn_assets_tests.graphs.market import panel

WINDOW, K = 30, 2
LAGS = (0, 5, 20)


def snapshots(returns=None, sessions=None):
    returns = panel() if returns is None else returns
    return correlation_neighbours(returns, window=WINDOW, k=K, min_abs_corr=0.3, min_overlap=20, sessions=sessions)


def assert_same(first, second, rows):
    for name in ("dst_SxNxK", "corr_SxNxK", "age_SxNxK"):
        assert getattr(first, name)[rows].tobytes() == getattr(second, name)[rows].tobytes(), name


def test_every_session_has_the_snapshots_at_each_lag_with_their_ages():
    graph = snapshots()
    joined = temporal_neighbours(graph, lags=LAGS)
    assert (joined.dst_SxNxK.dtype, joined.corr_SxNxK.dtype, joined.age_SxNxK.dtype) == ("int32", "float32", "int16")
    np.testing.assert_array_equal(joined.sessions_S, graph.sessions_S)
    for position in range(len(graph.sessions_S)):
        for place, lag in enumerate(LAGS):
            columns = slice(place * K, (place + 1) * K)
            dst, corr, age = (
                getattr(joined, name)[position][:, columns] for name in ("dst_SxNxK", "corr_SxNxK", "age_SxNxK")
            )
            if position < lag:
                assert (dst == -1).all()
                assert np.isnan(corr).all()
                assert (age == -1).all()
                continue
            np.testing.assert_array_equal(dst, graph.dst_SxNxk[position - lag])
            np.testing.assert_array_equal(corr, graph.corr_SxNxk[position - lag])
            np.testing.assert_array_equal(age, np.where(dst >= 0, lag, -1))
    assert (joined.age_SxNxK == -1).any()
    assert (joined.age_SxNxK == LAGS[-1]).any()


def test_a_tie_that_lasts_is_there_once_for_each_age():
    joined = temporal_neighbours(snapshots(), lags=LAGS)
    ages = [joined.age_SxNxK[-1, 0][joined.dst_SxNxK[-1, 0] == 1].tolist()]
    assert ages == [list(LAGS)]


def test_snapshots_of_some_rows_alone_in_any_order_are_found_by_their_row():
    every, few = snapshots(), snapshots(sessions=[60, 40, 55])
    joined = temporal_neighbours(few, lags=(5, 15, 20), sessions=[60, 75])
    at = {row: every.dst_SxNxk[row - WINDOW + 1] for row in (40, 55, 60)}
    nothing = np.full_like(at[40], -1)
    np.testing.assert_array_equal(joined.dst_SxNxK[0], np.hstack([at[55], nothing, at[40]]))
    np.testing.assert_array_equal(joined.dst_SxNxK[1], np.hstack([nothing, at[60], at[55]]))


def test_a_batch_of_sessions_has_the_bits_of_the_whole():
    graph = snapshots()
    whole = temporal_neighbours(graph, lags=LAGS)
    batch = temporal_neighbours(graph, lags=LAGS, sessions=[70, 35])
    np.testing.assert_array_equal(batch.sessions_S, [70, 35])
    for position, row in enumerate(batch.sessions_S):
        there = int(row) - WINDOW + 1
        for name in ("dst_SxNxK", "corr_SxNxK", "age_SxNxK"):
            assert getattr(batch, name)[position].tobytes() == getattr(whole, name)[there].tobytes()


def garbage_after(row):
    """The market with other returns after a row."""
    returns = panel().copy()
    returns[row + 1 :] = np.random.default_rng(3).lognormal(sigma=3, size=returns[row + 1 :].shape)
    return returns


@pytest.mark.parametrize("row", [29, 40, 70])
def test_nothing_of_a_session_changes_by_a_bit_whatever_comes_later(row):
    truth, altered = (temporal_neighbours(snapshots(r), lags=LAGS) for r in (panel(), garbage_after(row)))
    assert_same(truth, altered, slice(0, row - WINDOW + 2))
    cut = temporal_neighbours(snapshots(panel()[: row + 1]), lags=LAGS)
    assert_same(truth, cut, slice(0, row - WINDOW + 2))


def test_the_same_test_fails_on_planted_snapshots_of_the_future():
    def centred(returns):
        graph = snapshots(returns)
        shifted = Neighbours(graph.sessions_S - 10, graph.dst_SxNxk, graph.corr_SxNxk, graph.overlap_SxNxk)
        return temporal_neighbours(shifted, lags=LAGS, sessions=graph.sessions_S)

    with pytest.raises(AssertionError, match="dst_SxNxK"):
        assert_same(centred(panel()), centred(garbage_after(70)), slice(0, 70 - WINDOW + 2))


@pytest.mark.parametrize("lags", [(-1, 0), (0, 0), (5, 0)])
def test_lags_into_the_future_twice_or_out_of_order_are_refused(lags):
    with pytest.raises(ValueError, match="lags: expected ascending numbers from 0 on, was"):
        temporal_neighbours(snapshots(), lags=lags)
    with pytest.raises(ConfigError, match=r"graphs\.temporal\.lags"):
        build_config("test", {"graphs": {"temporal": {"lags": lags}}})
