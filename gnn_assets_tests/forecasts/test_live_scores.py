import math
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.backtests.cross_section import (
    information_coefficients,
    rank_information_coefficients,
    realised_labels,
)
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DataError
from gnn_assets.forecasts.live_scores import forecast_scores, live_measures
from gnn_assets.forecasts.schema import FORECAST_SCORES, FORECASTS
from gnn_assets.models.dataset import forward_sum
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.forecasts.live import forecast_rows, names, panels, return_rows
from gnn_assets_tests.lookahead import assert_no_lookahead

CONFIG = build_config("test")
ONE = CONFIG.execution.model_copy(update={"horizon": 1})
# Values on a coarse grid make ties common.
CELLS = st.one_of(st.integers(-20, 20).map(lambda value: value / 64), st.just(np.nan))
SHAPES = st.shared(st.tuples(st.integers(3, 12), st.integers(1, 6)), key="shape")


def scored(scores_TxN, returns_TxN, calendar, *, at=None, execution=ONE, **interval):
    """`forecast_scores` of one version at session number `at`, the last one unless told."""
    return forecast_scores(
        forecast_rows(scores_TxN, calendar, execution=execution, **interval),
        return_rows(returns_TxN, calendar),
        session=calendar.sessions[len(returns_TxN) - 1 if at is None else at],
        sessions=calendar.sessions,
        execution=execution,
        served=True,
    )


def measured(scores, calendar, *, at, window):
    """`live_measures` at session number `at`, where there is one row, as a mapping."""
    return live_measures(scores, session=calendar.sessions[at], sessions=calendar.sessions, window=window).row(
        0, named=True
    )


def test_a_forecast_is_held_against_what_happened(calendar):
    # A market that rises by 10 %: of four names the second and the third came in the other order.
    returns_TxN = np.zeros((3, 4))
    returns_TxN[2] = 0.10 + np.array([0.03, -0.01, 0.01, -0.03])
    scores_TxN = np.array([[0.04, 0.03, 0.02, 0.01]])
    scores = scored(scores_TxN, returns_TxN, calendar, lower=-0.1, upper=0.08)
    np.testing.assert_allclose(scores["realised"], [0.13, 0.09, 0.11, 0.07])
    np.testing.assert_allclose(scores["error"], [0.09, 0.06, 0.09, 0.06])
    assert scores["covered"].to_list() == [False, True, False, True]
    # Deviations 3 1 −1 −3 of the scores and 3 −1 1 −3 of the outcomes: 16 of 20, and each name's part of it.
    assert scores["hit"].to_list() == [True, False, False, True]
    np.testing.assert_allclose(scores["ic_share"], [0.45, -0.05, -0.05, 0.45], atol=1e-7)
    assert set(scores["target_end"]) == {calendar.sessions[2]}
    assert FORECAST_SCORES.difference(scores.schema) == ()


def test_an_interval_includes_its_ends(calendar):
    returns_TxN = np.zeros((3, 3))
    returns_TxN[2] = [0.25, -0.25, 0.26]
    scores = scored(np.zeros((1, 3)), returns_TxN, calendar, lower=-0.25, upper=0.25)
    assert scores["covered"].to_list() == [True, True, False]


def test_what_is_at_its_mean_is_on_no_side_of_it(calendar):
    # Neither three equal steps, rounded to float32, nor equal scores say anything of the middle.
    returns_TxN = np.zeros((4, 3))
    returns_TxN[2:] = [0.03, -0.02, -0.05]
    scores = scored(np.array([[0.3, 0.2, 0.1], [0.5, 0.5, 0.5]]), returns_TxN, calendar)
    assert scores["hit"].to_list() == [True, None, True, None, None, None]
    assert scores["ic_share"].null_count() == 3


@pytest.mark.parametrize("fill", ["close_same", "close_next", "open_next"])
def test_an_outcome_is_unknown_until_its_last_fill(calendar, fill):
    execution = CONFIG.execution.model_copy(update={"fill": fill, "horizon": 3})
    scores_TxN, returns_TxN = panels(12, 4)
    for at in range(5, 12):
        scores = scored(scores_TxN, returns_TxN, calendar, at=at, execution=execution)
        assert scores["session"].max() == calendar.sessions[at]
        known = scores.filter(pl.col("realised").is_not_null())
        assert known.equals(scores.filter(pl.col("target_end") <= calendar.sessions[at]))
        assert known["session"].max() == calendar.sessions[at - execution.purge]
        unknown = scores.filter(pl.col("realised").is_null())
        assert unknown.select("error", "hit", "covered", "ic_share").null_count().row(0) == (unknown.height,) * 4


