import warnings
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import exchange_calendars
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.core.errors import ConfigError
from gnn_assets.core.sessions import Exchanges, SessionCalendar, age

GRACE = timedelta(minutes=30)
CALENDAR = SessionCalendar.build("XNYS", first=date(2019, 1, 2), until=date(2021, 12, 31), grace=GRACE)
ELSEWHERE = {
    code: SessionCalendar.build(code, first=date(2019, 1, 2), until=date(2021, 12, 31), grace=GRACE)
    for code in ("XLON", "XTKS")
}
EXCHANGES = Exchanges(primary=CALENDAR, others=ELSEWHERE)
MOMENTS = st.datetimes(datetime(2019, 2, 1), datetime(2021, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
positions = st.integers(0, len(CALENDAR.sessions) - 1)


@pytest.fixture(scope="module")
def oracle():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, on this pandas
        return exchange_calendars.get_calendar("XNYS", start="2018-12-01", end="2023-01-31")


def test_sessions_opens_and_closes_are_those_of_the_exchange(oracle):
    for session, opens, closes in zip(CALENDAR.sessions, CALENDAR.opens, CALENDAR.closes, strict=True):
        assert oracle.session_open(session.isoformat()) == pd.Timestamp(opens)
        assert oracle.session_close(session.isoformat()) == pd.Timestamp(closes)
    expected = oracle.sessions_in_range("2019-01-02", CALENDAR.sessions[-1].isoformat())
    assert list(CALENDAR.sessions) == [stamp.date() for stamp in expected]


def test_it_reaches_a_year_beyond_the_present():
    assert CALENDAR.sessions[-1] > date(2022, 12, 20)


@pytest.mark.parametrize(
    ("session", "opening", "close"),
    [
        (date(2020, 3, 6), datetime(2020, 3, 6, 14, 30, tzinfo=UTC), datetime(2020, 3, 6, 21, tzinfo=UTC)),
        # Daylight saving began the day before ...
        (date(2020, 3, 9), datetime(2020, 3, 9, 13, 30, tzinfo=UTC), datetime(2020, 3, 9, 20, tzinfo=UTC)),
        # ... and has ended.
        (date(2020, 11, 2), datetime(2020, 11, 2, 14, 30, tzinfo=UTC), datetime(2020, 11, 2, 21, tzinfo=UTC)),
        # A half day opens when every other one does.
        (date(2020, 11, 27), datetime(2020, 11, 27, 14, 30, tzinfo=UTC), datetime(2020, 11, 27, 18, tzinfo=UTC)),
    ],
)
def test_daylight_saving_and_half_days_are_the_calendars_business(session, opening, close):
    assert CALENDAR.open_at(session) == opening
    assert CALENDAR.open_at(session).tzinfo is UTC
    assert CALENDAR.close_at(session) == close
    assert CALENDAR.available_at(session) == close + GRACE
    assert CALENDAR.close_at(session).tzinfo is UTC


def test_an_unknown_exchange_is_refused_in_one_sentence():
    with pytest.raises(ConfigError, match=r"calendar\.exchange: expected a code .* was 'XNYZ'; correct the code"):
        SessionCalendar.build("XNYZ", first=date(2019, 1, 2), until=date(2021, 1, 1), grace=GRACE)


@pytest.mark.parametrize("code", ["XNYS", "XTKS", "24/7"])
@pytest.mark.parametrize("until", [date(2020, 12, 31), date(2021, 1, 1), date(2021, 7, 2)])
def test_however_far_it_was_made_it_ends_a_year_beyond_the_present(code, until):
    """Calendars of a process are cut from one of whole years: from a day to the next nothing is made anew."""
    built = SessionCalendar.build(code, first=date(2019, 1, 2), until=until, grace=GRACE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, on this pandas
        alone = exchange_calendars.get_calendar(code, start="2019-01-02", end=str(until + timedelta(days=366)))
    assert list(built.sessions) == [stamp.date() for stamp in alone.sessions]
    assert [pd.Timestamp(moment) for moment in built.opens] == list(alone.opens)
    assert [pd.Timestamp(moment) for moment in built.closes] == list(alone.closes)


def test_an_exchange_whose_holidays_are_known_no_further_ends_there():
    """Shanghai's are named from one year to the next."""
    known = exchange_calendars.exchange_calendar_xshg.XSHGExchangeCalendar.bound_max().date()
    last = SessionCalendar.build("XSHG", first=date(2019, 1, 2), until=known, grace=GRACE).sessions[-1]
    assert known - timedelta(days=14) < last <= known
    with pytest.raises(ConfigError, match=f"holidays are known to .* was XSHG, known to {last}; install a newer"):
        SessionCalendar.build("XSHG", first=date(2019, 1, 2), until=known + timedelta(days=1), grace=GRACE)


@pytest.mark.parametrize(
    ("code", "first", "until", "said"),
    [
        (
            "XSHG",
            date(1980, 1, 2),
            date(2021, 1, 4),
            "make from 1980-01-02, was XSHG: The XSHG holidays are only recorded",
        ),
        (
            "XNYS",
            date(2023, 12, 30),
            date(2022, 12, 30),
            "first_session: expected a date before 2022-12-30, was 2023-12-30",
        ),
        (
            "XNYS",
            date(2023, 1, 2),
            date(2022, 1, 1),
            "first_session: expected a date before 2022-01-01, was 2023-01-02",
        ),
    ],
)
def test_a_calendar_that_cannot_be_made_is_refused_in_one_sentence(code, first, until, said):
    with pytest.raises(ConfigError, match=said):
        SessionCalendar.build(code, first=first, until=until, grace=GRACE)


@given(positions)
def test_a_session_has_its_position(position):
    assert CALENDAR.position(CALENDAR.sessions[position]) == position


@pytest.mark.parametrize("day", [date(2020, 1, 1), date(2020, 1, 4), date(2018, 1, 2), date(2030, 1, 2)])
def test_a_date_that_is_no_session_is_refused_with_the_one_before_it_if_there_is_one(day):
    with pytest.raises(ConfigError, match=f"was {day}; use (20|one of)"):
        CALENDAR.position(day)


@pytest.mark.parametrize("moment", [CALENDAR.open_at, CALENDAR.close_at, CALENDAR.available_at])
def test_a_day_without_a_session_neither_opens_nor_closes(moment):
    with pytest.raises(ConfigError, match=r"was 2020-01-04; use 2020-01-03"):
        moment(date(2020, 1, 4))


@pytest.mark.parametrize("code", EXCHANGES.codes)
def test_a_session_opens_after_the_bar_before_it_is_known_and_before_it_closes(code):
    """So what is forecast from one session's bar can be traded at the next one's open."""
    calendar = EXCHANGES.of(code)
    for before, session in pairwise(calendar.sessions):
        assert calendar.available_at(before) < calendar.open_at(session) < calendar.close_at(session)


@given(positions, st.integers(-1500, 1500))
def test_an_offset_is_that_many_sessions_away_or_refused_never_wrapped_around(position, step):
    session = CALENDAR.sessions[position]
    if 0 <= position + step < len(CALENDAR.sessions):
        assert CALENDAR.position(CALENDAR.offset(session, step)) == position + step
    else:
        with pytest.raises(ConfigError, match=f"was {step} sessions from {session}"):
            CALENDAR.offset(session, step)


def test_between_takes_both_ends_and_needs_no_session_at_either():
    assert CALENDAR.between(date(2020, 1, 1), date(2020, 1, 5)) == (date(2020, 1, 2), date(2020, 1, 3))
    assert CALENDAR.between(date(2020, 1, 2), date(2020, 1, 2)) == (date(2020, 1, 2),)
    assert CALENDAR.between(date(2020, 1, 4), date(2020, 1, 5)) == ()


def test_a_session_is_complete_from_its_close_and_grace_on():
    moment = CALENDAR.available_at(date(2020, 1, 3))
    assert CALENDAR.last_complete(moment) == date(2020, 1, 3)
    assert CALENDAR.last_complete(moment - timedelta(microseconds=1)) == date(2020, 1, 2)
    with pytest.raises(ConfigError, match=r"calendar\.first_session"):
        CALENDAR.last_complete(datetime(2019, 1, 2, 12, tzinfo=UTC))


@given(MOMENTS)
def test_data_up_to_the_last_complete_session_have_no_age_and_one_less_has(now):
    newest = CALENDAR.last_complete(now)
    assert age(newest, now=now, calendar=CALENDAR) == timedelta(0)
    assert age(CALENDAR.offset(newest, -1), now=now, calendar=CALENDAR) == now - CALENDAR.available_at(newest)


@given(MOMENTS, st.integers(0, 30), st.timedeltas(timedelta(0), timedelta(days=20)))
@settings(deadline=None)
def test_age_grows_with_time_and_with_what_is_lacking_and_is_never_negative(now, behind, later):
    newest = CALENDAR.last_complete(now)
    data_end = CALENDAR.offset(newest, -min(behind, CALENDAR.position(newest)))
    here = age(data_end, now=now, calendar=CALENDAR)
    assert here >= timedelta(0)
    assert age(data_end, now=now + later, calendar=CALENDAR) >= here
    assert age(None, now=now, calendar=CALENDAR) >= here
    assert age(newest + timedelta(days=3), now=now, calendar=CALENDAR) == timedelta(0)


def test_a_long_weekend_ages_nothing_until_the_next_close_and_grace():
    friday, tuesday = date(2020, 1, 17), date(2020, 1, 21)
    assert age(friday, now=CALENDAR.available_at(tuesday), calendar=CALENDAR) == timedelta(0)
    hour = timedelta(hours=1)
    assert age(friday, now=CALENDAR.available_at(tuesday) + hour, calendar=CALENDAR) == hour


def test_data_beyond_the_calendar_have_no_age():
    assert age(date(2030, 1, 1), now=datetime(2021, 1, 1, tzinfo=UTC), calendar=CALENDAR) == timedelta(0)


# ---- several exchanges -----------------------------------------------------------------------------------------------


def test_each_exchange_keeps_its_own_zone_and_the_primary_one_comes_first():
    assert EXCHANGES.codes == ("XNYS", "XLON", "XTKS")
    zones = {code: EXCHANGES.of(code).timezone for code in EXCHANGES.codes}
    assert zones == {"XNYS": "America/New_York", "XLON": "Europe/London", "XTKS": "Asia/Tokyo"}


def test_an_exchange_that_is_not_configured_is_refused_with_those_that_are():
    with pytest.raises(
        ConfigError, match=r"exchange: expected one of XNYS, XLON, XTKS, was 'XPAR'; add it to calendar\.others\."
    ):
        EXCHANGES.of("XPAR")


@pytest.mark.parametrize(
    ("code", "session", "close"),
    [
        # Between the two changes of the clocks New York and London are four hours apart, not five.
        ("XNYS", date(2021, 3, 12), datetime(2021, 3, 12, 21, tzinfo=UTC)),
        ("XNYS", date(2021, 3, 15), datetime(2021, 3, 15, 20, tzinfo=UTC)),
        ("XLON", date(2021, 3, 15), datetime(2021, 3, 15, 16, 30, tzinfo=UTC)),
        ("XLON", date(2021, 3, 29), datetime(2021, 3, 29, 15, 30, tzinfo=UTC)),
        ("XLON", date(2021, 12, 24), datetime(2021, 12, 24, 12, 30, tzinfo=UTC)),  # half day
        ("XTKS", date(2021, 3, 15), datetime(2021, 3, 15, 6, tzinfo=UTC)),
        ("XTKS", date(2021, 7, 21), datetime(2021, 7, 21, 6, tzinfo=UTC)),  # Tokyo knows no summer time
    ],
)
def test_each_exchange_closes_by_its_own_clock(code, session, close):
    assert EXCHANGES.of(code).close_at(session) == close


@pytest.mark.parametrize(
    ("day", "open_at"),
    [
        (date(2021, 5, 31), {"XTKS"}),  # Memorial Day and the Spring bank holiday
        (date(2021, 7, 5), {"XLON", "XTKS"}),
        (date(2021, 8, 30), {"XNYS", "XTKS"}),
        (date(2021, 5, 4), {"XNYS", "XLON"}),  # Greenery Day
        (date(2021, 12, 25), set()),
    ],
)
def test_a_holiday_is_one_exchanges_own(day, open_at):
    assert {code for code in EXCHANGES.codes if day in EXCHANGES.of(code).sessions} == open_at


@settings(deadline=None)
@given(MOMENTS, st.sampled_from(EXCHANGES.codes))
def test_at_every_moment_the_newest_complete_session_is_the_last_one_that_was_available(now, code):
    calendar = EXCHANGES.of(code)
    newest = calendar.last_complete(now)
    assert calendar.available_at(newest) <= now
    assert calendar.available_at(calendar.offset(newest, 1)) > now
    assert newest <= now.date()  # no session ends on the day after its own, in UTC
