"""Sessions that have not been yet: a home's own bars go on as they went, so that a drill can let time pass.

The next session's returns are those of the newest one over again, the one after has those of the session before, and so
on: a real cross-section of moves, and no news.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from gnn_assets.bars.actions import latest_actions
from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS, PRICES, VALUES
from gnn_assets.bars.revisions import latest
from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, RETURNS
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.tables import stored

_FILE = "bars.parquet"


@dataclass(frozen=True)
class Market:
    """Bars of one source, as they are stored and as they go on.

    Args:
        bars: `FETCHED_COLUMNS`, the newest revision of each.
        actions: `ACTION_COLUMNS` beside them.
        basis: what the prices are adjusted for.
        days: sessions at the end that were made up, ascending.
    """

    bars: pl.DataFrame
    actions: pl.DataFrame
    basis: str
    days: tuple[date, ...]

    def times(self, factor: float, *, on: date) -> "Market":
        """The same market, all prices of a session times a factor."""
        prices = [
            pl.when(pl.col("session") == on).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name)
            for name in PRICES
        ]
        return replace(self, bars=self.bars.with_columns(prices))

    def write(self, folder: Path) -> None:
        """Puts the bars where the source `files` reads them."""
        folder.mkdir(exist_ok=True)
        kinds = self.actions.pivot("kind", index=("symbol", "session"), values="value")
        self.bars.select(_there(self.bars)).join(kinds, on=("symbol", "session"), how="left").write_parquet(
            folder / _FILE
        )

    def settings(self, folder: Path) -> dict[str, Any]:
        """Settings by which these bars are the only source."""
        columns: Mapping[str, str | None] = dict.fromkeys((*VALUES, "split", "dividend"))
        there = {name: name for name in (*_there(self.bars), *self.actions["kind"].unique())}
        files = {
            "folder": str(folder),
            "pattern": _FILE,
            "columns": {**columns, **there},
            "basis": self.basis,
            "timezone": None,
        }
        return {"bars": {"sources": ["files"]}, "sources": {"files": files}}


def market_until(platform: Platform, moment: datetime) -> Market:
    """A home's market, gone on until a moment is over: the last session made up is available then or later.

    Of several sources that which has most bars of the newest session.

    Args:
        platform: the home's, or its copy's.
        moment: aware UTC; at least one session is made up in any case.

    Raises:
        MissingArtefact: if the home has no bars.
    """
    every = latest(stored(platform, MARKET_BARS))
    if every.is_empty():
        raise MissingArtefact.of("drill", expected="stored bars", was="none", do="run `gnn-assets demo` first")
    last: date = every["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    source = every.filter(pl.col("session") == last)["source"].mode().sort()[0]
    own = every.filter(pl.col("source") == source)
    bars = own.select(list(FETCHED_COLUMNS))
    days: list[date] = []
    calendar = platform.calendar
    while not days or calendar.available_at(days[-1]) < moment:
        days.append(calendar.offset(days[-1] if days else last, 1))
    returns = stored(platform, RETURNS, columns=("session", "symbol", "close_return"))
    past = returns["session"].unique().sort(descending=True).to_list()
    newest = bars.filter(pl.col("session") == last)
    for number, day in enumerate(days):
        moves = returns.filter(pl.col("session") == past[number % len(past)]).select("symbol", "close_return")
        moved = pl.col("close_return").fill_null(0.0).exp()
        newest = (
            newest.join(moves, on="symbol", how="left")
            .with_columns(*(pl.col(name) * moved for name in PRICES), session=pl.lit(day))
            .select(list(FETCHED_COLUMNS))
        )
        bars = pl.concat([bars, newest])
    actions = latest_actions(stored(platform, CORPORATE_ACTIONS)).filter(pl.col("source") == source)
    return Market(bars, actions.select(list(ACTION_COLUMNS)), own["basis"].sort()[-1], tuple(days))


def _there(bars: pl.DataFrame) -> list[str]:
    """Columns that say anything."""
    return [name for name in FETCHED_COLUMNS if bars[name].null_count() < bars.height]
