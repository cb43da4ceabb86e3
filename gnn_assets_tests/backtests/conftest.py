from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from gnn_assets.bars.schema import RETURNS
from gnn_assets.core.config import Config, build_config
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.store.panel import from_panel


@pytest.fixture(scope="session")
def weekdays() -> list[date]:
    """A long run of weekdays: what the backtest needs of a calendar is its order alone."""
    days = (date(2015, 1, 1) + timedelta(days=offset) for offset in range(4000))
    return [day for day in days if day.weekday() < 5]


@dataclass(frozen=True)
class Market:
    """A small made-up market in which one model sees a little of the future and the others do not."""

    config: Config
    sessions: list[date]
    symbols: list[str]
    returns: pl.DataFrame
    predictions: pl.DataFrame


@pytest.fixture(scope="session")
def market(weekdays: list[date]) -> Market:
    config = build_config("test")
    rng = np.random.default_rng(8)
    sessions, symbols = weekdays[:400], [f"S{number}" for number in range(12)]
    fill_TxN = rng.normal(scale=0.01, size=(400, 12))
    ahead = config.execution.purge
    sums_TxN = np.zeros((400, 12))
    for step in range(config.execution.fill_lag + 1, ahead + 1):
        sums_TxN[:-ahead] += fill_TxN[step : 400 - ahead + step]
    scores = {
        "graph_attention": sums_TxN + rng.normal(scale=0.05, size=(400, 12)),
        "ridge": rng.normal(size=(400, 12)),
        "equal_weight": np.ones((400, 12)),
    }
    returns = from_panel(fill_TxN, "fill_return", sessions=sessions, symbols=symbols).with_columns(
        close_return=pl.col("fill_return"), held_return=pl.col("fill_return"), source=pl.lit("simulated")
    )
    # The first 60 sessions train, the rest are scored in two folds.
    scored = sessions[60:]
    folds = pl.DataFrame({"session": scored, "fold": pl.Series([0] * 170 + [1] * 170, dtype=pl.Int16)})
    predictions = pl.concat(
        from_panel(panel[60:], "score", sessions=scored, symbols=symbols).with_columns(
            pl.col("score").cast(pl.Float32), model=pl.lit(model), version=pl.lit("v1")
        )
        for model, panel in scores.items()
    )
    predictions = predictions.join(folds, on="session").with_columns(training_end=pl.lit(sessions[50]))
    return Market(
        config=config,
        sessions=sessions,
        symbols=symbols,
        returns=RETURNS.conform(returns),
        predictions=OOS_PREDICTIONS.conform(predictions),
    )


@pytest.fixture(scope="session")
def portfolios(market: Market) -> pl.DataFrame:
    from gnn_assets.backtests.portfolio import portfolio_returns

    return portfolio_returns(
        market.predictions,
        market.returns,
        sessions=market.sessions,
        symbols=market.symbols,
        execution=market.config.execution,
        config=market.config.backtests,
    )


@pytest.fixture(scope="session")
def scores(market: Market, portfolios: pl.DataFrame) -> pl.DataFrame:
    from gnn_assets.backtests.scores import backtest_scores, session_folds

    return backtest_scores(
        portfolios,
        folds=session_folds(market.predictions),
        candidate="graph_attention",
        execution=market.config.execution,
        config=market.config.backtests,
        min_calibration_sessions=60,
    )


@pytest.fixture(scope="session")
def card(market: Market, portfolios: pl.DataFrame) -> pl.DataFrame:
    from gnn_assets.backtests.score_card import score_card

    return score_card(
        market.predictions,
        market.returns,
        portfolios,
        sessions=market.sessions,
        candidate="graph_attention",
        execution=market.config.execution,
        config=market.config.backtests,
        min_calibration_sessions=60,
    )
