"""The oracle itself, on cases small enough to know."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from gnn_assets.graphs.window import Window
from gnn_assets_tests.graphs.oracle import assert_neighbours_agree, oracle_correlation, oracle_neighbours

SETTINGS = {"k": 2, "min_abs_corr": 0.1, "min_overlap": 3}


def table(n_rows=30, n_series=6, *, missing=0.2):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n_rows, n_series)) + rng.normal(size=(n_rows, 1))
    values[rng.random(values.shape) < missing] = np.nan
    return values


def test_values_are_those_of_the_shared_rows_worked_by_hand():
    values = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [4.0, 9.0], [100.0, np.nan], [np.inf, -100.0]])
    corr, overlap = oracle_correlation(Window(values), min_overlap=4)
    assert corr[0, 1] == pytest.approx(11.5 / np.sqrt(5 * 26.75))
    assert corr[1, 0] == corr[0, 1]
    assert np.isnan(np.diag(corr)).all()
    assert overlap.tolist() == [[5, 4], [4, 5]]
    assert np.isnan(oracle_correlation(Window(values), min_overlap=5)[0]).all()


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_both_ways_through_the_oracle_give_scipys_values(ranked, missing):
    values = table(missing=missing).round(1)
    symmetric, _ = oracle_correlation(Window(values, ranked=ranked), min_overlap=3)
    pairwise, _ = oracle_correlation(Window(values, values, ranked=ranked), min_overlap=3)
    np.testing.assert_allclose(symmetric, pairwise, atol=1e-12)
    shared = np.isfinite(values[:, :2]).all(axis=1)
    scipys = (spearmanr if ranked else pearsonr)(values[shared, 0], values[shared, 1]).statistic
    assert symmetric[0, 1] == pytest.approx(scipys, abs=1e-12)


def test_a_weight_counts_a_row_as_often_as_it_says():
    values = table(missing=0.1)
    weights = np.random.default_rng(1).integers(1, 5, size=len(values))
    weighted, _ = oracle_correlation(Window(values, weights_W=weights.astype(np.float64)), min_overlap=3)
    repeated, _ = oracle_correlation(Window(np.repeat(values, weights, axis=0)), min_overlap=3)
    np.testing.assert_allclose(weighted, repeated, atol=1e-12)


def test_receivers_are_rows_and_senders_columns():
    ahead = np.random.default_rng(0).normal(size=21)
    behind = np.append(np.nan, ahead[:-1])
    returns = np.stack([behind, ahead], axis=1)
    corr, _ = oracle_correlation(Window(returns[1:], returns[:-1]), min_overlap=3)
    assert corr[0, 1] == pytest.approx(1)
    assert abs(corr[1, 0]) < 0.9


@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 1, 30)])
@pytest.mark.parametrize("level", [0.0, 0.1, 1e9, 1e-300])
def test_a_series_without_spread_has_no_correlation(level, weights):
    values = table(missing=0.0)
    values[:, 1] = level
    values[2:4, 1] = np.nan
    values[:, 2] = 1 + 1e-10 * values[:, 2]
    corr, _ = oracle_correlation(Window(values, weights_W=weights), min_overlap=3)
    assert np.isnan(corr[1:3]).all()
    assert np.isnan(corr[:, 1:3]).all()
    assert np.isfinite(corr[0, 3:]).all()


def test_shrinkage_takes_its_share_of_every_value():
    values = table()
    plain, _ = oracle_correlation(Window(values), min_overlap=3)
    np.testing.assert_array_equal(oracle_correlation(Window(values, shrinkage=0.25), min_overlap=3)[0], 0.75 * plain)


def test_neighbours_are_the_strongest_then_the_first_and_absent_after_them():
    base = np.random.default_rng(0).normal(size=(30, 1))
    values = np.concatenate([base, -base, 2 * base, np.full((30, 1), np.nan)], axis=1)
    absolute = oracle_neighbours(Window(values), row=7, **SETTINGS)
    assert absolute.sessions_S.tolist() == [7]
    assert absolute.dst_SxNxk[0].tolist() == [[1, 2], [0, 2], [0, 1], [-1, -1]]
    assert absolute.overlap_SxNxk[0].tolist() == [[30, 30], [30, 30], [30, 30], [0, 0]]
    signed = oracle_neighbours(Window(values), signed=True, **SETTINGS)
    assert signed.dst_SxNxk[0].tolist() == [[2, -1], [-1, -1], [0, -1], [-1, -1]]
    np.testing.assert_array_equal(signed.corr_SxNxk[0, 0], [1, np.nan])


def test_no_series_one_series_and_nothing_but_gaps_are_defined():
    for values in (np.ones((5, 0)), np.ones((5, 1)), np.full((5, 3), np.nan)):
        for window in (Window(values), Window(values, ranked=True), Window(values, values)):
            result = oracle_neighbours(window, **SETTINGS)
            assert (result.dst_SxNxk == -1).all()
            assert_neighbours_agree(result, 0, window, **SETTINGS)


@pytest.mark.parametrize("signed", [False, True])
def test_its_own_neighbours_agree_and_any_other_do_not(signed):
    window = Window(table(n_series=9))
    settings = {**SETTINGS, "signed": signed}
    good = oracle_neighbours(window, **settings)
    assert_neighbours_agree(good, 0, window, **settings)
    dst, corr, overlap = good.dst_SxNxk, good.corr_SxNxk, good.overlap_SxNxk
    assert (dst[0, 0] >= 0).all()
    lacking = replace(good, dst_SxNxk=dst.copy(), corr_SxNxk=corr.copy(), overlap_SxNxk=overlap.copy())
    lacking.dst_SxNxk[0, 0, 1], lacking.corr_SxNxk[0, 0, 1], lacking.overlap_SxNxk[0, 0, 1] = -1, np.nan, 0
    for wrong in (
        lacking,
        replace(good, corr_SxNxk=corr + np.float32(3e-6)),
        replace(good, corr_SxNxk=-corr),
        replace(good, overlap_SxNxk=overlap + np.int16(1)),
        replace(good, dst_SxNxk=dst[..., ::-1], corr_SxNxk=corr[..., ::-1], overlap_SxNxk=overlap[..., ::-1]),
        replace(good, dst_SxNxk=np.where(dst == dst[0, 0, 0], dst[0, 0, 1], dst).astype(np.int32)),
        replace(good, dst_SxNxk=np.full_like(dst, -1)),
        oracle_neighbours(window, **{**settings, "min_abs_corr": 0.9}),
        oracle_neighbours(window, **{**settings, "min_overlap": 25}),
    ):
        with pytest.raises(AssertionError):
            assert_neighbours_agree(wrong, 0, window, **settings)
