from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from gnn_assets.bars.actions import latest_actions, new_actions
from gnn_assets.bars.fetched import ACTION_COLUMNS
from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS
from gnn_assets.store.schema import MOMENT
from gnn_assets_tests.bars.market import LATER, bars, calendar, exchanges, record, sessions, stored_bars

DAYS = sessions(6)
EVERY = (DAYS[0], DAYS[-1])
NO_BARS = MARKET_BARS.empty()
DAY = timedelta(days=1)


def told(*rows, at=LATER, payload_hash="p"):
    """(symbol, session, kind, value) rows of one answer."""
    frame = pl.DataFrame(rows, schema=dict(ACTION_COLUMNS), orient="row")
    return frame.with_columns(fetched_at=pl.lit(at, dtype=MOMENT), payload_hash=pl.lit(payload_hash))


def asked(*symbols, span=EVERY, at=LATER, payload_hash="p"):
    return pl.DataFrame(
        [(symbol, *span, at, payload_hash) for symbol in symbols],
        schema={
            "symbol": pl.String,
            "first": pl.Date,
            "last": pl.Date,
            "fetched_at": MOMENT,
            "payload_hash": pl.String,
        },
        orient="row",
    )


def both(stored, rows, *, symbols=("A", "B"), span=EVERY, at=LATER, had=NO_BARS, source="sample", venues=None):
    """What one answer adds, and what it loses."""
    return new_actions(
        stored,
        rows.with_columns(fetched_at=pl.lit(at, dtype=MOMENT)),
        asked(*symbols, span=span, at=at),
        had,
        source=source,
        exchanges=exchanges(),
        exchange_of=venues or {},
        run_id="r",
    )


def added(stored, rows, **settings):
    new, refused = both(stored, rows, **settings)
    assert refused.is_empty()
    return new


def values(frame):
    return frame.select("symbol", "session", "kind", "rev", "value").rows()


DIVIDEND = ("A", DAYS[1], "dividend", 0.5)
SPLIT = ("A", DAYS[3], "split", 2.0)


def test_what_is_told_first_is_revision_zero_known_when_its_session_was():
    rows = added(CORPORATE_ACTIONS.empty(), told(DIVIDEND, SPLIT))
    assert rows.schema == CORPORATE_ACTIONS.empty().schema
    assert values(rows) == [("A", DAYS[1], "dividend", 0, 0.5), ("A", DAYS[3], "split", 0, 2.0)]
    assert rows["known_at"].to_list() == [calendar().available_at(DAYS[1]), calendar().available_at(DAYS[3])]


def test_an_action_of_a_session_whose_bar_was_stored_before_is_news_from_the_moment_it_is_fetched():
    had = record(MARKET_BARS.empty(), bars({"A": [10.0, 11.0]}))
    rows = added(CORPORATE_ACTIONS.empty(), told(DIVIDEND, SPLIT), had=had, at=LATER + DAY)
    assert rows["known_at"].to_list() == [LATER + DAY, calendar().available_at(DAYS[3])]
    another = had.with_columns(source=pl.lit("other"))
    assert added(CORPORATE_ACTIONS.empty(), told(DIVIDEND), had=another)["known_at"][0] < LATER


def test_telling_the_same_again_adds_nothing():
    stored = added(CORPORATE_ACTIONS.empty(), told(DIVIDEND, SPLIT))
    assert added(stored, told(SPLIT, DIVIDEND), at=LATER + DAY).is_empty()


def test_a_changed_value_is_a_revision_and_a_read_before_it_gives_the_old_one():
    stored = added(CORPORATE_ACTIONS.empty(), told(DIVIDEND))
    changed = added(stored, told(("A", DAYS[1], "dividend", 0.25)), at=LATER + DAY)
    assert values(changed) == [("A", DAYS[1], "dividend", 1, 0.25)]
    assert changed["known_at"].to_list() == [LATER + DAY]
    every = pl.concat([stored, changed])
    assert latest_actions(every, known_at=LATER)["value"].to_list() == [0.5]
    assert latest_actions(every)["value"].to_list() == [0.25]


def test_an_action_no_longer_told_is_withdrawn_and_may_come_back():
    stored = added(CORPORATE_ACTIONS.empty(), told(DIVIDEND, SPLIT))
    gone = added(stored, told(SPLIT), at=LATER + DAY)
    assert values(gone) == [("A", DAYS[1], "dividend", 1, None)]
    stored = pl.concat([stored, gone])
    assert latest_actions(stored)["kind"].to_list() == ["split"]
    assert latest_actions(stored, known_at=LATER)["kind"].to_list() == ["dividend", "split"]
    assert added(stored, told(SPLIT), at=LATER + 2 * DAY).is_empty()  # withdrawn once, not each day
    back = added(stored, told(DIVIDEND, SPLIT), at=LATER + 3 * DAY)
    assert values(back) == [("A", DAYS[1], "dividend", 2, 0.5)]


def test_silence_about_what_was_not_asked_withdraws_nothing():
    stored = added(CORPORATE_ACTIONS.empty(), told(DIVIDEND, SPLIT))
    nothing = told()
    assert added(stored, nothing, symbols=("B",)).is_empty()
    assert values(added(stored, nothing, span=(DAYS[2], DAYS[5]))) == [("A", DAYS[3], "split", 1, None)]
    assert added(stored, nothing, span=(DAYS[4], DAYS[5])).is_empty()
    assert added(stored, nothing, source="other").is_empty()


