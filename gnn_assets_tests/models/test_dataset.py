import ctypes
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DataError
from gnn_assets.models.bars import Bars
from gnn_assets.models.dataset import Dataset, Recipe, build_dataset, forward_sum, scored
from gnn_assets.models.features import build
from gnn_assets.models.features.standardise import standardise
from gnn_assets.models.features.trailing import trailing_deviation
from gnn_assets.models.graph import Graph
from gnn_assets_tests.lookahead import assert_no_lookahead
from gnn_assets_tests.models.candles import CONFIG, candle_data, candles, graph_for, up_to
from gnn_assets_tests.models.synthetic import CONFIG as SMALL
from gnn_assets_tests.models.synthetic import PURGE, market_data, small_data, small_market
from gnn_assets_tests.simulation import lead_lag_market

TARGETS = ("label", "residual", "scaled")
BARS = candles()
DATA = candle_data(BARS)
EVERY = range(len(BARS.sessions))
_WORDS = ctypes.c_uint32 * 4096


class _Words(ctypes.Structure):
    """What is passed by value, and thus lies on the stack when the function has returned."""

    _fields_ = (("words", _WORDS),)


_LEAVE = ctypes.CDLL(None).abs
_LEAVE.argtypes = [_Words]


class _Leaving(np.ndarray):
    """Directions whose products leave signalling NaN on the stack."""

    def __array_wrap__(self, array, *_):
        _LEAVE(_Words(_WORDS(*[0x7FA00001] * len(_WORDS()))))
        return np.asarray(array)


every_target = pytest.mark.parametrize("target", TARGETS)


def _build(fill_return_TxN, *, bars=BARS):
    return build_dataset(bars, graph_for(bars), fill_return_TxN, recipe=Recipe.of(CONFIG))


# --- labels --------------------------------------------------------------------------------------------------------


@given(lag=st.integers(0, 2), horizon=st.integers(1, 4), n_sessions=st.integers(1, 12), hole=st.integers(0, 11))
def test_a_label_is_the_sum_of_the_fills_ahead_and_absent_where_one_is(lag, horizon, n_sessions, hole):
    returns = np.random.default_rng(0).normal(size=(n_sessions, 2))
    returns[hole % n_sessions, 0] = np.nan
    labels = forward_sum(returns, lag=lag, horizon=horizon)
    assert labels.dtype == np.float32
    for session in range(n_sessions):
        ahead = returns[session + lag + 1 : session + lag + horizon + 1]
        expected = ahead.sum(axis=0) if len(ahead) == horizon else np.full(2, np.nan)
        np.testing.assert_allclose(labels[session], expected, rtol=1e-5)


def test_labels_come_from_fills_and_features_from_bars():
    fills = np.random.default_rng(1).normal(size=BARS.close_return_TxN.shape)
    plain, other = _build(fills), _build(2 * fills)
    np.testing.assert_allclose(other.labels_TxN, plain.labels_TxN * 2, rtol=1e-6)
    assert other.features(EVERY).tobytes() == plain.features(EVERY).tobytes() == DATA.features(EVERY).tobytes()


def test_labels_end_where_the_data_do():
    data = small_data(gaps=False)
    assert np.isfinite(data.labels_TxN[:-PURGE]).all()
    assert np.isnan(data.labels_TxN[-PURGE:]).all()


def test_an_infinite_fill_is_refused_by_name():
    fills = BARS.close_return_TxN.copy()
    fills[7, 4] = np.inf
    with pytest.raises(DataError, match=f"returns.fill_return: .* S4 on {BARS.sessions[7]}"):
        _build(fills)


# --- mask and axes -------------------------------------------------------------------------------------------------


@given(history=st.integers(1, 9), share=st.sampled_from([0.25, 0.5, 0.75, 1.0]), seed=st.integers(0, 99))
def test_those_are_scored_who_have_a_return_and_enough_before_it(history, share, seed):
    returns = np.where(np.random.default_rng(seed).random((7, 4)) < 0.3, np.nan, 0.01)
    mask = scored(returns, history=history, min_share=share)
    for row, symbol in np.ndindex(returns.shape):
        there = np.isfinite(returns[max(row - history + 1, 0) : row + 1, symbol])
        assert mask[row, symbol] == (there[-1] and there.sum() >= share * history)


def test_the_first_session_has_features_and_an_edge():
    data = small_data()
    assert data.mask_TxN[data.first_index].any()
    assert (data.graph.neighbours_TxNxK[data.first_index] >= 0).any()
    assert not (data.graph.neighbours_TxNxK[: data.first_index] >= 0).any()


