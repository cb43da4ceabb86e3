import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.models.features import (
    feature_names,
    node_features,
    standardise,
    trailing_range,
    trailing_sum,
    trailing_volatility,
)
from gnn_assets_tests.lookahead import assert_no_lookahead
from gnn_assets_tests.models.synthetic import CONFIG
from gnn_assets_tests.simulation import weekdays

FEATURES = CONFIG.models.features
RETURNS_TxN = np.random.default_rng(0).normal(scale=0.01, size=(60, 7))


@pytest.mark.parametrize("window", [1, 2, 9])
def test_trailing_sum_and_volatility_are_pandas_rolling_ones(window):
    frame = pd.DataFrame(RETURNS_TxN)
    np.testing.assert_allclose(trailing_sum(RETURNS_TxN, window), frame.rolling(window).sum(), atol=1e-14)
    np.testing.assert_allclose(trailing_volatility(RETURNS_TxN, window), frame.rolling(window).std(ddof=0), atol=1e-14)


def test_trailing_range_is_the_distance_to_the_highest_and_lowest_of_the_spanned_closes():
    log_price = pd.DataFrame(RETURNS_TxN).cumsum()
    below, above = trailing_range(RETURNS_TxN, 6)
    np.testing.assert_allclose(below[6:], (log_price.rolling(7).max() - log_price)[6:], atol=1e-14)
    np.testing.assert_allclose(above[6:], (log_price - log_price.rolling(7).min())[6:], atol=1e-14)


def test_features_have_their_declared_names_shape_and_type():
    features, mask = node_features(RETURNS_TxN, FEATURES)
    assert feature_names(FEATURES) == ("return_1", "return_5", "volatility_5", "below_high_5", "above_low_5")
    assert features.shape == (60, 7, 5)
    assert features.dtype == np.float32
    assert not mask[: FEATURES.lookback - 1].any()
    assert mask[FEATURES.lookback - 1 :].all()


def test_a_gap_masks_its_symbol_until_it_has_left_the_longest_window():
    gapped = RETURNS_TxN.copy()
    gapped[20, 3] = np.nan
    features, mask = node_features(gapped, FEATURES)
    assert np.flatnonzero(~mask[10:, 3]).tolist() == list(range(10, 10 + FEATURES.lookback))
    assert not features[~mask].any()
    assert np.isfinite(features).all()


def test_features_of_a_session_average_to_zero_over_its_symbols():
    features, mask = node_features(RETURNS_TxN, FEATURES)
    assert np.abs(features[mask.all(axis=1)].mean(axis=1)).max() < 1e-6


def test_an_extreme_value_is_cut_at_the_clip():
    wild = np.random.default_rng(0).normal(size=(20, 60))
    wild[10, 0] = 1e6
    features, _ = node_features(wild, FEATURES)
    assert features.max() == FEATURES.clip


def test_features_know_nothing_of_later_sessions():
    sessions = weekdays(60)

    def compute(data):
        features, mask = node_features(data["returns"].astype(np.float64), FEATURES)
        return {"features": features, "mask": mask}

    assert_no_lookahead(compute, {"returns": RETURNS_TxN}, at=sessions[33], sessions=sessions)


def test_a_planted_leak_is_found():
    sessions = weekdays(60)

    def centred(data):
        known = np.nan_to_num(data["returns"])
        return {"features": known / np.abs(known).max(axis=0)}

    with pytest.raises(AssertionError, match="look-ahead: features"):
        assert_no_lookahead(centred, {"returns": RETURNS_TxN}, at=sessions[33], sessions=sessions)


VALUES = hnp.arrays(np.float64, (4, 6), elements=st.floats(-1e6, 1e6, width=32))
MASKS = hnp.arrays(np.bool_, (4, 6))


@given(values=VALUES, mask=MASKS)
def test_standardised_rows_have_mean_zero_and_deviation_one_or_are_zero(values, mask):
    result = standardise(values, mask)
    assert not result[~mask].any()
    for row, inside in zip(result, mask, strict=True):
        if row.any():
            assert abs(row[inside].mean()) < 1e-9
            assert row[inside].std() == pytest.approx(1.0)


@given(values=VALUES, mask=MASKS, value=st.floats(-1e6, 1e6))
def test_what_is_masked_out_does_not_count(values, mask, value):
    np.testing.assert_array_equal(standardise(values, mask), standardise(np.where(mask, values, value), mask))


def test_equal_values_are_zero_not_amplified_rounding():
    assert not standardise(np.full((1, 7), 0.1), np.ones((1, 7), dtype=bool)).any()
