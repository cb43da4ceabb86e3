"""When a promotion is taken back: how often by chance, and how surely where it was a mistake."""

import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gnn_assets.backtests.significance import standard_error
from gnn_assets.core.config import build_config
from gnn_assets.monitoring.reasons import RESPONSES, Response
from gnn_assets.registry.reversed import reversed_signal
from gnn_assets_tests.registry.test_paired import noise

CONFIG = build_config("sample")
WINDOW = CONFIG.live.window_sessions
LEVEL = (1 - CONFIG.backtests.confidence) / 2
LOOKS = 10
DAYS = [date(2020, 1, 1) + timedelta(days=number) for number in range(LOOKS * WINDOW + 5)]


def series(ic_T, *, first: int = 0) -> pl.DataFrame:
    return pl.DataFrame(
        {"session": DAYS[first : first + len(ic_T)], "ic": ic_T},
        schema={"session": pl.Date, "ic": pl.Float64},
        nan_to_null=True,
    )


def signal(champion_T, predecessor_T):
    return reversed_signal(series(champion_T), series(predecessor_T), versions=("new" * 8, "old" * 8), config=CONFIG)


def pair(seed: int, sessions: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return noise(rng, sessions), noise(rng, sessions)


def test_a_predecessor_that_is_clearly_better_fires_and_says_over_what():
    champion_T, predecessor_T = pair(1, 4 * WINDOW + 3)
    found = signal(champion_T, predecessor_T + 0.15)
    assert found.firing
    assert RESPONSES[found.reason] is Response.ROLL_BACK
    assert (found.limit, found.worse, found.asset) == (0.0, "above", "champion")
    assert found.window == f"{4 * WINDOW} sessions since the promotion, look 4, one every {WINDOW}"
    assert found.evidence.startswith("paired IC of oldoldoldold minus newnewnewnew: +0.1")
    assert found.evidence.endswith(f"up to {DAYS[4 * WINDOW - 1]}")


@pytest.mark.parametrize("looks", [1, 2, 5])
def test_the_value_is_the_lower_end_of_students_interval_at_the_looks_own_part_of_the_rate(looks):
    champion_T, predecessor_T = pair(2, looks * WINDOW)
    difference_T = predecessor_T - champion_T
    freedom = max(difference_T.size / CONFIG.backtests.bootstrap_block - 1, 1)
    reach = stats.t.isf(LEVEL / (looks * (looks + 1)), freedom)
    expected = difference_T.mean() - reach * standard_error(difference_T, config=CONFIG.backtests)
    assert signal(champion_T, predecessor_T).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("sessions", [0, 1, WINDOW - 1])
def test_before_the_first_look_nothing_is_known(sessions):
    found = signal(np.zeros(sessions), np.ones(sessions))
    assert math.isnan(found.value)
    assert not found.firing
    assert "look 0" in found.window


def test_outcomes_still_to_come_are_no_look():
    champion_T, predecessor_T = pair(3, WINDOW)
    champion_T[-1] = np.nan
    assert math.isnan(signal(champion_T, predecessor_T).value)


def test_a_champion_that_is_its_predecessors_equal_stays():
    champion_T, _ = pair(4, 2 * WINDOW)
    assert signal(champion_T, champion_T).value == 0
    assert not signal(champion_T, champion_T).firing


def test_a_session_told_twice_is_refused():
    twice = pl.concat([series(np.ones(WINDOW))] * 2)
    with pytest.raises(pl.exceptions.ComputeError):
        reversed_signal(twice, series(np.ones(WINDOW)), versions=("a", "b"), config=CONFIG)


@given(extra=st.integers(0, WINDOW - 1), seed=st.integers(0, 10_000))
def test_between_two_looks_the_last_one_stands_whatever_comes(extra, seed):
    champion_T, predecessor_T = pair(5, WINDOW)
    later_T, sooner_T = pair(seed, extra)
    again = signal(np.append(champion_T, later_T), np.append(predecessor_T, sooner_T - 1))
    assert again == signal(champion_T, predecessor_T)


@given(gain=st.floats(-0.5, 0.5), seed=st.integers(0, 100))
def test_a_gain_of_the_predecessor_moves_the_value_by_as_much(gain, seed):
    champion_T, predecessor_T = pair(seed, 2 * WINDOW)
    base, moved = signal(champion_T, predecessor_T), signal(champion_T, predecessor_T + gain)
    assert moved.value - base.value == pytest.approx(gain, abs=1e-9)


@given(seed=st.integers(0, 1000))
def test_at_most_one_of_two_is_better_than_the_other(seed):
    champion_T, predecessor_T = pair(seed, WINDOW)
    assert not (signal(champion_T, predecessor_T).firing and signal(predecessor_T, champion_T).firing)


@given(order=st.permutations(range(2 * WINDOW)))
def test_the_order_of_the_rows_says_nothing(order):
    champion_T, predecessor_T = pair(6, 2 * WINDOW)
    shuffled = reversed_signal(
        series(champion_T)[list(order)], series(predecessor_T), versions=("new" * 8, "old" * 8), config=CONFIG
    )
    assert shuffled == signal(champion_T, predecessor_T)


def false_reversals(seeds: range, *, gain: float = 0.0) -> float:
    """Share of promotions that are taken back within ten looks, where the predecessor is better by `gain`."""
    pairs = {seed: pair(seed, LOOKS * WINDOW) for seed in seeds}
    taken_back: set[int] = set()
    # Look by look: the draws of the bootstrap are those of the length.
    for look in range(1, LOOKS + 1):
        for seed, (champion_T, predecessor_T) in pairs.items():
            if seed not in taken_back:
                part = slice(look * WINDOW)
                if signal(champion_T[part], predecessor_T[part] + gain).firing:
                    taken_back.add(seed)
    return len(taken_back) / len(pairs)


@pytest.mark.slow
def test_a_promotion_that_changed_nothing_is_hardly_ever_taken_back_within_ten_looks():
    assert false_reversals(range(60)) <= 2 / 60


@pytest.mark.slow
def test_a_promotion_that_lost_much_is_taken_back_within_ten_looks():
    assert false_reversals(range(20), gain=0.06) >= 0.9


@pytest.mark.drill
def test_of_two_thousand_promotions_that_changed_nothing_no_more_than_stated_are_taken_back_within_ten_looks():
    rate = false_reversals(range(1000, 3000))
    print(f"{rate:.2%} of 2000 taken back within {LOOKS} looks, {LEVEL:.2%} stated")
    assert rate <= LEVEL
