from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.core.config import build_config
from gnn_assets.monitoring.decide import Memory, decide
from gnn_assets.monitoring.reasons import RESPONSES, Reason, Response, Signal

CONFIG = build_config("test").retrain
DAYS = [day for day in (date(2020, 1, 1) + timedelta(days=n) for n in range(400)) if day.weekday() < 5]
TRAINING = [reason for reason in Reason if RESPONSES[reason] is Response.TRAIN]


def signal(value=3.0, *, reason=Reason.GRAPH_DRIFT, limit=2.0, worse="above"):
    return Signal(reason, "graph_drift", value, limit, worse, "60 sessions", "2020-03-12")


def at(day, hour=22):
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def decided(signals, memory=None, *, day=DAYS[0], hour=22, config=CONFIG):
    return decide(signals, memory or Memory(), session=day, sessions=DAYS, now=at(day, hour), config=config)


def ended(memory, state, *, at_moment=None):
    return replace(memory, training=replace(memory.training, state=state, ended_at=at_moment))


# ---- what begins a training --------------------------------------------------------------------------------------


def test_a_value_beyond_its_limit_trains_a_challenger_and_says_why():
    decision = decided(
        [signal(3.4, limit=2.1), signal(0.6, reason=Reason.SHARPE_BELOW_BENCHMARK, limit=0.5, worse="below")]
    )
    assert decision.action == "train"
    assert decision.sentence == "graph_drift 3.4 > 2.1"
    both = decided(
        [signal(3.4, limit=2.1), signal(-0.8, reason=Reason.SHARPE_BELOW_BENCHMARK, limit=0.5, worse="below")]
    )
    assert both.sentence == "graph_drift 3.4 > 2.1; sharpe_below_benchmark -0.8 < 0.5"


@pytest.mark.parametrize("value", [2.0, 1.0, nan])
def test_a_value_within_its_limit_or_unknown_does_nothing(value):
    assert decided([signal(value)]).action == "none"


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in TRAINING])
def test_what_is_answered_otherwise_trains_nothing_but_is_an_episode(reason):
    decision = decided([signal(reason=reason)])
    assert decision.action == "none"
    assert reason in decision.memory.episodes


def test_every_reason_has_a_response():
    assert set(RESPONSES) == set(Reason)


# ---- episodes ----------------------------------------------------------------------------------------------------


def test_an_episode_trains_once_however_long_it_lasts():
    memory = ended(decided([signal()]).memory, "trained")
    for day in DAYS[1:60]:
        decision = decided([signal()], memory, day=day)
        assert decision.action == "none"
        memory = decision.memory


def test_a_value_that_trembles_at_its_limit_begins_no_second_episode():
    memory = ended(decided([signal(2.1)]).memory, "trained")
    just_below = 2.0 * (1 - CONFIG.hysteresis) + 0.01
    for day, value in zip(DAYS[1:60], [just_below, 2.1, nan, 2.1] * 15, strict=False):
        decision = decided([signal(value)], memory, day=day)
        assert decision.action == "none"
        memory = decision.memory


def test_a_value_that_came_back_and_left_again_is_a_new_episode():
    memory = ended(decided([signal()]).memory, "trained")
    memory = decided([signal(2.0 * (1 - CONFIG.hysteresis))], memory, day=DAYS[1]).memory
    assert memory.episodes == {}
    assert decided([signal()], memory, day=DAYS[CONFIG.pause_sessions]).action == "train"


def test_an_alarm_that_ends_before_it_could_train_trains_nothing():
    memory = ended(decided([signal()]).memory, "trained")
    other = signal(reason=Reason.FEATURE_DRIFT)
    held = decided([other], memory, day=DAYS[1])
    assert held.action == "hold"
    over = decided([replace(other, value=0.0)], held.memory, day=DAYS[2])
    assert over.action == "none"
    assert decided([], over.memory, day=DAYS[40]).action == "none"


def test_an_alarm_about_something_else_is_another_episode():
    """Drift of the next champion, the recipe after the next: their alarm must not be swallowed by the one before."""
    memory = ended(decided([replace(signal(), subject="a champion")]).memory, "trained")
    later = DAYS[CONFIG.pause_sessions]
    assert decided([replace(signal(), subject="a champion")], memory, day=later).action == "none"
    other = decided([replace(signal(), subject="the next one")], memory, day=later)
    assert other.action == "train"


def test_an_episode_ends_when_what_it_was_about_is_no_more_though_nothing_is_known_of_the_next():
    memory = ended(decided([replace(signal(), subject="a champion")]).memory, "trained")
    young = decided([replace(signal(nan), subject="the next one")], memory, day=DAYS[1])
    assert young.memory.episodes == {}
    back = decided([replace(signal(), subject="a champion")], young.memory, day=DAYS[CONFIG.pause_sessions])
    assert back.action == "train"


# ---- pauses ------------------------------------------------------------------------------------------------------


