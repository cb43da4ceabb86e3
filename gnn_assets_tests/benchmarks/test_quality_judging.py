import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from scipy import stats

from benchmarks.quality.judging import base_rate, difference, judge, market_sharpe
from benchmarks.quality.portfolio import COST, HELD, best, costs, decile_spread, gross
from benchmarks.quality.tiers import Tier

S, N = 60, 120
YEAR = np.sqrt(252)
scores = stn.arrays(np.float64, (6, 9), elements=st.floats(-9, 9, width=16) | st.just(np.nan))


def tier(labels_SxN, *, round_trip=False):
    third_SxN = np.broadcast_to(np.arange(labels_SxN.shape[1]) % 3, labels_SxN.shape).astype(np.int64)
    return Tier("Test", labels_SxN, executable=True, round_trip=round_trip, third_SxN=third_SxN)


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(4)
    labels_SxN = rng.normal(0.001, 0.02, (S, N))
    scores_SxN = (labels_SxN + rng.normal(0, 0.1, (S, N))).astype(np.float32)
    labels_SxN[:, 5] = np.nan
    labels_SxN[7, 50:70] = np.nan
    return scores_SxN, tier(labels_SxN)


def ratio(values):
    return np.mean(values) / np.std(values, ddof=1)


def figures(scores_SxN, tier):
    return {name: figure.value for name, figure in judge("one", scores_SxN, tier).figures.items()}


def test_correlations_are_those_of_pandas_over_the_symbols_that_count(drawn):
    scores_SxN, test = drawn
    rows = [pd.DataFrame({"score": s, "label": y}).dropna() for s, y in zip(scores_SxN, test.labels_SxN, strict=True)]
    ic = [row["score"].corr(row["label"]) for row in rows]
    rank_ic = [stats.spearmanr(row["score"], row["label"]).statistic for row in rows]
    found = figures(scores_SxN, test)
    assert found["IC"] == pytest.approx(np.mean(ic), abs=1e-7)
    assert found["ICIR"] == pytest.approx(ratio(ic), abs=1e-6)
    assert found["rank IC"] == pytest.approx(np.mean(rank_ic), abs=1e-7)
    assert found["rank ICIR"] == pytest.approx(ratio(rank_ic), abs=1e-6)


def test_precision_and_deciles_are_those_of_sorted_tables(drawn):
    scores_SxN, test = drawn
    hits, spreads = [], []
    for s, y in zip(scores_SxN, test.labels_SxN, strict=True):
        row = pd.DataFrame({"score": s, "label": y}).dropna().sort_values("score", ascending=False)
        hits.append((row["label"].head(10) >= 0).mean())
        tenth = len(row) // 10
        spreads.append(row["label"].head(tenth).mean() - row["label"].tail(tenth).mean())
    found = figures(scores_SxN, test)
    assert found["prec@10"] == pytest.approx(np.mean(hits))
    assert found["decile spread"] == pytest.approx(ratio(spreads) * YEAR)


def earned_by_hand(scores_SxN, labels_SxN, *, bonus):
    """Returns before and after costs of the best fifty, by pandas."""
    earned, left, held = [], [], pd.Series(0.0, index=range(N))
    for s, y in zip(scores_SxN, labels_SxN, strict=True):
        row = pd.Series(s)[np.isfinite(y)]
        names = (row + bonus * row.std(ddof=0) * (held[row.index] > 0)).nlargest(HELD).index
        weights = pd.Series(0.0, index=range(N))
        weights[names] = 1 / HELD
        earned.append(y[names].mean())
        left.append(y[names].mean() - 0.001 * (weights - held).abs().sum())
        held = weights
    return np.array(earned), np.array(left)


