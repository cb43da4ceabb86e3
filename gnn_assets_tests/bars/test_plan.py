from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.plan import merge_asked, needs
from gnn_assets.bars.schema import BARS_ASKED
from gnn_assets.core.errors import UniverseError
from gnn_assets_tests.bars.market import LATER, calendar, exchanges, universe

NOW = datetime(2022, 3, 1, 2, tzinfo=UTC)  # New York's last complete session is Monday, 28 February
FIRST, LAST = date(2022, 1, 3), date(2022, 2, 28)
AXIS = calendar().between(FIRST, LAST)
OVERLAP = 10
ONE = {"A": "XNYS"}


def asked(*rows):
    frame = pl.DataFrame([(*row, LATER) for row in rows], schema=dict(BARS_ASKED.columns), orient="row")
    return BARS_ASKED.conform(frame)


def planned(
    known=(), *, members=None, sources=("one",), first=FIRST, last=None, now=NOW, symbols=None, refetch=(), landed=()
):
    found = needs(
        universe(ONE) if members is None else members,
        asked(*known),
        landed=asked(*landed),
        sources=sources,
        exchanges=exchanges(),
        first=first,
        last=last,
        now=now,
        overlap=OVERLAP,
        symbols=symbols,
        refetch=refetch,
    )
    return {need.symbol: dict(need.ranges) for need in found}


def test_the_first_time_everything_is_asked_for():
    assert planned() == {"A": {"one": (FIRST, LAST)}}


def test_a_daily_update_asks_for_what_is_new_and_the_last_sessions_again():
    behind = AXIS[-3]
    assert planned([("A", "one", FIRST, behind)]) == {"A": {"one": (AXIS[-12], LAST)}}
    assert len(calendar().between(AXIS[-12], behind)) == OVERLAP


def test_a_run_that_finds_nothing_missing_asks_for_the_last_sessions_again():
    assert planned([("A", "one", FIRST, LAST)]) == {"A": {"one": (AXIS[-10], LAST)}}
    assert planned([("A", "one", FIRST, LAST)], first=AXIS[-3]) == {"A": {"one": (AXIS[-3], LAST)}}


def test_what_has_landed_already_is_not_asked_for_again():
    whole = [("A", "one", FIRST, LAST)]
    assert planned(landed=whole) == {}
    assert planned(whole, landed=[("A", "one", AXIS[-10], LAST)]) == {}
    # A killed backfill: what landed of it stands, and the other symbol is still to do.
    both = universe({"A": "XNYS", "B": "XNYS"})
    assert planned(members=both, landed=whole) == {"B": {"one": (FIRST, LAST)}}


def test_history_asked_for_by_hand_that_is_there_is_not_asked_for_again():
    assert planned([("A", "one", FIRST, LAST)], last=AXIS[20]) == {}


def test_a_session_is_asked_for_when_it_is_complete_and_not_before():
    known = [("A", "one", FIRST, AXIS[-2])]
    moment = calendar().available_at(LAST)
    assert planned(known, now=moment - timedelta(microseconds=1)) == {"A": {"one": (AXIS[-11], AXIS[-2])}}
    assert planned(known, now=moment) == {"A": {"one": (AXIS[-11], LAST)}}


def test_weekends_and_holidays_are_no_missing_sessions():
    friday = date(2022, 1, 14)
    holiday_noon = datetime(2022, 1, 17, 17, tzinfo=UTC)
    assert planned([("A", "one", FIRST, friday)], now=holiday_noon)["A"]["one"][1] == friday
    assert planned([("A", "one", FIRST, friday)], last=date(2022, 1, 17)) == {}


def test_a_backfill_to_earlier_sessions_asks_for_them_and_touches_what_is_there():
    known = [("A", "one", AXIS[20], AXIS[30])]
    assert planned(known, last=AXIS[25]) == {"A": {"one": (FIRST, AXIS[29])}}
    assert planned(known) == {"A": {"one": (FIRST, LAST)}}


def test_a_backfill_far_from_what_is_there_asks_for_the_sessions_between_too():
    known = [("A", "one", AXIS[20], AXIS[30])]
    assert planned(known, first=AXIS[0], last=AXIS[2]) == {"A": {"one": (AXIS[0], AXIS[29])}}
    assert planned(known, first=AXIS[38]) == {"A": {"one": (AXIS[21], LAST)}}


def test_a_range_shorter_than_the_overlap_is_asked_for_again_as_a_whole():
    assert planned([("A", "one", AXIS[30], AXIS[32])], first=AXIS[30]) == {"A": {"one": (AXIS[30], LAST)}}
    assert planned([("A", "one", AXIS[30], AXIS[32])], last=AXIS[32]) == {"A": {"one": (FIRST, AXIS[32])}}


