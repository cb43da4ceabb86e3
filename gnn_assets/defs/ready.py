"""The go / no-go list: every line computed from what is stored, none of them typed. Needs no Dagster; writes nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from gnn_assets.backtests.schema import BACKTEST_SCORES, PORTFOLIO_RETURNS
from gnn_assets.backtests.thresholds import registered_before, thresholds_of
from gnn_assets.backtests.verdict import WORDS
from gnn_assets.bars.breaker import State
from gnn_assets.bars.schema import UNIVERSE
from gnn_assets.bars.universe import symbols_of, within_membership
from gnn_assets.core.errors import GnnAssetsError
from gnn_assets.defs.candidates import contender_of, first_scored, training_failure
from gnn_assets.defs.counting import verdict_on
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.status import dead_letters, platform_status, source_states
from gnn_assets.defs.switching import decisions
from gnn_assets.defs.verify import verify_session
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.registry.pointer import Champion
from gnn_assets.registry.promotion import candidate_checks
from gnn_assets.registry.switch import held_out
from gnn_assets.store.ledger import Kind

_LEDGER: tuple[Kind, ...] = ("trials", "events", "decisions")
_CLOSED: State = "closed"
_SHOWN = 12  # digits of a version that people see


@dataclass(frozen=True)
class Line:
    """One line of the list.

    Args:
        name: what is looked at.
        passed: whether it lets go.
        value: what was found.
        limit: what is asked for.
        do: what helps where it does not.
    """

    name: str
    passed: bool
    value: str
    limit: str
    do: str = ""


def readiness(platform: Platform) -> list[Line]:
    """Every line of the list; all must pass for a go.

    Args:
        platform: the opened platform. Its configuration holds the limits.
    """
    champion = platform.champion.current()
    lines = [
        *_guarded("ledger", lambda: _ledger(platform)),
        *_guarded("bars", lambda: _bars(platform)),
        *_guarded("ages", lambda: _ages(platform)),
    ]
    if champion is None:
        missing = Line("champion", passed=False, value="none", limit="one", do="run `gnn-assets demo`")
        return [missing, *lines]
    return [
        Line("champion", passed=True, value=f"{champion.version[:_SHOWN]} by rule {champion.rule}", limit="one"),
        *_guarded("not_held_out", lambda: _held(platform, champion)),
        *_guarded("verdict", lambda: _verdict(platform, champion)),
        *_guarded("thresholds_unchanged", lambda: _thresholds(platform, champion)),
        *_guarded("gate", lambda: _gate(platform, champion)),
        *_guarded("forecasts_verified", lambda: _verified(platform)),
        *_guarded("symbols_covered", lambda: _covered(platform, champion)),
        *lines,
    ]


def _guarded(name: str, lines: Callable[[], Iterator[Line]]) -> list[Line]:
    """The lines, or the one that says why they cannot be told: what is damaged or gone is a no-go, never a crash."""
    try:
        return list(lines())
    except GnnAssetsError as error:
        return [Line(name, passed=False, value=str(error), limit="readable and whole", do="see the value")]


def _held(platform: Platform, champion: Champion) -> Iterator[Line]:
    """Whether a person's decision keeps the newest candidate out; the champion is served against the gate then."""
    newest = platform.weights.current()
    decision = None
    if newest is not None and newest.version != champion.version:
        decision = held_out(first_scored(platform, newest.version), decisions(platform))
    told = "no decision by hand stands"
    if decision is not None:
        told = f"{decision.by} by {decision.rule}: {decision.reason}"
    yield Line(
        "not_held_out",
        decision is None,
        told,
        "no decision by hand stands",
        "train a newer candidate, the gate judges it; or `gnn-assets promote`",
    )


def _verdict(platform: Platform, champion: Champion) -> Iterator[Line]:
    least = platform.config.verdict.ready
    verdict = verdict_on(
        platform,
        platform.lake.read(BACKTEST_SCORES, version=champion.backtest_scores),
        platform.lake.read(PORTFOLIO_RETURNS, version=champion.portfolio_returns),
        candidate=champion.model,
    )
    yield Line(
        "verdict",
        WORDS.index(verdict.word) <= WORDS.index(least),
        f"{verdict.word}: {verdict.reason}",
        f"{least} or better (verdict.ready)",
        "do not trade it; the value names the condition that it lacks",
    )


