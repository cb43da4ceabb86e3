import math
from datetime import date, timedelta
from types import MappingProxyType

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from gnn_assets.bars.returns import returns_of
from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, RETURNS
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.bars.market import LATER, bars, calendar, config, exchanges, record, sessions, universe
from gnn_assets_tests.lookahead import assert_no_lookahead

DAYS = sessions(6)
NEW_YORK = MappingProxyType({"A": "XNYS", "B": "XNYS"})


def told_by(source, closes, *, basis="split_div", at=LATER, stored=None, venues=NEW_YORK, **values):
    """What one source says, as first revisions (or as revisions of `stored`)."""
    frame = closes if isinstance(closes, pl.DataFrame) else bars(closes, **values)
    before = MARKET_BARS.empty() if stored is None else stored
    return record(before, frame, at=at, source=source, basis=basis, exchange_of=venues)


def actions_of(*rows, source="sample", known_at=LATER, rev=0):
    """(symbol, session, kind, value) rows of one source."""
    frame = pl.DataFrame(rows, schema=["symbol", "session", "kind", "value"], orient="row").with_columns(
        source=pl.lit(source),
        rev=pl.lit(rev),
        known_at=pl.lit(known_at),
        fetched_at=pl.lit(known_at),
        payload_hash=pl.lit("p"),
        run_id=pl.lit("r"),
    )
    return CORPORATE_ACTIONS.conform(frame.cast(dict(CORPORATE_ACTIONS.columns)).select(*CORPORATE_ACTIONS.columns))


def made(rows, actions=None, *, fill="close_next", sources=("sample",), venues=NEW_YORK, days=DAYS, **settings):
    primary = settings.pop("primary", "XNYS")
    return returns_of(
        rows,
        CORPORATE_ACTIONS.empty() if actions is None else actions,
        universe=settings.pop("members", universe(venues)),
        exchanges=exchanges(primary),
        sources=sources,
        sessions=days,
        symbols=settings.pop("symbols", tuple(venues)),
        fill=fill,
        config=settings.pop("config", config().bars),
        **settings,
    )


def float32(values):
    return pytest.approx(values, rel=1.5 * float(np.finfo(np.float32).eps), abs=1e-9)


def by_session(frame, column="close_return", symbol="A"):
    told = frame.filter(pl.col("symbol") == symbol, pl.col(column).is_not_null())
    return dict(told.select("session", column).iter_rows())


def test_returns_are_log_differences_of_adjacent_closes():
    frame = made(told_by("sample", {"A": [10.0, 11.0, 9.0, 9.0, 9.0, 12.0]}))
    assert frame.schema == RETURNS.empty().schema
    assert frame["session"].to_list() == list(DAYS[1:])
    assert frame["close_return"].to_list() == float32([math.log(1.1), math.log(9 / 11), 0.0, 0.0, math.log(12 / 9)])
    assert frame["fill_return"].equals(frame["close_return"], check_names=False)
    assert frame["source"].unique().to_list() == ["sample"]


def test_every_value_is_one_that_float32_can_hold():
    walk = np.exp(np.random.default_rng(3).normal(scale=0.02, size=6).cumsum())
    values = made(told_by("sample", {"A": 10 * walk}, open=9.0), fill="open_next")["close_return"].to_numpy()
    assert values.dtype == np.float64
    assert (values.astype(np.float32).astype(np.float64) == values).all()
    assert (np.diff(np.log(10 * walk)) != values).any()


def test_a_gap_gives_no_return_into_it_or_across_it():
    known = bars({"A": [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]}).filter(pl.col("session") != DAYS[1])
    frame = made(told_by("sample", known))
    for column in ("close_return", "fill_return"):
        assert list(by_session(frame, column)) == list(DAYS[3:])


def test_the_bar_before_the_first_session_wanted_may_lie_earlier():
    rows = told_by("sample", {"A": [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]})
    frame = made(rows, days=DAYS[3:5])
    assert by_session(frame) == {DAYS[3]: float32(math.log(13 / 12)), DAYS[4]: float32(math.log(14 / 13))}


