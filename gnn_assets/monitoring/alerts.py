"""What people are told, and when: a pure function of what is wrong now and of what they were told before.

A condition that lasts begins an episode, which is told once, however long it lasts, and is over when the condition is
gone. A notice, such as a promotion, is told once and never over. What begins together goes into one message; once all
that a message told of is over, one more says so.

    comes back within `quiet_minutes` of being over  the episode goes on, nobody hears of it; if people were told that it
                                                     was over, and it is there after as long again, it is told anew
    comes back later                                 another episode, whatever it was once told together with

So nothing is wrong for longer than that without anybody being told, and what comes and goes is told a few times an hour.
Memory is a fold over the entries of the ledger: whoever was killed between two of them goes on where he stopped.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from gnn_assets.core.config import AlertsConfig
from gnn_assets.monitoring.messages import alert_text, resolve_text

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
STARTED, SEEN, ALERT, RESOLVE = "started", "seen", "alert", "resolve"
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Condition:
    """Something that people should know.

    Args:
        kind: what is the matter, such as ``run_failed``.
        subject: with what, such as an asset.
        severity: how soon somebody should look.
        sentence: what was found, without secrets.
        evidence: where to look: a run, a session, a version; may be empty.
        lasts: whether it holds until it is gone; False for a notice of something that happened.
        key: tells apart what has one kind and subject, such as the event of a notice; empty where nothing needs to be.
    """

    kind: str
    subject: str
    severity: Severity
    sentence: str
    evidence: str = ""
    lasts: bool = True
    key: str = ""

    @property
    def name(self) -> str:
        """By which it is known from one look to the next."""
        return f"{self.kind}/{self.key or self.subject}"


@dataclass(frozen=True)
class Unknown:
    """A condition of which nothing can be said now: if it was there, it is not over.

    Args:
        name: of it.
    """

    name: str


@dataclass(frozen=True)
class Episode:
    """A condition from its beginning on.

    Args:
        condition: as it was when it began.
        since: aware UTC moment it was first seen.
        message: number of the message that told it; 0 while none has.
        over_at: when it was gone; None while it is there.
        relapsed_at: when it first came back after people were told that it was over; None if it never did.
    """

    condition: Condition
    since: datetime
    message: int = 0
    over_at: datetime | None = None
    relapsed_at: datetime | None = None


@dataclass(frozen=True)
class Told:
    """A message that told of episodes.

    Args:
        number: 1, 2, ...
        at: aware UTC moment it was made.
        names: conditions it told of.
        severity: the worst of them.
        title: its first line.
        route: channels it went by: who was told is told of its end, whatever the routes are by then.
        resolved: whether another message said that all of it is over.
    """

    number: int
    at: datetime
    names: tuple[str, ...]
    severity: Severity
    title: str
    route: tuple[str, ...]
    resolved: bool = False


@dataclass(frozen=True)
class Memory:
    """All that a look knows of those before it.

    Args:
        episodes: name → the newest episode; notices stay for good.
        messages: number → message.
        last: number of the newest message, resolving ones included; 0 before the first.
    """

    episodes: Mapping[str, Episode] = field(default_factory=dict)
    messages: Mapping[int, Told] = field(default_factory=dict)
    last: int = 0

    @property
    def open(self) -> tuple[Episode, ...]:
        """What lasts and is not over, worst first."""
        lasting = (one for one in self.episodes.values() if one.condition.lasts and one.over_at is None)
        return tuple(sorted(lasting, key=_order))


def remember(entries: Iterable[Mapping[str, Any]], memory: Memory | None = None) -> Memory:
    """The memory after some entries of the ledger, oldest first.

    Args:
        entries: `alerts` of the ledger; those of the outbox change nothing here.
        memory: before them.
    """
    before = memory or Memory()
    episodes, messages, last = dict(before.episodes), dict(before.messages), before.last
    for entry in entries:
        kind = entry["entry"]
        if kind == SEEN:
            _see(episodes, messages, entry)
        elif kind in (ALERT, RESOLVE):
            last = entry["number"]
            _tell(episodes, messages, entry)
    return Memory(episodes, messages, last)


def step(
    conditions: Sequence[Condition],
    memory: Memory,
    *,
    now: datetime,
    config: AlertsConfig,
    looked_at: Callable[[Condition], bool] = lambda _condition: True,
) -> list[dict[str, Any]]:
    """What is to be entered now: what began and ended, and the messages that follow from it.

    Args:
        conditions: what is wrong, or has happened; the first of a name counts.
        memory: fold of all entries so far.
        now: aware UTC moment.
        config: grouping, throttle, quiet time, routes.
        looked_at: whether a condition of before was looked at; the episode of one that was not is not over.

    Returns:
        Entries, to be appended in this order; each holds whatever the others do. Empty when nothing is new.
    """
    entries = [entry for entry in [_seen(conditions, memory, now=now, config=config, looked_at=looked_at)] if entry]
    memory = remember(entries, memory)
    for told in memory.messages.values():
        if _is_over(told, memory):
            entries.append(_resolving(told, memory, now=now, config=config))
            memory = remember(entries[-1:], memory)
    untold = _due(memory, now=now, config=config)
    if untold:
        entries.append(_telling(untold, memory, now=now, config=config))
    return entries


def waits(memory: Memory, *, now: datetime, config: AlertsConfig) -> float:
    """Seconds until what has just begun has waited for others long enough; 0 if nothing waits for that.

    Args:
        memory: fold of all entries so far.
        now: aware UTC moment.
        config: how long a group is waited for.
    """
    untold = [episode.since for episode in memory.episodes.values() if not episode.message]
    left = [config.group_seconds - (now - since).total_seconds() for since in untold]
    return min((one for one in left if 0 < one <= config.group_seconds), default=0.0)


def _seen(
    conditions: Sequence[Condition],
    memory: Memory,
    *,
    now: datetime,
    config: AlertsConfig,
    looked_at: Callable[[Condition], bool],
) -> dict[str, Any] | None:
    found: dict[str, Condition] = {}
    for condition in conditions:
        found.setdefault(condition.name, condition)
    begun, back = [], []
    for name, condition in found.items():
        what = _what_is_new(memory.episodes.get(name), now=now, config=config)
        if what == "begun":
            begun.append(asdict(condition))
        elif what == "back":
            back.append(name)
    over = [
        episode.condition.name
        for episode in memory.open
        if looked_at(episode.condition) and episode.condition.name not in found
    ]
    if not (begun or back or over):
        return None
    return {"entry": SEEN, "at": now.isoformat(), "begun": begun, "back": back, "over": over}


def _what_is_new(episode: Episode | None, *, now: datetime, config: AlertsConfig) -> Literal["begun", "back", ""]:
    """What it means that a condition is there: another episode, one that goes on after a pause, or nothing new."""
    if episode is None:
        return "begun"
    quiet = timedelta(minutes=config.quiet_minutes)
    if episode.relapsed_at is not None and now >= episode.relapsed_at + quiet:
        return "begun"
    if episode.over_at is None:
        return ""
    return "begun" if episode.message and now >= episode.over_at + quiet else "back"


def _is_over(told: Told, memory: Memory) -> bool:
    """Whether all that lasts of what an unresolved message told is over, what came back as another episode included."""
    lasting = [memory.episodes[name] for name in told.names if memory.episodes[name].condition.lasts]
    return not told.resolved and bool(lasting) and all(one.over_at for one in lasting)


def _due(memory: Memory, *, now: datetime, config: AlertsConfig) -> list[Episode]:
    """All that nobody was told of yet, worst first, if it is time for a message."""
    untold = sorted((one for one in memory.episodes.values() if not one.message), key=_order)
    latest = now - timedelta(seconds=config.group_seconds)
    waited = {
        urgent: min((one.since for one in untold if (one.condition.severity == "critical") is urgent), default=None)
        for urgent in (True, False)
    }
    told = sum(message.at > now - _HOUR for message in memory.messages.values())
    urgent, other = waited[True], waited[False]
    due = (urgent is not None and urgent <= latest) or (
        other is not None and other <= latest and told < config.most_an_hour
    )
    return untold if due else []


def _telling(untold: Sequence[Episode], memory: Memory, *, now: datetime, config: AlertsConfig) -> dict[str, Any]:
    conditions = [episode.condition for episode in untold]
    severity = conditions[0].severity
    title, body = alert_text(conditions, most=config.subjects)
    return {
        "entry": ALERT,
        "number": memory.last + 1,
        "at": now.isoformat(),
        "severity": severity,
        "title": title,
        "body": body,
        "names": [condition.name for condition in conditions],
        "route": list(getattr(config.routes, severity)),
    }


def _resolving(told: Told, memory: Memory, *, now: datetime, config: AlertsConfig) -> dict[str, Any]:
    lasting = [memory.episodes[name] for name in told.names if memory.episodes[name].condition.lasts]
    # What came back began anew; what the message told of was there when it was made.
    begun = min(told.at, *(episode.since for episode in lasting))
    title, body = resolve_text(told.title, [one.condition for one in lasting], lasted=now - begun, most=config.subjects)
    return {
        "entry": RESOLVE,
        "number": memory.last + 1,
        "at": now.isoformat(),
        "severity": told.severity,
        "title": title,
        "body": body,
        "resolves": told.number,
        "route": list(told.route),
    }


def _see(episodes: dict[str, Episode], messages: Mapping[int, Told], entry: Mapping[str, Any]) -> None:
    at = datetime.fromisoformat(entry["at"])
    for told in entry["begun"]:
        condition = Condition(**told)
        episodes[condition.name] = Episode(condition, since=at)
    for name in entry["over"]:
        episodes[name] = replace(episodes[name], over_at=at)
    for name in entry["back"]:
        episode = episodes[name]
        resolved = bool(episode.message) and messages[episode.message].resolved
        relapsed_at = (episode.relapsed_at or at) if resolved else None
        episodes[name] = replace(episode, over_at=None, relapsed_at=relapsed_at)


def _tell(episodes: dict[str, Episode], messages: dict[int, Told], entry: Mapping[str, Any]) -> None:
    number = entry["number"]
    if entry["entry"] == RESOLVE:
        messages[entry["resolves"]] = replace(messages[entry["resolves"]], resolved=True)
        return
    messages[number] = Told(
        number=number,
        at=datetime.fromisoformat(entry["at"]),
        names=tuple(entry["names"]),
        severity=entry["severity"],
        title=entry["title"],
        route=tuple(entry["route"]),
    )
    for name in entry["names"]:
        episodes[name] = replace(episodes[name], message=number)


def _order(episode: Episode) -> tuple[int, datetime, str]:
    return SEVERITIES.index(episode.condition.severity), episode.since, episode.condition.name
