"""The asset champion: the gate judges the newest candidate, and what follows from that is carried out."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from gnn_assets.backtests.schema import BACKTEST_SCORES
from gnn_assets.bars.schema import UNIVERSE
from gnn_assets.bars.universe import symbols_of, within_membership
from gnn_assets.core.checks import Check
from gnn_assets.core.config import Config
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact
from gnn_assets.defs.candidates import WEIGHTS, contender_of, first_scored, record_of, training_failure
from gnn_assets.defs.counting import count_gate_try
from gnn_assets.defs.models import dataset_of, start_jax
from gnn_assets.defs.plots import table
from gnn_assets.defs.probing import live_scores, probe_of, scores_by
from gnn_assets.defs.recipe import champion_config
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Report, Stage, StageRun
from gnn_assets.defs.switching import decisions, event_of, move_champion, tell_moves
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.variants import refit_part
from gnn_assets.registry.pointer import Champion
from gnn_assets.registry.probe import Probe
from gnn_assets.registry.promotion import Contender, Evidence, GateReport, Rule, judge, live_track
from gnn_assets.registry.switch import HELD_CHECK, former_champions, held_out, hold
from gnn_assets.store.versions import Lineage

GATE_CHECKS = (
    "executable",
    "training_succeeded",
    "scores_finite",
    "scores_out_of_sample",
    "symbols_scored",
    "newest_mean",
    "newest_spread",
    "newest_outside",
    "refit_agrees",
    "no_look_ahead",
    "rmse_over_naive",
    "same_target",
    "rmse_over_champion",
    "common_sessions",
    "not_inferior",
    "superior",
    HELD_CHECK,
)


@dataclass(frozen=True)
class Judgement:
    """What the gate said of a candidate.

    Args:
        report: rule, checks and sentence.
        candidate: the champion it would become.
        incumbent: who is served now; None for nobody.
        seen: number of the pointer's newest move when it was judged, 0 before the first.
    """

    report: GateReport
    candidate: Champion
    incumbent: Champion | None
    seen: int

    @property
    def served(self) -> Champion:
        """Who is served once the judgement has been carried out."""
        keeps = self.incumbent is not None and not self.report.promotes
        return self.incumbent if keeps and self.incumbent else self.candidate


@dataclass(frozen=True)
class PointerShelf:
    """Moves the champion pointer, or leaves it where it is."""

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """Nothing: the incumbent is part of the evidence, so every judgement is a fresh one."""
        del run, lineage

    def load(self, run: StageRun, version: str) -> Any:
        """Not reached: nothing is reused."""
        raise AssertionError(run.asset, version)

    def publish(self, run: StageRun, artefact: Judgement, *, lineage: Lineage, data_end: date | None) -> str:
        """Carries the judgement out by compare-and-set; a refusal leaves the pointer alone.

        What a killed run or command left untold is told first, whatever was judged.
        """
        del data_end
        report, platform = artefact.report, run.platform
        expected = artefact.incumbent.version if artefact.incumbent else None
        tell_moves(platform)
        if report.promotes:
            move_champion(
                platform,
                artefact.candidate,
                expected=expected,
                lineage=lineage,
                run_id=run.run_id,
                seen=artefact.seen,
            )
        elif not report.passed:
            failed = [check.name for check in report.checks if check.blocks]
            refused = {**event_of("refused", artefact.candidate, against=expected), "failed": failed}
            # The same verdict on the same candidate is one fact, however often it is reached.
            if not any(refused.items() <= told.items() for told in platform.ledger.read("events")):
                platform.ledger.append("events", refused)
        # Somebody may have switched by hand since: what Dagster is told is what is served.
        served = platform.champion.current()
        return served.version if served else artefact.served.version


def _champion(run: StageRun) -> Judgement:
    """Which weights are served. The gate moves this pointer, or a person by command; all else just trains candidates.

    Rules: *bootstrap* (nobody is served, or can be any more: hard checks), *refresh* (same recipe, newer data: not inferior), *replace*
    (another recipe: superior, allowing for all that were tried). A refusal leaves the champion where it is. A person
    overrules the gate by *manual*, or goes back by *rollback*, as the platform does from weights that cannot serve; the
    gate leaves that until there is a newer candidate.
    """
    platform = run.platform
    newest = platform.champion.versions.current()
    incumbent = platform.champion.current()
    scores = run.read(BACKTEST_SCORES)
    judged = _judged(run, scores)
    version = judged[WEIGHTS]
    rival = _rival(platform, incumbent, against=version)
    seen = newest.sequence if newest else 0
    decision = held_out(first_scored(platform, version), decisions(platform))
    if decision and incumbent and (gone := _gone_back_from(platform, version, incumbent)):
        report = hold(_not_judged(gone, incumbent), decision)
        candidate = dataclasses.replace(gone, rule=report.rule, reason=report.reason)
        return Judgement(report=report, candidate=candidate, incumbent=incumbent, seen=seen)
    facts = platform.weights.facts(version)
    candidate = record_of(platform, version, tables={**judged, BACKTEST_SCORES.name: run.inputs[BACKTEST_SCORES.name]})
    own = champion_config(platform, candidate)
    symbols = _members(platform, facts)
    newest_scores_N, probe = np.full(len(symbols), np.nan), Probe()
    # Whoever is served already is judged no second time.
    if incumbent is None or incumbent.version != version:
        start_jax(platform)
        data = dataset_of(platform, facts["inputs"], symbols=facts["symbols"], config=own)
        newest_scores_N = _newest_scores(platform, candidate, data, symbols=symbols, config=own)
        probe = probe_of(platform, candidate, data, config=own)
        refreshes = rival is not None and rival.config_hash == candidate.config_hash
        if incumbent and rival and refreshes and incumbent.data_end < candidate.data_end:
            rival = rival.extended(_live_track(platform, incumbent, data, config=own))
    evidence = Evidence(
        candidate=contender_of(platform, candidate, failure=training_failure(facts, candidate.model)),
        champion=rival,
        symbols=symbols,
        newest_scores_N=newest_scores_N,
        candidates_judged=_tries(platform, incumbent if rival else None, candidate),
        probe=probe,
    )
    report = hold(judge(evidence, config=own), decision)
    judged_so = dataclasses.replace(candidate, rule=report.rule, reason=report.reason)
    return Judgement(report=report, candidate=judged_so, incumbent=incumbent, seen=seen)


def _rival(platform: Platform, incumbent: Champion | None, *, against: str) -> Contender | None:
    """Whom a candidate must be better than: the incumbent, unless nobody who was ever served can serve any more.

    Then there is nobody to go back to, and a sound candidate must not wait for evidence that means nothing. While any of
    them can, damaged evidence stops the gate and not its comparison.
    """
    if incumbent is None:
        return None
    served = (incumbent, *former_champions(platform.champion.moves()))
    if incumbent.version != against and not any(_can_serve(platform, champion) for champion in served):
        return None
    return contender_of(platform, incumbent)


def _can_serve(platform: Platform, champion: Champion) -> bool:
    """Whether the weights that would serve are there and whole."""
    try:
        platform.weights.load(champion.version, refit_part(champion.model))
    except (CorruptArtefact, MissingArtefact):
        return False
    return True


def _gone_back_from(platform: Platform, version: str, incumbent: Champion) -> Champion | None:
    """The record of a candidate that was served and is no more: it may be damaged, and is not looked at."""
    records = {move.champion.version: move.champion for move in platform.champion.moves()}
    return records.get(version) if version != incumbent.version else None


def _not_judged(gone: Champion, incumbent: Champion) -> GateReport:
    rule: Rule = "refresh" if gone.config_hash == incumbent.config_hash else "replace"
    reason = f"{gone.version} against champion {incumbent.version} by rule {rule}: passed."
    return GateReport(rule=rule, passed=True, checks=(), reason=reason)


def _judged(run: StageRun, scores: pl.DataFrame) -> dict[str, str]:
    """Versions of the candidate and of the tables its scores were made from.

    The scores say whom they judge. Newer weights may already be stored whose scores are still to come.
    """
    made = run.platform.versions("backtest_scores").current()
    assert made is not None
    assert made.lineage is not None
    return {**made.lineage.inputs, WEIGHTS: scores["version"][0]}


def _members(platform: Platform, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Core symbols of the candidate's universe at the end of its data, also those that did not come through."""
    universe = platform.lake.read(UNIVERSE, version=facts["inputs"][UNIVERSE.name])
    ends = universe.select("symbol", session=pl.lit(facts["data_end"]).str.to_date()).unique()
    members = set(within_membership(ends, universe)["symbol"])
    return tuple(symbol for symbol in symbols_of(universe, "core") if symbol in members)