def test_dates_given_by_hand_bound_what_is_asked():
    assert planned(first=AXIS[3], last=AXIS[5]) == {"A": {"one": (AXIS[3], AXIS[5])}}
    assert planned(last=date(2030, 1, 1)) == {"A": {"one": (FIRST, LAST)}}
    assert planned(first=date(2022, 1, 8), last=date(2022, 1, 9)) == {}


def member(symbol="A", *, since=FIRST, until=None, exchange="XNYS", priority=0):
    return universe({symbol: exchange}).with_columns(
        from_session=pl.lit(since), to_session=pl.lit(until, dtype=pl.Date), priority=pl.lit(priority, dtype=pl.Int32)
    )


def test_a_symbol_is_asked_for_from_its_membership_on():
    assert planned(members=member(since=AXIS[7])) == {"A": {"one": (AXIS[7], LAST)}}
    assert planned(members=member(since=AXIS[7]), first=AXIS[9]) == {"A": {"one": (AXIS[9], LAST)}}


def test_a_name_that_left_is_asked_for_its_history_once_and_then_never_again():
    left = member(until=AXIS[20])
    assert planned(members=left) == {"A": {"one": (FIRST, AXIS[20])}}
    assert planned([("A", "one", FIRST, AXIS[20])], members=left) == {}
    # Its last sessions are asked for if it left between two updates.
    assert planned([("A", "one", FIRST, AXIS[18])], members=left) == {"A": {"one": (AXIS[9], AXIS[20])}}


def test_a_name_that_comes_back_is_asked_for_without_a_gap():
    twice = pl.concat([member(until=AXIS[5]), member(since=AXIS[30])])
    assert planned(members=twice) == {"A": {"one": (FIRST, LAST)}}


def test_a_new_name_has_its_own_short_history_and_one_of_the_future_none_yet():
    members = pl.concat([member(since=AXIS[-2]), member("B", since=date(2022, 5, 2), priority=1)])
    assert planned(members=members) == {"A": {"one": (AXIS[-2], LAST)}}


def test_each_symbol_lives_by_its_own_exchange():

    members = universe({"N": "XNYS", "L": "XLON", "T": "XTKS"})
    late = datetime(2022, 2, 25, 12, tzinfo=UTC)  # Friday noon: Tokyo has closed, the others have not
    ranges = planned(members=members, now=late)
    assert {symbol: span["one"] for symbol, span in ranges.items()} == {
        "N": (date(2022, 1, 3), date(2022, 2, 24)),
        "L": (date(2022, 1, 4), date(2022, 2, 24)),
        "T": (date(2022, 1, 4), date(2022, 2, 25)),
    }
    assert [need.exchange for need in needs(
        members, asked(), landed=asked(), sources=["one"], exchanges=exchanges(), first=FIRST, last=None, now=late, overlap=1,
        symbols=None, refetch=(),
    )] == ["XNYS", "XLON", "XTKS"]  # fmt: skip


def test_symbols_come_in_order_of_priority_whatever_their_names():
    members = pl.concat([member(name, priority=place) for place, name in enumerate(["C", "A", "B"])])
    assert list(planned(members=members.sort("symbol"))) == ["C", "A", "B"]


def test_only_the_symbols_wanted_are_asked_for_and_strangers_are_refused():
    members = universe({"A": "XNYS", "B": "XNYS"})
    assert list(planned(members=members, symbols=["B"])) == ["B"]
    assert planned(members=members, symbols=[]) == {}
    with pytest.raises(UniverseError, match=r"symbols: expected symbols of the universe, was X, Y; add them"):
        planned(members=members, symbols=["A", "Y", "X"])


def test_each_source_is_asked_for_what_it_lacks_itself():
    known = [("A", "one", FIRST, AXIS[-2])]
    assert planned(known, sources=("one", "two")) == {"A": {"one": (AXIS[-11], LAST), "two": (FIRST, LAST)}}


def test_a_symbol_that_one_source_of_the_chain_has_served_needs_no_other():
    known = [("A", "one", FIRST, AXIS[-2]), ("A", "two", FIRST, LAST)]
    assert planned(known, sources=("one", "two"), landed=known[1:]) == {}
    # Without an answer in this run, both are there to be asked what has changed.
    assert planned(known, sources=("one", "two")) == {"A": {"one": (AXIS[-11], LAST), "two": (AXIS[-10], LAST)}}
    # On the next session the first one is asked for both that it lacks.
    then = calendar().available_at(date(2022, 3, 1))
    ranges = planned(known, sources=("one", "two"), now=then)["A"]
    assert ranges["one"] == (AXIS[-11], date(2022, 3, 1))
    assert list(ranges) == ["one", "two"]


