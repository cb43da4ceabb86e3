"""A platform in a folder of its own, whose sources are the vendors' real clients and whose vendors are loopback servers.

`Exchange` is the truth: what was traded. `vendors` are servers that tell it, each in its own format. `MarketHome` is a
home that asks them, in this process (`update`) or by the real command (`command`).
"""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import dagster as dg
import numpy as np
import polars as pl
import yaml

from gnn_assets.bars.fetched import FETCHED_COLUMNS, PRICES
from gnn_assets.bars.revisions import latest
from gnn_assets.bars.schema import MARKET_BARS
from gnn_assets.cli import main
from gnn_assets.core.config import build_config
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.core.settings import Settings
from gnn_assets.definitions import build_definitions
from gnn_assets.defs.operate import failures_of as step_failures
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.status import platform_status
from gnn_assets.store.schema import Table
from gnn_assets_tests.bars.vendors import alpaca_server, massive_server, yahoo_server
from gnn_assets_tests.bars.vendors.alpaca_server import AlpacaServer
from gnn_assets_tests.bars.vendors.faults import ScriptedServer
from gnn_assets_tests.bars.vendors.massive_server import MassiveServer
from gnn_assets_tests.bars.vendors.yahoo_server import Listing, YahooServer
from gnn_assets_tests.conftest import Home

KEYS = {
    "massive_key": "massive-canary-2d1f",
    "alpaca_key": "alpaca-canary-77e0",
    "alpaca_secret": "alpaca-secret-canary-93ab",
}
# Far more than any test asks, so that nobody waits; and pauses too short to notice.
FREE = {"requests": 1000, "per_seconds": 1}
BRISK = {"wait_initial_seconds": 0.001, "wait_max_seconds": 0.5, "pause_seconds": 0.001}
SEED = 20220103


@cache
def calendar() -> SessionCalendar:
    return SessionCalendar.build("XNYS", first=date(2021, 1, 4), until=date(2022, 12, 30), grace=timedelta(minutes=30))


def sessions(count: int) -> tuple[date, ...]:
    """The first sessions of 2022."""
    return tuple(day for day in calendar().sessions if day >= date(2022, 1, 3))[:count]


def names(count: int) -> list[str]:
    return [f"S{place:03d}" for place in range(count)]


def traded(symbols: Sequence[str], days: Sequence[date], *, seed: int = SEED) -> pl.DataFrame:
    """What was traded: `FETCHED_COLUMNS`, sound bars in whole cents."""
    rng = np.random.default_rng(seed)
    closes_NxT = np.exp(4 + rng.normal(0, 0.01, (len(symbols), len(days))).cumsum(axis=1)).round(2)
    opens_NxT = (closes_NxT * np.exp(rng.normal(0, 0.003, closes_NxT.shape))).round(2)
    high, low = np.maximum(closes_NxT, opens_NxT) + 0.25, np.minimum(closes_NxT, opens_NxT) - 0.25
    return pl.DataFrame(
        {
            "symbol": np.repeat(symbols, len(days)),
            "session": list(days) * len(symbols),
            "open": opens_NxT.ravel(),
            "high": high.round(2).ravel(),
            "low": low.round(2).ravel(),
            "close": closes_NxT.ravel(),
            "volume": rng.integers(1_000, 9_000, closes_NxT.size).astype(float),
        },
        schema=dict(FETCHED_COLUMNS),
    )


def without(bars: pl.DataFrame, *symbols: str) -> pl.DataFrame:
    return bars.filter(~pl.col("symbol").is_in(symbols))


def altered(bars: pl.DataFrame, where: pl.Expr, **values: Any) -> pl.DataFrame:
    """The bars with other values where the condition holds."""
    return bars.with_columns(
        pl.when(where).then(pl.lit(value) if not isinstance(value, pl.Expr) else value).otherwise(name).alias(name)
        for name, value in values.items()
    ).cast(dict(FETCHED_COLUMNS))


def multiplied(bars: pl.DataFrame, factor: float, where: pl.Expr) -> pl.DataFrame:
    """The bars with all prices times a factor where the condition holds, in whole cents."""
    return altered(bars, where, **{name: (pl.col(name) * factor).round(2) for name in PRICES})


