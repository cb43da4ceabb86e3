"""What a replay's timeline says in words and figures: counted from what was seen, and nothing that was not.

Training means that a run made weights, whatever was decided. An alarm or a decision is what stood at a session's end: what
came and went within one was not seen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from gnn_assets.backtests.tear_tables import DASH, number, percent
from gnn_assets.monitoring.reasons import CHAIN, RESPONSES, Reason, Response
from gnn_assets.monitoring.timeline_panels import NOT_KNOWN, known
from gnn_assets.monitoring.walk import Happened, Measured, Ran, Walk, Walked

SHOWN = 12  # digits of a version that people see
WEIGHTS = CHAIN["oos_predictions"]
PROMOTED, REFUSED = "promoted", "refused"
_TRAINS = frozenset(str(reason) for reason, response in RESPONSES.items() if response is Response.TRAIN)


class Alarm(NamedTuple):
    """The first alarm of one reason.

    Args:
        reason: what was measured.
        place: of its session, from 0.
        session: at whose end it was seen.
        measured: value and limit then.
        sessions: with this alarm, of the whole replay.
    """

    reason: str
    place: int
    session: date
    measured: Measured
    sessions: int


def told(value: float | None) -> str:
    """A measured value for people, as the sentences of reasons tell it."""
    value = known(value)
    return NOT_KNOWN if value is None else f"{value:.4g}"


def measured_of(walked: Walked) -> dict[str, Measured]:
    """Every measured reason of a session, the graph's drift among them, sorted by name."""
    drift = {} if walked.drift is None else {str(Reason.GRAPH_DRIFT): walked.drift}
    return dict(sorted({**drift, **walked.measured}.items()))


def names_of(walk: Walk) -> set[str]:
    """Every reason that was measured in any session."""
    return {name for walked in walk.sessions for name in measured_of(walked)}


def first_alarms(walk: Walk) -> list[Alarm]:
    """The first alarm of each reason that had one, the earliest first."""
    first: dict[str, tuple[int, Measured]] = {}
    count: dict[str, int] = {}
    for place, walked in enumerate(walk.sessions):
        for reason, measured in measured_of(walked).items():
            if measured.alarm:
                first.setdefault(reason, (place, measured))
                count[reason] = count.get(reason, 0) + 1
    return [
        Alarm(reason, place, walk.sessions[place].session, measured, count[reason])
        for reason, (place, measured) in first.items()
    ]


def events_of(walk: Walk, *names: str) -> list[tuple[date, Happened]]:
    """Entries of the ledger of these names, in order."""
    return [(walked.session, one) for walked in walk.sessions for one in walked.events if one.event in names]


def trainings_of(walk: Walk) -> list[tuple[int, Ran]]:
    """Places of sessions, from 0, and the runs that made weights in them."""
    return [(place, run) for place, walked in enumerate(walk.sessions) for run in walked.runs if WEIGHTS in run.why]


def failed_runs(walk: Walk) -> list[tuple[date, Ran]]:
    """Runs in which something failed, in order."""
    return [(walked.session, run) for walked in walk.sessions for run in walked.runs if run.failed]


def worst_drawdown(values: Sequence[float | None]) -> tuple[int, float] | None:
    """Place of the deepest fall below an earlier peak, the start counted as one, and how deep it was; None if unknown.

    Args:
        values: what was earned from the start on, one a session (share); None while not known.
    """
    worst, peak = None, 1.0
    for place, value in enumerate(map(known, values)):
        if value is None:
            continue
        peak = max(peak, 1.0 + value)
        fall = (1.0 + value) / peak - 1.0
        if worst is None or fall < worst[1]:
            worst = (place, fall)
    return worst


def figures(walk: Walk) -> dict[str, str]:
    """The headline figures: name → text."""
    count = len(walk.sessions)
    failed = sum(WEIGHTS in run.failed for _, run in failed_runs(walk))
    falls = {
        f"worst drawdown, {name}": _fall(walk, [of(walked) for walked in walk.sessions])
        for name, of in (("served", lambda one: one.served), ("equal weight", lambda one: one.equal_weight))
    }
    return {
        "sessions": str(count),
        "trainings": f"{len(trainings_of(walk))}, {failed} failed" if failed else str(len(trainings_of(walk))),
        "promotions": str(len(events_of(walk, PROMOTED))),
        "refusals": str(len(events_of(walk, REFUSED))),
        "rollbacks": str(len(events_of(walk, "rolled_back"))),
        "alerts": str(sum(len(walked.alerts) for walked in walk.sessions)),
        "runs": str(sum(len(walked.runs) for walked in walk.sessions)),
        "failed runs": str(len(failed_runs(walk))),
        **falls,
        "wall time": f"{number(walk.seconds, digits=0)} s",
        "wall time a session": f"{number(walk.seconds / count)} s" if count else DASH,
    }


