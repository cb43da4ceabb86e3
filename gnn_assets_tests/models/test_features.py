"""Features put together: of which groups, scaled how, and set against the neighbours'."""

import numpy as np
import pytest

from gnn_assets.core.errors import PluginError
from gnn_assets.core.plugins import load_plugin
from gnn_assets.graphs.features import neighbour_mean
from gnn_assets.models.features.build import graph_features, left_out, own_features, raw_features
from gnn_assets.models.features.standardise import rank_scores, robust_scores
from gnn_assets_tests.models.candles import (
    CONFIG,
    GROUPS,
    candle_data,
    candles,
    features_changed_by,
    graph_for,
    with_fields,
)

BARS = candles()
GRAPH = graph_for(BARS)
MASK = np.isfinite(BARS.close_return_TxN) & (np.random.default_rng(1).random(BARS.close_return_TxN.shape) < 0.9)
SETTINGS = CONFIG.models.features


def settings(**values):
    return features_changed_by(CONFIG, **values).models.features


def made(config=SETTINGS, *, bars=BARS, graph=GRAPH, mask=MASK):
    own = own_features(bars, graph, mask_TxN=mask, config=config)
    return own, graph_features(bars, graph, own=own, mask_TxN=mask, config=config)


def test_every_feature_is_finite_cut_and_nothing_where_masked_out():
    for part in made():
        assert part
        for name, values in part.items():
            assert values.dtype == np.float32, name
            assert np.isfinite(values).all(), name
            assert np.abs(values).max() <= SETTINGS.clip, name
            assert not values[~MASK].any(), name


@pytest.mark.parametrize(("scaling", "scores"), [("rank", rank_scores), ("robust", robust_scores)])
def test_a_feature_is_the_raw_one_set_against_the_other_symbols(scaling, scores):
    config = settings(scaling=scaling, clip=0.75)
    own, _ = made(config)
    raw = load_plugin(GROUPS, "returns").features(BARS, GRAPH, config)
    for name, values in raw.items():
        np.testing.assert_array_equal(own[name], np.clip(scores(values, MASK), -0.75, 0.75).astype(np.float32))


def test_every_feature_but_those_at_the_neighbours_is_a_raw_one_set_against_the_other_symbols():
    own, linked = made()
    raw = dict(raw_features(BARS, GRAPH, config=SETTINGS))
    alone = {name for name in linked if not name.startswith(("near_", "apart_"))}
    assert list(raw) == [*own, *(name for name in linked if name in alone)]
    for name, values in raw.items():
        scaled = np.clip(rank_scores(values, MASK), -SETTINGS.clip, SETTINGS.clip).astype(np.float32)
        np.testing.assert_array_equal({**own, **linked}[name], scaled, err_msg=name)


def test_groups_come_in_the_order_they_are_named_and_those_of_the_graph_last():
    own, linked = made(settings(groups=("volatility", "residuals", "returns"), compared=()))
    first, second = (load_plugin(GROUPS, name).features(BARS, GRAPH, SETTINGS) for name in ("volatility", "returns"))
    assert list(own) == [*first, *second]
    assert list(linked) == list(load_plugin(GROUPS, "residuals").features(BARS, GRAPH, SETTINGS))


def test_what_is_compared_is_told_of_the_neighbours_and_of_the_distance_to_them():
    own, linked = made()
    for name in SETTINGS.compared:
        values = {**own, **linked}[name]
        near = neighbour_mean(values[:, :, None], GRAPH.neighbours_TxNxK, mask_TxN=MASK)[:, :, 0]
        np.testing.assert_array_equal(linked[f"near_{name}"], np.clip(rank_scores(near, MASK), -3, 3).astype("f4"))
        apart = rank_scores(values - near, MASK)
        np.testing.assert_array_equal(linked[f"apart_{name}"], np.clip(apart, -3, 3).astype("f4"))


def test_without_neighbours_there_is_nothing_to_compare_with():
    _, linked = made(graph=GRAPH.of_kind("identity", seed=1))
    for name in SETTINGS.compared:
        assert not linked[f"near_{name}"].any()
        assert not linked[f"apart_{name}"].any()


def test_what_is_compared_is_left_out_with_its_group():
    lacking = settings(groups=("returns", "candles"), compared=("return_lag0", "intraday_lag0"))
    closes = with_fields(BARS, "close")
    _, linked = made(lacking, bars=closes)
    assert set(linked) == {"near_return_lag0", "apart_return_lag0"}
    assert left_out(closes.fields, lacking) == {"candles": ("high", "low", "open")}


def test_an_unknown_group_is_refused_with_the_one_that_was_meant():
    with pytest.raises(PluginError, match="did you mean 'returns'"):
        made(settings(groups=("return",)))


def test_a_value_too_large_for_any_price_counts_by_its_place_alone():
    wild = candles()
    wild.values["volume"][70, 3] = 1e30
    wild.close_return_TxN[70, 3] = 1e6
    data = candle_data(wild)
    for name in data.feature_names:
        assert np.isfinite(data.column(name)).all(), name
