"""Secrets taken out of what people read: whatever somebody's error message repeats, no key goes on with it."""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote, unquote_plus, urlsplit

HIDDEN = "***"
# Letters a part of an address must have to be a secret: shorter ones are ports and the like, and words of any text.
_SHORTEST = 8
# A password, and the value of a query or a header, is one whatever its length; but for one letter or two, no text would
# be left.
_SHORTEST_VALUE = 3
_PARTS = re.compile(r"[/:@?&=#,]+")


def secrets_of(*, keys: Iterable[str], addresses: Iterable[str]) -> tuple[str, ...]:
    """Every text that must not be read, longest first.

    Args:
        keys: secrets as they are.
        addresses: URLs with tokens or passwords in them; each part of one counts, and each value of its query, where
            headers stand too.
    """
    found = set(keys)
    for address in addresses:
        found.add(address)
        found |= {part for part in _PARTS.split(address) if len(part) >= _SHORTEST}
        found |= {value for value in (_password(address), *_values(address)) if len(value) >= _SHORTEST_VALUE}
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


def _values(address: str) -> Iterator[str]:
    """The values of an address's query, as they stand there and as they are, and each word of one: "Bearer abc"."""
    _, _, query = address.partition("?")
    for pair in re.split("[&;]", query):
        value = pair.partition("=")[2]
        yield from (value, unquote_plus(value), *unquote_plus(value).split())


def _password(address: str) -> str:
    try:
        return urlsplit(address).password or ""
    except ValueError:
        return ""
