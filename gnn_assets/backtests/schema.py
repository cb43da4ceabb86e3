"""Tables of the backtests stage."""

import polars as pl

from gnn_assets.store.schema import Table

PORTFOLIO_RETURNS = Table(
    name="portfolio_returns",
    columns={
        "version": pl.String,
        "model": pl.String,
        "session": pl.Date,
        "gross": pl.Float64,
        "net": pl.Float64,
        "turnover": pl.Float64,
        "ic": pl.Float64,
        "rank_ic": pl.Float64,
    },
    key=("model", "session"),
    descriptions={
        "session": "session at whose end the return was earned (gross, net) or at whose close the score was made (ic)",
        "gross": "simple return of the portfolio before costs",
        "net": "simple return after commission, half spread and slippage",
        "turnover": "traded value over portfolio value, both sides counted",
        "ic": "Pearson correlation across symbols of score and realised log return; null where not yet realised",
        "rank_ic": "Spearman correlation across symbols; null where not yet realised",
    },
)

BACKTEST_SCORES = Table(
    name="backtest_scores",
    columns={
        "version": pl.String,
        "model": pl.String,
        "fold": pl.Int16,
        "metric": pl.String,
        "value": pl.Float64,
        "lower": pl.Float64,
        "upper": pl.Float64,
        "execution": pl.String,
    },
    key=("model", "fold", "metric"),
    descriptions={
        "fold": "walk-forward fold; -1 for all sessions together",
        "metric": "ic, rank_ic, icir, sharpe_gross, sharpe_net, ...; `x_minus_<baseline>` is a paired difference",
        "lower": "lower end of the bootstrap interval; null where none is taken",
        "upper": "upper end of the bootstrap interval; null where none is taken",
        "execution": "execution setting of the backtest",
    },
)

SCORE_CARDS = Table(
    name="score_cards",
    columns={
        "version": pl.String,
        "model": pl.String,
        "slice": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "lower": pl.Float64,
        "upper": pl.Float64,
        "sessions": pl.Int32,
    },
    key=("model", "slice", "metric"),
    descriptions={
        "slice": "all; year <year>; volatility low, middle or high; or decile <1 to 10> of the session's scores",
        "metric": "ic, rank_ic, icir, calibration_slope, sharpe_net (unitless); mae, rmse, expected_return, "
        "realised_return (log return); `x_minus_<model>` is a paired difference",
        "lower": "lower end of the bootstrap interval; null where none is taken",
        "upper": "upper end of the bootstrap interval; null where none is taken",
        "sessions": "sessions of the slice on which the measure is known",
    },
)