def test_open_fills_run_from_open_to_open_while_closes_stay_close_to_close():
    closes = bars({"A": [10.0, 12.0, 14.0, 14.0, 14.0, 14.0]})
    opens = closes.with_columns(open=pl.Series([10.0, 13.0, None, 5.0, 6.0, None], dtype=pl.Float64))
    frame = made(told_by("sample", opens), fill="open_next")
    assert frame["close_return"].to_list()[:2] == float32([math.log(1.2), math.log(14 / 12)])
    # Neither into a missing open nor out of it is there a return.
    assert frame["fill_return"].to_list() == [float32(math.log(1.3)), None, None, float32(math.log(1.2)), None]


def test_a_symbol_that_nobody_asked_for_or_nobody_told_of_has_no_row():
    rows = told_by("sample", {"A": [1.0] * 6, "C": [1.0] * 6})
    venues = {"A": "XNYS", "B": "XNYS", "C": "XNYS"}
    assert made(rows, venues=venues, symbols=("A", "B"))["symbol"].unique().to_list() == ["A"]


def test_returns_outside_a_membership_are_left_out_and_its_first_session_has_one():
    members = universe(NEW_YORK).with_columns(from_session=pl.lit(DAYS[2]), to_session=pl.lit(DAYS[4]))
    frame = made(told_by("sample", {"A": [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]}), members=members)
    for column in ("close_return", "fill_return"):
        assert list(by_session(frame, column)) == list(DAYS[2:5])


# ---- what a holder earns --------------------------------------------------------------------------------------------


def test_a_holder_earns_the_fill_return_and_over_a_gap_the_whole_move():
    """Halted at 11, it comes back at 4.4: no model may learn from that, and no holder escapes it."""
    known = bars({"A": [10.0, 11.0, 99.0, 99.0, 4.4, 4.5]}).filter(~pl.col("session").is_in(DAYS[2:4]))
    frame = made(told_by("sample", known))
    assert by_session(frame, "fill_return") == {
        DAYS[1]: float32(math.log(1.1)),
        DAYS[5]: float32(math.log(4.5 / 4.4)),
    }
    assert by_session(frame, "held_return") == {
        DAYS[1]: float32(math.log(1.1)),
        DAYS[4]: float32(math.log(0.4)),
        DAYS[5]: float32(math.log(4.5 / 4.4)),
    }


def test_an_open_that_is_missing_is_a_gap_for_who_fills_at_the_open():
    closes = bars({"A": [10.0, 12.0, 14.0, 14.0, 14.0, 14.0]})
    opens = closes.with_columns(open=pl.Series([10.0, 13.0, None, 5.2, 6.5, 6.5], dtype=pl.Float64))
    held = by_session(made(told_by("sample", opens), fill="open_next"), "held_return")
    assert held == {
        day: float32(math.log(ratio))
        for day, ratio in {DAYS[1]: 1.3, DAYS[3]: 0.4, DAYS[4]: 6.5 / 5.2, DAYS[5]: 1.0}.items()
    }


def test_what_is_paid_and_split_in_a_gap_is_the_holders():
    """One share at 100: 4 paid, then 2 for 1, then 1 paid for each of two, and they are worth 45 each."""
    known = bars({"A": [100.0, 99.0, 99.0, 99.0, 45.0]}).filter(~pl.col("session").is_in(DAYS[1:4]))
    actions = actions_of(("A", DAYS[1], "dividend", 4.0), ("A", DAYS[2], "split", 2.0), ("A", DAYS[3], "dividend", 1.0))
    held = by_session(made(told_by("sample", known, basis="raw"), actions), "held_return")
    assert held == {DAYS[4]: float32(math.log((2 * 45 + 4 + 2 * 1) / 100))}


def test_nobody_knows_what_a_holder_earned_over_a_move_that_looks_like_a_split():
    known = bars({"A": [100.0, 101.0, 99.0, 50.0, 50.5, 50.0]}).filter(pl.col("session") != DAYS[2])
    held = by_session(made(told_by("sample", known)), "held_return")
    assert list(held) == [DAYS[1], DAYS[4], DAYS[5]]


