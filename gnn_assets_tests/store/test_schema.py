import importlib.util
import pkgutil
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gnn_assets
from gnn_assets.core.errors import SchemaMismatch
from gnn_assets.store.schema import Table

TABLE = Table("t", {"symbol": pl.String, "session": pl.Date, "value": pl.Float64}, ("session", "symbol"))
FRAME = pl.DataFrame({"value": [1.0, 2.0], "symbol": ["B", "A"], "session": [date(2020, 1, 2), date(2020, 1, 2)]})


def _declared() -> list[Table]:
    names = [
        f"gnn_assets.{package.name}.schema"
        for package in pkgutil.iter_modules(gnn_assets.__path__)
        if package.ispkg and importlib.util.find_spec(f"gnn_assets.{package.name}.schema")
    ]
    modules = [importlib.import_module(name) for name in names]
    return [value for module in modules for value in vars(module).values() if isinstance(value, Table)]


def test_an_empty_frame_has_the_declared_columns():
    assert TABLE.empty().schema == pl.Schema(TABLE.columns)
    assert TABLE.empty().is_empty()


def test_a_frame_is_put_in_declared_order_and_sorted_by_key():
    conformed = TABLE.conform(FRAME)
    assert conformed.columns == ["symbol", "session", "value"]
    assert conformed["symbol"].to_list() == ["A", "B"]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (FRAME.drop("value"), "value is missing"),
        (FRAME.with_columns(other=1), "other is not declared"),
        (FRAME.cast({"value": pl.Int64}), "value is Int64 instead of Float64"),
        (FRAME.drop("value").with_columns(other=1), "value is missing; other is not declared"),
    ],
)
def test_a_frame_of_another_shape_is_refused_with_the_difference(frame, said):
    with pytest.raises(SchemaMismatch, match=f"table t: expected its declared columns, was {said}"):
        TABLE.conform(frame)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(20)))
def test_order_of_rows_does_not_matter(order):
    frame = pl.DataFrame(
        {
            "symbol": [f"S{row:02}" for row in order],
            "session": [date(2020, 1, 2)] * 20,
            "value": [float(row) for row in order],
        }
    )
    assert TABLE.conform(frame)["value"].to_list() == [float(row) for row in range(20)]


@pytest.mark.parametrize("table", _declared(), ids=lambda table: f"{table.name}-{table.schema_version}")
def test_every_declared_table_holds_together(table):
    """Keys, provenance and descriptions name columns; a monthly table has the session its files are split by."""
    assert table.key
    assert {*table.key, *table.provenance, *table.descriptions} <= {*table.columns}
    assert not {*table.key} & {*table.provenance}
    assert not table.monthly or table.columns.get("session") == pl.Date


def test_the_declared_tables_are_found():
    versions = [(table.name, table.schema_version) for table in _declared()]
    assert len(versions) == len(set(versions))
    assert {"market_bars", "correlation_graphs", "forecasts"} <= {name for name, _ in versions}