def test_the_best_fifty_earn_their_mean_label_less_what_is_bought_and_sold(drawn):
    scores_SxN, test = drawn
    earned_S, left_S = earned_by_hand(scores_SxN, test.labels_SxN, bonus=0)
    _, patient_S = earned_by_hand(scores_SxN, test.labels_SxN, bonus=1)
    found = figures(scores_SxN, test)
    assert found["top-50 gross"] == pytest.approx(ratio(earned_S) * YEAR)
    assert found["top-50 net"] == pytest.approx(ratio(left_S) * YEAR)
    assert found["top-50 net, hysteresis"] == pytest.approx(ratio(patient_S) * YEAR)
    assert found["top-50 net, hysteresis"] != pytest.approx(found["top-50 net"], abs=0.1)
    daily = figures(scores_SxN, tier(test.labels_SxN, round_trip=True))
    assert daily["top-50 gross"] == found["top-50 gross"]
    assert daily["top-50 net"] == pytest.approx(ratio(earned_S - 0.002) * YEAR)


def test_a_held_name_stays_while_it_is_less_than_a_deviation_behind():
    scores_SxN = np.array([[3.0, 2.0, 1.0, 0.0], [3.0, 1.5, 2.0, 0.0], [3.0, 0.0, 2.0, 1.0]])
    assert (best(scores_SxN, size=2, bonus=0.0) > 0).tolist() == [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0]]
    # Deviations of 1.1: half a point behind it stays, two points behind it goes.
    assert (best(scores_SxN, size=2, bonus=1.0) > 0).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]]


def test_hysteresis_trades_less(drawn):
    scores_SxN, _ = drawn
    slow_SxN = np.cumsum(scores_SxN, axis=0)
    eager, patient = (costs(best(slow_SxN, size=HELD, bonus=bonus), round_trip=False).sum() for bonus in (0.0, 1.0))
    assert patient < 0.7 * eager


@given(scores, st.integers(1, 12), st.sampled_from([0.0, 1.0]))
def test_equal_parts_are_held_of_nothing_but_scored_names(scores_SxN, size, bonus):
    weights_SxN = best(scores_SxN, size=size, bonus=bonus)
    scored_SxN = np.isfinite(scores_SxN)
    assert not weights_SxN[~scored_SxN].any()
    np.testing.assert_array_equal((weights_SxN > 0).sum(axis=1), np.minimum(scored_SxN.sum(axis=1), size))
    np.testing.assert_allclose(weights_SxN.sum(axis=1), scored_SxN.any(axis=1))


@given(scores, st.integers(1, 5))
def test_later_scores_change_no_earlier_holding(scores_SxN, row):
    later = scores_SxN.copy()
    later[row:] = -later[row:]
    one, other = (best(each, size=3, bonus=1.0) for each in (scores_SxN, later))
    np.testing.assert_array_equal(one[:row], other[:row])


def test_everything_is_paid_for_on_the_way_in_and_on_the_way_out():
    weights_SxN = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(costs(weights_SxN, round_trip=False), COST * np.array([1.0, 1.0, 0.0, 1.0]))
    np.testing.assert_allclose(costs(weights_SxN, round_trip=True), COST * np.array([2.0, 2.0, 2.0, 0.0]))
    np.testing.assert_allclose(gross(weights_SxN, np.full((4, 3), 0.01)), [0.01, 0.01, 0.01, 0.0])


def test_with_fewer_than_two_names_there_is_no_spread():
    spread_S = decile_spread(np.array([[1.0, np.nan], [1.0, 2.0]]), np.array([[0.1, 0.2], [0.1, 0.3]]))
    np.testing.assert_allclose(spread_S, [np.nan, 0.2])


def test_a_symbol_without_score_counts_as_average_and_is_told_of(drawn):
    scores_SxN, test = drawn
    rng = np.random.default_rng(1)
    holes_SxN = np.where(rng.random((S, N)) < 0.2, np.nan, scores_SxN)
    judged = judge("holes", holes_SxN, test)
    row = pd.Series(np.where(test.counted_SxN[0], holes_SxN[0], np.nan))
    filled = row.fillna(row.mean())[test.counted_SxN[0]]
    assert judged.series["ic"][0] == pytest.approx(filled.corr(pd.Series(test.labels_SxN[0])), abs=1e-6)
    assert judged.scored == pytest.approx(np.isfinite(holes_SxN[test.counted_SxN]).mean())
    assert judge("all", scores_SxN, test).scored == 1.0


