"""The whole flow as its users meet it: the real command, in its own folder, on real prices."""

import json
import subprocess
from datetime import date

import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.core.settings import Settings
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.tables import TABLES
from gnn_assets_tests.conftest import Home

pytestmark = pytest.mark.slow

ASSETS = tuple(build_config("test").ages)


def platform_of(home: Home) -> Platform:
    return Platform(settings=Settings(profile="test", home=home.path), config=build_config("test"))


def table(home: Home, name: str) -> pl.DataFrame:
    return platform_of(home).lake.read(TABLES[name])


def versions(home: Home) -> dict[str, str]:
    platform = platform_of(home)
    return {name: platform.versions(name).current().version for name in ASSETS}


def sentence_of(result: subprocess.CompletedProcess[str]) -> str:
    """What a failed command said: one sentence, no traceback."""
    assert result.returncode != 0, result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    return result.stderr.strip() or result.stdout.strip()


def test_the_demo_ends_with_a_summary_a_person_can_read(demo_home):
    shown = (demo_home.path / "demo.txt").read_text(encoding="utf-8")
    for expected in (
        "16 assets computed, 0 reused",
        "20 stocks, chosen with hindsight",
        "density",
        "by rule bootstrap",
        "smallest detectable IC",
        "forecasts at 2022-12-28",
        "where next",
        "not advice",
    ):
        assert expected in shown
    for model in ("blend", "blend_no_graph", "blend_shuffled", "ridge", "reversal", "equal_weight"):
        assert model in shown


def test_every_table_holds_what_its_name_promises(demo_home):
    bars = table(demo_home, "market_bars")
    assert bars["symbol"].n_unique() == 21
    assert bars.select("open", "high", "low", "volume").null_count().row(0) == (bars.height,) * 4
    assert bars["rev"].unique().to_list() == [0]
    graphs = table(demo_home, "correlation_graphs")
    assert graphs.group_by("session", "src").len()["len"].max() == 5
    predictions = table(demo_home, "oos_predictions")
    assert (predictions["training_end"] < predictions["session"]).all()
    forecasts = table(demo_home, "forecasts")
    assert forecasts["session"].n_unique() == 21
    newest = forecasts.filter(pl.col("session") == date(2022, 12, 28))
    assert newest.height == 20
    assert newest["target_start"].unique().to_list() == [date(2022, 12, 29)]
    assert newest["target_end"].unique().to_list() == [date(2023, 1, 6)]
    assert newest["served_by"].unique().to_list() == ["blend/refit"]
    assert sorted(newest["rank"]) == list(range(1, 21))


def test_every_stage_says_how_each_symbol_fared(demo_home):
    status = table(demo_home, "symbol_status")
    stages = status.group_by("stage").agg(pl.col("state").unique()).sort("stage")
    assert stages["stage"].to_list() == [
        "correlation_graphs",
        "forecasts",
        "gnn_weights",
        "market_bars",
        "oos_predictions",
        "returns",
    ]
    core = status.filter(pl.col("symbol") != "^GSPC")
    assert core.group_by("stage").len()["len"].to_list() == [20] * 6
    assert core["state"].unique().to_list() == ["SUCCESS"]


def test_a_second_demo_computes_nothing_and_says_so(home_copy):
    before = versions(home_copy)
    second = home_copy.run("demo")
    assert second.returncode == 0, second.stdout
    assert "nothing computed: all 16 assets reused" in second.stdout
    assert versions(home_copy) == before


def test_two_fresh_processes_agree_on_every_version(demo_home, tmp_path):
    other = Home.fresh(tmp_path / "other")
    assert other.run("demo").returncode == 0
    assert versions(other) == versions(demo_home)


def test_status_names_age_limit_version_and_champion(demo_home):
    report = json.loads(demo_home.run("status", "--json").stdout)
    assert report["clock"] == "static snapshot to 2022-12-28"
    rows = {row["asset"]: row for row in report["assets"]}
    assert set(rows) == set(ASSETS)
    assert {row["state"] for row in rows.values()} == {"fresh"}
    assert {row["age_hours"] for row in rows.values()} == {0.0}
    assert rows["correlation_graphs"]["data_end"] == "2022-12-28"
    assert report["champion"]["version"] == rows["gnn_weights"]["version"]
    assert "champion" in demo_home.run("status").stdout


def test_a_live_clock_finds_the_snapshot_stale(demo_home):
    report = json.loads(demo_home.run("status", "--json", GNN_ASSETS_PROFILE="live").stdout)
    rows = {row["asset"]: row for row in report["assets"]}
    assert rows["correlation_graphs"]["state"] == "stale"
    assert rows["correlation_graphs"]["age_hours"] > 24 * 365


