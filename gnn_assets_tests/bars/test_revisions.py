from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from gnn_assets.bars.fetched import VALUES
from gnn_assets.bars.revisions import chosen, latest, new_revisions, row_hashes
from gnn_assets.bars.schema import BARS_ASKED, MARKET_BARS
from gnn_assets.core.errors import DataError
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.bars.market import LATER, bars, calendar, exchanges, judged, record, sessions, stored_bars

DAYS = sessions(4)
CLOSES = {"A": [10.0, 11.0, 12.0, 13.0], "B": [1.0, 2.0, 3.0, 4.0]}


def values_of(frame: pl.DataFrame) -> dict[tuple, float]:
    return {(row["symbol"], row["session"]): row["close"] for row in frame.iter_rows(named=True)}


def test_a_first_fetch_gives_every_bar_revision_zero_known_when_its_session_was():
    rows = stored_bars(CLOSES)
    assert rows.schema == MARKET_BARS.empty().schema
    assert rows["rev"].unique().to_list() == [0]
    assert rows["known_at"].to_list() == [calendar().available_at(session) for session in rows["session"]]
    assert rows["backfilled"].all()


def test_a_first_bar_of_a_session_that_was_answered_for_before_is_news_and_known_when_it_came():
    span = {"symbol": ["A"], "source": ["sample"], "first": [DAYS[1]], "last": [DAYS[2]], "fetched_at": [LATER]}
    rows = new_revisions(
        MARKET_BARS.empty(),
        judged(bars(CLOSES), basis="split_div", at=LATER, payload_hash="p"),
        source="sample",
        basis="split_div",
        exchanges=exchanges(),
        exchange_of={},
        run_id="r",
        asked=pl.DataFrame(span, schema=dict(BARS_ASKED.columns)),
    )
    news = rows.filter(pl.col("known_at") == LATER).select("symbol", "session").rows()
    assert news == [("A", DAYS[1]), ("A", DAYS[2])]
    assert latest(rows, known_at=LATER - timedelta(microseconds=1)).height == rows.height - 2


def test_a_bar_fetched_before_the_next_close_is_not_backfilled():
    before_next_close = calendar().close_at(DAYS[3]) - timedelta(seconds=1)
    rows = record(MARKET_BARS.empty(), bars({"A": [10.0, 11.0, 12.0]}), at=before_next_close)
    assert rows["backfilled"].to_list() == [True, True, False]
    at_next_close = record(MARKET_BARS.empty(), bars({"A": [10.0, 11.0, 12.0]}), at=calendar().close_at(DAYS[3]))
    assert at_next_close["backfilled"].to_list() == [True, True, True]


def test_a_bar_of_an_unfinished_session_is_dropped_until_its_grace_has_passed():
    available = calendar().available_at(DAYS[1])
    early = record(MARKET_BARS.empty(), bars({"A": [10.0, 11.0]}), at=available - timedelta(microseconds=1))
    assert early["session"].to_list() == [DAYS[0]]
    in_time = record(MARKET_BARS.empty(), bars({"A": [10.0, 11.0]}), at=available)
    assert in_time["session"].to_list() == [DAYS[0], DAYS[1]]


def test_reloading_the_same_bars_adds_no_revision():
    stored = stored_bars(CLOSES)
    assert record(stored, bars(CLOSES), at=LATER + timedelta(days=1), payload_hash="q", run_id="s").is_empty()


def test_a_changed_bar_adds_one_revision_known_from_its_fetch():
    stored = stored_bars(CLOSES)
    corrected = {"A": [10.0, 11.5, 12.0, 13.0], "B": CLOSES["B"]}
    moment = LATER + timedelta(days=1)
    rows = record(stored, bars(corrected), at=moment)
    assert rows.select("symbol", "session", "rev", "close", "known_at", "backfilled").rows() == [
        ("A", DAYS[1], 1, 11.5, moment, False)
    ]


def test_a_read_as_of_before_the_revision_gives_the_old_value_and_from_it_on_the_new():
    stored = stored_bars(CLOSES)
    moment = LATER + timedelta(days=1)
    stored = pl.concat([stored, record(stored, bars({"A": [10.0, 11.5]}), at=moment)])
    before = values_of(latest(stored, known_at=moment - timedelta(microseconds=1)))
    after = values_of(latest(stored, known_at=moment))
    assert (before["A", DAYS[1]], after["A", DAYS[1]]) == (11.0, 11.5)
    assert after == values_of(latest(stored))


def test_a_read_as_of_a_past_session_sees_no_later_bar():
    known = latest(stored_bars(CLOSES), known_at=calendar().available_at(DAYS[1]))
    assert known["session"].max() == DAYS[1]
    assert known.height == 4


