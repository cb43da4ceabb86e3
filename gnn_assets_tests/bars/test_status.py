from datetime import date, timedelta

import polars as pl

from gnn_assets.bars.schema import SYMBOL_STATUS, UNIVERSE
from gnn_assets.bars.status import (
    coverage_failures,
    ever_succeeded,
    failure_reasons,
    held_back,
    newest_words,
    stage_status,
)
from gnn_assets.core.errors import NoData
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets_tests.bars.market import bars, calendar, sessions

DAYS = sessions(10)
NONE = SYMBOL_STATUS.empty()


def status_of(failures=None, *, symbols=("A", "B", "C"), waiting=None, before=NONE, stage="bars", session=DAYS[-1]):
    return stage_status(
        stage, symbols=symbols, session=session, failures=failures or {}, waiting=waiting or {}, before=before
    )


def universe(exchange="XNYS", **membership):
    rows = [
        {
            "symbol": symbol,
            "from_session": first,
            "to_session": last,
            "tier": "core",
            "sector": "",
            "survivor_only": False,
            "exchange": exchange,
            "priority": place,
        }
        for place, (symbol, (first, last)) in enumerate(membership.items())
    ]
    return pl.DataFrame(rows, schema=dict(UNIVERSE.columns))


def failures_of(frame, members, share, *, first=DAYS[0], last=DAYS[-1], others=None):
    return coverage_failures(
        frame,
        universe=members,
        exchanges=Exchanges(calendar(), others or {}),
        first=first,
        now=calendar().available_at(last),
        min_symbol_coverage=share,
    )


def test_a_stage_says_success_failed_or_pending_of_every_symbol():
    rows = status_of({"B": "no close"}, waiting={"C": "waits for returns"})
    assert rows.select("symbol", "state", "reason", "attempts").rows() == [
        ("A", "SUCCESS", "", 1),
        ("B", "FAILED", "no close", 1),
        ("C", "PENDING", "waits for returns", 0),
    ]


def test_attempts_at_the_same_session_are_counted_and_a_new_session_starts_over():
    first = status_of({"B": "no close"})
    again = status_of({}, before=first)
    assert again["attempts"].to_list() == [2, 2, 2]
    assert status_of({}, before=first, session=DAYS[-2])["attempts"].to_list() == [1, 1, 1]
    assert status_of({}, before=first, stage="returns")["attempts"].to_list() == [1, 1, 1]


def test_a_symbol_that_succeeded_once_stays_so_in_its_own_stage():
    history = pl.concat(
        [
            status_of({"B": "x", "C": "x"}, session=DAYS[0]),
            status_of({"A": "x", "C": "x"}, session=DAYS[1]),
            status_of({"A": "x"}, stage="returns"),
        ]
    )
    assert ever_succeeded(history, "bars", follower="graphs") == ("A", "B")
    assert ever_succeeded(history, "returns", follower="graphs") == ("B", "C")
    assert ever_succeeded(history, "graphs", follower="forecasts") == ()


def test_a_failure_later_on_the_same_session_does_not_take_a_success_back():
    returns = status_of({}, waiting={"C": "bars did not succeed"}, stage="returns")
    history = pl.concat([status_of({"A": "x", "B": "x", "C": "x"}), returns])
    assert ever_succeeded(history, "bars", follower="returns") == ("A", "B")


def test_a_symbol_below_the_coverage_is_named_with_the_numbers_and_one_exactly_at_it_passes():
    frame = bars({"A": [1.0] * 8 + [None] * 2, "B": [1.0] * 7 + [None] * 3})
    members = universe(A=(DAYS[0], None), B=(DAYS[0], None), C=(DAYS[0], None))
    assert failures_of(frame, members, 0.8) == {
        "B": "expected a close on at least 80.0% of its sessions, was 70.0% (7 of 10)",
        "C": "expected a close on at least 80.0% of its sessions, was 0.0% (0 of 10)",
    }


