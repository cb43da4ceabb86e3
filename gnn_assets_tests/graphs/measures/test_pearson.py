import numpy as np

from gnn_assets.graphs.correlation import correlation_neighbours, measured_neighbours
from gnn_assets_tests.graphs.measures.cases import WINDOW, config_of, market, window_of

CONFIG = config_of("pearson")


def test_the_window_is_the_trailing_rows_as_they_are():
    returns = market(missing=0.1)
    window = window_of(returns, config=CONFIG, row=50)
    np.testing.assert_array_equal(window.receivers_WxN, returns[51 - WINDOW : 51])
    assert window.senders_WxN is None
    assert window.weights_W is None
    assert not window.ranked
    assert window.shrinkage == 0


def test_its_graph_is_the_plain_correlation_graph_bit_by_bit():
    returns = market(missing=0.1)
    measured = measured_neighbours(returns, config=CONFIG)
    plain = correlation_neighbours(
        returns,
        window=WINDOW,
        k=CONFIG.k,
        min_abs_corr=CONFIG.min_abs_corr,
        min_overlap=CONFIG.min_overlap,
    )
    assert (measured.dst_SxNxk >= 0).any()
    np.testing.assert_array_equal(measured.dst_SxNxk, plain.dst_SxNxk)
    np.testing.assert_array_equal(measured.corr_SxNxk, plain.corr_SxNxk)
