"""Trailing windows against pandas' own."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.models.features import trailing
from gnn_assets_tests.lookahead import assert_no_lookahead
from gnn_assets_tests.simulation import weekdays

GAPPED = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 14), st.integers(1, 3)),
    elements=st.one_of(st.just(np.nan), st.floats(-100, 100, width=32)),
)
SHARED = {
    "sum": (trailing.trailing_sum, lambda rolling: rolling.sum()),
    "mean": (trailing.trailing_mean, lambda rolling: rolling.mean()),
    "deviation": (trailing.trailing_deviation, lambda rolling: rolling.std(ddof=0)),
}
EXTREME = {
    "highest": (trailing.trailing_highest, lambda rolling: rolling.max()),
    "lowest": (trailing.trailing_lowest, lambda rolling: rolling.min()),
}
RETURNS_TxN = np.random.default_rng(0).normal(scale=0.01, size=(40, 3))
EVERY = {
    "lag": lambda values: trailing.lagged(values, 2),
    **{name: lambda values, of=of: of(values, 7, min_share=0.5) for name, (of, _) in SHARED.items()},
    **{name: lambda values, of=of: of(values, 7) for name, (of, _) in EXTREME.items()},
}


@pytest.mark.parametrize("name", SHARED)
@given(values=GAPPED, window=st.integers(1, 17), share=st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_statistics_are_those_of_pandas_where_enough_is_there(name, values, window, share):
    ours, theirs = SHARED[name]
    rolling = pd.DataFrame(values).rolling(window, min_periods=math.ceil(share * window))
    # Of squares of numbers up to 100, half the digits are left of a deviation.
    atol = 1e-5 if name == "deviation" else 1e-9
    np.testing.assert_allclose(ours(values, window, min_share=share), theirs(rolling), atol=atol)


@pytest.mark.parametrize("name", EXTREME)
@given(values=GAPPED, window=st.integers(1, 17))
def test_extremes_are_those_of_pandas_whatever_is_there(name, values, window):
    ours, theirs = EXTREME[name]
    np.testing.assert_array_equal(ours(values, window), theirs(pd.DataFrame(values).rolling(window, min_periods=1)))


@given(values=GAPPED, back=st.integers(0, 17))
def test_a_lag_is_a_shift(values, back):
    np.testing.assert_array_equal(trailing.lagged(values, back), pd.DataFrame(values).shift(back))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("row", [3, 20])
def test_nothing_of_a_row_is_known_later_than_it(name, row):
    sessions = weekdays(len(RETURNS_TxN))
    assert_no_lookahead(
        lambda data: {"statistic": EVERY[name](data["returns"])},
        {"returns": RETURNS_TxN},
        at=sessions[row],
        sessions=sessions,
    )


@pytest.mark.parametrize("name", EVERY)
def test_the_bits_of_a_window_do_not_depend_on_what_lies_before_it(name):
    whole = EVERY[name](RETURNS_TxN)
    wild = RETURNS_TxN.copy()
    wild[:10] = 1e12
    for start, values in ((10, wild), (0, RETURNS_TxN[10:])):
        assert EVERY[name](values)[start + 7 :].tobytes() == whole[17:].tobytes()
    with pytest.raises(AssertionError):
        assert np.cumsum(wild, axis=0)[17:].tobytes() == np.cumsum(RETURNS_TxN, axis=0)[17:].tobytes()


def test_a_deviation_of_equal_values_is_no_number_below_zero():
    values = np.full((30, 2), 0.1)
    assert (trailing.trailing_deviation(values, 9, min_share=1.0)[8:] < 1e-8).all()
    assert np.isnan(trailing.trailing_deviation(values, 9, min_share=1.0)[:8]).all()
