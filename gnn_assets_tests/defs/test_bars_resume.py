"""A backfill that is killed goes on where it stood, whenever that was: nothing is lost and nothing is asked twice."""

import random
import re
import signal
import subprocess
import time
from collections import Counter

import polars as pl
import pytest

from gnn_assets.bars.schema import BARS_ASKED, MARKET_BARS, QUARANTINE
from gnn_assets_tests.bars.vendors.yahoo_server import CHART
from gnn_assets_tests.conftest import COMMAND
from gnn_assets_tests.defs.market_home import MarketHome, names, sessions, traded, vendors

pytestmark = pytest.mark.slow

SYMBOLS = names(40)
DAYS = sessions(30)
# The home begins with the newest six sessions; the backfill is what lies before them.
RECENT, LAST = DAYS[-6], DAYS[-7]


def kill_at(process: subprocess.Popen[str], *, reached, after: float) -> bool:
    """Kills a process so many seconds after a condition holds; False if it ended by itself before."""
    while process.poll() is None:
        if reached():
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def backfill_with_kills(home: MarketHome, server, moments: list[tuple[int, float]]) -> int:
    """Starts the same backfill again and again; kills it after so many requests in all and so many seconds more.

    Returns:
        How often it was killed.
    """
    command = [COMMAND, "backfill", "--from", str(DAYS[0]), "--to", str(LAST)]
    kills = 0
    for requests, after in moments:
        process = subprocess.Popen(
            command,
            cwd=home.path,
            env=home.environment(DAYS[-1]),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        kills += kill_at(process, reached=lambda: len(server.asked) >= requests, after=after)  # noqa: B023
    done = home.command(DAYS[-1], *[str(part) for part in command[1:]])
    assert done.returncode == 0, done.stdout + done.stderr
    return kills


def moments_of(seed: int, kills: int) -> list[tuple[int, float]]:
    """Kills while it asks, at random, and the last one while it judges or stores."""
    rng = random.Random(seed)
    counts = sorted(rng.sample(range(1, len(SYMBOLS)), kills - 1))
    return [*((count, rng.uniform(0, 0.02)) for count in counts), (len(SYMBOLS), rng.uniform(0.05, 0.8))]


@pytest.mark.parametrize(
    ("seed", "kills"), [(3, 2), *(pytest.param(seed, 5, marks=pytest.mark.drill) for seed in range(10, 20))]
)
def test_a_backfill_that_is_killed_asks_nothing_twice_but_what_was_in_flight(tmp_path, seed, kills):
    bars = traded(SYMBOLS, DAYS)
    with vendors(bars, "yahoo") as servers:
        server = servers["yahoo"]
        home = MarketHome(tmp_path / "home", SYMBOLS, servers, settings={"bars": {"from_session": RECENT}})
        started = home.update(DAYS[-1])
        assert started.success
        assert home.table(MARKET_BARS).height == len(SYMBOLS) * 6
        server.asked.clear()

        killed = backfill_with_kills(home, server, moments_of(seed, kills))

        assert killed >= kills - 1
        stored = home.table(MARKET_BARS)
        assert stored.select(bars.columns).sort("symbol", "session").equals(bars.sort("symbol", "session"))
        assert stored["rev"].unique().to_list() == [0]
        assert home.table(QUARANTINE).is_empty()
        # Each symbol once, and once more for each kill that struck while an answer was on its way.
        asked = Counter(server.targets)
        assert {target.removeprefix(CHART).split("?")[0] for target in asked} == set(SYMBOLS)
        assert len(asked) == len(SYMBOLS)
        assert sum(asked.values()) <= len(SYMBOLS) + killed
        ranges = home.table(BARS_ASKED)
        assert ranges.select(pl.col("first").unique(), pl.col("last").unique()).rows() == [(DAYS[0], DAYS[-1])]
        assert list((home.path / "data" / "landing").glob("*.landing")) == []
        # Done is done: the same command asks nobody.
        server.asked.clear()
        assert home.update(DAYS[-1], first=str(DAYS[0]), last=str(LAST)).success
        assert server.asked == []


def test_progress_carries_a_rate_and_an_end_estimate(tmp_path):
    bars = traded(SYMBOLS, DAYS)
    with vendors(bars, "yahoo") as servers:
        home = MarketHome(tmp_path / "home", SYMBOLS, servers)
        told = home.update(DAYS[-1], only=["universe", "market_bars"]).progress
    by_symbol = [text for text in told if " of 40 symbols" in text]
    assert [int(text.split()[0]) for text in by_symbol] == list(range(1, 41))
    pattern = r"\d+ of 40 symbols, \d+\.\d a second, \d+ (s|min) left, from yahoo"
    assert all(re.fullmatch(pattern, text) for text in by_symbol[:-1]), by_symbol
    assert re.fullmatch(r"40 of 40 symbols, \d+\.\d a second, from yahoo", by_symbol[-1])