def test_a_holder_is_followed_after_the_membership_for_as_long_as_it_takes_to_sell():
    members = universe(NEW_YORK).with_columns(from_session=pl.lit(DAYS[1]), to_session=pl.lit(DAYS[2]))
    rows = told_by("sample", {"A": [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]})
    brief = config().bars.model_copy(update={"sessions_after_membership": 2})
    frame = made(rows, members=members, config=brief)
    assert list(by_session(frame, "close_return")) == list(DAYS[1:3])
    assert list(by_session(frame, "held_return")) == list(DAYS[1:5])
    assert by_session(frame, "held_return")[DAYS[4]] == float32(math.log(14 / 13))


def test_a_symbol_that_rejoins_is_there_once_a_session():
    again = pl.concat(
        [
            universe(NEW_YORK).with_columns(from_session=pl.lit(first), to_session=pl.lit(last, dtype=pl.Date))
            for first, last in ((DAYS[0], DAYS[1]), (DAYS[4], None))
        ]
    )
    frame = made(told_by("sample", {"A": [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]}), members=again)
    assert list(by_session(frame, "close_return")) == [DAYS[1], DAYS[4], DAYS[5]]
    assert frame.filter(pl.col("symbol") == "A")["session"].to_list() == list(DAYS[1:])


def test_what_another_source_told_in_a_gap_is_not_earned_twice():
    """The first source knows the ends, the second the middle: a holder earns what lies between the ends, once."""
    closes = [10.0, 11.0, 12.0, 9.0, 8.0, 4.0]
    first = told_by("first", bars({"A": closes}).filter(~pl.col("session").is_in(DAYS[1:5])))
    scaled = bars({"A": [3 * price for price in closes]}).filter(pl.col("session").is_in(DAYS[1:4]))
    rows = pl.concat([first, told_by("second", scaled)])
    frame = made(rows, sources=("first", "second"))
    held = by_session(frame, "held_return")
    assert list(held) == [DAYS[2], DAYS[3], DAYS[5]]
    assert sum(held.values()) == float32(math.log(4 / 10))
    assert dict(frame.select("session", "source").iter_rows()) == {
        DAYS[2]: "second",
        DAYS[3]: "second",
        DAYS[5]: "first",
    }


def test_where_gaps_of_two_sources_only_overlap_nobody_knows_what_is_left():
    """One knows sessions 2 and 5, the other 0 and 3: from 3 to 5 nobody saw both ends, and 0 to 3 was a fall."""
    closes = [100.0, 100.0, 72.0, 72.0, 72.0, 72.0]
    first = told_by("first", bars({"A": closes}).filter(pl.col("session").is_in([DAYS[2], DAYS[5]])))
    second = told_by("second", bars({"A": closes}).filter(pl.col("session").is_in([DAYS[0], DAYS[3]])))
    held = by_session(made(pl.concat([first, second]), sources=("first", "second")), "held_return")
    assert held == {DAYS[3]: float32(math.log(0.72))}


# 17 January 2022 is a holiday in New York and none in London: what happened there counts on the 18th.
_LONDON = MappingProxyType({"A": "XLON"})
_AROUND = tuple(date(2022, 1, day) for day in (14, 17, 18, 19, 20))


def _in_london(source, prices, *, opens=None):
    frame = pl.DataFrame({"symbol": "A", "session": list(prices), "close": list(prices.values())})
    frame = bars({"A": [1.0] * len(prices)}).with_columns(frame["session"], frame["close"])
    chosen = list((opens or prices).values())
    return told_by(source, frame.with_columns(open=pl.Series(chosen, dtype=pl.Float64)), venues=_LONDON)


def test_a_missing_fill_price_on_a_holiday_here_loses_no_move():
    prices = dict(zip(_AROUND, [100.0, 100.0, 80.0, 80.0, 80.0], strict=True))
    opens = {**prices, _AROUND[1]: None}
    frame = made(
        _in_london("sample", prices, opens=opens),
        venues=_LONDON,
        days=calendar().between(*_AROUND[::4]),
        fill="open_next",
    )
    held = by_session(frame, "held_return")
    assert held == {_AROUND[2]: float32(math.log(0.8)), _AROUND[3]: 0.0, _AROUND[4]: 0.0}


