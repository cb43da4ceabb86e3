"""What an asset is, before Dagster is told: its work, its report, where it is kept, what it depends on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

import dagster as dg
import polars as pl

from gnn_assets.bars.schema import SYMBOL_STATUS, UNIVERSE
from gnn_assets.bars.status import stage_status
from gnn_assets.bars.universe import symbols_of
from gnn_assets.core.checks import Check
from gnn_assets.core.config import Config
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact
from gnn_assets.core.hashing import code_version
from gnn_assets.defs.resources import Platform
from gnn_assets.store.schema import Table
from gnn_assets.store.versions import Lineage


@dataclass(frozen=True)
class StageRun:
    """One materialization: the platform and the input versions it is made from.

    Args:
        platform: the opened platform.
        asset: name of the asset being made.
        inputs: upstream asset → data version, fixed at the start.
        lineage: what the result will be remembered by.
        symbols: symbols the stage may work on: those the stage it follows ever succeeded on.
        run_id: Dagster's run.
        log: where progress goes beside the platform's own listener.
        request: what was asked for in the run's configuration, where the stage takes any.
        ended: whether another run of Dagster, by its id, is over; what nobody knows is.
        logged: whole per cents that the log has a line of.
    """

    platform: Platform
    asset: str
    inputs: Mapping[str, str]
    lineage: Lineage
    symbols: tuple[str, ...]
    run_id: str
    log: Callable[[str], None]
    request: Any = None
    ended: Callable[[str], bool] = lambda _run_id: True
    logged: set[int] = field(default_factory=set, init=False)

    @property
    def config(self) -> Config:
        """The validated configuration."""
        return self.platform.config

    def read(self, table: Table, *, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """An input table, exactly the version fixed at the start; all of its columns, or those named."""
        return self.platform.lake.read(table, version=self.inputs[table.name], columns=columns)

    def progress(self, fraction: float, text: str) -> None:
        """Says how far this stage is (share from 0 to 1).

        Dagster keeps each line in a transaction of its own, so it is told one a per cent, and how the stage ended.
        """
        self.platform.progress(self.asset, fraction, text)
        percent = int(100 * fraction)
        if percent not in self.logged or fraction >= 1:
            self.logged.add(percent)
            self.log(f"{fraction:4.0%} {text}")


@dataclass(frozen=True)
class Report:
    """What people see of an artefact.

    Args:
        data_end: last session the artefact covers; None for one without sessions.
        checks: outcome of every check the stage declares.
        metadata: anything Dagster can show; numbers plot over time.
        failures: symbol → why the stage failed on it; None for a stage that does not work symbol by symbol.
    """

    data_end: date | None
    checks: tuple[Check, ...]
    metadata: Mapping[str, Any]
    failures: Mapping[str, str] | None = None


class Shelf(Protocol):
    """Where a kind of artefact is kept."""

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """The version this lineage made before, made current again; None if there is none."""
        ...

    def load(self, run: StageRun, version: str) -> Any:
        """The artefact of a version, as `Stage.compute` would return it."""
        ...

    def publish(self, run: StageRun, artefact: Any, *, lineage: Lineage, data_end: date | None) -> str:
        """Stores the artefact and makes it current; returns its version."""
        ...


@dataclass(frozen=True)
class TableShelf:
    """Keeps an artefact as a whole table of the lake."""

    table: Table

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """The table this lineage made before."""
        manifest = run.platform.lake.reuse(self.table, lineage, run_id=run.run_id)
        return manifest.version if manifest else None

    def load(self, run: StageRun, version: str) -> pl.DataFrame:
        """The table of a version."""
        return run.platform.lake.read(self.table, version=version)

    def publish(self, run: StageRun, artefact: pl.DataFrame, *, lineage: Lineage, data_end: date | None) -> str:
        """Stores the table."""
        lake = run.platform.lake
        return lake.publish(self.table, artefact, lineage=lineage, data_end=data_end, run_id=run.run_id).version


@dataclass(frozen=True)
class Stage:
    """What an asset is.

    Args:
        name: asset, table and check prefix.
        group: stage of the flow; the folder's name.
        compute: the work; its docstring describes the asset.
        report: checks and metadata of an artefact, computed or reused.
        shelf: where the artefact is kept.
        code: modules whose code makes the artefact.
        plugins: modules the configuration chooses, whose code counts as well.
        sections: sections of the configuration it depends on.
        deps: upstream assets.
        looks_at: further upstream assets, which may not have been made yet.
        checks: names of the checks `report` answers, given the configuration.
        follows: stage whose successful symbols this one works on; None for all of the universe.
        context: whether it works on context symbols too.
        kinds: Dagster's badges.
        table: declared columns, where the artefact is a table.
        asks: what else the artefact depends on, such as the clock, as inputs beside the data versions.
        external: asks the outside world, so equal inputs prove nothing and nothing is memoised.
        request: class of the run configuration it takes, a `dagster.Config`.
        beside: tables published beside the artefact that what is below depends on as well.
    """

    name: str
    group: str
    compute: Callable[[StageRun], Any]
    report: Callable[[StageRun, Any], Report]
    shelf: Shelf
    code: tuple[str, ...]
    sections: tuple[str, ...]
    deps: tuple[str, ...] = ()
    looks_at: tuple[str, ...] = ()
    checks: Callable[[Config], tuple[str, ...]] = field(default=lambda _config: ())
    follows: str | None = None
    context: bool = False
    kinds: frozenset[str] = frozenset({"polars"})
    plugins: Callable[[Config], tuple[str, ...]] = field(default=lambda _config: ())
    asks: Callable[[Platform], Mapping[str, str]] = field(default=lambda _platform: {})
    table: Table | None = None
    external: bool = False
    request: type[dg.Config] | None = None
    beside: tuple[Table, ...] = ()

    def code_version(self, config: Config) -> str:
        """Hash of the code that makes the artefact under a configuration."""
        return code_version(*self.code, *self.plugins(config))


def core_symbols(run: StageRun) -> tuple[str, ...]:
    """Symbols of the universe's core that came through the stage this one follows."""
    return tuple(symbol for symbol in symbols_of(run.read(UNIVERSE), "core") if symbol in run.symbols)


def status_rows(
    run: StageRun, *, follows: str | None, context: bool, failures: Mapping[str, str], session: date
) -> pl.DataFrame:
    """The SYMBOL_STATUS rows of a stage that covered the universe up to `session`.

    Args:
        run: the materialization.
        follows: stage whose successful symbols it worked on; None for all.
        context: whether context symbols were its business.
        failures: symbol → why the stage failed on it.
        session: last session it covered.
    """
    lake = run.platform.lake
    universe = lake.read(UNIVERSE)
    wanted = sorted({*symbols_of(universe, "core"), *(symbols_of(universe, "context") if context else ())})
    try:
        before = lake.read(SYMBOL_STATUS)
    except (CorruptArtefact, MissingArtefact):
        before = SYMBOL_STATUS.empty()  # only the count of attempts is lost, and what is written now mends it
    skipped = [] if follows is None else [symbol for symbol in wanted if symbol not in run.symbols]
    return stage_status(
        run.asset,
        symbols=wanted,
        session=session,
        failures=failures,
        waiting=dict.fromkeys(skipped, f"{follows} did not succeed"),
        before=before,
    )
