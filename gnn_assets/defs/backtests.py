"""Assets of the backtests stage: portfolio_returns, backtest_scores and, from its own file, score_cards."""

from datetime import date

import numpy as np
import polars as pl

from gnn_assets.backtests import strategies as strategies_package
from gnn_assets.backtests.checks import portfolio_checks, score_checks
from gnn_assets.backtests.portfolio import BENCHMARK, portfolio_returns
from gnn_assets.backtests.schema import BACKTEST_SCORES, PORTFOLIO_RETURNS
from gnn_assets.backtests.scores import ALL_FOLDS, backtest_scores, session_folds
from gnn_assets.bars.schema import RETURNS, UNIVERSE
from gnn_assets.bars.universe import symbols_of
from gnn_assets.core.config import Config
from gnn_assets.defs import score_card
from gnn_assets.defs.counting import count_backtests, register_thresholds, verdict_on
from gnn_assets.defs.market import bars_of
from gnn_assets.defs.plots import equity, lines, table
from gnn_assets.defs.stage import Report, Stage, StageRun, TableShelf
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.models.variants import NO_GRAPH, variants

STRATEGIES = strategies_package.__name__


def other_models(config: Config) -> tuple[str, ...]:
    """What the candidate is compared with: itself without graph, and the baselines."""
    return tuple(variant.model for variant in variants(config.models)[1:])


def _portfolio_returns(run: StageRun) -> pl.DataFrame:
    """What every model's out-of-sample scores would have earned, gross and net of costs, session by session.

    Reads out-of-sample predictions and returns, never weights. Fill, costs and calendar are the same for all.
    """
    returns = run.read(RETURNS)
    predictions = run.read(OOS_PREDICTIONS)
    count_backtests(run.platform, predictions)
    sessions = run.platform.sessions_of(returns)
    symbols = predictions["symbol"].unique().sort().to_list()
    return portfolio_returns(
        predictions,
        returns,
        sessions=sessions,
        symbols=symbols,
        execution=run.config.execution,
        config=run.config.backtests,
        bars=bars_of(run.platform, run.inputs[RETURNS.name], sessions=sessions, symbols=symbols),
        universe=run.read(UNIVERSE),
        calendar=run.platform.calendar,
    )


def _portfolio_returns_report(run: StageRun, portfolios: pl.DataFrame) -> Report:
    config = run.config
    candidate = config.models.candidate
    own = portfolios.filter(pl.col("model") == candidate)
    return Report(
        data_end=_last(portfolios),
        checks=portfolio_checks(portfolios),
        metadata={
            "dagster/row_count": portfolios.height,
            "execution": config.execution.fill,
            "net_growth": float((1 + own["net"]).product()),
            "mean_turnover": float(np.mean(own["turnover"].to_numpy())),
            "equity": equity(
                portfolios,
                index_return=_index_returns(run),
                first=candidate,
                title=f"Out of sample, net of costs, {config.execution.fill}",
            ),
        },
    )


def _backtest_scores(run: StageRun) -> pl.DataFrame:
    """Every model's out-of-sample measures with bootstrap intervals, and the candidate against each, paired.

    IC, rank IC, net and gross Sharpe, drawdown and turnover, overall (fold -1) and by walk-forward fold.
    """
    config = run.config
    return backtest_scores(
        run.read(PORTFOLIO_RETURNS),
        folds=session_folds(run.read(OOS_PREDICTIONS)),
        candidate=config.models.candidate,
        execution=config.execution,
        config=config.backtests,
        min_calibration_sessions=config.forecasts.min_calibration_sessions,
    )


