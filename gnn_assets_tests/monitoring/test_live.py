from datetime import date, timedelta
from math import isnan

import numpy as np
import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.forecasts.live_portfolio import live_sharpe, no_portfolio
from gnn_assets.forecasts.live_scores import forecast_scores, live_measures
from gnn_assets.forecasts.schema import FORECAST_SCORES
from gnn_assets.monitoring.live import live_signals
from gnn_assets.monitoring.reasons import Reason
from gnn_assets_tests.forecasts.live import forecast_rows, panels, return_rows

CONFIG = build_config("test", {"live": {"window_sessions": 10}, "execution": {"horizon": 1}})
N_SESSIONS, N_NAMES = 40, 8
TODAY = N_SESSIONS - 1


@pytest.fixture(scope="module")
def calendar():
    grace = timedelta(minutes=30)
    return SessionCalendar.build("XNYS", first=date(2019, 1, 2), until=date(2019, 12, 31), grace=grace)


def served_by(calendar, scores_TxN, returns_TxN, *, served=True, last=None, since=0, version="v1", **facts):
    """Scored forecasts of the sessions from number `since` on; the table ends with session number `last`."""
    rows = forecast_rows(scores_TxN, calendar, execution=CONFIG.execution, version=version, **facts)
    return forecast_scores(
        rows.filter(pl.col("session") >= calendar.sessions[since]),
        return_rows(returns_TxN, calendar),
        session=calendar.sessions[TODAY if last is None else last],
        sessions=calendar.sessions,
        execution=CONFIG.execution,
        served=served,
    )


def portfolio(calendar, net_T, equal_T):
    days = pl.Series(calendar.sessions[: len(net_T)], dtype=pl.Date)
    return pl.DataFrame({"session": days, "net": net_T, "net_equal_weight": equal_T})


def signals(calendar, scores, *, held=None, at=TODAY, config=CONFIG):
    found = live_signals(
        scores,
        no_portfolio() if held is None else held,
        session=calendar.sessions[at],
        config=config,
    )
    return {signal.reason: signal for signal in found}


@pytest.fixture
def market(calendar):
    """Scores that foretell a little, forecasts of their size, and returns."""
    scores_TxN, returns_TxN = panels(N_SESSIONS, N_NAMES)
    return scores_TxN * 0.003, returns_TxN


def test_there_is_a_signal_for_each_alarm_and_it_says_what_over_and_by_whom(calendar, market):
    found = signals(calendar, served_by(calendar, *market))
    assert list(found) == [Reason.SHARPE_BELOW_BENCHMARK, Reason.ACCURACY_DROP, Reason.COVERAGE_MISS]
    assert {signal.asset for signal in found.values()} == {"forecast_scores"}
    assert {signal.evidence for signal in found.values()} == {f"v1 served on {calendar.sessions[TODAY]}"}
    first, last = calendar.sessions[TODAY - 9], calendar.sessions[TODAY]
    for reason in (Reason.ACCURACY_DROP, Reason.COVERAGE_MISS):
        assert found[reason].window == f"10 sessions with outcomes, {first} to {last}"
    assert found[Reason.SHARPE_BELOW_BENCHMARK].window == f"10 sessions to {last}"


def test_values_are_those_of_the_last_sessions(calendar, market):
    scores = served_by(calendar, *market)
    found = signals(calendar, scores)
    today = calendar.sessions[TODAY]
    measures = live_measures(scores, session=today, sessions=calendar.sessions, window=10).row(0, named=True)
    assert found[Reason.ACCURACY_DROP].value == measures["rmse_ratio"]
    assert found[Reason.COVERAGE_MISS].value == measures["coverage"]
    assert found[Reason.ACCURACY_DROP].limit == CONFIG.gate.max_rmse_ratio
    assert found[Reason.COVERAGE_MISS].limit == pytest.approx(0.7)


@pytest.mark.parametrize("worth", [0.002, -0.002])
def test_a_ratio_below_its_limit_is_an_alarm(calendar, market, worth):
    rng = np.random.default_rng(3)
    equal_T = rng.normal(scale=0.01, size=N_SESSIONS)
    held = portfolio(calendar, equal_T + worth, equal_T)
    signal = signals(calendar, served_by(calendar, *market), held=held)[Reason.SHARPE_BELOW_BENCHMARK]
    newest = live_sharpe(held, live=CONFIG.live, sessions_per_year=CONFIG.backtests.sessions_per_year).row(-1)
    assert (signal.value, signal.limit) == (newest[1], newest[3])
    assert signal.firing is (worth < 0)


