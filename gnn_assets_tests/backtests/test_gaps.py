from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest

from gnn_assets.backtests.gaps import gap_sizes
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError
from gnn_assets.core.sessions import SessionCalendar

CONFIG = build_config(
    "test", {"backtests": {"rebalance_sessions": 1, "sizing": {"gap": {"days": 2, "window": 400, "min_gaps": 10}}}}
)


@pytest.fixture(scope="module")
def calendar() -> SessionCalendar:
    return SessionCalendar.build("XNYS", first=date(2015, 1, 2), until=date(2017, 3, 1), grace=timedelta(minutes=30))


@pytest.fixture(scope="module")
def sessions(calendar) -> tuple[date, ...]:
    return calendar.between(date(2015, 1, 2), date(2016, 12, 30))


@pytest.fixture(scope="module")
def returns_TxN(sessions) -> np.ndarray:
    """Names of very different volatility; after a weekend each moves twice as much."""
    rng = np.random.default_rng(0)
    moves_TxN = rng.normal(size=(len(sessions), 60)) * np.geomspace(0.001, 0.1, 60)
    after_gap_T = np.append(False, [(b - a).days > 2 for a, b in pairwise(sessions)])
    return moves_TxN * np.where(after_gap_T, 2.0, 1.0)[:, None]


@pytest.fixture
def sizes(calendar, sessions, returns_TxN):
    def sizes(*days, returns=returns_TxN, fill="close_next", gap=None, **changed):
        rows_R = np.array([sessions.index(day) for day in days])
        sizing = CONFIG.backtests.sizing
        sizing = sizing.model_copy(update={"gap": sizing.gap.model_copy(update=gap or {})})
        config = CONFIG.backtests.model_copy(update={"sizing": sizing, **changed})
        execution = CONFIG.execution.model_copy(update={"fill": fill})
        return gap_sizes(rows_R, returns, sessions=sessions, calendar=calendar, execution=execution, config=config)

    return sizes


def test_known_answer_what_fills_on_a_friday_is_halved_where_a_weekend_doubles_the_moves(sizes):
    # From the signal of a Thursday, filled on Friday, to that of the Friday, filled on Monday.
    week = [date(2016, 11, 7) + timedelta(days=day) for day in range(5)]
    np.testing.assert_allclose(sizes(*week), [1, 1, 1, 0.5, 1], rtol=0.02)
    np.testing.assert_allclose(sizes(*week, fill="close_same"), [1, 1, 1, 1, 0.5], rtol=0.02)


def test_a_holiday_in_the_week_is_told_by_the_calendar(sizes):
    # 2016-11-24 is Thanksgiving: two days apart, no gap beyond two; beyond one it is.
    before = date(2016, 11, 22)
    assert sizes(before) == 1.0
    assert sizes(before, gap={"days": 1})[0] < 0.9


def test_only_long_weekends_count_where_ordinary_ones_are_no_gap(sizes):
    # Labor Day is 2016-09-05. One session in five of the others comes after a weekend, and has four times the variance.
    friday_fills = [date(2016, 8, 25), date(2016, 9, 1)]
    np.testing.assert_allclose(sizes(*friday_fills, gap={"days": 3}), [1, np.sqrt(1.6 / 4)], rtol=0.1)


def test_known_answer_over_a_week_one_gap_is_one_session_of_five(sizes):
    result = sizes(date(2016, 11, 7), rebalance_sessions=5)
    assert result[0] == pytest.approx(np.sqrt(5 / (4 + 4)), rel=0.02)


def test_a_month_has_the_gaps_of_that_month(sizes, calendar):
    # Signals of the first sessions of November and of December 2016, filled a session later.
    held = calendar.between(date(2016, 11, 2), date(2016, 12, 2))
    gaps = sum((b - a).days > 2 for a, b in pairwise(held))
    n = len(held) - 1
    result = sizes(date(2016, 11, 1), rebalance="month")
    assert result[0] == pytest.approx(np.sqrt(n / (n - gaps + 4 * gaps)), rel=0.02)


def test_at_the_end_of_the_data_the_calendar_knows_what_comes(sizes, sessions):
    # The last session is Friday 2016-12-30; Monday is a holiday.
    assert sessions[-1] == date(2016, 12, 30)
    np.testing.assert_allclose(sizes(sessions[-1], fill="close_same"), 0.5, rtol=0.02)


def test_nothing_is_cut_where_gaps_are_calmer_or_too_few_were_seen(sizes, sessions, returns_TxN):
    friday_fill = date(2016, 11, 10)
    after_gap_T = np.append(False, [(b - a).days > 2 for a, b in pairwise(sessions)])
    calm_TxN = np.where(after_gap_T[:, None], returns_TxN / 4, returns_TxN)
    assert sizes(friday_fill, returns=calm_TxN) == 1.0
    assert sizes(friday_fill, gap={"min_gaps": 200}) == 1.0
    assert sizes(date(2015, 2, 5)) == 1.0
    assert sizes(friday_fill, returns=np.full_like(returns_TxN, np.nan)) == 1.0
    assert sizes(friday_fill, returns=np.zeros_like(returns_TxN)) == 1.0


def test_names_that_are_absent_or_stand_still_have_no_say(sizes, returns_TxN):
    odd_TxN = returns_TxN.copy()
    odd_TxN[:, 7] = np.nan
    odd_TxN[:, 8] = 0.0
    odd_TxN[::3, 9] = np.nan
    day = date(2016, 11, 10)
    np.testing.assert_allclose(sizes(day, returns=odd_TxN), sizes(day), rtol=0.02)


def test_a_row_that_is_no_session_is_refused(calendar, returns_TxN):
    days = [date(2016, 1, 1) + timedelta(days=day) for day in range(3)]
    with pytest.raises(ConfigError, match="session: expected a session of XNYS"):
        gap_sizes(
            np.array([0]),
            returns_TxN[:3],
            sessions=days,
            calendar=calendar,
            execution=CONFIG.execution,
            config=CONFIG.backtests,
        )