def test_outcomes_are_the_labels_of_models_and_backtests(calendar):
    execution = CONFIG.execution
    scores_TxN, returns_TxN = panels(40, 5)
    returns_TxN[np.random.default_rng(1).random(returns_TxN.shape) < 0.05] = np.nan
    scores = scored(scores_TxN, returns_TxN, calendar, execution=execution)
    realised_TxN = to_panel(scores, "realised", sessions=calendar.sessions[:40], symbols=names(scores_TxN))
    np.testing.assert_array_equal(realised_TxN, realised_labels(returns_TxN, execution=execution))
    np.testing.assert_array_equal(
        realised_TxN.astype(np.float32),
        forward_sum(returns_TxN, lag=execution.fill_lag, horizon=execution.horizon),
    )


def test_champion_challenger_and_retired_are_scored_alike(calendar):
    """Also where a retired version looked further ahead, and where two versions forecast the same sessions."""
    scores_TxN, returns_TxN = panels(30, 6)
    far = ONE.model_copy(update={"horizon": 4})
    versions = [
        forecast_rows(scores_TxN[:20], calendar, execution=far, version="retired"),
        forecast_rows(scores_TxN, calendar, execution=ONE, version="champion"),
        forecast_rows(-scores_TxN, calendar, execution=ONE, version="challenger"),
    ]
    at = {"session": calendar.sessions[29], "sessions": calendar.sessions, "execution": ONE, "served": True}
    returns = return_rows(returns_TxN, calendar)
    together = forecast_scores(pl.concat(versions), returns, **at)
    alone = pl.concat([forecast_scores(rows, returns, **at) for rows in versions])
    assert together.equals(FORECAST_SCORES.conform(alone))
    retired = together.filter(pl.col("version") == "retired", pl.col("symbol") == "S00")["realised"]
    np.testing.assert_array_equal(retired, realised_labels(returns_TxN, execution=far)[:20, 0])
    measures = live_measures(together, session=at["session"], sessions=at["sessions"], window=25)
    assert measures["version"].to_list() == ["challenger", "champion", "retired"]
    ics = dict(measures.select("version", "ic").iter_rows())
    assert ics["challenger"] == pytest.approx(-ics["champion"])


@given(
    scores_TxN=SHAPES.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=CELLS)),
    returns_TxN=SHAPES.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=CELLS)),
)
@settings(max_examples=60, deadline=None)
def test_shares_add_up_to_the_coefficient_of_the_session(calendar, scores_TxN, returns_TxN):
    scores = scored(scores_TxN, returns_TxN, calendar)
    ic_T = information_coefficients(scores_TxN, realised_labels(returns_TxN, execution=ONE))
    summed = scores.group_by("session").agg(pl.col("ic_share").sum(), known=pl.col("ic_share").count())
    by_session = {session: (total, known) for session, total, known in summed.iter_rows()}
    for session, ic in zip(calendar.sessions, ic_T, strict=False):
        total, known = by_session.get(session, (0.0, 0))
        assert total == pytest.approx(ic if np.isfinite(ic) else 0.0, abs=1e-9)
        assert (known > 0) == np.isfinite(ic)
    sides = scores.filter(pl.col("hit").is_not_null())
    assert (sides["hit"] == (sides["ic_share"] > 0)).all()


def test_measures_are_those_of_the_backtest_on_the_same_sessions(calendar):
    scores_TxN, returns_TxN = panels(60, 8)
    scores_TxN[np.random.default_rng(4).random(scores_TxN.shape) < 0.1] = np.nan
    measures = measured(scored(scores_TxN, returns_TxN, calendar), calendar, at=59, window=40)
    labels_TxN = realised_labels(returns_TxN, execution=ONE)
    rows = slice(60 - ONE.purge - 40, 60 - ONE.purge)
    stored_TxN = scores_TxN.astype(np.float32)[rows]
    assert measures["ic"] == pytest.approx(information_coefficients(stored_TxN, labels_TxN[rows]).mean())
    assert measures["rank_ic"] == pytest.approx(rank_information_coefficients(stored_TxN, labels_TxN[rows]).mean())
    assert (measures["sessions"], measures["window"]) == (40, 40)
    assert measures["forecasts"] == np.isfinite(stored_TxN).sum()


