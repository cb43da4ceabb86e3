"""Which weights are served: one record of truth, moved by compare-and-set under a lock.

Dagster's own lineage names the newest weights even while older ones are served, and a registry server may be down;
this pointer is a file beside the weights, read in microseconds, with its whole history.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from gnn_assets.core.clock import Clock
from gnn_assets.core.errors import PointerConflict
from gnn_assets.store.versions import Lineage, Publication, Versions


@dataclass(frozen=True)
class Champion:
    """The weights that are served, and what they were judged on.

    Args:
        version: gnn_weights version.
        model: plug-in of the zoo that scores.
        rule: rule of the gate that let it pass: bootstrap, refresh or replace; manual or rollback where a person did.
        reason: the gate's sentence, or the person's.
        verdict: verdict on its backtest when it was promoted.
        config_hash: hash of the recipe (configuration sections) it was trained with.
        oos_predictions: version of its out-of-sample predictions; calibration reads them.
        portfolio_returns: version of its portfolio returns; the next paired test reads them.
        backtest_scores: version of its scores.
        data_end: last session it was trained up to (ISO date).
        by: user@host of the person who put it there; empty where the gate did.
        decided_at: when that person did, by the machine's own clock (ISO, UTC); empty where the gate did.
        publications: how many publications of scores there were then; 0 where the gate did.
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
    by: str = ""
    decided_at: str = ""
    publications: int = 0


@dataclass(frozen=True)
class Move:
    """One move of the pointer.

    Args:
        sequence: 1, 2, ... in order.
        champion: what is served from then on.
        before: who was served until then; None for nobody.
        moved_at: aware UTC moment, by the platform's clock.
        run_id: run of the gate that moved it; empty where a person did.
    """

    sequence: int
    champion: Champion
    before: Champion | None
    moved_at: datetime
    run_id: str


# Told every move, oldest first, while nobody else can move the pointer.
Tell = Callable[[Sequence[Move]], None]


def _told_to_nobody(_moves: Sequence[Move]) -> None:
    """Tells nobody."""


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

    def moves(self) -> list[Move]:
        """Every move, oldest first; damaged records are passed over."""
        moves: list[Move] = []
        for made in reversed(list(self.versions.good())):
            moves.append(
                Move(
                    sequence=made.sequence,
                    champion=Champion(version=made.version, **made.note),
                    before=moves[-1].champion if moves else None,
                    moved_at=made.published_at,
                    run_id=made.run_id,
                )
            )
        return moves

    def reign(self) -> frozenset[str]:
        """Versions served since the recipe last changed: the champion and those it refreshed, one after another."""
        moves = self.moves()
        alike = takewhile(lambda move: move.champion.config_hash == moves[-1].champion.config_hash, reversed(moves))
        return frozenset(move.champion.version for move in alike)

    def tell(self, tell: Tell) -> None:
        """Tells of every move while nobody can make another.

        Raises:
            LockTimeout: if somebody else is moving the pointer for too long.
        """
        with self.versions.writing():
            tell(self.moves())

    def promote(
        self,
        champion: Champion,
        *,
        expected: str | None,
        lineage: Lineage | None,
        run_id: str,
        seen: int | None = None,
        tell: Tell = _told_to_nobody,
    ) -> Publication:
        """Moves the pointer, unless somebody moved it since `expected` was read.

        The pointer is the truth, and it moves before anybody is told. What a mover who was killed in between left
        untold is told first, so every move is told, in order.

        Args:
            champion: what to serve from now on.
            expected: version of the champion the gate or the person decided against; None if there was none.
            lineage: inputs and code of the gate; None where a person decided.
            run_id: run that promotes; empty where a person does.
            seen: number of the newest move when it was decided, 0 before the first. A champion that went and came back
                meanwhile is the same version, and another decision. None where only the version counts.
            tell: told of every move, before and after this one.

        Raises:
            PointerConflict: if the champion is no longer `expected`, or was moved since `seen`.
            LockTimeout: if somebody else is moving the pointer for too long.
        """
        note: Mapping[str, Any] = {key: value for key, value in asdict(champion).items() if key != "version"}
        with self.versions.writing() as writer:
            tell(self.moves())
            newest = writer.current.sequence if writer.current else 0
            if seen is not None and seen != newest:
                raise PointerConflict.of(
                    f"pointer {self.versions.folder}",
                    expected=f"no move after number {seen}",
                    was=f"number {newest}",
                    do="look at what was decided meanwhile and decide again",
                )
            made = writer.publish(champion.version, lineage=lineage, run_id=run_id, note=note, expected=expected)
            tell(self.moves())
        return made


def _champion(publication: Publication | None) -> Champion | None:
    return None if publication is None else Champion(version=publication.version, **publication.note)
