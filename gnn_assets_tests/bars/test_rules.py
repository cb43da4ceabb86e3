from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS, VALUES, no_actions
from gnn_assets.bars.revisions import row_hashes
from gnn_assets.bars.row_schemas import NULLED, POSSIBLE, REFUSING, WHOLE
from gnn_assets.bars.rules import judge_rows
from gnn_assets.bars.schema import QUARANTINE
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets_tests.bars.market import LATER, bars, calendar, config, sessions

DATA = Path(__file__).parents[2] / "../shared/data/nasdaq_bars.parquet"
DAYS = sessions(8)
NONE = bars({})
WHOLE_BAR = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100.0}
HOLIDAY = date(2022, 1, 17)


@cache
def exchanges():
    london = SessionCalendar.build(
        "XLON", first=date(2021, 12, 1), until=date(2022, 1, 31), grace=timedelta(minutes=30)
    )
    return Exchanges(calendar(), {"XLON": london})


def judge(told, *, now=LATER, before=NONE, actions=None, basis="split", exchange_of=None, **limits):
    return judge_rows(
        told,
        source="sample",
        basis=basis,
        actions=no_actions() if actions is None else actions,
        before=before,
        exchange_of=exchange_of or {},
        exchanges=exchanges(),
        now=now,
        config=config().bars.rules.model_copy(update=limits),
    )


def bar(symbol="A", session=DAYS[0], **values):
    row = {"symbol": symbol, "session": session, **WHOLE_BAR, **values}
    return pl.DataFrame([row], schema=dict(FETCHED_COLUMNS))


def rules_of(told, **options):
    return judge(told, **options).refused.select("symbol", "session", "rule").rows()


def split_action(session, ratio):
    row = {"symbol": "A", "session": session, "kind": "split", "value": ratio}
    return pl.DataFrame([row], schema=dict(ACTION_COLUMNS))


def test_clean_bars_all_pass_unflagged_with_the_hash_of_what_was_told():
    told = pl.concat([bar(session=day, close=10.5 + place / 100) for place, day in enumerate(DAYS)])
    judged = judge(told)
    assert judged.good.select(*FETCHED_COLUMNS).equals(told)
    assert judged.good["flags"].to_list() == [""] * 8
    assert judged.good["row_hash"].equals(row_hashes(told, basis="split"))
    assert (judged.refused.height, judged.unfinished) == (0, 0)
    assert judged.refused.schema == QUARANTINE.empty().schema


def test_nulls_of_a_source_with_closes_only_are_no_dirt():
    told = bars({"A": [10.0, 10.0, 10.0]})
    judged = judge(told)
    assert judged.good.select(*FETCHED_COLUMNS).equals(told)
    assert judged.good["flags"].unique().to_list() == [""]


def test_an_empty_fetch_gives_empty_frames_of_the_same_shape():
    judged = judge(NONE)
    assert judged.good.columns == [*FETCHED_COLUMNS, "flags", "row_hash"]
    assert judged.good.is_empty()
    assert judged.refused.is_empty()


INFINITY, NAN = float("inf"), float("nan")
REFUSED = [
    ({"close": None}, "close_missing"),
    ({"close": 0.0}, "close_not_positive"),
    ({"close": -1.0}, "close_not_positive"),
    *(({name: value}, "not_finite") for name in VALUES for value in (NAN, INFINITY, -INFINITY)),
    *(({name: -1.0}, "price_negative") for name in ("open", "high", "low")),
    ({"volume": -1.0}, "volume_negative"),
    ({"high": 9.0, "low": 11.0}, "high_below_low"),
    ({"close": 11.7}, "close_far_outside"),
    ({"close": 8.4}, "close_far_outside"),
]


@pytest.mark.parametrize(("values", "rule"), REFUSED)
def test_an_impossible_row_is_refused_alone_and_kept_as_it_was_told(values, rule):
    broken = bar(session=DAYS[1], **values)
    judged = judge(pl.concat([bar(), broken, bar(session=DAYS[2], volume=101.0)]))
    assert judged.good["session"].to_list() == [DAYS[0], DAYS[2]]
    assert judged.refused.select("session", "rule", "source").rows() == [(DAYS[1], rule, "sample")]
    assert repr(judged.refused.select(*VALUES).rows()) == repr(broken.select(*VALUES).rows())


NULLED_ROWS = [
    ({"open": 0.0}, "open_zero", ["open"]),
    ({"high": 0.0}, "high_zero", ["high"]),
    ({"low": 0.0}, "low_zero", ["low"]),
    ({"open": 0.0, "high": 0.0, "low": 0.0, "volume": 0.0}, "no_trade", ["open", "high", "low"]),
    ({"open": 12.0}, "open_outside", ["open"]),
    ({"open": 8.0}, "open_outside", ["open"]),
    ({"close": 11.5}, "close_outside", ["open", "high", "low"]),
    ({"close": 8.6}, "close_outside", ["open", "high", "low"]),
    ({"volume": 0.0}, "zero_volume", ["volume"]),
]


