"""What every group of features promises, whoever adds it."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from polars.exceptions import ColumnNotFoundError

from gnn_assets.core.plugins import load_plugin, plugin_names
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.build import graph_features, left_out, own_features
from gnn_assets_tests.lookahead import assert_no_lookahead
from gnn_assets_tests.models.candles import CONFIG, FIELDS, GROUPS, candles, features_changed_by, graph_for, with_fields

NAMES = plugin_names(GROUPS)
SETTINGS = CONFIG.models.features
BARS = candles()
GRAPH = graph_for(BARS)
# Rows from which on the longest feature of the slowest fit is there.
WARM = 60
every_group = pytest.mark.parametrize("name", NAMES)


_GRAPHS = {}


def _graph(bars):
    """The graph of some bars, made once for all groups."""
    returns = bars.close_return_TxN
    key = returns.shape, returns.tobytes()
    if key not in _GRAPHS:
        _GRAPHS[key] = graph_for(bars)
    return _GRAPHS[key]


def _made(plugin, bars=BARS, graph=None):
    return plugin.features(bars, graph or _graph(bars), SETTINGS)


def _group(name):
    return load_plugin(GROUPS, name)


@cache
def _truth(name):
    return _made(_group(name), BARS, GRAPH)


def _same(first, second):
    assert list(first) == list(second)
    return all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)


def _leaky(make):
    """A group of one feature, made of the returns."""
    return SimpleNamespace(NEEDS=(), GRAPH=False, features=lambda bars, _graph, _config: {"leak": make(bars)})


# --- time --------------------------------------------------------------------------------------------------------


def _assert_causal(plugin, row):
    data = {"close_return": BARS.close_return_TxN, **BARS.values}

    def compute(told):
        told = dict(told)
        return _made(plugin, Bars(BARS.sessions, BARS.symbols, told.pop("close_return"), told))

    assert_no_lookahead(compute, data, at=BARS.sessions[row], sessions=BARS.sessions, seed=row)


@every_group
@pytest.mark.parametrize("row", [61, 77])
def test_says_nothing_of_a_session_that_later_bars_can_change(name, row):
    _assert_causal(_group(name), row)


@pytest.mark.parametrize(
    "leak",
    [
        lambda bars: np.roll(bars.close_return_TxN, -1, axis=0),
        lambda bars: np.roll(bars.values["volume"], -1, axis=0),
        lambda bars: bars.close_return_TxN / np.nanstd(bars.close_return_TxN, axis=0),
        lambda bars: np.stack(
            [np.nanmean(bars.values["high"][max(row - 2, 0) : row + 3], axis=0) for row in range(len(bars.sessions))]
        ),
    ],
    ids=["the return after", "the volume after", "a deviation over all sessions", "a centred window"],
)
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:Degrees of freedom")
def test_the_same_test_fails_on_a_planted_leak(leak):
    with pytest.raises(AssertionError, match="look-ahead: leak of"):
        _assert_causal(_leaky(leak), 61)


@every_group
def test_says_nothing_that_later_fits_of_the_leading_directions_can_change(name):
    row = 77
    later = np.array([session > BARS.sessions[row] for session in GRAPH.factors.sessions_R])
    assert later.any()
    assert not later.all()
    factors = GRAPH.factors
    garbage = replace(
        GRAPH,
        factors=replace(
            factors,
            loadings_RxNxC=np.where(later[:, None, None], 3.0, factors.loadings_RxNxC),
            beta_RxN=np.where(later[:, None], -9.0, factors.beta_RxN),
            deviation_RxN=np.where(later[:, None], 7.0, factors.deviation_RxN),
        ),
    )
    for feature, values in _made(_group(name), graph=garbage).items():
        np.testing.assert_array_equal(values[: row + 1], _truth(name)[feature][: row + 1])


# --- shape -------------------------------------------------------------------------------------------------------


@every_group
@pytest.mark.parametrize(("n_sessions", "n_symbols"), [(90, 8), (90, 1), (90, 2), (3, 8), (1, 8)])
@pytest.mark.parametrize("broken", ["whole", "still", "untraded", "absent"])
def test_makes_named_panels_of_every_market(name, n_sessions, n_symbols, broken):
    """Fewer symbols than directions, fewer sessions than windows; a symbol that never moves, trades or is there."""
    bars = _broken(n_sessions, n_symbols, broken)
    if left_out(bars.fields, features_changed_by(CONFIG, groups=(name,)).models.features):
        return
    made = _made(_group(name), bars)
    assert made
    for feature, values in made.items():
        assert values.shape == (n_sessions, n_symbols), feature
        assert values.dtype == np.float64, feature
        if broken == "absent":
            assert not np.isfinite(values[:, 0]).any(), feature


@cache
def _broken(n_sessions, n_symbols, broken):
    bars = candles(n_sessions=n_sessions, n_symbols=n_symbols)
    if broken == "still":
        bars.close_return_TxN[:, 0] = 0.0
        for field in ("open", "high", "low", "close"):
            bars.values[field][:, 0] = 12.5
    elif broken == "untraded":
        bars.values["volume"][:, 0] = 0.0
    elif broken == "absent":
        bars.close_return_TxN[:, 0] = np.nan
        for values in bars.values.values():
            values[:, 0] = np.nan
    return bars


def test_no_two_groups_give_a_feature_the_same_name():
    names = [feature for name in NAMES for feature in _truth(name)]
    assert sorted(names) == sorted(set(names))


@every_group
def test_every_value_is_there_where_every_bar_is(name):
    for feature, values in _truth(name).items():
        assert np.isfinite(values[WARM:]).all(), feature


@every_group
def test_no_feature_is_the_same_for_all(name):
    for feature, values in _truth(name).items():
        spread = np.ptp(values[WARM:], axis=1)
        assert (spread > 1e-12).mean() > 0.1, feature


@every_group
def test_the_order_of_symbols_does_not_matter(name):
    order = np.random.default_rng(0).permutation(len(BARS.symbols))
    moved = Bars(
        BARS.sessions,
        tuple(BARS.symbols[column] for column in order),
        BARS.close_return_TxN[:, order],
        {field: values[:, order] for field, values in BARS.values.items()},
    )
    made = _truth(name)
    for feature, values in _made(_group(name), moved).items():
        np.testing.assert_allclose(values, made[feature][:, order], rtol=1e-6, atol=1e-9, err_msg=feature)


# --- what a group reads --------------------------------------------------------------------------------------------


@every_group
def test_reads_no_field_it_does_not_name(name):
    plugin = _group(name)
    assert set(plugin.NEEDS) <= set(FIELDS)
    assert _same(_made(plugin, with_fields(BARS, *plugin.NEEDS), GRAPH), _truth(name))


@every_group
def test_needs_every_field_it_names(name):
    for field in _group(name).NEEDS:
        less = with_fields(BARS, *(set(FIELDS) - {field}))
        assert left_out(less.fields, SETTINGS)[name] == (field,)
        with pytest.raises((KeyError, ColumnNotFoundError)):
            _made(_group(name), less, GRAPH)


@pytest.mark.parametrize("fields", [(), ("close",), ("close", "volume"), ("open", "high", "low", "close"), FIELDS])
def test_groups_are_left_out_for_the_fields_they_lack_and_no_others_are(fields):
    bars, mask = with_fields(BARS, *fields), np.isfinite(BARS.close_return_TxN)
    missing = left_out(bars.fields, SETTINGS)
    assert missing == {
        name: tuple(sorted(set(_group(name).NEEDS) - set(fields)))
        for name in NAMES
        if set(_group(name).NEEDS) - set(fields)
    }
    own = own_features(bars, GRAPH, mask_TxN=mask, config=SETTINGS)
    linked = graph_features(bars, GRAPH, own=own, mask_TxN=mask, config=SETTINGS)
    expected = {feature for name in NAMES if name not in missing for feature in _truth(name)}
    compared = {f"{side}_{name}" for side in ("near", "apart") for name in SETTINGS.compared if name in expected}
    assert {*own, *linked} == expected | compared


@every_group
def test_says_whether_it_reads_the_graph(name):
    plugin = _group(name)
    others = [GRAPH.of_kind("shuffled", seed=3), GRAPH.of_kind("identity", seed=3)]
    assert all(_same(_made(plugin, graph=other), _truth(name)) != plugin.GRAPH for other in others)


def _reads_its_own_neighbours_alone(plugin, row):
    """Whether a session's features are there without the neighbours of any other session."""
    others = np.arange(len(BARS.sessions)) != row
    forgotten = replace(
        GRAPH,
        neighbours_TxNxK=np.where(others[:, None, None], -1, GRAPH.neighbours_TxNxK).astype(np.int32),
        corr_TxNxK=np.where(others[:, None, None], 0, GRAPH.corr_TxNxK).astype(np.float32),
    )
    made, again = _made(plugin), _made(plugin, graph=forgotten)
    return all(np.array_equal(made[name][row], again[name][row]) for name in made)


