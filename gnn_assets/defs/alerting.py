"""The sensor that tells people: it looks, enters what is new in the ledger, and sends what is to be sent.

`look` and `send` need neither the sensor nor each other: a replay looks by its own clock and sends nothing, the command
line sends what a sensor could not.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from gnn_assets.core.clock import LiveClock
from gnn_assets.core.config import Config
from gnn_assets.core.errors import ConfigError, CorruptArtefact, DiskFull, LockTimeout, PointerConflict, ReadOnly
from gnn_assets.core.logs import get_log
from gnn_assets.defs.conditions import Start, gather, start_at
from gnn_assets.defs.heartbeat import beat
from gnn_assets.defs.remembered import ledger_entries, remembered
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.shouting import shout
from gnn_assets.monitoring.alerts import ALERT, RESOLVE, STARTED, Condition, Memory, remember, step, waits
from gnn_assets.monitoring.outbox import Message, Outbox, outbox_of
from gnn_assets.monitoring.redaction import redacted, secrets_of
from gnn_assets.store.files import failpoint, locked

_log = get_log()
ALERTS_SENSOR = "alerts"
_ABSENT = "no channel of this name in GNN_ASSETS_ALERTS"
_UNREADABLE = "its address in GNN_ASSETS_ALERTS cannot be read; `gnn-assets config check` says more"


@dataclass(frozen=True)
class Looked:
    """What a look found.

    Args:
        conditions: all that is wrong now, or has happened.
        entries: what was entered in the ledger; empty if nothing was new.
        memory: what people have been told by now.
    """

    conditions: tuple[Condition, ...]
    entries: tuple[dict[str, Any], ...]
    memory: Memory

    @property
    def titles(self) -> list[str]:
        """First lines of the messages that were made."""
        return [entry["title"] for entry in self.entries if entry["entry"] in (ALERT, RESOLVE)]


@dataclass(frozen=True)
class Sent:
    """What came of sending.

    Args:
        taken: message and channel, of each that was taken.
        failed: message, channel and why, of each that was not.
    """

    taken: tuple[tuple[int, str], ...]
    failed: tuple[tuple[int, str, str], ...]


def alerts_sensor(config: Config) -> dg.SensorDefinition:
    """The sensor; running from the start."""

    @dg.sensor(
        name=ALERTS_SENSOR,
        # It starts nothing; Dagster wants to know what it might.
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=config.alerts.look_seconds,
        description="Tells people what went wrong, once, and when it is over. See docs/alerts.md.",
    )
    def sensor(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SkipReason:
        with platform.logging(sensor=ALERTS_SENSOR):
            told = [line for line in tell(platform, context.instance) if line]
            for line in told:
                _log.warning("alert", told=line)
        return dg.SkipReason(" ".join(told) or "Nothing is new.")

    return sensor


def tell(platform: Platform, instance: dg.DagsterInstance) -> list[str]:
    """One look by the machine's clock, what is to be sent, and the heartbeat.

    Returns:
        What was told, and what could not be, as lines for people.

    Raises:
        CorruptArtefact, DiskFull, ReadOnly: if nothing can be entered; people were told of that, if any channel took
            it, and there is no heartbeat.
        LockTimeout: if somebody else is entering something for too long; the next look may have more luck.
    """
    try:
        return _tell(platform, instance)
    except (CorruptArtefact, DiskFull, ReadOnly) as error:
        told = f"nothing can be entered, so no other alert will come: {error}"
        shout(
            platform,
            "cannot_tell",
            "the ledger of alerts",
            told,
            now=LiveClock().now(),
            secrets=secrets_of_environment(platform),
        )
        raise


def _tell(platform: Platform, instance: dg.DagsterInstance) -> list[str]:
    clock = LiveClock()
    looked = look(platform, instance, now=clock.now())
    titles = looked.titles
    wait = waits(looked.memory, now=clock.now(), config=platform.config.alerts)
    if wait:
        # What is grouped is told at the end of its time, not at the look after.
        time.sleep(wait)
        titles += look(platform, instance, now=clock.now()).titles
    sent = send(platform, now=clock.now())
    unanswered = beat(platform, now=clock.now(), heard=not outbox_now(platform).unheard)
    failures = [f"message {number} by {channel}: {why}." for number, channel, why in sent.failed]
    return [*titles, *failures, f"heartbeat: {unanswered}." if unanswered else ""]


def look(platform: Platform, instance: dg.DagsterInstance, *, now: datetime) -> Looked:
    """Gathers what is wrong, and enters what people are to be told; it sends nothing.

    Args:
        platform: the opened platform.
        instance: Dagster's records of runs.
        now: aware UTC moment; the machine's, or a replay's own.

    Raises:
        CorruptArtefact: if the ledger of alerts itself is damaged.
        LockTimeout, DiskFull, ReadOnly: if it cannot be written.
    """
    found = gather(platform, instance, start=_started(platform, now=now))
    secrets = secrets_of_environment(platform)
    conditions = tuple(_redacted(condition, secrets) for condition in found.conditions)
    entries, memory = enter(platform, conditions, now=now, looked_at=found.looked_at)
    return Looked(conditions, tuple(entries), memory)


def enter(
    platform: Platform,
    conditions: tuple[Condition, ...],
    *,
    now: datetime,
    looked_at: Callable[[Condition], bool],
) -> tuple[list[dict[str, Any]], Memory]:
    """Enters what follows from some conditions; what was entered, and the memory after it.

    Whoever finds that somebody else entered something meanwhile leaves the rest to the next look.

    Args:
        platform: the opened platform.
        conditions: what is wrong now, without secrets.
        now: aware UTC moment.
        looked_at: as for `step`.
    """
    entries = ledger_entries(platform, "alerts")
    memory = remembered(platform, "told", entries[-1]["id"] if entries else "", lambda: remember(entries))
    newest = entries[-1]["id"] if entries else None
    made = []
    for entry in step(conditions, memory, now=now, config=platform.config.alerts, looked_at=looked_at):
        try:
            newest = platform.ledger.append("alerts", entry, after=newest)
        except PointerConflict:
            break
        failpoint("alerts:entered")
        made.append(entry)
    return made, remember(made, memory)


def send(platform: Platform, *, now: datetime) -> Sent:
    """Sends every message that is due, by the channel whose turn it is; one sender at a time.

    Where another channel stands behind one that fails, its tries are made at once, pauses included.

    Args:
        platform: the opened platform.
        now: aware UTC moment, by the machine's clock.

    Raises:
        CorruptArtefact: if the ledger of alerts is damaged.
        LockTimeout, DiskFull, ReadOnly: if a try cannot be entered; it may be made once more.
    """
    if not outbox_now(platform).due(now=now, config=platform.config.alerts):
        return Sent((), ())
    with ExitStack() as sending:
        try:
            sending.enter_context(locked(platform.data / "alerts" / ".sending.lock", timeout_seconds=0))
        except LockTimeout:
            return Sent((), ())  # somebody else is sending
        return _send_all(platform, now=now)


def _send_all(platform: Platform, *, now: datetime) -> Sent:
    taken: list[tuple[int, str]] = []
    failed: list[tuple[int, str, str]] = []
    config = platform.config.alerts
    # Read under the lock: whoever held it before may have sent it.
    outbox, begun = outbox_now(platform), time.monotonic()
    end = begun + config.sending_seconds
    while time.monotonic() < end:
        moment = now + timedelta(seconds=time.monotonic() - begun)
        due = outbox.due(now=moment, config=config)
        if not due:
            again = outbox.soon(now=moment, config=config)
            if again is None or time.monotonic() + (pause := (again - moment).total_seconds()) >= end:
                break
            # Another channel stands behind this one: people wait for no further look.
            time.sleep(pause)
            continue
        message, channel = due[0]
        failure, final = _try(platform, message, channel)
        failpoint("alerts:sent")
        moment = now + timedelta(seconds=time.monotonic() - begun)
        entry = outbox.answer(message, channel, failure, now=moment, config=config, final=final)
        platform.ledger.append("alerts", entry)
        outbox.enter(entry)
        if failure:
            failed.append((message.number, channel, failure))
        else:
            taken.append((message.number, channel))
    return Sent(tuple(taken), tuple(failed))


def outbox_now(platform: Platform) -> Outbox:
    """Every message, and what became of it.

    Raises:
        CorruptArtefact: if the ledger of alerts is damaged.
    """
    return outbox_of(ledger_entries(platform, "alerts"))


def secrets_of_environment(platform: Platform) -> tuple[str, ...]:
    """Every secret this process was given, for `redacted`."""
    settings = platform.settings
    heartbeat = [settings.alerts_heartbeat.get_secret_value()] if settings.alerts_heartbeat else []
    return secrets_of(keys=settings.keys.values(), addresses=[*settings.channels.values(), *heartbeat])


def check_channels(platform: Platform) -> str:
    """Whether every channel can be read and every route leads to channels that are there; a sentence for people.

    Raises:
        ConfigError: if not; no address is told.
    """
    addresses = platform.settings.channels
    if addresses:
        from gnn_assets.monitoring.channels import Channel

        for name, address in addresses.items():
            Channel.of(name, address)
    routes = platform.config.alerts.routes.model_dump()
    for severity, route in routes.items():
        for name in route:
            if name not in addresses:
                raise ConfigError.of(
                    f"alerts.routes.{severity}",
                    expected=f"channels of GNN_ASSETS_ALERTS ({', '.join(addresses) or 'none is set'})",
                    was=repr(name),
                    do="give it an address in GNN_ASSETS_ALERTS or take it out of the route",
                )
    told = (f"{severity} by {', then '.join(route) or 'nobody'}" for severity, route in routes.items())
    return f"alerts: {'; '.join(told)}"


def _started(platform: Platform, *, now: datetime) -> Start | None:
    """Where people were first told anything; None while the events cannot be read."""
    for entry in ledger_entries(platform, "alerts"):
        if entry["entry"] == STARTED:
            # An entry of before sessions were kept: those up to its day were looked at when they were new.
            return Start(entry["event"], entry.get("session", entry["at"][:10]))
    try:
        start = start_at(platform, now=now)
    except CorruptArtefact:
        return None
    platform.ledger.append("alerts", {"entry": STARTED, "at": now.isoformat(), **asdict(start)})
    return start


def _redacted(condition: Condition, secrets: tuple[str, ...]) -> Condition:
    """A condition whose words are without secrets; what it is known by is ours, and stays what it is."""
    return replace(
        condition,
        sentence=redacted(condition.sentence, secrets),
        evidence=redacted(condition.evidence, secrets),
    )


def _try(platform: Platform, message: Message, name: str) -> tuple[str, bool]:
    """Why a channel did not take a message, and whether it never will; empty if it did."""
    # Slow to import, and only needed where there is something to send.
    from gnn_assets.monitoring.channels import Channel

    address = platform.settings.channels.get(name)
    if address is None:
        return _ABSENT, True
    try:
        channel = Channel.of(name, address)
    except ConfigError:
        return _UNREADABLE, True
    return channel.send(message, config=platform.config.alerts), False
