from datetime import UTC, datetime, timedelta

import pytest

from gnn_assets.core.clock import LiveClock, ReplayClock, SnapshotClock

MOMENT = datetime(2022, 12, 28, 21, 30, tzinfo=UTC)


def test_the_live_clock_is_the_machines_aware_and_in_utc():
    before = datetime.now(UTC)
    now = LiveClock().now()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


def test_a_snapshot_stands_still():
    clock = SnapshotClock(MOMENT)
    assert clock.now() == clock.now() == MOMENT


def test_a_replay_moves_by_hand_and_forwards_only():
    clock = ReplayClock(MOMENT)
    clock.advance_to(MOMENT + timedelta(days=1))
    clock.advance_to(MOMENT + timedelta(days=1))
    assert clock.now() == MOMENT + timedelta(days=1)
    with pytest.raises(ValueError, match="time runs forwards"):
        clock.advance_to(MOMENT)
    assert clock.now() == MOMENT + timedelta(days=1)
