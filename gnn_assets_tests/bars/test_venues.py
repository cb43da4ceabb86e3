from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.venues import counted_at, exchange_of, with_moments
from gnn_assets.core.errors import ConfigError
from gnn_assets_tests.bars.market import calendar, exchanges, universe

CODES = ["XNYS", "XLON", "XTKS"]


def rows_of(*pairs):
    return pl.DataFrame(pairs, schema={"symbol": pl.String, "session": pl.Date}, orient="row")


def test_each_symbol_has_the_exchange_that_the_universe_gives_it():
    assert exchange_of(universe({"A": "XNYS", "B": "XTKS"})) == {"A": "XNYS", "B": "XTKS"}


@pytest.mark.parametrize(
    ("code", "available"),
    [
        ("XTKS", datetime(2022, 3, 14, 6, 30, tzinfo=UTC)),
        ("XLON", datetime(2022, 3, 14, 17, 0, tzinfo=UTC)),
        ("XNYS", datetime(2022, 3, 14, 20, 30, tzinfo=UTC)),  # one hour earlier than the Friday before: summer time
    ],
)
def test_a_session_is_known_after_its_own_exchange_closes(code, available):
    rows = with_moments(rows_of(("A", date(2022, 3, 14))), exchanges=exchanges(), exchange_of={"A": code})
    assert rows["available_at"].to_list() == [available]


def test_a_date_is_a_session_only_where_the_symbol_trades():
    holiday = date(2022, 1, 17)
    venues = {"N": "XNYS", "L": "XLON", "T": "XTKS"}
    rows = with_moments(
        rows_of(("L", holiday), ("N", holiday), ("T", holiday), ("N", date(2022, 1, 15))),
        exchanges=exchanges(),
        exchange_of=venues,
    )
    assert rows["symbol"].to_list() == ["L", "N", "T", "N"]  # order is kept
    assert rows["position"].is_null().to_list() == [False, True, False, True]
    assert rows["available_at"].is_null().to_list() == [False, True, False, True]
    assert rows["position"][0] == calendar("XLON").position(holiday)


def test_the_next_close_is_that_of_the_session_after():
    rows = with_moments(rows_of(("N", date(2022, 1, 14))), exchanges=exchanges(), exchange_of={"N": "XNYS"})
    assert rows["next_close"].to_list() == [calendar().close_at(date(2022, 1, 18))]


def test_a_symbol_of_no_known_exchange_trades_on_the_primary_one():
    rows = with_moments(rows_of(("X", date(2022, 1, 14))), exchanges=exchanges("XLON"), exchange_of={})
    assert rows["available_at"].to_list() == [calendar("XLON").available_at(date(2022, 1, 14))]


def test_an_exchange_that_is_not_configured_is_refused():
    with pytest.raises(ConfigError, match=r"exchange: expected one of XNYS, XLON, XTKS, was 'XPAR'; add it to cal"):
        with_moments(rows_of(("A", date(2022, 1, 14))), exchanges=exchanges(), exchange_of={"A": "XPAR"})


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("primary", CODES)
def test_a_session_counts_at_the_first_primary_one_that_is_known_no_earlier(code, primary):
    own, axis = calendar(code), calendar(primary)
    expected = []
    for session in own.sessions:
        later = [day for day in axis.sessions if axis.available_at(day) >= own.available_at(session)]
        expected += [(session, later[0])] if later else []
    assert counted_at(own, axis).rows() == expected


def test_an_exchange_counts_on_itself_session_by_session():
    same = counted_at(calendar(), calendar())
    assert (same["session"] == same["counts_at"]).all()
    assert same.height == len(calendar().sessions)


@settings(deadline=None)
@given(st.dates(date(2021, 12, 1), date(2022, 12, 31)), st.sampled_from(CODES))
def test_a_date_has_moments_exactly_where_it_is_a_session(day, code):
    row = with_moments(rows_of(("A", day)), exchanges=exchanges(), exchange_of={"A": code}).row(0, named=True)
    assert (row["position"] is not None) == (day in calendar(code).sessions)
    if row["position"] is not None:
        assert row["available_at"] == calendar(code).available_at(day)
        assert row["available_at"].date() == day  # none of these three closes after midnight UTC
