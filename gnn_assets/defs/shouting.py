"""The last resort: a message that nobody can enter in the ledger, because that is what is broken.

On a full disk, or with a damaged ledger of alerts, nothing can be remembered; silence would be the worst of answers. So
it is said once by each process in an hour, by the route of what is critical, and never resolved.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from gnn_assets.core.errors import ConfigError
from gnn_assets.defs.resources import Platform
from gnn_assets.monitoring.outbox import Message
from gnn_assets.monitoring.redaction import redacted

_PAUSE = timedelta(hours=1)
# When it was last said, by home: what this process remembers while nothing else can.
_SAID: dict[Path, datetime] = {}


def shout(platform: Platform, error: Exception, *, now: datetime, secrets: tuple[str, ...]) -> str:
    """Says that the platform cannot tell anybody anything, to the first channel that takes it.

    Args:
        platform: the opened platform.
        error: why nothing can be entered.
        now: aware UTC moment, by the machine's clock.
        secrets: taken out of what is said.

    Returns:
        The channel that took it; empty if none did, or it was said before.
    """
    if platform.data in _SAID and now < _SAID[platform.data] + _PAUSE:
        return ""
    message = Message(
        number=0,
        incident="gnn-assets-cannot-tell",
        severity="critical",
        title="[critical] cannot_tell: the ledger of alerts",
        body=f"critical: cannot_tell: nothing can be entered, so no other alert will come: {redacted(str(error), secrets)}",
        route=platform.config.alerts.routes.critical,
        resolves=0,
        at=now,
    )
    took = next((name for name, failure in _tried(platform, message) if not failure), "")
    if took:
        _SAID[platform.data] = now
    return took


def _tried(platform: Platform, message: Message) -> Iterator[tuple[str, str]]:
    from gnn_assets.monitoring.channels import Channel

    for name in message.route:
        address = platform.settings.channels.get(name, "")
        try:
            yield name, Channel.of(name, address).send(message, config=platform.config.alerts)
        except ConfigError as error:
            yield name, str(error)
