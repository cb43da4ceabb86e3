"""The universe: which symbols, in which tier and sector, for how long. Read from a YAML file, never from code.

`universes/sp500_sample.yaml` shows the shape; a membership may carry its own `from_session`, `to_session` and
`exchange`. A membership without a date of its own, in a file that says nothing of survivors, counts as chosen with
hindsight.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, timedelta
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, ValidationError

from gnn_assets.bars.schema import UNIVERSE
from gnn_assets.core.errors import BadSymbol, UniverseError
from gnn_assets.core.sessions import Exchanges

FOLDER = Path(__file__).with_name("universes")
# A symbol ends up in URLs, file names and logs: letters, digits and & only, with . or - between groups, ^ in front.
_SYMBOL = re.compile(r"\^?[A-Z0-9][A-Z0-9&]{0,11}(?:[.-][A-Z0-9]{1,5}){0,2}", re.ASCII)
_EXAMPLES = "a ticker such as AAPL, BRK-B, BRK.B, ^GSPC, M&M.NS or 005930.KS"
_MIN_CORE = 2  # a graph needs two nodes

Exchange = Annotated[StrictStr, Field(pattern=r"^[A-Z0-9]{4}$")]


def check_symbol(symbol: str) -> None:
    """Refuses whatever is no symbol, before it reaches a request or a path.

    Raises:
        BadSymbol: for anything outside the allow-list pattern.
    """
    if not _SYMBOL.fullmatch(symbol):
        raise BadSymbol.of("symbol", expected=_EXAMPLES, was=repr(symbol), do="correct it in the universe file")


def _checked_symbol(symbol: str) -> str:
    if not _SYMBOL.fullmatch(symbol):
        raise ValueError(f"should be {_EXAMPLES}")
    return symbol


class _Member(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: Annotated[StrictStr, AfterValidator(_checked_symbol)]
    tier: Literal["core", "context"]
    sector: Annotated[StrictStr, Field(min_length=1)]
    from_session: date | None = None
    to_session: date | None = None
    exchange: Exchange | None = None


class _UniverseFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    survivor_only: bool | None = None
    from_session: date
    exchange: Exchange | None = None
    symbols: tuple[_Member, ...]


def read_universe(file: str, *, exchanges: Sequence[str] | None = None) -> pl.DataFrame:
    """Reads a universe file.

    Args:
        file: the bare name of a file in gnn_assets/bars/universes, or a path.
        exchanges: ISO 10383 codes of the configured exchanges; None accepts any.

    Returns:
        A frame of `UNIVERSE`.

    Raises:
        UniverseError: if the file is absent, is no YAML, says something unknown or impossible, names fewer than two
            core symbols, or an exchange that is not configured.
    """
    path = FOLDER / file if Path(file).name == file else Path(file)
    content = _content(path)
    try:
        universe = _UniverseFile.model_validate(content)
    except ValidationError as error:
        raise UniverseError(_sentence(path, error)) from error
    frame = pl.DataFrame(
        [
            {
                "symbol": member.symbol,
                "from_session": member.from_session or universe.from_session,
                "to_session": member.to_session,
                "tier": member.tier,
                "sector": member.sector,
                "survivor_only": _survivor_only(universe, member),
                "exchange": member.exchange or universe.exchange,
                "priority": place,
            }
            for place, member in enumerate(universe.symbols)
        ],
        schema=dict(UNIVERSE.columns),
    )
    frame = UNIVERSE.conform(frame)
    _refuse_impossible(path, frame)
    _refuse_exchanges(path, frame, exchanges)
    return frame


def symbols_of(universe: pl.DataFrame, tier: str) -> tuple[str, ...]:
    """Symbols of one tier, sorted, each once.

    Args:
        universe: a frame of `UNIVERSE`.
        tier: ``core`` or ``context``.
    """
    return tuple(universe.filter(pl.col("tier") == tier)["symbol"].unique().sort())


def within_membership(rows: pl.DataFrame, universe: pl.DataFrame) -> pl.DataFrame:
    """Rows of symbols on the sessions on which they belong to the universe.

    Args:
        rows: columns ``symbol`` and ``session``, and any others.
        universe: a frame of `UNIVERSE`.
    """
    terms = universe.select("symbol", "from_session", "to_session")
    return (
        rows.join(terms, on="symbol", maintain_order="left")
        .filter(
            pl.col("session") >= pl.col("from_session"),
            pl.col("to_session").is_null() | (pl.col("session") <= pl.col("to_session")),
        )
        .drop("from_session", "to_session")
    )


def until_sold(universe: pl.DataFrame, *, exchanges: Exchanges, sessions: int) -> pl.DataFrame:
    """The universe with each membership that ends prolonged, so that who holds the name can be followed until it sells.

    Args:
        universe: a frame of `UNIVERSE`.
        exchanges: the calendars.
        sessions: sessions of the symbol's own exchange added; fewer where the calendar ends or the symbol rejoins.

    Returns:
        The rows, their ``to_session`` later.

    Raises:
        ConfigError: if an exchange is not configured.
    """

    def followed_until(exchange: str, end: date | None) -> date | None:
        if end is None:
            return None
        axis = exchanges.of(exchange).sessions
        place = bisect_right(axis, end)
        # Whoever left before the calendar begins was sold before it does.
        return max(end, axis[min(place - 1 + sessions, len(axis) - 1)]) if place else end

    ends = [followed_until(*row) for row in universe.select("exchange", "to_session").iter_rows()]
    rejoins = pl.col("from_session").shift(-1).over("symbol", order_by="from_session") - timedelta(days=1)
    return universe.with_columns(to_session=pl.Series(ends, dtype=pl.Date)).with_columns(
        to_session=pl.when(pl.col("to_session").is_not_null()).then(pl.min_horizontal("to_session", rejoins))
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        shipped = ", ".join(sorted(file.name for file in FOLDER.glob("*.yaml")))
        raise UniverseError.of(
            "universe.file", expected=f"a path, or one of {shipped}", was=str(path), do="correct universe.file"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UniverseError(f"universe {path}: cannot be read as YAML ({reason}); correct the file.") from error
    if not isinstance(content, dict):
        raise UniverseError.of(
            f"universe {path}",
            expected="a mapping with exchange, from_session and symbols",
            was=type(content).__name__,
            do="see sp500_sample.yaml for the shape",
        )
    return content


def _refuse_impossible(path: Path, frame: pl.DataFrame) -> None:
    """Refuses what each entry alone does not show: two memberships at once, an end before its start, too few nodes."""
    for row in frame.iter_rows(named=True):
        if row["to_session"] is not None and row["to_session"] < row["from_session"]:
            raise UniverseError.of(
                f"universe {path}: to_session of {row['symbol']}",
                expected=f"a date from {row['from_session']} on",
                was=row["to_session"],
                do="swap or correct the dates",
            )
    for before, after in pairwise(frame.iter_rows(named=True)):
        overlaps = before["to_session"] is None or before["to_session"] >= after["from_session"]
        if before["symbol"] == after["symbol"] and overlaps:
            raise UniverseError.of(
                f"universe {path}: symbol {after['symbol']}",
                expected="one membership at a time",
                was=f"a second one from {after['from_session']}",
                do="remove the duplicate, or end the earlier membership with to_session",
            )
    core = symbols_of(frame, "core")
    if len(core) < _MIN_CORE:
        raise UniverseError.of(
            f"universe {path}",
            expected=f"at least {_MIN_CORE} symbols of tier core",
            was=len(core),
            do="add symbols: a graph needs neighbours",
        )


def _survivor_only(universe: _UniverseFile, member: _Member) -> bool:
    """The file's word; where it gives none, whether nobody wrote down when the symbol joined."""
    return member.from_session is None if universe.survivor_only is None else universe.survivor_only