def test_what_comes_in_the_pause_is_held_back_and_trains_after_it():
    memory = ended(decided([signal()]).memory, "trained")
    for day in DAYS[1 : CONFIG.pause_sessions]:
        decision = decided([signal(reason=Reason.FEATURE_DRIFT)], memory, day=day)
        assert decision.action == "hold"
        assert f"of {CONFIG.pause_sessions} to pause" in decision.cause
        memory = decision.memory
    after = decided([], memory, day=DAYS[CONFIG.pause_sessions])
    assert after.action == "train"
    assert after.sentence == "feature_drift 3 > 2"


def test_nothing_is_asked_for_while_a_challenger_is_trained():
    memory = decided([signal()]).memory
    held = decided([signal(reason=Reason.FEATURE_DRIFT)], memory, day=DAYS[50])
    assert (held.action, held.cause) == ("hold", "a challenger is being trained")


def test_a_failed_training_is_tried_again_each_time_later_and_given_up_until_the_pause_is_over():
    decision = decided([signal()], hour=0)
    moment, actions = at(DAYS[0], 0), ["train"]
    for hours in range(1, 24 * 60):
        now = at(DAYS[0], 0) + timedelta(hours=hours)
        day = max(one for one in DAYS if one <= now.date())
        memory = decision.memory
        if memory.training.state == "asked":
            memory, moment = ended(memory, "failed", at_moment=now), now
        decision = decide([signal()], memory, session=day, sessions=DAYS, now=now, config=CONFIG)
        if decision.action == "retry":
            assert now - moment >= timedelta(hours=CONFIG.retry_hours * 2 ** (memory.training.attempt - 1))
        elif decision.action == "train":
            # The alarm lasts and nobody was trained: another order, after the pause and not before.
            assert memory.training.attempt == CONFIG.attempts
            assert DAYS.index(day) - DAYS.index(memory.training.session) >= CONFIG.pause_sessions
        elif memory.training.attempt == CONFIG.attempts:
            assert decision.cause.startswith(f"given up after {CONFIG.attempts} tries")
        if decision.asks:
            actions.append(decision.action)
    one_order = ["train", *["retry"] * (CONFIG.attempts - 1)]
    assert actions[: 2 * CONFIG.attempts] == one_order * 2
    assert len(actions) <= CONFIG.attempts * (1 + 60 // CONFIG.pause_sessions)


# ---- for any history ---------------------------------------------------------------------------------------------

values = st.sampled_from([0.0, 1.9, 2.1, 5.0, nan])
steps = st.lists(
    st.tuples(
        st.integers(1, 30),  # hours until the next look
        st.dictionaries(st.sampled_from(list(Reason)), values, max_size=4),
        st.sampled_from(["asked", "trained", "failed"]),
    ),
    max_size=120,
)


@given(steps, st.integers(1, 3), st.integers(1, 6), st.integers(1, 4))
def test_whatever_comes_it_keeps_its_limits(history, most, pause, attempts):
    config = CONFIG.model_copy(update={"most_a_session": most, "pause_sessions": pause, "attempts": attempts})
    memory, now = Memory(), at(DAYS[0])
    asked: list[tuple[str, date]] = []
    answered: dict[tuple[Reason, date], int] = {}
    excused: dict[tuple[Reason, date], int] = {}
    for hours, told, fate in history:
        now += timedelta(hours=hours)
        day = max(one for one in DAYS if one <= now.date())
        if memory.training is not None and memory.training.state == "asked":
            memory = ended(memory, fate, at_moment=now)
            if fate == "failed" and memory.training.attempt == attempts:
                for reason in {one.reason for one in memory.training.signals} & memory.episodes.keys():
                    key = (reason, memory.episodes[reason].since)
                    excused[key] = excused.get(key, 0) + 1
        signals = [signal(value, reason=reason) for reason, value in told.items()]
        before = memory
        decision = decide(signals, memory, session=day, sessions=DAYS, now=now, config=config)
        memory = decision.memory
        assert decision == decide(signals, before, session=day, sessions=DAYS, now=now, config=config)
        if not decision.asks:
            continue
        assert decision.signals
        assert all(RESPONSES[one.reason] is Response.TRAIN for one in decision.signals)
        assert memory.training.attempt <= attempts
        if decision.action == "train":
            for reason in (one.reason for one in decision.signals):
                key = (reason, memory.episodes[reason].since)
                answered[key] = answered.get(key, 0) + 1
        asked.append((decision.action, day))
    # One an episode, but for those whose training failed to the last try.
    assert all(count <= 1 + excused.get(key, 0) for key, count in answered.items())
    for day in {day for _, day in asked}:
        assert sum(one == day for _, one in asked) <= most
    begun = [DAYS.index(day) for action, day in asked if action == "train"]
    assert all(later - earlier >= pause for earlier, later in pairwise(begun))
