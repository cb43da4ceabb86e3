"""Which weights are served: one record of truth, moved by compare-and-set under a lock.

Dagster's own lineage names the newest weights even while older ones are served, and a registry server may be down;
this pointer is a file beside the weights, read in microseconds, with its whole history.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gnn_assets.core.clock import Clock
from gnn_assets.store.versions import Lineage, Publication, Versions


@dataclass(frozen=True)
class Champion:
    """The weights that are served, and what they were judged on.

    Args:
        version: gnn_weights version.
        model: plug-in of the zoo that scores.
        rule: rule of the gate that let it pass: bootstrap, refresh or replace.
        reason: the gate's sentence.
        verdict: verdict on its backtest when it was promoted.
        config_hash: hash of the recipe (configuration sections) it was trained with.
        oos_predictions: version of its out-of-sample predictions; calibration reads them.
        portfolio_returns: version of its portfolio returns; the next paired test reads them.
        backtest_scores: version of its scores.
        data_end: last session it was trained up to (ISO date).
    """

    version: str
    model: str
    rule: str
    reason: str
    verdict: str
    config_hash: str
    oos_predictions: str
    portfolio_returns: str
    backtest_scores: str
    data_end: str


@dataclass(frozen=True)
class ChampionPointer:
    """The pointer file of the champion and its history."""

    versions: Versions

    @classmethod
    def open(cls, folder: Path, *, clock: Clock, lock_timeout_seconds: float) -> "ChampionPointer":
        """The pointer kept in a folder of the lake."""
        return cls(Versions(folder, clock=clock, lock_timeout_seconds=lock_timeout_seconds))

    def current(self) -> Champion | None:
        """The champion now; None before the first promotion."""
        return _champion(self.versions.current())

    def newest(self, count: int) -> list[Champion]:
        """The champions of the newest publications, newest first, each once."""
        found: dict[str, Champion] = {}
        for publication in self.versions.newest_first():
            champion = _champion(publication)
            if champion is not None:
                found.setdefault(champion.version, champion)
            if len(found) == count:
                break
        return list(found.values())

    def as_of(self, moment: datetime) -> Champion | None:
        """The champion that was served at a moment."""
        return _champion(self.versions.as_of(moment))

    def promote(self, champion: Champion, *, expected: str | None, lineage: Lineage, run_id: str) -> Publication:
        """Moves the pointer, unless somebody moved it since `expected` was read.

        Args:
            champion: what to serve from now on.
            expected: version of the champion the gate judged against; None if there was none.
            lineage: inputs and code of the gate.
            run_id: run that promotes.

        Raises:
            PointerConflict: if the champion is no longer `expected`.
        """
        note: Mapping[str, Any] = {key: value for key, value in asdict(champion).items() if key != "version"}
        return self.versions.publish(champion.version, lineage=lineage, run_id=run_id, note=note, expected=expected)


def _champion(publication: Publication | None) -> Champion | None:
    return None if publication is None else Champion(version=publication.version, **publication.note)