def test_scores_of_symbols_that_do_not_count_change_nothing(drawn):
    scores_SxN, test = drawn
    other_SxN = np.where(test.counted_SxN, scores_SxN, 1e6)
    assert figures(other_SxN, test) == figures(scores_SxN, test)


def test_the_ic_of_a_third_is_that_of_its_symbols_alone(drawn):
    scores_SxN, test = drawn
    low = [np.flatnonzero(counted_N & (np.arange(N) % 3 == 0)) for counted_N in test.counted_SxN]
    rows = zip(scores_SxN, test.labels_SxN, low, strict=True)
    expected = np.mean([np.corrcoef(s[names], y[names])[0, 1] for s, y, names in rows])
    assert judge("one", scores_SxN, test).ic_by_third[0] == pytest.approx(expected, abs=1e-7)


def test_intervals_hold_their_figure_and_are_as_wide_as_independent_sessions_make_them():
    rng = np.random.default_rng(0)
    labels_SxN = rng.normal(0, 0.02, (1000, 40))
    judged = judge("one", labels_SxN + rng.normal(0, 0.2, labels_SxN.shape), tier(labels_SxN))
    for figure in judged.figures.values():
        assert figure.interval[0] < figure.value < figure.interval[1]
    error = judged.series["ic"].std() / np.sqrt(1000)
    assert np.ptp(judged.figures["IC"].interval) == pytest.approx(2 * 1.96 * error, rel=0.2)


def test_intervals_widen_where_good_sessions_come_together(drawn):
    scores_SxN, test = drawn
    skilled = np.arange(S) // 15 % 2 == 0
    together_SxN = np.where(skilled[:, None], scores_SxN, -scores_SxN)
    apart_SxN = np.where((np.arange(S) % 2 == 0)[:, None], scores_SxN, -scores_SxN)
    wide, narrow = (judge("one", each, test).figures["IC"].interval for each in (together_SxN, apart_SxN))
    assert np.ptp(wide) > 2 * np.ptp(narrow)


def test_a_paired_difference_is_narrower_than_its_parts_and_turns_its_sign(drawn):
    scores_SxN, test = drawn
    near_SxN = scores_SxN + 0.02 * np.random.default_rng(9).normal(size=scores_SxN.shape)
    one, other = judge("one", scores_SxN, test), judge("other", near_SxN, test)
    for name in ("IC", "ICIR", "top-50 net"):
        found, back = difference(one, other, name), difference(other, one, name)
        assert found.value == pytest.approx(one.figures[name].value - other.figures[name].value)
        assert found.interval == pytest.approx((-back.interval[1], -back.interval[0]))
        assert np.ptp(found.interval) < np.ptp(one.figures[name].interval)
    assert difference(one, one, "IC").interval == (0.0, 0.0)


def test_a_paired_difference_is_taken_on_the_sessions_both_have(drawn):
    scores_SxN, test = drawn
    silent_SxN = scores_SxN + 0.02 * np.random.default_rng(9).normal(size=scores_SxN.shape)
    silent_SxN[:20] = np.nan
    one, other = judge("one", scores_SxN, test), judge("other", silent_SxN, test)
    assert np.isnan(other.series["ic"][:20]).all()
    expected = np.mean(one.series["ic"][20:]) - np.mean(other.series["ic"][20:])
    assert difference(one, other, "IC").value == pytest.approx(expected)
    assert difference(other, one, "IC").value == pytest.approx(-expected)


def test_a_constant_score_has_no_ic_and_no_interval():
    judged = judge("flat", np.zeros((S, N)), tier(np.random.default_rng(1).normal(size=(S, N))))
    assert np.isnan(judged.figures["IC"].value)
    assert np.isnan(judged.figures["IC"].interval).all()


def test_base_rate_and_market_are_those_of_all_symbols_that_count(drawn):
    _, test = drawn
    labels = pd.DataFrame(test.labels_SxN)
    assert base_rate(test) == pytest.approx(np.mean([(row.dropna() >= 0).mean() for _, row in labels.iterrows()]))
    assert market_sharpe(test).value == pytest.approx(ratio(labels.mean(axis=1)) * YEAR)