def _thresholds(platform: Platform, champion: Champion) -> Iterator[Line]:
    """Whether the thresholds are those that were registered when the champion was put in place."""
    then = registered_before(platform.ledger.read("events"), candidate=champion.version)
    now = thresholds_of(platform.config)
    changed = (
        []
        if then is None
        else [f"{name} {then.get(name)} -> {now[name]}" for name in now if then.get(name) != now[name]]
    )
    yield Line(
        "thresholds_unchanged",
        then is not None and not changed,
        "not registered before the champion was" if then is None else "; ".join(changed) or "the same",
        "as registered before the champion was put in place",
        "restore them, or let a newer candidate be judged by the new ones",
    )


def _gate(platform: Platform, champion: Champion) -> Iterator[Line]:
    facts = platform.weights.facts(champion.version)
    contender = contender_of(platform, champion, failure=training_failure(facts, champion.model))
    for check in candidate_checks(contender):
        value, limit = str(check.value), str(check.threshold)
        yield Line(f"gate {check.name}", check.passed, value, limit, "go back to another: `gnn-assets rollback`")


def _verified(platform: Platform) -> Iterator[Line]:
    """Whether the newest forecasts come out of their card again, bit for bit; an error says what differs."""
    session = platform.lake.read(FORECASTS, columns=("session",))["session"].max()
    verdict = verify_session(platform, session)  # ty: ignore[invalid-argument-type] - a Date column
    yield Line("forecasts_verified", verdict.matches, f"{session}: bit for bit", "bit for bit", "materialize forecasts")


def _covered(platform: Platform, champion: Champion) -> Iterator[Line]:
    """Share of the universe that the newest forecasts of this very champion reach."""
    forecasts = platform.lake.read(FORECASTS, columns=("session", "symbol", "champion", "degraded", "score"))
    own = (pl.col("champion") == champion.version) & ~pl.col("degraded")
    newest = forecasts.filter(pl.col("session") == pl.col("session").max(), own)
    universe = platform.lake.read(UNIVERSE)
    core = pl.DataFrame({"symbol": symbols_of(universe, "core")})
    members = within_membership(core.with_columns(session=pl.lit(platform.last_session)), universe)["symbol"].unique()
    scored = newest.filter(pl.col("score").is_finite(), pl.col("symbol").is_in(members.implode()))["symbol"].n_unique()
    share, limit = scored / max(members.len(), 1), platform.config.gate.min_symbol_share
    yield Line(
        "symbols_covered",
        share >= limit,
        f"{scored} of {members.len()} symbols",
        f"{limit:.0%} (gate.min_symbol_share)",
        "`gnn-assets retry`, then materialize what is downstream",
    )


def _bars(platform: Platform) -> Iterator[Line]:
    failed = dead_letters(platform)
    yield Line("no_failed_symbols", not failed, ", ".join(failed) or "none", "none", "`gnn-assets retry`")
    for source, state in source_states(platform).items():
        yield Line(
            f"circuit of {source}", state["state"] == _CLOSED, state["state"], _CLOSED, "wait, then `gnn-assets update`"
        )


def _ledger(platform: Platform) -> Iterator[Line]:
    for kind in _LEDGER:
        yield from _guarded(f"ledger {kind}", lambda kind=kind: _chain(platform, kind))


def _chain(platform: Platform, kind: Kind) -> Iterator[Line]:
    count = len(platform.ledger.read(kind))
    yield Line(f"ledger {kind}", passed=True, value=f"{count} records, chain intact", limit="an intact chain")


def _ages(platform: Platform) -> Iterator[Line]:
    for row in platform_status(platform)["assets"]:
        told = row["state"] if row["age_hours"] is None else f"{row['age_hours']:.1f} h, {row['state']}"
        yield Line(
            f"age of {row['asset']}",
            row["state"] == "fresh",
            told,
            f"{row['limit_hours']:g} h (ages.{row['asset']})",
            f"materialize {row['asset']}",
        )
