"""Some symbols fail everywhere: the others go on, the failed keep their last good bars, and one number decides."""

from contextlib import contextmanager

import polars as pl
import pytest

from gnn_assets.bars.schema import BARS_ASKED, MARKET_BARS, RETURNS, SYMBOL_STATUS
from gnn_assets_tests.bars.vendors.faults import Reply
from gnn_assets_tests.bars.vendors.massive_server import AGGS, DIVIDENDS, GROUPED, SPLITS
from gnn_assets_tests.bars.vendors.yahoo_server import CHART, chart
from gnn_assets_tests.defs.market_home import MarketHome, names, sessions, tell, traded, vendors, without

pytestmark = pytest.mark.slow

*_, YESTERDAY, TODAY = DAYS = sessions(16)
LOST = ("S007", "S123", "S499")


def failing(symbols: list[str]) -> dict[str, str]:
    """Why each symbol failed in this test's world, as the end of its reason says it."""
    return dict(zip(LOST, ("was 'Not Found'", "was none", "was HTTP 500"), strict=True))


def lose(servers, bars: pl.DataFrame) -> None:
    """Three symbols that neither vendor gives any more, each for a reason of its own."""
    for server in servers.values():
        tell(server, without(bars, *LOST))
    servers["yahoo"].always(CHART + LOST[1], Reply(chart()))
    servers["yahoo"].always(CHART + LOST[2], Reply(status=500))


@contextmanager
def three_lost(path, symbols):
    """Symbols stored to yesterday; today three of them fail everywhere."""
    bars = traded(symbols, DAYS)
    with vendors(bars, "massive", "yahoo") as servers:
        home = MarketHome(path, symbols, servers)
        assert home.update(YESTERDAY).success
        lose(servers, bars)
        yield home, servers, bars


@pytest.fixture
def five_hundred(tmp_path):
    with three_lost(tmp_path / "home", names(500)) as lost:
        yield lost


@pytest.fixture
def thirty(tmp_path):
    with three_lost(tmp_path / "home", [name for name in names(28) if name not in LOST] + list(LOST)) as lost:
        yield lost


def heal(servers, bars: pl.DataFrame) -> None:
    for server in servers.values():
        tell(server, bars)
        server.heal()
        server.asked.clear()


def test_three_of_500_fail_and_497_have_the_new_session(five_hundred):
    home, _, bars = five_hundred
    before = home.newest().filter(pl.col("symbol").is_in(LOST))

    done = home.update(TODAY)

    assert done.success, done.failures
    newest = home.newest()
    today = newest.filter(pl.col("session") == TODAY)
    assert today.height == 497
    assert not set(today["symbol"]) & set(LOST)
    # Kept as they were, and nothing invented for anybody.
    assert newest.filter(pl.col("symbol").is_in(LOST)).equals(before)
    assert newest.join(bars, on=["symbol", "session", "close"], how="anti").is_empty()
    # Named with their reasons, wherever one looks.
    status = home.table(SYMBOL_STATUS).filter(pl.col("stage") == "market_bars", pl.col("session") == TODAY)
    failed = dict(status.filter(pl.col("state") == "FAILED").select("symbol", "reason").iter_rows())
    assert set(failed) == set(LOST)
    assert status.filter(pl.col("state") == "SUCCESS").height == 497
    for symbol, why in failing(home.symbols).items():
        assert "massive" in failed[symbol]
        assert why in failed[symbol]
        assert "its last good bars are kept" in failed[symbol]
    assert home.dead_letters() == failed
    check = done.checks["symbols_failed"]
    assert (check.passed, check.severity.value, check.metadata["value"].value) == (False, "WARN", 3)
    assert all(symbol in done.offenders("symbols_failed") for symbol in LOST)
    assert done.checks["symbols_complete"].passed
    assert done.metadata["failed_symbols"] == 3
    (event,) = home.events("symbols_failed")
    assert event["symbols"] == failed


def test_the_same_failure_again_is_no_second_event_and_a_healed_retry_asks_for_three_alone(five_hundred):
    home, servers, bars = five_hundred
    home.update(TODAY)
    reasons = home.dead_letters()

    again = home.update(TODAY)
    assert again.success
    assert len(home.events("symbols_failed")) == 1
    assert home.dead_letters() == reasons

    heal(servers, bars)
    retried = home.command(TODAY, "retry")
    assert retried.returncode == 0, retried.stdout + retried.stderr
    asked = servers["massive"].asked
    assert {one.path.removeprefix(AGGS).split("/")[0] for one in asked if one.path.startswith(AGGS)} == set(LOST)
    # One question for bars, one for splits and one for dividends each, and nobody else is asked anything.
    assert len(asked) == 9
    assert not [one for one in asked if one.path.startswith(GROUPED)]
    assert {one.query["ticker"] for one in asked if one.path in {SPLITS, DIVIDENDS}} == set(LOST)
    assert servers["yahoo"].asked == []
    assert home.dead_letters() == {}
    assert home.newest().filter(pl.col("session") == TODAY).height == 500
    assert len(home.events("symbols_failed")) == 1