@pytest.mark.parametrize(("values", "rule", "taken"), NULLED_ROWS)
def test_a_doubtful_value_is_taken_away_flagged_and_kept_in_quarantine(values, rule, taken):
    told = bar(**values)
    judged = judge(told)
    assert judged.good["flags"].to_list() == [rule]
    assert judged.refused["rule"].to_list() == [rule]
    assert judged.refused.select(*VALUES).equals(told.select(*VALUES))
    assert judged.good["row_hash"].equals(row_hashes(told, basis="split"))
    for name in VALUES:
        assert judged.good[name].item() == (None if name in taken else told[name].item())


def test_a_flat_bar_is_flagged_and_keeps_everything():
    told = bar(open=10.5, high=10.5, low=10.5)
    judged = judge(told)
    assert judged.good.select(*FETCHED_COLUMNS).equals(told)
    assert judged.good["flags"].item() == "flat_bar"
    assert judged.refused.is_empty()


def test_several_flags_are_sorted_and_each_has_its_row_in_quarantine():
    judged = judge(bar(open=0.0, low=0.0))
    assert judged.good["flags"].item() == "low_zero,open_zero"
    assert judged.refused["rule"].to_list() == ["low_zero", "open_zero"]


def test_a_date_must_be_a_session_of_the_symbols_own_exchange():
    told = pl.concat([bar(session=HOLIDAY), bar("B", HOLIDAY), bar("B", date(2022, 1, 3))])
    judged = judge(told, exchange_of={"A": "XNYS", "B": "XLON"})
    assert judged.refused.select("symbol", "session", "rule").rows() == [
        ("A", HOLIDAY, "not_a_session"),
        ("B", date(2022, 1, 3), "not_a_session"),
    ]
    assert judged.good.select("symbol", "session").rows() == [("B", HOLIDAY)]


@pytest.mark.parametrize(
    ("minute", "good", "unfinished"), [(-1, 0, 1), (0, 1, 0)], ids=["before the grace ends", "as it ends"]
)
def test_the_unfinished_session_is_dropped_and_counted(minute, good, unfinished):
    judged = judge(bar(), now=calendar().available_at(DAYS[0]) + timedelta(microseconds=minute))
    assert (judged.good.height, judged.unfinished, judged.refused.height) == (good, unfinished, 0)


def test_today_is_the_exchanges_own_and_a_later_date_is_refused_as_future():
    # 03:00 UTC on Tuesday is still Monday evening in New York, and Tuesday in London.
    now = datetime(2022, 1, 11, 3, tzinfo=UTC)
    tuesday = date(2022, 1, 11)
    told = pl.concat(
        [bar("NY", tuesday), bar("LO", tuesday), bar("NY", date(2022, 1, 15)), bar("NY", date(2090, 1, 2))]
    )
    judged = judge(told, now=now, exchange_of={"NY": "XNYS", "LO": "XLON"})
    assert judged.refused.select("symbol", "rule").rows() == [("NY", "future_session")] * 3
    assert judged.unfinished == 1


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 330 * 24 * 60).map(lambda minutes: datetime(2022, 1, 3, tzinfo=UTC) + timedelta(minutes=minutes)),
    st.integers(-5, 5),
)
def test_no_row_passes_before_its_session_is_available_whatever_the_hour(now, days):
    session = now.date() + timedelta(days=days)
    judged = judge(bar(session=session), now=now)
    assert judged.good.height + judged.refused.height + judged.unfinished == 1
    if not judged.good.is_empty():
        assert calendar().available_at(session) <= now


def test_of_equal_copies_one_is_kept_and_every_other_has_a_row_of_its_own():
    judged = judge(pl.concat([bar()] * 3))
    assert judged.good.height == 1
    assert judged.refused["rule"].to_list() == ["duplicate_key", "duplicate_key_2"]
    assert judged.refused.select(QUARANTINE.key).is_unique().all()


def test_of_differing_rows_none_is_kept():
    judged = judge(pl.concat([bar(), bar(session=DAYS[1]), bar(close=10.6), bar()]))
    assert judged.good["session"].to_list() == [DAYS[1]]
    assert judged.refused["rule"].to_list() == ["conflicting_key", "conflicting_key_2", "conflicting_key_3"]
    assert judged.refused["close"].sort().to_list() == [10.5, 10.5, 10.6]