def test_errors_are_held_against_those_of_the_naive_forecast(calendar):
    scores_TxN, returns_TxN = panels(30, 5)
    expected_TxN = 0.002 + 0.003 * scores_TxN
    measures = measured(scored(scores_TxN, returns_TxN, calendar, expected_TxN=expected_TxN), calendar, at=29, window=9)
    outcomes = returns_TxN[21:30]
    expected = expected_TxN[19:28]
    rmse = math.sqrt(((outcomes - expected) ** 2).mean())
    rmse_naive = math.sqrt(((outcomes - expected.mean(axis=1, keepdims=True)) ** 2).mean())
    assert [measures[name] for name in ("rmse", "rmse_naive")] == pytest.approx([rmse, rmse_naive])
    assert measures["rmse_ratio"] == pytest.approx(rmse / rmse_naive)
    assert measures["rmse_ratio"] < 1


def test_a_score_that_says_nothing_is_as_good_as_the_naive_forecast(calendar):
    scores_TxN, returns_TxN = panels(30, 5)
    flat = scored(scores_TxN, returns_TxN, calendar, expected_TxN=np.full_like(scores_TxN, 0.001))
    assert measured(flat, calendar, at=29, window=9)["rmse_ratio"] == 1.0


def test_the_naive_forecast_is_of_all_names_that_were_forecast(calendar):
    # Of the third name nobody learns what became of it; what it was expected to do is known all the same.
    returns_TxN = np.zeros((3, 3))
    returns_TxN[2] = [0.01, 0.03, np.nan]
    measures = measured(scored(np.array([[0.01, 0.02, 0.06]]), returns_TxN, calendar), calendar, at=2, window=1)
    assert measures["rmse_naive"] == pytest.approx(math.sqrt((0.02**2 + 0.0**2) / 2), rel=1e-6)
    assert [measures[name] for name in ("sessions", "forecasts", "unknown")] == [1, 2, 1]
    assert measures["ic"] is measures["hit_rate"] is None


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_a_calibrated_normal_is_covered_as_often_as_it_says(calendar, coverage):
    rng = np.random.default_rng(6)
    returns_TxN = rng.normal(loc=0.001, scale=0.01, size=(302, 40))
    reach = 0.01 * NormalDist().inv_cdf((1 + coverage) / 2)
    flat_TxN = np.full((300, 40), 0.001)
    scores = scored(rng.normal(size=(300, 40)), returns_TxN, calendar, expected_TxN=flat_TxN, lower=-reach, upper=reach)
    measures = measured(scores, calendar, at=301, window=300)
    assert measures["coverage"] == pytest.approx(coverage, abs=4 * math.sqrt(coverage * (1 - coverage) / 12_000))


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.3, 0.8])
def test_normal_scores_hit_as_often_as_their_correlation_says(calendar, correlation):
    """W. Sheppard 1899: two normals of correlation r have the same sign with probability 1/2 + arcsin(r) / pi."""
    scores_TxN, returns_TxN = panels(302, 40, correlation=correlation)
    measures = measured(scored(scores_TxN[:300], returns_TxN, calendar), calendar, at=301, window=300)
    assert measures["ic"] == pytest.approx(correlation, abs=0.04)
    assert measures["hit_rate"] == pytest.approx(0.5 + math.asin(correlation) / math.pi, abs=0.02)


def test_a_window_is_of_the_sessions_in_which_outcomes_became_known(calendar):
    scores_TxN, returns_TxN = panels(20, 4)
    scores = scored(scores_TxN, returns_TxN, calendar)
    assert measured(scores, calendar, at=10, window=3)["sessions"] == 3
    by_hand = scores.filter(pl.col("session").is_between(calendar.sessions[6], calendar.sessions[8]))
    assert measured(scores, calendar, at=10, window=3)["ic"] == pytest.approx(by_hand["ic_share"].sum() / 3)
    # The first outcome is known in the third session; before that there is nothing to say.
    assert measured(scores, calendar, at=3, window=30)["sessions"] == 2
    assert live_measures(scores, session=calendar.sessions[1], sessions=calendar.sessions, window=30).is_empty()
    # A version that was retired long ago has no measure any more.
    late = {"session": calendar.sessions[40], "sessions": calendar.sessions}
    assert live_measures(scores, window=10, **late).is_empty()


