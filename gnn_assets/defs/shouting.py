"""The last resort: a message that nobody can enter in the ledger, because that is what is broken.

On a full disk, or with a damaged ledger of alerts, nothing can be remembered; silence would be the worst of answers. So
it is said once an hour, by the route of what is critical, and never resolved. When it was said stands in an empty file
beside the heartbeat, or else among the machine's temporary files, so that who is started every minute knows as well.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from gnn_assets.core.errors import ConfigError
from gnn_assets.defs.resources import Platform
from gnn_assets.monitoring.outbox import Message
from gnn_assets.monitoring.redaction import redacted

_PAUSE = timedelta(hours=1)
# When it was last said, by home and kind: what this process remembers where no file can be written.
_SAID: dict[tuple[Path, str], datetime] = {}


def shout(
    platform: Platform, kind: str, subject: str, sentence: str, *, now: datetime, secrets: tuple[str, ...]
) -> str:
    """Says what cannot be entered, or does not arrive, to the first channel that takes it.

    Args:
        platform: the opened platform.
        kind: what is the matter; each is said once an hour.
        subject: with what.
        sentence: what was found, and why it cannot be told as everything else is.
        now: aware UTC moment, by the machine's clock.
        secrets: taken out of what is said.

    Returns:
        The channel that took it; empty if none did, or it was said before.
    """
    if _said(platform, kind, now=now):
        return ""
    message = Message(
        number=0,
        incident=f"gnn-assets-{kind}",
        severity="critical",
        title=f"[critical] {kind}: {subject}",
        body=f"critical: {kind} {subject}: {redacted(sentence, secrets)}",
        route=platform.config.alerts.routes.critical,
        resolves=0,
        at=now,
    )
    took = next((name for name, failure in _tried(platform, message) if not failure), "")
    if took:
        _remember(platform, kind, now=now)
    return took


def _said(platform: Platform, kind: str, *, now: datetime) -> bool:
    """Whether it was said within the hour, by this process or another of the same user."""
    told = [_SAID[platform.data, kind].timestamp()] if (platform.data, kind) in _SAID else []
    for path in _stamps(platform, kind):
        with suppress(OSError):
            found = path.lstat()
            if found.st_uid == os.getuid():
                told.append(found.st_mtime)
    # What was said later than now is not believed: the clock was set back since.
    return any(0 <= now.timestamp() - moment < _PAUSE.total_seconds() for moment in told)


def _remember(platform: Platform, kind: str, *, now: datetime) -> None:
    _SAID[platform.data, kind] = now
    for path in _stamps(platform, kind):
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Whoever may write among the temporary files must not make this write anywhere else.
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.utime(opened, (now.timestamp(), now.timestamp()))
            finally:
                os.close(opened)
            return


def _stamps(platform: Platform, kind: str) -> tuple[Path, Path]:
    """Where it stands when it was last said, the better place first."""
    home = hashlib.sha256(str(platform.data.resolve()).encode()).hexdigest()[:16]
    return (
        platform.data / "alerts" / f".said_{kind}",
        Path(tempfile.gettempdir()) / f"gnn_assets_{home}_said_{kind}",
    )


def _tried(platform: Platform, message: Message) -> Iterator[tuple[str, str]]:
    from gnn_assets.monitoring.channels import Channel

    for name in message.route:
        address = platform.settings.channels.get(name, "")
        try:
            yield name, Channel.of(name, address).send(message, config=platform.config.alerts)
        except ConfigError as error:
            yield name, str(error)
