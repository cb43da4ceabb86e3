"""Log returns: inside one source, between adjacent sessions, adjusted as they are read; then the sources are spliced.

Levels of two sources, or of two bases, are never put together: a return is always taken between two bars that the same
source told on the same basis. Only finished returns are chosen between.

What a model learns from and what a holder earns differ. Nobody could trade over a missing session or belongs to the
universe after leaving it, so features and labels know no return there; but who held the name lost or gained all of it.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal

import numpy as np
import polars as pl

from gnn_assets.bars.actions import latest_actions
from gnn_assets.bars.fetched import VALUES
from gnn_assets.bars.revisions import latest
from gnn_assets.bars.schema import RETURNS
from gnn_assets.bars.splits import split_like
from gnn_assets.bars.universe import until_sold, within_membership
from gnn_assets.bars.venues import counted_at, exchange_of, with_moments
from gnn_assets.core.config import BarsConfig
from gnn_assets.core.sessions import Exchanges

Fill = Literal["open_next", "close_next", "close_same"]
_RETURNS = ("close_return", "fill_return")
_HELD = "held_return"
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
    config: BarsConfig,
    known_at: datetime | None = None,
) -> pl.DataFrame:
    """Log returns of each symbol while it belongs to the universe, and what a holder earns until it can be sold.

    From the bar of session s to that of session t of the symbol's own exchange, with price P, the product S of the
    splits after s up to t, and dividends D_u, each cash for one share after a split of its ex-date u:

        basis raw        log((P_t · S + sum of D_u · S_u) / P_s), S_u the product of splits after s up to u
        basis split      log((P_t + sum of D_u) / P_s)
        basis split_div  log(P_t / P_s)

    ``close_return`` and ``fill_return`` run between adjacent sessions: a missing one gives none across it, nor is there
    one outside the membership. ``held_return`` is the fill return where there is one. Else, if the source has a fill
    price here, it is the whole move since that source's last one, less what other sources' returns have told of it in
    between; and it goes on after the membership, so that who holds a name that leaves sells it at what it is worth.

    A return over a split-like move without an action is none: nobody knows it. On another exchange than the primary
    one a session counts at the first primary session that is known no earlier; returns that count at the same one are
    added up. The adjacent ones are none together if one of them is missing. A primary session at which none counts has
    no return.

    For each symbol and session the first source of the chain that has both adjacent returns is taken; where none has
    both, the first that has one. Values are rounded to what float32 can hold, so that a float32 array of them is equal
    bit for bit.

    Args:
        bars: a frame of `MARKET_BARS`, every revision and source.
        actions: a frame of `CORPORATE_ACTIONS`, every revision and source.
        universe: a frame of `UNIVERSE`.
        exchanges: the calendars.
        sources: names, the most trusted first; bars of any other are left out.
        sessions: sessions of the primary exchange that are wanted; the bar before the first may lie earlier.
        symbols: symbols wanted, core and context.
        fill: the execution setting; it says whether fills are at the open or at the close.
        config: what a split-like move is, and for how long a name that left is followed.
        known_at: aware UTC moment; only what was known by then counts. None for everything.

    Returns:
        A frame of `RETURNS`; a row where at least one return is finite, null for the others.

    Known at: the session's close plus grace, for revisions known at `known_at`.
    """
    wanted = pl.col("symbol").is_in(list(symbols)) & pl.col("source").is_in(list(sources))
    newest = latest(bars.select(_NEEDED).filter(wanted), known_at=known_at)
    told = latest_actions(actions.filter(wanted), known_at=known_at)
    venues = exchange_of(universe)
    moves = split_like(newest, told, exchange_of=venues, exchanges=exchanges, config=config.rules)
    own = _own(
        with_moments(newest, exchanges=exchanges, exchange_of=venues),
        told,
        moves,
        fill="open" if fill == "open_next" else "close",
    )
    axis = pl.Series(sessions, dtype=pl.Date)
    followed = until_sold(universe, exchanges=exchanges, sessions=config.sessions_after_membership)
    rows = _on_primary(own, universe, exchanges).filter(pl.col("session").is_in(axis.implode()))
    rows = within_membership(rows, followed)
    chosen = _first_of_chain(rows.filter(_known(any_of=True)), sources, lacks=~_known(any_of=False))
    since = _first_of_chain(rows.filter(pl.col("since").is_not_null()), sources, lacks=pl.lit(False))
    adjacent = within_membership(chosen, universe).select("symbol", "session", "source", *_RETURNS)
    both = adjacent.join(_held(chosen, since), on=("symbol", "session"), how="full", coalesce=True)
    return RETURNS.conform(both.with_columns(pl.coalesce("source", "held_of")).select(*RETURNS.columns))


def _own(rows: pl.DataFrame, told: pl.DataFrame, moves: pl.DataFrame, *, fill: str) -> pl.DataFrame:
    """The returns of every bar that follows another of the same source on the same basis.

    Args:
        rows: `_NEEDED` and ``position``, one row a (symbol, session, source), sorted by these.
        told: a frame of `CORPORATE_ACTIONS`, one row an action.
        moves: `split_like`.
        fill: the price that fills are at.

    Returns:
        ``symbol``, ``session``, ``source``, the two adjacent returns, ``since``: the fill price's move since the last
        one, null if there is none or nobody knows it, ``since_session``: that one's session, ``priced``: whether there
        is a fill price.
    """
    # Rows come sorted by symbol and session, so one stable sort puts each source's bars in a row.
    rows = (
        rows.join(moves.select(*_BAR, unknown=True), on=_BAR, how="left", maintain_order="left")
        .filter(pl.col("position").is_not_null())
        .sort("source", maintain_order=True)
    )
    # Across the beginning of a run no move is known: of another series, on another basis, or over a split-like move.
    begins = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in ("source", "symbol", "basis"))
    rows = rows.with_columns(run=(begins.fill_null(True) | pl.col("unknown").fill_null(False)).cum_sum())
    close = _since_last(rows, told, "close")
    filled = close if fill == "close" else _since_last(rows, told, fill)
    found = rows.select(*_BAR).with_columns(
        close_return=pl.when(close["steps"] == 1).then(close["since"]),
        fill_return=pl.when(filled["steps"] == 1).then(filled["since"]),
        since=filled["since"],
        since_session=filled["since_session"],
        priced=filled["priced"],
    )
    return found.filter(_known(any_of=True) | pl.col("priced"))


def _since_last(rows: pl.DataFrame, told: pl.DataFrame, price: str) -> pl.DataFrame:
    """Each row's ``since``, log move of the price since the last one in its run; ``since_session``; ``steps`` between.

    Args:
        rows: sorted by source, symbol and session, with ``run``.
        told: a frame of `CORPORATE_ACTIONS`, one row an action.
        price: a column; a value that is null or not positive is none.
    """
    priced = pl.col(price) > 0
    rows = rows.join(
        _actions_since(rows.filter(priced), told), on=_BAR, how="left", maintain_order="left"
    ).with_columns(priced=priced.fill_null(False))

    def last(name: str) -> pl.Expr:
        return pl.when("priced").then(pl.col(name)).forward_fill().shift()

    raw, paid = pl.col("basis") == "raw", pl.col("basis") != "split_div"
    worth = pl.col(price) * pl.when(raw).then(pl.col("split").fill_null(1.0)).otherwise(1.0)
    cash = pl.when(raw).then(pl.col("cash_raw")).when(paid).then(pl.col("cash"))
    ratio = (worth + cash.fill_null(0.0)) / last(price)
    known = pl.col("priced") & (last("run") == pl.col("run")) & ratio.is_finite()
    return rows.select(
        "priced",
        since=pl.when(known).then(ratio.log()),
        since_session=pl.when(known).then(last("session")),
        steps=pl.when(known).then(pl.col("position") - last("position")),
    )


def _actions_since(priced: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """What happened since each priced bar before: ``split``, ``cash_raw`` for one share then, ``cash`` for one now.

    An action counts for the first priced bar on or after its ex-date.
    """
    split, value = pl.col("kind") == "split", pl.col("value")
    by_date = (
        told.group_by("symbol", "source", "session")
        .agg(split=value.filter(split).product(), dividend=value.filter(~split).sum())
        .sort("symbol", "source", "session")
    )
    bars = priced.select("symbol", "source", "session", bar="session").sort("symbol", "source", "session")
    placed = by_date.join_asof(
        bars, on="session", by=["symbol", "source"], strategy="forward", check_sortedness=False
    ).drop_nulls("bar")
    shares = pl.col("split").cum_prod().over("symbol", "source", "bar", order_by="session")
    return (
        placed.with_columns(cash_raw=pl.col("dividend") * shares)
        .group_by("symbol", "source", session="bar")
        .agg(pl.col("split").product(), pl.col("cash_raw").sum(), cash=pl.col("dividend").sum())
    )


def _on_primary(own: pl.DataFrame, universe: pl.DataFrame, exchanges: Exchanges) -> pl.DataFrame:
    """The returns on the primary exchange's sessions."""
    primary = exchanges.primary
    venues = universe.select("symbol", "exchange").unique()
    away = venues.filter(pl.col("exchange") != primary.exchange)
    parts = [own.join(away, on="symbol", how="anti")]
    for code in away["exchange"].unique().sort():
        counts = counted_at(exchanges.of(code), primary).with_columns(needed=pl.len().over("counts_at"))
        # A move that begins inside a primary session begins before it ended: the day before stands for that.
        inside = pl.col("session") != pl.col("session").max().over("counts_at")
        begins = pl.when(inside).then(pl.col("counts_at") - pl.duration(days=1)).otherwise("counts_at")
        since = counts.select(since_session="session", since_counts=begins.cast(pl.Date))
        adjacent = (
            pl.when(pl.col(name).count() == pl.col("needed").first()).then(pl.col(name).sum()) for name in _RETURNS
        )
        parts.append(
            own.join(away.filter(pl.col("exchange") == code), on="symbol", how="semi")
            .join(counts, on="session")
            .join(since, on="since_session", how="left")
            .group_by("symbol", "source", session="counts_at")
            .agg(
                *adjacent,
                pl.when((pl.col("since").is_not_null() | ~pl.col("priced")).all() & pl.col("priced").any()).then(
                    pl.col("since").sum()
                ),
                since_session=pl.col("since_counts").min(),
                priced=pl.col("priced").any(),
            )
            .select(own.columns)
        )
    return pl.concat(parts)


