"""Drift of features and scores: the distances, that sessions count and not symbols, and that what is planted is found."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from gnn_assets.core.config import build_config
from gnn_assets.monitoring.drift import (
    feature_drift,
    feature_reference,
    prediction_drift,
    prediction_reference,
    session_counts,
)
from gnn_assets.monitoring.family import (
    kolmogorov_distance,
    log_ratio_distance,
    mean_distance,
    stability_index,
    sum_rows,
    window_sums,
)
from gnn_assets_tests.monitoring.quiet_market import quiet_market

HYSTERESIS = 0.1
CONFIG = build_config("sample").drift.model_copy(update={"paths": 50, "path_sessions": 252})
LEARNED, LIVED = slice(0, 756), slice(756, 756 + 126)
whole_counts = hnp.arrays(np.float64, 8, elements=st.integers(0, 50).map(float)).filter(lambda counts: counts.sum() > 0)


@cache
def market():
    return quiet_market(5, 756 + 126)


@cache
def of_features():
    learned = market()[LEARNED]
    return feature_reference(learned.features, learned.mask, config=CONFIG, hysteresis=HYSTERESIS)


def newest_features(*given, **settings):
    (drift,) = feature_drift(*given, newest=1, **settings)
    return drift


def newest_scores(*given, **settings):
    (drift,) = prediction_drift(*given, newest=1, **settings)
    return drift


@cache
def of_scores():
    return prediction_reference(market().scores[LEARNED], config=CONFIG, hysteresis=HYSTERESIS)


def found_after(drift_until, *, most=126):
    """Sessions from the change to the first alarm, with the alarm."""
    for lived in range(1, most + 1):
        drift = drift_until(lived)
        if drift.value > drift.limit:
            return lived, drift
    return None, None


# The distances


@given(whole_counts, whole_counts)
def test_the_stability_index_is_the_sum_of_both_relative_entropies(counts, reference):
    shares, others = ((values + 0.5) / (values + 0.5).sum() for values in (counts, reference))
    expected = stats.entropy(shares, others) + stats.entropy(others, shares)
    assert stability_index(counts, reference) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.lists(st.integers(0, 9), min_size=2, max_size=40))
def test_the_kolmogorov_distance_is_that_of_scipy_where_every_value_is_an_edge(values, reference):
    edges = np.arange(10.0)
    counts, others = (
        session_counts(np.array([side], dtype=float), np.ones((1, len(side)), dtype=bool), edges)[0]
        for side in (values, reference)
    )
    expected = stats.ks_2samp(values, reference, method="asymp").statistic
    assert kolmogorov_distance(counts, others) == pytest.approx(expected, abs=1e-12)


def test_means_are_over_what_is_known():
    values = np.array([1.0, np.nan, 3.0, 8.0])
    sums = sum_rows(values).sum(axis=0)
    assert mean_distance(sums, np.array([10.0, 5.0])) == pytest.approx(2.0)
    assert log_ratio_distance(sums, np.array([10.0, 5.0])) == pytest.approx(np.log(2.0))
    assert np.isposinf(log_ratio_distance(np.array([0.0, 3.0]), np.array([10.0, 5.0])))
    assert np.isnan(mean_distance(np.zeros(2), np.array([10.0, 5.0])))


@given(hnp.arrays(np.float64, (12, 3), elements=st.integers(-9, 9).map(float)), st.integers(1, 12))
def test_sums_of_windows_are_the_sums_of_their_rows(rows, window):
    expected = [rows[end - window : end].sum(axis=0) for end in range(window, 13)]
    np.testing.assert_array_equal(window_sums(rows, window=window), expected)


def test_each_session_counts_its_own_symbols_and_those_that_miss_a_value_apart():
    values = np.array([[0.0, 1.0, 1.5, np.nan], [9.0, np.inf, 2.0, -9.0]])
    mask = np.array([[True, True, True, True], [True, True, False, True]])
    counts = session_counts(values, mask, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(counts, [[2, 1, 0, 1], [1, 0, 1, 1]])


# Chance


def test_symbols_that_move_as_one_count_as_one():
    """Twelve copies of one symbol tell of a window's distribution no more than the one does."""
    rng = np.random.default_rng(4)
    apart, alike = rng.normal(size=(756, 12)), np.repeat(rng.normal(size=(756, 1)), 12, axis=1)
    scales = [
        feature_reference({"x": values}, mask, config=CONFIG, hysteresis=HYSTERESIS).family.scales_M[1]
        for values in (apart, alike, alike[:, :1])
        for mask in (np.ones(values.shape, dtype=bool),)
    ]
    assert scales[1] > 2.5 * scales[0]
    assert scales[1] == pytest.approx(scales[2], rel=0.02)


