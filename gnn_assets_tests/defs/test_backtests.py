"""The backtest assets on a made-up market."""

from datetime import date

import dagster as dg
import polars as pl

from gnn_assets.bars.schema import MARKET_BARS, RETURNS, UNIVERSE
from gnn_assets.defs import backtests
from gnn_assets.defs.io import stage_asset
from gnn_assets.store.versions import Lineage
from gnn_assets_tests.defs.card_home import fill_lake, platform_at

INDEX = "^INDEX"


def test_an_index_that_misses_a_session_stops_no_backtest(tmp_path):
    """The picture shows it where it is known; a gap leaves a row that only tells what a holder earned."""
    platform = platform_at(tmp_path)
    fill_lake(platform)
    lake = platform.lake
    rows = lake.read(RETURNS)
    gap = rows["session"].unique().sort()[200]
    known = pl.when(pl.col("session") != gap).then(pl.col("close_return", "fill_return"))
    index = rows.filter(pl.col("symbol") == rows["symbol"][0]).with_columns(known, symbol=pl.lit(INDEX))
    member = {
        "symbol": INDEX,
        "tier": "context",
        "sector": "Index",
        "exchange": "XNYS",
        "from_session": date(2010, 1, 4),
        "survivor_only": False,
        "priority": 0,
    }
    universe = UNIVERSE.conform(pl.DataFrame([{**dict.fromkeys(UNIVERSE.columns), **member}], schema=UNIVERSE.columns))
    bars = lake.versions(MARKET_BARS.name).current()
    made_of = Lineage(inputs={MARKET_BARS.name: bars.version}, code_version="c", config_hash="h")
    last = rows["session"].max()
    lake.publish(RETURNS, RETURNS.conform(pl.concat([rows, index])), lineage=made_of, data_end=last)
    lake.publish(UNIVERSE, universe, lineage=None, data_end=last)
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        (stage,) = (one for one in backtests.STAGES if one.name == "portfolio_returns")
        result = dg.materialize(
            [stage_asset(stage, platform.config)],
            instance=instance,
            resources={"platform": platform},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    assert result.success
