from datetime import date

import pytest

from gnn_assets.core.errors import CorruptArtefact, StoreError
from gnn_assets.store.query import sql
from gnn_assets_tests.store.states import LEVELS, PRICES, WRITE, lake_at, prices_until

END = date(2020, 2, 10)


def test_sql_sees_the_current_rows(tmp_path):
    lake = lake_at(tmp_path)
    lake.publish(PRICES, prices_until(40), lineage=None, data_end=END)
    WRITE["levels"](tmp_path, 7)
    query = "select symbol, max(session) as last, count(*) as n from prices group by symbol order by symbol"
    answer = sql(query, lake=lake, tables=[PRICES])
    assert answer.rows() == [(symbol, END, 40) for symbol in ("AAA", "BBB", "CCC")]
    both = "select max(levels.value) * 10 + count(*) as n from levels, (select 1 from prices limit 1)"
    assert sql(both, lake=lake, tables=[PRICES, LEVELS]).item() == 70 + 1007


def test_only_the_tables_a_query_names_are_read_whatever_its_shape(tmp_path):
    lake = lake_at(tmp_path)
    lake.publish(PRICES, prices_until(40), lineage=None, data_end=END)
    query = "with last as (select symbol, max(session) as session from Prices group by symbol) "
    query += "select count(*) as n from last join prices using (symbol, session)"
    # The other table was never published, and is not asked for.
    assert sql(query, lake=lake, tables=[PRICES, LEVELS]).item() == 3
    assert sql("select count(*) from levels", lake=lake, tables=[PRICES, LEVELS]).item() == 0
    next((lake.root / "prices" / "files").iterdir()).write_bytes(b"damaged")
    assert sql("select 1", lake=lake, tables=[PRICES, LEVELS]).item() == 1
    with pytest.raises(CorruptArtefact):
        sql(query, lake=lake, tables=[PRICES, LEVELS])


@pytest.mark.parametrize(
    "query",
    [
        "select * from nothing",
        "selct 1",
        "select * from read_parquet('/tmp/x.parquet')",
        "attach '/tmp/x.duckdb'",
        "set enable_external_access = true",
        "select * from lake",
    ],
)
def test_sql_reaches_nothing_but_the_named_tables(tmp_path, query):
    WRITE["levels"](tmp_path, 1)
    with pytest.raises(StoreError, match="query: expected a query with an answer from levels, was "):
        sql(query, lake=lake_at(tmp_path), tables=[LEVELS])


def test_sql_without_a_hit_gives_no_rows(tmp_path):
    WRITE["levels"](tmp_path, 1)
    assert sql("select * from levels where value < 0", lake=lake_at(tmp_path), tables=[LEVELS]).height == 0


def test_sql_that_asks_nothing_is_refused(tmp_path):
    WRITE["levels"](tmp_path, 1)
    with pytest.raises(StoreError, match="a query with an answer"):
        sql("", lake=lake_at(tmp_path), tables=[LEVELS])
