"""What a replay saw, session after session: all that its page, its hash and its terminal show."""

from datetime import date, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from gnn_assets.core.hashing import json_hash


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


class Measured(_Record):
    """One measured reason.

    Args:
        value: as measured; None while it is not known.
        limit: what it is held against; None while there is none.
        alarm: whether it is beyond.
    """

    value: float | None
    limit: float | None
    alarm: bool


class Ran(_Record):
    """One run of Dagster.

    Args:
        assets: what was asked for.
        why: asset → reasons with value and limit, of those that were made.
        failed: asset → sentence, of those that failed.
        seconds: wall time; not part of the hash.
    """

    assets: tuple[str, ...]
    why: dict[str, str]
    failed: dict[str, str]
    seconds: float


class Happened(_Record):
    """An entry of the ledger that people want to see.

    Args:
        event: such as promoted, refused, rolled_back, degraded.
        what: of which asset or candidate.
        reason: as it was entered.
    """

    event: str
    what: str
    reason: str


class Walked(_Record):
    """One session of a replay.

    Args:
        session: of the exchange.
        moment: aware UTC; when nothing more was asked for.
        runs: in order.
        versions: asset → data version at the end.
        measured: reason → its worst value.
        decision: action of the newest order since the session before: train, retry; without one hold or none.
        why: its reasons, with value and limit; empty where there are none.
        cause: why it holds back; empty otherwise.
        events: what was entered in the ledger.
        alerts: sentences of alerts that began.
        champion: version that is served; None before the first.
        market: gross return of equal weight from the replay's first session on (share).
        served: net return of what was served, likewise (share); None while nothing served has an outcome.
        equal_weight: net return of equal weight over the same sessions and costs (share); likewise.
        drift: distance of the correlation graph from its reference, and its limit; None while not known.
    """

    session: date
    moment: datetime
    runs: tuple[Ran, ...]
    versions: dict[str, str]
    measured: dict[str, Measured]
    decision: str
    why: str
    cause: str
    events: tuple[Happened, ...]
    alerts: tuple[str, ...]
    champion: str | None
    market: float | None
    served: float | None
    equal_weight: float | None
    drift: Measured | None

    @property
    def hash(self) -> str:
        """Hash of all but how long it took."""
        told = self.model_dump(mode="json")
        for run in told["runs"]:
            del run["seconds"]
        return json_hash(told)


class Walk(_Record):
    """A whole replay.

    Args:
        name: folder under data/replay.
        profile: of its settings.
        label: what kind of market it was, for people.
        sessions: in order.
        seconds: wall time.
    """

    name: str
    profile: str
    label: str
    sessions: tuple[Walked, ...]
    seconds: float

    @property
    def hash(self) -> str:
        """Hash over the sessions: the same for the same bars, settings, seed and code."""
        return json_hash([walked.hash for walked in self.sessions])

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Walk":
        """Reads it again."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
