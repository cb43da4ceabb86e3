"""The returns of a session made again without what came later: what that finds, and whom it leaves alone."""

import polars as pl
import pytest

from gnn_assets.bars import remade
from gnn_assets.bars.remade import returns_unseen
from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS
from gnn_assets.bars.splits import LOOKBACK
from gnn_assets_tests.forecasts import market

SESSIONS = market.sessions()
MIDDLE = SESSIONS[len(SESSIONS) // 2]
PAST = [day for day in SESSIONS if day <= MIDDLE][-LOOKBACK:]
LATER = SESSIONS[len(SESSIONS) // 2 + 10]
NO_ACTIONS = CORPORATE_ACTIONS.empty()


def split(session) -> pl.DataFrame:
    """Two for one of B."""
    told = {"symbol": "B", "session": session, "kind": "split", "source": market.CONFIG.bars.sources[0], "rev": 0}
    more = {"value": 2.0, "known_at": market.NOW, "fetched_at": market.NOW, "payload_hash": "", "run_id": ""}
    schema = dict(CORPORATE_ACTIONS.columns)
    return CORPORATE_ACTIONS.conform(pl.DataFrame([{**told, **more}], schema=schema))


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    return market.recorded(MARKET_BARS.empty(), market.fetched())


def checked(returns, bars, *, actions=NO_ACTIONS):
    return returns_unseen(
        returns,
        bars.filter(pl.col("session") >= PAST[0]),
        actions,
        session=MIDDLE,
        universe=market.universe_frame(),
        exchanges=market.EXCHANGES,
        fill=market.CONFIG.execution.fill,
        config=market.CONFIG.bars,
    )


@pytest.mark.parametrize("actions", [NO_ACTIONS, split(MIDDLE), split(LATER)], ids=["none", "that day", "later"])
def test_returns_that_know_nothing_later_are_the_same_again(bars, actions):
    check = checked(market.returns_frame(bars, actions), bars, actions=actions)
    assert (check.passed, check.value) == (True, 0), check.sentence
    assert f"Returns of 6 symbols on {MIDDLE}" in check.description


@pytest.mark.parametrize("column", ["close_return", "fill_return", "held_return"])
def test_a_return_that_changes_without_the_future_is_an_error_and_named(bars, column):
    returns = market.returns_frame(bars, NO_ACTIONS)
    here = (pl.col("symbol") == "C") & (pl.col("session") == MIDDLE)
    seen = returns.with_columns(pl.when(here).then(pl.col(column) + 1e-9).otherwise(column).alias(column))
    check = checked(seen, bars)
    assert check.blocks
    assert (check.value, check.name) == (1, "no_look_ahead")
    assert check.offenders[0].startswith(f"C {MIDDLE}: ")


def test_a_return_that_is_there_only_with_the_future_is_an_error(bars, monkeypatch):
    returns = market.returns_frame(bars, NO_ACTIONS)
    honest = remade.returns_of
    monkeypatch.setattr(
        remade, "returns_of", lambda *given, **named: honest(*given, **named).filter(pl.col("symbol") != "D")
    )
    assert checked(returns, bars).offenders[0].startswith(f"D {MIDDLE}: ")


def test_an_adjustment_by_an_action_told_of_later_is_an_error(bars, monkeypatch):
    """As a history that somebody adjusted backwards: the first of the adjusted prices is halved, the day's is not."""
    honest = remade.returns_of

    def backwards(bars, actions, **named):
        returns = honest(bars, actions, **named)
        halved = pl.lit(0.0 if actions.is_empty() else 0.5)
        return returns.with_columns(
            pl.when(pl.col("symbol") == "B")
            .then(pl.col("close_return") - halved)
            .otherwise("close_return")
            .alias("close_return")
        )

    monkeypatch.setattr(remade, "returns_of", backwards)
    actions = split(LATER)
    returns = backwards(
        bars,
        actions,
        universe=market.universe_frame(),
        exchanges=market.EXCHANGES,
        sources=market.CONFIG.bars.sources,
        sessions=SESSIONS,
        symbols=market.SYMBOLS,
        fill=market.CONFIG.execution.fill,
        config=market.CONFIG.bars,
    )
    check = checked(returns, bars, actions=actions)
    assert check.blocks
    assert check.offenders[0].startswith(f"B {MIDDLE}: ")


def test_a_symbol_with_a_gap_is_left_out_as_its_return_may_begin_before_what_is_read(bars):
    gap = bars.filter((pl.col("symbol") != "A") | (pl.col("session") != PAST[5]))
    check = checked(market.returns_frame(gap, NO_ACTIONS), gap)
    assert check.passed
    assert "Returns of 5 symbols" in check.description
