"""The returns of one session made again from nothing later than it: whether any of them saw what was still to come."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from gnn_assets.bars.returns import Fill, returns_of
from gnn_assets.bars.venues import exchange_of
from gnn_assets.core.checks import Check
from gnn_assets.core.config import BarsConfig
from gnn_assets.core.sessions import Exchanges

_VALUES = ("close_return", "fill_return", "held_return", "source")
_SHOWN = 10


def returns_unseen(
    returns: pl.DataFrame,
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    *,
    session: date,
    universe: pl.DataFrame,
    exchanges: Exchanges,
    fill: Fill,
    config: BarsConfig,
) -> Check:
    """Makes the returns of a session again from the bars of the last sessions up to it, and compares every bit.

    A return over a gap begins at a bar that may lie before these, and a bar is held against its own last ones: symbols
    whose first source lacks any bar of these sessions are left out. Revisions count as they are known today, for both alike.

    Args:
        returns: `RETURNS` rows, the session's among them, made from everything.
        bars: `MARKET_BARS` rows of the `splits.LOOKBACK` sessions up to the session; later ones are cut off here.
        actions: a frame of `CORPORATE_ACTIONS`; later ones are cut off here.
        session: the session.
        universe: a frame of `UNIVERSE`.
        exchanges: the calendars.
        fill: the execution setting.
        config: sources, and what a split-like move is.
    """
    past, told = (rows.filter(pl.col("session") <= session) for rows in (bars, actions))
    past = past.filter(pl.col("source").is_in(config.sources))
    made = returns.filter(pl.col("session") == session)
    symbols = _without_gap(past, sources=config.sources, universe=universe, exchanges=exchanges)
    if not symbols:
        return Check(
            name="no_look_ahead",
            passed=False,
            value="not looked at",
            threshold=0,
            description=f"No symbol has a bar of its first source on every session up to {session}: nothing to compare.",
            severity="warn",
        )
    again = returns_of(
        past,
        told,
        universe=universe,
        exchanges=exchanges,
        sources=config.sources,
        sessions=past["session"].unique().sort().to_list(),
        symbols=symbols,
        fill=fill,
        config=config,
    )
    again = again.filter(pl.col("session") == session)
    both = made.filter(pl.col("symbol").is_in(symbols)).join(
        again, on=("symbol", "session"), how="full", coalesce=True, suffix="_again"
    )
    # A return that is held back, for a doubt that came later or earlier than these bars, tells nobody anything.
    same = pl.all_horizontal(
        pl.col(name).is_null() | pl.col(name).eq_missing(pl.col(f"{name}_again")) for name in _VALUES
    )
    changed = both.filter(~same).sort("symbol")
    return Check(
        name="no_look_ahead",
        passed=changed.is_empty(),
        value=changed.height,
        threshold=0,
        description=f"Returns of {len(symbols)} symbols on {session} that change when bars and actions end with the "
        "session: look-ahead of the adjustment.",
        offenders=tuple(
            f"{row['symbol']} {session}: {row['close_return']}, {row['close_return_again']} without what came later"
            for row in changed.head(_SHOWN).iter_rows(named=True)
        ),
    )


def _without_gap(
    past: pl.DataFrame, *, sources: Sequence[str], universe: pl.DataFrame, exchanges: Exchanges
) -> Sequence[str]:
    """Symbols whose first source told a bar on every session of their exchange from the first on: no other is used."""
    if past.is_empty():
        return []
    first, last = past["session"].min(), past["session"].max()
    venues, primary = exchange_of(universe), exchanges.primary.exchange
    due = {
        code: len(exchanges.of(code).between(first, last))  # ty: ignore[invalid-argument-type] - Date columns
        for code in {primary, *venues.values()}
    }
    places = pl.DataFrame({"source": pl.Series(sources, dtype=pl.String)}).with_row_index("place")
    told = past.group_by("symbol", "source").agg(bars=pl.col("session").n_unique()).join(places, on="source")
    first_source = told.sort("place").unique("symbol", keep="first", maintain_order=True).sort("symbol")
    bars_of = first_source.select("symbol", "bars").iter_rows()
    return [symbol for symbol, bars in bars_of if bars == due[venues.get(symbol, primary)]]
