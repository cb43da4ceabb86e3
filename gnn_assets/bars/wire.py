"""What every source reached over HTTP has in common: statuses become typed errors, JSON is read strictly."""

import json
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from gnn_assets.core.errors import AccessRefused, Malformed, NoData, Throttled, Upstream

_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TIMEOUT, _TOO_MANY = 200, 401, 403, 404, 408, 429
_SERVER_ERROR = 500
_EXCERPT = 80


def refuse_status(status: int, headers: Mapping[str, str], *, source: str, asked: str, now: datetime) -> None:
    """Raises the typed error of a status that is not 200.

    Args:
        status: HTTP status.
        headers: of the answer, names in any case.
        source: name of the source's plug-in.
        asked: what was asked for, such as a symbol; no keys.
        now: aware UTC moment, for a date in Retry-After.

    Raises:
        Throttled: for 429. Upstream: for 408 and 5xx. AccessRefused: for 401 and 403. NoData: for 404.
        Malformed: for any other status but 200.
    """
    if status == _OK:
        return
    subject = f"{source}, asked for {asked}"
    wait = retry_after(headers, now=now)
    if status == _TOO_MANY:
        raise Throttled(
            f"{subject}: expected an answer, was HTTP 429 (too many requests); lower its rate under sources.{source}.",
            retry_after=wait,
        )
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        raise AccessRefused.of(subject, expected="an answer", was=f"HTTP {status}", do="check the key and its plan")
    if status == _NOT_FOUND:
        raise NoData.of(subject, expected="bars", was="HTTP 404", do="check the symbol, or name another source for it")
    if status == _TIMEOUT or status >= _SERVER_ERROR:
        raise Upstream(f"{subject}: expected an answer, was HTTP {status}; it is tried again.", retry_after=wait)
    raise Malformed.of(subject, expected="HTTP 200", was=f"HTTP {status}", do="see the source's status page")


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds a Retry-After header asks for, as a number or a date (RFC 9110 §10.2.3); None if there is none."""
    told = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    if told is None:
        return None
    if told.isascii() and told.strip().isdecimal():
        return float(told)
    try:
        until = parsedate_to_datetime(told)
    except ValueError:
        return None
    return max((until - now).total_seconds(), 0.0) if until.tzinfo else None


def strict_json(payload: bytes, *, source: str, asked: str) -> Any:
    """The JSON of a payload; NaN and Infinity are no JSON.

    Raises:
        Malformed: if it is anything else, with the payload.
    """
    try:
        return json.loads(payload, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise malformed(payload, source=source, asked=asked, expected="JSON") from error


def malformed(payload: bytes, *, source: str, asked: str, expected: str) -> Malformed:
    """The error for an answer that is not in the source's format; its first bytes are shown, all are kept."""
    start = payload[:_EXCERPT].decode("utf-8", "backslashreplace")
    return Malformed(
        f"{source}, asked for {asked}: expected {expected}, was {len(payload)} bytes that begin with {start!r}; "
        "the answer is kept in quarantine, and nothing of it is used.",
        payload=payload,
    )


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
