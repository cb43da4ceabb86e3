"""The heartbeat, so that silence is noticed: a file that every look writes, and an address that is asked meanwhile.

Who says nothing may be well or gone. `gnn-assets watchdog`, started by the machine's own timer, tells the two apart on
this machine; a dead man's switch elsewhere, asked while people can be told, does so when the whole machine is gone.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from gnn_assets.defs.resources import Platform
from gnn_assets.store.files import write_atomic

SILENCE = "silence"


@dataclass(frozen=True)
class Heartbeat:
    """When the platform was last known to look.

    Args:
        at: aware UTC moment of the newest look, by the machine's clock.
        asked_at: when the address was last asked; None if never.
    """

    at: datetime
    asked_at: datetime | None


def beat(platform: Platform, *, now: datetime, heard: bool = True) -> str:
    """Says that a look is over, and asks the address if its time has come.

    Args:
        platform: the opened platform.
        now: aware UTC moment, by the machine's clock.
        heard: whether people were told all they should know; if not the address is not asked, for its silence may be
            all they ever hear.

    Returns:
        Why the address did not answer, without secrets; empty if it did or was not asked.

    Raises:
        DiskFull, ReadOnly: if the file cannot be written.
    """
    before = read_heartbeat(platform)
    asked_at = before.asked_at if before else None
    secret, failure = platform.settings.alerts_heartbeat, ""
    pause = timedelta(seconds=platform.config.alerts.heartbeat_seconds)
    # Asked later than now: the clock was set back since.
    due = asked_at is None or not asked_at <= now < asked_at + pause
    if secret is not None and heard and due:
        # Slow to import, and only needed where there is an address.
        from gnn_assets.monitoring.channels import ping

        failure = ping(secret.get_secret_value(), config=platform.config.alerts)
        asked_at = now
    told = {"at": now.isoformat(), "asked_at": asked_at.isoformat() if asked_at else None}
    write_atomic(_file(platform), f"{json.dumps(told)}\n".encode())
    return failure


def read_heartbeat(platform: Platform) -> Heartbeat | None:
    """The newest heartbeat; None if there is none that can be read."""
    try:
        told = json.loads(_file(platform).read_bytes())
        asked_at = told["asked_at"]
        return Heartbeat(datetime.fromisoformat(told["at"]), datetime.fromisoformat(asked_at) if asked_at else None)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def silence(platform: Platform, *, now: datetime) -> str:
    """Why the platform counts as silent, as a sentence; empty if it does not.

    Args:
        platform: the opened platform.
        now: aware UTC moment, by the machine's clock.
    """
    last, longest = read_heartbeat(platform), platform.config.alerts.silence_seconds
    if last is None:
        return "The platform has never looked at itself: no heartbeat was written; start `gnn-assets dev`."
    quiet = (now - last.at).total_seconds()
    if abs(quiet) <= longest:
        return ""
    if quiet < 0:
        return (
            f"The platform may be silent: its last heartbeat is of {last.at:%Y-%m-%d %H:%M:%S} UTC, {-quiet:.0f} s after "
            f"now; set the machine's clock, and see whether Dagster's daemon runs."
        )
    return (
        f"The platform is silent: its last heartbeat is of {last.at:%Y-%m-%d %H:%M:%S} UTC, {quiet:.0f} s ago, more than "
        f"{longest:g} s; see whether Dagster's daemon runs."
    )


def _file(platform: Platform) -> Path:
    return platform.data / "alerts" / "heartbeat.json"
