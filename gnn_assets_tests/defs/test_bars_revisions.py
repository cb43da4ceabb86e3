"""History that a vendor changes, and days on which it is wrong as a whole: every revision kept, nothing reached back."""

from datetime import timedelta

import polars as pl
import pytest

from gnn_assets.bars.fetched import PRICES
from gnn_assets.bars.revisions import latest
from gnn_assets.bars.schema import MARKET_BARS, RETURNS
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets_tests.bars.vendors.massive_server import AGGS
from gnn_assets_tests.bars.vendors.yahoo_server import CHART
from gnn_assets_tests.defs.market_home import (
    MarketHome,
    altered,
    calendar,
    multiplied,
    names,
    sessions,
    tell,
    traded,
    vendors,
)

pytestmark = pytest.mark.slow

*_, YESTERDAY, TODAY = DAYS = sessions(25)
CHANGED = DAYS[-5]
BAR = pl.col("session") == CHANGED


def publish_forecasts(home: MarketHome, *days) -> None:
    """Forecasts of some sessions, as if they had been served."""
    empty = pl.DataFrame(schema=dict(FORECASTS.columns))
    rows = pl.DataFrame({"session": days, "symbol": ["S000"] * len(days), "horizon": [5] * len(days)})
    rows = pl.concat([empty, rows.cast({"horizon": pl.Int16})], how="diagonal_relaxed")
    home.platform(YESTERDAY).lake.publish(FORECASTS, rows, lineage=None, data_end=days[-1])


def closes(home: MarketHome, *, as_of=None) -> pl.DataFrame:
    """Closes as they were known at a moment."""
    rows = home.platform(TODAY).lake.read(MARKET_BARS, as_of=as_of)
    return latest(rows).select("symbol", "session", "source", "close").sort("symbol", "session", "source")


def test_a_corrected_bar_is_a_revision_that_no_earlier_moment_knows(tmp_path):
    symbols = names(100)
    bars = traded(symbols, DAYS)
    corrected = altered(bars, BAR & (pl.col("symbol") == "S042"), close=pl.col("close") + 0.11)
    with vendors(bars, "massive") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers)
        home.update(YESTERDAY)
        told_before = closes(home)
        publish_forecasts(home, DAYS[0], DAYS[-6], CHANGED, YESTERDAY)
        tell(servers["massive"], corrected)

        done = home.update(TODAY)

        assert done.success, done.failures
        rows = home.table(MARKET_BARS).filter(pl.col("symbol") == "S042", BAR)
        assert rows["rev"].to_list() == [0, 1]
        assert home.table(MARKET_BARS).filter(pl.col("rev") > 0).height == 1
        assert rows["close"][1] == pytest.approx(rows["close"][0] + 0.11)
        # As of any moment before the fetch nothing has changed; from the fetch on it has.
        fetched = rows["fetched_at"][1]
        assert rows["known_at"][1] == fetched == calendar().available_at(TODAY)
        assert closes(home, as_of=fetched - timedelta(microseconds=1)).equals(told_before)
        now = closes(home, as_of=fetched)
        assert now.filter(BAR, pl.col("symbol") == "S042")["close"].item() == rows["close"][1]
        assert now.equals(closes(home))
        # Said as an event and by a check, with the forecasts whose inputs it was.
        (event,) = home.events("bars_revised")
        assert event["symbols"] == [["S042", "massive", "corrected", 1]]
        touched = [f"every forecast of {day}" for day in (CHANGED, YESTERDAY)]
        assert event["forecasts_touched"] == touched
        check = done.checks["revisions"]
        assert (check.passed, check.metadata["value"].value) == (True, 0.01)
        assert f"S042 massive: corrected, 1 bars {CHANGED} to {CHANGED}" in done.offenders("revisions")
        assert all(name in done.offenders("revisions") for name in touched)
        assert str(DAYS[-6]) not in done.offenders("revisions")
        assert done.metadata["revised_bars"] == 1
        # Told again unchanged, it is no revision.
        again = home.update(TODAY)
        assert again.metadata["rows_added"] == 0
        assert len(home.events("bars_revised")) == 1


def test_a_split_moves_the_whole_history_to_another_basis_and_no_return_changes(tmp_path):
    symbols = names(3)
    # Cents that halve evenly, so that the basis is the only thing that changes.
    bars = multiplied(traded(symbols, DAYS), 2.0, pl.lit(True))
    halved = multiplied(bars, 0.5, pl.col("symbol") == "S001")
    with vendors(bars, "yahoo") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers)
        home.update(YESTERDAY)
        stored, returns = closes(home), home.table(RETURNS)
        tell(servers["yahoo"], halved)
        servers["yahoo"].asked.clear()

        done = home.update(TODAY)

        assert done.success, done.failures
        # Once for the overlap and once for all of it, for that symbol alone.
        paths = [one.path.removeprefix(CHART) for one in servers["yahoo"].asked]
        assert sorted(paths) == ["S000", "S001", "S001", "S002"]
        (event,) = home.events("bars_revised")
        assert event["symbols"] == [["S001", "yahoo", "rebased", len(DAYS) - 1]]
        assert done.checks["revisions"].passed
        assert "S001 yahoo: rebased by 0.5" in done.offenders("revisions")
        newest = home.newest()
        assert (
            newest.filter(pl.col("symbol") == "S001")
            .select("session", *PRICES)
            .equals(halved.filter(pl.col("symbol") == "S001").select("session", *PRICES))
        )
        assert newest.filter(pl.col("flags") != "").is_empty()
        assert done.metadata["quarantined_rows"] == 0
        after = home.table(RETURNS)
        assert after.filter(pl.col("session") < TODAY).equals(returns)
        assert after.filter(pl.col("session") == TODAY).height == 3
        # Yesterday's view is what it was.
        yesterday = calendar().available_at(YESTERDAY)
        assert closes(home, as_of=yesterday).equals(stored)


