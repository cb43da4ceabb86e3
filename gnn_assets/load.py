"""What a notebook needs: tables as polars frames, cards, verification, SQL.

from gnn_assets import load
load("forecasts")
"""

from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from typing import Any

import polars as pl

from gnn_assets.bars.schema import MARKET_BARS
from gnn_assets.core.config import Config
from gnn_assets.core.errors import MissingArtefact, VerificationFailed
from gnn_assets.defs.recipe import forecast_code_version, served_champion
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.tables import TABLES
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.forecasts.verify import Verification, compare, recompute
from gnn_assets.models.runtime import start
from gnn_assets.registry.pointer import Champion


@cache
def _platform() -> Platform:
    return Platform.from_environment()


def load(name: str, *, version: str | None = None, as_of: datetime | None = None) -> pl.DataFrame:
    """One table of the platform, every byte checked against its manifest.

    Args:
        name: such as ``forecasts``; `catalog()` lists them.
        version: a data version, as Dagster shows it; the current one by default.
        as_of: aware UTC moment; the table as it was published by then.

    Raises:
        MissingArtefact: if there is no such table, or nothing was published.
        CorruptArtefact: if stored bytes are not those published.
    """
    if name not in TABLES:
        raise MissingArtefact.of("table", expected=f"one of {', '.join(TABLES)}", was=repr(name), do="see catalog()")
    return _platform().lake.read(TABLES[name], version=version, as_of=as_of)


def catalog() -> pl.DataFrame:
    """Every table: rows, last session, version, and what its columns mean.

    Returns:
        ``table``, ``rows``, ``data_end``, ``version``, ``columns``; nulls where nothing was published.
    """
    rows = []
    for name, table in TABLES.items():
        manifest = _platform().lake.manifest(table)
        columns = "; ".join(f"{column}: {table.descriptions.get(column, column)}" for column in table.columns)
        found = (manifest.rows, manifest.data_end, manifest.version) if manifest else (None, None, None)
        rows.append((name, *found, columns))
    schema = {
        "table": pl.String,
        "rows": pl.Int64,
        "data_end": pl.Date,
        "version": pl.String,
        "columns": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def sql(query: str) -> pl.DataFrame:
    """Runs DuckDB SQL over the current tables, in memory: no database file, so nothing is ever locked.

    Args:
        query: names tables as `catalog()` does, such as ``select * from forecasts order by rank limit 5``.
    """
    from gnn_assets.store.query import sql as run_sql

    return run_sql(query, lake=_platform().lake, tables=tuple(TABLES.values()))


def card(session: date) -> dict[str, Any]:
    """The card of a session's published forecasts.

    Raises:
        MissingArtefact: if no forecast of that session was published.
    """
    rows = load("forecasts").filter(pl.col("session") == session)
    if rows.is_empty():
        published = load("forecasts")["session"].unique().sort()
        raise MissingArtefact.of(
            "forecasts",
            expected=f"a session from {published[0]} to {published[-1]}",
            was=session,
            do="name a published session",
        )
    return _platform().cards.get(rows["card_id"][0])


def verify(session: date) -> Verification:
    """Recomputes a session's forecasts from their card, from nothing later than the session, bit for bit.

    Raises:
        MissingArtefact: if no forecast of that session was published.
        VerificationFailed: if any bit differs.
    """
    platform, found = _platform(), card(session)
    config = _config_of(found, platform.config)
    threads = start(threads=found["threads"], cache=platform.data / "cache" / "xla")
    again = recompute(
        found,
        bars=platform.lake.read(MARKET_BARS, version=found["versions"]["market_bars"]),
        served=served_champion(platform, _champion_of(found)),
        calendar=platform.calendar,
        config=config,
    )
    published = load("forecasts").filter(pl.col("session") == session).with_columns(card_id=pl.lit(""))
    outcome = compare(
        found,
        again,
        published=FORECASTS.conform(published),
        code_version=forecast_code_version(config),
        threads=threads,
    )
    if not outcome.matches:
        raise VerificationFailed(outcome.sentence)
    return outcome


def _config_of(found: Mapping[str, Any], config: Config) -> Config:
    """The configuration the card names: what changed since must not count."""
    return Config.model_validate({**config.model_dump(mode="json"), **found["config"]})


def _champion_of(found: Mapping[str, Any]) -> Champion:
    return Champion(
        version=found["versions"]["gnn_weights"],
        model=found["config"]["models"]["candidate"],
        rule="",
        reason="",
        verdict=found["verdict"],
        config_hash="",
        oos_predictions=found["versions"]["oos_predictions"],
        portfolio_returns="",
        backtest_scores="",
        data_end="",
    )