def _yahoo(bars: pl.DataFrame, **options: Any) -> YahooServer:
    return YahooServer(listings(bars, **options))


def listings(bars: pl.DataFrame, *, splits: Mapping[str, Mapping[date, tuple[float, float]]] | None = None) -> Any:
    """What Yahoo knows of each symbol."""
    rows: dict[str, list[Any]] = {}
    for symbol, *row in bars.select(list(FETCHED_COLUMNS)).iter_rows():
        rows.setdefault(symbol, []).append(tuple(row))
    return {symbol: Listing(told, splits=(splits or {}).get(symbol, {})) for symbol, told in rows.items()}


@dataclass(frozen=True)
class Vendor:
    """One vendor.

    Args:
        name: of its plug-in.
        server: makes its server from bars.
        bars_path: how the path of a request for bars begins.
        pages: whether its answers come in pages.
    """

    name: str
    server: Callable[..., Any]
    bars_path: str
    pages: bool


VENDORS = {
    vendor.name: vendor
    for vendor in (
        Vendor("yahoo", _yahoo, yahoo_server.CHART, pages=False),
        Vendor("massive", lambda bars, **o: MassiveServer(bars, key=KEYS["massive_key"], **o), "/v2/aggs/", pages=True),
        Vendor(
            "alpaca",
            lambda bars, **o: AlpacaServer(bars, key=KEYS["alpaca_key"], secret=KEYS["alpaca_secret"], **o),
            alpaca_server.BARS,
            pages=True,
        ),
    )
}
assert massive_server.AGGS.startswith("/v2/aggs/")


def tell(server: Any, bars: pl.DataFrame) -> None:
    """From now on the vendor tells these bars."""
    if isinstance(server, YahooServer):
        server.listings = listings(bars)
    else:
        server.bars = bars


@contextmanager
def vendors(bars: pl.DataFrame, *chain: str, **options: Any) -> Generator[dict[str, Any]]:
    """Servers that tell the bars, by the name of their plug-in; the environment leads Yahoo's client to its own."""
    with ExitStack() as open_, mock.patch.dict(os.environ):
        servers = {}
        for name in chain:
            servers[name] = open_.enter_context(VENDORS[name].server(bars, **options))
            os.environ.update(getattr(servers[name], "environment", {}))
        yield servers


@dataclass(frozen=True)
class Done:
    """What a run did.

    Args:
        success: whether every asset was materialized.
        failures: step → sentence.
        checks: check of market_bars → its result.
        metadata: of market_bars, as plain values; empty if it was not materialized.
        progress: sentences told while market_bars was made.
    """

    success: bool
    failures: dict[str, str]
    checks: dict[str, dg.AssetCheckEvaluation]
    metadata: dict[str, Any]
    progress: list[str]

    def offenders(self, check: str) -> str:
        return str(self.checks[check].metadata["offenders"].value)