def test_every_published_session_verifies_bit_for_bit(demo_home):
    sessions = table(demo_home, "forecasts")["session"].unique().sort().to_list()
    assert len(sessions) == 21
    script = (
        "from datetime import date\nfrom gnn_assets import verify\n"
        f"print(sum(verify(date.fromisoformat(s)).matches for s in {[str(s) for s in sessions]}))"
    )
    import sys

    result = subprocess.run(
        [sys.executable, "-c", script], env=demo_home.environment(), capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "21", result.stderr


def test_verify_answers_in_a_sentence(demo_home):
    result = demo_home.run("verify", "--session", "2022-12-15")
    assert result.stdout.strip() == "2022-12-15: 20 forecasts recomputed from their card, every bit equal"
    said = sentence_of(demo_home.run("verify", "--session", "2015-01-05"))
    assert said == (
        "gnn-assets: forecasts: expected a session from 2022-11-29 to 2022-12-28, was 2015-01-05; "
        "name a published session."
    )


def test_verify_notices_a_forecast_that_is_not_its_cards(home_copy):
    platform = platform_of(home_copy)
    forged = table(home_copy, "forecasts").with_columns(expected_return=pl.col("expected_return") + 1e-9)
    platform.lake.publish(TABLES["forecasts"], forged, lineage=None, data_end=date(2022, 12, 28))
    said = sentence_of(home_copy.run("verify", "--session", "2022-12-15"))
    assert "the stored forecasts are not those their card was made for" in said


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            {"GNN_ASSETS_CONFIG__GRAPHS__WINDW": "60"},
            "graphs.windw: no such setting (value 60); did you mean 'window'?",
        ),
        ({"GNN_ASSETS_CONFIG__GRAPHS__K": "0"}, "graphs.k: Input should be greater than or equal to 1, was 0"),
        ({"GNN_ASSETS_PROFILE": "sampel"}, "profile: expected one of sample, live, wide, replay, test, was 'sampel'"),
        (
            {"GNN_ASSETS_CONFIG__BARS__SOURCES": '["yaho"]'},
            "expected one of alpaca, files, massive, sample, simulated, yahoo, was 'yaho'; did you mean 'yahoo'?",
        ),
        (
            {"GNN_ASSETS_CONFIG__BARS__SOURCES": '["massive"]'},
            "massive: passed over, GNN_ASSETS_MASSIVE_KEY not set; set its key, or name a source without one",
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_stores_nothing(home_copy, setting, said):
    before = versions(home_copy)
    assert said in sentence_of(home_copy.run("config", "check", **setting))
    assert said in sentence_of(home_copy.run("demo", **setting))
    assert versions(home_copy)["forecasts"] == before["forecasts"]


UNIVERSE_TOP = "survivor_only: true\nexchange: XNYS\nfrom_session: 1990-01-02\nsymbols:\n"


def universe_file(home: Home, *symbols: str) -> dict[str, str]:
    """A universe of these symbols, and the setting that names it."""
    rows = "".join(f"  - {{symbol: {symbol}, tier: core, sector: Energy}}\n" for symbol in symbols) or "  []\n"
    file = home.path / "universe.yaml"
    file.write_text(UNIVERSE_TOP + rows, encoding="utf-8")
    return {"GNN_ASSETS_CONFIG__UNIVERSE__FILE": str(file)}


@pytest.mark.parametrize(
    ("symbols", "said"),
    [
        ([], "expected at least 2 symbols of tier core, was 0"),
        (["AAPL"], "expected at least 2 symbols of tier core, was 1"),
        (["AAPL", "../../etc/passwd"], "was '../../etc/passwd'"),
    ],
)
def test_an_impossible_universe_is_one_sentence(demo_home, tmp_path, symbols, said):
    setting = universe_file(Home(tmp_path), *symbols)
    assert said in " ".join(sentence_of(demo_home.run("config", "check", **setting)).split())


def test_too_many_unknown_symbols_are_named_and_the_champion_stays(home_copy):
    before = versions(home_copy)
    result = home_copy.run("demo", **universe_file(home_copy, "AAPL", "MSFT", "NOPE"))
    said = " ".join(sentence_of(result).split())
    assert "symbols_complete failed: value 0.66" in said
    assert "NOPE: not fetched, its last good bars are kept" in said
    assert "The last good champion and its forecasts stay as they were." in result.stdout
    after = versions(home_copy)
    assert (after["champion"], after["forecasts"]) == (before["champion"], before["forecasts"])


def test_config_check_and_show(demo_home):
    checked = demo_home.run("config", "check")
    assert "configuration is valid: profile test" in checked.stdout
    assert "20 core symbols" in checked.stdout
    assert "window: 60" in demo_home.run("config", "show").stdout


def test_corrupted_weights_are_refused_and_the_champion_stays(home_copy):
    platform = platform_of(home_copy)
    champion = platform.champion.current()
    assert champion is not None
    file = next((home_copy.path / "data/lake/gnn_weights").rglob("*blend.refit.safetensors"))
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    said = sentence_of(home_copy.run("verify", "--session", "2022-12-28"))
    assert file.name in said
    assert "sha256" in said.lower() or "checksum" in said.lower()
    assert platform_of(home_copy).champion.current() == champion
    assert table(home_copy, "forecasts").height == 21 * 20


def test_corrupted_weights_are_trained_again_by_the_next_run(home_copy, demo_home):
    file = next((home_copy.path / "data/lake/gnn_weights").rglob("*blend.refit.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    healed = home_copy.run("demo")
    assert healed.returncode == 0, healed.stdout
    assert "1 assets computed, 15 reused" in healed.stdout
    assert versions(home_copy) == versions(demo_home)


def test_a_lake_written_by_a_newer_release_is_refused(home_copy):
    manifest = platform_of(home_copy).lake.manifest(TABLES["returns"])
    assert manifest is not None
    before = versions(home_copy)
    newer = dict(TABLES["returns"].columns) | {"adjusted": pl.Float64}
    import dataclasses

    later = dataclasses.replace(TABLES["returns"], columns=newer, schema_version=TABLES["returns"].schema_version + 1)
    frame = table(home_copy, "returns").with_columns(adjusted=pl.lit(0.0))
    platform_of(home_copy).lake.publish(later, frame, lineage=None, data_end=date(2022, 12, 28))
    result = home_copy.run("demo")
    said = sentence_of(result)
    assert "newer release" in said or "schema version" in said or "schema_version" in said, said
    assert versions(home_copy)["forecasts"] == before["forecasts"]
