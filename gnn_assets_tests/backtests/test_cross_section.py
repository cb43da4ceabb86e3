import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from gnn_assets.backtests.cross_section import (
    information_coefficients,
    rank_information_coefficients,
    realised_labels,
    standardise,
)
from gnn_assets.core.config import build_config
from gnn_assets.models.dataset import forward_sum

EXECUTION = build_config("test").execution
# Values on a coarse grid make ties common.
CELLS = st.one_of(st.integers(-20, 20).map(lambda value: value / 8), st.just(np.nan))


@pytest.mark.parametrize(("fill", "first"), [("close_same", 1), ("close_next", 2)])
def test_a_label_is_the_return_from_the_fill_over_the_horizon(fill, first):
    execution = EXECUTION.model_copy(update={"fill": fill, "horizon": 2})
    returns_TxN = np.array([[1.0], [2.0], [4.0], [8.0], [16.0]])
    labels = realised_labels(returns_TxN, execution=execution)[:, 0]
    known = 5 - execution.purge
    np.testing.assert_array_equal(
        labels[:known], [returns_TxN[d + first : d + first + 2, 0].sum() for d in range(known)]
    )
    assert np.isnan(labels[known:]).all()


def test_a_missing_return_makes_every_label_that_needs_it_unknown():
    returns_TxN = np.ones((9, 1))
    returns_TxN[4] = np.nan
    labels = realised_labels(returns_TxN, execution=EXECUTION.model_copy(update={"horizon": 2}))[:, 0]
    np.testing.assert_array_equal(np.isnan(labels), [False, True, True, False, False, False, True, True, True])


def test_too_short_a_history_has_no_labels():
    assert np.isnan(realised_labels(np.ones((3, 2)), execution=EXECUTION)).all()


@given(
    returns_TxN=hnp.arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 3)), elements=CELLS),
    horizon=st.integers(1, 6),
    fill=st.sampled_from(["close_same", "close_next", "open_next"]),
)
def test_models_and_backtests_mean_the_same_label(returns_TxN, horizon, fill):
    execution = EXECUTION.model_copy(update={"horizon": horizon, "fill": fill})
    np.testing.assert_array_equal(
        realised_labels(returns_TxN, execution=execution).astype(np.float32),
        forward_sum(returns_TxN, lag=execution.fill_lag, horizon=horizon),
    )


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(0, 8)), elements=CELLS))
def test_standardised_rows_have_mean_0_and_deviation_1_and_constants_are_0(values_TxN):
    for row_N, given_N in zip(standardise(values_TxN), values_TxN, strict=True):
        finite = np.isfinite(given_N)
        np.testing.assert_array_equal(np.isfinite(row_N), finite)
        if len(set(given_N[finite])) > 1:
            assert row_N[finite].mean() == pytest.approx(0, abs=1e-9)
            assert row_N[finite].std() == pytest.approx(1)
        else:
            assert not row_N[finite].any()


def test_equal_values_that_do_not_average_exactly_still_count_as_constant():
    assert not standardise(np.full((1, 7), 0.1)).any()


@given(
    scores_TxN=hnp.arrays(np.float64, (4, 9), elements=CELLS), labels_TxN=hnp.arrays(np.float64, (4, 9), elements=CELLS)
)
def test_both_coefficients_agree_with_scipy(scores_TxN, labels_TxN):
    ic_T = information_coefficients(scores_TxN, labels_TxN)
    rank_ic_T = rank_information_coefficients(scores_TxN, labels_TxN)
    for row, (scores_N, labels_N) in enumerate(zip(scores_TxN, labels_TxN, strict=True)):
        both = np.isfinite(scores_N) & np.isfinite(labels_N)
        x, y = scores_N[both], labels_N[both]
        if both.sum() < 3 or len(set(x)) == 1 or len(set(y)) == 1:
            assert np.isnan(ic_T[row])
            assert np.isnan(rank_ic_T[row])
        else:
            assert ic_T[row] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
            assert rank_ic_T[row] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
