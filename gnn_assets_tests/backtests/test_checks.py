import polars as pl
import pytest

from gnn_assets.backtests.checks import portfolio_checks, score_checks

OTHERS = ("equal_weight", "ridge")


def test_a_sound_portfolio_passes(portfolios):
    assert all(check.passed for check in portfolio_checks(portfolios))


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), None])
@pytest.mark.parametrize("column", ["gross", "net", "turnover"])
def test_a_return_that_is_not_a_number_is_an_error_and_named(portfolios, column, broken):
    check = _by_name(portfolio_checks(_spoil(portfolios, column, broken)))["returns_finite"]
    assert check.blocks
    assert check.value == 1
    assert check.offenders[0].startswith("equal_weight 2015")


def test_no_portfolio_at_all_is_an_error(portfolios):
    assert _by_name(portfolio_checks(portfolios.clear()))["returns_finite"].blocks


def test_a_portfolio_that_earns_by_its_costs_is_an_error(portfolios):
    check = _by_name(portfolio_checks(_spoil(portfolios, "net", 9.0)))["net_at_most_gross"]
    assert check.blocks
    assert "net 9.0" in check.sentence


def test_the_candidate_is_held_against_every_other_model(market, scores):
    checks = _by_name(score_checks(scores, candidate="graph_attention", others=OTHERS, config=market.config.backtests))
    assert set(checks) == {"sessions_enough", "beats_equal_weight", "beats_ridge"}
    assert all(check.passed and check.threshold in {0, 252} for check in checks.values())
    assert "of IC: not comparable" in checks["beats_equal_weight"].description


def test_a_weak_model_warns_and_does_not_block(market, scores):
    flipped = scores.with_columns(-pl.col("value"), lower=-pl.col("upper"), upper=-pl.col("lower"))
    checks = score_checks(flipped, candidate="graph_attention", others=OTHERS, config=market.config.backtests)
    assert not any(check.passed or check.blocks for check in checks)


def test_a_model_that_was_not_compared_fails_its_check(market, scores):
    check = score_checks(scores, candidate="graph_attention", others=("absent",), config=market.config.backtests)[1]
    assert (check.name, check.passed, check.value) == ("beats_absent", False, "not comparable")


def test_a_short_history_warns(market, scores):
    config = market.config.backtests.model_copy(update={"min_sessions": 341})
    check = score_checks(scores, candidate="graph_attention", others=(), config=config)[0]
    assert (check.passed, check.value, check.threshold, check.severity) == (False, 340, 341, "warn")


def _spoil(frame, column, value):
    first = pl.int_range(pl.len()) == 0
    return frame.with_columns(pl.when(first).then(pl.lit(value, dtype=pl.Float64)).otherwise(column).alias(column))


def _by_name(checks):
    return {check.name: check for check in checks}
