import numpy as np
import polars as pl
import pytest
from arch.bootstrap import StationaryBootstrap

from gnn_assets.backtests import metrics
from gnn_assets.backtests.schema import BACKTEST_SCORES
from gnn_assets.backtests.scores import ALL_FOLDS, backtest_scores, session_folds
from gnn_assets.core.errors import DataError

MODEL = "graph_attention"


def test_every_model_has_every_measure_for_all_sessions_and_for_each_fold(scores):
    assert BACKTEST_SCORES.difference(scores.schema) == ()
    assert set(scores["model"]) == {MODEL, "ridge", "equal_weight"}
    for (_model,), own in scores.group_by("model"):
        assert set(own["fold"]) == {ALL_FOLDS, 0, 1}
        overall, first, second = (set(own.filter(pl.col("fold") == fold)["metric"]) for fold in (ALL_FOLDS, 0, 1))
        assert first == second == overall - {"smallest_detectable_ic"}
    assert set(scores["execution"]) == {"close_next"}


def test_values_are_the_measures_of_the_sessions_of_that_fold(market, portfolios, scores):
    folds = session_folds(market.predictions)
    own = portfolios.filter(pl.col("model") == MODEL)
    for fold in (ALL_FOLDS, 0, 1):
        part = own.filter([fold in (ALL_FOLDS, folds[session]) for session in own["session"]])
        net_T = part["net"].to_numpy()
        assert _value(scores, "sharpe_net", fold) == pytest.approx(metrics.sharpe(net_T, sessions_per_year=252))
        assert _value(scores, "max_drawdown_net", fold) == metrics.max_drawdown(net_T)
        assert _value(scores, "ic", fold) == pytest.approx(part["ic"].mean())
        assert _value(scores, "icir", fold) == pytest.approx(part["ic"].mean() / part["ic"].std())
        assert _value(scores, "turnover", fold) == pytest.approx(part["turnover"].mean() * 252)
        assert _value(scores, "sessions", fold) == part.height


def test_intervals_stand_with_means_and_ratios_over_all_sessions_only(scores):
    assert scores.filter(pl.col("fold") != ALL_FOLDS)["lower"].null_count() == scores.filter(pl.col("fold") >= 0).height
    overall = scores.filter(pl.col("fold") == ALL_FOLDS, pl.col("model") == MODEL)
    with_interval = overall.filter(pl.col("lower").is_not_null())
    assert set(with_interval["metric"]) == {
        *("ic", "rank_ic", "icir", "sharpe_gross", "sharpe_net", "annual_return_net", "ic_minus_ridge"),
        *("sharpe_net_minus_ridge", "sharpe_net_minus_equal_weight"),
    }
    assert with_interval.filter(~pl.col("value").is_between(pl.col("lower"), pl.col("upper"))).is_empty()


def test_differences_are_taken_for_the_candidate_alone_and_pair_sessions(market, portfolios, scores):
    paired = scores.filter(pl.col("metric").str.contains("_minus_"))
    assert set(paired["model"]) == {MODEL}
    row = _row(scores, "sharpe_net_minus_ridge")
    ours, theirs = (portfolios.filter(pl.col("model") == model)["net"].to_numpy() for model in (MODEL, "ridge"))
    config = market.config.backtests
    bootstrap = StationaryBootstrap(config.bootstrap_block, ours, theirs, seed=config.seed)
    slow = [
        metrics.sharpe(np.asarray(one), sessions_per_year=252)
        - metrics.sharpe(np.asarray(other), sessions_per_year=252)
        for (one, other), _ in bootstrap.bootstrap(config.bootstrap_resamples)
    ]
    assert (row["lower"], row["upper"]) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))
    assert row["value"] == pytest.approx(_value(scores, "sharpe_net") - _value(scores, "sharpe_net", model="ridge"))


def test_what_equal_scores_do_not_have_is_null_and_not_nan(scores):
    for metric in ("ic", "rank_ic", "icir", "rmse_ratio", "smallest_detectable_ic"):
        assert _value(scores, metric, model="equal_weight") is None
    assert _value(scores, "ic_minus_equal_weight") is None
    assert not scores.select(pl.col("value", "lower", "upper").is_nan().any()).row(0).count(True)


def test_a_model_that_sees_ahead_beats_the_naive_forecast_and_noise_does_not(scores):
    assert _value(scores, "rmse_ratio") < 0.97
    assert _value(scores, "rmse_ratio", model="ridge") > 0.99


def test_the_order_of_rows_and_models_does_not_matter(market, portfolios, scores):
    shuffled = backtest_scores(
        portfolios.sample(fraction=1, shuffle=True, seed=3),
        folds=session_folds(market.predictions),
        candidate=MODEL,
        execution=market.config.execution,
        config=market.config.backtests,
        min_calibration_sessions=60,
    )
    assert shuffled.equals(scores)


def test_a_candidate_without_a_portfolio_is_refused(market, portfolios):
    with pytest.raises(DataError, match="expected rows of graph_attention, was rows of equal_weight"):
        backtest_scores(
            portfolios.filter(pl.col("model") == "equal_weight"),
            folds={},
            candidate=MODEL,
            execution=market.config.execution,
            config=market.config.backtests,
            min_calibration_sessions=60,
        )


def _row(scores, metric, fold=ALL_FOLDS, model=MODEL):
    found = scores.filter(pl.col("metric") == metric, pl.col("fold") == fold, pl.col("model") == model)
    return found.row(0, named=True)


def _value(scores, metric, fold=ALL_FOLDS, model=MODEL):
    return _row(scores, metric, fold, model)["value"]