def test_a_move_that_two_sources_share_in_part_of_a_session_here_is_earned_once():
    prices = dict(zip(_AROUND, [100.0, 100.0, 130.0, 130.0, 130.0], strict=True))
    first = _in_london("first", {day: price for day, price in prices.items() if day != _AROUND[2]})
    second = _in_london("second", {day: price for day, price in prices.items() if day <= _AROUND[2]})
    frame = made(
        pl.concat([first, second]), venues=_LONDON, days=calendar().between(*_AROUND[::4]), sources=("first", "second")
    )
    held = by_session(frame, "held_return")
    assert sum(held.values()) == float32(math.log(1.3))


# ---- adjustment at read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", ["close_next", "open_next"])
def test_a_raw_split_and_a_dividend_change_no_return(fill):
    """A holder of one share at 100: worth 102 and 3 paid; then 2 for 1 at 52 each; then 50, 1 paid, and 4 for 1."""
    prices = [100.0, 102.0, 52.0, 12.5, 12.5]
    rows = told_by("sample", bars({"A": prices}).with_columns(open="close"), basis="raw")
    actions = actions_of(
        ("A", DAYS[1], "dividend", 3.0),
        ("A", DAYS[2], "split", 2.0),
        ("A", DAYS[3], "dividend", 0.25),  # for one share after the split
        ("A", DAYS[3], "split", 4.0),
    )
    frame = made(rows, actions, fill=fill)
    expected = [math.log(105 / 100), math.log(104 / 102), math.log(51 / 52), 0.0]
    for name in ("close_return", "fill_return"):
        assert frame[name].to_list() == float32(expected)


@pytest.mark.parametrize(
    ("basis", "expected"),
    [("raw", [103 * 1.1 / 100, 1.0]), ("split", [103 / 100, 1.0]), ("split_div", [1.0, 1.0])],
)
def test_each_basis_is_adjusted_for_what_it_is_not_adjusted_for_yet(basis, expected):
    rows = told_by("sample", {"A": [100.0, 100.0, 100.0]}, basis=basis)
    actions = actions_of(("A", DAYS[1], "dividend", 3.0), ("A", DAYS[1], "split", 1.1))
    assert made(rows, actions)["close_return"].to_list() == float32([math.log(value) for value in expected])


def test_the_actions_of_another_source_symbol_or_session_adjust_nothing():
    rows = told_by("sample", {"A": [10.0, 10.0, 10.0]}, basis="raw")
    elsewhere = pl.concat(
        [
            actions_of(("A", DAYS[1], "dividend", 1.0), source="other"),
            actions_of(("B", DAYS[1], "dividend", 1.0), ("A", DAYS[4], "dividend", 1.0)),
        ]
    )
    assert made(rows, elsewhere)["close_return"].to_list() == [0.0, 0.0]


def test_a_withdrawn_action_adjusts_no_more():
    rows = told_by("sample", {"A": [10.0, 10.0]}, basis="raw")
    dividend = actions_of(("A", DAYS[1], "dividend", 1.0))
    withdrawn = actions_of(("A", DAYS[1], "dividend", None), known_at=LATER + timedelta(days=1), rev=1)
    both = pl.concat([dividend, withdrawn])
    assert made(rows, both)["close_return"].to_list() == [0.0]
    assert made(rows, both, known_at=LATER)["close_return"].to_list() == float32([math.log(1.1)])


def test_no_return_runs_between_two_bases():
    first = told_by("sample", bars({"A": [10.0, 10.0]}), basis="raw")
    rest = told_by("sample", bars({"A": [10.0, 10.0, 10.0]}, dates=DAYS[2:5]), basis="split")
    assert made(pl.concat([first, rest]))["session"].to_list() == [DAYS[1], DAYS[3], DAYS[4]]


def test_a_return_over_a_split_like_move_without_an_action_is_none():
    rows = told_by("sample", {"A": [100.0, 101.0, 50.5, 51.0, 51.0], "B": [10.0] * 5}, basis="raw", volume=1000.0)
    assert by_session(made(rows)).keys() == {DAYS[1], DAYS[3], DAYS[4]}
    told = actions_of(("A", DAYS[2], "split", 2.0))
    assert by_session(made(rows, told))[DAYS[2]] == float32(0.0)


