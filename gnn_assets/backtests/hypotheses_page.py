"""A judged batch as rows of `hypotheses` and as a page."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from gnn_assets.backtests.family import FamilyReport, Judged
from gnn_assets.backtests.hypotheses import Batch
from gnn_assets.backtests.schema import HYPOTHESES
from gnn_assets.backtests.significance import Interval
from gnn_assets.backtests.thresholds import Event, changes, registered, thresholds_hash, thresholds_of
from gnn_assets.backtests.verdict import WORDS, Condition
from gnn_assets.core.config import Config
from gnn_assets.core.hashing import canonical_json

COLUMNS = ("hypothesis", "verdict", "net Sharpe", "minus b", "IC", "DSR", "needs", "decided by")


def hypotheses_rows(report: FamilyReport, *, batch: Batch, version: str, config: Config) -> pl.DataFrame:
    """The `hypotheses` rows of a batch.

    Args:
        report: what was found.
        batch: what was judged.
        version: gnn_weights version of the backtest.
        config: the thresholds it was judged by.
    """
    common = {
        "batch": batch.hash,
        "version": version,
        "overfitting": report.overfitting,
        "trials": report.trials.counted,
        "effective_trials": report.trials.effective,
        "thresholds": thresholds_hash(thresholds_of(config)),
    }
    frame = pl.DataFrame([{**common, **_row(judged)} for judged in report.judged], schema=dict(HYPOTHESES.columns))
    numbers = pl.col(pl.Float64)
    return HYPOTHESES.conform(frame.with_columns(pl.when(numbers.is_finite()).then(numbers)))


def _row(judged: Judged) -> dict[str, object]:
    hypothesis, evidence = judged.hypothesis, judged.evidence
    ic_lower, ic_upper = evidence.ic_interval or (None, None)
    return {
        "hypothesis": hypothesis.name,
        "model": hypothesis.model,
        "strategy": hypothesis.config.strategy,
        "settings": canonical_json(hypothesis.settings),
        "word": judged.verdict.word,
        "reason": judged.verdict.reason,
        "sessions": evidence.sessions,
        "sharpe_net": evidence.sharpe,
        "sharpe_net_lower": judged.sharpe_interval[0],
        "sharpe_net_upper": judged.sharpe_interval[1],
        "lead": evidence.sharpe - evidence.benchmark,
        "lead_lower": evidence.lead[0],
        "lead_upper": evidence.lead[1],
        "ic": evidence.ic,
        "ic_lower": ic_lower,
        "ic_upper": ic_upper,
        "deflated_sharpe": evidence.deflated,
        "track_record": evidence.track_record,
        "superior": evidence.superior,
        "conditions": json.dumps([_told(condition) for condition in judged.verdict.conditions]),
    }


def _told(condition: Condition) -> dict[str, object]:
    value = condition.value if np.isfinite(condition.value) else None
    return {
        "condition": condition.name,
        "word": condition.word,
        "value": value,
        "relation": condition.relation,
        "threshold": condition.threshold,
        "passed": condition.passed,
    }


def cells(judged: Judged) -> tuple[str, ...]:
    """A judged hypothesis as people read it, a cell for each of `COLUMNS`."""
    evidence = judged.evidence
    record = evidence.track_record
    return (
        judged.hypothesis.name,
        judged.verdict.word,
        _number(evidence.sharpe, judged.sharpe_interval, digits=2),
        _number(evidence.sharpe - evidence.benchmark, evidence.lead, digits=2),
        "-"
        if evidence.ic is None or evidence.ic_interval is None
        else _number(evidence.ic, evidence.ic_interval, digits=3),
        _plain(evidence.deflated, digits=3),
        f"{record:.0f}" if np.isfinite(record) else "-",
        judged.verdict.reason,
    )


def page_of(report: FamilyReport, *, batch: Batch, events: Sequence[Event], market: str, config: Config) -> str:
    """The page of a judged batch, as Markdown.

    Args:
        report: what was found.
        batch: what was judged.
        events: the ledger's, oldest first.
        market: which market and clock, in words.
        config: the thresholds it was judged by.
    """
    return "\n".join((*_head(report, batch, events, market, config), "", *_table(report), "", *_limits(config))) + "\n"


def _head(report: FamilyReport, batch: Batch, events: Sequence[Event], market: str, config: Config) -> Iterator[str]:
    evidence, trials = report.judged[0].evidence, report.trials
    counts = {word: sum(judged.verdict.word == word for judged in report.judged) for word in WORDS}
    told = registered(events)
    yield f"# Hypotheses: {batch.name}"
    yield ""
    yield f"{market}. Batch `{batch.hash}`, {len(report.judged)} hypotheses on {evidence.sessions} out-of-sample sessions."
    yield f"Equal weight (b) has a net Sharpe ratio of {_plain(evidence.benchmark, digits=2)}."
    yield ""
    yield "- " + ", ".join(f"{word} {count}" for word, count in counts.items())
    superiority = report.superiority
    yield (
        f"- Better than b, step by step at {config.backtests.confidence:.0%} for the whole batch: "
        f"{len(superiority.superior)}. No candidate is better: p = {_plain(superiority.p_value, digits=3)} "
        f"(between {_plain(superiority.p_lower, digits=3)} and {_plain(superiority.p_upper, digits=3)})."
    )
    yield f"- Probability of backtest overfitting: {_plain(report.overfitting, digits=2)}."
    yield f"- Trials behind it in the ledger: {trials.counted}, worth {trials.effective:.1f} independent ones."
    if told is not None:
        yield f"- Thresholds `{told['thresholds']}`, registered on {told['recorded_at'][:10]}, before the run."
    yield from (f"- **{change.sentence}**" for change in changes(events))


def _table(report: FamilyReport) -> Iterator[str]:
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{'---|' * len(COLUMNS)}"
    yield from (f"| {' | '.join(cells(judged))} |" for judged in report.judged)


def _limits(config: Config) -> Iterator[str]:
    family = f"{config.backtests.confidence:.0%}"
    yield (
        f"The interval of net Sharpe is each one's own; those of *minus b* and *IC* hold at {family} for the whole batch. "
        "*DSR*: probability that the ratio is above what the best trial shows without skill. *needs*: sessions the ratio "
        "needs to be told from 0."
    )
    yield ""
    yield "| threshold | value |"
    yield "|---|---|"
    yield from (f"| `{name}` | {value} |" for name, value in thresholds_of(config).items())


def _number(value: float, interval: Interval, *, digits: int) -> str:
    if np.isnan(value):
        return "-"
    lower, upper = interval
    ends = "" if np.isnan(lower) else f" [{lower:+.{digits}f}, {upper:+.{digits}f}]"
    return f"{value:+.{digits}f}{ends}"


def _plain(value: float, *, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"
