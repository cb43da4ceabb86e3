"""A small platform that alerts are looked for on: what is wrong with it is what a test says, and stored as ever."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from gnn_assets.bars.schema import SYMBOL_STATUS, UNIVERSE
from gnn_assets.core.config import build_config
from gnn_assets.core.settings import Settings
from gnn_assets.defs.alerting import Looked, look
from gnn_assets.defs.resources import Platform
from gnn_assets.monitoring.alerts import SEVERITIES
from gnn_assets.store.ledger import Ledger
from gnn_assets.store.sealed import seal

START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
SESSION = date(2022, 12, 28)  # the newest of the test profile


def platform_at(home: Path, *, channels: Mapping[str, str] | None = None, **alerts: Any) -> Platform:
    told = {"private_hosts": ["127.0.0.1"], "timeout_seconds": 3, **alerts}
    settings = Settings(profile="test", home=home, alerts=dict(channels or {}))
    return Platform(settings=settings, config=build_config("test", {"alerts": told}))


def everyone(*channels: str) -> dict[str, Any]:
    """A setting by which every message goes by some channels, in order."""
    return {"routes": {severity: list(channels) for severity in SEVERITIES}}


class Watched:
    """A platform, Dagster's records of its runs, and a clock that a test moves."""

    def __init__(self, platform: Platform, instance: dg.DagsterInstance) -> None:
        self.platform, self.instance, self.now = platform, instance, START

    def look(self, *, after: float = 0) -> Looked:
        self.now += timedelta(seconds=after)
        return look(self.platform, self.instance, now=self.now)

    def told(self, *, after: float = 0) -> list[str]:
        """Titles of the messages that one look makes, once what begins has waited for its group."""
        return [*self.look(after=after).titles, *self.look(after=self.platform.config.alerts.group_seconds).titles]

    def found(self, kind: str) -> list[Any]:
        return [condition for condition in self.look().conditions if condition.kind == kind]


@contextmanager
def watched(home: Path, **alerts: Any) -> Iterator[Watched]:
    with dg.DagsterInstance.ephemeral(tempdir=str(home)) as instance:
        yield Watched(platform_at(home / "home", **alerts), instance)


def run_assets(
    instance: dg.DagsterInstance, failing: Sequence[str], *, sound: Sequence[str] = (), below: str = ""
) -> dg.ExecuteInProcessResult:
    """One real run of small assets, some of which fail.

    Args:
        instance: where it is recorded.
        failing: assets that raise.
        sound: assets that are made.
        below: an asset below the first that fails.
    """

    def made(name: str, deps: Sequence[str] = ()) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=list(deps))
        def body() -> None:
            if name in failing:
                raise ValueError(f"{name} found 3 rows, 20 were expected")

        return body

    assets = [made(name) for name in (*failing, *sound)]
    if below:
        assets.append(made(below, failing[:1]))
    return dg.materialize(assets, instance=instance, raise_on_error=False)


def store_symbols(platform: Platform, failed: Mapping[str, str], *, of: int) -> None:
    """The universe, and how each of its symbols fared when bars were last asked for."""
    symbols = [f"S{number:02d}" for number in range(of)]
    blank = {pl.String: "", pl.Date: None, pl.Boolean: False, pl.Int32: 0}
    universe = {name: [blank[dtype]] * of for name, dtype in UNIVERSE.columns.items()} | {
        "symbol": symbols,
        "from_session": [date(2017, 1, 3)] * of,
        "tier": ["core"] * of,
        "priority": range(of),
    }
    status = {
        "stage": ["market_bars"] * of,
        "symbol": symbols,
        "session": [SESSION] * of,
        "state": ["FAILED" if symbol in failed else "SUCCESS" for symbol in symbols],
        "reason": [failed.get(symbol, "") for symbol in symbols],
        "attempts": [1] * of,
    }
    for table, columns in ((UNIVERSE, universe), (SYMBOL_STATUS, status)):
        frame = pl.DataFrame(columns, schema=dict(table.columns))
        platform.lake.publish(table, frame, lineage=None, data_end=SESSION)


def store_sources(platform: Platform, **states: str) -> None:
    told = {name: {"state": state, "why": f"failed asks in a row: 5 ({name})"} for name, state in states.items()}
    platform.source_states_file.parent.mkdir(parents=True, exist_ok=True)
    platform.source_states_file.write_bytes(seal({"states": told}))


def damage(ledger: Ledger, kind: str) -> None:
    """A line in the middle of a ledger says something else than it did."""
    path = ledger.folder / f"{kind}.jsonl"
    first, *rest = path.read_text(encoding="utf-8").splitlines(keepends=True)
    line = json.loads(first)
    line["record"]["reason"] = "another"
    path.write_text("".join([f"{json.dumps(line)}\n", *rest]), encoding="utf-8")