def test_more_than_one_in_a_hundred_corrected_is_refused_until_a_person_accepts_it(tmp_path):
    symbols = names(100)
    bars = traded(symbols, DAYS)
    with vendors(bars, "massive") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers)
        home.update(YESTERDAY)
        before = home.table(MARKET_BARS)
        tell(
            servers["massive"],
            altered(bars, BAR & pl.col("symbol").is_in(["S010", "S020", "S030"]), close=pl.col("close") + 0.11),
        )

        for _ in range(2):
            refused = home.update(TODAY)
            assert not refused.success
            check = refused.checks["revisions"]
            assert (check.passed, check.metadata["value"].value) == (False, 0.03)
            assert "revisions" in refused.failures["market_bars"]
            assert home.table(MARKET_BARS).equals(before)

        accepted = home.command(TODAY, "update", "--accept-revisions")
        assert accepted.returncode == 0, accepted.stdout + accepted.stderr
        revised = home.table(MARKET_BARS).filter(pl.col("rev") > 0)
        assert revised.select("symbol", "session").rows() == [("S010", CHANGED), ("S020", CHANGED), ("S030", CHANGED)]
        assert home.newest().filter(pl.col("session") == TODAY).height == 100


def test_refused_corrections_that_the_vendor_takes_back_need_nobody(tmp_path):
    symbols = names(50)
    bars = traded(symbols, DAYS)
    with vendors(bars, "massive") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers)
        home.update(YESTERDAY)
        tell(servers["massive"], altered(bars, BAR, close=pl.col("close") + 0.11))
        assert not home.update(TODAY).success

        tell(servers["massive"], bars)
        assert home.update(TODAY).success
        assert home.table(MARKET_BARS).filter(pl.col("rev") > 0).is_empty()
        assert home.newest().filter(pl.col("session") == TODAY).height == 50


@pytest.mark.parametrize(("broken", "refused_whole"), [(5, False), (6, True)])
def test_a_session_on_which_over_5_percent_of_symbols_break_a_rule_is_refused_whole(tmp_path, broken, refused_whole):
    symbols = names(100)
    bars = traded(symbols, DAYS)
    wrong = (pl.col("session") == TODAY) & pl.col("symbol").is_in(symbols[:broken])
    with vendors(bars, "massive") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers)
        home.update(YESTERDAY)
        before = home.table(MARKET_BARS)
        tell(servers["massive"], altered(bars, wrong, close=-1.0))

        done = home.update(TODAY)

        assert done.checks["bad_sessions"].passed == done.success == (not refused_whole)
        today = home.newest().filter(pl.col("session") == TODAY)
        assert today.height == (0 if refused_whole else 95)
        data_end = {row["asset"]: row["data_end"] for row in home.status()["assets"]}["market_bars"]
        assert data_end == str(YESTERDAY if refused_whole else TODAY)
        if refused_whole:
            assert f"{TODAY} massive bad_session_close_not_positive" in done.offenders("bad_sessions")
            assert home.table(MARKET_BARS).equals(before)
        # The vendor corrects its answer on the same day, and nobody has to do anything but ask again.
        tell(servers["massive"], bars)
        healed = home.update(TODAY)
        assert healed.success, healed.failures
        assert healed.checks["bad_sessions"].passed
        assert home.newest().filter(pl.col("session") == TODAY).height == 100
        assert {row["asset"]: row["data_end"] for row in home.status()["assets"]}["market_bars"] == str(TODAY)


def test_a_bad_session_in_the_past_leaves_the_others_alone_and_heals(tmp_path):
    symbols = names(60)
    bars = traded(symbols, DAYS)
    with vendors(bars, "massive") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers)
        tell(servers["massive"], altered(bars, BAR & pl.col("symbol").is_in(symbols[:10]), close=-1.0))
        done = home.update(YESTERDAY)
        assert done.success, done.failures
        check = done.checks["bad_sessions"]
        assert (check.passed, check.severity.value) == (False, "WARN")
        assert home.newest().filter(BAR).is_empty()
        assert home.newest().filter(~BAR).height == 60 * (len(DAYS) - 2)

        tell(servers["massive"], bars)
        assert home.update(TODAY).success
        healed = home.newest().filter(BAR)
        assert healed.height == 60
        assert healed["rev"].unique().to_list() == [0]
        assert not [one for one in servers["massive"].asked if one.path.startswith(AGGS)]
