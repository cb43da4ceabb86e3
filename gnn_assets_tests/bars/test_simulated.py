from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.fetched import Access, Ask, Fetched
from gnn_assets.bars.sources import simulated
from gnn_assets.bars.universe import read_universe
from gnn_assets.core.config import Config, build_config
from gnn_assets.core.errors import NoData, UnknownSymbol
from gnn_assets.core.sessions import Exchanges, SessionCalendar

FIRST, LAST = date(2010, 1, 4), date(2021, 12, 31)
MANY = tuple(f"SIM{number:03}" for number in range(200))
SOME = MANY[:20]
CLEAN = {"dirt_share": 0.0}


@cache
def calendar(exchange: str = "XNYS", until: date = LAST) -> SessionCalendar:
    return SessionCalendar.build(exchange, first=date(2009, 1, 2), until=until, grace=timedelta(minutes=30))


def config(**changed) -> Config:
    return build_config("test", {"sources": {"simulated": changed}})


def fetched(*symbols: str, first=FIRST, last=LAST, exchange="XNYS", until=LAST, **changed) -> Fetched:
    access = Access(
        config=config(**changed),
        keys={},
        guard=lambda send: send(),
        exchanges=Exchanges(primary=calendar(until=until), others={"XLON": calendar("XLON")}),
        now=lambda: datetime(2022, 12, 29, tzinfo=UTC),
        home=Path(),
        scratch=Path(),
    )
    return simulated.open_source(access).fetch(Ask(symbols, exchange, first, last))


def truth(symbol: str, **changed) -> pl.DataFrame:
    return simulated.true_returns(symbol, config(**changed).sources.simulated, calendar())


def adjusted_returns(answer: Fetched) -> pl.DataFrame:
    """(close + dividend) · split / close before, as log returns: written here again on purpose."""
    actions = answer.actions.pivot("kind", index=("symbol", "session"), values="value")
    return (
        answer.bars.join(actions, on=("symbol", "session"), how="left")
        .sort("symbol", "session")
        .with_columns(
            close_return=(
                (pl.col("close") + pl.col("dividend").fill_null(0.0))
                * pl.col("split").fill_null(1.0)
                / pl.col("close").shift().over("symbol")
            ).log()
        )
        .drop_nulls("close_return")
    )


def test_prices_adjusted_for_splits_and_dividends_give_back_the_true_returns():
    answer = fetched(*SOME, **CLEAN, split_share=1.0)
    assert set(answer.actions["kind"]) == {"split", "dividend"}
    found = adjusted_returns(answer)
    for symbol in SOME:
        mine = found.filter(symbol=symbol)
        expected = truth(symbol, **CLEAN, split_share=1.0).filter(pl.col("session") <= LAST)
        assert mine["session"].to_list() == expected["session"].to_list()
        np.testing.assert_allclose(mine["close_return"], expected["close_return"], atol=1e-11)


def test_unadjusted_prices_do_not():
    answer = fetched(*SOME, **CLEAN, split_share=1.0)
    splits = answer.actions.filter(kind="split")
    naive = answer.bars.sort("symbol", "session").with_columns(
        jump=(pl.col("close") / pl.col("close").shift().over("symbol")).log()
    )
    jumps = splits.join(naive, on=("symbol", "session"))
    assert jumps.height > 10
    assert ((jumps["jump"] + jumps["value"].log()).abs() < 0.2).all()


@settings(max_examples=8, deadline=None)
@given(
    chosen=st.sets(st.sampled_from(MANY), min_size=1, max_size=4),
    start=st.integers(0, 4000),
    length=st.integers(0, 600),
)
def test_any_part_in_any_company_is_the_same(chosen, start, length):
    first = FIRST + timedelta(start)
    last = min(first + timedelta(length), LAST)
    dirty = {"dirt_share": 0.2}
    part = fetched(*sorted(chosen), first=first, last=last, **dirty)
    symbol = min(chosen)
    whole = fetched(symbol, **dirty)
    in_range = pl.col("session").is_between(first, last)
    assert part.bars.filter(symbol=symbol).equals(whole.bars.filter(in_range))
    assert part.actions.filter(symbol=symbol).equals(whole.actions.filter(in_range))


