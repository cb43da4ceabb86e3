"""Sessions of an exchange, when each is known, and how old data is.

A session is a `datetime.date` of the exchange's calendar. Its bar is *available* at the close plus a grace period.
All moments are aware UTC datetimes; half days and daylight saving are the calendar's business, never ours.
"""

import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from textwrap import shorten
from typing import TYPE_CHECKING

from gnn_assets.core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

# How far beyond the present a calendar reaches: far enough for any forecast horizon.
_REACH = timedelta(days=366)
# Characters of another library's complaint that are passed on: some name every date.
_SAID = 200


@dataclass(frozen=True)
class SessionCalendar:
    """Sessions of one exchange between two dates.

    Args:
        exchange: ISO 10383 code, such as ``XNYS``.
        sessions: every session, ascending.
        opens: aware UTC moment each session opens.
        closes: aware UTC moment each session closes.
        grace: time a source is given after the close to publish the bar.
        timezone: IANA name of the exchange's zone, in which its dates are written.
    """

    exchange: str
    sessions: tuple[date, ...]
    opens: tuple[datetime, ...]
    closes: tuple[datetime, ...]
    grace: timedelta
    timezone: str

    @classmethod
    def build(cls, exchange: str, *, first: date, until: date, grace: timedelta) -> "SessionCalendar":
        """The calendar from `first` to a year beyond `until`, or as far as the exchange's holidays are known.

        Raises:
            ConfigError: if the exchange is unknown, or its holidays are not known from `first` to `until`.
        """
        reach = until + _REACH
        # Whole years: whoever asks for another day of the same year, as every platform of a process does, finds it made.
        known = _schedule(exchange, first, reach.year)
        if known.sessions[-1].year < until.year:
            raise ConfigError.of(
                "calendar.exchange",
                expected=f"one whose holidays are known to {until}",
                was=f"{exchange}, known to {known.sessions[-1]}",
                do="install a newer exchange_calendars, or leave the exchange out",
            )
        count = bisect_right(known.sessions, reach)
        if not count:
            raise ConfigError.of(
                "calendar.first_session", expected=f"a date before {until}", was=first, do="set an earlier one"
            )
        return cls(
            exchange=exchange,
            sessions=known.sessions[:count],
            opens=known.opens[:count],
            closes=known.closes[:count],
            grace=grace,
            timezone=known.timezone,
        )

    def position(self, session: date) -> int:
        """Index of a session.

        Raises:
            ConfigError: if the date is no session of this calendar.
        """
        found = bisect_left(self.sessions, session)
        if found == len(self.sessions) or self.sessions[found] != session:
            hint = f"use {self.sessions[found - 1]}, the session before it" if found else "use one of them"
            raise ConfigError.of(
                "session",
                expected=f"a session of {self.exchange} from {self.sessions[0]} to {self.sessions[-1]}",
                was=session,
                do=hint,
            )
        return found

    def open_at(self, session: date) -> datetime:
        """Moment the session opens."""
        return self.opens[self.position(session)]

    def close_at(self, session: date) -> datetime:
        """Moment the session closes."""
        return self.closes[self.position(session)]

    def available_at(self, session: date) -> datetime:
        """Moment the session's bar is known: its close plus the grace period."""
        return self.close_at(session) + self.grace

    def offset(self, session: date, sessions: int) -> date:
        """The session so many sessions later (earlier when negative).

        Raises:
            ConfigError: if the calendar does not reach that far.
        """
        target = self.position(session) + sessions
        if not 0 <= target < len(self.sessions):
            raise ConfigError.of(
                "session",
                expected=f"one from {self.sessions[0]} to {self.sessions[-1]}",
                was=f"{sessions} sessions from {session}",
                do="start the calendar earlier, look less far ahead, or install a newer exchange_calendars",
            )
        return self.sessions[target]

    def between(self, first: date, last: date) -> tuple[date, ...]:
        """Sessions from `first` to `last`, both included."""
        return self.sessions[bisect_left(self.sessions, first) : bisect_right(self.sessions, last)]

    def last_complete(self, now: datetime) -> date:
        """The newest session whose bar is available at `now`.

        Raises:
            ConfigError: if not even the calendar's first session is complete.
        """
        complete = bisect_right(self.closes, now - self.grace)
        if complete == 0:
            raise ConfigError.of(
                "calendar.first_session",
                expected=f"a session complete by {now}",
                was=self.sessions[0],
                do="start the calendar earlier",
            )
        return self.sessions[complete - 1]


