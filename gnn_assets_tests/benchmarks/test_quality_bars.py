from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.bars import is_session, read_market
from gnn_assets.core.errors import DataError
from gnn_assets_tests.benchmarks.market import SESSIONS, SYMBOLS, bars_frame, closes, written

DAY, BEFORE = 40, 39


@pytest.fixture(scope="module")
def frame():
    return bars_frame(closes())


def market_of(frame, tmp_path):
    return read_market(written(frame, tmp_path / "bars.parquet"))


def changed(frame, row, symbol, **fields):
    """The frame with other values in one bar."""
    there = (pl.col("session") == SESSIONS[row]) & (pl.col("symbol") == symbol)
    return frame.with_columns(
        pl.when(there).then(pl.lit(value, pl.Float64)).otherwise(pl.col(name)).alias(name)
        for name, value in fields.items()
    )


def cell(frame, tmp_path, row=DAY, symbol=SYMBOLS[3]):
    """What features are made of in one bar, and its return."""
    bars = market_of(frame, tmp_path).bars(len(SESSIONS))
    column = bars.symbols.index(symbol)
    values = {name: values_TxN[row, column] for name, values_TxN in bars.values.items()}
    return values | {"return": bars.close_return_TxN[row, column]}


def absent(values):
    return {name for name, value in values.items() if np.isnan(value)}


def test_every_bar_stands_at_its_session_and_symbol(frame, tmp_path):
    closes_TxN = closes()
    market = market_of(frame.sample(fraction=1.0, shuffle=True, seed=1), tmp_path)
    assert market.sessions == SESSIONS
    assert market.symbols == SYMBOLS
    np.testing.assert_array_equal(market.found["close"], closes_TxN)
    bars = market.bars(len(SESSIONS))
    np.testing.assert_allclose(bars.close_return_TxN[1:], np.log(closes_TxN[1:] / closes_TxN[:-1]), atol=1e-12)
    assert np.isnan(bars.close_return_TxN[0]).all()


def test_decimals_and_text_dates_are_read_as_floats_and_dates_are(frame, tmp_path):
    rounded = frame.with_columns(pl.col("open", "high", "low", "close").round(4))
    decimal = rounded.with_columns(
        pl.col("open", "high", "low", "close").cast(pl.Decimal(9, 4)),
        pl.col("volume").cast(pl.Int64),
        pl.col("symbol").cast(pl.Categorical),
        pl.col("session").cast(pl.String),
        pl.lit("USD").alias("currency"),
    )
    one, other = (market_of(each, tmp_path) for each in (rounded, decimal))
    assert (one.sessions, one.symbols) == (other.sessions, other.symbols)
    assert one.found.keys() == other.found.keys()
    for name, values_TxN in one.found.items():
        np.testing.assert_array_equal(values_TxN, other.found[name])


@pytest.mark.parametrize("nothing", [None, float("nan"), 0.0])
def test_a_file_may_have_closes_only(frame, tmp_path, nothing):
    alone = frame.select("symbol", "session", "close", pl.lit(nothing, pl.Float64).alias("open"))
    market = market_of(alone, tmp_path)
    assert set(market.found) == {"close"}
    assert market.bars(len(SESSIONS)).fields == {"close"}


def test_dates_with_few_bars_are_no_sessions(frame, tmp_path):
    saturday = SESSIONS[50] + timedelta(days=(5 - SESSIONS[50].weekday()) % 7)
    stray = frame.filter(pl.col("session") == SESSIONS[50]).head(14).with_columns(session=pl.lit(saturday))
    market = market_of(pl.concat([frame, stray]), tmp_path)
    assert market.sessions == SESSIONS
    assert market.dropped == {"on dates with too few symbols": 14}


def test_a_date_is_a_session_from_half_of_the_usual_bars_on():
    counts_D = np.array([*[100] * 25, 50, 49, 100])
    assert np.flatnonzero(~is_session(counts_D)).tolist() == [26]