def test_forecasts_that_err_more_than_the_naive_one_are_an_alarm(calendar, market):
    scores_TxN, returns_TxN = market
    assert not signals(calendar, served_by(calendar, *market))[Reason.ACCURACY_DROP].firing
    wrong = served_by(calendar, scores_TxN, returns_TxN, expected_TxN=-8 * scores_TxN)
    assert signals(calendar, wrong)[Reason.ACCURACY_DROP].firing


def test_intervals_that_hold_too_little_are_an_alarm(calendar, market):
    wide = served_by(calendar, *market, lower=-0.03, upper=0.03)
    narrow = served_by(calendar, *market, lower=-0.001, upper=0.001)
    assert not signals(calendar, wide)[Reason.COVERAGE_MISS].firing
    assert signals(calendar, narrow)[Reason.COVERAGE_MISS].firing


def test_what_was_not_served_does_not_count(calendar, market):
    scores_TxN, returns_TxN = market
    served = served_by(calendar, *market)
    worse = served_by(
        calendar, scores_TxN, returns_TxN, served=False, version="v2", expected_TxN=-8 * scores_TxN, upper=-0.01
    )
    assert signals(calendar, pl.concat([served, worse])) == signals(calendar, served)
    alone = signals(calendar, worse)
    assert all(isnan(signal.value) and not signal.firing for signal in alone.values())
    assert {signal.evidence for signal in alone.values()} == {"nothing was served yet"}


def test_champions_that_served_one_after_another_are_judged_as_one_record(calendar, market):
    """Each of them is younger than the window: alone none would ever be judged."""
    alone = served_by(calendar, *market)
    versions = pl.Series([f"v{day.toordinal() // 7}" for day in alone["session"]])
    changing = alone.with_columns(version=versions)
    of_one, of_many = signals(calendar, alone), signals(calendar, changing)
    assert {reason: signal.value for reason, signal in of_many.items() if not isnan(signal.value)} == {
        reason: signal.value for reason, signal in of_one.items() if not isnan(signal.value)
    }
    assert of_many[Reason.COVERAGE_MISS].evidence.startswith(f"{versions[-1]} ")


@pytest.mark.parametrize(("since", "count"), [(28, 10), (29, 9), (39, 0)])
def test_until_as_many_sessions_have_an_outcome_as_the_window_has_nothing_is_known(calendar, market, since, count):
    # What is forecast at the close of number 28 ends at number 30.
    found = signals(calendar, served_by(calendar, *market, since=since))
    for reason in (Reason.ACCURACY_DROP, Reason.COVERAGE_MISS):
        assert isnan(found[reason].value) is (count < 10)
        assert found[reason].window.endswith(f"of which there are {count}") is (count < 10)


def test_a_session_that_was_missed_makes_the_window_reach_further_back(calendar, market):
    scores = served_by(calendar, *market)
    missed = scores.filter(~pl.col("session").is_in(calendar.sessions[32:35]))
    found = signals(calendar, missed)[Reason.COVERAGE_MISS]
    assert found.window == f"10 sessions with outcomes, {calendar.sessions[27]} to {calendar.sessions[TODAY]}"
    by_hand = missed.filter(pl.col("session") >= calendar.sessions[25], pl.col("realised").is_not_null())
    assert by_hand["session"].n_unique() == 10
    assert found.value == by_hand["covered"].mean()


def test_a_portfolio_younger_than_the_window_has_no_ratio(calendar, market):
    rng = np.random.default_rng(3)
    scores = served_by(calendar, *market)
    for length, known in ((9, False), (10, True)):
        held = portfolio(calendar, *rng.normal(scale=0.01, size=(2, length)))
        signal = signals(calendar, scores, held=held, at=length - 1)[Reason.SHARPE_BELOW_BENCHMARK]
        assert isnan(signal.value) is isnan(signal.limit) is not known
        assert not (isnan(signal.value) and signal.firing)


def test_nothing_later_than_the_session_counts(calendar, market):
    rng = np.random.default_rng(3)
    held = portfolio(calendar, *rng.normal(scale=0.01, size=(2, N_SESSIONS)))
    later = signals(calendar, served_by(calendar, *market), held=held, at=25)
    then = signals(calendar, served_by(calendar, *market, last=25), held=held.head(26), at=25)
    assert later == then
    assert not any(isnan(signal.value) for signal in then.values())


def test_a_calendar_younger_than_the_window_and_no_scores_at_all_are_no_alarm(calendar, market):
    young = signals(calendar, served_by(calendar, *market, last=5), at=5)
    empty = signals(calendar, FORECAST_SCORES.empty())
    for found in (young, empty):
        assert all(isnan(signal.value) and not signal.firing for signal in found.values())
