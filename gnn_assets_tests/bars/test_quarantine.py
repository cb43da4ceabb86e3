from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.quarantine import split
from gnn_assets.bars.schema import QUARANTINE
from gnn_assets_tests.bars.market import bars, calendar, config, record, sessions, stored_bars

DAYS = sessions(6)


def divide(frame, **changed):
    return split(frame, config=config().bars.model_copy(update=changed), calendar=calendar())


def broken_rules(frame, **changed):
    _, refused = divide(frame, **changed)
    return refused.select("symbol", "session", "rule").rows()


def test_clean_bars_all_pass_and_keep_their_values():
    frame = bars({"A": [10.0, 11.0, 10.5], "B": [1.0, 1.1, 1.2]}, volume=0.0)
    good, refused = divide(frame)
    assert good.equals(frame)
    assert refused.is_empty()
    assert refused.schema == QUARANTINE.empty().schema


@pytest.mark.parametrize(
    ("closes", "rule"),
    [
        ([10.0, float("nan"), 10.0], "not_finite"),
        ([10.0, float("inf"), 10.0], "not_finite"),
        ([10.0, float("-inf"), 10.0], "not_finite"),
        ([10.0, 0.0, 10.0], "close_not_positive"),
        ([10.0, -1.0, 10.0], "close_not_positive"),
        ([10.0, None, 10.0], "close_missing"),
    ],
)
def test_an_impossible_close_is_refused_alone_and_the_row_is_kept_as_it_came(closes, rule):
    good, refused = divide(bars({"A": closes}))
    assert good["session"].to_list() == [DAYS[0], DAYS[2]]
    assert refused.select("session", "rule", "source").rows() == [(DAYS[1], rule, "sample")]
    assert repr(refused["close"].item()) == repr(closes[1])


@pytest.mark.parametrize("column", ["open", "high", "low", "volume"])
def test_any_other_value_that_is_not_finite_is_refused_too(column):
    assert broken_rules(bars({"A": [10.0]}).with_columns(pl.lit(float("inf")).alias(column))) == [
        ("A", DAYS[0], "not_finite")
    ]


def test_a_date_that_is_no_session_is_refused():
    holiday = date(2022, 1, 17)
    assert broken_rules(bars({"A": [10.0]}, dates=[holiday])) == [("A", holiday, "not_a_session")]


def test_of_equal_copies_one_is_kept_and_every_other_has_a_row_of_its_own():
    frame = pl.concat([bars({"A": [10.0]})] * 3)
    good, refused = divide(frame)
    assert good.height == 1
    assert refused["rule"].to_list() == ["duplicate_key", "duplicate_key_2"]
    assert refused.select(QUARANTINE.key).is_unique().all()


def test_of_differing_copies_none_is_kept():
    good, refused = divide(pl.concat([bars({"A": [10.0, 11.0]}), bars({"A": [10.1]})]))
    assert good["session"].to_list() == [DAYS[1]]
    assert sorted(refused["close"]) == [10.0, 10.1]


def test_a_jump_is_judged_against_the_previous_close_of_the_same_symbol_exactly_at_the_limit():
    limit = config().bars.max_abs_log_return
    at_limit = [1.0, 2.718281828459045, 1.0]
    assert broken_rules(bars({"A": at_limit}), max_abs_log_return=limit) == []
    assert broken_rules(bars({"A": [1.0, 2.72], "B": [1000.0, 1001.0]})) == [("A", DAYS[1], "jump")]
    assert broken_rules(bars({"A": [1.0, 0.3]})) == [("A", DAYS[1], "jump")]


def test_a_refused_row_is_no_reference_for_a_jump():
    assert broken_rules(bars({"A": [10.0, -1.0, 10.0]})) == [("A", DAYS[1], "close_not_positive")]


closes = st.one_of(st.none(), st.sampled_from([0.0, -5.0, float("nan"), float("inf"), 1.0, 9.0, 100.0]))
rows = st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 8), closes), max_size=25)
# The first of these dates are sessions, the others a weekend and a holiday.
DATES = [*DAYS, date(2022, 1, 8), date(2022, 1, 9), date(2022, 1, 17)]


@settings(deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_every_row_is_either_good_or_kept_with_its_rule_whatever_the_order(given_rows, random):
    frame = pl.concat([bars({}), *(bars({symbol: [close]}, dates=[DATES[day]]) for symbol, day, close in given_rows)])
    good, refused = divide(frame)
    assert good.height + refused.height == frame.height
    assert refused.select(QUARANTINE.key).is_unique().all()
    assert (good["close"] > 0).all()
    assert good["close"].is_finite().all()
    order = list(range(frame.height))
    random.shuffle(order)
    again_good, again_refused = divide(frame[order])
    assert again_good.equals(good)
    assert again_refused.select(QUARANTINE.key).equals(refused.select(QUARANTINE.key))
    # What quarantine passes, the history takes.
    assert record(stored_bars({}), good).height == good.height
