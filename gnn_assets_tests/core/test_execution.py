from gnn_assets.core.config import build_config, restored
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


def test_stored_sections_come_back_whatever_settings_came_and_went_since():
    config = build_config("test")
    stored = {"graphs": {"k": 7, "gone": 1}, "section_gone": {"a": 1}}
    back = restored(config, stored)
    assert (back.graphs.k, back.graphs.window) == (7, config.graphs.window)
    assert back.models == config.models
