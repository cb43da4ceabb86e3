"""SQL over the lake: DuckDB in memory, over rows whose files were checked. There is no database file to lock."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import polars as pl

from gnn_assets.core.errors import StoreError
from gnn_assets.store.lake import Lake
from gnn_assets.store.schema import Table

# It sees neither files nor the caller's variables: only what was read through the lake.
_CLOSED_IN: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "python_enable_replacements": False,
}


def sql(query: str, *, lake: Lake, tables: Sequence[Table]) -> pl.DataFrame:
    """The answer to one query over current tables.

    Args:
        query: one DuckDB SELECT; it sees the tables, no file and no network.
        lake: where they are read from; only those the query names are.
        tables: those it may name; one that was never published has no rows.

    Raises:
        StoreError: if DuckDB refuses the query.
        CorruptArtefact, SchemaMismatch: if a table cannot be read.
    """
    known = {table.name: table for table in tables}
    with duckdb.connect(":memory:", config=dict(_CLOSED_IN)) as connection:
        for name, table in known.items():
            connection.from_arrow(table.empty().to_arrow()).create(name)
        try:
            for name in _named(query, connection) & known.keys():
                if lake.manifest(known[name]) is not None:
                    connection.from_arrow(lake.read(known[name]).to_arrow()).insert_into(name)
            answer = connection.sql(query)
            if answer is not None:
                return pl.DataFrame(answer.to_arrow_table())
            refusal, why = None, "none"
        except duckdb.Error as error:
            refusal, why = error, str(error).splitlines()[0]
    raise StoreError.of(
        "query", expected=f"a query with an answer from {', '.join(known)}", was=why, do="correct it"
    ) from refusal


def _named(query: str, connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Tables a query names, by DuckDB's own parser; its `get_table_names` stumbles over a join with a WITH clause."""
    ((parsed,),) = connection.execute("select json_serialize_sql(?::varchar)", [query]).fetchall()
    return set(_base_tables(json.loads(parsed)))


def _base_tables(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            yield node["table_name"].lower()
        for child in node.values():
            yield from _base_tables(child)
    elif isinstance(node, list):
        for child in node:
            yield from _base_tables(child)
