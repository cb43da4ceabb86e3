import math
from datetime import date, timedelta

import polars as pl
import pytest

from gnn_assets.bars.findings import symbol_findings
from gnn_assets.bars.schema import UNIVERSE
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets_tests.bars.market import bars, calendar, config, sessions

DAYS = sessions(19)
NO_ACTIONS = pl.DataFrame(
    schema={"symbol": pl.String, "session": pl.Date, "kind": pl.String, "source": pl.String, "value": pl.Float64}
)


def latest(closes, *, source="one", dates=None):
    rows = bars(closes, dates=dates).drop_nulls("close")
    return rows.with_columns(source=pl.lit(source), basis=pl.lit("split"))


def universe(symbols, exchange="XNYS", first=DAYS[0], last=None):
    rows = [
        {"symbol": symbol, "from_session": first, "to_session": last, "tier": "core", "sector": "",
         "survivor_only": False, "exchange": exchange, "priority": place}
        for place, symbol in enumerate(symbols)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=dict(UNIVERSE.columns))


def findings(frame, *, members=None, actions=NO_ACTIONS, others=None, min_symbol_coverage=0.0, **rules):
    members = universe(frame["symbol"].unique().sort()) if members is None else members
    settings = config().bars
    limits = settings.rules.model_copy(update={"max_gap_sessions": 3, "stale_sessions": 4, **rules})
    return symbol_findings(
        frame,
        actions,
        exchange_of=dict(members.select("symbol", "exchange").iter_rows()),
        exchanges=Exchanges(calendar(), others or {}),
        universe=members,
        config=settings.model_copy(update={"rules": limits, "min_symbol_coverage": min_symbol_coverage}),
    )


def moving(count, missing=()):
    return [None if place in missing else 10 + place / 10 for place in range(count)]


@pytest.mark.parametrize(("missing", "gaps"), [((4, 5, 6), 0), ((4, 5, 6, 7), 1)])
def test_more_missing_sessions_in_a_row_than_allowed_are_a_gap(missing, gaps):
    found = findings(latest({"A": moving(12, missing)}))
    assert found.height == gaps
    if gaps:
        row = found.row(0, named=True)
        assert (row["finding"], row["source"], row["first"], row["last"]) == ("gap", "one", DAYS[4], DAYS[7])
        assert row["sessions"] == 4
        assert row["value"] == pytest.approx(math.log(10.8 / 10.3))


def test_what_another_source_has_is_no_gap():
    frame = pl.concat(
        [latest({"A": moving(12, (4, 5, 6, 7))}), latest({"A": [20.0, 21.0]}, source="two", dates=DAYS[5:7])]
    )
    assert findings(frame).is_empty()


def test_sessions_before_the_first_and_after_the_last_bar_or_outside_membership_are_no_gap():
    frame = pl.concat([latest({"A": moving(19)}), latest({"B": moving(4)}, dates=DAYS[6:10])])
    assert findings(frame).is_empty()
    late = latest({"A": moving(12, (4, 5, 6, 7))})
    assert findings(late, members=universe(["A"], first=DAYS[7])).is_empty()


def test_a_gap_is_counted_in_sessions_of_the_symbols_own_exchange():
    # Between these days London had four sessions, and New York six: it was open on 27 and 28 December and 3 January.
    first = calendar().sessions[0]
    london = SessionCalendar.build("XLON", first=first, until=DAYS[-1], grace=timedelta(minutes=30))
    frame = latest({"A": moving(2)}, dates=[date(2021, 12, 23), date(2022, 1, 4)])
    here = universe(["A"], first=first)
    there = universe(["A"], "XLON", first=first)
    assert findings(frame, members=there, others={"XLON": london}, max_gap_sessions=4).is_empty()
    assert findings(frame, members=there, others={"XLON": london})["sessions"].to_list() == [4]
    assert findings(frame, members=here, max_gap_sessions=4)["sessions"].to_list() == [6]


@pytest.mark.parametrize(("run", "stale"), [(3, 0), (4, 1)])
def test_a_close_unchanged_for_so_many_sessions_is_a_stale_run(run, stale):
    found = findings(latest({"A": [9.0, *[10.0] * run, 9.5], "B": moving(run + 2)}))
    assert found.height == stale
    if stale:
        assert found.rows() == [("A", "one", "stale_run", DAYS[1], DAYS[run], run, 10.0)]


def test_equal_closes_of_two_symbols_or_two_sources_are_no_run():
    frame = pl.concat(
        [latest({"A": [10.0] * 3, "B": [10.0] * 3}), latest({"A": [10.0] * 3}, source="two", dates=DAYS[3:6])]
    )
    assert findings(frame).is_empty()


def test_a_move_that_looks_like_a_split_is_a_finding_and_a_told_one_is_none():
    frame = latest({"A": [20.0 + place / 100 for place in range(10)] + [10.05] * 3}).with_columns(basis=pl.lit("raw"))
    row = findings(frame, stale_sessions=20).row(0)
    assert row == ("A", "one", "split_like", DAYS[10], DAYS[10], 1, 2.0)
    told = pl.DataFrame(
        [{"symbol": "A", "session": DAYS[10], "kind": "split", "source": "one", "value": 2.0}], schema=NO_ACTIONS.schema
    )
    assert findings(frame, actions=told, stale_sessions=20).is_empty()


def test_too_few_closes_are_low_coverage_and_exactly_enough_are_not():
    frame = latest({"A": moving(10), "B": moving(10, (3, 7)), "C": moving(10, (3, 5, 7))})
    members = universe(["A", "B", "C", "NEVER"])
    found = findings(frame, members=members, min_symbol_coverage=0.8)
    assert found.rows() == [
        ("C", "one", "low_coverage", DAYS[0], DAYS[9], 3, 0.7),
        ("NEVER", "", "low_coverage", DAYS[0], DAYS[9], 10, 0.0),
    ]


def test_no_bars_give_no_findings():
    nothing = findings(latest({"A": [1.0]}).clear(), members=universe(["A"]))
    assert nothing.is_empty()
    assert nothing.columns == ["symbol", "source", "finding", "first", "last", "sessions", "value"]
