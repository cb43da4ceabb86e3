"""What moves the champion's pointer and tells of it: the gate's run, a person at the command line, and a hard fault.

The pointer is the truth and moves first, by compare-and-set. The ledger is made to agree with it under the pointer's
lock, before and after every move and by each command and each run of the gate, so a move whose process was killed in
between is still told, and never twice. Needs no Dagster and no jax: going back takes as long as hashing the weights.
"""

import os
import pwd
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from gnn_assets.backtests.schema import BACKTEST_SCORES, PORTFOLIO_RETURNS
from gnn_assets.core.clock import LiveClock, ReplayClock
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, PointerConflict, SchemaMismatch, StoreError
from gnn_assets.defs.candidates import (
    contender_of,
    first_scored,
    newest_scoring,
    record_of,
    scored,
    training_failure,
)
from gnn_assets.defs.moving import enter_moves, event_of, move_champion, tell_moves
from gnn_assets.defs.resources import Platform
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.monitoring.reasons import Reason
from gnn_assets.registry.pointer import Champion, Move
from gnn_assets.registry.switch import (
    MANUAL,
    PLATFORM,
    ROLLBACK,
    Decision,
    by_hand,
    former_champions,
    named,
    refuse_dishonest,
)
from gnn_assets.store.files import failpoint

_CONFIRMED = "confirmed"
_CITED = (OOS_PREDICTIONS, PORTFOLIO_RETURNS, BACKTEST_SCORES)


@dataclass(frozen=True)
class Switched:
    """What a command did.

    Args:
        champion: who is served now.
        before: who was served when the command began; None for nobody.
    """

    champion: Champion
    before: Champion | None

    @property
    def moved(self) -> bool:
        """Whether the pointer moved; False if the champion was in place already."""
        return self.before is None or self.before.version != self.champion.version


def roll_back(platform: Platform, version: str, *, reason: str) -> Switched:
    """Goes back to a former champion; the gate leaves it there until a candidate is trained that is newer than this.

    Args:
        platform: the opened platform.
        version: of a former champion, or how it begins.
        reason: why, for the ledger; may be empty.

    Raises:
        MissingArtefact: if no former champion, or several, begin so, or if what it is served from is gone.
        CorruptArtefact, SchemaMismatch: if that is damaged, or of another release.
        PointerConflict: if somebody else moved the pointer meanwhile.
    """
    before = platform.champion.current()
    tell_moves(platform)
    records = {move.champion.version: move.champion for move in platform.champion.moves()}
    found = records[named(version, records, what="former champion")]
    if before is not None and before.version == found.version:
        return Switched(champion=before, before=before)
    return _switch(platform, found, before=before, rule=ROLLBACK, reason=reason)


def roll_back_for(
    platform: Platform,
    reason: str,
    *,
    version: str,
    serves: Callable[[Champion], bool] = lambda _former: True,
) -> Switched | None:
    """Goes back, without a person, to the newest former champion that is whole and can serve.

    The move is that of a person's rollback, told and followed in the same way. It holds out the champion that is gone
    back from and what was there before it; a candidate scored since is judged as ever. Whoever was gone back from once
    is not gone back to. If nobody can serve, or another champion was put in place meanwhile, nothing moves.

    Args:
        platform: the opened platform.
        reason: a sentence for the ledger, such as "bad_output: forecasts_finite 3 > 0 on 2022-12-28".
        version: of the champion that the reason speaks against.
        serves: whether a former champion can do what this one could not; asked of the newest first, and only if whole.

    Returns:
        What was done; None if nothing moved.

    Raises:
        PointerConflict: if somebody else moved the pointer while it was looked for.
        LockTimeout, DiskFull, CorruptArtefact: if pointer or ledger cannot be read or written.
    """
    tell_moves(platform)
    moves = platform.champion.moves()
    if not moves or moves[-1].champion.version != version:
        return None
    for former in former_champions(moves):
        if _is_whole(platform, former) and serves(former):
            restored = by_hand(
                former,
                rule=ROLLBACK,
                reason=reason,
                by=PLATFORM,
                decided_at=_moment(platform).isoformat(),
                publications=first_scored(platform, version) or newest_scoring(platform),
            )
            move_champion(platform, restored, expected=version, lineage=None, run_id="", seen=moves[-1].sequence)
            return Switched(champion=restored, before=moves[-1].champion)
    return None


