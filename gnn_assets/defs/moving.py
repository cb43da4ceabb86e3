"""The one way to move the champion's pointer, and what the ledger says of a move.

The pointer is the truth and moves first, by compare-and-set. The ledger is made to agree with it under the pointer's
lock, before and after every move, so a move whose process was killed in between is still told, and never twice.
"""

from collections.abc import Sequence
from typing import Any

from gnn_assets.defs.resources import Platform
from gnn_assets.registry.pointer import Champion, Move
from gnn_assets.registry.switch import ROLLBACK
from gnn_assets.store.files import failpoint
from gnn_assets.store.versions import Lineage

_MOVED = ("promoted", "rolled_back")


def move_champion(
    platform: Platform,
    champion: Champion,
    *,
    expected: str | None,
    lineage: Lineage | None,
    run_id: str,
    seen: int | None = None,
) -> None:
    """Moves the pointer and enters the move in the ledger: the one way, for the gate and for people.

    Args:
        platform: the opened platform.
        champion: what is served from now on.
        expected: version of the champion it was decided against; None for nobody.
        lineage: of the gate's run; None for a person, and where the platform goes back.
        run_id: of the gate; empty likewise, and then `following_sensor` has everything follow.
        seen: number of the newest move when it was decided; None where only the version counts.

    Raises:
        PointerConflict: if somebody else moved it meanwhile.
        LockTimeout, DiskFull, CorruptArtefact: if pointer or ledger cannot be written.
    """
    platform.champion.promote(
        champion,
        expected=expected,
        lineage=lineage,
        run_id=run_id,
        seen=seen,
        tell=lambda moves: enter_moves(platform, moves),
    )


def tell_moves(platform: Platform) -> None:
    """Enters every move of the pointer in the ledger that is not there yet.

    Raises:
        LockTimeout, DiskFull, CorruptArtefact: if the ledger cannot be read or written.
    """
    platform.champion.tell(lambda moves: enter_moves(platform, moves))


def event_of(event: str, judged: Champion, *, against: str | None) -> dict[str, Any]:
    """What the ledger says of a decision on a candidate.

    Args:
        event: promoted, rolled_back, confirmed or refused.
        judged: the candidate.
        against: version of the champion then; None for nobody.
    """
    return {
        "event": event,
        "asset": "champion",
        "candidate": judged.version,
        "champion": against,
        "recipe": judged.config_hash,
        "rule": judged.rule,
        "reason": judged.reason,
        "verdict": judged.verdict,
    }


def enter_moves(platform: Platform, moves: Sequence[Move]) -> None:
    """Enters those of the moves that are not in the ledger yet; to be called under the pointer's lock."""
    entered = [event for event in platform.ledger.read("events") if event["event"] in _MOVED]
    # Before moves were numbered, each was entered in its turn.
    told = {(event.get("move", turn), event["candidate"]) for turn, event in enumerate(entered, start=1)}
    for move in moves:
        champion = move.champion
        if (move.sequence, champion.version) in told:
            continue
        event = "rolled_back" if champion.rule == ROLLBACK else "promoted"
        row = event_of(event, champion, against=move.before.version if move.before else None)
        by_whom = {"by": champion.by, "decided_at": champion.decided_at} if champion.by else {}
        platform.ledger.append("events", {**row, **by_whom, "move": move.sequence})
        failpoint("switch:told")