def test_the_job_of_the_ui_asks_for_the_failed_symbols_alone(thirty):
    home, servers, bars = thirty
    home.update(TODAY)
    heal(servers, bars)

    done = home.update(TODAY, job="retry_failed_symbols")

    assert done.success
    assert len(servers["massive"].asked) == 9
    assert servers["yahoo"].asked == []
    assert home.dead_letters() == {}
    assert home.newest().filter(pl.col("session") == TODAY).height == 30


def test_a_symbol_that_is_not_asked_for_keeps_the_reason_it_failed_for(thirty):
    home, servers, bars = thirty
    home.update(TODAY)
    reasons = home.dead_letters()

    for _ in range(2):
        assert home.update(TODAY, symbols=["S000"]).success

    assert home.dead_letters() == reasons
    assert len(home.events("symbols_failed")) == 1
    # One heals alone; the others stay as they were.
    heal(servers, bars)
    assert home.update(TODAY, symbols=[LOST[0]]).success
    assert home.dead_letters() == {symbol: reasons[symbol] for symbol in LOST[1:]}


@pytest.mark.parametrize(("usable", "published"), [(79, False), (80, True), (81, True)])
def test_below_80_of_100_symbols_nothing_new_is_published(tmp_path, usable, published):
    symbols = names(100)
    bars = traded(symbols, DAYS)
    with vendors(bars, "alpaca") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers)
        assert home.update(YESTERDAY).success
        before, asked_before = home.table(MARKET_BARS), home.table(BARS_ASKED)
        lost = symbols[usable:]
        tell(servers["alpaca"], without(bars, *lost))

        done = home.update(TODAY)

        check = done.checks["symbols_complete"]
        assert check.metadata["value"].value == usable / 100
        assert check.passed == done.success == published
        new = home.newest().filter(pl.col("session") == TODAY)
        assert new.height == (usable if published else 0)
        if published:
            assert done.failures == {}
            return
        # The last good bars stay, and it is said why.
        assert home.table(MARKET_BARS).equals(before)
        assert home.table(BARS_ASKED).equals(asked_before)
        assert list(done.failures) == ["market_bars"]
        assert done.failures["market_bars"].startswith("market_bars: not published, the last good version stays.")
        assert "symbols_complete" in done.failures["market_bars"]
        assert "\n" not in done.failures["market_bars"]
        (event,) = home.events("stage_refused")
        assert event["asset"] == "market_bars"
        # What was answered is kept: the next run asks for the others alone, and publishes all.
        tell(servers["alpaca"], bars)
        servers["alpaca"].asked.clear()
        assert home.update(TODAY).success
        assert {one.query["symbols"] for one in servers["alpaca"].asked} == {",".join(lost)}
        assert home.newest().filter(pl.col("session") == TODAY).height == 100


def test_bars_that_were_late_are_asked_for_again_after_a_refused_run(tmp_path):
    symbols = names(100)
    bars = traded(symbols, DAYS)
    with vendors(bars, "alpaca") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers)
        assert home.update(YESTERDAY).success
        # The vendor knows the symbols, but has no bar of today for 21 of them yet.
        tell(servers["alpaca"], bars.filter((pl.col("session") < TODAY) | ~pl.col("symbol").is_in(symbols[79:])))
        assert not home.update(TODAY).success
        assert home.newest().filter(pl.col("session") == TODAY).is_empty()

        tell(servers["alpaca"], bars)
        assert home.update(TODAY).success
        assert home.newest().filter(pl.col("session") == TODAY).height == 100


def test_a_failure_later_on_the_same_day_takes_no_return_away(tmp_path):
    symbols = names(20)
    bars = traded(symbols, DAYS)
    with vendors(bars, "alpaca") as servers:
        home = MarketHome(tmp_path / "home", symbols, servers)
        assert home.update(YESTERDAY).success
        before = home.table(RETURNS)
        tell(servers["alpaca"], without(bars, "S007"))

        assert home.update(YESTERDAY).success

        assert list(home.dead_letters()) == ["S007"]
        assert home.table(RETURNS).equals(before)
