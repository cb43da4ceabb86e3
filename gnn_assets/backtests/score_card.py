"""From `oos_predictions`, `returns` and `portfolio_returns` to `score_cards`: how good every score was, and when.

One card tells a candidate beside its baselines: over all sessions, by calendar year and by the market's volatility.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.backtests.cross_section import realised_labels
from gnn_assets.backtests.regimes import REGIMES, volatility_regimes
from gnn_assets.backtests.schema import SCORE_CARDS
from gnn_assets.backtests.scores import Series, series_by_model
from gnn_assets.backtests.significance import draw_counts
from gnn_assets.backtests.slice_measures import (
    Measure,
    decile_measures,
    outcome_series,
    own_measures,
    paired_measures,
    paired_sharpe,
    sharpe_measure,
)
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig
from gnn_assets.core.errors import DataError
from gnn_assets.store.panel import to_panel

ALL = "all"
YEAR = "year "


def regime_slice(regime: str) -> str:
    """Name of the slice of a volatility regime."""
    return f"volatility {regime}"


def score_card(
    predictions: pl.DataFrame,
    returns: pl.DataFrame,
    portfolios: pl.DataFrame,
    *,
    sessions: Sequence[date],
    candidate: str,
    execution: ExecutionConfig,
    config: BacktestsConfig,
    min_calibration_sessions: int,
) -> pl.DataFrame:
    """Measures every model in every slice of its out-of-sample sessions, and the candidate against each other model.

    A slice is bootstrapped by its own sessions, all models on the same draws. Errors are those of the expected return
    calibrated on what was known at each session's close; the calibration slope is that of a regression, through the
    origin, of what each decile of scores earned on what was expected of it, both less the session's mean: 1 is a
    forecast of the right size, 0 one that means nothing. A measure that is not defined, such as the IC of equal
    scores, is null.

    Args:
        predictions: `oos_predictions` rows.
        returns: `returns` rows; ``fill_return`` makes the outcomes, ``close_return`` the regimes.
        portfolios: `portfolio_returns` rows of the same predictions.
        sessions: the exchange's sessions, ascending, from the first to the last of the returns.
        candidate: the model that is compared with every other.
        execution: fill and horizon.
        config: annualisation, bootstrap and regimes.
        min_calibration_sessions: sessions with a known outcome that a calibration needs.

    Returns:
        `score_cards` rows.

    Raises:
        DataError: if the candidate has no portfolio.
    """
    models = portfolios["model"].unique().sort().to_list()
    if candidate not in models:
        raise DataError.of(
            "portfolio_returns",
            expected=f"rows of {candidate}",
            was=f"rows of {', '.join(models) or 'no model'}",
            do="materialize oos_predictions and portfolio_returns again",
        )
    axis = portfolios["session"].unique().sort().to_list()
    symbols = predictions["symbol"].unique().sort().to_list()
    first = list(sessions).index(axis[0])
    fill_returns_TxN = to_panel(returns, "fill_return", sessions=sessions[first:], symbols=symbols)
    labels_TxN = realised_labels(fill_returns_TxN, execution=execution)[: len(axis)]
    by_model = {
        model: {
            **series,
            **outcome_series(
                to_panel(predictions.filter(pl.col("model") == model), "score", sessions=axis, symbols=symbols),
                labels_TxN,
                execution=execution,
                min_sessions=min_calibration_sessions,
            ),
        }
        for model, series in series_by_model(portfolios, sessions=axis, models=models).items()
    }
    regimes = volatility_regimes(returns, sessions=sessions, symbols=symbols, config=config.regimes)
    slices = _slices(axis, regimes["regime"].to_list()[first : first + len(axis)])
    version = dict(portfolios.select("model", "version").unique().iter_rows())
    rows = [
        (version[model], model, name, told.metric, told.value, *told.interval, told.sessions)
        for model, name, told in _measured(by_model, slices, candidate=candidate, config=config)
    ]
    frame = pl.DataFrame(rows, schema=dict(SCORE_CARDS.columns), orient="row")
    return SCORE_CARDS.conform(frame.with_columns(pl.col("value", "lower", "upper").fill_nan(None)))


def _slices(axis: Sequence[date], regimes: Sequence[str | None]) -> dict[str, np.ndarray]:
    """Name → whether each session is in the slice; slices without a session are left out."""
    years = sorted({session.year for session in axis})
    slices = {
        ALL: np.full(len(axis), fill_value=True),
        **{f"{YEAR}{year}": np.array([session.year == year for session in axis]) for year in years},
        **{regime_slice(regime): np.array([found == regime for found in regimes]) for regime in REGIMES},
    }
    return {name: inside_T for name, inside_T in slices.items() if inside_T.any()}


def _measured(
    by_model: Mapping[str, Series], slices: Mapping[str, np.ndarray], *, candidate: str, config: BacktestsConfig
) -> Iterator[tuple[str, str, Measure]]:
    """Model, slice and measure; the slices are gone through one by one, as each has its own draws."""
    for name, inside_T in slices.items():
        counts_RxS = draw_counts(int(inside_T.sum()), config=config)
        parts = {
            model: {key: values_T[inside_T] for key, values_T in series.items()} for model, series in by_model.items()
        }
        for model, series in parts.items():
            for told in own_measures(series, counts_RxS, config=config):
                yield model, name, told
        others = [model for model in parts if model != candidate]
        for other in others:
            for told in paired_measures(parts[candidate], parts[other], other, counts_RxS, config=config):
                yield candidate, name, told
        if name == ALL:
            for model, series in parts.items():
                yield model, name, sharpe_measure(series["net"], counts_RxS, config=config)
                for decile, told in decile_measures(series, counts_RxS, config=config):
                    yield model, f"decile {decile}", told
            for other in others:
                yield candidate, name, paired_sharpe(parts[candidate], parts[other], other, counts_RxS, config=config)
