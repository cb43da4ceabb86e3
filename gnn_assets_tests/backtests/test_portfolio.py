import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from gnn_assets.backtests.portfolio import portfolio_returns
from gnn_assets.backtests.schema import PORTFOLIO_RETURNS
from gnn_assets.bars.schema import RETURNS
from gnn_assets.core.errors import DataError
from gnn_assets.models.bars import Bars
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.lookahead import assert_no_lookahead


def test_every_model_has_a_row_for_every_scored_session(market, portfolios):
    assert PORTFOLIO_RETURNS.difference(portfolios.schema) == ()
    for model in ("equal_weight", "graph_attention", "ridge"):
        assert portfolios.filter(pl.col("model") == model)["session"].to_list() == market.sessions[60:]


def test_a_model_that_sees_ahead_earns_and_correlates_and_noise_does_not(portfolios):
    means = {model: frame.select("net", "ic").mean().row(0) for (model,), frame in portfolios.group_by("model")}
    assert means["graph_attention"][1] > 0.25
    assert abs(means["ridge"][1]) < 0.05
    assert means["graph_attention"][0] > max(means["ridge"][0], means["equal_weight"][0])


def test_equal_scores_earn_the_mean_of_all_names_and_have_no_coefficient(market, portfolios):
    own = portfolios.filter(pl.col("model") == "equal_weight")
    assert own["ic"].null_count() == own["rank_ic"].null_count() == own.height
    # Bought at the second session's fill; the next session's return is then the plain mean of simple returns.
    first_earned = own.row(2, named=True)
    day = market.returns.filter(pl.col("session") == first_earned["session"])["fill_return"]
    assert first_earned["gross"] == pytest.approx((day.exp() - 1).mean())


def test_coefficients_are_null_until_the_outcome_is_known(market, portfolios):
    own = portfolios.filter(pl.col("model") == "ridge")
    known = own.filter(pl.col("ic").is_not_null())["session"].to_list()
    assert known == market.sessions[60 : -market.config.execution.purge]


def test_more_sessions_change_no_earlier_return_and_only_fill_in_coefficients(market, portfolios):
    cut = market.sessions[250]
    known = market.config.execution.purge
    shorter = _run(market, until=cut)
    longer = portfolios.filter(pl.col("session") <= cut)
    columns = ("model", "session", "gross", "net", "turnover")
    assert shorter.select(columns).equals(longer.select(columns))
    realised = pl.col("session") <= market.sessions[250 - known]
    assert shorter.filter(realised).equals(longer.filter(realised))
    assert shorter.filter(~realised)["ic"].null_count() == shorter.filter(~realised).height


def test_nothing_after_a_session_changes_its_returns(market):
    def compute(data):
        with np.errstate(all="ignore"):
            altered = replace(market, returns=data["returns"], predictions=data["predictions"])
            return {"portfolio": _run(altered).drop("ic", "rank_ic")}

    inputs = {"returns": market.returns, "predictions": market.predictions}
    assert_no_lookahead(compute, inputs, at=market.sessions[300], sessions=market.sessions)


def test_portfolios_do_not_run_on_after_the_last_score(market):
    last = market.sessions[300]
    result = _run(replace(market, predictions=market.predictions.filter(pl.col("session") <= last)))
    assert result["session"].max() == last
    # The returns reach further, so every outcome is known.
    assert result.filter(pl.col("model") == "ridge")["ic"].null_count() == 0


def _lost(market, *, change):
    """Net return of equal weight when a name's returns are changed, against the plain market's."""
    own = pl.col("model") == "equal_weight"
    plain, changed = (
        _run(replace(market, returns=returns)).filter(own)["net"].to_numpy()
        for returns in (market.returns, market.returns.with_columns(change).pipe(RETURNS.conform))
    )
    return (changed - plain).sum()


def test_a_halted_name_that_reopens_lower_costs_who_held_it(market):
    """Nobody can learn from the gap or trade in it, but the loss is real: a twelfth of 60 %."""
    halted = (pl.col("symbol") == "S3") & pl.col("session").is_between(market.sessions[300], market.sessions[304])
    reopened = (pl.col("symbol") == "S3") & (pl.col("session") == market.sessions[304])
    nothing = pl.when(~halted).then(pl.col("fill_return", "close_return"))
    loss = pl.when(reopened).then(math.log(0.4)).when(~halted).then(pl.col("held_return")).alias("held_return")
    assert _lost(market, change=[nothing, loss]) == pytest.approx(-0.6 / 12, rel=0.2)