# ---- several sources -------------------------------------------------------------------------------------------------


def test_the_first_source_of_the_chain_that_has_both_sides_wins_session_by_session():
    first = told_by("sample", bars({"A": [10.0, 11.0, 12.0]}))
    second = told_by("other", {"A": [500.0, 500.0, 500.0, 505.0, 510.0, 510.0]})
    frame = made(pl.concat([first, second]), sources=("sample", "other"))
    assert by_session(frame, "source") == {
        DAYS[1]: "sample", DAYS[2]: "sample", DAYS[3]: "other", DAYS[4]: "other", DAYS[5]: "other",
    }  # fmt: skip
    # The seam from the first source's level to the second's, 12 to 505, is in no return.
    assert frame["close_return"].to_list() == float32(
        [math.log(1.1), math.log(12 / 11), math.log(505 / 500), math.log(510 / 505), 0.0]
    )
    turned = made(pl.concat([first, second]), sources=("other", "sample"))
    assert turned["source"].unique().to_list() == ["other"]
    assert made(pl.concat([first, second]), sources=("sample",))["session"].to_list() == list(DAYS[1:3])


def test_a_source_with_both_returns_goes_before_an_earlier_one_without_the_fill():
    closes = told_by("sample", {"A": [10.0, 11.0, 12.0]})
    whole = told_by("other", bars({"A": [10.0, 11.0]}, open=9.0))
    frame = made(pl.concat([closes, whole]), sources=("sample", "other"), fill="open_next")
    assert frame.select("session", "source", "fill_return").rows() == [
        (DAYS[1], "other", 0.0),
        (DAYS[2], "sample", None),
    ]


# ---- as of a moment --------------------------------------------------------------------------------------------------


def test_a_correction_changes_returns_from_the_moment_it_was_fetched_and_none_before():
    stored = told_by("sample", {"A": [10.0, 11.0, 12.0]})
    moment = LATER + timedelta(days=1)
    every = pl.concat([stored, told_by("sample", {"A": [10.0, 11.5, 12.0]}, stored=stored, at=moment)])
    assert_frame_equal(made(every, known_at=moment - timedelta(microseconds=1)), made(stored))
    assert by_session(made(every, known_at=moment))[DAYS[1]] == float32(math.log(1.15))


def test_a_restatement_of_adjusted_history_after_a_dividend_leaves_log_returns_equal():
    walk = 100 * np.exp(np.random.default_rng(1).normal(scale=0.02, size=6).cumsum())
    stored = told_by("sample", {"A": walk})
    restated = walk.copy()
    restated[:4] *= 1 - 0.75 / walk[3]  # one dividend, ex at the fifth session, changes every earlier row
    later = told_by("sample", {"A": restated}, stored=stored, at=LATER + timedelta(days=1))
    assert later["rev"].to_list() == [1] * 4
    before, after = by_session(made(stored)), by_session(made(pl.concat([stored, later])))
    unchanged = [DAYS[1], DAYS[2], DAYS[3], DAYS[5]]
    assert [after[day] for day in unchanged] == float32([before[day] for day in unchanged])
    assert after[DAYS[4]] > before[DAYS[4]]


# ---- several exchanges -----------------------------------------------------------------------------------------------

HOLIDAY = date(2022, 1, 17)  # New York rests, London and Tokyo trade
BANK_HOLIDAY = date(2022, 1, 3)  # London and Tokyo rest, New York trades


def growing(code, symbol="A", days=None):
    """Closes that grow by one hundredth a session of an exchange."""
    own = days or [day for day in calendar(code).sessions if date(2021, 12, 20) <= day <= date(2022, 1, 31)]
    return bars({symbol: [1.01**number for number in range(len(own))]}, dates=own)


