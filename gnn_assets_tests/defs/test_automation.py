"""When the automation conditions fire: on new content, once, and never on equal content."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent, DagsterEventType

from gnn_assets.core.config import build_config
from gnn_assets.defs.automation import condition_for, deadline_missed, upstream_changed

# Kept off exact cron boundaries: a tick that falls on one is decided by rounding.
START = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)


class Flow:
    """A parent, its child and its grandchild, whose content the test decides."""

    def __init__(
        self,
        condition: dg.AutomationCondition,
        instance: dg.DagsterInstance,
        *,
        root: dg.AutomationCondition | None = None,
    ) -> None:
        self.content = {"parent": "1", "child": "1", "grandchild": "1"}
        self.instance = instance
        self.minute = 0
        self.cursor = None

        def make(name: str, deps: list[str]) -> dg.AssetsDefinition:
            @dg.asset(
                name=name,
                deps=deps,
                automation_condition=condition if deps else root,
                freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1)),
            )
            def asset() -> dg.MaterializeResult:
                return dg.MaterializeResult(data_version=dg.DataVersion(self.content[name]))

            return asset

        self.defs = dg.Definitions(
            assets=[make("parent", []), make("child", ["parent"]), make("grandchild", ["child"])]
        )

    def run(self, *names: str) -> None:
        selection = dg.AssetSelection.assets(*names)
        job = self.defs.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=selection.resolve(self.defs.resolve_asset_graph())
        )
        assert job.execute_in_process(instance=self.instance).success

    def tick(self) -> set[str]:
        """One evaluation a minute later: the names it asks for."""
        self.minute += 1
        result = dg.evaluate_automation_conditions(
            self.defs,
            instance=self.instance,
            cursor=self.cursor,
            evaluation_time=START + timedelta(minutes=self.minute),
        )
        self.cursor = result.cursor
        return {
            key.to_user_string()
            for key in self.defs.resolve_asset_graph().get_all_asset_keys()
            if result.get_num_requested(key)
        }

    def settle(self) -> None:
        self.run("parent", "child", "grandchild")
        assert self.tick() == set()


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def flow(instance) -> Flow:
    return Flow(upstream_changed(), instance)


def test_equal_content_triggers_nothing(flow):
    flow.settle()
    flow.run("parent")
    assert [flow.tick(), flow.tick()] == [set(), set()]


def test_dagsters_own_eager_fires_on_equal_content(instance):
    # The guard this platform relies on, taken out: a rebuild that found nothing new would start a wave.
    flow = Flow(dg.AutomationCondition.eager(), instance)
    flow.settle()
    flow.run("parent")
    assert "child" in flow.tick()


def test_new_content_triggers_once(flow):
    flow.settle()
    flow.content["parent"] = "2"
    flow.run("parent")
    assert "child" in flow.tick()
    flow.content["child"] = "2"
    flow.run("child")
    assert "child" not in flow.tick()


def test_new_content_travels_down_until_it_changes_nothing(flow):
    flow.settle()
    flow.content["parent"] = "2"
    flow.run("parent")
    assert flow.tick() == {"child"}
    # The child finds that the parent's news changes nothing for it: equal content stops the wave.
    flow.run("child")
    assert [flow.tick(), flow.tick()] == [set(), set()]


def test_a_child_that_ran_together_with_its_parent_is_not_asked_again(flow):
    flow.settle()
    flow.content |= {"parent": "2", "child": "2", "grandchild": "2"}
    flow.run("parent", "child", "grandchild")
    assert [flow.tick(), flow.tick()] == [set(), set()]


def test_a_change_while_the_child_is_running_is_kept(flow):
    flow.settle()
    flow.content["parent"] = "2"
    flow.run("parent")
    busy = _busy(flow)
    assert "child" not in flow.tick()
    flow.instance.report_run_failed(busy)
    assert "child" in flow.tick()


def test_without_the_memory_a_change_while_running_is_lost(instance):
    AC = dg.AutomationCondition
    flow = Flow(AC.any_deps_match(AC.data_version_changed()) & ~AC.in_progress(), instance)
    flow.settle()
    flow.content["parent"] = "2"
    flow.run("parent")
    busy = _busy(flow)
    assert "child" not in flow.tick()
    flow.instance.report_run_failed(busy)
    assert "child" not in flow.tick()


def _busy(flow: Flow) -> dg.DagsterRun:
    busy = flow.instance.create_run_for_job(
        flow.defs.resolve_implicit_global_asset_job_def(), asset_selection=frozenset({dg.AssetKey("child")})
    )
    flow.instance.report_dagster_event(_started(busy), busy.run_id)
    flow.instance.report_dagster_event(
        DagsterEvent.build_asset_materialization_planned_event(
            busy.job_name, "child", AssetMaterializationPlannedData(asset_key=dg.AssetKey("child"))
        ),
        busy.run_id,
    )
    return busy


def _started(run: dg.DagsterRun):
    return DagsterEvent(event_type_value=DagsterEventType.RUN_START.value, job_name=run.job_name)


def _freshness(flow: Flow, before: FreshnessState, after: FreshnessState) -> None:
    flow.instance._report_runless_asset_event(
        FreshnessStateChange(
            key=dg.AssetKey("child"),
            new_state=after,
            previous_state=before,
            state_change_timestamp=(START + timedelta(minutes=flow.minute)).timestamp(),
        )
    )


# Ticks of the test are a minute apart, so this allows a new try every fourth of them.
EVERY_FOURTH = "*/4 * * * *"


def test_a_missed_deadline_rebuilds_and_a_rebuild_in_time_ends_it(instance):
    flow = Flow(upstream_changed() | deadline_missed(EVERY_FOURTH), instance)
    flow.settle()
    _freshness(flow, FreshnessState.PASS, FreshnessState.FAIL)
    assert flow.tick() == {"child"}
    flow.run("child")
    _freshness(flow, FreshnessState.FAIL, FreshnessState.PASS)
    assert [flow.tick() for _ in range(6)] == [set()] * 6
    _freshness(flow, FreshnessState.PASS, FreshnessState.FAIL)
    assert flow.tick() == {"child"}


def test_a_deadline_missed_before_the_first_evaluation_is_not_forgotten(instance):
    flow = Flow(upstream_changed() | deadline_missed(EVERY_FOURTH), instance)
    flow.run("parent", "child", "grandchild")
    _freshness(flow, FreshnessState.PASS, FreshnessState.FAIL)
    assert flow.tick() == {"child"}


def test_asking_only_when_it_is_newly_missed_would_forget_it(instance):
    AC = dg.AutomationCondition
    flow = Flow(AC.freshness_failed().newly_true().since_last_handled() & ~AC.in_progress(), instance)
    flow.run("parent", "child", "grandchild")
    _freshness(flow, FreshnessState.PASS, FreshnessState.FAIL)
    assert [flow.tick() for _ in range(6)] == [set()] * 6


def test_a_rebuild_that_fails_is_tried_again_but_not_at_every_evaluation(instance):
    flow = Flow(upstream_changed() | deadline_missed(EVERY_FOURTH), instance)
    flow.settle()
    _freshness(flow, FreshnessState.PASS, FreshnessState.FAIL)
    asked = [flow.tick() == {"child"} for _ in range(12)]
    assert asked[0]
    assert 3 <= sum(asked) <= 4


def test_only_assets_of_the_table_rebuild_on_a_deadline():
    config = build_config("sample")
    rebuilt = {name for name, limit in config.ages.items() if limit.rebuild}
    assert rebuilt == {"correlation_graphs"}
    live = {name for name, limit in build_config("live").ages.items() if limit.rebuild}
    assert live == {"correlation_graphs", "market_bars"}
    for name in config.ages:
        condition = condition_for(name, has_deps=name != "universe", config=config)
        assert ("FreshnessResult" in repr(condition)) == (name in rebuilt), name


@pytest.mark.parametrize("profile", ["sample", "test", "live"])
def test_the_clock_asks_for_what_reads_the_world_and_only_where_it_runs(profile):
    config = build_config(profile)
    conditions = {name: condition_for(name, has_deps=name != "universe", config=config) for name in config.ages}
    asked = {name for name, condition in conditions.items() if "16 * * 1-5" in repr(condition)}
    assert asked == ({"universe", "market_bars"} if profile == "live" else set())
    assert (conditions["universe"] is None) == (profile != "live")
    assert all(conditions[name] is not None for name in config.ages if name != "universe")
    # Bars follow the root as well as the clock.
    assert "DataVersionChanged" in repr(conditions["market_bars"])


def test_a_root_is_asked_once_a_cron_tick_and_equal_content_stops_there(instance):
    root = condition_for("universe", has_deps=False, config=build_config("live"))
    flow = Flow(upstream_changed(), instance, root=root)
    flow.settle()
    # 16:45 in New York that Monday is 21:45 UTC.
    flow.minute = 9 * 60 + 43
    assert [flow.tick(), flow.tick()] == [set(), {"parent"}]
    flow.run("parent")
    assert [flow.tick(), flow.tick()] == [set(), set()]
    flow.minute += 24 * 60 - 3
    assert [flow.tick(), flow.tick()] == [{"parent"}, set()]
    flow.content["parent"] = "2"
    flow.run("parent")
    assert flow.tick() == {"child"}


def test_a_change_is_kept_until_everything_above_is_there(instance):
    """On a platform that begins, graphs come long before a champion: forecasts would only fail until then."""
    config = build_config("live")
    condition = condition_for("forecasts", has_deps=True, config=config)

    def plain(name: str, **given) -> dg.AssetsDefinition:
        @dg.asset(name=name, **given)
        def asset() -> dg.MaterializeResult:
            return dg.MaterializeResult(data_version=dg.DataVersion(name))

        return asset

    flow = Flow(upstream_changed(), instance)
    flow.defs = dg.Definitions(
        assets=[
            plain("parent"),
            plain("champion"),
            plain("child", deps=["parent", "champion"], automation_condition=condition),
        ]
    )
    assert flow.tick() == set()
    flow.run("parent")
    assert [flow.tick(), flow.tick()] == [set(), set()]
    flow.run("champion")
    assert flow.tick() == {"child"}
    flow.run("child")
    assert [flow.tick(), flow.tick()] == [set(), set()]


# ---- the wave of a session ---------------------------------------------------------------------------------------

WAVE = {
    "market_bars": (),
    "returns": ("market_bars",),
    "correlation_graphs": ("returns",),
    "forecasts": ("market_bars", "returns", "correlation_graphs", "champion"),
    "forecast_scores": ("returns", "forecasts"),
    "retrain_decision": ("market_bars", "correlation_graphs", "forecasts", "forecast_scores"),
    "gnn_weights": ("correlation_graphs",),
    "oos_predictions": ("gnn_weights",),
    "portfolio_returns": ("oos_predictions",),
    "backtest_scores": ("portfolio_returns",),
    "champion": ("backtest_scores",),
}


class Wave:
    """The assets of a session with their real conditions, and content that the test decides."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.config, self.instance, self.cursor = build_config("sample"), instance, None
        self.content, self.failing, self.minute = dict.fromkeys(WAVE, "1"), set(), 0

        def make(name: str, deps: tuple[str, ...]) -> dg.AssetsDefinition:
            @dg.asset(
                name=name,
                deps=deps,
                automation_condition=condition_for(name, has_deps=bool(deps), config=self.config),
            )
            def asset() -> dg.MaterializeResult:
                assert name not in self.failing
                return dg.MaterializeResult(data_version=dg.DataVersion(self.content[name]))

            return asset

        self.defs = dg.Definitions(assets=[make(name, deps) for name, deps in WAVE.items()])
        self.run(*WAVE)
        while self.tick():
            pass

    def run(self, *names: str) -> None:
        job = self.defs.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=dg.AssetSelection.assets(*names).resolve(self.defs.resolve_asset_graph())
        )
        job.execute_in_process(instance=self.instance, raise_on_error=False)

    def tick(self) -> set[str]:
        """One evaluation a minute later, and a run of what it asks for."""
        self.minute += 1
        found = dg.evaluate_automation_conditions(
            self.defs,
            instance=self.instance,
            cursor=self.cursor,
            evaluation_time=START + timedelta(minutes=self.minute),
        )
        self.cursor = found.cursor
        asked = {name for name in WAVE if found.get_num_requested(dg.AssetKey(name))}
        if asked:
            self.run(*asked)
        return asked

    def new_session(self) -> None:
        # A decision without an order says nothing new.
        self.content |= {name: f"{self.content[name]}+" for name in WAVE if name != "retrain_decision"}
        self.run("market_bars")


