"""The asset graph_drift on a small platform: what it publishes, what it takes over, what it shows."""

import shutil
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import CorruptArtefact
from gnn_assets.core.settings import Settings
from gnn_assets.defs import bars
from gnn_assets.defs import drift as drift_asset
from gnn_assets.defs.io import stage_asset
from gnn_assets.defs.resources import Platform
from gnn_assets.graphs import drift_table
from gnn_assets.graphs.schema import GRAPH_DRIFT

pytestmark = pytest.mark.slow

SMALL = {
    "clock": {"session": "2022-11-30"},
    "bars": {"from_session": "2020-06-01"},
    "graphs": {"window": 40, "min_overlap": 30, "drift": {"paths": 20, "path_sessions": 126}},
}
NEWER = {"clock": {"session": "2022-12-01"}}
STAGES = (*bars.STAGES, *drift_asset.STAGES)


def platform_at(home, *overrides):
    return Platform(settings=Settings(profile="test", home=home), config=build_config("test", SMALL, *overrides))


def run(platform):
    """Everything up to graph_drift; what that asset said."""
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral(tempdir=str(platform.settings.home)) as instance:
        result = dg.materialize(
            [stage_asset(stage, platform.config) for stage in STAGES],
            instance=instance,
            resources={"platform": platform},
            run_config=quiet,
        )
    (made,) = result.asset_materializations_for_node("graph_drift")
    checks = {
        check.check_name: check
        for check in result.get_asset_check_evaluations()
        if check.asset_key.to_user_string() == "graph_drift"
    }
    return made.metadata, checks


def table_of(platform):
    return platform.lake.read(GRAPH_DRIFT)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("drift") / "home"
    return home, *run(platform_at(home))


@pytest.fixture
def home(made, tmp_path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "home"))


def test_it_publishes_a_row_a_session_and_shows_value_limit_reference_and_years(made):
    home, metadata, checks = made
    drift = table_of(platform_at(home))
    assert drift["session"].max() == date(2022, 11, 30)
    assert set(drift["calibrated_on"]) == {date(2022, 1, 3)}
    assert set(drift["compared"]) == {20}
    newest = drift.row(-1, named=True)
    assert metadata["statistic"].value == newest["statistic"]
    assert metadata["limit"].value == newest["limit"]
    assert metadata["reference"].value == str(newest["reference"])
    assert metadata["data_end"].value == "2022-11-30"
    assert "| 2022 |" in metadata["alarms_by_year"].value
    assert metadata["largest_moves"].value.count("\n") == 11
    assert metadata["drift"].value.startswith("![")
    assert set(checks) == {"statistic_finite", "drift", "no_look_ahead", "age"}
    assert checks["no_look_ahead"].passed
    assert checks["drift"].passed is not newest["alarm"]
    assert checks["drift"].severity == dg.AssetCheckSeverity.WARN


def test_the_same_again_computes_nothing(home, monkeypatch):
    monkeypatch.setattr(drift_asset, "graph_drift", lambda *_, **__: pytest.fail("computed again"))
    metadata, _ = run(platform_at(home))
    assert metadata["reused"].value is True


def test_one_more_session_takes_over_what_was_made_and_gives_the_bytes_of_a_fresh_home(home, tmp_path, monkeypatch):
    before = table_of(platform_at(home))
    drawn = []
    limit = drift_table.drift_limit
    monkeypatch.setattr(drift_table, "drift_limit", lambda *a, **k: drawn.append(1) or limit(*a, **k))
    newer = platform_at(home, NEWER)
    run(newer)
    assert len(drawn) == 1  # the tripwire's
    after = table_of(newer)
    assert after.height == before.height + 1
    assert after.head(before.height).equals(before)
    fresh = platform_at(tmp_path / "fresh", NEWER)
    run(fresh)
    assert table_of(fresh).equals(after)


def test_a_damaged_table_only_costs_time(home, made, monkeypatch):
    def damaged(*_, **__):
        raise CorruptArtefact("graph_drift: expected its bytes, was others; make it again.")

    monkeypatch.setattr(drift_asset, "stored", damaged)
    newer = platform_at(home, NEWER)
    run(newer)
    assert table_of(newer).height == table_of(platform_at(made[0])).height + 1


def test_other_settings_make_every_row_again(home):
    platform = platform_at(home, {"graphs": {"drift": {"seed": 8}}})
    before = table_of(platform)
    run(platform)
    assert table_of(platform)["statistic"].equals(before["statistic"])
    assert table_of(platform)["limit"][0] != before["limit"][0]


def test_an_alarm_warns_names_pairs_and_publishes_all_the_same(home):
    # One episode a session is allowed, so the limit is as low as chance ever goes.
    often = platform_at(home, {"graphs": {"drift": {"sessions_per_alarm": 1, "quiet_sessions": 1}}})
    _, checks = run(often)
    assert table_of(often)["alarm"][-1]
    assert not checks["drift"].passed
    assert checks["drift"].metadata["offenders"].value.count(" to ") == 10


def test_without_a_year_behind_it_there_is_no_limit_and_the_check_says_so(tmp_path):
    young = platform_at(tmp_path / "home", {"bars": {"from_session": "2022-03-01"}})
    metadata, checks = run(young)
    assert table_of(young).is_empty()
    assert metadata["data_end"].value == "2022-11-30"
    assert checks["drift"].passed
    assert "no limit yet" in checks["drift"].description