def _refuse_exchanges(path: Path, frame: pl.DataFrame, exchanges: Sequence[str] | None) -> None:
    """Refuses a symbol without an exchange, with two, or with one that has no calendar here."""
    for symbol, of in frame.group_by("symbol", maintain_order=True).agg(pl.col("exchange").unique()).iter_rows():
        if of == [None]:
            raise UniverseError(
                f"universe {path}: exchange of {symbol}: is missing; add exchange, such as XNYS, to the file or to the "
                "symbol."
            )
        if len(of) > 1:
            raise UniverseError.of(
                f"universe {path}: exchange of {symbol}",
                expected="the same in all its memberships",
                was=" and ".join(sorted(str(code) for code in of)),
                do="give each listing a symbol of its own",
            )
        if exchanges is not None and of[0] not in exchanges:
            raise UniverseError.of(
                f"universe {path}: exchange of {symbol}",
                expected=f"one of {', '.join(exchanges)}",
                was=of[0],
                do="correct it, or add it to calendar.others",
            )


def _sentence(path: Path, error: ValidationError) -> str:
    """One sentence about the first fault: the field, its value and the fix."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" ({error.error_count() - 1} more faults)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        model = _Member if len(first["loc"]) > 1 else _UniverseFile
        near = get_close_matches(str(first["loc"][-1]), model.model_fields, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "remove it"
        return f"universe {path}: {place}: no such field (value {first['input']!r}); {hint}{more}"
    if first["type"] == "missing":
        return f"universe {path}: {place}: is missing; add it{more}."
    fix = "correct it"
    if first["type"] == "string_type":
        # YAML reads the tickers ON, NO and TRUE as booleans and 600519 as a number.
        fix = "put it in quotes"
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"universe {path}: {place}: {reason}, was {first['input']!r}; {fix}{more}."