def test_a_session_goes_down_asset_by_asset_and_makes_each_once(instance):
    wave = Wave(instance)
    wave.new_session()
    assert [wave.tick() for _ in range(6)] == [
        {"returns"},
        {"correlation_graphs"},
        {"forecasts"},
        {"forecast_scores"},
        {"retrain_decision"},
        set(),
    ]


def test_what_waits_does_not_wait_for_what_failed(instance):
    wave = Wave(instance)
    wave.failing = {"correlation_graphs"}
    wave.new_session()
    asked = [wave.tick() for _ in range(6)]
    assert asked[:3] == [{"returns"}, {"correlation_graphs"}, {"forecasts"}]
    assert {"retrain_decision"} in asked


def test_a_session_does_not_wait_for_a_challenger(instance):
    wave = Wave(instance)
    wave.content["gnn_weights"] = "2"
    wave.run("gnn_weights")
    wave.new_session()
    assert wave.tick() == {"returns", "oos_predictions"}
    assert "correlation_graphs" in wave.tick()
    assert "forecasts" in wave.tick()


def test_without_waiting_forecasts_are_made_on_the_graph_before(instance, monkeypatch):
    """What the condition is for."""
    from gnn_assets.defs import automation

    monkeypatch.setattr(automation, "_above_is_next", dg.AutomationCondition.in_progress)
    wave = Wave(instance)
    wave.new_session()
    assert "forecasts" in wave.tick()