def test_a_session_that_two_sources_have_counts_once():
    frame = bars({"A": [1.0] * 5})
    assert "(5 of 10)" in failures_of(pl.concat([frame, frame]), universe(A=(DAYS[0], None)), 0.8)["A"]


def test_only_sessions_of_its_membership_count_for_a_symbol():
    frame = bars({"NEW": [None] * 8 + [1.0] * 2, "OLD": [1.0] * 2 + [None] * 8})
    members = universe(NEW=(DAYS[8], None), OLD=(DAYS[0], DAYS[1]))
    assert failures_of(frame, members, 1.0) == {}
    gone = universe(OLD=(DAYS[0], DAYS[1]))
    assert failures_of(frame, gone, 0.1, first=DAYS[5]) == {"OLD": "none of its sessions lies in the range asked for"}


def test_a_session_that_is_not_complete_is_not_asked_for():
    frame = bars({"A": [1.0] * 9})
    assert failures_of(frame, universe(A=(DAYS[0], None)), 1.0, last=DAYS[8]) == {}
    assert "(9 of 10)" in failures_of(frame, universe(A=(DAYS[0], None)), 1.0)["A"]


def test_each_symbol_is_held_against_the_sessions_of_its_own_exchange():
    london = SessionCalendar.build(
        "XLON", first=date(2021, 12, 1), until=date(2022, 1, 31), grace=timedelta(minutes=30)
    )
    # London was closed on 3 January 2022, New York was not.
    frame = bars({"LO": [1.0] * 9}, dates=DAYS[1:])
    members = universe("XLON", LO=(DAYS[0], None))
    assert failures_of(frame, members, 1.0, others={"XLON": london}) == {}
    assert "(9 of 10)" in failures_of(frame, universe(LO=(DAYS[0], None)), 1.0)["LO"]


def test_a_symbol_with_a_split_like_move_is_held_back_with_the_newest_session_and_what_to_do():
    splits = pl.DataFrame(
        {"symbol": ["B", "A", "A"], "source": ["x"] * 3, "session": [DAYS[1], DAYS[2], DAYS[5]], "ratio": [0.1, 2, 1.5]}
    )
    held = held_back(splits)
    assert list(held) == ["A", "B"]
    assert str(DAYS[5]) in held["A"]
    assert "a split of 1.5 new shares for one old" in held["A"]
    assert "wait for the source to correct it, or tell the action" in held["B"]
    assert held_back(splits.clear()) == {}


def test_the_nearest_cause_is_the_reason_and_a_symbol_that_was_not_fetched_keeps_its_bars():
    told = failure_reasons(
        fetch={"C": NoData("no source has C.")}, held={"B": "held", "C": "held"}, coverage={"A": "thin", "B": "thin"}
    )
    assert told == {"A": "thin", "B": "held", "C": "not fetched, its last good bars are kept: no source has C."}


def test_what_is_kept_of_the_statuses_is_bounded_and_says_all_that_is_asked_for():
    words = {"A": ["SUCCESS"] * 5, "B": ["SUCCESS", "FAILED", "FAILED", "PENDING", "PENDING"], "C": ["FAILED"] * 5}
    rows = [
        {"stage": "bars", "symbol": symbol, "session": day, "state": state, "reason": "", "attempts": 1}
        for symbol, states in words.items()
        for day, state in zip(sessions(5), states, strict=True)
    ]
    status = SYMBOL_STATUS.conform(pl.DataFrame(rows, schema=dict(SYMBOL_STATUS.columns)))
    kept = newest_words(status)
    assert kept.select("symbol", "session", "state").rows() == [
        ("A", sessions(5)[4], "SUCCESS"),
        ("B", sessions(5)[0], "SUCCESS"),
        ("B", sessions(5)[2], "FAILED"),
        ("B", sessions(5)[4], "PENDING"),
        ("C", sessions(5)[4], "FAILED"),
    ]
    assert newest_words(kept).equals(kept)
    assert ever_succeeded(kept, "bars", follower="returns") == ever_succeeded(status, "bars", follower="returns")
