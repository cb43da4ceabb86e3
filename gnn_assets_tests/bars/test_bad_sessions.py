from datetime import date, timedelta

import polars as pl
import pytest

from gnn_assets.bars.bad_sessions import COUNTED, judge_sessions, session_coverage
from gnn_assets.bars.fetched import FETCHED_COLUMNS, VALUES, no_actions
from gnn_assets.bars.row_schemas import NULLED, REFUSING
from gnn_assets.bars.rules import judge_rows
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets_tests.bars.market import LATER, bars, calendar, config, sessions

DAYS = sessions(12)
NAMES = [f"S{number:03}" for number in range(100)]
RULES = config().bars.rules


def told(broken=0, *, day=1, names=NAMES, **values):
    """A bar a symbol and session; the first symbols have other values on one day."""
    rows = [
        {"symbol": name, "session": session, "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5,
         "volume": 100.0 + place} | (values if place == day and number < broken else {})
        for number, name in enumerate(names)
        for place, session in enumerate(DAYS[:3])
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=dict(FETCHED_COLUMNS))


def judge(frame):
    judged = judge_rows(
        frame, source="sample", basis="split", actions=no_actions(), before=frame.clear(), exchange_of={},
        exchanges=Exchanges(calendar(), {}), now=LATER, config=RULES,
    )  # fmt: skip
    return judge_sessions(judged, source="sample", config=RULES)


def bad(judged):
    return judged.refused.filter(pl.col("rule").str.starts_with("bad_session_"))


@pytest.mark.parametrize(("broken", "refused"), [(5, 0), (6, 94)])
def test_a_rule_broken_by_more_than_five_of_a_hundred_refuses_the_session_whole(broken, refused):
    judged = judge(told(broken, close=float("nan")))
    assert bad(judged).height == refused
    assert judged.good.filter(pl.col("session") == DAYS[1]).height == (100 - broken if not refused else 0)
    assert judged.good.filter(pl.col("session") != DAYS[1]).height == 200
    assert judged.refused.filter(pl.col("rule") == "not_finite").height == broken
    if refused:
        assert bad(judged)["rule"].unique().to_list() == ["bad_session_not_finite"]
        assert bad(judged)["session"].unique().to_list() == [DAYS[1]]


@pytest.mark.parametrize(("broken", "refused"), [(4, 0), (5, 15)])
def test_a_few_symbols_of_a_small_universe_are_no_bad_day(broken, refused):
    assert bad(judge(told(broken, names=NAMES[:20], close=-1.0))).height == refused


def test_different_rules_are_not_added_up():
    frame = told(4, close=float("nan"))
    other = (pl.col("session") == DAYS[1]) & pl.col("symbol").is_in(NAMES[50:54])
    frame = frame.with_columns(close=pl.when(other).then(-1.0).otherwise("close"))
    assert bad(judge(frame)).is_empty()


@pytest.mark.parametrize(
    "values",
    [
        {"volume": 0.0},
        {"open": 0.0, "high": 0.0, "low": 0.0, "volume": 0.0},
        {"open": 10.5, "high": 10.5, "low": 10.5},
        {"close": None},
    ],
    ids=["unknown volumes", "days without trades", "flat bars", "no closes"],
)
def test_what_comes_in_crowds_in_a_quiet_market_condemns_nobody(values):
    judged = judge(told(100, **values))
    assert bad(judged).is_empty()
    assert judged.good.height == (200 if "close" in values else 300)


def test_an_answer_that_comes_twice_condemns_no_session_and_one_that_contradicts_itself_does():
    assert bad(judge(pl.concat([told(), told()]))).is_empty()
    contradicted = judge(pl.concat([told(), told(10, close=10.6)]))
    assert bad(contradicted)["rule"].unique().to_list() == ["bad_session_conflicting_key"]
    assert bad(contradicted).height == 90


def test_a_day_carried_on_across_the_source_is_refused():
    judged = judge(told(30, volume=100.0))
    assert bad(judged)["rule"].unique().to_list() == ["bad_session_repeated_bar"]


