"""Secrets taken out of what people read: whatever somebody's error message repeats, no key goes on with it."""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "***"
# Letters a part of an address must have to be a secret: shorter ones are ports and the like, and words of any text.
_SHORTEST = 8
# A password is one whatever its length; but for one letter or two, no text would be left.
_SHORTEST_PASSWORD = 3
_PARTS = re.compile(r"[/:@?&=#,]+")


def secrets_of(*, keys: Iterable[str], addresses: Iterable[str]) -> tuple[str, ...]:
    """Every text that must not be read, longest first.

    Args:
        keys: secrets as they are.
        addresses: URLs with tokens or passwords in them; each part of one counts.
    """
    found = set(keys)
    for address in addresses:
        found.add(address)
        found |= {part for part in _PARTS.split(address) if len(part) >= _SHORTEST}
        password = _password(address)
        if len(password) >= _SHORTEST_PASSWORD:
            found.add(password)
    # As it stands in an address, and as it is.
    spelt = {form for text in found for form in (text, unquote(text), quote(text, safe=""))}
    return tuple(sorted((text for text in spelt if text), key=lambda text: (-len(text), text)))


def redacted(text: str, secrets: Iterable[str]) -> str:
    """A text without any secret.

    Args:
        text: what somebody is about to read.
        secrets: of `secrets_of`.
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _password(address: str) -> str:
    try:
        return urlsplit(address).password or ""
    except ValueError:
        return ""
