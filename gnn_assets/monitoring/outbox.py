"""Which message is to be sent now, and by which channel: a pure function of what the ledger says was tried.

    sent     a channel took it: done
    failed   tried again after a pause that doubles; a few times, and where no other channel is left, for minutes
    dead     the last try of this channel failed; the next channel of the route is tried at once
    resend   somebody asks for it again: every channel of its route is as if never tried

A message that is dead on every channel of its route is a dead letter: it stays, and is listed. A try is entered after
it was made, so who was killed in between makes it twice at most. One without a route is kept in the ledger alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gnn_assets.core.config import AlertsConfig
from gnn_assets.monitoring.alerts import ALERT, RESOLVE, SEVERITIES, Severity

SENT, FAILED, DEAD, RESEND = "sent", "failed", "dead", "resend"


@dataclass(frozen=True)
class Message:
    """What is to be sent.

    Args:
        number: 1, 2, ...
        incident: names what it is about, to services that can close what was opened; a resolving message has that of
            the message it resolves.
        severity: as told by it.
        title: first line.
        body: lines.
        route: channels, in order.
        resolves: number of the message it resolves; 0 for one that tells.
        at: aware UTC moment it was made.
    """

    number: int
    incident: str
    severity: Severity
    title: str
    body: str
    route: tuple[str, ...]
    resolves: int
    at: datetime


@dataclass
class Outbox:
    """Fold of the ledger's entries: every message, and what became of it.

    Args:
        messages: number → message.
        sent: number → the channel that took it.
        failures: number and channel → tries that failed, the moment of the last, and why.
        dead: number and channel, where the last try failed.
    """

    messages: dict[int, Message] = field(default_factory=dict)
    sent: dict[int, str] = field(default_factory=dict)
    failures: dict[tuple[int, str], tuple[int, datetime, str]] = field(default_factory=dict)
    dead: set[tuple[int, str]] = field(default_factory=set)

    def enter(self, entry: Mapping[str, Any]) -> None:
        """Takes in one more entry."""
        kind = entry["entry"]
        if kind in (ALERT, RESOLVE):
            self.messages[entry["number"]] = self._message(entry)
        elif kind == SENT:
            self.sent[entry["message"]] = entry["channel"]
        elif kind in (FAILED, DEAD):
            key = (entry["message"], entry["channel"])
            tries = self.failures[key][0] if key in self.failures else 0
            self.failures[key] = (tries + 1, datetime.fromisoformat(entry["at"]), entry["reason"])
            if kind == DEAD:
                self.dead.add(key)
        elif kind == RESEND:
            number = entry["message"]
            self.dead = {key for key in self.dead if key[0] != number}
            self.failures = {key: told for key, told in self.failures.items() if key[0] != number}

    def route_of(self, message: Message) -> tuple[str, ...]:
        """Channels of a message, in order; what resolves goes first to whom took what it resolves."""
        took = self.sent.get(message.resolves)
        return tuple(dict.fromkeys((*([took] if took else []), *message.route)))

    @property
    def dead_letters(self) -> list[Message]:
        """Messages that every channel of their route failed to take."""
        return [message for message in self.messages.values() if message.route and self._is_dead(message)]

    @property
    def unheard(self) -> list[Message]:
        """Dead letters that tell of more than news, and that are not over: somebody should know, and nobody does."""
        over = {message.resolves for message in self.messages.values()}
        return [
            letter
            for letter in self.dead_letters
            if not letter.resolves and letter.severity != "info" and letter.number not in over
        ]

    def due(self, *, now: datetime, config: AlertsConfig) -> list[tuple[Message, str]]:
        """What is to be sent now, by which channel; the worst first, then in order.

        Args:
            now: aware UTC moment.
            config: pause before another try.
        """
        found = []
        for message in self.messages.values():
            channel = self._channel(message)
            if channel is None or self._waits_for_its_alert(message):
                continue
            tries, last, _ = self.failures.get((message.number, channel), (0, now, ""))
            if tries == 0 or now >= last + _pause(tries, config):
                found.append((message, channel))
        return sorted(found, key=lambda one: (SEVERITIES.index(one[0].severity), one[0].number))

    def soon(self, *, now: datetime, config: AlertsConfig) -> datetime | None:
        """When a channel that is not the last of its route is tried again; None if none is.

        Args:
            now: aware UTC moment.
            config: pause before another try.
        """
        again = []
        for message in self.messages.values():
            channel = self._channel(message)
            tried = self.failures.get((message.number, channel or ""))
            if channel and tried and channel != self.route_of(message)[-1] and not self._waits_for_its_alert(message):
                tries, last, _ = tried
                again.append(max(last + _pause(tries, config), now))
        return min(again, default=None)

    def answer(
        self, message: Message, channel: str, failure: str, *, now: datetime, config: AlertsConfig, final: bool = False
    ) -> dict[str, Any]:
        """What is entered of a try.

        Args:
            message: that was sent.
            channel: by which.
            failure: why it failed, without secrets; empty if it was taken.
            now: aware UTC moment.
            config: how many tries there are.
            final: whether no further try can help.
        """
        entry = {"message": message.number, "channel": channel, "at": now.isoformat()}
        if not failure:
            return {"entry": SENT, **entry}
        tries = self.failures.get((message.number, channel), (0, now, ""))[0] + 1
        last = channel == self.route_of(message)[-1]
        over = final or tries >= (config.last_attempts if last else config.attempts)
        return {"entry": DEAD if over else FAILED, **entry, "reason": failure}

    def _message(self, entry: Mapping[str, Any]) -> Message:
        resolves = entry.get("resolves", 0)
        return Message(
            number=entry["number"],
            incident=self.messages[resolves].incident if resolves else entry["id"],
            severity=entry["severity"],
            title=entry["title"],
            body=entry["body"],
            route=tuple(entry["route"]),
            resolves=resolves,
            at=datetime.fromisoformat(entry["at"]),
        )

    def _channel(self, message: Message) -> str | None:
        """The channel whose turn it is; None if the message was taken, is dead or has no route."""
        if message.number in self.sent:
            return None
        return next((name for name in self.route_of(message) if (message.number, name) not in self.dead), None)

    def _is_dead(self, message: Message) -> bool:
        return message.number not in self.sent and self._channel(message) is None

    def _waits_for_its_alert(self, message: Message) -> bool:
        """Whether what it resolves is still to be sent: nobody is told that something is over before it was told."""
        alert = self.messages.get(message.resolves)
        return alert is not None and self._channel(alert) is not None


def _pause(tries: int, config: AlertsConfig) -> timedelta:
    return timedelta(seconds=config.pause_seconds * 2 ** (tries - 1))


def outbox_of(entries: Iterable[Mapping[str, Any]]) -> Outbox:
    """The outbox after some entries.

    Args:
        entries: `alerts` of the ledger with their `id`, oldest first.
    """
    outbox = Outbox()
    for entry in entries:
        outbox.enter(entry)
    return outbox


def resend(messages: Sequence[Message], *, now: datetime) -> list[dict[str, Any]]:
    """Entries by which messages are sent again.

    Args:
        messages: dead letters.
        now: aware UTC moment.
    """
    return [{"entry": RESEND, "message": message.number, "at": now.isoformat()} for message in messages]
