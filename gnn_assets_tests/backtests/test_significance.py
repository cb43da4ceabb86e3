import math

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap
from scipy import stats

from gnn_assets.backtests.metrics import information_ratio
from gnn_assets.backtests.significance import (
    corrected_mean_interval,
    draw_counts,
    mean_interval,
    percentile_interval,
    resampled_means,
    resampled_ratios,
    smallest_detectable_ic,
    standard_error,
)
from gnn_assets.core.config import build_config

CONFIG = build_config("test").backtests


def test_counts_are_those_of_archs_own_resamples():
    values_T = np.random.default_rng(0).normal(loc=0.3, size=90)
    bootstrap = StationaryBootstrap(CONFIG.bootstrap_block, values_T, seed=CONFIG.seed)
    slow = np.array([data[0] for data, _ in bootstrap.bootstrap(CONFIG.bootstrap_resamples)])
    counts_RxT = draw_counts(90, config=CONFIG)
    np.testing.assert_allclose(resampled_means(values_T, counts_RxT), slow.mean(axis=1))
    np.testing.assert_allclose(resampled_ratios(values_T, counts_RxT), slow.mean(axis=1) / slow.std(axis=1, ddof=1))


def test_the_seed_decides_the_draws():
    first = draw_counts(50, config=CONFIG)
    np.testing.assert_array_equal(first.sum(axis=1), 50)
    other = draw_counts(50, config=CONFIG.model_copy(update={"seed": CONFIG.seed + 1}))
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(first, draw_counts(50, config=CONFIG))


def test_the_draws_are_shared_and_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        draw_counts(50, config=CONFIG)[0, 0] = 1


def test_unknown_values_are_left_out_of_every_resample():
    values_T = np.random.default_rng(0).normal(size=80)
    values_T[60:] = np.nan
    counts_RxT = draw_counts(80, config=CONFIG)
    drawn = np.repeat(values_T, counts_RxT[3].astype(int))
    assert resampled_means(values_T, counts_RxT)[3] == pytest.approx(np.nanmean(drawn))
    assert resampled_ratios(values_T, counts_RxT)[3] == pytest.approx(information_ratio(drawn))


def test_a_large_mean_does_not_drown_the_deviation():
    values_T = 1e8 + np.random.default_rng(0).normal(size=80)
    ratios_R = resampled_ratios(values_T, draw_counts(80, config=CONFIG))
    drawn = np.repeat(values_T, draw_counts(80, config=CONFIG)[5].astype(int))
    assert ratios_R[5] == pytest.approx(information_ratio(drawn), rel=1e-6)


@pytest.mark.parametrize("values_T", [np.full(40, 0.1), np.full(40, np.nan), np.r_[1.0, np.full(39, np.nan)]])
def test_a_ratio_that_is_not_defined_has_no_interval(values_T):
    counts_RxT = draw_counts(40, config=CONFIG)
    assert all(math.isnan(end) for end in percentile_interval(resampled_ratios(values_T, counts_RxT), confidence=0.9))


def test_a_mean_of_nothing_has_no_interval():
    assert all(math.isnan(end) for end in mean_interval(np.full(40, np.nan), config=CONFIG))
    assert math.isnan(standard_error(np.full(40, np.nan), config=CONFIG))
    assert math.isnan(smallest_detectable_ic(np.full(40, np.nan), config=CONFIG))


def test_identical_series_have_a_paired_difference_of_exactly_0():
    values_T = np.random.default_rng(0).normal(size=60)
    assert mean_interval(values_T - values_T, config=CONFIG) == (0.0, 0.0)


def test_intervals_of_an_autocorrelated_mean_hold_the_truth_about_as_often_as_they_say():
    # An interval that took sessions as independent would hold it in about 70 of 100 series.
    rng = np.random.default_rng(11)
    held, independent = 0, 0
    for _ in range(200):
        noise = rng.normal(size=600)
        values_T = np.zeros(600)
        for t in range(1, 600):
            values_T[t] = 0.6 * values_T[t - 1] + noise[t]
        lower, upper = mean_interval(values_T, config=CONFIG)
        held += lower <= 0 <= upper
        independent += abs(values_T.mean()) <= 1.96 * values_T.std() / math.sqrt(600)
    assert 0.88 <= held / 200 <= 0.98
    assert independent / 200 < 0.8


def test_more_comparisons_widen_the_interval_by_bonferroni():
    values_T = np.random.default_rng(0).normal(size=400)
    one = corrected_mean_interval(values_T, comparisons=1, config=CONFIG)
    ten = corrected_mean_interval(values_T, comparisons=10, config=CONFIG)
    assert ten[0] < one[0] < values_T.mean() < one[1] < ten[1]
    of_blocks = stats.t(len(values_T) / CONFIG.bootstrap_block - 1)
    assert (ten[1] - ten[0]) / (one[1] - one[0]) == pytest.approx(of_blocks.isf(0.0025) / of_blocks.isf(0.025))
    np.testing.assert_allclose(one, mean_interval(values_T, config=CONFIG), atol=0.03)


def test_the_smallest_detectable_ic_is_what_it_says():
    # Series with exactly that true mean are told from 0 about as often as the power promises.
    rng = np.random.default_rng(2)
    noise_SxT = rng.normal(scale=0.2, size=(300, 500))
    effect = smallest_detectable_ic(noise_SxT[0], config=CONFIG)
    assert effect == pytest.approx(2.8 * 0.2 / math.sqrt(500), rel=0.25)
    effect = 2.8016 * 0.2 / math.sqrt(500)
    seen = np.mean([mean_interval(noise_T + effect, config=CONFIG)[0] > 0 for noise_T in noise_SxT])
    assert 0.72 <= seen <= 0.9
