"""From `portfolio_returns` to `backtest_scores`: every model's measures, and the candidate against each of them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.backtests.metrics import (
    annual_return,
    annual_turnover,
    annual_volatility,
    calibrated_errors,
    hit_rate,
    information_ratio,
    max_drawdown,
    mean,
    rmse_ratio,
    sharpe,
)
from gnn_assets.backtests.schema import BACKTEST_SCORES
from gnn_assets.backtests.significance import (
    Interval,
    draw_counts,
    percentile_interval,
    resampled_means,
    resampled_ratios,
    smallest_detectable_ic,
)
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig
from gnn_assets.core.errors import DataError
from gnn_assets.store.panel import to_panel

ALL_FOLDS = -1
_SERIES = ("ic", "rank_ic", "gross", "net", "turnover")

Series = Mapping[str, np.ndarray]


def session_folds(predictions: pl.DataFrame) -> dict[date, int]:
    """The fold each session was out of sample in.

    Args:
        predictions: `oos_predictions` rows.
    """
    pairs = predictions.select("session", "fold").unique().sort("session", "fold")
    return dict(pairs.iter_rows())


def backtest_scores(
    portfolios: pl.DataFrame,
    *,
    folds: Mapping[date, int],
    candidate: str,
    execution: ExecutionConfig,
    config: BacktestsConfig,
    min_calibration_sessions: int,
) -> pl.DataFrame:
    """Measures every model over all sessions together (fold −1) and in each fold.

    Means and ratios over all sessions come with a bootstrap interval. Depth of the drawdown, turnover and the RMSE
    ratio come without: they are no means of sessions. For the candidate there is one row more a measure and other
    model: ``ic_minus_<model>`` and ``sharpe_net_minus_<model>``, paired on the same resampled sessions.
    ``turnover`` is a year's; ``rmse_ratio`` is over the naive forecast's; ``sessions`` counts the sessions measured.
    A measure that is not defined, such as the IC of equal scores, is null.

    Args:
        portfolios: `portfolio_returns` rows.
        folds: session → fold; see `session_folds`.
        candidate: the model that is compared with every other.
        execution: named in every row; its purge says when an IC is known.
        config: annualisation and bootstrap.
        min_calibration_sessions: known sessions the slope behind ``rmse_ratio`` needs.

    Returns:
        `backtest_scores` rows.

    Raises:
        DataError: if the candidate has no portfolio.
    """
    models = portfolios["model"].unique(maintain_order=True).to_list()
    if candidate not in models:
        raise DataError.of(
            "portfolio_returns",
            expected=f"rows of {candidate}",
            was=f"rows of {', '.join(models) or 'no model'}",
            do="materialize oos_predictions and portfolio_returns again",
        )
    sessions = portfolios["session"].unique().sort().to_list()
    by_model = series_by_model(portfolios, sessions=sessions, models=models)
    errors = {
        model: calibrated_errors(series["ic"], purge=execution.purge, min_sessions=min_calibration_sessions)
        for model, series in by_model.items()
    }
    fold_T = np.array([folds.get(session, ALL_FOLDS) for session in sessions])
    parts = {int(fold): fold_T == fold for fold in np.unique(fold_T)}
    parts[ALL_FOLDS] = np.full(len(sessions), True)
    version = dict(portfolios.select("model", "version").unique().iter_rows())
    counts_RxT = draw_counts(len(sessions), config=config)
    rows: list[tuple] = []
    for model, series in by_model.items():
        intervals = dict(_intervals(series, counts_RxT, config=config))
        others = [other for other in models if model == candidate and other != candidate]
        for other in others:
            intervals |= dict(_paired_intervals(series, by_model[other], other, counts_RxT, config=config))
        for fold, inside_T in parts.items():
            part = {name: values_T[inside_T] for name, values_T in series.items()}
            values = dict(_values(part, errors[model][inside_T], config=config))
            for other in others:
                against = {name: values_T[inside_T] for name, values_T in by_model[other].items()}
                values |= dict(_paired_values(part, against, other, config=config))
            if fold == ALL_FOLDS:
                values["smallest_detectable_ic"] = smallest_detectable_ic(series["ic"], config=config)
            ends = intervals if fold == ALL_FOLDS else {}
            rows += [
                (version[model], model, fold, metric, value, *ends.get(metric, (None, None)), execution.fill)
                for metric, value in values.items()
            ]
    frame = pl.DataFrame(rows, schema=dict(BACKTEST_SCORES.columns), orient="row")
    return BACKTEST_SCORES.conform(frame.with_columns(pl.col("value", "lower", "upper").fill_nan(None)))


def series_by_model(portfolios: pl.DataFrame, *, sessions: Sequence[date], models: Sequence[str]) -> dict[str, Series]:
    """Every model's ICs, returns and turnover on one axis of sessions.

    Args:
        portfolios: `portfolio_returns` rows.
        sessions: the T sessions, ascending.
        models: the models, in the order wanted.

    Returns:
        Model → column → float64 (T,), NaN where missing.
    """
    named = portfolios.rename({"model": "symbol"})
    panels = {name: to_panel(named, name, sessions=sessions, symbols=models) for name in _SERIES}
    return {model: {name: panels[name][:, column] for name in _SERIES} for column, model in enumerate(models)}


def _values(series: Series, errors_T: np.ndarray, *, config: BacktestsConfig) -> Iterator[tuple[str, float]]:
    year = config.sessions_per_year
    traded = ~np.isnan(series["net"])
    gross_T, net_T, turnover_T = series["gross"][traded], series["net"][traded], series["turnover"][traded]
    yield "sessions", float(net_T.size)
    yield "ic", mean(series["ic"])
    yield "rank_ic", mean(series["rank_ic"])
    yield "icir", information_ratio(series["ic"])
    yield "rmse_ratio", rmse_ratio(errors_T)
    yield "sharpe_gross", sharpe(gross_T, sessions_per_year=year)
    yield "sharpe_net", sharpe(net_T, sessions_per_year=year)
    yield "annual_return_net", annual_return(net_T, sessions_per_year=year)
    yield "annual_volatility_net", annual_volatility(net_T, sessions_per_year=year)
    yield "max_drawdown_net", max_drawdown(net_T)
    yield "hit_rate_net", hit_rate(net_T)
    yield "turnover", annual_turnover(turnover_T, sessions_per_year=year)


def _intervals(series: Series, counts_RxT: np.ndarray, *, config: BacktestsConfig) -> Iterator[tuple[str, Interval]]:
    year, level = config.sessions_per_year, config.confidence
    root = np.sqrt(year)
    log_growth_R = resampled_means(np.log1p(series["net"]), counts_RxT)
    yield "ic", percentile_interval(resampled_means(series["ic"], counts_RxT), confidence=level)
    yield "rank_ic", percentile_interval(resampled_means(series["rank_ic"], counts_RxT), confidence=level)
    yield "icir", percentile_interval(resampled_ratios(series["ic"], counts_RxT), confidence=level)
    yield "sharpe_gross", percentile_interval(root * resampled_ratios(series["gross"], counts_RxT), confidence=level)
    yield "sharpe_net", percentile_interval(root * resampled_ratios(series["net"], counts_RxT), confidence=level)
    yield "annual_return_net", percentile_interval(np.expm1(year * log_growth_R), confidence=level)


def _paired_values(
    series: Series, against: Series, other: str, *, config: BacktestsConfig
) -> Iterator[tuple[str, float]]:
    both = ~np.isnan(series["net"]) & ~np.isnan(against["net"])
    year = config.sessions_per_year
    yield f"ic_minus_{other}", mean(series["ic"] - against["ic"])
    yield (
        f"sharpe_net_minus_{other}",
        sharpe(series["net"][both], sessions_per_year=year) - sharpe(against["net"][both], sessions_per_year=year),
    )


def _paired_intervals(
    series: Series, against: Series, other: str, counts_RxT: np.ndarray, *, config: BacktestsConfig
) -> Iterator[tuple[str, Interval]]:
    both = ~np.isnan(series["net"]) & ~np.isnan(against["net"])
    own_R, other_R = (
        resampled_ratios(np.where(both, net_T, np.nan), counts_RxT) for net_T in (series["net"], against["net"])
    )
    difference_R = resampled_means(series["ic"] - against["ic"], counts_RxT)
    yield f"ic_minus_{other}", percentile_interval(difference_R, confidence=config.confidence)
    sharpe_R = np.sqrt(config.sessions_per_year) * (own_R - other_R)
    yield f"sharpe_net_minus_{other}", percentile_interval(sharpe_R, confidence=config.confidence)
