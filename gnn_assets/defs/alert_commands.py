"""What the command line does with alerts: shows them, sends dead letters again, tries channels, and watches the watcher."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gnn_assets.core.clock import LiveClock
from gnn_assets.core.errors import ConfigError
from gnn_assets.defs.alerting import check_channels, enter, outbox_now, secrets_of_environment, send
from gnn_assets.defs.heartbeat import SILENCE, silence
from gnn_assets.defs.remembered import ledger_entries
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.shouting import shout
from gnn_assets.monitoring.alerts import Condition, Episode, remember
from gnn_assets.monitoring.outbox import Message, Outbox, resend
from gnn_assets.monitoring.redaction import redacted

_NEWEST = 10  # messages that are shown


@dataclass(frozen=True)
class Shown:
    """What `gnn-assets alerts` shows.

    Args:
        open: what is wrong now, worst first.
        messages: the newest, with what became of each, oldest first.
        dead_letters: messages that nobody took.
    """

    open: tuple[Episode, ...]
    messages: tuple[tuple[Message, str], ...]
    dead_letters: tuple[Message, ...]


def show(platform: Platform) -> Shown:
    """What is wrong by the newest look, and what people were told.

    Raises:
        CorruptArtefact: if the ledger of alerts is damaged.
    """
    outbox = outbox_now(platform)
    newest = list(outbox.messages.values())[-_NEWEST:]
    return Shown(
        open=remember(ledger_entries(platform, "alerts")).open,
        messages=tuple((message, _fate(outbox, message)) for message in newest),
        dead_letters=tuple(outbox.dead_letters),
    )


def send_again(platform: Platform) -> Iterator[str]:
    """Sends every dead letter again, at once; a line about each try.

    Raises:
        CorruptArtefact: if the ledger of alerts is damaged.
    """
    now = LiveClock().now()
    letters = outbox_now(platform).dead_letters
    if not letters:
        yield "There is no dead letter."
        return
    for entry in resend(letters, now=now):
        platform.ledger.append("alerts", entry)
    sent = send(platform, now=now)
    for number, channel in sent.taken:
        yield f"message {number}: taken by {channel}"
    for number, channel, why in sent.failed:
        yield f"message {number}: {channel} failed: {why}"


def try_channels(platform: Platform) -> Iterator[tuple[str, str]]:
    """Sends a test message by every channel: its name, and why it failed, or nothing if it did not.

    A service that keeps incidents is told at once that the test is over.

    Raises:
        ConfigError: if there is no channel, or a route leads nowhere.
    """
    from gnn_assets.monitoring.channels import Channel

    check_channels(platform)
    addresses, now = platform.settings.channels, LiveClock().now()
    if not addresses:
        raise ConfigError.of(
            "GNN_ASSETS_ALERTS", expected="at least one channel", was="none", do="see docs/alerts.md for one of each"
        )
    test = Message(
        number=0,
        incident=f"gnn-assets-test-{now:%Y%m%dT%H%M%S}",
        severity="info",
        title="[test] gnn-assets",
        body="This is what an alert looks like. Nothing is wrong.",
        route=(),
        resolves=0,
        at=now,
    )
    for name, address in addresses.items():
        channel = Channel.of(name, address)
        failure = channel.send(test, config=platform.config.alerts)
        if not failure and channel.keeps_incidents:
            failure = channel.send(replace(test, resolves=1), config=platform.config.alerts)
        yield name, failure


def watch(platform: Platform) -> str:
    """Holds the heartbeat against its limit, and raises an alert if the platform is silent; the alarm is resolved by it.

    Where the alert cannot be entered, or does not arrive, its channels are asked without the ledger, once an hour.

    Returns:
        What is wrong, as a sentence; empty if nothing is.
    """
    found = silence(platform, now=LiveClock().now())
    if not found:
        return ""
    secrets = secrets_of_environment(platform)
    try:
        missing = _alarm(platform, Condition(SILENCE, "platform", "critical", redacted(found, secrets)))
    except Exception as error:  # noqa: BLE001 - whatever is broken, nobody else is left to say so
        missing = f"{type(error).__name__}: {error}"
    if missing:
        found = redacted(f"{found} The alert did not go the usual way: {missing}", secrets)
        shout(platform, SILENCE, "platform", found, now=LiveClock().now(), secrets=secrets)
    return found


def _alarm(platform: Platform, silent: Condition) -> str:
    """Enters and sends that the platform is silent; why people may not have heard of it, empty if they have.

    Raises:
        CorruptArtefact: if the ledger of alerts is damaged.
        LockTimeout, DiskFull, ReadOnly: if it cannot be written.
    """
    clock = LiveClock()
    # Nothing else can begin with it: it waits for nobody.
    at_once = platform.config.alerts.model_copy(update={"group_seconds": 0.0})
    impatient = replace(platform, config=platform.config.model_copy(update={"alerts": at_once}))
    _, memory = enter(impatient, (silent,), now=clock.now(), looked_at=lambda condition: condition.kind == SILENCE)
    if silent.name not in memory.episodes or not memory.episodes[silent.name].message:
        return "somebody else entered something at that moment."
    for attempt in range(at_once.attempts):
        send(impatient, now=clock.now())
        if not _waits(impatient):
            break
        time.sleep(at_once.pause_seconds * 2**attempt)
    if _waits(impatient):
        return "messages are still to be sent, and nobody sends them."
    number = memory.episodes[silent.name].message
    return "no channel took it." if any(letter.number == number for letter in outbox_now(impatient).unheard) else ""


def _waits(platform: Platform) -> bool:
    """Whether a message is still to be sent, now or after a pause."""
    outbox = outbox_now(platform)
    letters = {message.number for message in outbox.dead_letters}
    return any(
        message.route and message.number not in outbox.sent and message.number not in letters
        for message in outbox.messages.values()
    )


def _fate(outbox: Outbox, message: Message) -> str:
    """What became of a message, channel by channel."""
    if not message.route:
        return "kept here alone: no route for its severity"
    tried = []
    for channel in outbox.route_of(message):
        told = outbox.failures.get((message.number, channel))
        if told is not None:
            tries, _, reason = told
            state = "dead" if (message.number, channel) in outbox.dead else "failed"
            tried.append(f"{channel} {state} after {tries}: {reason}")
    took = outbox.sent.get(message.number)
    return "; ".join([*tried, *([f"taken by {took}"] if took else [])]) or "to be sent"
