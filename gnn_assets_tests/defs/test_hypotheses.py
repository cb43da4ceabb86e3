"""A batch on the demo's backtest: what the ledger, the lake and the page hold of it, and when."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from gnn_assets.backtests.schema import BACKTEST_SCORES, HYPOTHESES
from gnn_assets.cli import app
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError, DataError
from gnn_assets.core.settings import Settings
from gnn_assets.defs import hypotheses
from gnn_assets.defs.hypotheses import run_hypotheses
from gnn_assets.defs.resources import Platform

pytestmark = pytest.mark.slow

BATCH = """
name: small
groups:
  - models: [blend]
    strategies: [top_k, long_short]
    grid: {held: [4, 8]}
  - strategies: [momentum]
"""


def platform_at(home, **changes):
    return Platform(settings=Settings(profile="test", home=home.path), config=build_config("test", changes))


@pytest.fixture
def batch(tmp_path) -> Path:
    file = tmp_path / "batch.yaml"
    file.write_text(BATCH, encoding="utf-8")
    return file


def test_the_flow_registers_its_thresholds_and_counts_trainings_and_backtests(demo_home):
    platform = platform_at(demo_home)
    kinds = [trial["trial"] for trial in platform.ledger.read("trials")]
    assert kinds.count("training") == kinds.count("backtest") == 6
    events = [event["event"] for event in platform.ledger.read("events")]
    assert events.count("thresholds") == 1
    assert events.index("thresholds") < events.index("promoted")


def test_a_batch_is_registered_counted_judged_and_kept_and_the_second_time_counts_nothing(home_copy, batch, tmp_path):
    platform = platform_at(home_copy)
    before = platform.ledger.read("trials")
    page = tmp_path / "page.md"
    first = run_hypotheses(platform, batch, report=page)
    counted = platform.ledger.read("trials")[len(before) :]
    # The candidate's own portfolio was counted when it was backtested.
    assert [(trial["trial"], trial["model"], trial["strategy"]) for trial in counted] == [
        ("hypothesis", "blend", "top_k"),
        ("hypothesis", "blend", "long_short"),
        ("hypothesis", "blend", "long_short"),
        ("hypothesis", "", "momentum"),
    ]
    (event,) = [event for event in platform.ledger.read("events") if event["event"] == "hypotheses"]
    assert len(event["hypotheses"]) == 5
    rows = platform.lake.read(HYPOTHESES)
    assert rows["hypothesis"].to_list() == sorted(event["hypotheses"])
    assert rows["thresholds"].unique().to_list() == [event["thresholds"]]
    assert page.read_text(encoding="utf-8") == first.page
    trials, events = (platform.ledger.read(kind) for kind in ("trials", "events"))
    again = run_hypotheses(platform_at(home_copy), batch, report=None)
    assert again.page == first.page
    assert (platform.ledger.read("trials"), platform.ledger.read("events")) == (trials, events)
    assert platform.lake.read(HYPOTHESES).equals(rows)


def test_the_candidate_s_own_portfolio_earns_what_the_backtest_says(home_copy, batch):
    platform = platform_at(home_copy)
    found = {one.hypothesis.name: one.evidence for one in run_hypotheses(platform, batch, report=None).report.judged}
    told = platform.lake.read(BACKTEST_SCORES).filter(pl.col("model") == "blend", pl.col("fold") == -1)
    values = dict(told.select("metric", "value").iter_rows())
    own = found["blend top_k (held 4)"]
    assert own.sharpe == pytest.approx(values["sharpe_net"], rel=1e-9)
    assert own.ic == pytest.approx(values["ic"], rel=1e-9)
    assert own.sharpe - own.benchmark == pytest.approx(values["sharpe_net_minus_equal_weight"], rel=1e-9)


def test_nothing_is_traded_before_it_is_in_the_ledger(home_copy, batch, monkeypatch):
    platform = platform_at(home_copy)
    before = len(platform.ledger.read("trials"))

    def killed(*_arguments, **_settings):
        raise DataError("killed")

    monkeypatch.setattr(hypotheses, "trade", killed)
    with pytest.raises(DataError, match="killed"):
        run_hypotheses(platform, batch, report=None)
    assert len(platform.ledger.read("trials")) == before + 4
    assert platform.ledger.read("events")[-1]["event"] == "hypotheses"
    assert platform.lake.manifest(HYPOTHESES) is None


def test_a_changed_threshold_is_an_event_and_stands_on_the_page(home_copy, batch):
    changed = platform_at(home_copy, verdict={"scale_sharpe": 1.2})
    told = run_hypotheses(changed, batch, report=None)
    assert "thresholds changed on 2022-12-28: scale_sharpe 1.5 -> 1.2" in told.page
    assert {judged.verdict.changes for judged in told.report.judged} == {
        ("thresholds changed on 2022-12-28: scale_sharpe 1.5 -> 1.2",)
    }


def test_a_strategy_that_needs_what_the_bars_have_not_is_refused_by_name(home_copy, batch):
    batch.write_text(BATCH.replace("momentum", "vwap"), encoding="utf-8")
    with pytest.raises(DataError, match=r"strategy vwap: expected .*volume"):
        run_hypotheses(platform_at(home_copy), batch, report=None)
    assert "hypothesis" not in {trial["trial"] for trial in platform_at(home_copy).ledger.read("trials")}


def test_a_batch_that_rebalances_too_seldom_to_sell_who_left_is_refused_by_name(home_copy, batch):
    batch.write_text(BATCH.replace("held: [4, 8]", "rebalance_sessions: [5, 126]"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rebalance_sessions 126\): expected a rebalance within 63 sessions"):
        run_hypotheses(platform_at(home_copy), batch, report=None)
    assert "hypothesis" not in {trial["trial"] for trial in platform_at(home_copy).ledger.read("trials")}


def test_a_file_that_is_not_there_is_told(demo_home, tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: expected a readable YAML file"):
        run_hypotheses(platform_at(demo_home), tmp_path / "none.yaml", report=None)


def test_the_command_prints_every_hypothesis(home_copy, batch, monkeypatch, tmp_path):
    for name, value in home_copy.environment().items():
        monkeypatch.setenv(name, value)
    page = tmp_path / "page.md"
    done = CliRunner().invoke(app, ["hypotheses", "run", str(batch), "--report", str(page)])
    assert done.exit_code == 0, done.output
    assert "long_short" in done.output
    assert "momentum" in done.output
    assert page.read_text(encoding="utf-8").startswith("# Hypotheses: small\n")