@dataclass(frozen=True)
class Exchanges:
    """The calendars of every exchange the universe trades on; the platform lives by the primary one.

    Args:
        primary: the exchange whose sessions are the platform's.
        others: ISO 10383 code → calendar of further exchanges.
    """

    primary: SessionCalendar
    others: Mapping[str, SessionCalendar]

    @property
    def codes(self) -> tuple[str, ...]:
        """ISO 10383 codes, the primary exchange's first."""
        return (self.primary.exchange, *self.others)

    def of(self, exchange: str) -> SessionCalendar:
        """The calendar of an exchange.

        Raises:
            ConfigError: if the configuration names no such exchange.
        """
        if exchange == self.primary.exchange:
            return self.primary
        if exchange in self.others:
            return self.others[exchange]
        raise ConfigError.of(
            "exchange",
            expected=f"one of {', '.join(self.codes)}",
            was=repr(exchange),
            do="add it to calendar.others",
        )


def age(data_end: date | None, *, now: datetime, calendar: SessionCalendar) -> timedelta:
    """How long data has been missing a session it could have had.

    ``now − (close + grace of the first complete session that the data lacks)``, and zero if it lacks none: weekends,
    holidays and half days age nothing.

    Args:
        data_end: the last session the data covers; None when there are no data at all.
        now: aware UTC moment.
        calendar: the exchange's sessions.
    """
    lacking = 0 if data_end is None else bisect_right(calendar.sessions, data_end)
    if lacking == len(calendar.sessions):
        return timedelta(0)
    return max(now - (calendar.closes[lacking] + calendar.grace), timedelta(0))


@dataclass(frozen=True)
class _Schedule:
    """What `SessionCalendar` says of its sessions."""

    sessions: tuple[date, ...]
    opens: tuple[datetime, ...]
    closes: tuple[datetime, ...]
    timezone: str


@lru_cache(maxsize=64)
def _schedule(exchange: str, first: date, year: int) -> _Schedule:
    """Sessions from `first` to the end of a year, or as far as they are known; kept, since they cost half a second."""
    # Imported when it is needed: that costs a second, and much that needs a configuration needs no calendar.
    import exchange_calendars as xcals
    from exchange_calendars.errors import CalendarError

    if exchange not in xcals.get_calendar_names(include_aliases=True):
        raise ConfigError.of(
            "calendar.exchange",
            expected="a code exchange_calendars knows, such as XNYS or XLON",
            was=repr(exchange),
            do="correct the code",
        )
    with warnings.catch_warnings():
        # exchange_calendars 4.13 reads Series.values, which pandas 3.1 deprecates for moments.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            calendar = xcals.get_calendar(exchange, start=first.isoformat(), end=f"{year}-12-31")
        except (ValueError, CalendarError):  # some exchanges name their holidays from one year to the next
            try:
                calendar = xcals.get_calendar(exchange, start=first.isoformat())
            except (ValueError, CalendarError) as error:
                raise ConfigError.of(
                    "calendar.exchange",
                    expected=f"one whose calendar exchange_calendars can make from {first}",
                    was=f"{exchange}: {shorten(str(error), width=_SAID)}",
                    do="set another calendar.first_session, or leave the exchange out",
                ) from error
    schedule = calendar.schedule
    return _Schedule(
        sessions=tuple(stamp.date() for stamp in schedule.index),
        opens=_moments(schedule["open"]),
        closes=_moments(schedule["close"]),
        timezone=str(calendar.tz),
    )


def _moments(column: "pd.Series") -> tuple[datetime, ...]:
    moments: Sequence[pd.Timestamp] = list(column)
    return tuple(stamp.to_pydatetime().astimezone(UTC) for stamp in moments)