@every_group
def test_reads_the_neighbours_of_its_own_session_alone(name):
    """A forecast that is made again has no other session's."""
    assert _reads_its_own_neighbours_alone(_group(name), 80)


def test_the_same_test_fails_for_neighbours_of_the_session_before():
    def features(_bars, graph, _config):
        return {"before": np.roll(graph.corr_TxNxK.sum(axis=2), 1, axis=0)}

    assert not _reads_its_own_neighbours_alone(SimpleNamespace(NEEDS=(), GRAPH=True, features=features), 80)


# --- splits --------------------------------------------------------------------------------------------------------


def _split(bars, row):
    """Twice as many shares at half the price from a session on: the adjusted return is what it was."""
    part = np.where(np.arange(len(bars.sessions)) >= row, 0.5, 1.0)[:, None]
    part = np.where(np.arange(len(bars.symbols)) == 2, part, 1.0)
    return replace(
        bars,
        values={name: values / part if name == "volume" else values * part for name, values in bars.values.items()},
    )


@every_group
def test_a_split_changes_nothing(name):
    assert _same(_made(_group(name), _split(BARS, 70), GRAPH), _truth(name))


def test_a_planted_ratio_of_prices_across_sessions_is_seen_by_the_same_test():
    plugin = _leaky(lambda bars: bars.values["close"] / np.roll(bars.values["close"], 1, axis=0))
    assert not _same(_made(plugin, _split(BARS, 70), GRAPH), _made(plugin))
