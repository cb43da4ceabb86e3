"""Series of a model over the test sessions of a tier, and what is said of them: figures, intervals, differences."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float64

from benchmarks.quality.portfolio import BONUS, HELD, best, costs, decile_spread, gross
from benchmarks.quality.tiers import THIRDS, Tier
from gnn_assets.backtests.cross_section import information_coefficients, rank_information_coefficients
from gnn_assets.backtests.metrics import information_ratio, mean
from gnn_assets.backtests.significance import Interval, percentile_interval, resampled_means, resampled_ratios

BLOCK = 10  # sessions
RESAMPLES = 2000
CONFIDENCE = 0.95
SESSIONS_PER_YEAR = 252
_SEED = 7
_BEST = 10  # names whose sign is looked at
_Series = Float64[np.ndarray, " S"]


@dataclass(frozen=True)
class Figure:
    """A number and its bootstrap interval; NaN where the series is too short or too flat for one."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Metric:
    """A number made of one series of a model.

    Args:
        series: name of the series.
        value: series → number.
        resampled: series, draw counts → that number for every resample.
        scale: what both are multiplied by.
    """

    series: str
    value: Callable[[_Series], float]
    resampled: Callable[[_Series, np.ndarray], np.ndarray]
    scale: float = 1.0


def _mean(series: str) -> Metric:
    return Metric(series, mean, resampled_means)


def _ratio(series: str) -> Metric:
    return Metric(series, information_ratio, resampled_ratios)


def _sharpe(series: str) -> Metric:
    return Metric(series, information_ratio, resampled_ratios, scale=SESSIONS_PER_YEAR**0.5)


METRICS: Mapping[str, Metric] = {
    "IC": _mean("ic"),
    "ICIR": _ratio("ic"),
    "rank IC": _mean("rank_ic"),
    "rank ICIR": _ratio("rank_ic"),
    f"prec@{_BEST}": _mean("precision"),
    f"top-{HELD} gross": _sharpe("gross"),
    f"top-{HELD} net": _sharpe("net"),
    f"top-{HELD} net, hysteresis": _sharpe("net_hysteresis"),
    "decile spread": _sharpe("decile_spread"),
}
COMPARED = ("IC", "ICIR", "rank IC", "rank ICIR")


@dataclass(frozen=True, eq=False)
class Judged:
    """A model in a tier.

    Args:
        model: its name.
        series: name → float64 (S,).
        figures: metric → number and interval.
        scored: share of the symbols that count which have a score.
        ic_by_third: IC within each third by traded value, least first; NaN where that is not known.
    """

    model: str
    series: Mapping[str, _Series]
    figures: Mapping[str, Figure]
    scored: float
    ic_by_third: tuple[float, ...]


def judge(model: str, scores_SxN: Float[np.ndarray, "S N"], tier: Tier) -> Judged:
    """Holds a model's scores against the labels of a tier.

    Args:
        model: its name.
        scores_SxN: float (S, N), the score for each test session; NaN where there is none. A symbol that counts and has
            none is taken to have the session's mean score in the ICs, and is never held.
        tier: labels.

    References:
        ICIR is the mean of the daily ICs over their standard deviation (n - 1); Sharpe ratios are its counterpart for
        returns, times the square root of 252.
    """
    scores_SxN = np.where(tier.counted_SxN, scores_SxN, np.nan)
    filled_SxN = _filled(scores_SxN, tier)
    weights_SxN = best(scores_SxN, size=HELD, bonus=0.0)
    patient_SxN = best(scores_SxN, size=HELD, bonus=BONUS)
    gross_S = gross(weights_SxN, tier.labels_SxN)
    series = {
        "ic": information_coefficients(filled_SxN, tier.labels_SxN),
        "rank_ic": rank_information_coefficients(filled_SxN, tier.labels_SxN),
        "precision": _precision(scores_SxN, tier),
        "gross": gross_S,
        "net": gross_S - costs(weights_SxN, round_trip=tier.round_trip),
        "net_hysteresis": gross(patient_SxN, tier.labels_SxN) - costs(patient_SxN, round_trip=tier.round_trip),
        "decile_spread": decile_spread(scores_SxN, tier.labels_SxN),
    }
    thirds = [tier.of_third(third) for third in range(len(THIRDS))]
    return Judged(
        model=model,
        series=series,
        figures={name: _figure(metric, series[metric.series]) for name, metric in METRICS.items()},
        scored=float(np.isfinite(scores_SxN).sum() / max(tier.counted_SxN.sum(), 1)),
        ic_by_third=tuple(
            mean(information_coefficients(_filled(scores_SxN, third), third.labels_SxN)) for third in thirds
        ),
    )


