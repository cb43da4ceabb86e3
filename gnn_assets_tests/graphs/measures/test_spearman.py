import numpy as np
import pandas as pd
import pytest

from gnn_assets.graphs.correlation import measured_neighbours
from gnn_assets_tests.graphs.measures.cases import WINDOW, config_of, market, window_of

CONFIG = config_of("spearman")
LAST = [59]


def test_the_window_asks_for_ranks():
    assert window_of(market(), config=CONFIG).ranked


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_values_are_those_of_pandas_with_ranks_over_shared_sessions(missing):
    returns = market(missing=missing).round(3)
    result = measured_neighbours(returns, config=CONFIG, sessions=LAST)
    oracle = pd.DataFrame(returns[-WINDOW:]).corr(method="spearman").to_numpy()
    src, rank = np.nonzero(result.dst_SxNxk[0] >= 0)
    assert src.size > 10
    expected = oracle[src, result.dst_SxNxk[0, src, rank]]
    np.testing.assert_allclose(result.corr_SxNxk[0, src, rank], expected, rtol=0, atol=1e-6)


def test_any_increasing_change_of_units_leaves_every_bit_as_it_is():
    returns = market(missing=0.1)
    once = measured_neighbours(returns, config=CONFIG)
    again = measured_neighbours(np.exp(20 * returns), config=CONFIG)
    np.testing.assert_array_equal(once.dst_SxNxk, again.dst_SxNxk)
    np.testing.assert_array_equal(once.corr_SxNxk, again.corr_SxNxk)


def test_one_wild_session_makes_no_edge_as_it_would_by_values():
    returns = np.random.default_rng(3).normal(scale=0.01, size=(WINDOW, 2))
    returns[7] = -5.0
    assert (measured_neighbours(returns, config=CONFIG).dst_SxNxk == -1).all()
    assert (measured_neighbours(returns, config=config_of("pearson")).dst_SxNxk[0, :, 0] == [1, 0]).all()