def test_without_any_edge_the_first_session_is_the_first_with_features():
    alone = small_data().seen("identity", seed=1)
    assert alone.first_index == SMALL.models.features.lookback - 1


def test_too_short_a_history_is_refused():
    market = lead_lag_market(seed=1, n_sessions=4, n_clusters=2, cluster_size=3)
    with pytest.raises(DataError, match="start the bars earlier"):
        _ = market_data(market).first_index


def test_features_are_columns_in_the_order_of_their_names():
    rows = range(70, 75)
    features = DATA.features(rows)
    assert features.dtype == np.float32
    assert features.shape == (5, len(DATA.symbols), len(DATA.feature_names))
    assert len(set(DATA.feature_names)) == len(DATA.feature_names)
    for place, name in enumerate(DATA.feature_names):
        np.testing.assert_array_equal(features[:, :, place], DATA.column(name)[70:75])
    with pytest.raises(KeyError, match="no such feature"):
        DATA.column("no such feature")


# --- graphs --------------------------------------------------------------------------------------------------------


def test_the_same_graph_is_the_same_data():
    assert DATA.seen("true", seed=1) is DATA


@pytest.mark.parametrize("kind", ["identity", "shuffled"])
def test_with_another_graph_what_is_made_of_it_is_another_and_the_rest_is_not(kind):
    other = DATA.seen(kind, seed=1)
    assert other.feature_names == DATA.feature_names
    assert other.own is DATA.own
    assert other.labels_TxN is DATA.labels_TxN
    assert other.mask_TxN is DATA.mask_TxN
    assert any(other.linked[name].tobytes() != values.tobytes() for name, values in DATA.linked.items())
    assert other.basis(EVERY).tobytes() != DATA.basis(EVERY).tobytes()
    made_anew = build_dataset(BARS, DATA.graph.of_kind(kind, seed=1), BARS.close_return_TxN, recipe=DATA.recipe)
    assert made_anew.features(EVERY).tobytes() == other.features(EVERY).tobytes()


def test_what_is_taken_off_a_score_is_its_part_along_the_basis():
    rows = range(60, 80)
    scores = np.random.default_rng(2).normal(size=(20, len(DATA.symbols))).astype(np.float32)
    scores[3, 2] = np.nan
    left = DATA.project_off(scores, rows)
    np.testing.assert_array_equal(np.isnan(left), np.isnan(scores))
    along = np.einsum("snd,sn->sd", DATA.basis(rows), np.nan_to_num(left))
    assert np.abs(np.delete(along, 3, axis=0)).max() < 1e-6
    some = range(65, 67)
    assert DATA.project_off(scores[5:7], some).tobytes() == left[5:7].tobytes()


def test_what_lay_in_memory_beside_a_score_is_neither_used_nor_warned_of(monkeypatch):
    """The platform's product of seven by five numbers looks at what lies beyond them."""
    data = replace(candle_data(candles(n_symbols=7)), recipe=replace(DATA.recipe, projected=3))
    scores = np.random.default_rng(3).normal(size=(20, 7)).astype(np.float32)
    rows = range(60, 80)
    basis, left = data.basis(rows), data.project_off(scores, rows)
    monkeypatch.setattr(Dataset, "basis", lambda *_: basis.view(_Leaving))
    assert data.project_off(scores, rows).tobytes() == left.tobytes()


# --- targets -------------------------------------------------------------------------------------------------------


@every_target
def test_targets_are_standardised_over_the_symbols_whose_label_is_known(target):
    data = market_data(small_market())
    rows = range(data.first_index, len(data.sessions))
    targets, known = data.targets(target, rows)
    assert targets.dtype == np.float32
    assert not known[~data.mask_TxN[rows.start :]].any()
    assert not targets[~known].any()
    inside = known.any(axis=1)
    assert inside.sum() > 100
    assert np.abs(targets[inside].mean(axis=1)).max() < 1e-6


@every_target
def test_a_session_s_targets_do_not_depend_on_what_is_asked_for_with_it(target):
    whole, known = DATA.targets(target, EVERY)
    some, some_known = DATA.targets(target, range(70, 73))
    assert some.tobytes() == whole[70:73].tobytes()
    assert some_known.tobytes() == known[70:73].tobytes()


def test_labels_are_regressed_once_for_all_parts_and_targets(monkeypatch):
    regressed, data, residual_label = [], replace(DATA), Graph.residual_label
    monkeypatch.setattr(Graph, "residual_label", lambda *given: regressed.append(given) or residual_label(*given))
    for rows in (range(60, 80), range(70, 90)):
        for target in ("residual", "scaled"):
            data.targets(target, rows)
    assert len(regressed) == 1