def difference(one: Judged, other: Judged, name: str) -> Figure:
    """How much more of a metric one model has than another, on the sessions on which both have one.

    Its interval is of the same draws of sessions for both.
    """
    metric = METRICS[name]
    ours_S, theirs_S = one.series[metric.series], other.series[metric.series]
    both_S = ~np.isnan(ours_S) & ~np.isnan(theirs_S)
    ours_S, theirs_S = np.where(both_S, ours_S, np.nan), np.where(both_S, theirs_S, np.nan)
    draws_RxS = _draws(ours_S.size)
    samples_R = metric.scale * (metric.resampled(ours_S, draws_RxS) - metric.resampled(theirs_S, draws_RxS))
    return Figure(
        value=metric.scale * (metric.value(ours_S) - metric.value(theirs_S)),
        interval=percentile_interval(samples_R, confidence=CONFIDENCE),
    )


def base_rate(tier: Tier) -> float:
    """Share of the symbols that count whose label is 0 or more, averaged over sessions."""
    return mean(_share(tier.labels_SxN >= 0, tier.counted_SxN))


def market_sharpe(tier: Tier) -> Figure:
    """Sharpe ratio of all symbols that count in equal parts, before costs."""
    counts_S = tier.counted_SxN.sum(axis=1)
    returns_S = np.nansum(tier.labels_SxN, axis=1) / np.maximum(counts_S, 1)
    return _figure(_sharpe("market"), returns_S)


@lru_cache(maxsize=1)
def _draws(n_sessions: int) -> Float64[np.ndarray, "R S"]:
    """How often each resample draws each session: circular blocks, as the published intervals have them.

    References:
        D. Politis, J. Romano, A circular block-resampling procedure for stationary data, in Exploring the Limits of
        Bootstrap, Wiley 1992.
    """
    from arch.bootstrap import CircularBlockBootstrap

    bootstrap = CircularBlockBootstrap(BLOCK, np.arange(n_sessions), seed=_SEED)
    draws = (data[0] for data, _ in bootstrap.bootstrap(RESAMPLES))
    return np.stack([np.bincount(draw, minlength=n_sessions) for draw in draws]).astype(np.float64)


def _figure(metric: Metric, values_S: _Series) -> Figure:
    samples_R = metric.scale * metric.resampled(values_S, _draws(values_S.size))
    interval = percentile_interval(samples_R, confidence=CONFIDENCE)
    return Figure(value=metric.scale * metric.value(values_S), interval=interval)


def _filled(scores_SxN: Float[np.ndarray, "S N"], tier: Tier) -> Float64[np.ndarray, "S N"]:
    """Scores of the symbols that count, the session's mean for those that have none."""
    scored_SxN = np.isfinite(scores_SxN) & tier.counted_SxN
    filled_SxN = np.where(scored_SxN, scores_SxN, 0.0).astype(np.float64)
    mean_S = filled_SxN.sum(axis=1) / np.maximum(scored_SxN.sum(axis=1), 1)
    return np.where(scored_SxN, filled_SxN, np.where(tier.counted_SxN, mean_S[:, None], np.nan))


def _precision(scores_SxN: Float[np.ndarray, "S N"], tier: Tier) -> _Series:
    best_SxN = best(scores_SxN, size=_BEST, bonus=0.0) > 0
    return _share(best_SxN & (tier.labels_SxN >= 0), best_SxN)


def _share(hits_SxN: np.ndarray, among_SxN: np.ndarray) -> _Series:
    counts_S = among_SxN.sum(axis=1)
    shares_S = np.full(len(counts_S), np.nan)
    np.divide((hits_SxN & among_SxN).sum(axis=1), counts_S, out=shares_S, where=counts_S > 0)
    return shares_S
