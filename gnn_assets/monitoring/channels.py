"""Where messages go: Slack, mail, Telegram, PagerDuty, Opsgenie or a webhook, by apprise, from one address each.

The address is a secret. What a service answers, and what a library says of it, may repeat it; so no word of theirs is
handed on: a failure is told in this module's own. Redirects are not followed, and only public addresses are connected
to (`public_addresses`).
"""

import json
import logging
import re
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

import apprise
from apprise import NotifyFormat, NotifyType
from apprise.plugins import url_to_dict
from apprise.plugins.base import NotifyBase
from apprise.plugins.opsgenie import OPSGENIE_API_LOOKUP

from gnn_assets.core.config import AlertsConfig
from gnn_assets.core.errors import ConfigError
from gnn_assets.monitoring.outbox import Message
from gnn_assets.monitoring.public_addresses import Guard, NotPublic, in_guarded_thread, is_public, run_guarded

SCHEMAS = ("slack", "mailto", "mailtos", "tgram", "pagerduty", "opsgenie", "json", "jsons")
_INCIDENTS = ("pagerduty", "opsgenie")
_KINDS = {"critical": NotifyType.FAILURE, "warning": NotifyType.WARNING, "info": NotifyType.INFO}
_STATUS = re.compile(r"error=(\d{3})")
_NOT_PUBLIC = (
    "refused: its host has an address that is not public; if it is meant, add the host to alerts.private_hosts"
)
_UNREACHED = "not reached, or refused"
# Libraries that tell of addresses in their logs.
_TALKATIVE = ("urllib3.connectionpool", "urllib3.util.retry")


class _Listener:
    """Hears what apprise logs, keeps the HTTP status in it, and lets nothing through: its words may hold an address."""

    def __init__(self) -> None:
        self.status = ""

    def __call__(self, record: logging.LogRecord) -> bool:
        """Looks for a status; the record goes no further."""
        found = _STATUS.search(record.getMessage())
        if found:
            self.status = found[1]
        return False


_LISTENER = _Listener()


def _silence() -> None:
    logger = logging.getLogger("apprise")
    # What is logged below names addresses and payloads.
    logger.setLevel(logging.WARNING)
    # A filter, not a handler: whoever hangs a handler of his own on it hears nothing either.
    logger.addFilter(_LISTENER)
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(lambda _record: in_guarded_thread() is None)


_silence()


@dataclass(frozen=True)
class Channel:
    """One place that messages go to.

    Args:
        name: by which routes name it.
        parts: the address, taken apart; never shown.
    """

    name: str
    parts: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, name: str, address: str) -> "Channel":
        """The channel of an address.

        Raises:
            ConfigError: if apprise cannot read it, or it is of another kind; the address itself is not told.
        """
        parts = url_to_dict(address)
        schema = parts.get("schema") if parts else None
        channel = cls(name, parts) if parts and schema in SCHEMAS else None
        if channel is None or channel.plugin() is None:
            raise ConfigError.of(
                f"GNN_ASSETS_ALERTS, channel {name}",
                expected=f"an address that begins with {', '.join(f'{one}://' for one in SCHEMAS)}",
                was="another, or one that lacks a part (not shown, it is secret)",
                do="see docs/alerts.md for one of each kind",
            )
        return channel

    @property
    def keeps_incidents(self) -> bool:
        """Whether the service opens an incident for a message, which another one closes."""
        return self.parts["schema"] in _INCIDENTS

    def plugin(self, **parts: Any) -> NotifyBase | None:
        """What sends; None where a part of the address is wrong."""
        asset = apprise.AppriseAsset(app_id="gnn-assets", app_desc="gnn-assets", allow_templates=False)
        return apprise.Apprise.instantiate({**self.parts, **parts}, asset=asset)

    def send(self, message: Message, *, config: AlertsConfig) -> str:
        """Sends one message, once.

        Args:
            message: what; the services that keep incidents open or close the one it is about.
            config: timeout, and hosts that may be private.

        Returns:
            Why it failed, in words without secrets; empty if the service took it.
        """
        resolving = bool(message.resolves)
        own = _of_services(self.parts["schema"], message)
        patience = {"cto": config.timeout_seconds, "rto": config.timeout_seconds}
        plugin = self.plugin(**patience, **own, redirect="no", retry=0, overflow="truncate", store="no")
        if plugin is None:
            return "its address cannot be read any more"

        def by_apprise() -> bool:
            return plugin.notify(
                title=message.title,
                body=message.body,
                notify_type=NotifyType.SUCCESS if resolving else _KINDS[message.severity],
                body_format=NotifyFormat.TEXT,
            )

        def by_alias() -> bool:
            return _close_opsgenie(plugin, message, timeout=config.timeout_seconds)

        host = getattr(plugin, "smtp_host", "") or (plugin.host if self.parts["schema"].startswith("json") else "")
        work = by_alias if resolving and self.parts["schema"] == "opsgenie" else by_apprise
        return _sent(work, hosts=[host] if host else [], config=config)