def test_a_name_that_leaves_is_sold_at_its_price_and_not_taken_for_delisted(market):
    left = (pl.col("symbol") == "S3") & (pl.col("session") > market.sessions[300])
    outside = pl.when(~left).then(pl.col("fill_return", "close_return"))
    gone = pl.when(~left).then(pl.col("held_return")).alias("held_return")
    kept = market.predictions.filter((pl.col("symbol") != "S3") | (pl.col("session") <= market.sessions[300]))
    leaver = replace(market, predictions=kept)
    assert abs(_lost(leaver, change=[outside])) < 1e-9
    assert _lost(leaver, change=[outside, gone]) < -0.01


def test_names_outside_the_universe_are_not_held(market, portfolios):
    stranger = market.predictions.filter(pl.col("symbol") == "S0").with_columns(
        symbol=pl.lit("^GSPC"), score=pl.lit(1e6, dtype=pl.Float32)
    )
    result = _run(replace(market, predictions=pl.concat([market.predictions, stranger])))
    assert result.equals(portfolios)


def test_predictions_that_match_nothing_are_refused(market):
    with pytest.raises(DataError, match="was none; materialize"):
        _run(replace(market, symbols=["OTHER"]))


def test_a_model_of_two_versions_is_refused(market):
    mixed = market.predictions.with_columns(
        version=pl.when(pl.col("fold") == 0).then(pl.lit("v0")).otherwise(pl.col("version"))
    )
    with pytest.raises(DataError, match="expected one version, was v0, v1"):
        _run(replace(market, predictions=mixed))


@pytest.mark.parametrize("strategy", ["long_short", "momentum"])
def test_the_benchmark_is_held_in_equal_parts_whatever_the_others_do(market, portfolios, strategy):
    result = _run(market, strategy=strategy)
    benchmark = pl.col("model") == "equal_weight"
    assert result.filter(benchmark).equals(portfolios.filter(benchmark))
    assert not result.filter(~benchmark)["net"].equals(portfolios.filter(~benchmark)["net"])


def test_a_strategy_of_prices_reads_the_sessions_before_the_first_score(market):
    # The first score has sixty sessions before it, and a return over forty of them is known at once.
    strategies = market.config.backtests.strategies
    momentum = strategies.momentum.model_copy(update={"window": 40, "skip": 0})
    result = _run(market, strategy="momentum", strategies=strategies.model_copy(update={"momentum": momentum}))
    own = result.filter(pl.col("model") == "ridge")
    assert own["turnover"].to_list()[:2] == [0.0, 1.0]


def test_a_strategy_of_volumes_is_refused_where_there_are_closes_alone(market):
    with pytest.raises(DataError, match=r"strategy vwap: expected .* of the universe, was no close, no high"):
        _run(market, strategy="vwap")


def test_bars_with_volumes_make_large_trades_dear(market):
    shape = (len(market.sessions), len(market.symbols))
    returns_TxN = to_panel(market.returns, "close_return", sessions=market.sessions, symbols=market.symbols)
    thin = {"close": np.ones(shape), "volume": np.full(shape, 1e7)}
    bars = Bars(tuple(market.sessions), tuple(market.symbols), returns_TxN, thin)
    dear = _run(market, execution={"impact": 1.0, "max_participation": 1.0}, bars=bars)
    cheap = _run(market, execution={"impact": 0.0, "max_participation": 1.0}, bars=bars)
    traded = cheap["turnover"] > 0
    assert (dear["net"] < cheap["net"]).filter(traded).all()
    assert dear["gross"].equals(cheap["gross"])


def test_impact_without_volumes_is_refused_and_not_left_out(market):
    with pytest.raises(DataError, match=r"execution\.impact: expected closes and volumes"):
        _run(market, execution={"impact": 1.0})


def test_the_brake_of_a_strategy_is_not_the_benchmarks(market, portfolios):
    brake = market.config.backtests.brake.model_copy(update={"drawdown": 0.01, "restore": 0.0})
    braked = _run(market, brake=brake)
    for model, same in (("equal_weight", True), ("ridge", False)):
        own = pl.col("model") == model
        assert braked.filter(own)["net"].equals(portfolios.filter(own)["net"]) == same


def _run(market, *, until=None, execution=None, bars=None, **settings):
    last = until or market.sessions[-1]
    early = pl.col("session") <= last
    return portfolio_returns(
        market.predictions.filter(early),
        market.returns.filter(early),
        sessions=[session for session in market.sessions if session <= last],
        symbols=market.symbols,
        execution=market.config.execution.model_copy(update=execution or {}),
        config=market.config.backtests.model_copy(update=settings),
        bars=bars,
    )
