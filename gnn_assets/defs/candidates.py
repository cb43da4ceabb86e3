"""What is known of every candidate: its record, its evidence, what became of it. Needs no Dagster and no jax."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from gnn_assets.backtests.schema import BACKTEST_SCORES, PORTFOLIO_RETURNS
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact
from gnn_assets.defs.counting import register_thresholds, verdict_on
from gnn_assets.defs.resources import Platform
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.registry.pointer import Champion, Move
from gnn_assets.registry.promotion import Contender
from gnn_assets.store.versions import Lineage, Publication

WEIGHTS = "gnn_weights"


@dataclass(frozen=True)
class Standing:
    """One line of the list of candidates.

    Args:
        version: gnn_weights version.
        model: plug-in that scores; empty where nobody can tell any more.
        data_end: last session it was trained up to (ISO date); empty likewise.
        rule: the rule it was judged or put in place by last; empty if it was never judged.
        verdict: word on its backtest then.
        fate: served since when, or why it is not.
    """

    version: str
    model: str
    data_end: str
    rule: str
    verdict: str
    fate: str


def record_of(platform: Platform, version: str, *, tables: Mapping[str, str]) -> Champion:
    """The record a candidate would be served under; by no rule yet.

    Args:
        platform: the opened platform.
        version: of gnn_weights.
        tables: versions of the tables that judge it: `oos_predictions`, `portfolio_returns`, `backtest_scores`.

    Raises:
        MissingArtefact, CorruptArtefact: if weights, scores, returns or the ledger are not whole.
    """
    facts = platform.weights.facts(version)
    model = facts["recipe"]["models"]["candidate"]
    scores = platform.lake.read(BACKTEST_SCORES, version=tables[BACKTEST_SCORES.name])
    portfolios = platform.lake.read(PORTFOLIO_RETURNS, version=tables[PORTFOLIO_RETURNS.name])
    register_thresholds(platform)
    return Champion(
        version=version,
        model=model,
        rule="",
        reason="",
        verdict=verdict_on(platform, scores, portfolios, candidate=model).word,
        config_hash=facts["config_hash"],
        oos_predictions=tables[OOS_PREDICTIONS.name],
        portfolio_returns=tables[PORTFOLIO_RETURNS.name],
        backtest_scores=tables[BACKTEST_SCORES.name],
        data_end=facts["data_end"],
    )


def contender_of(platform: Platform, champion: Champion, *, failure: str = "") -> Contender:
    """Champion or candidate with what is known of it out of sample.

    Raises:
        MissingArtefact, CorruptArtefact: if a table it cites is not whole.
    """
    lake = platform.lake
    own = pl.col("model") == champion.model
    predictions = lake.read(OOS_PREDICTIONS, version=champion.oos_predictions)
    portfolio = lake.read(PORTFOLIO_RETURNS, version=champion.portfolio_returns)
    target = platform.weights.facts(champion.version)["recipe"]["execution"]
    return Contender(
        version=champion.version,
        config_hash=champion.config_hash,
        fill=target["fill"],
        horizon=target["horizon"],
        predictions=predictions.filter(own),
        portfolio=portfolio.filter(own),
        failure=failure,
    )


def training_failure(facts: Mapping[str, Any], model: str) -> str:
    """Why training of the model failed, part by part; empty when it did not."""
    parts = facts["parts"].items()
    return "; ".join(
        f"{part}: {told['failure']}" for part, told in parts if part.startswith(f"{model}/") and told["failure"]
    )


def scored(platform: Platform) -> dict[str, dict[str, str]]:
    """Every candidate that has scores: gnn_weights version → the newest tables that judge it, name → version.

    The scores were made from predictions, and these from weights: their publications say which.
    """
    found: dict[str, dict[str, str]] = {}
    for version, made, lineage in _scorings(platform):
        read = {name: lineage.inputs[name] for name in (OOS_PREDICTIONS.name, PORTFOLIO_RETURNS.name)}
        found.setdefault(version, {**read, BACKTEST_SCORES.name: made.version})
    return found


def first_scored(platform: Platform, version: str) -> int | None:
    """Number of the first publication of a candidate's scores: until then nobody could choose it; None before it."""
    return min((made.sequence for candidate, made, _ in _scorings(platform) if candidate == version), default=None)


def newest_scoring(platform: Platform) -> int:
    """Number of the newest publication of scores; 0 before the first."""
    made = next(platform.versions(BACKTEST_SCORES.name).good(), None)
    return made.sequence if made else 0


def _scorings(platform: Platform) -> Iterator[tuple[str, Publication, Lineage]]:
    """Every publication of scores, newest first: gnn_weights version, record, and what the scores were made from."""
    predicted_by = {
        made.version: made.lineage.inputs[WEIGHTS]
        for made in platform.versions(OOS_PREDICTIONS.name).good()
        if made.lineage is not None
    }
    for made in platform.versions(BACKTEST_SCORES.name).good():
        if made.lineage is not None and made.lineage.inputs[OOS_PREDICTIONS.name] in predicted_by:
            yield predicted_by[made.lineage.inputs[OOS_PREDICTIONS.name]], made, made.lineage


def standings(platform: Platform) -> list[Standing]:
    """Every candidate ever trained or judged, the newest first.

    Raises:
        CorruptArtefact: if the ledger is damaged.
    """
    moves = platform.champion.moves()
    refused = {event["candidate"]: event for event in platform.ledger.read("events") if event["event"] == "refused"}
    # Each as often as it was published or moved to: what counts is when that was last.
    trained = [made.version for made in platform.weights.versions.good()]
    versions = dict.fromkeys([*trained, *(move.champion.version for move in reversed(moves)), *reversed(refused)])
    return [_standing(platform, version, moves=moves, refused=refused) for version in versions]


def _standing(
    platform: Platform, version: str, *, moves: Sequence[Move], refused: Mapping[str, Mapping[str, Any]]
) -> Standing:
    try:
        facts = platform.weights.facts(version)
    except MissingArtefact:
        facts, kept = {}, "; its weights are gone"
    except CorruptArtefact:
        facts, kept = {}, "; its weights are damaged"
    else:
        kept = ""
    own = [move for move in moves if move.champion.version == version]
    event = refused.get(version, {})
    record = own[-1].champion if own else None
    return Standing(
        version=version,
        model=facts["recipe"]["models"]["candidate"] if facts else record.model if record else "",
        data_end=facts["data_end"] if facts else record.data_end if record else "",
        rule=record.rule if record else event.get("rule", ""),
        verdict=record.verdict if record else event.get("verdict", ""),
        fate=_fate(version, moves=moves, event=event) + kept,
    )


def _fate(version: str, *, moves: Sequence[Move], event: Mapping[str, Any]) -> str:
    """What became of a candidate, in words."""
    own = [number for number, move in enumerate(moves) if move.champion.version == version]
    if not own:
        return f"refused: {event['reason']}" if event else "never served"
    last = moves[own[-1]]
    if own[-1] == len(moves) - 1:
        by = f", by {last.champion.by}: {last.champion.reason}" if last.champion.by else ""
        return f"served since {last.moved_at:%Y-%m-%d %H:%M} UTC{by}"
    after = moves[own[-1] + 1]
    told = f"served until {after.moved_at:%Y-%m-%d %H:%M} UTC"
    by = after.champion.by
    return f"{told}, when {by} chose {after.champion.version[:12]}: {after.champion.reason}" if by else told
