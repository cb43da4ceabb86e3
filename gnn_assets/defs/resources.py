"""The platform's parts, opened once: settings, configuration, clock, calendar and stores.

No Dagster in here, so that a notebook or the command line opens the same platform without it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import polars as pl

from gnn_assets.bars import sources
from gnn_assets.core.clock import Clock, LiveClock, ReplayClock, SnapshotClock
from gnn_assets.core.config import Config
from gnn_assets.core.logs import LogFile, logging_to
from gnn_assets.core.plugins import load_plugin
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets.core.settings import Settings, load_config, read_settings
from gnn_assets.monitoring.redaction import secrets_of
from gnn_assets.registry.pointer import ChampionPointer
from gnn_assets.store.cards import Cards
from gnn_assets.store.checkpoints import Checkpoints
from gnn_assets.store.lake import Lake
from gnn_assets.store.landing import Landing, Refusals
from gnn_assets.store.ledger import Ledger
from gnn_assets.store.panels import Panels
from gnn_assets.store.versions import Versions
from gnn_assets.store.weights import WeightsStore

SOURCES = sources.__name__
_MEGABYTE = 1_000_000

# Told how far a stage is: asset, share done (0 to 1), what it is doing.
Progress = Callable[[str, float, str], None]


def no_progress(_asset: str, _fraction: float, _text: str) -> None:
    """Tells nobody."""


@dataclass
class Platform:
    """Everything an asset body, a command or a notebook needs, and nothing it does not.

    Args:
        settings: what the environment says.
        config: the validated configuration.
        progress: who is told how far a stage is.
    """

    settings: Settings
    config: Config
    progress: Progress = field(default=no_progress)

    @classmethod
    def from_environment(cls) -> "Platform":
        """The platform the environment asks for.

        Raises:
            ConfigError: if a variable or a setting is wrong.
        """
        settings = read_settings()
        return cls(settings=settings, config=load_config(settings))

    @property
    def data(self) -> Path:
        """Folder of everything this platform has stored."""
        return self.settings.data

    @cached_property
    def clock(self) -> Clock:
        """The machine's clock, or one that stands still where the snapshot ends."""
        session = self.config.clock.session
        if session is None:
            return LiveClock()
        calendar = self._calendar(until=session)
        return SnapshotClock(calendar.available_at(session))

    @cached_property
    def calendar(self) -> SessionCalendar:
        """The exchange's sessions, to a year beyond the clock's present."""
        return self._calendar(until=self.clock.now().date())

    @cached_property
    def exchanges(self) -> Exchanges:
        """The calendars of every exchange the universe may trade on."""
        until = self.clock.now().date()
        others = {code: self._calendar(until=until, exchange=code) for code in self.config.calendar.others}
        return Exchanges(primary=self.calendar, others=others)

    @cached_property
    def landing(self) -> Landing:
        """Answers of sources on their way to the lake."""
        return Landing(self.data / "landing")

    @cached_property
    def refusals(self) -> Refusals:
        """Answers that were not in their source's format, as they came."""
        return Refusals(self.data / "lake" / "quarantine_payloads")

    @cached_property
    def panels(self) -> Panels:
        """Dense arrays derived from bars and returns."""
        return Panels(self.data / "panels", lock_timeout_seconds=self.config.runtime.lock_timeout_seconds)

    @property
    def source_states_file(self) -> Path:
        """What the sources' circuit breakers said last."""
        return self.data / "sources" / "states.json"

    @cached_property
    def lake(self) -> Lake:
        """Tables."""
        return Lake(self.data / "lake", clock=self.clock, lock_timeout_seconds=self.config.runtime.lock_timeout_seconds)

    @cached_property
    def weights(self) -> WeightsStore:
        """Trained weights."""
        return WeightsStore(
            self.data / "lake" / "gnn_weights",
            clock=self.clock,
            lock_timeout_seconds=self.config.runtime.lock_timeout_seconds,
        )

    @cached_property
    def champion(self) -> ChampionPointer:
        """Which weights are served."""
        return ChampionPointer.open(
            self.data / "lake" / "champion",
            clock=self.clock,
            lock_timeout_seconds=self.config.runtime.lock_timeout_seconds,
        )

    @cached_property
    def mirrored(self) -> Versions:
        """Which champion MLflow shows."""
        return Versions(
            self.data / "mlflow" / "mirrored",
            clock=self.clock,
            lock_timeout_seconds=self.config.runtime.lock_timeout_seconds,
        )

    @property
    def checkpoints(self) -> Checkpoints:
        """Unfinished training, and limits of drift that were calibrated."""
        return Checkpoints(self.data / "checkpoints")

    @cached_property
    def ledger(self) -> Ledger:
        """Trials, events and decisions."""
        return Ledger(
            self.data / "ledger", clock=self.clock, lock_timeout_seconds=self.config.runtime.lock_timeout_seconds
        )

    @cached_property
    def log_file(self) -> LogFile:
        """Where everything that happens is told, a line each."""
        runtime = self.config.runtime
        told = self.settings.alerts_heartbeat
        heartbeat = [told.get_secret_value()] if told else []
        secrets = secrets_of(
            keys=self.settings.keys.values(),
            addresses=[*self.settings.channels.values(), *heartbeat],
        )
        path = self.data / "logs" / "gnn_assets.jsonl"
        return LogFile(path, largest=int(runtime.log_megabytes * _MEGABYTE), kept=runtime.log_files, secrets=secrets)

    def logging(self, **ids: str) -> AbstractContextManager[None]:
        """A block whose lines go to this platform's log, with these ids; see `core.logs`."""
        return logging_to(self.log_file, **ids)

    @cached_property
    def cards(self) -> Cards:
        """The forecasts' cards."""
        return Cards(self.data / "lake" / "cards")

    def versions(self, asset: str) -> Versions:
        """The publications of an asset, whatever kind of artefact it keeps."""
        if asset == "gnn_weights":
            return self.weights.versions
        if asset == "champion":
            return self.champion.versions
        if asset == "mlflow_mirror":
            return self.mirrored
        return self.lake.versions(asset)

    @property
    def last_session(self) -> date:
        """The newest session whose bar is available."""
        return self.calendar.last_complete(self.clock.now())

    def sessions_of(self, frame: pl.DataFrame) -> list[date]:
        """Every session of the exchange from a frame's first to its last, those included that nobody has a row on."""
        ends = frame.select(first=pl.col("session").min(), last=pl.col("session").max()).row(0)
        return list(self.calendar.between(*ends))

    @property
    def label(self) -> str:
        """What the clock is, and whether the market is one at all, for people; it stands wherever a result is shown."""
        session = self.config.clock.session
        simulated = any(load_plugin(SOURCES, name).SIMULATED for name in self.config.bars.sources)
        replayed = isinstance(self.clock, ReplayClock)
        clock = "replay" if replayed else "live" if session is None else f"static snapshot to {session}"
        return f"{clock}, SIMULATED BARS" if simulated else clock

    def _calendar(self, *, until: date, exchange: str | None = None) -> SessionCalendar:
        calendar = self.config.calendar
        return SessionCalendar.build(
            exchange or calendar.exchange,
            first=calendar.first_session,
            until=until,
            grace=timedelta(minutes=calendar.grace_minutes),
        )