def promote_by_hand(platform: Platform, version: str, *, reason: str) -> Switched:
    """Serves a candidate whatever the gate's evidence says; its hard checks still hold. It stays as after a rollback.

    The champion itself is confirmed: nothing moves, but the decision is entered, and holds out what could have been
    chosen instead, as if the person had put it there now.

    Args:
        platform: the opened platform.
        version: of a candidate that has scores, or how it begins.
        reason: why, for the ledger; may be empty.

    Raises:
        MissingArtefact: if no candidate with scores, or several, begin so, or if weights or scores are gone.
        CorruptArtefact, SchemaMismatch: if these are damaged, or of another release.
        ModelError: if a hard check fails.
        PointerConflict: if somebody else moved the pointer meanwhile.
    """
    before = platform.champion.current()
    tell_moves(platform)
    records = {move.champion.version: move.champion for move in platform.champion.moves()}
    tables = scored(platform)
    found = named(version, [*tables, *records], what="candidate with scores")
    if before is not None and before.version == found:
        return _confirm(platform, before, reason=reason)
    with _not_whole_told(found):
        record = records[found] if found in records else record_of(platform, found, tables=tables[found])
        failure = training_failure(platform.weights.facts(found), record.model)
        candidate = contender_of(platform, record, failure=failure)
        own = [part for part in platform.weights.parts(found) if part.startswith(f"{record.model}/")]
        weights = {part: platform.weights.load(found, part) for part in own}
    served = None
    # A champion that is damaged must not stop the candidate that takes its place.
    with suppress(StoreError):
        served = contender_of(platform, before) if before else None
    refuse_dishonest(candidate, served, weights, failed_before=_failed_before(platform, found))
    return _switch(platform, record, before=before, rule=MANUAL, reason=reason)


def fault_of(platform: Platform) -> str:
    """For which fault of another the platform put the present champion in place; empty where it was chosen.

    Chosen is whom the gate or a person put there, or a person confirmed since; and whom the platform went back to
    because it has beaten the one after it, as that is a judgement on evidence, like the gate's, and no fault.

    Raises:
        CorruptArtefact: if the ledger is damaged.
    """
    champion = platform.champion.current()
    if champion is None or champion.by != PLATFORM or champion.reason.startswith(Reason.CHAMPION_BEATEN):
        return ""
    decided = datetime.fromisoformat(champion.decided_at)
    confirmed = (
        decision.version == champion.version and datetime.fromisoformat(decision.decided_at) > decided
        for decision in decisions(platform)
    )
    return "" if any(confirmed) else champion.reason


def _moment(platform: Platform) -> datetime:
    """When somebody decides: by the machine's clock, also where the platform's stands still; in a replay by that one."""
    return platform.clock.now() if isinstance(platform.clock, ReplayClock) else LiveClock().now()


def to_follow(platform: Platform) -> dict[str, str]:
    """What still shows another champion than the pointer names: asset → that champion's version, or "none".

    Forecasts of the champion that say it stands in for another show another, once somebody has chosen it.
    """
    served = platform.champion.current()
    if served is None:
        return {}
    shown = {"mlflow_mirror": "none", FORECASTS.name: "none"}
    with suppress(StoreError):
        mirrored = platform.mirrored.current()
        shown["mlflow_mirror"] = mirrored.version if mirrored else "none"
    with suppress(StoreError):
        made = platform.lake.read(FORECASTS, columns=["champion", "session", "served_by", "degraded"]).sort("session")
        newest = made.row(-1, named=True) if made.height else {"champion": "none", "degraded": False}
        stood_in = newest["degraded"] and newest["served_by"].startswith(f"{served.model}/")
        shown[FORECASTS.name] = "none" if stood_in and not fault_of(platform) else newest["champion"]
    return {asset: version for asset, version in shown.items() if version != served.version}