def test_copies_of_a_broken_row_are_alike_and_the_kept_one_breaks_its_rule():
    assert rules_of(pl.concat([bar(close=NAN, open=None)] * 2)) == [
        ("A", DAYS[0], "duplicate_key"),
        ("A", DAYS[0], "not_finite"),
    ]


def test_a_whole_bar_carried_on_is_refused_and_equal_prices_with_another_volume_are_not():
    carried = pl.concat([bar(session=day) for day in DAYS[:3]])
    assert rules_of(carried) == [("A", day, "repeated_bar") for day in DAYS[1:3]]
    assert rules_of(pl.concat([bar(), bar(session=DAYS[1], volume=101.0)])) == []
    assert rules_of(pl.concat([bar(), bar("B", DAYS[1])])) == []
    # One trade of 100 shares at yesterday's price is nothing odd.
    flat = {"open": 10.5, "high": 10.5, "low": 10.5}
    assert rules_of(pl.concat([bar(**flat), bar(session=DAYS[1], **flat)])) == []


def test_a_bar_carried_on_from_what_is_stored_is_refused_too():
    assert rules_of(bar(session=DAYS[1]), before=bar()) == [("A", DAYS[1], "repeated_bar")]


def test_a_jump_is_judged_against_the_last_good_close_exactly_at_the_limit():
    assert rules_of(bars({"A": [1.0, 2.718281828459045, 1.0]})) == []
    assert rules_of(bars({"A": [1.0, 2.72], "B": [1000.0, 1001.0]})) == [("A", DAYS[1], "jump")]
    assert rules_of(bars({"A": [1.0, 0.3]})) == [("A", DAYS[1], "jump")]


@pytest.mark.parametrize(
    ("closes", "refused"),
    [
        ([10.0, 1000.0, 10.0, 10.0], [1]),
        ([10.0, 10.0, 50.0, 51.0, 52.0], [2]),
        ([10.0, 1000.0, 10.0, 1000.0, 10.0], [1, 3]),
        ([10.0, 1000.0, 0.1, 10.0], [1, 2]),
        ([10.0, -1.0, 10.0], [1]),
    ],
    ids=["a spike", "a new level", "a spike twice", "two spikes", "a refused row is no reference"],
)
def test_a_spike_or_a_new_level_costs_one_row(closes, refused):
    judged = judge(bars({"A": closes}))
    assert judged.refused["session"].to_list() == [DAYS[place] for place in refused]


def test_the_first_row_of_a_fetch_is_held_against_the_newest_stored_bar_before_it():
    stored = bars({"A": [10.0, 1.0]}, dates=DAYS[:2])
    assert rules_of(bars({"A": [10.0]}, dates=[DAYS[2]]), before=stored) == [("A", DAYS[2], "jump")]
    # What is stored of the session itself, or later, is no reference.
    assert rules_of(bars({"A": [10.0]}, dates=[DAYS[1]]), before=stored) == []


def test_several_told_splits_explain_a_jump_each():
    told = bars({"A": [100.0, 25.0, 26.0, 5.2]})
    splits = pl.concat([split_action(DAYS[1], 4.0), split_action(DAYS[3], 5.0)])
    assert rules_of(told, basis="raw", actions=splits) == []
    assert rules_of(told, basis="raw", actions=splits.head(1)) == [("A", DAYS[3], "jump")]


@pytest.mark.parametrize(("basis", "refused"), [("raw", []), ("split", [("A", DAYS[1], "jump")])])
def test_a_split_told_by_the_source_explains_a_jump_of_raw_bars_only(basis, refused):
    told = bars({"A": [100.0, 25.0, 25.5]})
    assert rules_of(told, basis=basis, actions=split_action(DAYS[1], 4.0)) == refused


def test_other_columns_of_a_fetch_stay_with_their_rows():
    told = pl.concat([bar("B"), bar()]).with_columns(payload_hash=pl.Series(["b", "a"]))
    assert judge(told).good.select("symbol", "payload_hash").rows() == [("A", "a"), ("B", "b")]


def test_every_rule_is_in_the_table_of_the_module_and_in_the_reports():
    import gnn_assets.bars.rules as module

    listed = {*REFUSING, *NULLED, *WHOLE.names}
    assert set(POSSIBLE.names) < listed
    table = module.__doc__ or ""
    assert all(rule in table for rule in listed)


def test_many_symbols_are_judged_slice_by_slice_with_one_result(monkeypatch):
    told = pl.concat([bars({name: [10.0, 30.0, 10.0, 10.5]}) for name in "ABCDEFG"])
    whole = judge(told)
    monkeypatch.setattr("gnn_assets.bars.rules._AT_ONCE", 5)
    sliced = judge(told)
    assert sliced.good.equals(whole.good)
    assert sliced.refused.equals(whole.refused)
    assert whole.refused.height == 7


