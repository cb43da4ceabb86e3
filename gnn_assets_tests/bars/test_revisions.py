from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from gnn_assets.bars.fetched import VALUES
from gnn_assets.bars.revisions import latest, row_hashes
from gnn_assets.bars.schema import MARKET_BARS
from gnn_assets.core.errors import DataError
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.bars.market import LATER, bars, calendar, record, sessions, stored_bars

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


def test_sources_keep_separate_histories_and_are_not_read_together():
    stored = stored_bars({"A": [10.0]})
    other = record(stored, bars({"A": [10.0]}), source="other")
    assert other["rev"].to_list() == [0]
    with pytest.raises(DataError, match="expected one source, was other, sample"):
        latest(pl.concat([stored, other]))


@pytest.mark.parametrize(
    ("fetched", "fault"),
    [
        (pl.concat([bars({"A": [1.0]}), bars({"A": [2.0]})]), "several for A on 2022-01-03"),
        (bars({"A": [1.0]}, dates=[datetime(2022, 1, 1, tzinfo=UTC).date()]), "was 2022-01-01"),
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
