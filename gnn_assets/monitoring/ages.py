"""How old each asset's data is, in market time, against its limit."""

from datetime import date, datetime, timedelta

from gnn_assets.core.checks import Check
from gnn_assets.core.config import AgeLimit
from gnn_assets.core.sessions import SessionCalendar, age

_HOUR = timedelta(hours=1)


def age_check(name: str, *, data_end: date | None, now: datetime, calendar: SessionCalendar, limit: AgeLimit) -> Check:
    """Holds one asset's age against its limit; it warns, because old data stay better than none.

    Args:
        name: the asset.
        data_end: last session its data cover; None when there are none.
        now: aware UTC moment.
        calendar: the exchange's sessions.
        limit: hours of age that are still fine.

    Returns:
        A check named ``age``: value and threshold in hours of market age. It fails where the clock is behind the data:
        an age of nothing would say that all is well.
    """
    if data_end is not None and calendar.close_at(data_end) > now:
        return Check(
            name="age",
            passed=False,
            value="the clock is behind the data",
            threshold=limit.age_hours,
            description=f"The clock says {now.isoformat()}, but data of {name} reach to {data_end}, which closes later: "
            "set the machine's clock right; until then no age can be told.",
            severity="warn",
        )
    old = age(data_end, now=now, calendar=calendar)
    covered = f"data of {name} reach to {data_end}" if data_end else f"there are no data of {name}"
    return Check(
        name="age",
        passed=old <= limit.age_hours * _HOUR,
        value=round(old / _HOUR, 2),
        threshold=limit.age_hours,
        description=f"Hours since the first session it lacks was complete: {covered}.",
        severity="warn",
    )
