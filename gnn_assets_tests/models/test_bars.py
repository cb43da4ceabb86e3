from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.core.errors import DataError
from gnn_assets.models.bars import Bars
from gnn_assets_tests.models.candles import FIELDS, candles, with_fields
from gnn_assets_tests.simulation import weekdays

BARS = candles(n_sessions=30)
PRICES = ("open", "high", "low", "close")


def one(**values):
    """One bar of one symbol."""
    return beside(values)


def beside(*symbols):
    """One session: the bar of each symbol."""
    panels = {name: np.array([[values[name] for values in symbols]]) for name in symbols[0]}
    return Bars(weekdays(1), tuple(f"S{at}" for at in range(len(symbols))), np.full((1, len(symbols)), np.nan), panels)


def test_a_session_s_return_is_made_over_night_and_inside_it():
    close = pd.DataFrame(BARS.values["close"])
    np.testing.assert_allclose(BARS.overnight_TxN[1:], np.log(BARS.values["open"] / close.shift(1))[1:], atol=1e-12)
    np.testing.assert_allclose(BARS.overnight_TxN + BARS.intraday_TxN, BARS.close_return_TxN, atol=1e-15)


def test_the_range_and_the_place_in_it_are_those_of_the_bar():
    high, low, close = (BARS.values[name] for name in ("high", "low", "close"))
    np.testing.assert_allclose(BARS.range_TxN, np.log(high) - np.log(low), atol=1e-12)
    np.testing.assert_allclose(low + (BARS.close_location_TxN + 1) / 2 * (high - low), close, rtol=1e-12)
    np.testing.assert_array_equal(BARS.value_TxN, close * BARS.values["volume"])


@pytest.mark.parametrize(("close", "place"), [(2.0, -1.0), (4.0, 1.0), (3.0, 0.0), (1.0, -1.0), (9.0, 1.0)])
def test_a_close_lies_between_low_and_high_and_outside_them_at_the_nearer(close, place):
    assert one(high=4.0, low=2.0, close=close).close_location_TxN.item() == place


def test_a_flat_bar_has_no_range_and_its_close_in_the_middle():
    flat = one(high=2.0, low=2.0, close=2.0)
    assert (flat.range_TxN.item(), flat.close_location_TxN.item()) == (0.0, 0.0)


def test_a_high_below_the_low_has_neither_range_nor_place():
    wrong = one(high=2.0, low=3.0, close=2.5)
    assert np.isnan([wrong.range_TxN.item(), wrong.close_location_TxN.item()]).all()


@pytest.mark.parametrize("price", [np.nan, 0.0, -1.0])
@pytest.mark.parametrize("name", PRICES)
def test_what_is_no_price_makes_nothing(name, price):
    good = dict.fromkeys(PRICES, 2.0)
    bars = beside(good, {**good, name: price})
    made = bars.range_TxN if name in {"high", "low"} else bars.intraday_TxN
    np.testing.assert_array_equal(made, [[0.0, np.nan]])


@given(row=st.integers(1, 29), factor=st.sampled_from([0.5, 4.0, 0.125]))
def test_a_split_changes_no_bit_of_what_is_made_of_bars(row, factor):
    part = np.where(np.arange(30) >= row, factor, 1.0)[:, None]
    split = replace(
        BARS,
        values={name: values / part if name == "volume" else values * part for name, values in BARS.values.items()},
    )
    for name in ("intraday_TxN", "overnight_TxN", "range_TxN", "close_location_TxN", "value_TxN"):
        assert getattr(split, name).tobytes() == getattr(BARS, name).tobytes(), name


def test_a_field_counts_where_it_has_any_value():
    assert BARS.fields == frozenset(FIELDS)
    blank = {**BARS.values, "volume": np.full_like(BARS.values["volume"], np.nan)}
    assert replace(BARS, values=blank).fields == frozenset(PRICES)
    assert with_fields(BARS).fields == frozenset()
    with pytest.raises(KeyError, match="open"):
        _ = with_fields(BARS, "close").intraday_TxN


def test_values_are_those_a_stored_panel_holds_and_returns_are_left_alone():
    axes = {"sessions": BARS.sessions, "symbols": BARS.symbols}
    made = Bars.of(BARS.close_return_TxN, BARS.values, **axes)
    for name, values in BARS.values.items():
        assert made.values[name].dtype == np.float64
        np.testing.assert_array_equal(made.values[name], values.astype(np.float32))
    again = Bars.of(BARS.close_return_TxN, made.values, **axes)
    assert again.values["close"].tobytes() == made.values["close"].tobytes()
    assert made.close_return_TxN is BARS.close_return_TxN


def test_an_infinite_return_is_refused_by_name():
    returns = BARS.close_return_TxN.copy()
    returns[7, 3] = -np.inf
    with pytest.raises(DataError, match=f"returns.close_return: .* S3 on {BARS.sessions[7]}"):
        replace(BARS, close_return_TxN=returns)