def test_a_calendar_that_grows_changes_no_past():
    assert fetched(*SOME, until=date(2015, 6, 30), last=date(2015, 6, 30)).bars.equals(
        fetched(*SOME, last=date(2015, 6, 30)).bars
    )


def test_the_seed_changes_everything_and_the_hash_tells():
    one, other = fetched("SIM001"), fetched("SIM001", seed=8)
    assert one.payload_hash == fetched("SIM001").payload_hash != other.payload_hash
    assert not set(one.bars["close"]) & set(other.bars["close"])


def test_symbols_move_with_the_market_and_more_so_with_their_sector():
    paths = {symbol: truth(symbol, delisted_share=0.0)["close_return"].to_numpy() for symbol in MANY[:40]}
    sectors = np.array([simulated.sector_of(symbol) for symbol in paths])
    correlation = np.corrcoef(np.array(list(paths.values())))
    same = (sectors[:, None] == sectors) & ~np.eye(len(sectors), dtype=bool)
    other = sectors[:, None] != sectors
    assert correlation[other].mean() > 0.2
    assert correlation[same].mean() > correlation[other].mean() + 0.1


def test_exchanges_share_the_market_on_the_days_both_are_open():
    mine = fetched("SIM001", first=date(2015, 1, 1), **CLEAN).bars
    london = fetched("SIM001", first=date(2015, 1, 1), exchange="XLON", **CLEAN).bars
    both = mine.join(london, on="session").with_columns(pl.col("close", "close_right").log().diff()).drop_nulls()
    assert mine["session"].to_list() != london["session"].to_list()
    assert both.select(pl.corr("close", "close_right")).item() > 0.9


def test_tails_are_fat_and_the_regime_is_loud_for_sixty_sessions():
    settings_ = {"delisted_share": 0.0}
    moves = pl.concat([truth(symbol, **settings_).with_columns(symbol=pl.lit(symbol)) for symbol in MANY[:20]])
    at = calendar().position(date(2020, 2, 20))
    regime = calendar().sessions[at], calendar().sessions[at + 59]
    inside = pl.col("session").is_between(*regime)
    calm, loud = (np.std(moves.filter(part)["close_return"].to_numpy()) for part in (~inside, inside))
    assert loud / calm > 1.8
    assert calendar().sessions[at + 60] not in set(moves.filter(inside)["session"])
    after = moves.filter(pl.col("session").is_between(calendar().sessions[at + 60], calendar().sessions[at + 119]))
    assert np.std(after["close_return"].to_numpy()) / calm < 1.4
    assert moves.filter(~inside).select(pl.col("close_return").kurtosis() > 1.5).item()


def test_clean_bars_are_consistent_and_volumes_rise_with_moves():
    bars = fetched(*SOME, **CLEAN).bars
    body_low, body_high = pl.min_horizontal("open", "close"), pl.max_horizontal("open", "close")
    assert bars.filter((pl.col("high") < body_high) | (pl.col("low") > body_low) | (pl.col("low") <= 0)).is_empty()
    assert (bars["volume"] >= 1).all()
    assert (bars["volume"] == bars["volume"].round()).all()
    moved = bars.with_columns(move=(pl.col("close") / pl.col("open")).log().abs())
    ranks = moved.with_columns(pl.col("move", "volume").rank().over("symbol"))
    assert ranks.select(pl.corr("move", "volume")).item() > 0.2


