from pkgutil import iter_modules

import pytest

from gnn_assets.core import config as config_package
from gnn_assets.core.config import build_config, restored
from gnn_assets.core.errors import ConfigError
from gnn_assets.core.hashing import code_version


def execution(**changed):
    return build_config("test", {"execution": changed}).execution


def test_the_fill_fixes_lag_and_purge():
    assert (execution(fill="close_next", horizon=5).fill_lag, execution(fill="close_next", horizon=5).purge) == (1, 6)
    assert (execution(fill="open_next", horizon=1).fill_lag, execution(fill="open_next", horizon=1).purge) == (1, 2)
    assert (execution(fill="close_same", horizon=1).fill_lag, execution(fill="close_same", horizon=1).purge) == (0, 1)


def test_the_cost_of_a_side_adds_commission_half_spread_and_slippage():
    costs = execution(commission_bps=0.5, half_spread_bps=1.0, slippage_bps=2.0)
    assert abs(costs.cost_per_side - 3.5e-4) < 1e-12


def test_what_it_computes_counts_as_code_where_settings_are_used():
    # Other settings are hashed as values; this section computes, so a correction to it must remake what used it.
    from gnn_assets.core import hashing

    used = code_version("gnn_assets.models.dataset")
    hashing.code_version.cache_clear()
    stand_in = dict(hashing._COMPUTES)
    hashing._COMPUTES.clear()
    try:
        assert code_version("gnn_assets.models.dataset") != used
    finally:
        hashing._COMPUTES.update(stand_in)
        hashing.code_version.cache_clear()
    assert code_version("gnn_assets.models.dataset") == used


@pytest.mark.parametrize("module", ["", *(f".{part.name}" for part in iter_modules(config_package.__path__))])
def test_it_counts_whichever_module_of_the_configuration_is_imported(module):
    assert code_version(f"gnn_assets.core.config{module}") == code_version("gnn_assets.core.execution")


def test_stored_sections_come_back_whatever_settings_came_and_went_since():
    config = build_config("test")
    stored = {"graphs": {"k": 7, "gone": 1}, "section_gone": {"a": 1}}
    back = restored(config, stored)
    assert (back.graphs.k, back.graphs.window) == (7, config.graphs.window)
    assert back.models == config.models


@pytest.mark.parametrize(
    ("section", "setting", "value", "sentence"),
    [
        ("execution", "capital", -5.0, "execution.capital: Input should be greater than or equal to 1, was -5.0"),
        ("execution", "capital", 0, "execution.capital: Input should be greater than or equal to 1, was 0"),
        ("execution", "capital", float("nan"), "execution.capital: Input should be a finite number, was nan"),
        ("execution", "leverage", 1000, "execution.leverage: Input should be less than or equal to 4, was 1000"),
        ("execution", "leverage", 0, "execution.leverage: Input should be greater than 0, was 0"),
        ("execution", "commission_bps", -1, "execution.commission_bps: Input should be greater than or equal to 0"),
        ("execution", "half_spread_bps", -1, "execution.half_spread_bps: Input should be greater than or equal to 0"),
        ("execution", "slippage_bps", 5000, "execution.slippage_bps: Input should be less than or equal to 1000"),
        ("execution", "impact", -0.1, "execution.impact: Input should be greater than or equal to 0, was -0.1"),
        ("execution", "max_participation", 1.5, "execution.max_participation: Input should be less than or equal to 1"),
        ("execution", "max_participation", 0, "execution.max_participation: Input should be greater than 0, was 0"),
        ("execution", "borrow_bps_a_year", -1, "execution.borrow_bps_a_year: Input should be greater than or equal"),
        ("execution", "delisting", {"sessions": 0}, "execution.delisting.sessions: Input should be greater than or"),
        ("execution", "delisting", {"simple_return": -1.1}, "execution.delisting.simple_return: Input should be great"),
        ("execution", "delisting", {"simple_return": 0.1}, "execution.delisting.simple_return: Input should be less"),
        (
            "backtests",
            "brake",
            {"drawdown": 1e-6},
            "backtests.brake.drawdown: Input should be greater than or equal to",
        ),
        ("backtests", "brake", {"drawdown": 0.04}, "restore must be below backtests.brake.drawdown (0.04), was 0.05"),
        ("backtests", "brake", {"exposure": 0}, "backtests.brake.exposure: Input should be greater than 0, was 0"),
        ("backtests", "hysteresis", -0.5, "backtests.hysteresis: Input should be greater than or equal to 0, was -0.5"),
        ("backtests", "max_weight", 1.5, "backtests.max_weight: Input should be less than or equal to 1, was 1.5"),
        ("backtests", "rebalance", "year", "backtests.rebalance: Input should be 'sessions', 'week' or 'month'"),
        ("backtests", "held", 0, "backtests.held: Input should be greater than or equal to 1, was 0"),
        ("backtests", "strategies", {"momentum": {"skip": 300}}, "momentum.skip must be below backtests.strategies."),
        ("backtests", "strategies", {"ema_cross": {"fast": 30}}, "ema_cross.fast must be below backtests.strategies."),
        ("backtests", "strategies", {"rsi": {"low": 80}}, "rsi.low must be below backtests.strategies.rsi.high (70.0)"),
    ],
)
def test_what_no_portfolio_can_be_is_refused_by_name(section, setting, value, sentence):
    with pytest.raises(ConfigError) as refused:
        build_config("test", {section: {setting: value}})
    assert sentence in str(refused.value)
    assert str(refused.value).endswith("correct it in your configuration.")
