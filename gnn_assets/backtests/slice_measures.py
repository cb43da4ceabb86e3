"""The measures of one slice of sessions, each with its bootstrap interval."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnn_assets.backtests.calibration import DECILES, calibrated_outcomes
from gnn_assets.backtests.metrics import information_ratio, mean, sharpe
from gnn_assets.backtests.scores import Series
from gnn_assets.backtests.significance import Interval, percentile_interval, resampled_means, resampled_ratios
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig

_SIDES = ("expected", "realised")
# Of less than two blocks a bootstrap draws nearly the same sessions again and again: its ends would be too narrow.
_FEWEST_BLOCKS = 2


@dataclass(frozen=True)
class Measure:
    """One measure of one slice.

    Args:
        metric: its name.
        value: NaN where it is not defined.
        interval: its bootstrap ends, NaN where there are none: not defined, or known on less than two blocks.
        sessions: how many sessions it is known on.
    """

    metric: str
    value: float
    interval: Interval
    sessions: int


def outcome_series(
    scores_TxN: Float[np.ndarray, "T N"],
    labels_TxN: Float[np.ndarray, "T N"],
    *,
    execution: ExecutionConfig,
    min_sessions: int,
) -> dict[str, np.ndarray]:
    """What the measures of errors and of calibration are means of, session by session.

    Args:
        scores_TxN: float (T, N), out-of-sample scores of one model, NaN where there is none.
        labels_TxN: float (T, N), realised log returns, NaN where unknown.
        execution: its purge says when an outcome is known.
        min_sessions: sessions with a known outcome that a calibration needs.

    Returns:
        Name → float64 (T,), NaN where unknown.
    """
    outcomes = calibrated_outcomes(scores_TxN, labels_TxN, execution=execution, min_sessions=min_sessions)
    expected_TxD, realised_TxD = outcomes.expected_TxD, outcomes.realised_TxD
    told_T = np.isfinite(expected_TxD).any(axis=1)
    return {
        "absolute_error": outcomes.absolute_error_T,
        "squared_error": outcomes.squared_error_T,
        "expected_realised": np.where(told_T, np.nansum(expected_TxD * realised_TxD, axis=1), np.nan),
        "expected_squared": np.where(told_T, np.nansum(expected_TxD**2, axis=1), np.nan),
        **{
            f"{side}_{decile}": values_TxD[:, decile - 1]
            for side, values_TxD in zip(_SIDES, (expected_TxD, realised_TxD), strict=True)
            for decile in range(1, DECILES + 1)
        },
    }


def own_measures(series: Series, counts_RxS: np.ndarray, *, config: BacktestsConfig) -> Iterator[Measure]:
    """IC, rank IC, ICIR, MAE, RMSE and calibration slope of one model.

    Args:
        series: the slice's sessions of `outcome_series` and of ``ic`` and ``rank_ic``.
        counts_RxS: float (R, S), draws of the slice's sessions.
        config: level of the intervals.
    """
    ic_S = series["ic"]
    yield _mean("ic", ic_S, counts_RxS, config=config)
    yield _mean("rank_ic", series["rank_ic"], counts_RxS, config=config)
    yield _measure("icir", information_ratio(ic_S), resampled_ratios(ic_S, counts_RxS), ic_S, config=config)
    yield _mean("mae", series["absolute_error"], counts_RxS, config=config)
    squared_S = series["squared_error"]
    rmse_R = np.sqrt(resampled_means(squared_S, counts_RxS))
    yield _measure("rmse", float(np.sqrt(mean(squared_S))), rmse_R, squared_S, config=config)
    yield _calibration_slope(series, counts_RxS, config=config)


def _calibration_slope(series: Series, counts_RxS: np.ndarray, *, config: BacktestsConfig) -> Measure:
    product_S, square_S = series["expected_realised"], series["expected_squared"]
    products_R, squares_R = resampled_means(product_S, counts_RxS), resampled_means(square_S, counts_RxS)
    slopes_R = np.divide(products_R, squares_R, out=np.full(len(squares_R), np.nan), where=squares_R > 0)
    value = mean(product_S) / mean(square_S) if mean(square_S) > 0 else float("nan")
    return _measure("calibration_slope", value, slopes_R, square_S, config=config)


def paired_measures(
    series: Series, against: Series, other: str, counts_RxS: np.ndarray, *, config: BacktestsConfig
) -> Iterator[Measure]:
    """IC and rank IC minus those of another model, on the sessions known for both."""
    for name in ("ic", "rank_ic"):
        yield _mean(f"{name}_minus_{other}", series[name] - against[name], counts_RxS, config=config)


def sharpe_measure(net_S: np.ndarray, counts_RxS: np.ndarray, *, config: BacktestsConfig) -> Measure:
    """Annualised net Sharpe ratio."""
    year = config.sessions_per_year
    ratios_R = np.sqrt(year) * resampled_ratios(net_S, counts_RxS)
    return _measure("sharpe_net", sharpe(net_S, sessions_per_year=year), ratios_R, net_S, config=config)


def paired_sharpe(
    series: Series, against: Series, other: str, counts_RxS: np.ndarray, *, config: BacktestsConfig
) -> Measure:
    """Annualised net Sharpe ratio minus that of another model, on the sessions both were traded."""
    year = config.sessions_per_year
    both_S = ~np.isnan(series["net"]) & ~np.isnan(against["net"])
    nets = [np.where(both_S, part["net"], np.nan) for part in (series, against)]
    own, theirs = (sharpe(net_S, sessions_per_year=year) for net_S in nets)
    own_R, theirs_R = (resampled_ratios(net_S, counts_RxS) for net_S in nets)
    difference_R = np.sqrt(year) * (own_R - theirs_R)
    return _measure(f"sharpe_net_minus_{other}", own - theirs, difference_R, nets[0], config=config)


def decile_measures(
    series: Series, counts_RxS: np.ndarray, *, config: BacktestsConfig
) -> Iterator[tuple[int, Measure]]:
    """What each decile of scores was expected to earn and earned (log return less the session's mean), 1 the lowest."""
    for decile in range(1, DECILES + 1):
        for side in _SIDES:
            yield decile, _mean(f"{side}_return", series[f"{side}_{decile}"], counts_RxS, config=config)


def _mean(metric: str, values_S: np.ndarray, counts_RxS: np.ndarray, *, config: BacktestsConfig) -> Measure:
    return _measure(metric, mean(values_S), resampled_means(values_S, counts_RxS), values_S, config=config)


def _measure(
    metric: str, value: float, samples_R: np.ndarray, values_S: np.ndarray, *, config: BacktestsConfig
) -> Measure:
    known = int((~np.isnan(values_S)).sum())
    if known < _FEWEST_BLOCKS * config.bootstrap_block:
        return Measure(metric, value, (float("nan"), float("nan")), known)
    return Measure(metric, value, percentile_interval(samples_R, confidence=config.confidence), known)
