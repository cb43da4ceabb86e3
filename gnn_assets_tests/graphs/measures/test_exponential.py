import numpy as np
import pandas as pd
import pytest

from gnn_assets.graphs.correlation import measured_neighbours
from gnn_assets_tests.graphs.measures.cases import WINDOW, config_of, market, window_of

HALF_LIFE = 15
CONFIG = config_of("exponential", min_abs_corr=0.0, k=11)


def test_a_half_life_ago_counts_half_as_much_as_the_session_itself():
    weights = window_of(market(), config=CONFIG).weights_W
    assert weights[-1] == 1
    assert weights[-1 - HALF_LIFE] == 0.5
    assert weights[-1 - 2 * HALF_LIFE] == 0.25
    assert len(weights) == WINDOW
    assert (np.diff(weights) > 0).all()


def test_values_are_those_of_pandas_exponential_window():
    returns = market(n_sessions=WINDOW)
    result = measured_neighbours(returns, config=CONFIG)
    oracle = pd.DataFrame(returns).ewm(halflife=HALF_LIFE).corr().loc[WINDOW - 1].to_numpy()
    expected = np.take_along_axis(oracle, result.dst_SxNxk[0], axis=1)
    np.testing.assert_allclose(result.corr_SxNxk[0], expected, rtol=0, atol=1e-6)


def test_a_group_that_formed_lately_is_seen_before_pearson_sees_it():
    returns = np.random.default_rng(1).normal(scale=0.01, size=(WINDOW, 2))
    returns[-10:, 1] = returns[-10:, 0]
    lately, equally = (
        measured_neighbours(returns, config=config_of(measure, exponential={"half_life": 5.0})).corr_SxNxk[0, 0, 0]
        for measure in ("exponential", "pearson")
    )
    assert lately > 0.6
    assert not equally > 0.4


@pytest.mark.parametrize("half_life", [1.0, 1e9])
def test_a_very_short_and_a_very_long_memory_are_defined(half_life):
    config = config_of("exponential", exponential={"half_life": half_life}, min_abs_corr=0.0)
    returns = market()
    weights = window_of(returns, config=config).weights_W
    assert (weights > 0).all()
    result = measured_neighbours(returns, config=config)
    assert np.isfinite(result.corr_SxNxk).all()