def story(walk: Walk) -> list[list[str]]:
    """What happened: paragraphs of sentences."""
    if not walk.sessions:
        return [["The replay holds no session."]]
    return [list(part(walk)) for part in (_earned, _alarmed, _trained, _judged, _served)]


def _fall(walk: Walk, values: Sequence[float | None]) -> str:
    worst = worst_drawdown(values)
    if worst is None:
        return NOT_KNOWN
    place, depth = worst
    return f"{percent(depth)} on {walk.sessions[place].session}" if depth < 0 else percent(0.0)


def _earned(walk: Walk) -> Iterator[str]:
    sources: Mapping[str, Callable[[Walked], float | None]] = {
        "the market (equal weight, gross)": lambda one: one.market,
        "what was served (net)": lambda one: one.served,
        "equal weight over the served sessions (net)": lambda one: one.equal_weight,
    }
    for name, of in sources.items():
        values = [(walked.session, value) for walked in walk.sessions if (value := known(of(walked))) is not None]
        start = name[0].upper() + name[1:]
        yield f"{start} stood at {percent(values[-1][1])} on {values[-1][0]}." if values else f"{start}: {NOT_KNOWN}."


def _alarmed(walk: Walk) -> Iterator[str]:
    alarms = first_alarms(walk)
    if not alarms:
        yield "No measured value was beyond its limit."
        return
    first = [alarm for alarm in alarms if alarm.place == alarms[0].place]
    names = " and ".join(_of(alarm) for alarm in first)
    when = (
        f"On the first session, {first[0].session}, there was an alarm already (when it began was not seen): {names}."
        if first[0].place == 0
        else f"The first alarm came on {first[0].session}, session {first[0].place + 1}: {names}."
    )
    yield when
    reasons = f"{len(alarms)} reasons" if len(alarms) > 1 else "1 reason"
    yield f"{reasons} had an alarm at some time, of {len(names_of(walk))} that were measured."


def _of(alarm: Alarm) -> str:
    return f"{alarm.reason} (value {told(alarm.measured.value)}, limit {told(alarm.measured.limit)})"


def _trained(walk: Walk) -> Iterator[str]:
    trainings = trainings_of(walk)
    if not trainings:
        yield "No challenger was trained."
        return
    place, run = trainings[0]
    session = walk.sessions[place].session
    why = run.why[WEIGHTS] or "no reason was recorded"
    yield f"The first challenger was trained on {session}, for: {why.rstrip('.')}."
    asking = [alarm for alarm in first_alarms(walk) if alarm.reason in _TRAINS]
    if not asking or asking[0].place > place:
        yield "At no session's end before it was an alarm seen that asks for a training."
        return
    later, days = place - asking[0].place, (session - asking[0].session).days
    when = f"{_counted(later, 'session')} ({_counted(days, 'day')}) after" if later else "in the session of"
    yield f"That was {when} the first alarm that asks for a training, {asking[0].reason} on {asking[0].session}."


def _judged(walk: Walk) -> Iterator[str]:
    entries = events_of(walk, PROMOTED, REFUSED)
    if not entries:
        yield "No candidate was promoted or refused."
        return
    promoted = sum(one.event == PROMOTED for _, one in entries)
    yield f"{_counted(promoted, 'promotion')} and {_counted(len(entries) - promoted, 'refusal')} were entered."
    for event in (PROMOTED, REFUSED):
        own = events_of(walk, event)
        if own:
            day, one = own[0]
            yield f"The first candidate {event} was {one.what[:SHOWN]}, on {day}: {_quoted(one.reason)}"


def _served(walk: Walk) -> Iterator[str]:
    champions = list(dict.fromkeys(one.champion for one in walk.sessions if one.champion is not None))
    yield f"{_counted(len(champions), 'champion')} served." if champions else "No champion served."
    degraded = events_of(walk, "degraded")
    if degraded:
        day, one = degraded[0]
        yield f"Somebody else stood in for the champion {_counted(len(degraded), 'time')}, first on {day}: {_quoted(one.reason)}"
    failed = failed_runs(walk)
    if failed:
        day, run = failed[0]
        asset, sentence = next(iter(run.failed.items()))
        yield f"{_counted(len(failed), 'run')} failed, the first on {day} at {asset}: {_quoted(sentence)}"
    else:
        yield "No run failed."


def _quoted(text: str) -> str:
    return f"“{text.removesuffix('.')}”." if text else "no reason was entered."


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
