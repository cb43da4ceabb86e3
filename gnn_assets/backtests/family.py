"""A batch of hypotheses traded and judged as one family: who looks at many finds something in noise.

Each hypothesis is held against equal weight on the same sessions. The intervals of a family of M are widened to hold for
all M together, and the step-down test of Romano and Wolf says which are superior with one error rate for all.

References:
    O. Dunn, Multiple comparisons among means, JASA 56(293), 1961.
    J. Romano, M. Wolf, Stepwise Multiple Testing as Formalized Data Snooping, Econometrica 73(4), 2005.
    O. Ledoit, M. Wolf, Robust performance hypothesis testing with the Sharpe ratio, Journal of Empirical Finance
    15(5), 2008: paired resampling of two Sharpe ratios.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from gnn_assets.backtests.cross_section import information_coefficients, realised_labels
from gnn_assets.backtests.deflated import deflated_sharpe, min_track_record
from gnn_assets.backtests.engine import Variant, sweep
from gnn_assets.backtests.hypotheses import Hypothesis
from gnn_assets.backtests.intervals import sharpe_interval
from gnn_assets.backtests.metrics import mean, sharpe
from gnn_assets.backtests.overfitting import overfitting
from gnn_assets.backtests.shaping import unshaped
from gnn_assets.backtests.significance import (
    Interval,
    corrected_mean_interval,
    draw_counts,
    resampled_ratios,
)
from gnn_assets.backtests.superiority import Superiority, superior_models
from gnn_assets.backtests.thresholds import Event
from gnn_assets.backtests.trials import Record, Trials, trials_behind
from gnn_assets.backtests.verdict import BENCHMARK, WORDS, Evidence, Verdict, judge
from gnn_assets.core.config import BacktestsConfig, Config, ExecutionConfig
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.models.bars import Bars


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a batch of M hypotheses earned over T sessions, and equal weight beside it.

    Args:
        hypotheses: the M hypotheses.
        net_TxM: float64, simple returns after costs.
        benchmark_T: float64, equal weight's.
        ic_TxM: float64, ICs of the scores each trades; NaN where unknown, and throughout where it trades none.
    """

    hypotheses: tuple[Hypothesis, ...]
    net_TxM: np.ndarray
    benchmark_T: np.ndarray
    ic_TxM: np.ndarray


@dataclass(frozen=True)
class Judged:
    """A hypothesis, what is known of it, and the word."""

    hypothesis: Hypothesis
    evidence: Evidence
    sharpe_interval: Interval
    verdict: Verdict


@dataclass(frozen=True)
class FamilyReport:
    """A batch judged.

    Args:
        judged: every hypothesis, the strongest evidence first.
        superiority: of the family against equal weight, at equal volatility.
        overfitting: probability that the best of one half of history is a poor one of the other; NaN for a batch of one
            or too short.
        trials: behind the batch.
    """

    judged: tuple[Judged, ...]
    superiority: Superiority
    overfitting: float
    trials: Trials


def trade(
    hypotheses: Sequence[Hypothesis],
    scores: Mapping[str, np.ndarray],
    fill_returns_TxN: np.ndarray,
    held_returns_TxN: np.ndarray,
    *,
    bars: Bars,
    execution: ExecutionConfig,
    config: BacktestsConfig,
    threads: int,
    sectors_TxN: np.ndarray | None = None,
    calendar: SessionCalendar | None = None,
) -> Outcomes:
    """Simulates a batch, every model's hypotheses in one sweep.

    Args:
        hypotheses: what is held.
        scores: model → float (T, N), unitless, NaN where there is none.
        fill_returns_TxN: float (T, N), log return from the previous row's fill price to this row's: outcomes of ICs.
        held_returns_TxN: float (T, N), likewise of who holds a name, over gaps and after its membership: what is earned.
        bars: of the same names, up to the last row and from before it.
        execution: fill and costs, the same for all.
        config: calendar and cap of equal weight, which holds every name any model scores, unshaped and without a brake.
        threads: portfolios simulated at a time.
        sectors_TxN: int (T, N), the sector of each name, −1 where it is not known; only needed by a cap on sectors.
        calendar: the exchange's sessions; only needed by sizes for gaps.

    Known at: as `sweep`.

    Raises:
        DataError: if a strategy needs what the bars have not.
    """
    labels_TxN = realised_labels(fill_returns_TxN, execution=execution)
    scored_TxN = np.logical_or.reduce([np.isfinite(panel_TxN) for panel_TxN in scores.values()])
    equal = Hypothesis(model=BENCHMARK, settings={}, config=unshaped(config).model_copy(update={"strategy": BENCHMARK}))
    # Apart from the models' own names: a hypothesis may trade the scores of the baseline that is called the same.
    groups: dict[str | None, tuple[np.ndarray | None, list[Hypothesis]]] = {
        None: (np.where(scored_TxN, 0.0, np.nan), [equal])
    }
    for hypothesis in hypotheses:
        groups.setdefault(hypothesis.model, (scores.get(hypothesis.model), []))[1].append(hypothesis)
    net: dict[int, np.ndarray] = {}
    for panel_TxN, own in groups.values():
        variants = [Variant(execution, hypothesis.config) for hypothesis in own]
        books = sweep(
            panel_TxN,
            held_returns_TxN,
            variants,
            threads=threads,
            bars=bars,
            sectors_TxN=sectors_TxN,
            calendar=calendar,
        )
        net |= {id(hypothesis): book.net_T for hypothesis, book in zip(own, books, strict=True)}
    ic = {model: information_coefficients(panel_TxN, labels_TxN) for model, panel_TxN in scores.items()}
    unknown_T = np.full(len(fill_returns_TxN), np.nan)
    return Outcomes(
        hypotheses=tuple(hypotheses),
        net_TxM=np.column_stack([net[id(hypothesis)] for hypothesis in hypotheses]),
        benchmark_T=net[id(equal)],
        ic_TxM=np.column_stack([ic.get(hypothesis.model, unknown_T) for hypothesis in hypotheses]),
    )