def test_a_change_of_basis_or_a_value_that_disappears_is_a_revision():
    stored = stored_bars({"A": [10.0]}, volume=5.0)
    assert record(stored, bars({"A": [10.0]}, volume=5.0)).is_empty()
    assert record(stored, bars({"A": [10.0]}, volume=5.0), basis="raw").height == 1
    assert record(stored, bars({"A": [10.0]})).height == 1


def test_sources_keep_separate_histories():
    stored = stored_bars({"A": [10.0]})
    other = record(stored, bars({"A": [10.0]}), source="other")
    assert other["rev"].to_list() == [0]
    both = latest(pl.concat([stored, other]))
    assert both.select("symbol", "session", "source").rows() == [("A", DAYS[0], "other"), ("A", DAYS[0], "sample")]


def test_levels_are_shown_from_the_first_source_that_has_the_bar():
    first = stored_bars({"A": [10.0, None], "B": [5.0, 6.0]}).filter(pl.col("close").is_not_null())
    second = record(first, bars({"A": [70.0, 71.0], "C": [8.0, 9.0]}), source="other")
    third = record(first, bars({"A": [99.0, 99.0], "D": [1.0, 1.0]}), source="unasked")
    every = latest(pl.concat([first, second, third]))
    shown = {(row["symbol"], row["session"]): row["close"] for row in chosen(every, ("sample", "other")).to_dicts()}
    assert shown == {
        ("A", DAYS[0]): 10.0,
        ("A", DAYS[1]): 71.0,
        ("B", DAYS[0]): 5.0,
        ("B", DAYS[1]): 6.0,
        ("C", DAYS[0]): 8.0,
        ("C", DAYS[1]): 9.0,
    }
    turned = chosen(every, ("other", "sample"))
    assert turned.filter(pl.col("symbol") == "A")["close"].to_list() == [70.0, 71.0]
    assert turned.columns == every.columns


def test_each_row_carries_the_moment_and_the_hash_of_its_own_answer():
    early, late = LATER, LATER + timedelta(hours=1)
    rows = pl.concat(
        [
            judged(bars({"A": [1.0, 2.0]}), at=early, payload_hash="one"),
            judged(bars({"B": [1.0, 2.0]}), at=late, payload_hash="two"),
        ]
    )
    facts = {"source": "sample", "basis": "split_div", "exchanges": exchanges(), "exchange_of": {}, "run_id": "r"}
    stored = new_revisions(MARKET_BARS.empty(), rows, **facts)
    assert stored.select("symbol", "fetched_at", "payload_hash").unique().sort("symbol").rows() == [
        ("A", early, "one"),
        ("B", late, "two"),
    ]
    changed = rows.with_columns(
        row_hash=pl.lit(1, dtype=pl.UInt64), fetched_at=pl.col("fetched_at") + timedelta(days=1)
    )
    again = new_revisions(stored, changed, **facts)
    assert again["known_at"].to_list() == [early + timedelta(days=1)] * 2 + [late + timedelta(days=1)] * 2


def test_what_is_compared_is_what_the_vendor_told_not_what_the_rules_left_of_it():
    told = judged(bars({"A": [10.0]}, open=0.0)).with_columns(
        open=pl.lit(None, dtype=pl.Float64), flags=pl.lit("open_zero")
    )
    facts = {"source": "sample", "basis": "split_div", "exchanges": exchanges(), "exchange_of": {}, "run_id": "r"}
    stored = new_revisions(MARKET_BARS.empty(), told, **facts)
    assert stored.select("open", "flags").rows() == [(None, "open_zero")]
    assert new_revisions(stored, told, **facts).is_empty()
    # The same bar with another open that no rule minds: the vendor changed its mind.
    assert new_revisions(stored, judged(bars({"A": [10.0]}, open=9.0)), **facts)["rev"].to_list() == [1]


def test_a_bar_is_known_and_finished_by_the_hours_of_its_own_exchange():
    day = DAYS[2]
    rows = bars({"L": [1.0], "N": [1.0], "T": [1.0]}, dates=[day])
    venues = {"L": "XLON", "N": "XNYS", "T": "XTKS"}
    for symbol, code in venues.items():
        moment = calendar(code).available_at(day)
        own = rows.filter(pl.col("symbol") == symbol)
        early = record(MARKET_BARS.empty(), own, at=moment - timedelta(microseconds=1), exchange_of=venues)
        assert early.is_empty()
        assert record(MARKET_BARS.empty(), own, at=moment, exchange_of=venues)["known_at"].to_list() == [moment]
    at_london_close = record(MARKET_BARS.empty(), rows, at=calendar("XLON").available_at(day), exchange_of=venues)
    assert at_london_close["symbol"].to_list() == ["L", "T"]


def test_a_holiday_of_its_own_exchange_is_refused_though_others_trade():
    holiday = datetime(2022, 1, 17, tzinfo=UTC).date()  # New York is closed, London is not
    rows = bars({"A": [1.0]}, dates=[holiday])
    assert record(MARKET_BARS.empty(), rows, exchange_of={"A": "XLON"}).height == 1
    with pytest.raises(DataError, match="was 2022-01-17 for A"):
        record(MARKET_BARS.empty(), rows, exchange_of={"A": "XNYS"})


