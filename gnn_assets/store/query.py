"""SQL over the lake: DuckDB in memory, over rows whose files were checked. There is no database file to lock."""

from collections.abc import Sequence

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
        query: one DuckDB SELECT; it sees the named tables, no file and no network.
        lake: where they are read from.
        tables: those the query names.

    Raises:
        StoreError: if DuckDB refuses the query.
        MissingArtefact, CorruptArtefact, SchemaMismatch: if a table cannot be read.
    """
    frames = {table.name: lake.read(table) for table in tables}
    with duckdb.connect(":memory:", config=dict(_CLOSED_IN)) as connection:
        for name, frame in frames.items():
            connection.register(name, frame.to_arrow())
        try:
            answer = connection.sql(query)
            if answer is not None:
                return pl.DataFrame(answer.to_arrow_table())
            refusal, why = None, "none"
        except duckdb.Error as error:
            refusal, why = error, str(error).splitlines()[0]
    raise StoreError.of(
        "query", expected=f"a query with an answer from {', '.join(frames)}", was=why, do="correct it"
    ) from refusal
