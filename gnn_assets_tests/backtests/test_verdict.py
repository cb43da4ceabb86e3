import polars as pl
import pytest

from gnn_assets.backtests.schema import BACKTEST_SCORES
from gnn_assets.backtests.verdict import judge_scores
from gnn_assets.core.config import build_config

CONFIG = build_config("test").backtests


@pytest.mark.parametrize(
    ("sharpe", "ic", "word"),
    [
        ((-1.0, -1.5, -0.01), (0.02, 0.01, 0.03), "KILL"),
        ((-1.0, -1.5, 0.0), (0.02, 0.01, 0.03), "ITERATE"),
        ((0.5, -0.1, 1.0), (0.02, 0.01, 0.03), "ITERATE"),
        ((0.5, 0.01, 1.0), (0.02, -0.001, 0.03), "ITERATE"),
        ((0.5, 0.0, 1.0), (0.02, 0.01, 0.03), "ITERATE"),
        ((0.5, 0.01, 1.0), (0.02, 0.001, 0.03), "SCALE"),
        ((0.5, None, None), (0.02, 0.001, 0.03), "NOT_ENOUGH_DATA"),
        ((0.5, 0.1, 1.0), (None, None, None), "NOT_ENOUGH_DATA"),
    ],
)
def test_the_rule_is_applied_as_written(sharpe, ic, word):
    verdict = judge_scores(_scores(sharpe=sharpe, ic=ic), candidate="gnn", config=CONFIG)
    assert verdict.word == word
    assert verdict.reason


def test_too_few_sessions_come_before_everything():
    good = {"sharpe": (9.0, 8.0, 10.0), "ic": (0.5, 0.4, 0.6)}
    few, enough = (_scores(**good, sessions=sessions) for sessions in (CONFIG.min_sessions - 1, CONFIG.min_sessions))
    assert judge_scores(few, candidate="gnn", config=CONFIG).word == "NOT_ENOUGH_DATA"
    assert judge_scores(enough, candidate="gnn", config=CONFIG).word == "SCALE"


def test_a_model_that_was_never_scored_has_no_data():
    scores = _scores(sharpe=(9.0, 8.0, 10.0), ic=(0.5, 0.4, 0.6))
    assert judge_scores(scores, candidate="another", config=CONFIG).word == "NOT_ENOUGH_DATA"


def test_the_reason_names_numbers_and_intervals():
    verdict = judge_scores(_scores(sharpe=(-1.0, -1.5, -0.5), ic=(0.0, -0.1, 0.1)), candidate="gnn", config=CONFIG)
    assert "-1.00 [-1.50, -0.50]" in verdict.reason


def test_it_reads_the_table_the_backtest_writes(market, scores):
    assert judge_scores(scores, candidate="graph_attention", config=market.config.backtests).word == "SCALE"
    assert judge_scores(scores, candidate="ridge", config=market.config.backtests).word == "NOT_ENOUGH_DATA"


def _scores(*, sharpe, ic, sessions=1000):
    rows = {"sharpe_net_minus_equal_weight": sharpe, "ic": ic, "sessions": (float(sessions), None, None)}
    return pl.DataFrame(
        [("v", "gnn", -1, metric, *values, "close_next") for metric, values in rows.items()],
        schema=dict(BACKTEST_SCORES.columns),
        orient="row",
    )
