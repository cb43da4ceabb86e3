"""The only reader of the wall clock: everything else is handed a `Clock`.

Live, the clock is the machine's. Pinned to a snapshot, it stands still at one moment, so that a static data set
is never "stale". In a replay it is moved forward by hand, session by session. All moments are aware UTC datetimes.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Anything that can say what time it is for the market being watched."""

    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        ...


@dataclass(frozen=True)
class LiveClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True)
class SnapshotClock:
    """A clock that stands still at `moment`.

    Args:
        moment: aware UTC datetime.
    """

    moment: datetime

    def now(self) -> datetime:
        """The pinned moment."""
        return self.moment


@dataclass
class ReplayClock:
    """A clock that is moved by hand, forwards only.

    Args:
        moment: aware UTC datetime at which the replay starts.
    """

    moment: datetime

    def now(self) -> datetime:
        """The moment the replay has reached."""
        return self.moment

    def advance_to(self, moment: datetime) -> None:
        """Moves the replay on.

        Raises:
            ValueError: if `moment` lies before the moment already reached.
        """
        if moment < self.moment:
            raise ValueError(
                f"replay clock: expected a moment from {self.moment} on, was {moment}; time runs forwards."
            )
        self.moment = moment