def test_a_market_that_shrinks_for_good_has_sessions_again_after_two_weeks():
    found_D = is_session(np.array([*[100] * 30, *[40] * 30]))
    assert found_D[:30].all()
    assert not found_D[30:40].any()
    assert found_D[40:].all()


@given(st.lists(st.integers(1, 50), min_size=25, max_size=60), st.lists(st.integers(1, 5000), max_size=20))
def test_later_dates_change_no_earlier_session(counts, later):
    changed = np.array([*counts, *later])
    np.testing.assert_array_equal(is_session(np.array(counts)), is_session(changed)[: len(counts)])


def test_a_bar_with_zeros_for_prices_keeps_its_close(frame, tmp_path):
    values = cell(changed(frame, DAY, SYMBOLS[3], open=0.0, high=0.0, low=-1.0), tmp_path)
    assert absent(values) == {"open", "high", "low"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"high": 20.0, "low": 21.0},
        {"high": 20.4},
        {"low": 20.6},
        {"open": 22.0},
        {"open": 19.0},
        {"open": 0, "low": 20.6},
    ],
    ids=str,
)
def test_a_range_that_does_not_hold_open_and_close_is_absent(frame, tmp_path, wrong):
    bar = {"open": 20.5, "high": 21.0, "low": 20.0, "close": 20.5}
    right = cell(changed(frame, DAY, SYMBOLS[3], **bar), tmp_path)
    assert {"high", "low"}.isdisjoint(absent(right))
    values = cell(changed(frame, DAY, SYMBOLS[3], **bar | wrong), tmp_path)
    assert {"high", "low"} <= absent(values)
    assert values["close"] == 20.5


def test_rounding_of_adjusted_prices_spoils_no_range(frame, tmp_path):
    bar = {"open": 20.5, "high": 21.0, "low": 20.5 * (1 + 1e-9), "close": 21.0 * (1 + 1e-9)}
    assert "high" not in absent(cell(changed(frame, DAY, SYMBOLS[3], **bar), tmp_path))


@pytest.mark.parametrize("volume", [0.0, 1e5])
def test_a_bar_repeated_from_the_session_before_keeps_only_its_close(frame, tmp_path, volume):
    bar = {"open": 20.5, "high": 21.0, "low": 20.0, "close": 20.5}
    before = changed(frame, BEFORE, SYMBOLS[3], **bar, volume=1e5)
    values = cell(changed(before, DAY, SYMBOLS[3], **bar, volume=volume), tmp_path)
    assert absent(values) - {"volume"} == {"open", "high", "low"}
    # No trade is known; how much a copy traded is not.
    assert values["volume"] == 0 if volume == 0 else np.isnan(values["volume"])
    assert values["return"] == 0


def test_the_same_close_with_a_day_of_its_own_is_no_repetition(frame, tmp_path):
    bar = {"open": 20.5, "high": 21.0, "low": 20.0, "close": 20.5}
    before = changed(frame, BEFORE, SYMBOLS[3], **bar, volume=1e5)
    assert absent(cell(changed(before, DAY, SYMBOLS[3], **bar, volume=1e5 + 1), tmp_path)) == set()


def test_no_return_reaches_across_a_missing_session(frame, tmp_path):
    gap = frame.filter((pl.col("symbol") != SYMBOLS[3]) | (pl.col("session") != SESSIONS[BEFORE]))
    assert np.isnan(cell(gap, tmp_path, row=BEFORE)["close"])
    assert absent(cell(gap, tmp_path)) == {"return"}


@pytest.mark.parametrize(("factor", "kept"), [(2.9, True), (1 / 2.9, True), (3.1, False), (1 / 3.1, False)])
def test_features_do_not_see_a_jump_beyond_a_factor_of_three(frame, tmp_path, factor, kept):
    before = changed(frame, BEFORE, SYMBOLS[3], close=20.0)
    jump = changed(before, DAY, SYMBOLS[3], open=20 * factor, high=20 * factor, low=20 * factor, close=20 * factor)
    assert absent(cell(jump, tmp_path)) == (set() if kept else {"return"})
    assert market_of(jump, tmp_path).found["close"][DAY, 3] == 20 * factor


