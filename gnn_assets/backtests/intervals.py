"""Bootstrap intervals of measures of returns, beside those of means and ratios in `significance`.

Sortino ratio and alpha are functions of means, so how often a resample draws each session is enough. A drawdown, and
with it the Calmar ratio, depends on order: there each resample is compounded in the order it was drawn, which keeps
the market's own order inside blocks only. Falls much longer than a block come out shorter than they were.

Every function takes net simple returns without NaN, in order of time, and gives the percentile interval at the
configured level; NaN at both ends where a resample leaves the measure undefined.
"""

import numpy as np

from gnn_assets.backtests.drawdowns import drawdown_curve
from gnn_assets.backtests.significance import (
    Interval,
    draw_counts,
    draw_orders,
    percentile_interval,
    resampled_means,
    resampled_ratios,
)
from gnn_assets.core.config import BacktestsConfig

_BATCH = 100  # resamples compounded at once: a few megabytes


def sharpe_interval(returns_T: np.ndarray, *, config: BacktestsConfig) -> Interval:
    """Of the annualised Sharpe ratio.

    References:
        O. Ledoit, M. Wolf, Robust performance hypothesis testing with the Sharpe ratio, Journal of Empirical Finance
        15(5), 2008.
    """
    ratios_R = resampled_ratios(returns_T, draw_counts(returns_T.size, config=config))
    return percentile_interval(np.sqrt(config.sessions_per_year) * ratios_R, confidence=config.confidence)


def sortino_interval(returns_T: np.ndarray, *, config: BacktestsConfig) -> Interval:
    """Of the annualised Sortino ratio."""
    counts_RxT = draw_counts(returns_T.size, config=config)
    downside_R = np.sqrt(resampled_means(np.minimum(returns_T, 0.0) ** 2, counts_RxT))
    ratios_R = _over(resampled_means(returns_T, counts_RxT), downside_R)
    return percentile_interval(np.sqrt(config.sessions_per_year) * ratios_R, confidence=config.confidence)


def drawdown_interval(returns_T: np.ndarray, *, config: BacktestsConfig) -> Interval:
    """Of the deepest drawdown, between −1 and 0."""
    return percentile_interval(_depths(returns_T, config=config), confidence=config.confidence)


def calmar_interval(returns_T: np.ndarray, *, config: BacktestsConfig) -> Interval:
    """Of the Calmar ratio: each resample's own return a year over its own deepest drawdown."""
    growth_R = resampled_means(np.log1p(returns_T), draw_counts(returns_T.size, config=config))
    ratios_R = _over(np.expm1(config.sessions_per_year * growth_R), -_depths(returns_T, config=config))
    return percentile_interval(ratios_R, confidence=config.confidence)


def alpha_interval(returns_T: np.ndarray, benchmark_T: np.ndarray, *, config: BacktestsConfig) -> Interval:
    """Of Jensen's alpha, compounded to a year; each resample has a beta of its own.

    Args:
        returns_T: float (T,).
        benchmark_T: float (T,), the benchmark's returns of the same sessions.
        config: level, block, resamples, seed and sessions a year.
    """
    counts_RxT = draw_counts(returns_T.size, config=config)
    centred_T = benchmark_T - benchmark_T.mean()
    means_R, market_R, products_R, squares_R = (
        resampled_means(values_T, counts_RxT)
        for values_T in (returns_T, centred_T, centred_T * returns_T, centred_T**2)
    )
    beta_R = _over(products_R - market_R * means_R, squares_R - market_R**2)
    session_R = means_R - beta_R * (market_R + benchmark_T.mean())
    return percentile_interval((1.0 + session_R) ** config.sessions_per_year - 1.0, confidence=config.confidence)


def _depths(returns_T: np.ndarray, *, config: BacktestsConfig) -> np.ndarray:
    """Deepest drawdown of every resample, (R,)."""
    orders_RxT = draw_orders(returns_T.size, config=config)
    batches = np.array_split(orders_RxT, -(-len(orders_RxT) // _BATCH))
    return np.concatenate([drawdown_curve(returns_T[batch_BxT]).min(axis=1) for batch_BxT in batches])


def _over(numerator_R: np.ndarray, denominator_R: np.ndarray) -> np.ndarray:
    """The quotient, NaN where the denominator is not above 0."""
    return np.divide(numerator_R, denominator_R, out=np.full(numerator_R.shape, np.nan), where=denominator_R > 0)
