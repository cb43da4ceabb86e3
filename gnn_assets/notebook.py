"""What a notebook needs: tables as polars frames, cards, verification, SQL.

from gnn_assets import load
load("forecasts")
"""

import warnings
from datetime import date, datetime
from functools import cache
from typing import Any

import polars as pl

from gnn_assets.core.errors import MissingArtefact, StaleData
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.status import degraded_sentence, stale_sentence
from gnn_assets.defs.tables import TABLES
from gnn_assets.defs.verify import card_of, verify_session
from gnn_assets.forecasts.verify import Verification


@cache
def _platform() -> Platform:
    return Platform.from_environment()


def load(
    name: str, *, version: str | None = None, as_of: datetime | None = None, refuse_stale: bool = False
) -> pl.DataFrame:
    """One table of the platform, every byte checked against its manifest.

    Args:
        name: such as ``forecasts``; `catalog()` lists them.
        version: a data version, as Dagster shows it; the current one by default.
        as_of: aware UTC moment; bars as they were known by then, other tables as they were published by then.
        refuse_stale: whether a current version older than its limit is an error; by default it is a warning.

    Warns:
        UserWarning: if the current version is older than its limit, or its newest forecasts are late or not by the chosen
            champion; the latter is only warned of, as it is nothing stale.

    Raises:
        MissingArtefact: if there is no such table, or nothing was published.
        CorruptArtefact: if stored bytes are not those published.
        StaleData: where stale data are to be refused.
    """
    if name not in TABLES:
        raise MissingArtefact.of("table", expected=f"one of {', '.join(TABLES)}", was=repr(name), do="see catalog()")
    platform = _platform()
    table = platform.lake.read(TABLES[name], version=version, as_of=as_of)
    stale = stale_sentence(platform, name) if version is None and as_of is None else ""
    if stale:
        do = f"materialize what is above {name}, `gnn-assets status` says what is old"
        sentence = f"{name}: expected {stale}; {do}."
        if refuse_stale:
            raise StaleData(sentence)
        warnings.warn(sentence, stacklevel=2)
    degraded = degraded_sentence(platform, name) if version is None and as_of is None else ""
    if degraded:
        warnings.warn(f"{name}: expected {degraded}; its rows say so in `degraded`.", stacklevel=2)
    return table


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
    return card_of(_platform(), session)


def verify(session: date) -> Verification:
    """Recomputes a session's forecasts from their card, from nothing later than the session, bit for bit.

    Raises:
        MissingArtefact: if no forecast of that session was published.
        VerificationFailed: if any bit differs.
    """
    return verify_session(_platform(), session)