def test_a_residual_label_is_cut_and_a_scaled_one_is_cut_after_it_is_divided():
    rows, settings = range(60, 89), CONFIG.models.targets
    labels = DATA.labels_TxN[60:89].astype(np.float64)
    residual = DATA.graph.residual_label(labels, rows)
    deviation = trailing_deviation(DATA.graph.residual_TxN, settings.window, min_share=settings.min_share)[60:89]
    expected = {
        "label": labels,
        "residual": np.clip(residual, -settings.clip, settings.clip),
        "scaled": np.clip(residual / deviation, -settings.clip_scaled, settings.clip_scaled),
    }
    assert (np.abs(residual / deviation) > settings.clip_scaled).any()
    for target, values in expected.items():
        targets, known = DATA.targets(target, rows)
        assert known.all()
        np.testing.assert_allclose(targets, standardise(values, known), atol=1e-6)


def test_the_cut_of_a_residual_grows_with_the_root_of_the_horizon():
    rows = range(60, 80)
    for horizon in (1, 4):
        wide = DATA.recipe.execution.model_copy(update={"horizon": horizon})
        tight = DATA.recipe.targets.model_copy(update={"clip": 0.004})
        data = replace(DATA, recipe=replace(DATA.recipe, execution=wide, targets=tight))
        cut = 0.004 * np.sqrt(horizon)
        residual = DATA.graph.residual_label(DATA.labels_TxN[60:80].astype(np.float64), rows)
        targets, known = data.targets("residual", rows)
        np.testing.assert_allclose(targets, standardise(np.clip(residual, -cut, cut), known), atol=1e-6)


def test_a_scaled_target_is_unknown_where_nothing_is_known_of_the_symbol_s_own_moves():
    data = candle_data(candles())
    _, residual_known = data.targets("residual", EVERY)
    _, scaled_known = data.targets("scaled", EVERY)
    assert (residual_known >= scaled_known).all()
    assert residual_known.sum() > scaled_known.sum() > 0


# --- time ----------------------------------------------------------------------------------------------------------


def everything(told):
    """All that a session knows, row by row, of bars that come as arrays."""
    told = dict(told)
    bars = Bars(BARS.sessions, BARS.symbols, told.pop("close_return"), told)
    data = _build(bars.close_return_TxN, bars=bars)
    purge = CONFIG.execution.purge
    labels, late = data.labels_TxN, {}
    for target in TARGETS:
        values, known = data.targets(target, EVERY)
        late |= {target: values, f"{target} known": known}
    late["labels"] = labels
    # What is asked for is known `purge` sessions later.
    shifted = {name: np.concatenate([np.zeros_like(each[:purge]), each[:-purge]]) for name, each in late.items()}
    features = {name: data.column(name) for name in data.feature_names}
    return {**features, **shifted, "mask": data.mask_TxN, "basis": data.basis(EVERY)}


BARS_TOLD = {"close_return": BARS.close_return_TxN, **BARS.values}


@pytest.mark.parametrize("row", [61, 77])
def test_nothing_of_a_session_depends_on_later_ones(row):
    assert_no_lookahead(everything, BARS_TOLD, at=BARS.sessions[row], sessions=BARS.sessions, seed=row)


def test_a_market_that_ends_at_a_session_is_the_same_up_to_it():
    """Garbage after a session leaves the length of the panel; here it goes too, as where a forecast is made again."""
    for end in (62, 78):
        short = candle_data(up_to(BARS, end))
        assert short.features(range(end)).tobytes() == DATA.features(range(end)).tobytes()
        assert short.basis(range(end)).tobytes() == DATA.basis(range(end)).tobytes()
        assert short.mask_TxN.tobytes() == DATA.mask_TxN[:end].tobytes()


def test_a_planted_standardisation_over_time_is_caught(monkeypatch):
    def over_time(values_TxN, mask_TxN):
        values = np.where(mask_TxN, np.nan_to_num(values_TxN, posinf=0, neginf=0), 0.0)
        return values - values.mean(axis=0)

    monkeypatch.setitem(build._SCALINGS, "rank", over_time)
    with pytest.raises(AssertionError, match=f"look-ahead: .* of {BARS.sessions[0]}"):
        assert_no_lookahead(everything, BARS_TOLD, at=BARS.sessions[61], sessions=BARS.sessions)


def test_settings_come_from_the_configuration():
    config = build_config("test")
    recipe = Recipe.of(config)
    assert recipe.features == config.models.features
    assert recipe.projected == config.graphs.factors.projected
