"""Drills: each passes on a home that is well, says which claim failed where a defence is taken out, and leaves the home."""

import hashlib
import re
import select
import socket
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.bars.schema import MARKET_BARS, RETURNS
from gnn_assets.core.errors import DiskFull
from gnn_assets.core.plugins import load_plugin, plugin_names
from gnn_assets.defs.drills.bench import ABOUT, Claim, is_pass
from gnn_assets.defs.drills.command import CASES, drills, told_of
from gnn_assets.defs.drills.copied import copy_home
from gnn_assets.defs.drills.listener import Listener
from gnn_assets.defs.drills.market import market_until
from gnn_assets_tests.conftest import ROOT, Home
from gnn_assets_tests.defs.switching_home import platform_at

NAMES = plugin_names(CASES)
CHEAP = ("alert_channel_down", "model_file_corrupted")
PAGE = (ROOT / "docs" / "drills.md").read_text(encoding="utf-8")


# ---- every drill -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_drill_says_what_it_breaks_and_what_must_come_of_it(name):
    breaks, _, must = told_of(load_plugin(CASES, name)).partition("\n\n")
    assert breaks.endswith(".")
    assert "must" in must
    assert drills()[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_drill_is_run_on_a_bench_and_stands_in_the_docs(name):
    assert callable(load_plugin(CASES, name).run)
    assert f"| `{name}` |" in PAGE


def test_the_docs_name_no_drill_that_is_not_there():
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)) == set(NAMES)


def claims(*about: str, broken: int | None = None) -> list[Claim]:
    return [Claim(one, "it is so", holds=place != broken, seen="it") for place, one in enumerate(about)]


@given(st.lists(st.sampled_from(ABOUT), max_size=8), st.integers(0, 7))
def test_the_verdict_is_pass_only_if_every_claim_holds_and_none_of_the_four_is_left_out(about, broken):
    assert is_pass(claims(*about)) is (set(about) == set(ABOUT))
    if broken < len(about):
        assert not is_pass(claims(*about, broken=broken))


def test_a_channel_can_be_closed_and_opened_again_at_the_same_address():
    listener = Listener()
    address = listener.address
    listener.close()
    listener.open()
    assert listener.address == address
    listener.close()


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_lists_them_and_names_the_nearest_to_a_misspelt_one(tmp_path):
    home = Home.fresh(tmp_path / "home")
    assert [line.split()[0] for line in home.run("drill").stdout.splitlines()] == list(NAMES)
    done = home.run("drill", "disk_ful")
    assert done.returncode == 1
    assert "did you mean 'disk_full'?" in done.stderr


@pytest.mark.slow
def test_a_home_that_serves_nothing_is_told_what_to_run_first(tmp_path):
    done = Home.fresh(tmp_path / "home").run("drill", "disk_full")
    assert done.returncode == 1
    assert "expected a home that serves forecasts, was one without; run `gnn-assets demo` first" in done.stderr