def ping(address: str, *, config: AlertsConfig) -> str:
    """Asks an address, such as that of a dead man's switch, so that its silence means something.

    Args:
        address: of HTTP or HTTPS; a secret.
        config: as for `Channel.send`.

    Returns:
        As for `Channel.send`.
    """
    if not address.startswith(("https://", "http://")):
        return "its address is not of HTTP"
    return _sent(lambda: _asked(Request(address), timeout=config.timeout_seconds), hosts=[], config=config)  # noqa: S310 - of HTTP, see above


def _of_services(schema: str, message: Message) -> dict[str, Any]:
    """What names the incident to services that keep one."""
    if schema == "pagerduty":
        return {"dedup": message.incident, "action": "resolve" if message.resolves else "trigger"}
    if schema == "opsgenie":
        return {"alias": message.incident, "action": "new"}
    return {}


def _sent(work: Callable[[], bool], *, hosts: Collection[str], config: AlertsConfig) -> str:
    """Runs what sends, guarded; why it failed, empty if it did not."""
    guard, outcome = Guard(config.private_hosts), {"taken": False, "status": ""}
    _LISTENER.status = ""

    def guarded() -> None:
        try:
            for host in hosts:
                _refuse_private(host, config.private_hosts)
            outcome["taken"] = work()
        except NotPublic:
            guard.refused = True
        except HTTPError as error:
            outcome["status"] = str(error.code)

    if not run_guarded(guarded, guard, seconds=config.timeout_seconds):
        return f"no answer within {config.timeout_seconds:g} s"
    if outcome["taken"]:
        return ""
    if guard.refused:
        return _NOT_PUBLIC
    status = outcome["status"] or _LISTENER.status
    return f"answered HTTP {status}" if status else _UNREACHED


def _refuse_private(host: str, private_hosts: Collection[str]) -> None:
    """Refuses a host before anybody is asked for it: through a proxy, the connection would show the proxy alone.

    Raises:
        NotPublic: if one of its addresses is not public. What cannot be resolved here is left to who can.
    """
    if host.lower() in {one.lower() for one in private_hosts}:
        return
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return
    if not all(is_public(address) for *_, address in found):
        raise NotPublic("not a public address")


def _close_opsgenie(plugin: Any, message: Message, *, timeout: float) -> bool:
    """Closes an alert by its alias; apprise closes only what the same process has opened.

    References:
        Opsgenie, Alert API, "Close Alert": POST /v2/alerts/{alias}/close?identifierType=alias.
    """
    alerts = OPSGENIE_API_LOOKUP[plugin.region_name]
    request = Request(  # noqa: S310 - apprise's own table of https addresses
        f"{alerts}/{quote(message.incident, safe='')}/close?identifierType=alias",
        data=json.dumps({"source": plugin.app_desc, "note": message.body}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"GenieKey {plugin.apikey}"},
    )
    return _asked(request, timeout=timeout)


class _NoRedirects(HTTPRedirectHandler):
    """Follows none: a redirect becomes an error with its status."""

    def http_error_302(self, req: Request, fp: Any, code: int, msg: str, headers: Any) -> None:
        """Leaves it to the handler of errors."""

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _asked(request: Request, *, timeout: float) -> bool:
    with build_opener(_NoRedirects).open(request, timeout=timeout) as answer:
        return 200 <= answer.status < 300  # noqa: PLR2004 - success, as HTTP numbers it
