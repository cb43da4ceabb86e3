"""Chance: pasts drawn anew, alarms counted as decisions count them, and the limit at the stated rate."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.core.config import build_config
from gnn_assets.monitoring.decide import Memory, decide
from gnn_assets.monitoring.quiet import alarm_limit, alarms_begun, enough, quiet_pasts
from gnn_assets.monitoring.reasons import Reason, Signal
from gnn_assets_tests.monitoring.quiet_market import remembering

CONFIG = build_config("sample").drift
RETRAIN = build_config("sample").retrain
paths = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 40)),
    elements=st.integers(-12, 12).map(float) | st.just(float("nan")),
)


def with_(**changed):
    return CONFIG.model_copy(update=changed)


@given(paths, st.integers(-8, 10), st.sampled_from([0.0, 0.1, 0.5]))
@settings(max_examples=60)
def test_an_alarm_begins_where_a_decision_begins_its_episode(values, limit, hysteresis):
    config = RETRAIN.model_copy(update={"hysteresis": hysteresis})
    begun = alarms_begun(values, float(limit), hysteresis=hysteresis)
    session = date(2020, 1, 2)
    for path, begun_S in zip(values, begun, strict=True):
        memory = Memory()
        for value, begins in zip(path, begun_S, strict=True):
            before = memory.episodes
            signal = Signal(Reason.FEATURE_DRIFT, "features", float(value), float(limit), "above", "", "")
            now = datetime.combine(session, datetime.min.time(), tzinfo=UTC) + timedelta(hours=22)
            memory = decide([signal], memory, session=session, sessions=(session,), now=now, config=config).memory
            assert begins == (bool(memory.episodes) and not before)


@given(paths, st.integers(1, 80), st.sampled_from([0.0, 0.1, 0.5]))
def test_at_the_limit_which_is_one_of_the_values_alarms_keep_to_the_rate(values, sessions_per_alarm, hysteresis):
    limit = alarm_limit(values, hysteresis=hysteresis, sessions_per_alarm=sessions_per_alarm)
    if not np.isfinite(values).any():
        assert np.isnan(limit)
        return
    assert limit in values
    allowed = int(values.size / sessions_per_alarm)
    assert alarms_begun(values, limit, hysteresis=hysteresis).sum() <= allowed


def test_just_below_the_limit_alarms_are_more_frequent():
    values = remembering(np.random.default_rng(1), (2000, 20), 0.9).T
    limit = alarm_limit(values, hysteresis=0.1, sessions_per_alarm=252)
    below = np.sort(values[values < limit])[-20]
    allowed = int(values.size / 252)
    assert alarms_begun(values, limit, hysteresis=0.1).sum() <= allowed
    assert alarms_begun(values, below, hysteresis=0.1).sum() > allowed


def test_a_limit_below_which_alarms_never_end_is_none():
    """One alarm a path is what the rate allows, and is all there is at a limit that every value is above."""
    values = 10 + remembering(np.random.default_rng(2), (100, 50), 0.0).T
    limit = alarm_limit(values, hysteresis=0.1, sessions_per_alarm=100)
    assert alarms_begun(values, 5.0, hysteresis=0.1).sum() == 50
    assert limit > 11


def test_pasts_live_sessions_of_the_reference_in_blocks_as_long_as_its_memory():
    def follow(series_T, **changed):
        pasts = quiet_pasts(series_T[:, None], lived=700, config=with_(paths=40, **changed))
        assert pasts.reference_RxT.shape == (40, 500)
        assert pasts.lived_RxL.shape == (40, 700)
        rows = pasts.reference_RxT
        assert ((rows >= 0) & (rows < 500)).all()
        return (rows[:, 1:] == (rows[:, :-1] + 1) % 500).mean()

    rng = np.random.default_rng(3)
    none, long = remembering(rng, 500, 0.0), remembering(rng, 500, 0.95)
    assert follow(none, block=10) == pytest.approx(1 - 1 / 10, abs=0.02)
    assert follow(none, block=50) == pytest.approx(1 - 1 / 50, abs=0.01)
    assert follow(long, block=10) > 0.96
    assert follow(np.ones(500), block=10) == pytest.approx(1 - 1 / 10, abs=0.02)


def test_one_series_with_a_memory_among_many_sets_the_block_also_where_some_of_it_is_unknown():
    rng = np.random.default_rng(3)
    series = np.stack([remembering(rng, 500, 0.0), remembering(rng, 500, 0.95), np.zeros(500)], axis=1)
    series[rng.random(series.shape) < 0.02] = np.nan
    rows = quiet_pasts(series, lived=10, config=with_(paths=40)).reference_RxT
    assert (rows[:, 1:] == (rows[:, :-1] + 1) % 500).mean() > 0.95


def test_pasts_are_the_seed_s_and_their_two_parts_are_drawn_apart():
    series = np.random.default_rng(0).normal(size=(300, 1))
    one, same, other = (quiet_pasts(series, lived=300, config=with_(paths=5, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.lived_RxL, same.lived_RxL)
    assert (one.lived_RxL != other.lived_RxL).any()
    assert (one.lived_RxL != one.reference_RxT).mean() > 0.9


def test_a_reference_is_long_enough_from_so_many_windows_on():
    assert enough(4 * 63, config=with_(window=63, history_windows=4))
    assert not enough(4 * 63 - 1, config=with_(window=63, history_windows=4))