def _backtest_scores_report(run: StageRun, scores: pl.DataFrame) -> Report:
    config = run.config
    candidate = config.models.candidate
    overall = scores.filter(pl.col("fold") == ALL_FOLDS)
    own = {row["metric"]: row["value"] for row in overall.filter(pl.col("model") == candidate).iter_rows(named=True)}
    portfolios = run.read(PORTFOLIO_RETURNS)
    register_thresholds(run.platform)
    verdict = verdict_on(run.platform, scores, portfolios, candidate=candidate)
    by_fold = scores.filter(pl.col("fold") != ALL_FOLDS, pl.col("metric") == "ic")
    folds = by_fold["fold"].unique().sort().to_list()
    return Report(
        data_end=_last(portfolios),
        checks=score_checks(scores, candidate=candidate, others=other_models(config), config=config.backtests),
        metadata={
            "dagster/row_count": scores.height,
            "verdict": verdict.word,
            "verdict_reason": verdict.reason,
            "verdict_conditions": table(verdict.table, digits=4),
            "thresholds_changed": "; ".join(verdict.changes) or "never",
            **{
                metric: float(own[metric])
                for metric in ("ic", "rank_ic", "sharpe_net", "smallest_detectable_ic")
                if own.get(metric) is not None
            },
            "scores": table(score_table(overall), digits=4),
            "ic_by_fold": lines(
                folds,
                {
                    model: by_fold.filter(pl.col("model") == model).sort("fold")["value"].to_numpy()
                    for model in (candidate, f"{candidate}{NO_GRAPH}", "ridge")
                    if model in by_fold["model"]
                },
                title="Mean IC by walk-forward fold",
                x_label="fold",
                y_label="IC",
            ),
        },
    )


def score_table(overall: pl.DataFrame) -> pl.DataFrame:
    """Overall scores as a person reads them: a row a model, IC and net Sharpe with their intervals."""
    shown = overall.filter(pl.col("metric").is_in(["ic", "rank_ic", "sharpe_net", "sharpe_gross", "turnover"]))
    text = shown.with_columns(
        cell=pl.struct("value", "lower", "upper").map_elements(_with_interval, return_dtype=pl.String)
    )
    return text.pivot(on="metric", index="model", values="cell").sort("model")


def _with_interval(row: dict[str, float | None]) -> str:
    if row["value"] is None:
        return "-"
    interval = "" if row["lower"] is None else f" [{row['lower']:.3f}, {row['upper']:.3f}]"
    return f"{row['value']:.4f}{interval}"


def _index_returns(run: StageRun) -> dict[date, float]:
    context = symbols_of(run.platform.lake.read(UNIVERSE), "context")
    if not context:
        return {}
    # A gap leaves a row that only tells what who holds it earned.
    rows = run.read(RETURNS).filter(pl.col("symbol") == context[0]).drop_nulls("close_return")
    return dict(zip(rows["session"], rows["close_return"].exp() - 1, strict=True))


def _last(portfolios: pl.DataFrame) -> date:
    return portfolios["session"].max()  # ty: ignore[invalid-explicit-return] - a Date column


STAGES = (
    Stage(
        name="portfolio_returns",
        group="backtests",
        compute=_portfolio_returns,
        report=_portfolio_returns_report,
        shelf=TableShelf(PORTFOLIO_RETURNS),
        code=("gnn_assets.backtests.portfolio",),
        plugins=lambda config: tuple(f"{STRATEGIES}.{name}" for name in sorted({config.backtests.strategy, BENCHMARK})),
        sections=("execution", "backtests"),
        deps=("universe", "returns", "oos_predictions"),
        checks=lambda _config: ("returns_finite", "net_at_most_gross"),
        table=PORTFOLIO_RETURNS,
    ),
    Stage(
        name="backtest_scores",
        group="backtests",
        compute=_backtest_scores,
        report=_backtest_scores_report,
        shelf=TableShelf(BACKTEST_SCORES),
        code=("gnn_assets.backtests.scores", "gnn_assets.backtests.verdict"),
        sections=("execution", "backtests", "models", "forecasts"),
        deps=("oos_predictions", "portfolio_returns"),
        checks=lambda config: ("sessions_enough", *(f"beats_{other}" for other in other_models(config))),
        table=BACKTEST_SCORES,
    ),
    score_card.STAGE,
)
