from datetime import UTC, date, datetime, timedelta

import pytest

from gnn_assets.core.config import AgeLimit
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.monitoring.ages import age_check

LIMIT = AgeLimit(age_hours=24, deadline_hours=24, rebuild=False)
# Wednesday; Thursday was Thanksgiving, Friday a half day that closed at 18:00 UTC.
WEDNESDAY, FRIDAY = date(2021, 11, 24), date(2021, 11, 26)


@pytest.fixture(scope="module")
def calendar():
    until = date(2021, 12, 31)
    return SessionCalendar.build("XNYS", first=date(2021, 1, 4), until=until, grace=timedelta(minutes=30))


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        (datetime(2021, 11, 26, 18, 29, tzinfo=UTC), 0.0),
        (datetime(2021, 11, 26, 20, 30, tzinfo=UTC), 2.0),
        (datetime(2021, 11, 27, 18, 30, tzinfo=UTC), 24.0),
        (datetime(2021, 11, 27, 19, 30, tzinfo=UTC), 25.0),
    ],
)
def test_a_holiday_ages_nothing_and_a_half_day_counts_from_its_own_close(calendar, now, hours):
    check = age_check("returns", data_end=WEDNESDAY, now=now, calendar=calendar, limit=LIMIT)
    assert (check.name, check.value, check.threshold) == ("age", hours, 24)
    assert check.passed is (hours <= 24)


def test_an_old_asset_warns_and_does_not_block(calendar):
    now = datetime(2021, 12, 20, tzinfo=UTC)
    check = age_check("returns", data_end=WEDNESDAY, now=now, calendar=calendar, limit=LIMIT)
    assert not check.passed
    assert not check.blocks
    assert "data of returns reach to 2021-11-24" in check.sentence


def test_the_limit_is_held_exactly_although_the_value_is_rounded(calendar):
    now = datetime(2021, 11, 27, 18, 30, 1, tzinfo=UTC)
    check = age_check("returns", data_end=WEDNESDAY, now=now, calendar=calendar, limit=LIMIT)
    assert check.value == 24.0
    assert not check.passed


def test_an_asset_without_data_is_as_old_as_the_calendar(calendar):
    now = datetime(2021, 1, 6, 21, 30, tzinfo=UTC)
    check = age_check("returns", data_end=None, now=now, calendar=calendar, limit=LIMIT)
    assert (check.passed, check.value) == (False, 48.0)
    assert "no data of returns" in check.description


def test_a_clock_behind_the_data_is_told_and_no_age_is_invented(calendar):
    """A clock set back by a day would make everything look fresh."""
    check = age_check(
        "returns",
        data_end=FRIDAY,
        now=datetime(2021, 11, 25, 18, 30, tzinfo=UTC),
        calendar=calendar,
        limit=LIMIT,
    )
    assert not check.passed
    assert check.value == "the clock is behind the data"
    assert "set the machine's clock right" in check.description


def test_a_clock_ahead_by_a_day_makes_data_old_and_never_younger(calendar):
    now = datetime(2021, 11, 26, 19, 30, tzinfo=UTC)
    ages = [
        age_check("returns", data_end=WEDNESDAY, now=now + timedelta(days=days), calendar=calendar, limit=LIMIT).value
        for days in range(10)
    ]
    assert ages == sorted(ages)
    assert ages[0] >= 0
