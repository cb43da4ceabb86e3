import numpy as np
import pytest

from benchmarks.quality.bars import Market
from benchmarks.quality.tiers import CLOSES, rows_between, scores_for, tiers
from gnn_assets.core.errors import DataError
from gnn_assets_tests.benchmarks.market import SESSIONS, SYMBOLS, closes

ROWS = range(80, 115)


def market(**changed):
    rng = np.random.default_rng(8)
    close_TxN = closes()
    found = {
        "open": close_TxN * np.exp(rng.normal(0, 0.01, close_TxN.shape)),
        "close": close_TxN,
        "volume": np.exp(rng.normal(10, 1, close_TxN.shape)),
    }
    found = {name: values for name, values in (found | changed).items() if values is not None}
    return Market(sessions=SESSIONS, symbols=SYMBOLS, found=found, sha256="", dropped={})


def test_tier_c_comes_first_and_then_what_can_be_executed():
    found = tiers(market(), ROWS)
    assert [tier.name for tier in found] == [
        "Close to close",
        "Open to close",
        "Open to close, high third by traded value",
        "Open to next open",
        "Open to next open, high third by traded value",
    ]
    assert [tier.executable for tier in found] == [False, True, True, True, True]
    assert [tier.round_trip for tier in found] == [False, True, True, False, False]
    assert [tier.part for tier in found] == [False, False, True, False, True]


def test_without_opens_only_tier_c_is_left_and_without_volumes_no_third():
    assert [tier.name for tier in tiers(market(open=None), ROWS)] == ["Close to close"]
    found = tiers(market(volume=None), ROWS)
    assert [tier.name for tier in found] == ["Close to close", "Open to close", "Open to next open"]
    assert (found[0].third_SxN == -1).all()


def test_labels_are_simple_returns_between_the_named_prices():
    given = market()
    opens, close = given.found["open"], given.found["close"]
    same, day, _, night, _ = tiers(given, ROWS)
    for at, row in enumerate(ROWS):
        np.testing.assert_allclose(same.labels_SxN[at], close[row] / close[row - 1] - 1)
        np.testing.assert_allclose(day.labels_SxN[at], close[row] / opens[row] - 1)
        np.testing.assert_allclose(night.labels_SxN[at], opens[row + 1] / opens[row] - 1)


def test_the_label_that_ends_after_the_file_is_unknown():
    last = range(len(SESSIONS) - 2, len(SESSIONS))
    night = tiers(market(), last)[3]
    assert night.counted_SxN.all(axis=1).tolist() == [True, False]


def test_the_score_for_a_session_is_that_of_the_row_before():
    scores_TxN = np.arange(len(SESSIONS))[:, None] * np.ones(len(SYMBOLS))
    np.testing.assert_array_equal(scores_for(scores_TxN, ROWS)[:, 0], np.array(ROWS) - 1)


def test_a_symbol_counts_with_a_close_on_the_session_and_on_the_sixteen_before():
    close_TxN = closes()
    missing = 90
    close_TxN[missing, 4] = np.nan
    counted_SxN = tiers(market(close=close_TxN), ROWS)[0].counted_SxN
    out = [row for row, counts in zip(ROWS, counted_SxN[:, 4], strict=True) if not counts]
    assert out == list(range(missing, missing + CLOSES))
    assert np.delete(counted_SxN, 4, axis=1).all()
    early = tiers(market(), range(10, 20))[0].counted_SxN
    assert early.any(axis=1).tolist() == [row >= CLOSES - 1 for row in range(10, 20)]


def test_the_top_third_is_that_of_the_median_traded_value_up_to_the_session_before():
    given = market()
    liquid = tiers(given, ROWS)[2]
    value_TxN = given.found["close"] * given.found["volume"]
    for at, row in enumerate(ROWS):
        median_N = np.median(value_TxN[row - 60 : row], axis=0)
        assert set(np.flatnonzero(liquid.counted_SxN[at])) == set(np.argsort(median_N)[-len(SYMBOLS) // 3 :])
    assert np.bincount(liquid.third_SxN.ravel()).tolist() == [len(ROWS) * len(SYMBOLS) // 3] * 3


def test_what_trades_on_the_session_moves_no_symbol_to_another_third():
    given = market()
    volume_TxN = given.found["volume"].copy()
    volume_TxN[ROWS.start :] *= np.random.default_rng(2).uniform(0, 100, volume_TxN[ROWS.start :].shape)
    before, after = (tiers(each, ROWS)[0].third_SxN for each in (given, market(volume=volume_TxN)))
    np.testing.assert_array_equal(before[0], after[0])
    assert (before[1:] != after[1:]).any()


def test_a_symbol_whose_traded_value_is_unknown_is_in_no_third():
    volume_TxN = market().found["volume"].copy()
    volume_TxN[:, 7] = np.nan
    third_SxN = tiers(market(volume=volume_TxN), ROWS)[0].third_SxN
    assert (third_SxN[:, 7] == -1).all()
    assert (np.delete(third_SxN, 7, axis=1) >= 0).all()


def test_sessions_are_those_after_one_date_and_up_to_another():
    assert rows_between(SESSIONS, after=SESSIONS[3], until=SESSIONS[7]) == range(4, 8)
    with pytest.raises(DataError, match=r"expected sessions after 2015-01-05 and up to 2015-01-05, was none in a file"):
        rows_between(SESSIONS, after=SESSIONS[1], until=SESSIONS[1])