stamps = st.datetimes(datetime(2021, 12, 20), datetime(2022, 2, 20), timezones=st.just(UTC))  # noqa: DTZ001


@settings(deadline=None, max_examples=60)
@given(stamps, st.sampled_from(["XNYS", "XLON", "XTKS"]))
def test_at_no_moment_is_a_bar_stored_before_it_was_known(moment, code):
    """Whatever the hour, the season or the holiday: an answer for every session of the quarter, in the future too."""
    days = [day for day in calendar(code).sessions if day.year == 2022 and day.month < 4]
    rows = record(MARKET_BARS.empty(), bars({"A": [1.0] * len(days)}, dates=days), at=moment, exchange_of={"A": code})
    assert (rows["known_at"] <= rows["fetched_at"]).all()
    assert rows["session"].to_list() == [day for day in days if calendar(code).available_at(day) <= moment]


@pytest.mark.parametrize(
    ("fetched", "fault"),
    [
        (pl.concat([bars({"A": [1.0]}), bars({"A": [2.0]})]), "several for A on 2022-01-03"),
        (bars({"A": [1.0]}, dates=[datetime(2022, 1, 1, tzinfo=UTC).date()]), "was 2022-01-01 for A"),
    ],
)
def test_bars_that_skipped_quarantine_are_refused(fetched, fault):
    with pytest.raises(DataError, match=fault):
        record(MARKET_BARS.empty(), fetched)


fetches = st.lists(
    st.fixed_dictionaries({"A": st.lists(st.integers(1, 3), min_size=4, max_size=4)}), min_size=1, max_size=5
)


@settings(deadline=None, max_examples=40)
@given(fetches, st.randoms(use_true_random=False))
def test_history_depends_on_neither_row_order_nor_how_a_fetch_is_divided(series, random):
    whole = divided = MARKET_BARS.empty()
    for day, closes in enumerate(series):
        moment = LATER + timedelta(days=day)
        rows = bars({"A": closes["A"], "B": closes["A"][::-1]})
        whole = pl.concat([whole, record(whole, rows, at=moment)])
        order = list(range(rows.height))
        random.shuffle(order)
        cut = random.randint(0, rows.height)
        for part in (rows[order[:cut]], rows[order[cut:]]):
            divided = pl.concat([divided, record(divided, part, at=moment)])
    assert_frame_equal(MARKET_BARS.conform(whole), MARKET_BARS.conform(divided))


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(5)))
def test_the_newest_fetch_wins_in_whatever_order_fetches_arrive(order):
    stored = MARKET_BARS.empty()
    for number in order:
        rows = bars({"A": [10.0 + number, 20.0 + number]})
        stored = pl.concat([stored, record(stored, rows, at=LATER + timedelta(days=number))])
    assert latest(stored)["close"].to_list() == [14.0, 24.0]


@settings(deadline=None, max_examples=40)
@given(fetches)
def test_every_moment_reads_the_last_fetch_before_it(series):
    stored = MARKET_BARS.empty()
    for day, closes in enumerate(series):
        stored = pl.concat([stored, record(stored, bars(closes), at=LATER + timedelta(days=day))])
    assert stored.select(MARKET_BARS.key).is_unique().all()
    for day, closes in enumerate(series):
        known = latest(stored, known_at=LATER + timedelta(days=day, hours=1))
        assert to_panel(known, "close", sessions=DAYS, symbols=["A"])[:, 0].tolist() == closes["A"]


maybe = st.one_of(st.none(), st.floats(-1e9, 1e9))


@settings(deadline=None)
@given(st.lists(st.tuples(maybe, maybe, maybe, maybe, maybe), min_size=1, max_size=30))
def test_row_hashes_are_equal_exactly_where_rows_are(rows):
    frame = pl.DataFrame(rows, schema=dict.fromkeys(VALUES, pl.Float64), orient="row")
    hashes = row_hashes(frame, basis="raw")
    normal = [tuple(None if value is None else value + 0.0 for value in row) for row in rows]
    assert hashes.n_unique() == len(set(normal))
    assert pd.factorize(hashes.to_numpy())[0].tolist() == pd.factorize(pd.Series(normal, dtype=object))[0].tolist()
    assert not np.isin(row_hashes(frame, basis="split").to_numpy(), hashes.to_numpy()).any()


def test_row_hashes_do_not_change_between_releases():
    frame = pl.DataFrame({"open": [None], "high": [None], "low": [None], "close": [125.674], "volume": [0.0]}).cast(
        pl.Float64
    )
    assert row_hashes(frame, basis="split_div").to_list() == [14531292179944019102]
