import numpy as np
import pandas as pd
import pytest

from gnn_assets.graphs.correlation import lookback_of, measured_neighbours
from gnn_assets_tests.graphs.measures.cases import LAG, WINDOW, config_of, market, window_of

CONFIG = config_of("lead_lag")


def test_it_reads_the_window_and_the_lag_before_it():
    assert lookback_of(CONFIG) == WINDOW + LAG
    assert measured_neighbours(market(), config=CONFIG).sessions_S[0] == WINDOW + LAG - 1


@pytest.mark.parametrize("lag", [1, 2, 20, 50])
def test_senders_are_the_receivers_as_many_sessions_earlier(lag):
    returns = market(n_sessions=100, missing=0.1)
    window = window_of(returns, config=config_of("lead_lag", lead_lag={"lag": lag}), row=97)
    np.testing.assert_array_equal(window.receivers_WxN, returns[98 - WINDOW : 98])
    np.testing.assert_array_equal(window.senders_WxN, returns[98 - WINDOW - lag : 98 - lag])


def test_an_edge_says_that_its_end_ran_ahead():
    rng = np.random.default_rng(0)
    ahead = rng.normal(scale=0.01, size=60)
    behind = np.concatenate([rng.normal(scale=0.01, size=LAG), ahead[:-LAG]])
    result = measured_neighbours(
        np.stack([behind, ahead], axis=1), config=config_of("lead_lag", min_abs_corr=0.9), sessions=[59]
    )
    assert result.dst_SxNxk[0, :, 0].tolist() == [1, -1]
    assert result.corr_SxNxk[0, 0, 0] == 1
    assert result.overlap_SxNxk[0, 0, 0] == WINDOW


def test_values_are_those_of_pandas_with_the_neighbour_shifted():
    returns = market(missing=0.1)
    result = measured_neighbours(returns, config=CONFIG, sessions=[59])
    frame = pd.DataFrame(returns)
    src, rank = np.nonzero(result.dst_SxNxk[0] >= 0)
    assert src.size > 10
    for i, place in zip(src, rank, strict=True):
        earlier = frame[result.dst_SxNxk[0, i, place]].shift(LAG)
        expected = frame[i].tail(WINDOW).corr(earlier.tail(WINDOW))
        assert result.corr_SxNxk[0, i, place] == pytest.approx(expected, abs=1e-6)