def test_a_session_without_any_outcome_is_not_counted(calendar):
    scores_TxN, returns_TxN = panels(20, 4)
    returns_TxN[8] = np.nan
    measures = measured(scored(scores_TxN, returns_TxN, calendar), calendar, at=10, window=4)
    assert [measures[name] for name in ("sessions", "forecasts", "unknown")] == [3, 12, 4]


def test_a_table_made_later_gives_the_measures_of_the_time(calendar):
    scores_TxN, returns_TxN = panels(30, 5)
    later = scored(scores_TxN, returns_TxN, calendar)
    for at in (5, 12, 20):
        then = scored(scores_TxN, returns_TxN, calendar, at=at)
        axis = {"session": calendar.sessions[at], "sessions": calendar.sessions, "window": 8}
        assert live_measures(later, **axis).equals(live_measures(then, **axis))


def test_nothing_after_a_session_changes_what_it_says_and_a_planted_leak_is_seen(calendar):
    sessions = list(calendar.sessions[:40])
    scores_TxN, returns_TxN = panels(40, 5)
    data = {
        "forecasts": forecast_rows(scores_TxN, calendar, execution=ONE),
        "returns": return_rows(returns_TxN, calendar),
    }

    def said(ahead):
        def compute(inputs):
            tables, measures = [], []
            for at in range(5, 40 - ahead, 5):
                axis = {"session": sessions[at + ahead], "sessions": sessions}
                with np.errstate(all="ignore"):
                    scores = forecast_scores(inputs["forecasts"], inputs["returns"], execution=ONE, served=True, **axis)
                    measured = live_measures(scores, window=10, **axis)
                now = pl.lit(sessions[at]).alias("session")
                tables.append(scores.rename({"session": "forecast_session"}).with_columns(now))
                measures.append(measured.with_columns(now))
            return {"scores": pl.concat(tables), "measures": pl.concat(measures)}

        return compute

    assert_no_lookahead(said(0), data, at=sessions[20], sessions=sessions)
    with pytest.raises(AssertionError, match="look-ahead: scores of"):
        assert_no_lookahead(said(1), data, at=sessions[20], sessions=sessions)


def test_no_forecasts_are_no_scores(calendar):
    axis = {"session": calendar.sessions[9], "sessions": calendar.sessions}
    scores = forecast_scores(
        FORECASTS.empty(), return_rows(np.zeros((10, 3)), calendar), execution=ONE, served=True, **axis
    )
    assert scores.equals(FORECAST_SCORES.empty())
    assert live_measures(scores, window=5, **axis).is_empty()


def test_two_forecasts_of_one_thing_by_one_version_are_refused(calendar):
    rows = forecast_rows(np.ones((2, 3)), calendar, execution=ONE)
    axis = {"session": calendar.sessions[9], "sessions": calendar.sessions, "execution": ONE, "served": True}
    twice = pl.concat([rows, rows.filter(pl.col("symbol") == "S01").with_columns(score=pl.lit(2, dtype=pl.Float32))])
    with pytest.raises(DataError, match=r"forecasts of v1: .* was more of S01 on 2019-01-02 over 1 sessions"):
        forecast_scores(twice, return_rows(np.zeros((10, 3)), calendar), **axis)


def test_forecasts_for_another_fill_are_refused(calendar):
    rows = forecast_rows(np.ones((2, 3)), calendar, execution=ONE.model_copy(update={"fill": "close_same"}))
    axis = {"session": calendar.sessions[9], "sessions": calendar.sessions, "execution": ONE, "served": True}
    with pytest.raises(
        DataError, match=r"S00 on 2019-01-02 by v1: .* fill by close_next, was 2019-01-02 to 2019-01-03"
    ):
        forecast_scores(rows, return_rows(np.zeros((10, 3)), calendar), **axis)