def content_of(home: Home) -> dict[str, str]:
    """File of the home → hash of its bytes; the log says that a command was run, and is left out."""
    files = (path for path in home.path.rglob("*") if path.is_file() and "logs" not in path.parts)
    return {str(path.relative_to(home.path)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def drilled(home: Home, name: str, **environment: str) -> tuple[int, str]:
    done = home.run("drill", name, **environment)
    print(done.stdout)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def failed_claims(shown: str) -> list[str]:
    return re.findall(r"^ +FAIL (.*)$", shown, flags=re.MULTILINE)


def marked(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.slow if name in CHEAP else pytest.mark.drill)


@pytest.mark.parametrize("name", [marked(name) for name in NAMES])
def test_it_passes_and_leaves_the_home_as_it_was(demo_home, tmp_path, name):
    before = content_of(demo_home)
    code, shown = drilled(demo_home, name, TMPDIR=str(tmp_path))
    assert failed_claims(shown) == []
    assert code == 0
    assert re.search(r"^verdict +PASS$", shown, flags=re.MULTILINE)
    for about in ABOUT:
        assert re.search(rf"^{about} ", shown, flags=re.MULTILINE)
    assert content_of(demo_home) == before
    assert list(tmp_path.glob("gnn-assets-drill-*")) == []


@pytest.mark.slow
def test_a_copy_on_a_disk_that_goes_cannot_be_kept(demo_home):
    done = demo_home.run("drill", "disk_full", "--keep")
    assert done.returncode == 2
    assert "leave --keep out" in done.stderr


@pytest.mark.slow
def test_a_channel_of_the_home_is_told_nothing_and_a_copy_that_is_kept_can_be_opened(demo_home, tmp_path):
    """The home's settings hold for the copy, its channels do not."""
    listener, heartbeat = Listener(), socket.create_server(("127.0.0.1", 0))
    told = f'{{"ours": "{listener.address}"}}'
    routes = '{"critical": ["ours"], "warning": ["ours"], "info": ["ours"]}'
    own = {"GNN_ASSETS_ALERTS": told, "GNN_ASSETS_CONFIG__ALERTS__ROUTES": routes, "TMPDIR": str(tmp_path)}
    own["GNN_ASSETS_ALERTS_HEARTBEAT"] = f"http://127.0.0.1:{heartbeat.getsockname()[1]}/"
    done = demo_home.run("drill", "alert_channel_down", "--keep", **own)
    assert done.returncode == 0, done.stdout
    assert listener.heard == []
    assert select.select([heartbeat], [], [], 0)[0] == []  # nobody has connected
    heartbeat.close()
    listener.close()
    (copy,) = tmp_path.glob("gnn-assets-drill-*")
    assert f"The copy is kept in {copy}" in done.stdout
    opened = Home(copy).run("alerts", GNN_ASSETS_CONFIG_FILE=str(copy / "settings.yaml"))
    assert "taken by second" in opened.stdout


# ---- the copy and its market -----------------------------------------------------------------------------------------


def test_nothing_is_copied_where_there_is_no_room_for_it(tmp_path):
    home, folder = platform_at(tmp_path / "home"), tmp_path / "copy"
    folder.mkdir()
    home.data.mkdir(parents=True)
    with (home.data / "large").open("wb") as file:
        file.truncate(2**42)  # a file of holes: it has that size, and takes no room
    with pytest.raises(DiskFull, match=f"disk full: need {2**43} bytes"):
        copy_home(home, folder)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_the_market_goes_on_with_the_newest_returns_over_again(demo_home):
    home = platform_at(demo_home.path)
    market = market_until(home, home.calendar.available_at(date(2022, 12, 30)))
    assert market.days == (date(2022, 12, 29), date(2022, 12, 30))
    closes = market.bars.sort("session").with_columns(move=pl.col("close").log().diff().over("symbol"))
    returns = home.lake.read(RETURNS)
    for day, like in ((date(2022, 12, 29), date(2022, 12, 28)), (date(2022, 12, 30), date(2022, 12, 27))):
        made = closes.filter(pl.col("session") == day).join(
            returns.filter(pl.col("session") == like), on="symbol", how="inner"
        )
        assert made.height == 21
        np.testing.assert_allclose(made["move"], made["close_return"], rtol=0, atol=1e-12)
    stored = home.lake.read(MARKET_BARS).select("symbol", "session", "close").sort("symbol", "session")
    before = market.bars.filter(~pl.col("session").is_in(market.days)).select("symbol", "session", "close")
    assert before.sort("symbol", "session").equals(stored)


# ---- planted regressions ---------------------------------------------------------------------------------------------

_LENIENT_BARS = """
from dataclasses import replace
from gnn_assets.defs import bars_report
honest = bars_report.bars_checks

def lenient(*given, **named):
    return tuple(replace(check, severity="warn") for check in honest(*given, **named))

bars_report.bars_checks = lenient
"""
# What is taken out → how, the drill that must see it, and the claim that must fail.
REGRESSIONS = {
    "alerts are never entered": (
        "from gnn_assets.defs import alerting\nalerting.step = lambda *_given, **_named: []",
        "model_file_corrupted",
        "alert: people are told of critical, degraded forecasts",
    ),
    "alerts are never sent": (
        "from gnn_assets.monitoring.outbox import Outbox\nOutbox.due = lambda *_given, **_named: []",
        "alert_channel_down",
        "alert: the alert arrives by the second channel",
    ),
    "nobody stands in": (
        "from gnn_assets.defs import forecasts\nforecasts.best_baseline = lambda *_given: None",
        "model_file_corrupted",
        "served meanwhile: sound forecasts of the same session are served and say who made them",
    ),
    "the gate asks nothing of the newest scores": (
        "from gnn_assets.registry import promotion\npromotion._newest_checks = lambda *_given, **_named: ()",
        "poisoned_day",
        "detected: the gate refuses the challenger by a hard check",
    ),
    "no check of the bars blocks": (
        _LENIENT_BARS,
        "poisoned_day",
        "detected: the day is refused at market_bars, by its checks, and no bar of it is stored",
    ),
}


@pytest.mark.drill
@pytest.mark.parametrize("regression", REGRESSIONS)
def test_a_defence_that_is_taken_out_is_missed(demo_home, tmp_path, regression):
    """Every process that finds this folder takes it out as it starts, and runs the same command."""
    patch, name, claim = REGRESSIONS[regression]
    (tmp_path / "sitecustomize.py").write_text(f"{patch}\n", encoding="utf-8")
    code, shown = drilled(demo_home, name, PYTHONPATH=str(tmp_path))
    assert code == 1
    assert re.search(r"^verdict +FAIL$", shown, flags=re.MULTILINE)
    assert claim in failed_claims(shown)