def test_a_refused_row_that_had_lost_a_value_stands_in_quarantine_as_it_was_told():
    judged = judge(told(10, open=0.0))
    assert bad(judged).height == 100
    mine = bad(judged).filter(pl.col("symbol") == NAMES[0])
    assert mine.select(*VALUES).row(0) == (0.0, 11.0, 9.0, 10.5, 101.0)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"close": -1.0}, "close_not_positive"),
        ({"close": float("nan")}, "not_finite"),
        ({"high": 8.0}, "high_below_low"),
    ],
)
def test_a_session_whose_every_row_was_refused_is_seen_as_bad_too_by_one_row(values, rule):
    judged = judge(told(100, **values))
    assert bad(judged).select("symbol", "session", "source", "rule").rows() == [
        (NAMES[0], DAYS[1], "sample", f"bad_session_{rule}")
    ]
    assert judged.refused.height == 101
    assert judged.good.height == 200
    # Beside a session of which good rows are left, each is told in its own way.
    both = judge(told(100, **values).with_columns(
        close=pl.when((pl.col("session") == DAYS[2]) & pl.col("symbol").is_in(NAMES[:6])).then(-1.0).otherwise("close")
    ))  # fmt: skip
    assert bad(both).group_by("session").len().sort("session").rows() == [(DAYS[1], 1), (DAYS[2], 94)]


def test_the_rule_most_symbols_broke_is_named():
    frame = told(10, close=float("nan"))
    other = (pl.col("session") == DAYS[1]) & pl.col("symbol").is_in(NAMES[50:65])
    frame = frame.with_columns(close=pl.when(other).then(-1.0).otherwise("close"))
    assert bad(judge(frame))["rule"].unique().to_list() == ["bad_session_close_not_positive"]


def test_a_clean_fetch_is_given_back_as_it_is():
    judged = judge(told())
    assert judged.good.height == 300
    assert judged.refused.is_empty()


def test_rules_that_count_are_rules():
    assert set(COUNTED) < {*REFUSING, *NULLED}


def test_each_session_is_held_against_the_median_of_its_neighbours():
    thin = {name: [1.0] * 5 + ([None] if number > 2 else [1.0]) + [1.0] * 4 for number, name in enumerate(NAMES[:10])}
    # A close that is missing is no bar: the row rules refuse it before it is stored.
    rows = pl.concat([bars({name: series}) for name, series in thin.items()]).drop_nulls("close")
    covered = session_coverage(
        rows, exchange_of={}, exchanges=Exchanges(calendar(), {}),
        config=RULES.model_copy(update={"session_neighbours": 3}),
    )  # fmt: skip
    assert covered["session"].to_list() == list(DAYS[:10])
    assert covered.row(5) == ("XNYS", DAYS[5], 3, 10.0, 0.3)
    assert covered["share"].to_list()[:5] == [1.0] * 5


def test_a_session_without_any_symbol_counts_as_none_and_a_single_one_as_whole():
    rows = bars({"A": [1.0] * 4}, dates=[DAYS[0], DAYS[1], DAYS[3], DAYS[4]])
    options = {"exchange_of": {}, "exchanges": Exchanges(calendar(), {}), "config": RULES}
    covered = session_coverage(rows, **options)
    assert covered["symbols"].to_list() == [1, 1, 0, 1, 1]
    assert covered["share"].to_list() == [1.0, 1.0, 0.0, 1.0, 1.0]
    assert session_coverage(rows[:1], **options)["share"].to_list() == [1.0]
    assert session_coverage(rows.clear(), **options).is_empty()


def test_a_session_is_no_neighbour_of_itself():
    rows = pl.concat([bars({name: [1.0, 1.0 if name == "A" else None]}) for name in "ABC"])
    covered = session_coverage(rows, exchange_of={}, exchanges=Exchanges(calendar(), {}), config=RULES)
    assert covered["expected"].to_list() == [1.0, 3.0]


def test_exchanges_are_counted_by_themselves():
    london = SessionCalendar.build(
        "XLON", first=date(2021, 12, 1), until=date(2022, 1, 31), grace=timedelta(minutes=30)
    )
    # 3 January 2022 was a session in New York and a holiday in London.
    rows = pl.concat([bars({"NY": [1.0] * 3}), bars({"LO": [1.0] * 2}, dates=DAYS[1:3])])
    covered = session_coverage(
        rows, exchange_of={"NY": "XNYS", "LO": "XLON"}, exchanges=Exchanges(calendar(), {"XLON": london}), config=RULES
    )
    assert covered.select("exchange", "session").rows() == [
        ("XLON", DAYS[1]),
        ("XLON", DAYS[2]),
        *(("XNYS", day) for day in DAYS[:3]),
    ]
    assert (covered["share"] == 1.0).all()