@dataclass
class MarketHome:
    """A platform in a folder, with a universe of its own and a clock that stands at the end of one session.

    Args:
        path: an empty folder.
        symbols: the universe, in the order of priority.
        servers: name of a source → its server; the chain, in order.
        first: first session wanted.
        settings: of the configuration, over everything else.
    """

    path: Path
    symbols: Sequence[str]
    servers: Mapping[str, ScriptedServer]
    first: date = field(default_factory=lambda: sessions(1)[0])
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=lambda: KEYS)

    def __post_init__(self) -> None:
        if not self.path.exists():
            Home.fresh(self.path)
            self.write_universe(self.symbols)

    def write_universe(self, symbols: Sequence[str], *, left: Mapping[str, date] = MappingProxyType({})) -> None:
        """Members from the first session on, some of them until they left."""
        members = [
            {"symbol": symbol, "tier": "core", "sector": "Energy"}
            | ({"to_session": left[symbol]} if symbol in left else {})
            for symbol in symbols
        ]
        content = {"survivor_only": False, "from_session": self.first, "exchange": "XNYS", "symbols": members}
        (self.path / "universe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    def overrides(self, session: date) -> list[Mapping[str, Any]]:
        """Settings of the home whose clock stands where a session's bars are available."""
        urls = {name: server.url for name, server in self.servers.items() if not isinstance(server, YahooServer)}
        return [
            {
                "clock": {"kind": "snapshot", "session": session},
                "universe": {"file": str(self.path / "universe.yaml")},
                "bars": {"sources": list(self.servers), "from_session": self.first},
                "sources": {
                    **dict.fromkeys(self.servers, FREE),
                    **{name: {**FREE, "base_url": url} for name, url in urls.items()},
                },
                "failover": BRISK,
                # A stage that fails is not tried again: the tests count what one run asks.
                "runtime": {"retries": 0},
            },
            self.settings,
        ]

    def platform(self, session: date) -> Platform:
        """The platform, its clock standing where a session's bars are available."""
        config = build_config("live", *self.overrides(session))
        return Platform(settings=Settings(profile="live", home=self.path, **self.secrets), config=config)  # ty: ignore[invalid-argument-type]

    def update(self, session: date, *, job: str = "refresh_data", only: Sequence[str] = (), **request: Any) -> Done:
        """Runs a job in this process, by default the daily update of bars.

        Args:
            session: where the clock stands.
            job: of the definitions.
            only: assets of the job that are made; all of them by default.
            request: what is asked of the bars.
        """
        platform = self.platform(session)
        told: list[str] = []
        platform.progress = lambda asset, _share, text: told.append(text) if asset == "market_bars" else None
        quiet: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        if request:
            quiet["ops"] = {"market_bars": {"config": request}}
        with dg.DagsterInstance.ephemeral(tempdir=str(self.path)) as instance:
            made = build_definitions(platform).resolve_job_def(job)
            result = made.execute_in_process(
                instance=instance,
                raise_on_error=False,
                run_config=quiet,
                asset_selection=[dg.AssetKey(name) for name in only] or None,
            )
        events = result.get_asset_materialization_events()
        mine = [event.materialization for event in events if event.asset_key == dg.AssetKey("market_bars")]
        return Done(
            success=result.success,
            failures=step_failures(result),
            checks={
                check.check_name: check
                for check in result.get_asset_check_evaluations()
                if check.asset_key == dg.AssetKey("market_bars")
            },
            metadata={name: value.value for name, value in mine[0].metadata.items()} if mine else {},
            progress=told,
        )

    def environment(self, session: date) -> dict[str, str]:
        """Variables for a process of its own."""
        file = self.path / "config.yaml"
        merged: dict[str, Any] = {}
        for override in self.overrides(session):
            merged = _merged(merged, override)
        file.write_text(yaml.safe_dump(merged), encoding="utf-8")
        return Home(self.path).environment(
            GNN_ASSETS_PROFILE="live",
            GNN_ASSETS_CONFIG_FILE=str(file),
            **{f"GNN_ASSETS_{name.upper()}": value for name, value in self.secrets.items()},
        )

    def command(self, session: date, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The real command line, in a process of its own."""
        return Home(self.path).run(*arguments, **self.environment(session))

    def say(self, session: date, *arguments: str) -> tuple[int, str]:
        """The same command line in this process: exit code and output.

        For commands that make nothing: Dagster takes hold of the streams of a process that runs a job.
        """
        said = io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment(session), clear=True),
            mock.patch.object(sys, "argv", ["gnn-assets", *arguments]),
            redirect_stdout(said),
            redirect_stderr(said),
        ):
            try:
                main()
            except SystemExit as ended:
                return int(ended.code or 0), said.getvalue()
        return 0, said.getvalue()

    # What is stored and said.

    def table(self, table: Table) -> pl.DataFrame:
        """A table as it is now; empty if it was never published."""
        from gnn_assets.defs.tables import stored

        return stored(self.platform(self.first), table)

    def newest(self) -> pl.DataFrame:
        """The newest revision of each stored bar."""
        return latest(self.table(MARKET_BARS))

    def events(self, event: str) -> list[dict[str, Any]]:
        return [row for row in self.platform(self.first).ledger.read("events") if row["event"] == event]

    def status(self) -> dict[str, Any]:
        return platform_status(self.platform(self.first))

    def dead_letters(self) -> dict[str, str]:
        return {letter["symbol"]: letter["reason"] for letter in self.status()["dead_letters"]}


def asked_for_bars(server: ScriptedServer, name: str) -> list[str]:
    """Targets of the requests for bars."""
    return [target for target in server.targets if target.startswith(VENDORS[name].bars_path)]


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged
