"""Where a drill is done: the copy of a home, its own channels of alerts, and what is claimed of all that was seen.

A drill breaks the copy, runs the real stages and looks as the alerts' sensor does. Each claim says what it is about, and
the verdict is PASS only if every one holds and there is one at least about each: the fault was detected, people were
told, forecasts were served meanwhile, and all was well again.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

import dagster as dg
import polars as pl
from rich.console import Console

from gnn_assets.core.clock import ReplayClock
from gnn_assets.core.errors import GnnAssetsError, StoreError
from gnn_assets.defs.alerting import outbox_now, tell
from gnn_assets.defs.drills.copied import open_copy
from gnn_assets.defs.drills.listener import Heard, Listener
from gnn_assets.defs.operate import failures_of
from gnn_assets.defs.resources import Platform
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.monitoring.alerts import Memory, remember
from gnn_assets.registry.pointer import Champion

DETECTED, ALERTED, SERVED, RECOVERED = "detected", "alert", "served meanwhile", "recovery"
ABOUT = (DETECTED, ALERTED, SERVED, RECOVERED)
CHANNEL = "drill"
_WIDTH = 18  # of the name of a step
_SAYS = ("score", "expected_return", "lower", "upper", "rank")


@dataclass(frozen=True)
class Claim:
    """One thing that must be so.

    Args:
        about: one of `ABOUT`.
        sentence: what must be so.
        holds: whether it was.
        seen: what was there.
    """

    about: str
    sentence: str
    holds: bool
    seen: str


def is_pass(claims: Sequence[Claim]) -> bool:
    """Whether every claim holds, and there is one about each thing that a drill has to show."""
    return all(claim.holds for claim in claims) and {claim.about for claim in claims} == set(ABOUT)


@dataclass(frozen=True)
class Served:
    """The forecasts that readers have.

    Args:
        session: the newest they are of.
        served_by: who made them.
        degraded: whether that is somebody else than the chosen champion.
        champion: from whose bundle.
        rows: those of the newest session, by symbol.
    """

    session: date
    served_by: str
    degraded: bool
    champion: str
    rows: pl.DataFrame

    def says_as(self, other: "Served") -> bool:
        """Whether it says of every symbol what the other says, bit for bit, whatever it was made from."""
        names = ["symbol", "session", *_SAYS]
        return self.rows.select(names).equals(other.rows.select(names))

    @property
    def sentence(self) -> str:
        """For people."""
        degraded = "degraded" if self.degraded else "not degraded"
        return f"{self.rows.height} forecasts of {self.session} by {self.served_by}, {degraded}"


@dataclass(frozen=True)
class Ran:
    """What a run did.

    Args:
        failures: failed step → sentence.
        checks: failed check → sentence, of every asset it came to.
    """

    failures: Mapping[str, str]
    checks: Mapping[str, str]

    @property
    def sentence(self) -> str:
        """For people."""
        return "; ".join(f"{asset}: {told}" for asset, told in self.failures.items()) or "the run succeeded"


@dataclass
class Bench:
    """One drill's.

    Args:
        home: the platform whose copy is broken; only looked at.
        folder: the copy's home.
        define: makes the definitions of a platform.
        console: where it is shown.
    """

    home: Platform
    folder: Path
    define: Callable[[Platform], dg.Definitions]
    console: Console
    claims: list[Claim] = field(default_factory=list)
    _begun: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self.clock = ReplayClock(self.home.clock.now())
        self.channels: dict[str, Listener] = {CHANNEL: Listener()}
        self.platform = self.reopen({})

    def close(self) -> None:
        """Ends what was started."""
        for channel in self.channels.values():
            channel.close()
        if "instance" in self.__dict__:
            self.instance.dispose()

    # ---- the copy --------------------------------------------------------------------------------------------------

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's records of the copy's runs, in a folder of its own; other processes may write them too."""
        home = self.folder / "dagster"
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
        return dg.DagsterInstance.from_config(str(home))

    def remember_runs_in_memory(self) -> None:
        """Has Dagster's records need no disk, for a drill that takes the disk away; those so far are forgotten."""
        self.instance.dispose()
        self.__dict__["instance"] = dg.DagsterInstance.ephemeral()

    def reopen(self, changes: Mapping[str, Any]) -> Platform:
        """Opens the copy by other settings than before.

        Args:
            changes: to the home's, in the shape of `Config`.
        """
        channels = {name: channel.address for name, channel in self.channels.items()}
        self.platform = open_copy(self.home, self.folder, channels=channels, clock=self.clock, changes=changes)
        return self.platform

    def run(self, *assets: str) -> Ran:
        """Materializes some assets as any run would."""
        with self._waiting(f"making {', '.join(assets)}"):
            result = (
                self.define(self.platform)
                .resolve_job_def("everything")
                .execute_in_process(
                    instance=self.instance,
                    raise_on_error=False,
                    asset_selection=[dg.AssetKey(name) for name in assets],
                    run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                )
            )
        return Ran(failures_of(result), _failed_checks(result))

    def let_time_pass(self, changes: Mapping[str, Any], *, to: datetime) -> Platform:
        """Opens the copy at a later moment, by other settings."""
        self.clock.advance_to(to)
        return self.reopen(changes)

    def look(self) -> list[Heard]:
        """What the alerts' sensor does: it looks, and sends; the messages that arrived by it, on any channel."""
        before = {name: len(channel.heard) for name, channel in self.channels.items()}
        # People were told of it, which is what is looked at here.
        with self._waiting("looking as the sensor does"), suppress(StoreError):
            tell(self.platform, self.instance)
        return [heard for name, channel in self.channels.items() for heard in channel.heard[before[name] :]]

    def served(self) -> Served | None:
        """The forecasts that a reader has now; None if he has none."""
        try:
            rows = self.platform.lake.read(FORECASTS)
        except StoreError:
            return None
        newest = rows.filter(pl.col("session") == pl.col("session").max()).sort("symbol")
        if newest.is_empty():
            return None
        first = newest.row(0, named=True)
        return Served(
            session=first["session"],
            served_by=first["served_by"],
            degraded=bool(newest["degraded"].any()),
            champion=first["champion"],
            rows=newest,
        )

    @property
    def champion(self) -> Champion:
        """Who is served."""
        champion = self.platform.champion.current()
        assert champion is not None  # a home without one is refused before
        return champion

    # ---- what is said ----------------------------------------------------------------------------------------------

    def say(self, step: str, text: str) -> None:
        """Prints what happens at one step of the drill."""
        first, *more = text.splitlines() or [""]
        self.console.print(f"{step:<{_WIDTH}} {first}", markup=False, highlight=False, soft_wrap=True)
        for line in more:
            self.console.print(f"{'':<{_WIDTH}} {line}".rstrip(), markup=False, highlight=False, soft_wrap=True)

    def broken(self, text: str) -> None:
        """Says what was broken; from now on seconds are counted."""
        self._begun = monotonic()
        self.say("broken", text)

    def claim(self, about: str, sentence: str, *, holds: bool, seen: str) -> None:
        """Enters a claim and prints what was seen."""
        self.claims.append(Claim(about, sentence, holds, seen))
        after = f" (after {monotonic() - self._begun:.1f} s)" if about == DETECTED else ""
        self.say(about, f"{sentence}: {'yes' if holds else 'NO'}{after}\n{seen}")

    def claim_alert(self, *words: str) -> None:
        """Claims that one look tells people of something, each of `words` being in the message."""
        heard = self.look()
        found = next((one for one in heard if all(word in one.text for word in words)), None)
        seen = found.text if found else f"arrived: {[one.title for one in heard]}; dead letters: {self.dead_letters()}"
        self.claim(ALERTED, f"people are told of {', '.join(words)}", holds=found is not None, seen=seen)

    def was_told(self, name: str) -> bool:
        """Whether people were told of a condition by the ledger, which knows when it is over."""
        episode = remember(self.platform.ledger.read("alerts")).episodes.get(name)
        return episode is not None and episode.message > 0

    def claim_over(self, name: str) -> None:
        """Claims that one look tells people that a condition is over, as soon as all that was told with it is.

        Args:
            name: kind and subject, such as ``run_failed/market_bars``.
        """
        self.look()
        memory = remember(self.platform.ledger.read("alerts"))
        episode = memory.episodes.get(name)
        told = memory.messages.get(episode.message) if episode else None
        if episode is None or told is None:
            self.claim(RECOVERED, f"{name} is over", holds=False, seen="nobody was told that it began")
            return
        lasting = [one for one in told.names if _lasts(memory, one)]
        title = f"[resolved] {told.title.partition('] ')[2]}"
        arrived = [one.text for channel in self.channels.values() for one in channel.heard if one.title == title]
        waits = f"over; what was told with it is not: {', '.join(lasting)}" if name not in lasting else "not over"
        self.claim(
            RECOVERED,
            f"people are told that {name} is over",
            holds=bool(arrived) if not lasting else name not in lasting,
            seen=arrived[-1] if arrived else waits if lasting else "over, and no message arrived",
        )

    def claim_served_as(self, before: Served | None) -> None:
        """Claims that readers have the very forecasts they had before."""
        now = self.served()
        same = now is not None and before is not None and now.rows.equals(before.rows)
        seen = f"{now.sentence}; {'equal' if same else 'not equal'} to before, bit for bit" if now else "nothing"
        self.claim(SERVED, "the last good forecasts are served, as they were", holds=same, seen=seen)

    def dead_letters(self) -> list[str]:
        """Titles of the messages that nobody took; none while the ledger cannot be read."""
        with suppress(GnnAssetsError):
            return [message.title for message in outbox_now(self.platform).dead_letters]
        return []

    @contextmanager
    def _waiting(self, text: str) -> Generator[None]:
        if not self.console.is_terminal:
            yield
            return
        with self.console.status(text):
            yield


def _lasts(memory: Memory, name: str) -> bool:
    episode = memory.episodes[name]
    return episode.condition.lasts and episode.over_at is None


def _failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    return {check.check_name: check.description or "" for check in failed}
