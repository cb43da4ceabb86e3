"""Log returns: inside one source, between adjacent sessions, adjusted as they are read; then the sources are spliced.

Levels of two sources, or of two bases, are never put together: a return is always taken between two bars that the same
source told on the same basis. Only finished returns are chosen between.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal

import polars as pl

from gnn_assets.bars.actions import latest_actions
from gnn_assets.bars.fetched import VALUES
from gnn_assets.bars.revisions import latest
from gnn_assets.bars.schema import RETURNS
from gnn_assets.bars.splits import split_like
from gnn_assets.bars.universe import within_membership
from gnn_assets.bars.venues import counted_at, exchange_of, with_moments
from gnn_assets.core.config import RulesConfig
from gnn_assets.core.sessions import Exchanges

Fill = Literal["open_next", "close_next", "close_same"]
_RETURNS = ("close_return", "fill_return")
_BAR = ("symbol", "session", "source")
_NEEDED = (*_BAR, "rev", *VALUES, "basis", "known_at")


def returns_of(
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    *,
    universe: pl.DataFrame,
    exchanges: Exchanges,
    sources: Sequence[str],
    sessions: Sequence[date],
    symbols: Sequence[str],
    fill: Fill,
    rules: RulesConfig,
    known_at: datetime | None = None,
) -> pl.DataFrame:
    """Log returns of each symbol while it belongs to the universe; a missing session gives none across it.

    From the bar of session t − 1 to that of session t of the symbol's own exchange, with price P:

        basis raw        log((P_t + dividend_t) · split_t / P_{t−1})
        basis split      log((P_t + dividend_t) / P_{t−1})
        basis split_div  log(P_t / P_{t−1})

    The dividend is cash for one share after a split of the same ex-date. A return over a split-like move without an
    action is none: nobody knows it. On another exchange than the primary one a session counts at the first primary
    session that is known no earlier; returns that count at the same one are added up, and are none together if one
    of them is missing. A primary session at which none counts has no return.

    For each symbol and session the first source of the chain that has both returns is taken; where none has both, the
    first that has one. Values are rounded to what float32 can hold, so that a float32 array of them is equal bit for
    bit.

    Args:
        bars: a frame of `MARKET_BARS`, every revision and source.
        actions: a frame of `CORPORATE_ACTIONS`, every revision and source.
        universe: a frame of `UNIVERSE`.
        exchanges: the calendars.
        sources: names, the most trusted first; bars of any other are left out.
        sessions: sessions of the primary exchange that are wanted; the bar before the first may lie earlier.
        symbols: symbols wanted, core and context.
        fill: the execution setting; it says whether `fill_return` runs from open to open or from close to close.
        rules: what a split-like move is.
        known_at: aware UTC moment; only what was known by then counts. None for everything.

    Returns:
        A frame of `RETURNS`; a row where at least one return is finite, null for the other.

    Known at: the session's close plus grace, for revisions known at `known_at`.
    """
    wanted = pl.col("symbol").is_in(list(symbols)) & pl.col("source").is_in(list(sources))
    newest = latest(bars.select(_NEEDED).filter(wanted), known_at=known_at)
    told = latest_actions(actions.filter(wanted), known_at=known_at)
    venues = exchange_of(universe)
    moves = split_like(newest, told, exchange_of=venues, exchanges=exchanges, config=rules)
    own = _own(
        with_moments(newest, exchanges=exchanges, exchange_of=venues),
        told,
        fill="open" if fill == "open_next" else "close",
    )
    counted = _on_primary(own.join(moves, on=_BAR, how="anti"), universe, exchanges)
    axis = pl.Series(sessions, dtype=pl.Date)
    rows = within_membership(counted.filter(pl.col("session").is_in(axis.implode())), universe)
    return RETURNS.conform(_first_of_chain(rows, sources).select(*RETURNS.columns))


def _own(rows: pl.DataFrame, told: pl.DataFrame, *, fill: str) -> pl.DataFrame:
    """Both returns of every bar that follows one of the session before, of the same source on the same basis.

    Args:
        rows: `_NEEDED` and ``position``, one row a (symbol, session, source), sorted by these.
        told: a frame of `CORPORATE_ACTIONS`, one row an action.
        fill: the price that `fill_return` is taken from.
    """
    split, value = pl.col("kind") == "split", pl.col("value")
    actions = told.group_by(_BAR).agg(split=value.filter(split).product(), dividend=value.filter(~split).sum())
    # Rows come sorted by symbol and session, so one stable sort puts each source's bars in a row.
    rows = rows.join(actions, on=_BAR, how="left", maintain_order="left").sort("source", maintain_order=True)
    raw, adjusted = pl.col("basis") == "raw", pl.col("basis") == "split_div"
    dividend = pl.when(adjusted).then(0.0).otherwise(pl.col("dividend").fill_null(0.0))
    split = pl.when(raw).then(pl.col("split").fill_null(1.0)).otherwise(1.0)
    follows = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in ("source", "symbol", "basis")) & (
        pl.col("position") - pl.col("position").shift() == 1
    )

    def move(price: str) -> pl.Expr:
        paid = pl.when(pl.col(price) > 0).then(pl.col(price))
        ratio = (paid + dividend) * split / paid.shift()
        return pl.when(follows & ratio.is_finite()).then(ratio.log())

    values = {"close_return": move("close"), "fill_return": move(fill)}
    return rows.select(*_BAR, **values).filter(_known(any_of=True))


def _on_primary(own: pl.DataFrame, universe: pl.DataFrame, exchanges: Exchanges) -> pl.DataFrame:
    """The returns on the primary exchange's sessions."""
    primary = exchanges.primary
    venues = universe.select("symbol", "exchange").unique()
    away = venues.filter(pl.col("exchange") != primary.exchange)
    parts = [own.join(away, on="symbol", how="anti")]
    for code in away["exchange"].unique().sort():
        counts = counted_at(exchanges.of(code), primary).with_columns(needed=pl.len().over("counts_at"))
        parts.append(
            own.join(away.filter(pl.col("exchange") == code), on="symbol", how="semi")
            .join(counts, on="session")
            .group_by("symbol", "source", session="counts_at")
            .agg(
                pl.when(pl.col(name).count() == pl.col("needed").first()).then(pl.col(name).sum()) for name in _RETURNS
            )
            .filter(_known(any_of=True))
            .select(own.columns)
        )
    return pl.concat(parts)


def _first_of_chain(rows: pl.DataFrame, sources: Sequence[str]) -> pl.DataFrame:
    """One row a symbol and session, rounded to float32."""
    places = pl.DataFrame({"source": pl.Series(sources, dtype=pl.String)}).with_row_index("place")
    names = rows.select(pl.col("symbol").unique().sort()).with_row_index("name")
    # One number to sort by, most significant first: sorting millions of rows by four columns would take seconds.
    order = pl.col("session").to_physical().cast(pl.Int64)
    for part, size in ((pl.col("name"), names.height), (~_known(any_of=False), 2), (pl.col("place"), places.height)):
        order = order * size + part.cast(pl.Int64)
    return (
        rows.join(places, on="source")
        .join(names, on="symbol")
        .with_columns(pl.col(_RETURNS).cast(pl.Float32).cast(pl.Float64))
        .sort(order)
        .filter(pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in ("session", "name")).fill_null(True))
    )


def _known(*, any_of: bool) -> pl.Expr:
    known = (pl.col(name).is_not_null() for name in _RETURNS)
    return pl.any_horizontal(known) if any_of else pl.all_horizontal(known)
