"""What was refused, late, damaged or told afterwards comes right by itself, and never reaches back in time."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, RETURNS
from gnn_assets_tests.defs.market_home import (
    MarketHome,
    altered,
    calendar,
    names,
    sessions,
    tell,
    traded,
    vendors,
    without,
)

pytestmark = pytest.mark.slow

*_, BEFORE, YESTERDAY, TODAY = DAYS = sessions(25)
SYMBOLS = names(20)
BARS = traded(SYMBOLS, DAYS)


def value_of(home, symbol, session):
    return home.table(RETURNS).filter(symbol=symbol, session=session)["close_return"].item()


def damage(home, table):
    """Flips a bit in the newest file of a table."""
    file = max((home.path / "data/lake" / table / "files").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_dividend_told_after_its_bars_changes_the_return_and_wakes_what_is_below(tmp_path):
    with vendors(BARS, "massive") as servers:
        home = MarketHome(tmp_path / "home", SYMBOLS, servers)
        home.update(YESTERDAY)
        plain = value_of(home, "S003", BEFORE)
        bars_then = home.platform(YESTERDAY).versions("market_bars").current().version
        servers["massive"].dividends.append(
            {"ticker": "S003", "ex_dividend_date": BEFORE.isoformat(), "cash_amount": 1.0, "currency": "USD"}
        )
        done = home.update(YESTERDAY)
        assert done.success, done.failures
        assert home.platform(YESTERDAY).versions("market_bars").current().version == bars_then
        close = home.newest().filter(symbol="S003", session=BEFORE)["close"].item()
        assert value_of(home, "S003", BEFORE) == pytest.approx(plain + np.log((close + 1.0) / close), abs=1e-6)


def test_a_day_refused_as_dirt_is_asked_for_anew_and_heals_when_the_vendor_has_corrected_it(tmp_path):
    # Each symbol breaks another rule's luck: a fifth of all rows is impossible, on scattered sessions.
    dirty = altered(BARS, (pl.col("session").rank("dense") + pl.col("symbol").rank("dense")) % 5 == 0, close=-1.0)
    with vendors(dirty, "massive") as servers:
        home = MarketHome(tmp_path / "home", SYMBOLS, servers)
        refused = home.update(YESTERDAY)
        assert not refused.success
        assert not refused.checks["quarantine_share"].passed
        tell(servers["massive"], BARS)
        healed = home.update(TODAY)
        assert healed.success, healed.failures
        assert home.newest().height == BARS.height


def test_a_bar_that_came_late_is_known_from_then_on_and_not_before(tmp_path):
    with vendors(without(BARS.filter(pl.col("session") == BEFORE), "S004"), "massive") as servers:
        tell(servers["massive"], BARS.filter((pl.col("session") != BEFORE) | (pl.col("symbol") != "S004")))
        home = MarketHome(tmp_path / "home", SYMBOLS, servers)
        home.update(YESTERDAY)
        tell(servers["massive"], BARS)
        assert home.update(TODAY).success
        late = home.table(MARKET_BARS).filter(symbol="S004", session=BEFORE)
        assert late["rev"].to_list() == [0]
        assert late["known_at"].item() == late["fetched_at"].item() == calendar().available_at(TODAY)
        lake = home.platform(TODAY).lake
        just_before = lake.read(MARKET_BARS, as_of=late["known_at"].item() - timedelta(microseconds=1))
        assert just_before.filter(symbol="S004", session=BEFORE).is_empty()


def test_damaged_actions_are_an_event_and_are_asked_for_again(tmp_path):
    dividend = {"ticker": "S003", "ex_dividend_date": BEFORE.isoformat(), "cash_amount": 1.0, "currency": "USD"}
    with vendors(BARS, "massive", dividends=[dividend]) as servers:
        home = MarketHome(tmp_path / "home", SYMBOLS, servers)
        home.update(YESTERDAY)
        right = value_of(home, "S003", BEFORE)
        damage(home, CORPORATE_ACTIONS.name)
        done = home.update(TODAY)
        assert done.success, done.failures
        assert [event["event"] for event in home.events("bars_damaged")] == ["bars_damaged"]
        assert home.table(CORPORATE_ACTIONS)["value"].to_list() == [1.0]
        assert value_of(home, "S003", BEFORE) == right


def test_a_refused_day_names_its_dead_letters_and_retry_asks_for_them(tmp_path):
    gone = SYMBOLS[:5]
    with vendors(BARS, "massive") as servers:
        home = MarketHome(tmp_path / "home", SYMBOLS, servers)
        home.update(YESTERDAY)
        tell(servers["massive"], without(BARS, *gone))
        assert not home.update(TODAY).success
        from gnn_assets.defs.status import dead_letters

        assert sorted(dead_letters(home.platform(TODAY))) == sorted(gone)
        tell(servers["massive"], BARS)
        asked = len(servers["massive"].asked)
        assert home.update(TODAY, failed_only=True).success
        # Three requests a symbol: bars, splits and dividends; nobody else is asked about.
        assert len(servers["massive"].asked) - asked == 3 * len(gone)
        assert dead_letters(home.platform(TODAY)) == {}


def test_a_primary_without_a_usable_close_is_helped_by_the_next_source(tmp_path):
    with vendors(BARS, "massive", "yahoo") as servers:
        tell(servers["massive"], altered(BARS, pl.col("session") == TODAY, close=0.0))
        home = MarketHome(tmp_path / "home", SYMBOLS, servers)
        done = home.update(TODAY)
        assert done.success, done.failures
        newest = home.newest().filter(pl.col("session") == TODAY)
        assert newest["source"].unique().to_list() == ["yahoo"]
        assert newest.height == len(SYMBOLS)


def test_a_changed_volume_stops_nobody(tmp_path):
    with vendors(BARS, "massive") as servers:
        home = MarketHome(tmp_path / "home", SYMBOLS, servers)
        home.update(YESTERDAY)
        tell(servers["massive"], altered(BARS, pl.col("session") == BEFORE, volume=pl.col("volume") + 1))
        done = home.update(TODAY)
        assert done.success, done.failures
        assert home.table(MARKET_BARS).filter(pl.col("rev") == 1).height == len(SYMBOLS)


def test_a_history_may_be_filled_from_its_far_end(tmp_path):
    with vendors(BARS, "massive") as servers:
        home = MarketHome(tmp_path / "home", SYMBOLS, servers)
        done = home.update(TODAY, first=str(DAYS[0]), last=str(DAYS[9]))
        assert done.success, done.failures
        assert home.newest()["session"].max() == DAYS[9]
        assert home.update(TODAY).success
        assert home.newest().height == BARS.height


def test_a_name_that_left_is_asked_for_until_who_holds_it_can_have_sold_it(tmp_path):
    symbols, days = names(6), sessions(16)
    bars = traded(symbols, days)
    with vendors(bars, "yahoo") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers, settings={"bars": {"sessions_after_membership": 6}})
        home.write_universe(symbols, left={symbols[0]: days[7]})
        for day in (days[10], days[-1]):
            done = home.update(day)
            assert done.success, done.failures
    left = pl.col("symbol") == symbols[0]
    assert home.newest().filter(left)["session"].to_list() == list(days[:14])
    returns = home.table(RETURNS).filter(left)
    told = {name: returns.drop_nulls(name)["session"].max() for name in ("close_return", "held_return")}
    assert told == {"close_return": days[7], "held_return": days[13]}
    # It failed nowhere: nobody expects a bar of it after that.
    assert done.checks["symbols_failed"].passed