def test_what_was_answered_by_a_source_no_longer_in_the_chain_does_not_count():
    assert planned([("A", "gone", FIRST, LAST)]) == {"A": {"one": (FIRST, LAST)}}


@pytest.mark.parametrize(
    "told", [(date(2015, 1, 2), date(2015, 6, 30)), (date(2030, 1, 2), date(2030, 6, 28))], ids=["before", "after"]
)
@pytest.mark.parametrize("last", [None, AXIS[20]])
def test_what_was_answered_for_outside_the_calendar_counts_as_not_answered(told, last):
    until = last or LAST
    assert planned([("A", "one", *told)], last=last) == {"A": {"one": (FIRST, until)}}
    assert planned([("A", "one", *told)], last=last, refetch={("A", "one")}) == {"A": {"one": (FIRST, until)}}


def test_without_a_source_nobody_is_asked():
    assert planned(sources=()) == {}


def test_a_history_on_an_old_basis_is_asked_for_as_a_whole_from_that_source_alone():
    long_ago = date(2021, 12, 6)
    known = [("A", "one", long_ago, LAST), ("A", "two", FIRST, LAST)]
    landed = [("A", "one", AXIS[-10], LAST), ("A", "two", AXIS[-10], LAST)]
    chain = ("one", "two")
    assert planned(known, sources=chain, landed=landed, refetch={("A", "one")}) == {"A": {"one": (long_ago, LAST)}}
    assert planned(known, sources=chain, landed=landed, refetch={("B", "one")}) == {}
    # Beside it, whatever is missing anyway is asked of everyone.
    behind = [("A", "one", long_ago, AXIS[-2])]
    assert planned(behind, sources=chain, refetch={("A", "one")}) == {
        "A": {"one": (long_ago, LAST), "two": (FIRST, LAST)}
    }


# ---- what has been answered ------------------------------------------------------------------------------------------


def test_answers_that_overlap_become_one_range_with_the_newest_moment():
    later = LATER + timedelta(days=1)
    answers = asked(("A", "one", AXIS[8], AXIS[12])).with_columns(
        fetched_at=pl.lit(later, dtype=BARS_ASKED.columns["fetched_at"])
    )
    merged = merge_asked(asked(("A", "one", FIRST, AXIS[9]), ("B", "one", FIRST, AXIS[1])), answers)
    assert merged.rows() == [("A", "one", FIRST, AXIS[12], later), ("B", "one", FIRST, AXIS[1], LATER)]


def test_of_two_ranges_with_a_gap_between_them_the_later_answer_is_kept():
    answers = asked(("A", "one", AXIS[20], AXIS[22])).with_columns(pl.col("fetched_at") + timedelta(days=1))
    merged = merge_asked(asked(("A", "one", FIRST, AXIS[9])), answers)
    assert merged.select("first", "last").rows() == [(AXIS[20], AXIS[22])]


def test_sources_are_kept_apart_and_the_first_answers_need_nothing_before_them():
    merged = merge_asked(BARS_ASKED.empty(), asked(("A", "two", AXIS[3], AXIS[4]), ("A", "one", FIRST, AXIS[9])))
    assert merged.select("source", "first").rows() == [("one", FIRST), ("two", AXIS[3])]
    assert merge_asked(merged, BARS_ASKED.empty()).equals(merged)


places = st.integers(0, len(AXIS) - 1)
spans = st.tuples(places, places).map(lambda pair: (AXIS[min(pair)], AXIS[max(pair)]))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(spans, places), min_size=1, max_size=6))
def test_after_an_answer_nothing_more_is_missing_and_no_session_was_left_out(rounds):
    """Backfills and updates in any order, at any moment: what is recorded as answered really was asked."""
    known, told = BARS_ASKED.empty(), set()
    for (first, last), at in rounds:
        moment = calendar().available_at(AXIS[at])
        landed = BARS_ASKED.empty()
        while found := needs(
            universe(ONE), known, landed=landed, sources=["one"], exchanges=exchanges(), first=first, last=last,
            now=moment, overlap=3, symbols=None, refetch=(),
        ):  # fmt: skip
            assert landed.is_empty()
            span = found[0].ranges["one"]
            told |= set(calendar().between(*span))
            landed = asked(("A", "one", *span))
        known = merge_asked(known, landed)
        assert set(calendar().between(first, min(last, AXIS[at]))) <= told
        if not known.is_empty():
            _, _, start, end, _ = known.row(0)
            assert set(calendar().between(start, end)) == told