@pytest.mark.parametrize("code", ["XLON", "XTKS"])
def test_a_session_elsewhere_counts_at_the_first_primary_one_that_is_known_no_earlier(code):
    venues = {"A": code}
    axis = calendar().between(date(2022, 1, 3), date(2022, 1, 31))
    frame = made(told_by("sample", growing(code), venues=venues), venues=venues, days=axis)
    units = {session: value / math.log(1.01) for session, value in by_session(frame).items()}
    # The holiday's return is added to that of the session after it; where nobody traded there is none.
    assert units[date(2022, 1, 18)] == pytest.approx(2, rel=1e-6)
    assert HOLIDAY not in units
    assert BANK_HOLIDAY not in units
    own = calendar(code).between(date(2022, 1, 3), date(2022, 1, 31))
    assert sum(units.values()) == pytest.approx(len(own), rel=1e-6)
    assert set(units) == {day for day in axis if day in own}


def test_where_the_primary_exchange_closes_first_the_others_session_counts_a_day_later():
    venues = {"A": "XNYS"}
    axis = calendar("XLON").between(date(2022, 1, 4), date(2022, 1, 14))
    frame = made(told_by("sample", growing("XNYS"), venues=venues), venues=venues, days=axis, primary="XLON")
    # London's Tuesday is known before New York's: it holds New York's Friday (2021-12-31) and Monday.
    assert by_session(frame)[date(2022, 1, 4)] == float32(2 * math.log(1.01))
    shifted = bars({"A": [1.0, 1.0, 2.5]}, dates=[date(2022, 1, day) for day in (10, 11, 12)])
    moved = made(told_by("sample", shifted, venues=venues), venues=venues, days=axis, primary="XLON")
    assert by_session(moved) == {date(2022, 1, 12): 0.0, date(2022, 1, 13): float32(math.log(2.5))}


def test_returns_that_count_together_are_none_if_one_of_them_is_missing():
    venues = {"A": "XLON"}
    axis = calendar().between(date(2022, 1, 3), date(2022, 1, 31))
    # Without Friday's bar Monday (New York's holiday) has no return, while Tuesday's is known.
    holes = growing("XLON").filter(pl.col("session") != date(2022, 1, 14))
    frame = made(told_by("sample", holes, venues=venues), venues=venues, days=axis)
    assert date(2022, 1, 18) not in by_session(frame)
    assert by_session(frame)[date(2022, 1, 19)] == float32(math.log(1.01))


@pytest.mark.parametrize("primary", ["XNYS", "XLON", "XTKS"])
@pytest.mark.parametrize("at", [date(2022, 1, 11), date(2022, 1, 14), date(2022, 1, 19)])
def test_on_every_axis_nothing_is_seen_before_it_is_known(primary, at):
    """What no exchange had told by the session's moment becomes garbage; nothing up to the session changes."""
    venues = {"A": "XNYS", "B": "XLON", "C": "XTKS"}
    moment = calendar(primary).available_at(at)
    frames = [growing(code, symbol) for symbol, code in venues.items()]
    known = pl.concat(
        [
            frame.filter(
                pl.col("session").is_in(
                    [day for day in calendar(code).sessions if calendar(code).available_at(day) <= moment]
                )
            )
            for frame, code in zip(frames, venues.values(), strict=True)
        ]
    )
    axis = calendar(primary).between(date(2022, 1, 4), date(2022, 1, 28))

    def upto(fetched):
        rows = told_by("sample", fetched, venues=venues)
        frame = made(rows, venues=venues, days=axis, primary=primary)
        return frame.filter(pl.col("session") <= at)

    garbage = pl.concat(frames).join(known, on=["symbol", "session"], how="anti").with_columns(close=pl.lit(1e9))
    assert not garbage.is_empty()
    assert_frame_equal(upto(known), upto(pl.concat([known, garbage])))
    assert set(upto(known)["symbol"]) == set(venues)


# ---- properties ------------------------------------------------------------------------------------------------------

prices = st.lists(st.one_of(st.none(), st.floats(10.0, 14.0)), min_size=6, max_size=6)
cash = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.25, 1.0]), min_size=6, max_size=6)
ratios = st.lists(st.sampled_from([1.0, 1.0, 1.0, 2.0, 0.1]), min_size=6, max_size=6)