def _newest_scores(
    platform: Platform, candidate: Champion, data: Dataset, *, symbols: Sequence[str], config: Config
) -> np.ndarray:
    """The newest session scored by the very weights that would serve it; NaN for symbols that did not come through."""
    newest = range(len(data.sessions) - 1, len(data.sessions))
    part = refit_part(candidate.model)
    (scores,) = scores_by(platform, candidate, data, part=part, sessions=newest, config=config)
    scored = dict(zip(data.symbols, scores, strict=True))
    return np.array([scored.get(symbol, np.nan) for symbol in symbols])


def _live_track(platform: Platform, incumbent: Champion, data: Dataset, *, config: Config) -> pl.DataFrame:
    """The incumbent's refit on the sessions since its data ended: what was served there, on the candidate's data."""
    since, scores_SxN = live_scores(platform, incumbent, data, config=config)
    return live_track(scores_SxN, data.labels_TxN[since.start :], sessions=data.sessions[since.start :])


def _champion_report(run: StageRun, judgement: Judgement) -> Report:
    report, served = judgement.report, judgement.served
    found = {check.name: check for check in report.checks}
    # With a champion in place a refusal is the gate at work, not a fault: what is downstream goes on with it.
    soften = judgement.incumbent is not None
    checks = tuple(
        dataclasses.replace(found[name], severity="warn" if soften else "error")
        if name in found
        else Check(name, passed=True, value="not asked", threshold="", description=f"Not part of rule {report.rule}.")
        for name in GATE_CHECKS
    )
    rows = [(check.name, check.passed, str(check.value), str(check.threshold)) for check in report.checks]
    return Report(
        data_end=date.fromisoformat(served.data_end),
        checks=checks,
        metadata={
            "champion": served.version,
            "verdict": served.verdict,
            "rule": report.rule,
            "decision": "promoted" if report.promotes else "kept",
            "reason": report.reason,
            "candidate": judgement.candidate.version,
            "gate": table(pl.DataFrame(rows, schema=["check", "passed", "value", "limit"], orient="row"), digits=4),
            "history": table(_history(run), digits=0),
        },
    )


def _tries(platform: Platform, incumbent: Champion | None, candidate: Champion) -> int:
    """Candidates of other recipes tried against this champion, this one included; counted before it is judged."""
    if incumbent is None or incumbent.config_hash == candidate.config_hash:
        return 1
    return count_gate_try(platform, candidate.version, against=incumbent.version)


def _history(run: StageRun) -> pl.DataFrame:
    rows = [
        (str(move.moved_at), told.version[:12], told.rule, told.by or "the gate", told.verdict, told.reason)
        for move in reversed(run.platform.champion.moves())
        for told in [move.champion]
    ]
    return pl.DataFrame(rows, schema=["since", "version", "rule", "by", "verdict", "reason"], orient="row")


STAGES = (
    Stage(
        name="champion",
        group="registry",
        compute=_champion,
        report=_champion_report,
        shelf=PointerShelf(),
        code=("gnn_assets.registry.promotion", "gnn_assets.registry.switch", "gnn_assets.backtests.verdict"),
        sections=("gate", "backtests", "verdict", "forecasts", "execution"),
        deps=("backtest_scores",),
        checks=lambda _config: GATE_CHECKS,
        kinds=frozenset({"jax"}),
        external=True,
    ),
)
