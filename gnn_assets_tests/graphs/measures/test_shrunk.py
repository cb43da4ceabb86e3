import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.preprocessing import StandardScaler

from gnn_assets.graphs.correlation import measured_neighbours
from gnn_assets.graphs.measures import shrunk
from gnn_assets_tests.graphs.measures.cases import WINDOW, config_of, market, window_of

CONFIG = config_of("shrunk")


def intensity(returns, **changed):
    return window_of(returns, config=config_of("shrunk", **changed)).shrinkage


@pytest.mark.parametrize("n_series", [2, 5, 40, 300])
@pytest.mark.parametrize("common", [0.0, 0.5, 3.0])
def test_the_intensity_is_scikit_learns_for_standardised_returns(n_series, common):
    returns = market(n_series=n_series, common=common)
    expected = ledoit_wolf_shrinkage(StandardScaler().fit_transform(returns[-WINDOW:]))
    assert intensity(returns) == pytest.approx(expected, rel=1e-9)


def test_a_missing_cell_counts_as_its_series_mean_for_the_intensity():
    returns = market(n_series=30, missing=0.2)
    filled = np.nan_to_num(StandardScaler().fit_transform(returns[-WINDOW:]))
    assert intensity(returns) == pytest.approx(ledoit_wolf_shrinkage(filled), rel=1e-9)


def test_a_missing_cell_counts_as_nothing_for_the_values():
    returns = market(missing=0.2)
    np.testing.assert_array_equal(window_of(returns, config=CONFIG).receivers_WxN, returns[-WINDOW:])


def test_neighbours_come_in_pearsons_order_each_value_less_the_same_share():
    returns = market(missing=0.1)
    settings = {"min_abs_corr": 0.0, "k": 11}
    less, plain = (
        measured_neighbours(returns, config=config_of(name, **settings), sessions=[59])
        for name in ("shrunk", "pearson")
    )
    share = intensity(returns)
    assert 0.1 < share < 0.9
    np.testing.assert_array_equal(less.dst_SxNxk, plain.dst_SxNxk)
    np.testing.assert_allclose(less.corr_SxNxk, (1 - share) * plain.corr_SxNxk, rtol=1e-6)


def test_noise_is_shrunk_and_a_strong_market_is_not():
    noise, strong = (market(n_series=100, common=common) for common in (0.0, 10.0))
    assert intensity(noise) > 0.5
    assert intensity(strong) < 0.1


def beside_a_constant(returns, *, level, ripple, gap=False):
    extra = level + ripple * np.random.default_rng(1).normal(size=(len(returns), 1))
    if gap:
        extra[-5:] = np.nan
    return np.hstack([returns, extra])


@pytest.mark.parametrize("level", [0.1, -1 / 3])
@pytest.mark.parametrize("ripple", [0.0, 1e-12])
@pytest.mark.parametrize("gap", [False, True])
def test_a_constant_series_has_no_say(level, ripple, gap):
    returns = market()
    both = beside_a_constant(returns, level=level, ripple=ripple, gap=gap)
    assert intensity(both) == pytest.approx(intensity(returns), rel=1e-12)
    assert intensity(np.hstack([both, np.zeros((len(both), 1))])) == intensity(both)


def test_the_constant_rule_is_what_silences_it(monkeypatch):
    returns = market()
    alone = intensity(returns)
    monkeypatch.setattr(shrunk, "_CONSTANT", 0.0)
    assert intensity(beside_a_constant(returns, level=0.1, ripple=1e-12)) != pytest.approx(alone, rel=1e-3)


def test_a_series_with_too_few_sessions_for_an_edge_has_no_say():
    returns = market()
    extra = market(n_series=1, seed=1)
    extra[:-19] = np.nan
    both = np.hstack([returns, extra])
    assert intensity(both) == pytest.approx(intensity(returns), rel=1e-12)
    assert intensity(both, min_overlap=19) != pytest.approx(intensity(returns), rel=1e-3)


@pytest.mark.parametrize("returns", [np.ones((60, 0)), market(n_series=1), np.full((60, 3), np.nan), np.ones((60, 3))])
def test_there_is_nothing_to_shrink_without_two_series(returns):
    assert intensity(returns) == 0


cells = st.one_of(st.just(np.nan), st.integers(-3, 3).map(lambda n: n / 4), st.floats(-1, 1, width=32))


@given(hnp.arrays(np.float64, st.tuples(st.just(5), st.integers(0, 6)), elements=cells))
def test_the_intensity_is_a_share_below_one_for_any_table(returns):
    assert 0 <= intensity(returns, window=5, min_overlap=2) < 1


def test_two_sessions_that_are_each_others_opposite_show_no_noise_and_rounding_makes_none_negative():
    shares = [intensity(market(n_sessions=2, n_series=2, seed=seed), window=2, min_overlap=2) for seed in range(50)]
    assert min(shares) == 0
    assert max(shares) < 1e-15


def test_pure_noise_by_the_estimate_leaves_values_of_next_to_nothing_in_order():
    # Each pattern of signs about once: the little that is left of a correlation is luck by the estimate.
    returns = np.array([[1.0, 1.01], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    settings = {"window": 4, "min_overlap": 2, "min_abs_corr": 0.0, "k": 1}
    assert intensity(returns, **settings) == np.nextafter(1, 0)
    result = measured_neighbours(returns, config=config_of("shrunk", **settings))
    assert result.dst_SxNxk[0, :, 0].tolist() == [1, 0]
    assert (np.abs(result.corr_SxNxk) < 1e-15).all()
    assert (
        measured_neighbours(returns, config=config_of("shrunk", **{**settings, "min_abs_corr": 0.1})).dst_SxNxk < 0
    ).all()


def test_no_matrix_of_series_by_series_is_ever_held():
    returns = market(n_series=3000)
    tracemalloc.start()
    intensity(returns)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.25 * 3000**2 * 8
