"""What is watched of a champion: features in their own units, losses as they were known, and a name for all inputs."""

from dataclasses import replace

import numpy as np
import pytest

from gnn_assets.backtests.cross_section import information_coefficients
from gnn_assets.models.features.build import raw_features
from gnn_assets.monitoring.watch import input_hashes, watched
from gnn_assets.store.panel import from_panel
from gnn_assets_tests.models.candles import candle_data, candles, up_to

BARS = candles()
DATA = candle_data(BARS)
PURGE = DATA.recipe.execution.purge
LIVE = range(70, 90)
SCORES = np.random.default_rng(3).normal(size=DATA.mask_TxN.shape).astype(np.float32)
JUDGED = slice(40, 70)


def seen(data=DATA, *, live=LIVE):
    sessions = DATA.sessions
    predictions = from_panel(SCORES[JUDGED], "score", sessions=sessions[JUDGED], symbols=DATA.symbols)
    return watched(
        data,
        learned=(sessions[20], sessions[64]),
        predictions=predictions,
        live=live,
        live_scores_LxN=SCORES[live.start : live.stop],
    )


def test_features_are_those_of_the_sessions_learned_from_and_lived_before_they_become_ranks():
    champion = seen()
    raw = dict(raw_features(DATA.bars, DATA.graph, config=DATA.recipe.features))
    assert set(raw) < set(DATA.feature_names)
    for part, rows in ((champion.learned, slice(20, 65)), (champion.seen, slice(70, 90))):
        assert tuple(part.sessions) == DATA.sessions[rows]
        np.testing.assert_array_equal(part.mask_TxN, DATA.mask_TxN[rows])
        assert set(part.features) == set(raw)
        for name, values in raw.items():
            np.testing.assert_array_equal(part.features[name], values[rows].astype(np.float32))
    np.testing.assert_allclose(champion.seen.features["return_lag0"], BARS.close_return_TxN[70:90], rtol=1e-6)


def test_a_loss_is_one_less_the_session_s_ic_and_those_not_known_at_the_data_s_end_are_no_reference():
    champion = seen()
    losses = 1 - information_coefficients(SCORES, DATA.labels_TxN)
    known = 70 - PURGE - 40
    np.testing.assert_allclose(champion.judged.losses_T[:known], losses[40 : 40 + known], atol=1e-6)
    assert np.isfinite(champion.judged.losses_T[:known]).all()
    assert np.isnan(champion.judged.losses_T[known:]).all()
    np.testing.assert_array_equal(champion.said.losses_T, losses[70:90])
    assert np.isnan(champion.said.losses_T[-PURGE:]).all()


def test_the_past_and_the_live_sessions_up_to_one_are_the_same_bits_without_anything_later():
    whole, cut = seen(), seen(candle_data(up_to(BARS, 82)), live=range(70, 82))
    for part in ("learned", "seen"):
        for name, values in getattr(cut, part).features.items():
            np.testing.assert_array_equal(values, getattr(whole, part).features[name][: len(values)], err_msg=name)
    np.testing.assert_array_equal(cut.judged.losses_T, whole.judged.losses_T)
    np.testing.assert_array_equal(cut.said.losses_T[:-PURGE], whole.said.losses_T[: 12 - PURGE])


def test_sessions_of_predictions_that_the_data_do_not_hold_are_left_out():
    shorter = candle_data(BARS)
    champion = watched(
        shorter,
        learned=(DATA.sessions[20], DATA.sessions[64]),
        predictions=from_panel(
            SCORES[:2], "score", sessions=[DATA.sessions[60], DATA.sessions[0].replace(year=1999)], symbols=DATA.symbols
        ),
        live=LIVE,
        live_scores_LxN=SCORES[70:90],
    )
    assert list(champion.judged.sessions) == [DATA.sessions[60]]


# The name of all that went in


def test_what_comes_later_changes_no_name():
    assert input_hashes(candle_data(up_to(BARS, 80)), recipe="r") == input_hashes(DATA, recipe="r")[:80]


@pytest.mark.parametrize("what", ["close_return_TxN", "high", "volume", "neighbours_TxNxK", "corr_TxNxK"])
def test_whatever_goes_in_changes_the_name_from_its_session_on(what):
    row = 50
    bars, graph = DATA.bars, DATA.graph
    if what in bars.values:
        bars = replace(bars, values={**bars.values, what: _moved(bars.values[what], row)})
    elif what == "close_return_TxN":
        bars = replace(bars, close_return_TxN=_moved(bars.close_return_TxN, row))
    else:
        graph = replace(graph, **{what: _moved(getattr(graph, what), row)})
    before, after = input_hashes(DATA, recipe="r"), input_hashes(replace(DATA, bars=bars, graph=graph), recipe="r")
    assert before[:row] == after[:row]
    assert all(one != other for one, other in zip(before[row:], after[row:], strict=True))


def test_an_outcome_counts_once_it_is_known():
    before = input_hashes(DATA, recipe="r")
    after = input_hashes(replace(DATA, labels_TxN=_moved(DATA.labels_TxN, 50)), recipe="r")
    assert before[: 50 + PURGE] == after[: 50 + PURGE]
    assert before[50 + PURGE] != after[50 + PURGE]


def test_recipe_and_symbols_count():
    other = replace(DATA, bars=replace(BARS, symbols=tuple(reversed(BARS.symbols))))
    names = {input_hashes(data, recipe=recipe)[0] for data in (DATA, other) for recipe in ("r", "s")}
    assert len(names) == 4


def _moved(values, row):
    moved = values.copy()
    moved[row, 0] += 1
    return moved