def test_a_memory_widens_what_chance_passes():
    quick, slow = of_features().family.scales_M[[3, 1]]  # both KS: of the fast feature, and of the slow one
    assert slow > 2 * quick


def test_the_same_seed_gives_the_same_limit_and_more_features_a_higher_one():
    learned = market()[LEARNED]
    few = {name: learned.features[name] for name in ("fast",)}
    again, other = (
        feature_reference(few, learned.mask, config=config, hysteresis=HYSTERESIS).family
        for config in (CONFIG, CONFIG.model_copy(update={"seed": 2}))
    )
    twice = feature_reference(few, learned.mask, config=CONFIG, hysteresis=HYSTERESIS).family
    assert twice.limit == again.limit != other.limit
    rng = np.random.default_rng(0)
    many = few | {f"x{number}": rng.normal(size=learned.mask.shape) for number in range(8)}
    assert feature_reference(many, learned.mask, config=CONFIG, hysteresis=HYSTERESIS).family.limit > again.limit


def test_a_short_reference_has_no_limit_and_a_short_life_no_value():
    short = market()[:200]
    reference = feature_reference(short.features, short.mask, config=CONFIG, hysteresis=HYSTERESIS)
    lived = market()[LIVED]
    drift = newest_features(reference, lived.features, lived.mask, config=CONFIG)
    assert np.isnan(drift.limit)
    assert np.isnan(drift.value)
    early = lived[:62]
    assert np.isnan(newest_features(of_features(), early.features, early.mask, config=CONFIG).value)
    assert not np.isnan(newest_features(of_features(), lived.features, lived.mask, config=CONFIG).value)


def test_a_constant_feature_drifts_on_either_side_and_only_when_it_moves():
    mask = np.ones((400, 12), dtype=bool)
    reference = feature_reference({"flag": np.ones((400, 12))}, mask, config=CONFIG, hysteresis=HYSTERESIS)
    for value, alarms in ((1.0, False), (1.1, True), (0.9, True)):
        drift = newest_features(reference, {"flag": np.full((63, 12), value)}, mask[:63], config=CONFIG)
        assert (drift.value > drift.limit) == alarms


# What is found


def test_a_quiet_window_names_nobody():
    lived = market()[LIVED]
    drift = newest_features(of_features(), lived.features, lived.mask, config=CONFIG)
    assert drift.value <= drift.limit
    assert (drift.window, drift.offenders) == ("63 sessions", ())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda values: values + 0.6, id="half a deviation more"),
        pytest.param(lambda values: 1.6 * values, id="wider"),
        pytest.param(
            lambda values: np.where(np.random.default_rng(1).random(values.shape) < 0.15, np.nan, values), id="missing"
        ),
        pytest.param(lambda values: np.full(values.shape, np.nan), id="gone"),
    ],
)
def test_a_change_of_one_feature_is_found_within_a_window_and_named(change):
    start = 756
    now = market()
    fast = now.features["fast"].copy()
    fast[start:] = change(fast[start:])
    features = now.features | {"fast": fast}

    def until(lived):
        rows = slice(start + lived - 63, start + lived)
        seen = {name: values[rows] for name, values in features.items()}
        return newest_features(of_features(), seen, now.mask[rows], config=CONFIG)

    sessions, drift = found_after(until, most=63)
    assert sessions is not None
    assert drift.offenders[0].startswith("fast ")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(lambda scores: 0.5 * scores, "score", id="closer together"),
        pytest.param(lambda scores: np.zeros(scores.shape), "spread log ratio inf", id="all equal"),
        pytest.param(
            lambda scores: np.random.default_rng(1).permuted(scores, axis=1),
            "rank autocorrelation",
            id="order forgotten",
        ),
        pytest.param(lambda scores: scores + 1.0, "score", id="all higher"),
    ],
)
def test_a_change_of_the_scores_is_found_within_a_window_and_named(change, named):
    scores = market().scores.copy()
    scores[756:] = change(scores[756:])
    sessions, _ = found_after(
        lambda lived: newest_scores(of_scores(), scores[756 + lived - 64 : 756 + lived], config=CONFIG), most=63
    )
    assert sessions is not None
    final = newest_scores(of_scores(), scores[756 - 1 : 756 + 63], config=CONFIG)
    assert final.offenders[0].startswith(named)