@settings(deadline=None, max_examples=30)
@given(prices, cash, ratios)
def test_returns_are_those_of_a_holder_as_pandas_counts_them(closes, paid, split):
    """A holder of one share never trades; its worth is price times shares, and what is paid is paid on top."""
    worth = pd.Series([math.nan if price is None else price for price in closes], index=DAYS, dtype=float)
    shares = pd.Series(split, index=DAYS).cumprod()
    raw = worth / shares  # what a raw source tells when the holder's worth moves without a jump
    dividends = pd.Series(paid, index=DAYS) / shares  # for one share after the split
    expected = np.log((worth + pd.Series(paid, index=DAYS)) / worth.shift()).dropna()
    received = pd.Series(paid, index=DAYS).cumsum()
    told = worth.dropna()
    held = np.log((told + received[told.index] - received[told.index].shift()) / told.shift()).dropna()
    known = bars({"A": raw.to_list()}).filter(pl.col("close").is_finite())
    kinds = (("split", pd.Series(split, index=DAYS)), ("dividend", dividends))
    actions = actions_of(*(("A", day, kind, value) for kind, series in kinds for day, value in series.items()))
    frame = made(told_by("sample", known, basis="raw"), actions)
    kept = by_session(frame, "held_return")
    assert list(kept) == list(held.index)
    assert list(kept.values()) == float32(held.to_list())
    got = by_session(frame)
    assert list(got) == list(expected.index)
    assert list(got.values()) == pytest.approx(list(expected), rel=1e-6, abs=1e-7)


@settings(deadline=None, max_examples=30)
@given(prices, st.sampled_from(["raw", "split", "split_div"]), st.integers(-8, 8))
def test_scaling_every_level_of_a_source_changes_nothing(closes, basis, power):
    known = bars({"A": closes}, open=10.0).filter(pl.col("close").is_not_null())
    scaled = known.with_columns(pl.col("open", "close") * 2.0**power)

    def with_dividend(frame, amount):
        return made(
            told_by("sample", frame, basis=basis), actions_of(("A", DAYS[2], "dividend", amount)), fill="open_next"
        )

    assert_frame_equal(with_dividend(known, 0.5), with_dividend(scaled, 0.5 * 2.0**power))


@settings(deadline=None, max_examples=30)
@given(prices, prices)
def test_returns_between_gaps_add_up_to_the_whole_move(first, second):
    known = bars({"A": first, "B": second}).filter(pl.col("close").is_not_null())
    panel = to_panel(made(told_by("sample", known)), "close_return", sessions=DAYS, symbols=["A", "B"])
    for column, series in enumerate((first, second)):
        expected = np.diff(np.log(np.array([np.nan if price is None else price for price in series])))
        np.testing.assert_allclose(panel[1:, column], expected, rtol=1e-6, atol=1e-7)
        assert np.isnan(panel[0, column])


@settings(deadline=None, max_examples=12)
@given(st.permutations(range(12)))
def test_the_order_of_rows_changes_nothing(order):
    rows = pl.concat([told_by("sample", {"A": [10.0, 11.0, 12.0] * 2}), told_by("other", {"B": [5.0, 6.0] * 3})])
    actions = actions_of(("A", DAYS[2], "dividend", 0.5), ("A", DAYS[3], "split", 2.0))
    chain = ("sample", "other")
    assert_frame_equal(made(rows, actions, sources=chain), made(rows[order], actions[::-1], sources=chain))


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("fill", ["open_next", "close_next"])
@pytest.mark.parametrize("basis", ["raw", "split", "split_div"])
def test_returns_see_nothing_later(at, fill, basis):
    rng = np.random.default_rng(1)
    rows = told_by("sample", {"A": rng.lognormal(size=6), "B": rng.lognormal(size=6)}, basis=basis, open=3.0)
    actions = actions_of(*(("A", day, "dividend", 0.1) for day in DAYS), ("B", DAYS[3], "split", 3.0))
    assert_no_lookahead(
        lambda data: {"returns": made(data["bars"], data["actions"], fill=fill)},
        {"bars": rows, "actions": actions},
        at=DAYS[at],
        sessions=DAYS,
    )
