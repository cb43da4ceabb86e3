"""Thresholds written down before the first result they judge, and every change of them told. Pure: events in, words out.

The ledger's events hold what was registered, oldest first. Their order counts, never their moments: a clock may stand
still.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gnn_assets.core.config import Config
from gnn_assets.core.hashing import json_hash

THRESHOLDS = "thresholds"
# What else decides about a word, beside the section of its own.
_ELSEWHERE = ("min_sessions", "confidence")
# Events by which a candidate comes to be served.
_MOVED = ("promoted", "rolled_back")
_SHOWN = 16  # digits of a hash

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One threshold that was registered anew with another value.

    Args:
        on: date of the registration (ISO), by the platform's clock.
        name: of the setting.
        before: its value until then; None where it was not registered before.
        after: its value from then on; None where it is registered no more.
    """

    on: str
    name: str
    before: Any
    after: Any

    @property
    def sentence(self) -> str:
        """The change in words."""
        return f"thresholds changed on {self.on}: {self.name} {_told(self.before)} -> {_told(self.after)}"


def thresholds_of(config: Config) -> dict[str, Any]:
    """Every setting that decides about a word, by name; those of other sections with theirs."""
    own = config.verdict.model_dump(mode="json")
    return own | {f"backtests.{name}": getattr(config.backtests, name) for name in _ELSEWHERE}


def thresholds_hash(values: Mapping[str, Any]) -> str:
    """Name of a set of thresholds, 16 hex digits."""
    return json_hash(values)[:_SHOWN]


def registration(config: Config, events: Sequence[Event]) -> dict[str, Any] | None:
    """The event that registers the thresholds in force; None if they are the ones that were registered last.

    Args:
        config: what is in force.
        events: the ledger's, oldest first.
    """
    values = thresholds_of(config)
    last = registered(events)
    if last is not None and last["values"] == values:
        return None
    return {"event": THRESHOLDS, "thresholds": thresholds_hash(values), "values": values}


def registered(events: Sequence[Event]) -> Event | None:
    """The registration that holds after these events; None before the first."""
    return next((event for event in reversed(events) if event["event"] == THRESHOLDS), None)


def registered_before(events: Sequence[Event], *, candidate: str) -> Mapping[str, Any] | None:
    """The thresholds that held when a candidate was first put in place; None if none had been registered by then.

    Args:
        events: the ledger's, oldest first.
        candidate: gnn_weights version.
    """
    moved = [n for n, event in enumerate(events) if event["event"] in _MOVED and event["candidate"] == candidate]
    told = registered(events[: moved[0]]) if moved else None
    return None if told is None else told["values"]


def changes(events: Sequence[Event]) -> tuple[Change, ...]:
    """Every change of a threshold since the first registration, oldest first.

    Args:
        events: the ledger's, oldest first.
    """
    told = [event for event in events if event["event"] == THRESHOLDS]
    return tuple(change for before, after in pairwise(told) for change in _between(before, after))


def _between(before: Event, after: Event) -> Iterator[Change]:
    old, new = before["values"], after["values"]
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield Change(on=after["recorded_at"][:10], name=name, before=old.get(name), after=new.get(name))


def _told(value: Any) -> str:
    return "nothing" if value is None else str(value)
