"""A small platform whose loop is real and whose content a test decides: conditions, decision, orders, reasons.

The decision is the real asset, and what it measures is what the test says. Training is the real way from an order to a
publication around a model of one word. The other assets are names with content.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from gnn_assets.core.checks import Check
from gnn_assets.core.clock import ReplayClock
from gnn_assets.core.config import build_config
from gnn_assets.core.settings import Settings
from gnn_assets.defs import deciding, models
from gnn_assets.defs.alarms import Alarms
from gnn_assets.defs.automation import condition_for
from gnn_assets.defs.io import stage_asset
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Report, Stage, StageRun
from gnn_assets.monitoring.reasons import CHAIN, Reason, Signal
from gnn_assets.store.versions import Lineage

# A Monday evening in New York, 3 h after the close; kept off exact cron boundaries, which rounding would decide.
START = datetime(2026, 3, 2, 23, 50, 30, tzinfo=UTC)
BY_ITSELF = {"dagster/from_automation_condition": "true"}
ABOVE = {"returns": (), "correlation_graphs": ("returns",)}


def alarm(reason: Reason = Reason.GRAPH_DRIFT, value: float = 3.4, limit: float = 2.1) -> Signal:
    return Signal(reason, "graph_drift", value, limit, "above", "60 sessions", "2026-03-02")


class Words:
    """Where a trained word is kept: in the lineage's memory of the test."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}
        self.trained: list[str] = []

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        del run
        return self.made.get(lineage.key)

    def load(self, run: StageRun, version: str) -> str:
        del run
        return version

    def publish(self, run: StageRun, artefact: str, *, lineage: Lineage, data_end: Any) -> str:
        del run, data_end
        self.made[lineage.key] = artefact
        self.trained.append(artefact)
        return artefact


class Loop:
    """The platform, its Dagster instance, and time that passes tick by tick."""

    def __init__(self, folder: Any, instance: dg.DagsterInstance, monkeypatch: Any, **settings: Any) -> None:
        self.config = build_config("live", settings)
        self.platform = Platform(settings=Settings(profile="live", home=folder), config=self.config)
        self.clock = ReplayClock(START)
        self.platform.clock = self.clock
        self.instance, self.cursor = instance, None
        self.signals: list[Signal] = []
        self.content = {"returns": "1", "correlation_graphs": "1"}
        self.failing: set[str] = set()
        self.words = Words()
        self.asked: list[tuple[datetime, frozenset[str]]] = []
        monkeypatch.setattr(deciding, "alarms", lambda _run: Alarms(tuple(self.signals), ()))
        (decision,) = deciding.STAGES
        self.definitions = dg.Definitions(
            assets=[
                *(self._named(name, deps) for name, deps in ABOVE.items()),
                stage_asset(self._training(), self.config),
                *(self._named(name, (above,)) for name, above in CHAIN.items() if name != "score_cards"),
                stage_asset(replace(decision, looks_at=("correlation_graphs",)), self.config),
            ],
            resources={"platform": self.platform},
            executor=dg.in_process_executor,
        )

    # ---- what a test does ----------------------------------------------------------------------------------------

    def run(self, *names: str, **tags: str) -> bool:
        """One run of some assets; whether it succeeded."""
        selection = dg.AssetSelection.assets(*names)
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=selection.resolve(self.definitions.resolve_asset_graph())
        )
        self.newest = job.execute_in_process(instance=self.instance, raise_on_error=False, tags=tags)
        return self.newest.success

    def asks(self, *, after: timedelta = timedelta(minutes=1)) -> frozenset[str]:
        """One evaluation, a while later: the names it asks for. Nothing is run."""
        self.clock.advance_to(self.clock.now() + after)
        result = dg.evaluate_automation_conditions(
            self.definitions, instance=self.instance, cursor=self.cursor, evaluation_time=self.clock.now()
        )
        self.cursor = result.cursor
        keys = self.definitions.resolve_asset_graph().get_all_asset_keys()
        return frozenset(key.to_user_string() for key in keys if result.get_num_requested(key))

    def tick(self, *, after: timedelta = timedelta(minutes=1)) -> frozenset[str]:
        """One evaluation, a while later, and one run of what it asks for, as the daemon does it."""
        asked = self.asks(after=after)
        if asked:
            self.asked.append((self.clock.now(), asked))
            self.run(*asked, **BY_ITSELF)
        return asked

    def ticks(self, number: int, *, after: timedelta = timedelta(minutes=1)) -> list[frozenset[str]]:
        return [self.tick(after=after) for _ in range(number)]

    def settle(self) -> None:
        """Everything made once by hand, and nothing left to ask for."""
        assert self.run(*self.definitions_names)
        while self.tick():
            pass
        self.asked.clear()

    def next_session(self) -> None:
        """The evening of the next session."""
        nearest = self.platform.calendar.last_complete(self.clock.now())
        following = self.platform.calendar.offset(nearest, 1)
        self.clock.advance_to(self.platform.calendar.available_at(following) + timedelta(hours=2, seconds=30))

    # ---- what a test looks at ------------------------------------------------------------------------------------

    @property
    def definitions_names(self) -> list[str]:
        return [key.to_user_string() for key in self.definitions.resolve_asset_graph().get_all_asset_keys()]

    @property
    def decisions(self) -> list[dict[str, Any]]:
        return self.platform.ledger.read("decisions")

    @property
    def actions(self) -> list[str]:
        return [entry["action"] for entry in self.decisions]

    def times_asked(self, name: str) -> int:
        return sum(name in names for _, names in self.asked)

    # ---- parts ---------------------------------------------------------------------------------------------------

    def _named(self, name: str, deps: tuple[str, ...]) -> dg.AssetsDefinition:
        condition: Any = condition_for(name, has_deps=True, config=self.config) if deps else None

        @dg.asset(name=name, deps=list(deps), automation_condition=condition)
        def asset() -> dg.MaterializeResult:
            if name in self.failing:
                raise RuntimeError(f"{name} is to fail")
            above = self.words.trained[-1:] or ["none"]
            told = self.content.get(name, f"{name} of {above[0]}")
            return dg.MaterializeResult(data_version=dg.DataVersion(told))

        return asset

    def _training(self) -> Stage:
        def compute(run: StageRun) -> str:
            """Trains a word."""
            if "gnn_weights" in self.failing:
                raise MemoryError("no room to train")
            return f"word {len(self.words.trained) + 1}"

        def report(run: StageRun, artefact: str) -> Report:
            fine = "weights" not in self.failing
            check = Check("loss_finite", fine, 0.0 if fine else "nan", 0.0, "Whether the loss is a number.")
            return Report(data_end=self.platform.last_session, checks=(check,), metadata={})

        def moment(platform: Platform) -> dict[str, str]:
            return {"moment": platform.clock.now().isoformat()}

        weights = next(stage for stage in models.STAGES if stage.name == "gnn_weights")
        return replace(
            weights,
            compute=compute,
            report=report,
            shelf=self.words,
            code=("gnn_assets.monitoring.decide",),
            plugins=lambda _config: (),
            deps=(),
            follows=None,
            checks=lambda _config: ("loss_finite",),
            # Each moment has its own bars to learn from.
            asks=moment,
        )


LoopMaker = Callable[..., Loop]
