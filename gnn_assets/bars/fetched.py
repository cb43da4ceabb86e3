"""What a source is asked, what it answers, and what it is given to work with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Protocol, TypeVar

import polars as pl

from gnn_assets.core.config import Config
from gnn_assets.core.errors import SourceError
from gnn_assets.core.sessions import Exchanges

PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume")
FETCHED_COLUMNS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "symbol": pl.String,
    "session": pl.Date,
    **dict.fromkeys(VALUES, pl.Float64),
}
# kind: "split" (value: new shares for one old) or "dividend" (value: cash a share, on the basis of the bars).
ACTION_COLUMNS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "symbol": pl.String,
    "session": pl.Date,
    "kind": pl.String,
    "value": pl.Float64,
}
BASES = ("raw", "split", "split_div")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Ask:
    """One question to one source.

    Args:
        symbols: names as the universe writes them, all of one exchange.
        exchange: ISO 10383 code of the exchange whose sessions count.
        first: first session wanted.
        last: last session wanted.
    """

    symbols: tuple[str, ...]
    exchange: str
    first: date
    last: date


def no_bars() -> pl.DataFrame:
    """No bars: `FETCHED_COLUMNS`, empty."""
    return pl.DataFrame(schema=dict(FETCHED_COLUMNS))


def no_actions() -> pl.DataFrame:
    """No corporate actions: `ACTION_COLUMNS`, empty."""
    return pl.DataFrame(schema=dict(ACTION_COLUMNS))


@dataclass(frozen=True)
class Fetched:
    """One answer of one source, exactly as it told it: nothing is repaired and nothing is left out here.

    Args:
        bars: `FETCHED_COLUMNS`; prices in the quote currency, volume in shares, null where the source has none. Dates
            that are no session, doubled rows and impossible prices are kept: the row rules judge them.
        failures: symbol → why the source gave no bar for it (`NoData`, `UnknownSymbol`); no fault of the source.
        payload_hash: SHA-256 of the answer's bytes, before any parsing.
        actions: `ACTION_COLUMNS`, with ex-dates in the range asked; empty where the source tells none.
    """

    bars: pl.DataFrame
    failures: Mapping[str, SourceError]
    payload_hash: str
    actions: pl.DataFrame = field(default_factory=no_actions)


class Guard(Protocol):
    """Stands before every single request a source sends: keeps to its rate, tries again, measures."""

    def __call__(self, send: Callable[[], Answer]) -> Answer:
        """Sends when the rate allows; again, after a pause, on `Throttled` and `Upstream`.

        Raises:
            SourceError: what `send` raised last.
        """
        ...


@dataclass(frozen=True)
class Access:
    """What a source is given to work with.

    Args:
        config: the configuration; a source reads its own section of `sources` only.
        keys: name of a secret → its value, such as ``massive_key``; only those that are set.
        guard: every request passes it.
        exchanges: sessions and time zones.
        now: tells the moment, aware UTC; for a date in a Retry-After header.
        home: folder that relative folders of the configuration are taken from.
        scratch: folder a vendor's client may keep its own cache in.
    """

    config: Config
    keys: Mapping[str, str] = field(repr=False)
    guard: Guard
    exchanges: Exchanges
    now: Callable[[], datetime]
    home: Path
    scratch: Path


class Source(Protocol):
    """An opened source: what `open_source` of a plug-in returns.

    A plug-in is a module of `bars/sources` with `NAME_FOR_PEOPLE`, `TERMS`, `KEYS` (secrets it cannot do without),
    `SIMULATED` and ``open_source(access: Access) -> Source``, which asks nobody anything.
    """

    @property
    def basis(self) -> str:
        """What its prices are adjusted for: one of `BASES`."""
        ...

    def symbols_per_ask(self, ask: Ask) -> int:
        """How many of the symbols it would rather be asked about at once; at least 1."""
        ...

    def fetch(self, ask: Ask) -> Fetched:
        """The bars of the symbols from `ask.first` to `ask.last`, both included.

        Raises:
            Throttled, Upstream, Malformed, AccessRefused: the whole ask failed, and nothing of it may be used.
        """
        ...


class SourcePlugin(Protocol):
    """A module of `bars/sources`."""

    NAME_FOR_PEOPLE: str
    TERMS: str
    KEYS: Sequence[str]
    SIMULATED: bool

    def open_source(self, access: Access) -> Source:
        """The source, opened."""
        ...
