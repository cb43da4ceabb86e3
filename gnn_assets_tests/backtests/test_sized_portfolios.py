"""Sizes from the configuration to the stored returns, the tear sheet's costs and a batch of hypotheses."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from gnn_assets.backtests.family import trade
from gnn_assets.backtests.hypotheses import hypotheses_of, read_batch
from gnn_assets.backtests.portfolio import portfolio_returns
from gnn_assets.backtests.tear_figures import cost_simulations
from gnn_assets.bars.schema import UNIVERSE
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError, DataError
from gnn_assets.models.bars import Bars
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.lookahead import assert_no_lookahead

MODEL = "graph_attention"
TARGET, NAME_CAP = 0.05, 0.2
FORECAST = {"window": 40, "half_life": 20}
STEADY = {"volatility": TARGET, "name_cap": NAME_CAP}
KELLY = {"kelly": {"form": "moments"}}
BATCH = """
name: sized
groups:
  - models: [ridge]
    strategies: [top_k, long_short]
    grid: {sizing.volatility: [0.05, null], sizing.sector_cap: [0.3]}
"""


def config_of(**sizing):
    return build_config("test", {"backtests": {"sizing": {"forecast": FORECAST, **sizing}}}).backtests


def universe_of(market):
    rows = [
        {
            "symbol": symbol,
            "from_session": market.sessions[0],
            "to_session": None,
            "tier": "core",
            "sector": "odd" if place % 2 else "even",
            "survivor_only": False,
            "exchange": "XNYS",
            "priority": place,
        }
        for place, symbol in enumerate(market.symbols)
    ]
    return UNIVERSE.conform(pl.DataFrame(rows, schema=dict(UNIVERSE.columns)))


def stored(market, config, *, universe=None):
    return portfolio_returns(
        market.predictions,
        market.returns,
        sessions=market.sessions,
        symbols=market.symbols,
        execution=market.config.execution,
        config=config,
        universe=universe,
    )


def simulated(market, config, *, universe=None, model=MODEL):
    axis = market.sessions[60:]
    return cost_simulations(
        market.predictions.filter(pl.col("model") == model),
        market.returns,
        axis=axis,
        sessions=market.sessions,
        symbols=market.symbols,
        execution=market.config.execution,
        config=config,
        bars=None,
        universe=universe,
        calendar=None,
    )


def test_a_configured_volatility_and_cap_are_what_is_stored(market, portfolios):
    sized = stored(market, config_of(**STEADY))
    deviation = {
        name: frame.filter(pl.col("model") == "ridge")["gross"].std() * 252**0.5
        for name, frame in (("sized", sized), ("plain", portfolios))
    }
    assert abs(deviation["sized"] - TARGET) < abs(deviation["plain"] - TARGET) / 2
    book = simulated(market, config_of(**STEADY))[1.0]
    traded = book.turnover_T > 0
    assert traded.sum() > 50
    assert (book.long_T <= NAME_CAP * book.held_T + 1e-12)[traded].all()


def test_the_benchmark_is_not_sized(market, portfolios):
    benchmark = pl.col("model") == "equal_weight"
    sized = stored(market, config_of(**STEADY, **KELLY))
    assert sized.filter(benchmark).equals(portfolios.filter(benchmark))


@pytest.mark.parametrize("sizing", [STEADY, KELLY, {"sector_cap": 0.3}, {"correlation": {"limit": 0.1}}])
def test_at_once_the_costs_the_cost_table_is_the_stored_portfolio(market, sizing):
    universe, config = universe_of(market), config_of(**sizing)
    # What a holder earns is not what others could: a name that left, a gap.
    market = replace(market, returns=market.returns.with_columns(held_return=1.1 * pl.col("fill_return")))
    own = stored(market, config, universe=universe).filter(pl.col("model") == MODEL).sort("session")
    simulations = simulated(market, config, universe=universe)
    assert simulations[1.0].net_T.tolist() == own["net"].to_list()
    assert simulations[0.0].net_T.tolist() == simulations[0.0].gross_T.tolist()


def test_sectors_of_the_universe_hold_no_more_than_their_cap(market):
    book = simulated(market, config_of(sector_cap=0.3), universe=universe_of(market))[1.0]
    traded = book.turnover_T > 0
    assert (book.long_T[traded] <= 0.6 + 1e-12).all()
    assert (book.long_T[traded] >= 0.3 - 1e-12).all()


def test_a_cap_on_sectors_without_a_universe_is_refused(market):
    with pytest.raises(DataError, match=r"backtests\.sizing\.sector_cap: expected the sector of each name, was none"):
        stored(market, config_of(sector_cap=0.3))


def test_nothing_after_a_session_changes_what_a_sized_portfolio_earned(market):
    def compute(data):
        with np.errstate(all="ignore"):
            result = portfolio_returns(
                data["predictions"],
                # A price that grows beyond all numbers has no risk, and is none.
                data["returns"].with_columns(pl.col("close_return").clip(-20, 20)),
                sessions=market.sessions,
                symbols=market.symbols,
                execution=market.config.execution,
                config=config_of(**STEADY, **KELLY, correlation={"limit": 0.1}),
            )
            return {"portfolio": result.drop("ic", "rank_ic")}

    models = market.predictions.filter(pl.col("model") != "equal_weight")
    assert_no_lookahead(
        compute,
        {"returns": market.returns, "predictions": models},
        at=market.sessions[300],
        sessions=market.sessions,
    )


def test_a_batch_varies_sizes_and_trades_each_hypothesis_as_the_backtest_would(market):
    found = hypotheses_of(read_batch(BATCH, file="batch.yaml"), models=("ridge",), config=config_of())
    assert [one.name for one in found] == [
        "ridge top_k (sizing.volatility 0.05, sizing.sector_cap 0.3)",
        "ridge top_k (sizing.volatility none, sizing.sector_cap 0.3)",
        "ridge long_short (sizing.volatility 0.05, sizing.sector_cap 0.3)",
        "ridge long_short (sizing.volatility none, sizing.sector_cap 0.3)",
    ]
    axis, universe = market.sessions[60:], universe_of(market)
    own = market.predictions.filter(pl.col("model") == "ridge")
    panels = {
        name: to_panel(market.returns, name, sessions=market.sessions, symbols=market.symbols)
        for name in ("fill_return", "held_return", "close_return")
    }
    traded = trade(
        found,
        {"ridge": to_panel(own, "score", sessions=axis, symbols=market.symbols)},
        panels["fill_return"][60:],
        panels["held_return"][60:],
        bars=Bars(tuple(market.sessions), tuple(market.symbols), panels["close_return"]),
        execution=market.config.execution,
        config=config_of(**STEADY),
        threads=2,
        sectors_TxN=np.tile(np.arange(len(market.symbols)) % 2, (len(axis), 1)),
    )
    for column, one in enumerate(found):
        book = simulated(market, one.config, universe=universe, model="ridge")[1.0]
        np.testing.assert_array_equal(traded.net_TxM[:, column], book.net_T)
    # Equal weight beside it is not sized.
    plain = stored(market, config_of()).filter(pl.col("model") == "equal_weight")["net"].to_numpy()
    np.testing.assert_array_equal(traded.benchmark_T, plain)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("sizing.volatilty: [0.1]", r"groups\.0\.grid\.sizing\.volatilty: expected a setting of backtests"),
        ("sizing.kelly: [binary]", r"groups\.0\.grid\.sizing\.kelly: expected a setting of backtests"),
        ("sizing.volatility: [7]", r"groups\.0\.grid: sizing\.volatility"),
        ("portfolios.method: [best]", r"groups\.0\.grid: portfolios\.method"),
    ],
)
def test_a_size_that_makes_no_sense_in_a_batch_is_refused_by_name(wrong, told):
    text = BATCH.replace("sizing.volatility: [0.05, null]", wrong)
    with pytest.raises(ConfigError, match=told):
        hypotheses_of(read_batch(text, file="batch.yaml"), models=("ridge",), config=config_of())
