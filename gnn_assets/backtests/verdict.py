"""One word on a hypothesis, by thresholds that were registered before any result was seen.

A hypothesis is a portfolio: a model's scores, or prices alone, traded by a rule. All its out-of-sample sessions count
together, net of costs, beside equal weight (b) on the same sessions. Every number is the section `verdict` or
`backtests` of the configuration. The first rule that applies decides:

1. NOT_ENOUGH_DATA  fewer than `backtests.min_sessions` sessions, or a measure below is not defined.
2. KILL             the whole paired interval of net Sharpe minus b's lies below 0.
3. NOT_ENOUGH_DATA  the record is shorter than the minimum track record: the sessions its Sharpe ratio needs to be told
                    from 0. A ratio that is not above 0 needs none: no record would do.
4. SCALE            all of: net Sharpe above `scale_sharpe`; at least `scale_ratio` times b's; deflated Sharpe above
                    `probability`; the paired interval of net Sharpe minus b's above 0; the interval of the mean IC
                    above 0, where there are scores; in a batch, among those found superior step by step.
5. ITERATE          one of: net Sharpe above `iterate_sharpe`; at least `iterate_lead` above b's.
6. KILL             anything else.

In a batch every paired interval, and that of the IC, holds for the whole batch together. The word goes beside every
forecast; it promotes and demotes nothing.

References:
    D. Bailey, M. Lopez de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5), 2014.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from gnn_assets.backtests.deflated import deflated_sharpe, min_track_record
from gnn_assets.backtests.scores import ALL_FOLDS, series_by_model
from gnn_assets.backtests.significance import Interval
from gnn_assets.backtests.thresholds import Event, changes
from gnn_assets.backtests.trials import Record, Trials, trials_behind
from gnn_assets.core.config import Config

BENCHMARK = "equal_weight"
WORDS = ("SCALE", "ITERATE", "NOT_ENOUGH_DATA", "KILL")

Word = Literal["SCALE", "ITERATE", "NOT_ENOUGH_DATA", "KILL"]
_UNDEFINED = float("nan")
_WHOLE = 1000  # from here on a number is shown without decimals


@dataclass(frozen=True)
class Evidence:
    """What is known of a hypothesis. Ratios are a year's; what is not defined is NaN.

    Args:
        sessions: out of sample.
        sharpe: net.
        benchmark: equal weight's net Sharpe ratio on the same sessions.
        lead: paired interval of the difference of the two.
        ic: mean IC of the scores; None where the strategy reads none.
        ic_interval: its interval; None likewise.
        deflated: probability that the true ratio is above what the best of the trials would show without skill.
        trials: what that probability allows for.
        track_record: sessions the ratio needs to be told from 0; infinite where it is not above 0.
        superior: whether it was found superior among its batch; None where it is judged alone.
    """

    sessions: int
    sharpe: float
    benchmark: float
    lead: Interval
    ic: float | None
    ic_interval: Interval | None
    deflated: float
    trials: Trials
    track_record: float
    superior: bool | None = None


@dataclass(frozen=True)
class Condition:
    """One thing a word asks for.

    Args:
        name: of the condition.
        word: what it is asked for by; for KILL and NOT_ENOUGH_DATA what averts them.
        label: what was measured, in words.
        value: what was measured.
        relation: how the value must stand to the threshold.
        threshold: what it is held against.
        passed: whether it does.
    """

    name: str
    word: Word
    label: str
    value: float
    relation: Literal["above", "at least"]
    threshold: float
    passed: bool

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        value, threshold = _shown(self.value), _shown(self.threshold)
        return f"{self.label} {value} is {'' if self.passed else 'not '}{self.relation} {threshold}"


@dataclass(frozen=True)
class Verdict:
    """The word, the sentence that names what decided, every condition, and every change of a threshold."""

    word: Word
    reason: str
    conditions: tuple[Condition, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def table(self) -> pl.DataFrame:
        """A row a condition: condition, word, value, relation, threshold, passed."""
        rows = [(one.name, one.word, one.value, one.relation, one.threshold, one.passed) for one in self.conditions]
        columns = {"condition": pl.String, "word": pl.String, "value": pl.Float64, "relation": pl.String}
        return pl.DataFrame(rows, schema={**columns, "threshold": pl.Float64, "passed": pl.Boolean}, orient="row")


def judge(evidence: Evidence, *, config: Config, events: Sequence[Event]) -> Verdict:
    """Applies the rules above.

    Args:
        evidence: what is known.
        config: thresholds.
        events: the ledger's, oldest first: changes of thresholds are told beside the word.
    """
    conditions = tuple(_conditions(evidence, config=config))
    word, reason = _decided({one.name: one for one in conditions})
    told = tuple(change.sentence for change in changes(events))
    return Verdict(word=word, reason=f"{reason}.", conditions=conditions, changes=told)


def judge_scores(
    scores: pl.DataFrame,
    portfolios: pl.DataFrame,
    *,
    candidate: str,
    trials: Sequence[Record],
    events: Sequence[Event],
    config: Config,
) -> Verdict:
    """Judges a model by its backtest.

    Args:
        scores: `backtest_scores` rows.
        portfolios: the `portfolio_returns` rows they measure.
        candidate: the model judged.
        trials: the ledger's.
        events: the ledger's, oldest first.
        config: thresholds, fewest sessions, sessions a year.
    """
    overall = scores.filter(pl.col("model") == candidate, pl.col("fold") == ALL_FOLDS)
    rows = {row["metric"]: row for row in overall.iter_rows(named=True)}
    evidence = _of_backtest(rows, portfolios, candidate=candidate, trials=trials, config=config)
    return judge(evidence, config=config, events=events)


def _of_backtest(
    rows: Mapping[str, Mapping[str, Any]],
    portfolios: pl.DataFrame,
    *,
    candidate: str,
    trials: Sequence[Record],
    config: Config,
) -> Evidence:
    lead, ic = rows.get(f"sharpe_net_minus_{BENCHMARK}", {}), rows.get("ic", {})
    sharpe = _number(rows.get("sharpe_net", {}), "value")
    models = portfolios["model"].unique().sort().to_list()
    by_model = series_by_model(portfolios, sessions=portfolios["session"].unique().sort().to_list(), models=models)
    known_TxM = np.column_stack([series["net"] for series in by_model.values()])
    known_TxM = known_TxM[np.isfinite(known_TxM).all(axis=1)]
    own_T = known_TxM[:, models.index(candidate)] if candidate in models else np.empty(0)
    behind = trials_behind(trials, known_TxM)
    return Evidence(
        sessions=int(_number(rows.get("sessions", {"value": 0.0}), "value")),
        sharpe=sharpe,
        benchmark=sharpe - _number(lead, "value"),
        lead=(_number(lead, "lower"), _number(lead, "upper")),
        ic=_number(ic, "value"),
        ic_interval=(_number(ic, "lower"), _number(ic, "upper")),
        deflated=deflated_sharpe(own_T, trials=behind.effective, variance=behind.variance),
        trials=behind,
        track_record=min_track_record(own_T, benchmark=0.0, confidence=config.verdict.probability),
    )


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    return _UNDEFINED if value is None else float(value)


def _conditions(evidence: Evidence, *, config: Config) -> Iterator[Condition]:
    limits = config.verdict
    lower, upper = evidence.lead
    # Equal weight may have lost: a ratio of what is below 0 would be easier the larger it is.
    bar = evidence.benchmark + (limits.scale_ratio - 1) * abs(evidence.benchmark)
    # What no record could show asks for none, and KILL has the word.
    needed = evidence.track_record if np.isfinite(evidence.track_record) else 0.0
    yield _least("sessions", "NOT_ENOUGH_DATA", "sessions", evidence.sessions, config.backtests.min_sessions)
    yield _least("not_worse", "KILL", f"upper end of net Sharpe minus that of {BENCHMARK},", upper, 0.0)
    yield _least("track_record", "NOT_ENOUGH_DATA", "record in sessions", evidence.sessions, needed)
    yield _above("scale_sharpe", "SCALE", "net Sharpe", evidence.sharpe, limits.scale_sharpe)
    yield _least("scale_ratio", "SCALE", f"net Sharpe beside {limits.scale_ratio} x b,", evidence.sharpe, bar)
    tried = f"deflated Sharpe probability ({evidence.trials.counted} trials, {evidence.trials.effective:.1f} effective)"
    yield _above("deflated_sharpe", "SCALE", tried, evidence.deflated, limits.probability)
    yield _above("lead_certain", "SCALE", f"lower end of net Sharpe minus that of {BENCHMARK},", lower, 0.0)
    if evidence.ic_interval is not None:
        yield _above("ic_certain", "SCALE", "lower end of mean IC", evidence.ic_interval[0], 0.0)
    if evidence.superior is not None:
        yield _least("superior", "SCALE", "superior in its batch (1 is yes)", float(evidence.superior), 1.0)
    yield _above("iterate_sharpe", "ITERATE", "net Sharpe", evidence.sharpe, limits.iterate_sharpe)
    lead = evidence.sharpe - evidence.benchmark
    yield _least("iterate_lead", "ITERATE", f"net Sharpe minus that of {BENCHMARK}", lead, limits.iterate_lead)


def _shown(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= _WHOLE else f"{value:.4g}"


def _above(name: str, word: Word, label: str, value: float, threshold: float) -> Condition:
    return Condition(name, word, label, value, "above", threshold, passed=value > threshold)


def _least(name: str, word: Word, label: str, value: float, threshold: float) -> Condition:
    return Condition(name, word, label, value, "at least", threshold, passed=value >= threshold)


def _decided(held: Mapping[str, Condition]) -> tuple[Word, str]:
    lacking = _lacking(held)
    if lacking:
        return "NOT_ENOUGH_DATA", lacking
    if not held["not_worse"].passed:
        return "KILL", held["not_worse"].sentence
    if not held["track_record"].passed:
        return "NOT_ENOUGH_DATA", f"{held['track_record'].sentence}, the minimum track record"
    scale, iterate = ([one for one in held.values() if one.word == word] for word in ("SCALE", "ITERATE"))
    missed = [one.sentence for one in scale if not one.passed]
    reached = [one.sentence for one in iterate if one.passed]
    if not missed:
        return "SCALE", f"every condition holds: {'; '.join(one.sentence for one in scale)}"
    if reached:
        return "ITERATE", f"{reached[0]}; no SCALE, as {missed[0]}"
    return "KILL", "; ".join(one.sentence for one in iterate)


def _lacking(held: Mapping[str, Condition]) -> str:
    """What there is too little of for any word; empty where there is enough."""
    if not held["sessions"].passed:
        return held["sessions"].sentence
    return next((f"{one.label.rstrip(',')} is not defined" for one in held.values() if np.isnan(one.value)), "")
