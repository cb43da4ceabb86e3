"""A card says everything a forecast depends on, and is as reproducible as the forecast."""

import json

import polars as pl
import pytest

from gnn_assets.core.hashing import json_hash
from gnn_assets.forecasts.card import LIBRARIES, libraries, rows_hash
from gnn_assets.store.cards import Cards
from gnn_assets_tests.forecasts.market import CONFIG, NOW, SYMBOLS, market

SESSION = market().data.sessions[-3]


@pytest.fixture(scope="module")
def made():
    return market().forecast(SESSION)


@pytest.fixture(scope="module")
def card(made):
    return market().card(made)


def test_a_card_names_what_the_forecast_was_made_from(card, made):
    first = made.rows.row(0, named=True)
    for name in ("session", "target_start", "target_end", "graph_session"):
        assert card[name] == str(first[name])
    for name in ("horizon", "champion", "served_by", "degraded", "source", "status", "verdict"):
        assert card[name] == first[name]
    assert card["model"] == market().served.model
    assert card["part"] == made.part == first["served_by"]
    assert card["nodes"] == list(SYMBOLS)
    assert card["known_at"] == NOW.isoformat()
    assert card["symbols"] == made.rows.height
    assert card["versions"] == {"market_bars": "b", "gnn_weights": "w1"}
    assert card["config"] == CONFIG.slice("forecasts")
    assert (card["code_version"], card["config_hash"], card["threads"]) == ("code", "config", 2)
    assert card["calibration"]["fitted_slope"] == made.calibration.fitted_slope


def test_a_card_holds_the_hash_of_its_rows(card, made):
    assert card["rows_hash"] == rows_hash(made.rows)


@pytest.mark.parametrize("column", ["score", "expected_return", "lower", "upper"])
def test_another_last_bit_of_any_number_is_another_hash(made, column):
    other = made.rows.with_columns(
        pl.when(pl.col("rank") == 1).then(pl.col(column) * (1 + 2**-20)).otherwise(column).alias(column)
    )
    assert rows_hash(other) != rows_hash(made.rows)


@pytest.mark.parametrize("column", ["champion", "served_by", "status", "verdict", "source"])
def test_another_word_is_another_hash(made, column):
    assert rows_hash(made.rows.with_columns(pl.lit("other").alias(column))) != rows_hash(made.rows)


def test_the_name_of_the_card_is_no_part_of_the_hash_the_card_holds(made, card):
    named = made.rows.with_columns(card_id=pl.lit(json_hash(card)))
    assert rows_hash(named) == card["rows_hash"]


def test_equal_forecasts_have_one_card_and_a_card_comes_back_as_it_was_stored(card, tmp_path):
    cards = Cards(tmp_path)
    card_id = cards.put(card)
    assert cards.put(market().card(market().forecast(SESSION))) == card_id
    assert cards.get(card_id) == card == json.loads(json.dumps(card, allow_nan=False))


@pytest.mark.parametrize("change", [{"threads": 3}, {"code_version": "other"}, {"versions": {"market_bars": "c"}}])
def test_anything_else_behind_a_forecast_is_another_card(made, card, change):
    assert json_hash(market().card(made, **change)) != json_hash(card)


def test_python_and_every_library_that_can_change_a_bit_are_named(card):
    assert set(libraries()) == {"python", *LIBRARIES}
    assert card["libraries"] == libraries()
    assert all(version[0].isdigit() for version in libraries().values())