def judge_family(
    outcomes: Outcomes, *, trials: Sequence[Record], events: Sequence[Event], config: Config
) -> FamilyReport:
    """Judges a batch as one family.

    Args:
        outcomes: what it earned.
        trials: the ledger's, those of the batch included.
        events: the ledger's, oldest first.
        config: thresholds, and `backtests` for level, resamples and blocks.
    """
    settings = config.backtests
    net_TxM, benchmark_T = outcomes.net_TxM, outcomes.benchmark_T
    behind = trials_behind(trials, net_TxM)
    superiority = superior_models(_at_volatility(net_TxM, benchmark_T), benchmark_T, config=settings)
    judged = []
    for column, hypothesis in enumerate(outcomes.hypotheses):
        evidence = _evidence(outcomes, column, superiority=superiority, trials=behind, config=config)
        judged.append(
            Judged(
                hypothesis=hypothesis,
                evidence=evidence,
                sharpe_interval=sharpe_interval(net_TxM[:, column], config=settings),
                verdict=judge(evidence, config=config, events=events),
            )
        )
    blocks = settings.overfitting_blocks
    several = net_TxM.shape[1] > 1 and len(net_TxM) >= blocks
    return FamilyReport(
        judged=tuple(sorted(judged, key=_strength)),
        superiority=superiority,
        overfitting=overfitting(net_TxM, blocks=blocks).probability if several else float("nan"),
        trials=behind,
    )


def _evidence(outcomes: Outcomes, column: int, *, superiority: Superiority, trials: Trials, config: Config) -> Evidence:
    settings, family = config.backtests, len(outcomes.hypotheses)
    year = settings.sessions_per_year
    net_T, ic_T, benchmark_T = outcomes.net_TxM[:, column], outcomes.ic_TxM[:, column], outcomes.benchmark_T
    scored = bool(outcomes.hypotheses[column].model)
    return Evidence(
        sessions=net_T.size,
        sharpe=sharpe(net_T, sessions_per_year=year),
        benchmark=sharpe(benchmark_T, sessions_per_year=year),
        lead=_lead_interval(net_T, benchmark_T, family=family, config=settings),
        ic=mean(ic_T) if scored else None,
        ic_interval=corrected_mean_interval(ic_T, comparisons=family, config=settings) if scored else None,
        deflated=deflated_sharpe(net_T, trials=trials.effective, variance=trials.variance),
        trials=trials,
        track_record=min_track_record(net_T, benchmark=0.0, confidence=config.verdict.probability),
        superior=column in superiority.superior,
    )


def _lead_interval(net_T: np.ndarray, benchmark_T: np.ndarray, *, family: int, config: BacktestsConfig) -> Interval:
    """Of net Sharpe minus equal weight's, paired, for a whole family.

    Normal about the difference: corrected tails lie beyond what the resamples resolve.
    """
    counts_RxT, root = draw_counts(net_T.size, config=config), np.sqrt(config.sessions_per_year)
    difference_R = root * (resampled_ratios(net_T, counts_RxT) - resampled_ratios(benchmark_T, counts_RxT))
    if not np.isfinite(difference_R).all():
        return float("nan"), float("nan")
    own, other = (sharpe(each_T, sessions_per_year=config.sessions_per_year) for each_T in (net_T, benchmark_T))
    reach = NormalDist().inv_cdf(1 - (1 - config.confidence) / (2 * family)) * float(difference_R.std(ddof=1))
    return own - other - reach, own - other + reach


def _at_volatility(net_TxM: np.ndarray, benchmark_T: np.ndarray) -> np.ndarray:
    """Returns brought to the benchmark's deviation: their means then differ as Sharpe ratios do, however much is held."""
    deviation_M = net_TxM.std(axis=0)
    scale_M = np.divide(benchmark_T.std(), deviation_M, out=np.ones_like(deviation_M), where=deviation_M > 0)
    return net_TxM * scale_M


def _strength(judged: Judged) -> tuple[int, float, float, str]:
    """By word, then by deflated Sharpe, then by the lead; what is not defined comes last."""
    evidence = judged.evidence
    deflated, lead = (np.nan_to_num(value, nan=-np.inf) for value in (evidence.deflated, evidence.lead[0]))
    return WORDS.index(judged.verdict.word), -float(deflated), -float(lead), judged.hypothesis.name