def decisions(platform: Platform) -> list[Decision]:
    """What was decided about the champion without the gate: every such move, and every champion confirmed.

    Raises:
        CorruptArtefact: if the ledger is damaged.
    """
    moved = [Decision.of(move.champion) for move in platform.champion.moves() if move.champion.by]
    confirmed = [event for event in platform.ledger.read("events") if event["event"] == _CONFIRMED]
    told = ("rule", "reason", "by", "decided_at", "publications")
    return moved + [Decision(event["candidate"], **{name: event[name] for name in told}) for event in confirmed]


def _failed_before(platform: Platform, version: str) -> set[str]:
    """Checks by which the gate ever refused a candidate."""
    events = platform.ledger.read("events")
    refusals = [event for event in events if event["event"] == "refused" and event["candidate"] == version]
    # Refusals did not name their checks before there was any that counts here.
    return {name for refusal in refusals for name in refusal.get("failed", ())}


def _confirm(platform: Platform, champion: Champion, *, reason: str) -> Switched:
    """Enters that a person chose the champion which is served; under the pointer's lock, so that it still is."""
    decided = _by_me(platform, champion, rule=MANUAL, reason=reason)

    def enter(moves: Sequence[Move]) -> None:
        enter_moves(platform, moves)
        if not moves or moves[-1].champion.version != champion.version:
            raise PointerConflict.of(
                "pointer of the champion",
                expected=champion.version,
                was=moves[-1].champion.version if moves else "nothing",
                do="look at what was decided meanwhile and decide again",
            )
        by_whom = {"by": decided.by, "decided_at": decided.decided_at, "publications": decided.publications}
        platform.ledger.append("events", {**event_of(_CONFIRMED, decided, against=champion.version), **by_whom})

    platform.champion.tell(enter)
    return Switched(champion=champion, before=champion)


def _by_me(platform: Platform, found: Champion, *, rule: str, reason: str) -> Champion:
    """A record as the person at the command line decides on it now."""
    return by_hand(
        found,
        rule=rule,
        reason=reason,
        by=_person(),
        decided_at=_moment(platform).isoformat(),
        publications=newest_scoring(platform),
    )


def _switch(platform: Platform, found: Champion, *, before: Champion | None, rule: str, reason: str) -> Switched:
    _hold_whole(platform, found)
    champion = _by_me(platform, found, rule=rule, reason=reason)
    failpoint("switch:checked")
    move_champion(platform, champion, expected=before.version if before else None, lineage=None, run_id="")
    return Switched(champion=champion, before=before)


def _is_whole(platform: Platform, record: Champion) -> bool:
    with suppress(MissingArtefact, CorruptArtefact, SchemaMismatch):
        _hold_whole(platform, record)
        return True
    return False


def _hold_whole(platform: Platform, record: Champion) -> None:
    """Checks every byte that serving and judging the record needs, and pins it: no clean-up may take it from now on.

    Each under its writers' lock, where nobody is cleaning up between the look and the pin.
    """
    cited_by = f"champion {record.version}"
    with _not_whole_told(record.version):
        with platform.weights.versions.writing():
            platform.weights.check(record.version)
            platform.weights.versions.pin(record.version, by=cited_by)
        for table in _CITED:
            version, versions = getattr(record, table.name), platform.lake.versions(table.name)
            with versions.writing():
                platform.lake.read(table, version=version)
                versions.pin(version, by=cited_by)


@contextmanager
def _not_whole_told(version: str) -> Generator[None]:
    """Says of what is gone or damaged whose it is, and what to do instead; the kind of the error stays."""
    try:
        yield
    except (MissingArtefact, CorruptArtefact, SchemaMismatch) as error:
        raise type(error).of(
            f"candidate {version[:12]}",
            expected="weights and tables stored and whole",
            was=f"cleaned up or damaged ({str(error).rstrip('.')})",
            do="name another, `gnn-assets models` lists them; nothing was moved",
        ) from error


def _person() -> str:
    """user@host, by the account this process runs under: variables of the environment may say anything."""
    account = os.getuid()
    try:
        name = pwd.getpwuid(account).pw_name
    except KeyError:
        name = str(account)  # a container may run under a number that nobody named
    return f"{name}@{socket.gethostname()}"
