import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.returns import log_returns
from gnn_assets.bars.schema import RETURNS
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.bars.market import bars, sessions
from gnn_assets_tests.lookahead import assert_no_lookahead

DAYS = sessions(6)


def returns_of(frame, fill="close_next", symbols=("A", "B")):
    return log_returns(frame, sessions=DAYS, symbols=symbols, fill=fill)


def test_returns_are_log_differences_of_adjacent_closes():
    frame = returns_of(bars({"A": [10.0, 11.0, 9.0, 9.0, 9.0, 18.0]}))
    assert frame.schema == RETURNS.empty().schema
    assert frame["session"].to_list() == list(DAYS[1:])
    assert frame["close_return"].to_list() == pytest.approx(
        [math.log(1.1), math.log(9 / 11), 0.0, 0.0, math.log(2)], abs=1e-15
    )
    assert frame["fill_return"].equals(frame["close_return"], check_names=False)


def test_a_gap_gives_no_return_into_it_or_across_it():
    frame = returns_of(bars({"A": [10.0, None, 12.0, 13.0, 14.0, 15.0]}))
    assert frame["session"].to_list() == list(DAYS[3:])


def test_open_fills_run_from_open_to_open_while_closes_stay_close_to_close():
    closes = bars({"A": [10.0, 20.0, 40.0, 40.0, 40.0, 40.0]})
    opens = closes.with_columns(open=pl.Series([1.0, 3.0, 0.0, 5.0, 10.0, None], dtype=pl.Float64))
    frame = returns_of(opens, fill="open_next")
    assert frame["close_return"].to_list()[:2] == pytest.approx([math.log(2)] * 2)
    filled = frame["fill_return"].to_list()
    assert filled[0] == pytest.approx(math.log(3))
    # An open of zero is no price: neither into it nor out of it is there a return.
    assert filled[1:3] == [None, None]
    assert filled[3] == pytest.approx(math.log(2))
    assert filled[4] is None


def test_a_row_stays_when_only_the_fill_return_is_known():
    frame = bars({"A": [10.0, None, 10.0, 10.0, 10.0, 10.0]}, open=2.0)
    first = returns_of(frame, fill="open_next").row(0, named=True)
    assert (first["session"], first["close_return"], first["fill_return"]) == (DAYS[1], None, 0.0)


def test_symbols_not_asked_for_are_left_out_and_symbols_without_bars_have_no_row():
    frame = returns_of(bars({"A": [1.0] * 6, "C": [1.0] * 6}), symbols=("A", "B"))
    assert frame["symbol"].unique().to_list() == ["A"]


prices = st.lists(st.one_of(st.none(), st.floats(0.01, 1e6)), min_size=6, max_size=6)


@settings(deadline=None)
@given(prices, prices)
def test_returns_between_gaps_add_up_to_the_whole_move(first, second):
    panel = to_panel(returns_of(bars({"A": first, "B": second})), "close_return", sessions=DAYS, symbols=["A", "B"])
    for column, series in enumerate((first, second)):
        known = np.array([np.nan if price is None else price for price in series])
        expected = np.diff(np.log(known))
        np.testing.assert_allclose(panel[1:, column], expected, rtol=0, atol=1e-12)
        assert np.isnan(panel[0, column])


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("fill", ["open_next", "close_next"])
def test_returns_see_nothing_later(at, fill):
    rng = np.random.default_rng(1)
    frame = bars({"A": rng.lognormal(size=6), "B": rng.lognormal(size=6)}, open=3.0)
    assert_no_lookahead(
        lambda data: {"returns": returns_of(data["bars"], fill)}, {"bars": frame}, at=DAYS[at], sessions=DAYS
    )
