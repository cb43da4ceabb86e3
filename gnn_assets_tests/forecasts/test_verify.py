"""A forecast made again from its card: equal to the bit, or told apart with the reason beside it."""

from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from gnn_assets.bars.schema import CORPORATE_ACTIONS, UNIVERSE
from gnn_assets.core.errors import DataError
from gnn_assets.forecasts.card import libraries
from gnn_assets.forecasts.verify import compare, recompute
from gnn_assets_tests.forecasts.market import (
    CONFIG,
    EXCHANGES,
    NOW,
    SYMBOLS,
    features_count,
    fetched,
    market,
    recorded,
)

SESSION = market().data.sessions[-10]
LATER = NOW + timedelta(days=1)


@pytest.fixture(autouse=True)
def _a_model_that_reads_everything(monkeypatch):
    features_count(monkeypatch)


def again(card, **changes):
    given = {
        "bars": market().bars,
        "actions": CORPORATE_ACTIONS.empty(),
        "universe": market().universe,
        "served": market().served,
        "config": CONFIG,
    }
    return recompute(card, exchanges=EXCHANGES, **{**given, **changes})


def verdict_on(card, rows, *, published=None, code_version="code", threads=2):
    made = market().forecast(date.fromisoformat(card["session"])).rows
    return compare(
        card, rows, published=made if published is None else published, code_version=code_version, threads=threads
    )


@pytest.fixture
def card():
    return card_of_the_session()


@cache
def card_of_the_session():
    return market().card(market().forecast(SESSION))


@cache
def made_again():
    """Recomputing makes all features of all sessions: once is enough for what is only compared."""
    return again(card_of_the_session())


# --- recompute -------------------------------------------------------------------------------------------------------


def test_bars_of_none_of_the_sources_are_refused_in_a_sentence(card):
    elsewhere = CONFIG.model_copy(update={"bars": CONFIG.bars.model_copy(update={"sources": ("yahoo",)})})
    with pytest.raises(DataError, match=f"market of {SESSION}: expected returns by yahoo, was none"):
        again(card, config=elsewhere)


@pytest.mark.parametrize("row", [-1, -2, -29, -40])
def test_a_forecast_comes_back_bit_for_bit(row):
    made = market().forecast(market().data.sessions[row])
    assert again(market().card(made)).equals(made.rows)


def test_status_and_fallback_are_taken_from_the_card_because_they_told_of_that_day(card):
    made = market().forecast(SESSION, status="stale", degraded=True)
    assert again(market().card(made)).equals(made.rows)


def test_bars_of_later_sessions_do_not_matter(card):
    truth = made_again()
    known = market().bars.filter(pl.col("session") <= SESSION)
    garbage = market().bars.with_columns(close=pl.when(pl.col("session") > SESSION).then(1e9).otherwise("close"))
    assert again(card, bars=known).equals(truth)
    assert again(card, bars=garbage).equals(truth)


def test_a_revision_made_after_the_card_does_not_matter_and_one_made_before_does(card):
    revised = fetched().with_columns(
        close=pl.when((pl.col("session") == SESSION) & (pl.col("symbol") == "B")).then(1.0).otherwise("close")
    )
    bars = recorded(market().bars, revised, at=LATER)
    assert bars.height == market().bars.height + 1
    assert again(card, bars=bars).equals(made_again())
    assert not again({**card, "known_at": LATER.isoformat()}, bars=bars).equals(made_again())


def test_bars_of_another_source_do_not_matter(card):
    other = market().bars.with_columns(source=pl.lit("other"), close=pl.col("close") * 2)
    assert again(card, bars=pl.concat([market().bars, other])).equals(made_again())


def test_another_graph_is_another_forecast(card):
    made = made_again()
    lone = CONFIG.model_copy(update={"graphs": CONFIG.graphs.model_copy(update={"k": 1})})
    other = again(card, config=lone)
    assert not other["score"].equals(made["score"])


def test_a_name_outside_the_universe_has_no_forecast(card):
    universe = UNIVERSE.conform(
        market().universe.with_columns(
            to_session=pl.when(pl.col("symbol") == "C").then(pl.lit(date(2021, 7, 1))).otherwise("to_session")
        )
    )
    assert sorted(again(card, universe=universe)["symbol"]) == sorted(set(SYMBOLS) - {"C"})


# --- compare ---------------------------------------------------------------------------------------------------------


def test_equal_bits_are_said_to_be_equal(card):
    outcome = verdict_on(card, made_again())
    assert (outcome.session, outcome.matches, outcome.differences) == (SESSION, True, ())
    assert outcome.sentence == f"{SESSION}: 6 forecasts recomputed from their card, every bit equal"


def test_the_name_of_the_card_in_the_stored_rows_does_not_matter(card):
    stored = market().forecast(SESSION).rows.with_columns(card_id=pl.lit("c" * 64))
    assert verdict_on(card, made_again(), published=stored).matches


def test_equal_bits_from_other_code_match_and_the_difference_is_named(card):
    outcome = verdict_on(card, made_again(), code_version="new")
    assert outcome.matches
    assert outcome.differences == ("code_version was code, is new",)
    assert outcome.sentence.endswith("every bit equal (code_version was code, is new)")


def test_other_bits_with_nothing_else_changed_are_said_to_be_that(card):
    outcome = verdict_on(card, nudged(made_again()))
    assert not outcome.matches
    assert outcome.sentence == (
        f"{SESSION}: recomputed forecasts differ from those published with nothing else changed"
    )


def test_other_bits_come_with_every_difference_that_may_be_the_cause(card):
    card = {**card, "libraries": {**libraries(), "jax": "0.0.1"}}
    outcome = verdict_on(card, nudged(made_again()), code_version="new", threads=3)
    assert not outcome.matches
    assert outcome.differences == (
        "code_version was code, is new",
        "threads was 2, is 3",
        f"jax was 0.0.1, is {libraries()['jax']}",
    )
    assert outcome.sentence.endswith(f"differ from those published ({'; '.join(outcome.differences)})")


def test_a_library_the_card_does_not_know_is_a_difference(card):
    known = {name: version for name, version in libraries().items() if name != "optax"}
    outcome = verdict_on({**card, "libraries": known}, made_again())
    assert outcome.differences == (f"optax was None, is {libraries()['optax']}",)


def test_stored_forecasts_that_are_not_the_cards_are_named_first(card):
    stored = nudged(market().forecast(SESSION).rows)
    for rows in (made_again(), nudged(made_again())):
        outcome = verdict_on(card, rows, published=stored)
        assert not outcome.matches
        assert outcome.sentence == f"{SESSION}: the stored forecasts are not those their card was made for"


@pytest.mark.parametrize("lost", ["published", "recomputed"])
def test_a_row_that_is_missing_is_a_difference(card, lost):
    rows = made_again()
    outcome = (
        verdict_on(card, rows, published=rows.head(-1)) if lost == "published" else verdict_on(card, rows.head(-1))
    )
    assert not outcome.matches


def test_weights_that_score_otherwise_are_noticed(card):
    other = replace(
        market().served, predictions=market().served.predictions.with_columns(score=pl.col("score") * pl.lit(-1.0))
    )
    assert not verdict_on(card, again(card, served=other)).matches


def nudged(rows):
    """The rows with the last bit of one number turned."""
    return rows.with_columns(
        expected_return=pl.Series(np.nextafter(rows["expected_return"].to_numpy(), np.inf)),
    )