def test_prices_further_from_the_close_than_a_factor_of_three_are_absent(frame, tmp_path):
    bar = {"open": 2.05, "high": 210.0, "low": 0.21, "close": 20.5}
    assert absent(cell(changed(frame, DAY, SYMBOLS[3], **bar), tmp_path)) == {"open", "high", "low"}


def test_what_cannot_be_used_is_dropped_and_counted(frame, tmp_path):
    copy = frame.filter(pl.col("session") == SESSIONS[3])
    other = frame.filter(pl.col("session") == SESSIONS[9]).head(2).with_columns(pl.col("close") + 1)
    closeless = changed(frame, DAY, SYMBOLS[3], close=None)
    closeless = changed(changed(closeless, DAY, SYMBOLS[4], close=-1.0), DAY, SYMBOLS[5], close=float("nan"))
    nameless = copy.head(1).with_columns(symbol=pl.lit(None, pl.String))
    market = market_of(pl.concat([closeless, copy, other, nameless]), tmp_path)
    assert market.dropped == {
        "without symbol or session": 1,
        "without a close above 0": 3,
        "given twice, word for word": len(SYMBOLS),
        "contradicting another of the same symbol and session": 4,
    }
    assert np.isnan(market.found["close"][DAY, 3:6]).all()
    assert np.isnan(market.found["close"][9, :2]).all()
    assert np.isfinite(market.found["close"]).sum() == len(SESSIONS) * len(SYMBOLS) - 5


def test_bars_up_to_a_session_hold_nothing_of_later_ones(frame, tmp_path):
    later = pl.col("session") >= SESSIONS[DAY]
    newcomer = frame.filter(later, pl.col("symbol") == "S00").with_columns(symbol=pl.lit("A new one"))
    wild = frame.with_columns(close=pl.when(later).then(pl.col("close") * 2).otherwise(pl.col("close")))
    wild = pl.concat([wild.filter(~later | (pl.col("symbol") != "S07")), newcomer])
    one, other = (market_of(each, tmp_path).bars(DAY) for each in (frame, wild))
    assert (one.sessions, one.symbols) == (other.sessions, other.symbols)
    assert one.sessions[-1] == SESSIONS[DAY - 1]
    assert one.close_return_TxN.tobytes() == other.close_return_TxN.tobytes()
    assert {name: values.tobytes() for name, values in one.values.items()} == {
        name: values.tobytes() for name, values in other.values.items()
    }


def test_a_file_that_is_of_no_use_is_refused_with_a_sentence(frame, tmp_path):
    path = tmp_path / "bars.parquet"
    with pytest.raises(DataError, match="expected a Parquet file of bars, was no file"):
        read_market(path)
    path.write_text("symbol,session,close")
    with pytest.raises(DataError, match="was not readable as one"):
        read_market(path)
    with pytest.raises(DataError, match=r"was no session and no close \(but symbol, open"):
        market_of(frame.drop("session", "close"), tmp_path)
    with pytest.raises(DataError, match=r"close String.*cast the columns"):
        market_of(frame.with_columns(close=pl.lit("dear")), tmp_path)
    with pytest.raises(DataError, match="expected bars with a close above 0, was none"):
        market_of(frame.with_columns(close=pl.lit(0.0)), tmp_path)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", None])
def test_a_moment_counts_on_the_date_of_its_own_time_zone(frame, tmp_path, zone):
    midnight = frame.with_columns(pl.col("session").cast(pl.Datetime("us")).dt.replace_time_zone(zone))
    assert market_of(midnight, tmp_path).sessions == SESSIONS


def test_sessions_as_numbers_are_refused(frame, tmp_path):
    numbers = frame.with_columns(pl.col("session").dt.strftime("%Y%m%d").cast(pl.Int64))
    with pytest.raises(DataError, match="sessions as dates"):
        market_of(numbers, tmp_path)
