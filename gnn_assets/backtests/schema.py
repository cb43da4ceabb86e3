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

HYPOTHESES = Table(
    name="hypotheses",
    columns={
        "batch": pl.String,
        "hypothesis": pl.String,
        "version": pl.String,
        "model": pl.String,
        "strategy": pl.String,
        "settings": pl.String,
        "word": pl.String,
        "reason": pl.String,
        "sessions": pl.Int32,
        "sharpe_net": pl.Float64,
        "sharpe_net_lower": pl.Float64,
        "sharpe_net_upper": pl.Float64,
        "lead": pl.Float64,
        "lead_lower": pl.Float64,
        "lead_upper": pl.Float64,
        "ic": pl.Float64,
        "ic_lower": pl.Float64,
        "ic_upper": pl.Float64,
        "deflated_sharpe": pl.Float64,
        "track_record": pl.Float64,
        "superior": pl.Boolean,
        "overfitting": pl.Float64,
        "trials": pl.Int32,
        "effective_trials": pl.Float64,
        "thresholds": pl.String,
        "conditions": pl.String,
    },
    key=("batch", "version", "hypothesis"),
    descriptions={
        "batch": "hash of the batch as it was registered",
        "hypothesis": "model, strategy and settings in words",
        "version": "gnn_weights version of the backtest it was judged on",
        "model": "whose scores it trades; empty where its strategy reads none",
        "strategy": "plug-in that makes its weights",
        "settings": "what the batch sets (JSON)",
        "word": "SCALE, ITERATE, NOT_ENOUGH_DATA or KILL",
        "reason": "the condition that decided",
        "sessions": "out-of-sample sessions",
        "sharpe_net": "Sharpe ratio after costs (a year)",
        "sharpe_net_lower": "lower end of its bootstrap interval, alone",
        "sharpe_net_upper": "upper end of its bootstrap interval, alone",
        "lead": "sharpe_net minus equal weight's",
        "lead_lower": "lower end of the paired interval, for the whole batch",
        "lead_upper": "upper end of the paired interval, for the whole batch",
        "ic": "mean IC of the scores; null where it trades none",
        "ic_lower": "lower end of the interval, for the whole batch",
        "ic_upper": "upper end of the interval, for the whole batch",
        "deflated_sharpe": "probability that the ratio is above what the best trial shows without skill",
        "track_record": "sessions the ratio needs to be told from 0; null where no record would do",
        "superior": "whether it was found better than equal weight, step by step in its batch",
        "overfitting": "probability of backtest overfitting of the batch; null where it cannot be taken",
        "trials": "in the ledger when it was judged",
        "effective_trials": "independent ones they amount to",
        "thresholds": "hash of the thresholds as they were registered",
        "conditions": "every condition with its value, threshold and outcome (JSON)",
    },
)
