"""The champion switched by a person: what must hold, and what the gate makes of it. Pure: records in, records out.

    rollback   back to a former champion     the gate or a person judged it before; it need only be whole. The platform
                                             goes back by itself from one that cannot serve
    promote    any candidate with scores     the gate's evidence may be overruled, what makes a forecast honest may not

What a person decided stands until there is news: the candidates that were there to choose from are held out, as the gate
would find the same evidence as before and undo the decision. To choose from are those that have scores, as nobody can
promote another: one that was trained already and is scored later is news, and so is one trained later; the gate judges
both as ever. A person may put any of the others in place, or confirm the champion, which holds out what has come since.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gnn_assets.core.checks import Check
from gnn_assets.core.errors import MissingArtefact, ModelError
from gnn_assets.models.checks import LOOK_AHEAD_CHECK
from gnn_assets.registry.pointer import Champion, Move
from gnn_assets.registry.promotion import Contender, GateReport, candidate_checks, same_target

MANUAL = "manual"
ROLLBACK = "rollback"
# Who decides where nobody was asked.
PLATFORM = "the platform"
HELD_CHECK = "not_held_out"
_SHOWN = 12  # digits of a version that people see


@dataclass(frozen=True)
class Decision:
    """What a person decided: a move by hand, or the champion confirmed, which moves nothing; or the platform, to go back.

    Args:
        version: of the champion they chose.
        rule: `MANUAL` or `ROLLBACK`.
        reason: theirs.
        by: user@host, or `PLATFORM`.
        decided_at: moment by the machine's clock (ISO, UTC).
        publications: candidates whose scores were first published up to this number are held out by it.
    """

    version: str
    rule: str
    reason: str
    by: str
    decided_at: str
    publications: int

    @classmethod
    def of(cls, champion: Champion) -> "Decision":
        """The decision in the record of a champion that was put in place without the gate."""
        return cls(
            champion.version,
            champion.rule,
            champion.reason,
            champion.by,
            champion.decided_at,
            champion.publications,
        )


def named(version: str, known: Iterable[str], *, what: str) -> str:
    """The one known version that begins with what was typed.

    Args:
        version: as typed.
        known: whole versions.
        what: what they are, for the sentence.

    Raises:
        MissingArtefact: if none begins so, or several do.
    """
    every = sorted(set(known))
    found = [one for one in every if version and one.startswith(version)]
    if len(found) != 1:
        offered = ", ".join(one[:_SHOWN] for one in found or every)
        raise MissingArtefact.of(
            f"version {version!r}",
            expected=f"the beginning of exactly one {what}",
            was=f"that of {len(found)} of {len(every)}",
            do=f"name one of {offered}" if offered else "train one first, gnn-assets demo does",
        )
    return found[0]


def by_hand(champion: Champion, *, rule: str, reason: str, by: str, decided_at: str, publications: int) -> Champion:
    """A record as it is put in place without the gate.

    Args:
        champion: what is known of it.
        rule: `MANUAL` or `ROLLBACK`.
        reason: the person's; may be empty.
        by: user@host, or `PLATFORM`.
        decided_at: moment by the machine's clock (ISO, UTC).
        publications: number of the newest publication of scores whose candidate is held out.
    """
    words = " ".join(reason.split()) or "no reason given"
    return replace(champion, rule=rule, reason=words, by=by, decided_at=decided_at, publications=publications)


def former_champions(moves: Sequence[Move]) -> list[Champion]:
    """The champions the platform may go back to, newest first; whoever was gone back from is none of them.

    A fault found once is there the next time. One that was put in place again since, by a person or the gate, was
    looked at again.

    Args:
        moves: every move of the pointer, oldest first; the newest says who is served.
    """
    fit: dict[str, Champion] = {}
    for move in moves:
        if move.before is not None and move.champion.rule == ROLLBACK:
            fit.pop(move.before.version, None)
        # The newest is last, however often it was served before.
        fit.pop(move.champion.version, None)
        fit[move.champion.version] = move.champion
    return list(reversed(fit.values()))[1:]


def held_out(scored: int | None, decisions: Sequence[Decision]) -> Decision | None:
    """The decision by hand that a candidate is held out by; None if there is none.

    Args:
        scored: number of the first publication of the candidate's scores; None while there are none.
        decisions: by hand, in any order.
    """
    newest = max(decisions, key=lambda one: (one.publications, one.decided_at), default=None)
    if newest is None or scored is None:
        return None
    return newest if scored <= newest.publications else None


def hold(report: GateReport, decision: Decision | None) -> GateReport:
    """The gate's report with the check that no decision by hand holds the candidate out; a failure refuses it.

    Args:
        report: of `judge`.
        decision: what it is held out by; None if by nothing.
    """
    if report.rule == "already_champion":
        return report
    check = Check(
        name=HELD_CHECK,
        passed=decision is None,
        value="no decision against it" if decision is None else _told(decision),
        threshold="no decision against it",
        description="Whether a person, or the platform after a fault, chose another champion when this candidate had its "
        "scores already. That stands: a newer candidate is judged as ever, and `gnn-assets promote` puts this one in place.",
    )
    checks = (*report.checks, check)
    if decision is None:
        return replace(report, checks=checks)
    told = report.reason.removesuffix("passed.") + "refused by" if report.passed else f"{report.reason};"
    return replace(report, checks=checks, passed=False, reason=f"{told} {check.sentence}")


def _told(decision: Decision) -> str:
    return f"{decision.by} chose {decision.version[:_SHOWN]} by {decision.rule}: {decision.reason}"


def refuse_dishonest(
    candidate: Contender,
    champion: Contender | None,
    weights: Mapping[str, Mapping[str, np.ndarray]],
    *,
    failed_before: Collection[str],
) -> None:
    """Stops a promotion by hand that no reason can justify.

    Args:
        candidate: what is to be served.
        champion: what is served; None for nobody.
        weights: part → name → array, any shape, of the candidate's own model.
        failed_before: names of the checks by which the gate ever refused it.

    Raises:
        ModelError: if nobody could trade it, its training failed or saw the future, its scores or weights are not
            finite, it forecasts another outcome than the champion, or the gate caught it looking ahead.
    """
    checks = [*candidate_checks(candidate), _weights_finite(weights), _never_caught(failed_before)]
    if champion is not None:
        checks.append(same_target(candidate, champion))
    failed = [check for check in checks if check.blocks]
    if failed:
        raise ModelError.of(
            f"candidate {candidate.version[:_SHOWN]}",
            expected="the hard checks to pass, which nobody can overrule",
            was="; ".join(check.sentence.removesuffix(".") for check in failed),
            do="promote another, or train it anew",
        )


def _never_caught(failed_before: Collection[str]) -> Check:
    caught = LOOK_AHEAD_CHECK in failed_before
    return Check(
        name=LOOK_AHEAD_CHECK,
        passed=not caught,
        value="caught" if caught else "never caught",
        threshold="never caught",
        description="Whether the gate found scores that change when data end with their session.",
    )


def _weights_finite(weights: Mapping[str, Mapping[str, np.ndarray]]) -> Check:
    broken = tuple(
        f"{part}: {name}"
        for part, arrays in weights.items()
        for name, array in arrays.items()
        if np.issubdtype(array.dtype, np.inexact) and not np.isfinite(array).all()
    )
    return Check(
        name="weights_finite",
        passed=not broken and bool(weights),
        value=f"{len(broken)} broken arrays in {len(weights)} parts",
        threshold="no broken array, and a part at least",
        description="Arrays of the candidate's own model that hold NaN or infinity.",
        offenders=broken[:10],
    )
