"""What sources that answer in pages of JSON have in common: strict fields, pages that end, US names, one answer."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, NamedTuple

import polars as pl

from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS, Access, Ask, Fetched, Guard
from gnn_assets.bars.universe import check_symbol
from gnn_assets.bars.wire import malformed, strict_json
from gnn_assets.core.errors import AccessRefused, NoData

US_EXCHANGES = frozenset({"XNYS", "XNAS", "XASE", "ARCX", "BATS"})
# `variety` tells a regular dividend from a special one of the same date and amount.
TOLD_ACTIONS: Mapping[str, pl.DataType | type[pl.DataType]] = {**ACTION_COLUMNS, "variety": pl.String}
# More pages than ever needed: an answer that goes on for ever is a fault of the vendor's.
_MOST_PAGES = 10_000


class Page(NamedTuple):
    """One page of an answer.

    Args:
        rows: `FETCHED_COLUMNS` or `TOLD_ACTIONS`, with the vendor's names for the symbols.
        following: what leads to the next page; None for the last.
    """

    rows: pl.DataFrame
    following: str | None


class Answer:
    """Pages as they come in, each asked for through the guard.

    Args:
        source: name of the plug-in.
        guard: passed by every request.
    """

    def __init__(self, source: str, guard: Guard) -> None:
        self._source, self._guard = source, guard
        self._digest = hashlib.sha256()
        self._bars: list[pl.DataFrame] = []
        self._actions: list[pl.DataFrame] = []

    def add(self, send: Callable[[str | None], bytes], parse: Callable[[bytes], Page]) -> None:
        """Asks for every page of one question; one bad page fails them all.

        Args:
            send: sends one request, for the page that its argument leads to (None: the first).
            parse: reads one page.

        Raises:
            SourceError: what `send` or `parse` raised, or `Malformed` if the pages never end.
        """

        def ask(following: str | None) -> tuple[bytes, Page]:
            payload = send(following)
            return payload, parse(payload)

        following: str | None = None
        seen: set[str] = set()
        while True:
            payload, page = self._guard(partial(ask, following))
            self._digest.update(payload)
            (self._actions if "kind" in page.rows.columns else self._bars).append(page.rows)
            following = page.following
            if following is None:
                return
            if following in seen or len(seen) == _MOST_PAGES:
                raise malformed(payload, source=self._source, asked="the next page", expected="pages that end")
            seen.add(following)

    def fetched(self, ask: Ask, names: Mapping[str, str]) -> Fetched:
        """The whole answer, under the universe's names.

        Args:
            ask: what was asked.
            names: the universe's name of a symbol → the vendor's.
        """
        aliases = pl.DataFrame(
            {"alias": pl.Series(names.keys(), dtype=pl.String), "symbol": pl.Series(names.values(), dtype=pl.String)}
        )
        bars = _renamed(pl.concat([frame([], FETCHED_COLUMNS), *self._bars]), aliases)
        actions = _combined(pl.concat([frame([], TOLD_ACTIONS), *self._actions]))
        given = set(bars["symbol"].unique())
        return Fetched(
            bars=bars.sort("symbol", "session", maintain_order=True),
            failures={symbol: _no_data(self._source, symbol, ask) for symbol in ask.symbols if symbol not in given},
            payload_hash=self._digest.hexdigest(),
            actions=_renamed(actions, aliases)
            .filter(pl.col("session").is_between(ask.first, ask.last))
            .sort("symbol", "session", "kind"),
        )


def us_names(ask: Ask) -> dict[str, str]:
    """The universe's name → the name US vendors use, such as BRK-B → BRK.B, for the symbols they can have.

    Indices and shares of other exchanges are left out: nobody is asked about them.

    Raises:
        BadSymbol: for what is no symbol at all.
    """
    for symbol in ask.symbols:
        check_symbol(symbol)
    if ask.exchange not in US_EXCHANGES:
        return {}
    return {symbol: symbol.replace("-", ".") for symbol in ask.symbols if not symbol.startswith("^")}


def header_key(access: Access, name: str) -> str:
    """The value of a key; one that no header can carry is refused, because a client's own error would print it.

    Raises:
        AccessRefused: if it is not set, or cannot be a key.
    """
    key = access.keys.get(name, "")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise AccessRefused.of(
            name,
            expected="letters, digits and signs without spaces",
            was="something else" if key else "not set",
            do="set it in the environment",
        )
    return key


def parsed(payload: bytes, *, source: str, asked: str, read: Callable[[dict[str, Any]], Page]) -> Page:
    """A page of JSON, read strictly.

    Args:
        payload: the answer.
        source: name of the plug-in.
        asked: what was asked for, for the error.
        read: makes the page of an object; a ValueError of it says what was expected.

    Raises:
        Malformed: if it is no such page.
    """
    content = strict_json(payload, source=source, asked=asked)
    try:
        require(isinstance(content, dict), "an object")
        return read(content)
    except ValueError as error:
        raise malformed(payload, source=source, asked=asked, expected=str(error)) from error


def require(told: bool, expected: str) -> None:  # noqa: FBT001 - the condition itself
    """Raises a ValueError that says what was expected, unless the condition holds."""
    if not told:
        raise ValueError(expected)


def objects(told: Any, field: str) -> list[dict[str, Any]]:
    """A list of objects; null is an empty one.

    Raises:
        ValueError: for anything else.
    """
    if told is None:
        return []
    if not isinstance(told, list) or not all(isinstance(row, dict) for row in told):
        raise ValueError(f"{field}, a list of objects")
    return told


def number(row: Mapping[str, Any], field: str) -> float | None:
    """The number as told: null stays null, and one too large for a double is infinite.

    Raises:
        ValueError: if the field is missing or no number.
    """
    require(field in row, f"a field {field}")
    value = row[field]
    if value is None:
        return None
    require(type(value) in {int, float}, f"a number for {field}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def positive(row: Mapping[str, Any], field: str) -> float:
    """A number above zero and below infinity: what a split's part or a dividend must be.

    Raises:
        ValueError: for anything else.
    """
    value = number(row, field)
    if value is None or not 0 < value < math.inf:
        raise ValueError(f"a positive number for {field}")
    return value


def ratio(row: Mapping[str, Any], new: str, old: str) -> float:
    """New shares for one old.

    Raises:
        ValueError: if the fields are no positive numbers, or a double cannot hold their ratio.
    """
    value = positive(row, new) / positive(row, old)
    require(0 < value < math.inf, f"a ratio of {new} and {old}")
    return value


def text(row: Mapping[str, Any], field: str) -> str:
    """A text.

    Raises:
        ValueError: for anything else.
    """
    value = row.get(field)
    if not isinstance(value, str):
        raise ValueError(f"a text for {field}")  # noqa: TRY004 - see `parsed`
    return value


def day(row: Mapping[str, Any], field: str) -> date:
    """A date such as 2024-01-31.

    Raises:
        ValueError: for anything else.
    """
    told = text(row, field)
    try:
        return date.fromisoformat(told)
    except ValueError as error:
        raise ValueError(f"a date for {field}") from error


def frame(rows: Sequence[tuple[Any, ...]], columns: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """Rows as a frame of the declared columns."""
    return pl.DataFrame(rows, schema=dict(columns), orient="row")


def _combined(actions: pl.DataFrame) -> pl.DataFrame:
    """One split and one dividend a date: what is told twice counts once, a special dividend adds to the regular."""
    value = pl.col("value")
    return (
        actions.unique()
        .sort("symbol", "session", "kind", "value")
        .group_by("symbol", "session", "kind", maintain_order=True)
        .agg(pl.when(pl.col("kind").first() == "split").then(value.product()).otherwise(value.sum()).alias("value"))
    )


def _renamed(rows: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """The rows under the universe's names for the symbols."""
    return (
        rows.join(aliases, on="symbol", how="inner", maintain_order="left")
        .with_columns(symbol="alias")
        .select(rows.columns)
    )


def _no_data(source: str, symbol: str, ask: Ask) -> NoData:
    if ask.exchange in US_EXCHANGES and not symbol.startswith("^"):
        expected, was, do = f"bars from {ask.first} to {ask.last}", "none", "check the symbol and its dates"
    else:
        expected = f"a share of one of {', '.join(sorted(US_EXCHANGES))}"
        was, do = ("an index" if symbol.startswith("^") else f"one of {ask.exchange}"), "name another source for it"
    return NoData.of(f"{source}, symbol {symbol}", expected=expected, was=was, do=do)
