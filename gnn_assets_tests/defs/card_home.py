"""A small platform with a scored candidate in a made-up market, and its score card made by the real asset."""

from dataclasses import dataclass

import dagster as dg
import numpy as np
import polars as pl

from gnn_assets.backtests.cross_section import realised_labels
from gnn_assets.backtests.portfolio import portfolio_returns
from gnn_assets.backtests.schema import BACKTEST_SCORES, PORTFOLIO_RETURNS
from gnn_assets.backtests.scores import backtest_scores, session_folds
from gnn_assets.bars.schema import MARKET_BARS, RETURNS, UNIVERSE
from gnn_assets.core.config import build_config
from gnn_assets.core.settings import Settings
from gnn_assets.defs import score_card
from gnn_assets.defs.io import stage_asset
from gnn_assets.defs.resources import Platform
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.panel import from_panel
from gnn_assets.store.versions import Lineage

MODEL = build_config("test").models.candidate
SYMBOLS = [f"S{number}" for number in range(12)]
VERSION = "0123456789abcdef"
N_SESSIONS, TRAINED = 400, 100


@dataclass(frozen=True)
class Done:
    """What one materialization said."""

    metadata: dict
    checks: dict


def platform_at(home):
    return Platform(settings=Settings(profile="test", home=home), config=build_config("test"))


def fill_lake(platform, *, version=VERSION, graph_helps=True):
    """Returns, predictions and portfolios of a made-up market in which the candidate sees a little ahead."""
    rng = np.random.default_rng(8)
    config = platform.config
    sessions = list(platform.calendar.between(platform.calendar.sessions[0], platform.last_session))[-N_SESSIONS:]
    fill_TxN = rng.normal(scale=0.01, size=(N_SESSIONS, len(SYMBOLS)))
    ahead_TxN = np.nan_to_num(realised_labels(fill_TxN, execution=config.execution))
    without = 0.5 if graph_helps else 0.005
    noise = {MODEL: 0.02, f"{MODEL}_no_graph": without, f"{MODEL}_shuffled": without, "equal_weight": 0.5}
    predictions = [
        from_panel(
            (ahead_TxN + rng.normal(scale=scale, size=ahead_TxN.shape))[TRAINED:],
            "score",
            sessions=sessions[TRAINED:],
            symbols=SYMBOLS,
        ).with_columns(pl.col("score").cast(pl.Float32), model=pl.lit(model))
        for model, scale in noise.items()
    ]
    returns = RETURNS.conform(
        from_panel(fill_TxN, "fill_return", sessions=sessions, symbols=SYMBOLS).with_columns(
            close_return=pl.col("fill_return"), held_return=pl.col("fill_return"), source=pl.lit("simulated")
        )
    )
    scores = OOS_PREDICTIONS.conform(
        pl.concat(predictions).with_columns(
            version=pl.lit(version), fold=pl.lit(0, dtype=pl.Int16), training_end=pl.lit(sessions[TRAINED - 10])
        )
    )
    portfolios = portfolio_returns(
        scores, returns, sessions=sessions, symbols=SYMBOLS, execution=config.execution, config=config.backtests
    )
    measured = backtest_scores(
        portfolios,
        folds=session_folds(scores),
        candidate=MODEL,
        execution=config.execution,
        config=config.backtests,
        min_calibration_sessions=config.forecasts.min_calibration_sessions,
    )
    bars = platform.lake.publish(MARKET_BARS, MARKET_BARS.empty(), lineage=None, data_end=sessions[-1])
    made_of = Lineage(inputs={MARKET_BARS.name: bars.version}, code_version="c", config_hash="h")
    platform.lake.publish(RETURNS, returns, lineage=made_of, data_end=sessions[-1])
    for table, frame in (
        (UNIVERSE, UNIVERSE.empty()),
        (OOS_PREDICTIONS, scores),
        (PORTFOLIO_RETURNS, portfolios),
        (BACKTEST_SCORES, measured),
    ):
        platform.lake.publish(table, frame, lineage=None, data_end=sessions[-1])


def run(platform) -> Done:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral(tempdir=str(platform.settings.home)) as instance:
        result = dg.materialize(
            [stage_asset(score_card.STAGE, platform.config)],
            instance=instance,
            resources={"platform": platform},
            run_config=quiet,
        )
    (made,) = result.asset_materializations_for_node("score_cards")
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    return Done(metadata=dict(made.metadata), checks=checks)


def serve(platform, version):
    champion = Champion(
        version=version,
        model=MODEL,
        rule="bootstrap",
        reason="nobody was served yet",
        verdict="ITERATE",
        config_hash="recipe",
        oos_predictions="p",
        portfolio_returns="r",
        backtest_scores="s",
        data_end="2022-12-28",
    )
    lineage = Lineage(inputs={}, code_version="c", config_hash="h")
    platform.champion.promote(champion, expected=None, lineage=lineage, run_id="run")
