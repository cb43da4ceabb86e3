"""A home whose source is a folder of real closes, which a test poisons and repairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from gnn_assets.bars.fetched import Ask
from gnn_assets.bars.sources.sample import _Sample
from gnn_assets.bars.universe import read_universe
from gnn_assets.core.clock import SnapshotClock
from gnn_assets.defs.resources import Platform
from gnn_assets_tests.defs.ridge_home import Done, on, platform_at, run

FIRST, LAST = date(2020, 6, 1), date(2022, 12, 28)
# The file is mended so long after the day's bars are known.
MENDED = timedelta(hours=2)


def true_closes() -> pl.DataFrame:
    """Closes of twenty stocks and their index: ``symbol``, ``session``, ``close``."""
    symbols = tuple(read_universe("sp500_sample.yaml", exchanges=("XNYS",))["symbol"].unique().sort())
    told = _Sample().fetch(Ask(symbols=symbols, first=FIRST, last=LAST, exchange="XNYS")).bars
    return told.select("symbol", "session", "close")


@dataclass(frozen=True)
class Folder:
    """A home and the file it reads.

    Args:
        home: the platform's.
    """

    home: Path

    def settings(self, session: date) -> list[Mapping[str, Any]]:
        nothing = dict.fromkeys(("open", "high", "low", "volume"))
        files = {"folder": str(self.home / "bars"), "columns": nothing}
        # The gate's own margin: what it lets pass is what is asked here.
        gate = {"non_inferiority_margin": 0.005}
        return [on(session), {"bars": {"sources": ["files"]}, "sources": {"files": files}, "gate": gate}]

    def tell(self, closes: pl.DataFrame, *, until: date) -> None:
        """From now on the file holds these, up to a session."""
        (self.home / "bars").mkdir(parents=True, exist_ok=True)
        closes.filter(pl.col("session") <= until).write_parquet(self.home / "bars" / "closes.parquet")

    def platform(self, session: date, *, later: timedelta = timedelta()) -> Platform:
        opened = platform_at(self.home, *self.settings(session))
        opened.clock = SnapshotClock(opened.calendar.available_at(session) + later)
        return opened

    def run(self, session: date, *assets: str, later: timedelta = timedelta(), accept_revisions: bool = False) -> Done:
        asked = {"market_bars": {"config": {"accept_revisions": accept_revisions}}} if "market_bars" in assets else {}
        return run(self.platform(session, later=later), *assets, ops=asked)
