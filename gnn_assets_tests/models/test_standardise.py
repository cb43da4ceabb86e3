"""Scores across the symbols of one session, against scipy's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import median_abs_deviation, norm, rankdata

from gnn_assets.models.features.standardise import rank_scores, robust_scores, standardise

VALUES = hnp.arrays(np.float64, (4, 6), elements=st.floats(-1e6, 1e6, width=32))
# Ties and gaps come up often.
GAPPED = hnp.arrays(np.float64, (4, 6), elements=st.sampled_from([-2.0, -0.0, 0.0, 0.5, 3.0, 1e6, np.nan, np.inf]))
MASKS = hnp.arrays(np.bool_, (4, 6))
every_scaling = pytest.mark.parametrize("scaling", [rank_scores, robust_scores])


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


@given(values=st.one_of(VALUES, GAPPED), mask=MASKS)
def test_rank_scores_are_normal_quantiles_of_midranks(values, mask):
    there = mask & np.isfinite(values)
    scores = rank_scores(values, mask)
    assert not scores[~there].any()
    for row, values_N, there_N in zip(scores, values, there, strict=True):
        if there_N.any():
            expected = norm.ppf((rankdata(values_N[there_N]) - 0.5) / there_N.sum())
            np.testing.assert_allclose(row[there_N], expected, atol=1e-12)


@given(values=st.one_of(VALUES, GAPPED), mask=MASKS)
def test_robust_scores_are_distances_to_the_median_over_the_median_deviation(values, mask):
    there = mask & np.isfinite(values)
    scores = robust_scores(values, mask)
    assert not scores[~there].any()
    for row, values_N, there_N in zip(scores, values, there, strict=True):
        spread = median_abs_deviation(values_N[there_N], scale="normal") if there_N.any() else 0.0
        if spread > 0:
            expected = (values_N[there_N] - np.median(values_N[there_N])) / spread
            np.testing.assert_allclose(row[there_N], expected, rtol=1e-12)
        else:
            assert not row.any()


@every_scaling
@given(values=GAPPED, mask=MASKS, other=GAPPED)
def test_a_session_is_set_against_itself_alone(scaling, values, mask, other):
    alone = np.concatenate([values[:1], other[1:]])
    assert scaling(alone, mask)[0].tobytes() == scaling(values, mask)[0].tobytes()
    assert scaling(values[:1], mask[:1])[0].tobytes() == scaling(values, mask)[0].tobytes()


@every_scaling
@given(values=VALUES, mask=MASKS, order=st.permutations(range(6)))
def test_scores_move_with_their_symbols(scaling, values, mask, order):
    np.testing.assert_array_equal(scaling(values[:, order], mask[:, order]), scaling(values, mask)[:, order])


@every_scaling
@given(values=VALUES, mask=MASKS)
def test_neither_scale_nor_level_matters_to_the_order(scaling, values, mask):
    scores = scaling(values, mask)
    for row, values_N, mask_N in zip(scores, values, mask, strict=True):
        if row.any():
            order = np.argsort(values_N[mask_N], kind="stable")
            assert (np.diff(row[mask_N][order]) >= 0).all()


def test_rank_scores_do_not_care_how_far_the_last_one_is():
    values = np.arange(9.0)[None]
    far = values.copy()
    far[0, -1] = 1e300
    mask = np.ones((1, 9), dtype=bool)
    np.testing.assert_array_equal(rank_scores(far, mask), rank_scores(values, mask))