def test_the_share_that_is_delisted_trades_to_its_last_session_and_is_then_reported():
    answer = fetched(*MANY[:100], first=date(2021, 12, 1), delisted_share=0.3, **CLEAN)
    gone = set(answer.failures)
    assert 18 < len(gone) < 42
    assert all(isinstance(reason, NoData) for reason in answer.failures.values())
    symbol = min(gone)
    life = fetched(symbol, delisted_share=0.3, **CLEAN).bars["session"].to_list()
    assert life == list(calendar().between(FIRST, life[-1]))
    assert life[-1] < LAST
    assert truth(symbol, delisted_share=0.3)["session"].to_list()[-1] == life[-1]
    assert fetched(symbol, delisted_share=0.3, dirt_share=0.9).bars["session"].to_list()[-1] <= life[-1]


def test_a_year_of_dividends_is_the_yield():
    answer = fetched(*SOME, first=date(2015, 1, 1), last=date(2018, 12, 31), dividend_yield=0.04, **CLEAN)
    paid = answer.actions.filter(kind="dividend").join(answer.bars, on=("symbol", "session"))
    yearly = (paid["value"] / paid["close"]).sum() / 4 / answer.bars["symbol"].n_unique()
    assert yearly == pytest.approx(0.04, rel=0.05)


def kinds_of_dirt(clean: pl.DataFrame, dirty: pl.DataFrame) -> dict[str, int]:
    both = clean.join(dirty, on=("symbol", "session"), how="full", suffix="_told", coalesce=True).sort(
        "symbol", "session"
    )
    values = ("open", "high", "low", "close", "volume")
    told = both.with_columns(
        repeated=pl.all_horizontal(pl.col(f"{name}_told") == pl.col(name).shift().over("symbol") for name in values)
    )
    expected = pl.col("close").is_not_null()
    return {
        kind: told.filter(which).height
        for kind, which in {
            "open 0": expected & (pl.col("open_told") == 0),
            "volume 0": expected & (pl.col("volume_told") == 0),
            "high below the body": pl.col("high_told") < pl.min_horizontal("open_told", "close_told"),
            "repeated": expected & pl.col("repeated"),
            "close 0": pl.col("close_told") == 0,
            "negative": pl.col("close_told") < 0,
            "missing": expected & pl.col("close_told").is_null(),
            "holiday": ~expected,
        }.items()
    }


def test_dirt_of_every_kind_is_told_as_often_as_configured_and_nothing_else_changes():
    clean, dirty = fetched(*MANY[:30], **CLEAN).bars, fetched(*MANY[:30], dirt_share=0.07).bars
    counts = kinds_of_dirt(clean, dirty)
    each = 0.01 * clean.height
    assert all(0.8 * each < counts[kind] < 1.2 * each for kind in set(counts) - {"holiday"}), counts
    assert counts["holiday"] > 30
    untouched = clean.join(dirty, on=clean.columns, how="semi")
    assert untouched.height / clean.height == pytest.approx(0.93, abs=0.01)
    assert set(kinds_of_dirt(clean, clean).values()) == {0}


def test_a_bar_on_a_holiday_stands_on_a_weekday_without_a_session():
    sessions = pl.Series(calendar().sessions)
    stray = fetched(*SOME, dirt_share=0.5).bars.filter(~pl.col("session").is_in(sessions.implode()))
    assert stray.height > 100
    assert (stray["session"].dt.weekday() <= 5).all()


def test_names_that_begin_with_zz_are_strangers():
    answer = fetched("SIM001", "ZZTOP")
    assert isinstance(answer.failures["ZZTOP"], UnknownSymbol)
    assert set(answer.bars["symbol"]) == {"SIM001"}


def test_the_shipped_universe_has_the_sectors_of_the_simulation():
    universe = read_universe("simulated.yaml")
    assert universe["sector"].to_list() == [simulated.sector_of(symbol) for symbol in universe["symbol"]]
    assert set(universe["sector"]) == set(simulated.SECTORS)
    assert not universe["survivor_only"].any()
    assert fetched(*universe["symbol"], last=date(2010, 2, 1)).failures == {}