def test_an_answer_older_than_what_is_stored_says_nothing_new():
    stored = added(CORPORATE_ACTIONS.empty(), told(DIVIDEND))
    assert added(stored, told(("A", DAYS[1], "dividend", 9.0)), at=LATER - DAY).is_empty()
    assert added(stored, told(), at=LATER - DAY).is_empty()


def test_an_action_of_an_unfinished_session_waits_for_it():
    moment = calendar().available_at(DAYS[1])
    early = added(CORPORATE_ACTIONS.empty(), told(DIVIDEND), at=moment - timedelta(microseconds=1))
    assert early.is_empty()
    assert added(CORPORATE_ACTIONS.empty(), told(DIVIDEND), at=moment).height == 1
    # In Tokyo the session was over long before.
    assert added(CORPORATE_ACTIONS.empty(), told(DIVIDEND), at=moment, venues={"A": "XTKS"}).is_empty() is False


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (("A", DAYS[1], "split", 0.0), "action_value"),
        (("A", DAYS[1], "split", -2.0), "action_value"),
        (("A", DAYS[1], "split", float("inf")), "action_value"),
        (("A", DAYS[1], "dividend", float("nan")), "action_value"),
        (("A", DAYS[1], "dividend", -0.01), "action_value"),
        (("A", DAYS[1], "dividend", None), "action_value"),
        (("A", DAYS[1], "spinoff", 0.5), "action_kind"),
        (("A", date(2022, 1, 8), "dividend", 0.5), "action_not_a_session"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_the_rest_stays(row, rule):
    new, refused = both(CORPORATE_ACTIONS.empty(), told(row, SPLIT))
    assert values(new) == [("A", DAYS[3], "split", 0, 2.0)]
    assert refused.select(*ACTION_COLUMNS, "rule").rows(named=True)[0]["rule"] == rule
    assert refused.height == 1
    assert_frame_equal(refused.select(*ACTION_COLUMNS), told(row).select(*ACTION_COLUMNS))


def test_a_refused_row_withdraws_nothing():
    stored = added(CORPORATE_ACTIONS.empty(), told(SPLIT))
    new, refused = both(stored, told(("A", DAYS[3], "split", 0.0)))
    assert new.is_empty()
    assert refused["rule"].to_list() == ["action_value"]


def test_a_dividend_of_nothing_is_possible():
    assert values(added(CORPORATE_ACTIONS.empty(), told(("A", DAYS[1], "dividend", 0.0))))[0][-1] == 0.0


def test_equal_copies_count_once_and_a_regular_and_a_special_dividend_add_up():
    rows = told(DIVIDEND, DIVIDEND, ("A", DAYS[1], "dividend", 2.0), SPLIT, SPLIT)
    assert values(added(CORPORATE_ACTIONS.empty(), rows)) == [
        ("A", DAYS[1], "dividend", 0, 2.5),
        ("A", DAYS[3], "split", 0, 2.0),
    ]


def test_of_two_answers_the_newer_counts_and_nothing_is_added_up_between_them():
    rows = pl.concat([told(("A", DAYS[1], "dividend", 0.25), at=LATER + DAY, payload_hash="q"), told(DIVIDEND)])
    new, refused = new_actions(
        CORPORATE_ACTIONS.empty(),
        rows,
        asked("A"),
        NO_BARS,
        source="sample",
        exchanges=exchanges(),
        exchange_of={},
        run_id="r",
    )
    assert refused.is_empty()
    assert new.select("value", "fetched_at", "payload_hash").rows() == [(0.25, LATER + DAY, "q")]


def test_different_splits_on_one_day_are_refused_all():
    new, refused = both(CORPORATE_ACTIONS.empty(), told(SPLIT, ("A", DAYS[3], "split", 3.0)))
    assert new.is_empty()
    assert refused.select("value", "rule").rows() == [(2.0, "action_doubled"), (3.0, "action_doubled")]


answers = st.lists(
    st.dictionaries(
        st.tuples(st.sampled_from(["A", "B"]), st.sampled_from(DAYS[:3]), st.sampled_from(["split", "dividend"])),
        st.sampled_from([0.5, 2.0]),
        max_size=6,
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=30)
@given(answers, st.randoms(use_true_random=False))
def test_every_moment_reads_exactly_what_was_told_last_whatever_the_order_of_rows(series, random):
    stored, had = CORPORATE_ACTIONS.empty(), NO_BARS
    for number, answer in enumerate(series):
        rows = [(*key, value) for key, value in answer.items()]
        random.shuffle(rows)
        stored = pl.concat([stored, added(stored, told(*rows), at=LATER + number * DAY, had=had)])
        had = stored_bars({"A": [1.0] * 3, "B": [1.0] * 3})  # the first answer brought the bars along
    assert stored.select(CORPORATE_ACTIONS.key).is_unique().all()
    for number, answer in enumerate(series):
        known = latest_actions(stored, known_at=LATER + number * DAY)
        assert {tuple(row[:3]): row[3] for row in known.select(*ACTION_COLUMNS).rows()} == answer
