"""After a switch by hand the real assets follow it, and the real gate does not undo it.

The home is materialized once by the real command. Further candidates are copies of its champion under other names, with
copies of its scores: the gate finds nothing against them, so only what a person said can keep one out.
"""

from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl
import pytest

from gnn_assets.backtests.schema import BACKTEST_SCORES, PORTFOLIO_RETURNS
from gnn_assets.definitions import build_definitions
from gnn_assets.defs import registry as registry_assets
from gnn_assets.defs.following import following_sensor
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.verify import verify_session
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.versions import Lineage
from gnn_assets_tests.conftest import Home
from gnn_assets_tests.defs.switching_home import platform_at

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Done:
    """What a run of some assets told: asset → data version, and what the gate's checks said."""

    versions: dict[str, str]
    checks: dict[str, bool]


def copy_of(platform: Platform, champion: Champion, number: int) -> str:
    """Another candidate with the champion's weights and scores; returns its version."""
    weights, lake = platform.weights, platform.lake
    parts = {part: weights.load(champion.version, part) for part in weights.parts(champion.version)}
    version = weights.save(parts, {**weights.facts(champion.version), "copy": number})
    weights.publish(version, lineage=Lineage(inputs={"copy": str(number)}, code_version="c", config_hash="h"))
    new = {"gnn_weights": version}
    for table in (OOS_PREDICTIONS, PORTFOLIO_RETURNS, BACKTEST_SCORES):
        old = getattr(champion, table.name)
        made = next(made for made in lake.versions(table.name).good() if made.version == old)
        assert made.lineage is not None
        inputs = {name: new.get(name, was) for name, was in made.lineage.inputs.items()}
        rows = lake.read(table, version=old).with_columns(version=pl.lit(version))
        lineage = Lineage(inputs=inputs, code_version="c", config_hash="h")
        new[table.name] = lake.publish(
            table, rows, lineage=lineage, data_end=date.fromisoformat(champion.data_end)
        ).version
    return version


def run(platform: Platform, instance: dg.DagsterInstance, *assets: str, fails: bool = False) -> Done:
    result = (
        build_definitions(platform)
        .resolve_job_def("everything")
        .execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            raise_on_error=not fails,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    )
    assert result.success is not fails
    return Done(
        versions={
            event.materialization.asset_key.to_user_string(): event.materialization.tags["dagster/data_version"]
            for event in result.get_asset_materialization_events()
        },
        checks={made.check_name: made.passed for made in result.get_asset_check_evaluations()},
    )


def asked(platform: Platform, instance: dg.DagsterInstance) -> list[tuple[str, ...]]:
    """The runs the sensor asks for, each as its assets."""
    context = dg.build_sensor_context(instance=instance, resources={"platform": platform})
    found = following_sensor(platform.config)(context)
    requests = found if isinstance(found, list) else []
    return [tuple(key.to_user_string() for key in request.asset_selection) for request in requests]


def test_a_rollback_is_followed_and_holds_until_a_newer_candidate_comes_or_a_person_says_so(
    home_copy: Home, tmp_path, monkeypatch
):
    platform = platform_at(home_copy.path)
    first = platform.champion.current()
    assert first is not None
    second = copy_of(platform, first, 2)
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        # Nothing speaks against the copy: the gate promotes it, and tells Dagster by itself.
        assert run(platform, instance, "champion", "forecasts").versions["champion"] == second
        assert asked(platform, instance) == []

        assert home_copy.run("rollback", "--to", first.version, "--reason", "two bad days").returncode == 0
        shown, judged = asked(platform, instance)
        # The mirror was not made since, and shows the first.
        assert (shown, judged) == (("forecasts",), ("champion",))
        # A gate that cannot judge the newest candidate keeps nobody from reading the champion's forecasts.
        with monkeypatch.context() as patch:
            patch.setattr(registry_assets, "contender_of", lambda *_, **__: 1 / 0)
            run(platform, instance, *judged, fails=True)
            done = run(platform, instance, "mlflow_mirror", *shown)
        assert done.versions["mlflow_mirror"] == first.version
        assert done.checks["mirrored"] is True
        assert set(platform.lake.read(FORECASTS)["champion"]) == {first.version}
        assert verify_session(platform, date.fromisoformat(first.data_end)).matches
        assert asked(platform, instance) == [judged]
        done = run(platform, instance, *judged)
        assert done.versions["champion"] == first.version
        assert done.checks["not_held_out"] is False
        assert asked(platform, instance) == []
        (refused,) = [event for event in platform.ledger.read("events") if event["event"] == "refused"]
        assert (refused["candidate"], refused["champion"]) == (second, first.version)
        assert "two bad days" in refused["reason"]

        third = copy_of(platform, first, 3)
        done = run(platform, instance, "champion")
        assert (done.versions["champion"], done.checks["not_held_out"]) == (third, True)

        assert home_copy.run("promote", "--to", second, "--reason", "it was not the model").returncode == 0
        assert asked(platform, instance) == [("mlflow_mirror", "forecasts"), judged]
        # The third is the newest candidate still, and no worse: it was there when the person chose, and is held out.
        done = run(platform, instance, "champion")
        assert (done.versions["champion"], done.checks["not_held_out"]) == (second, False)
        champion = platform.champion.current()
        assert champion is not None
        assert (champion.rule, champion.reason) == ("manual", "it was not the model")
    moves = [event["move"] for event in platform.ledger.read("events") if "move" in event]
    assert moves == [1, 2, 3, 4, 5]