def _first_of_chain(rows: pl.DataFrame, sources: Sequence[str], *, lacks: pl.Expr) -> pl.DataFrame:
    """One row a symbol and session, rounded to float32: of the first source that lacks nothing, else of the first."""
    places = pl.DataFrame({"source": pl.Series(sources, dtype=pl.String)}).with_row_index("place")
    names = rows.select(pl.col("symbol").unique().sort()).with_row_index("name")
    # One number to sort by, most significant first: sorting millions of rows by four columns would take seconds.
    order = pl.col("session").to_physical().cast(pl.Int64)
    for part, size in ((pl.col("name"), names.height), (lacks, 2), (pl.col("place"), places.height)):
        order = order * size + part.cast(pl.Int64)
    return (
        rows.join(places, on="source")
        .join(names, on="symbol")
        .with_columns(pl.col(*_RETURNS, "since").cast(pl.Float32).cast(pl.Float64))
        .sort(order)
        .filter(pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in ("session", "name")).fill_null(True))
        .drop("place", "name")
    )


def _held(chosen: pl.DataFrame, since: pl.DataFrame) -> pl.DataFrame:
    """What a holder earns: the fill return, or the move since the last fill price.

    Args:
        chosen: one row a symbol and session at most, with the fill return where it is known, and ``since_session``.
        since: likewise, with ``since``.

    Returns:
        ``symbol``, ``session``, ``held_return``, ``held_of``: the source.
    """
    told = chosen.filter(pl.col("fill_return").is_not_null())
    moved = since.join(told, on=("symbol", "session"), how="anti")
    rows = pl.concat(
        [
            told.select("symbol", "session", held_of="source", value="fill_return", since="since_session", told=True),
            moved.select("symbol", "session", held_of="source", value="since", since="since_session", told=False),
        ]
    ).sort("symbol", "session")
    values = rows["value"].to_numpy().copy()
    symbols, days = rows["symbol"].rank("dense").to_numpy(), rows["session"].to_physical().to_numpy()
    beginnings = rows["since"].to_physical().fill_null(0).to_numpy().copy()
    # A move that begins before what another source has told of is less that: it was earned. Where the two only overlap,
    # nobody knows what is left. Few rows, in their order.
    for row in np.flatnonzero(~rows["told"].to_numpy()):
        before, begins = row - 1, beginnings[row]
        while before >= 0 and symbols[before] == symbols[row] and days[before] > begins:
            if not np.isnan(values[before]):
                values[row] -= values[before] if beginnings[before] >= begins else np.nan
                beginnings[row] = max(beginnings[row], days[before])
            before -= 1
    held = pl.Series(values, dtype=pl.Float32, nan_to_null=True).cast(pl.Float64)
    rows = rows.filter(held.is_not_null())
    held = held.drop_nulls()
    return rows.select("symbol", "session", "held_of", held.alias(_HELD))


def _known(*, any_of: bool) -> pl.Expr:
    known = (pl.col(name).is_not_null() for name in _RETURNS)
    return pl.any_horizontal(known) if any_of else pl.all_horizontal(known)