hostile = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, -5.0, NAN, INFINITY, -INFINITY, 1e-300, 1e300, 5e-324, 9.0, 10.0, 11.0, 100.0]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(8, 12),
)
# The first of these dates are sessions; then a weekend, a holiday, an unfinished session and a future one.
DATES = [*DAYS, date(2022, 1, 15), HOLIDAY, date(2022, 6, 1), date(2022, 6, 2), date(2040, 1, 3)]
hostile_bars = st.lists(
    st.tuples(st.sampled_from("AB"), st.sampled_from(DATES), hostile, hostile, hostile, hostile, hostile), max_size=14
).map(lambda rows: pl.DataFrame(rows, schema=dict(FETCHED_COLUMNS), orient="row"))


def invariants_hold(told, random):
    judged = judge(told)
    good, refused = judged.good, judged.refused
    # Every row told is somewhere, once: what only lost a value stands in both.
    nulled = refused["rule"].is_in(list(NULLED))
    assert good.height + refused.filter(~nulled).height + judged.unfinished == told.height
    assert refused.select(QUARANTINE.key).is_unique().all()
    assert good.select("symbol", "session").is_unique().all()
    assert judged.unfinished == told.filter(pl.col("session") == date(2022, 6, 1)).height
    for name in ("open", "high", "low", "close"):
        assert (good[name].is_null() | (good[name].is_finite() & (good[name] > 0))).all()
    assert good["close"].null_count() == 0
    assert (good["volume"].is_null() | (good["volume"].is_finite() & (good["volume"] >= 0))).all()
    for name in ("open", "close"):
        assert good.filter(pl.col(name) > pl.col("high")).is_empty()
        assert good.filter(pl.col(name) < pl.col("low")).is_empty()
    assert good["session"].is_in(DAYS).all()
    # Nothing is changed but nulled, and each value that is gone is told of by a flag and a row in quarantine.
    beside = good.join(told.unique(), on=("symbol", "session"), suffix="_told", maintain_order="left")
    beside = beside.unique(("symbol", "session"))
    assert beside.height == good.height
    for name in VALUES:
        gone = pl.col(name).is_null() & pl.col(f"{name}_told").is_not_null()
        assert beside.filter(~gone & pl.col(name).ne_missing(pl.col(f"{name}_told"))).is_empty()
        for flags in beside.filter(gone)["flags"]:
            assert any(name in NULLED.get(rule, ()) for rule in flags.split(","))
    flagged = {
        (symbol, session, rule)
        for symbol, session, flags in good.select("symbol", "session", "flags").iter_rows()
        for rule in flags.split(",")
        if rule in NULLED
    }
    assert flagged == set(refused.filter(nulled).select("symbol", "session", "rule").iter_rows())
    # The order of the rows is nothing.
    order = list(range(told.height))
    random.shuffle(order)
    again = judge(told[order])
    assert again.good.equals(good)
    assert again.refused.equals(refused, null_equal=True)


randoms = st.randoms(use_true_random=False)


@settings(deadline=None, max_examples=80)
@given(hostile_bars, randoms)
def test_whatever_is_told_the_invariants_hold(told, random):
    invariants_hold(told, random)


@pytest.mark.drill
@settings(deadline=None, max_examples=10_000)
@given(hostile_bars, randoms)
def test_whatever_is_told_the_invariants_hold_in_ten_thousand_examples(told, random):
    invariants_hold(told, random)


@pytest.mark.slow
def test_the_dirt_of_the_real_file_is_counted_by_rule():
    if not DATA.exists():
        pytest.skip(f"real bars are not here: {DATA.name} lies beside the project, not in it")
    told = pl.read_parquet(DATA).with_columns(pl.col(*VALUES).cast(pl.Float64))
    first, until = date(2012, 1, 3), date(2018, 1, 31)
    years = Exchanges(SessionCalendar.build("XNYS", first=first, until=until, grace=timedelta(minutes=30)), {})
    judged = judge_rows(
        told, source="files", basis="split", actions=no_actions(), before=NONE, exchange_of={}, exchanges=years,
        now=datetime(2018, 1, 2, tzinfo=UTC), config=config().bars.rules,
    )  # fmt: skip
    assert dict(judged.refused.group_by("rule").len().iter_rows()) == {
        "no_trade": 1622,
        "zero_volume": 456,
        "open_zero": 148,
        "low_zero": 130,
        "high_zero": 120,
        "open_outside": 70,
        "close_outside": 45,
        "close_far_outside": 4,
        "high_below_low": 1,
    }
    assert judged.good["flags"].str.contains("flat_bar").sum() == 2776
    assert judged.good.height == told.height - 5
