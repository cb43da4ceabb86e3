"""The look-ahead helper itself: it passes what is causal and catches what is not."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from gnn_assets_tests.lookahead import assert_no_lookahead

SESSIONS = [date(2020, 1, 1) + timedelta(days=day) for day in range(40)]
VALUES = np.random.default_rng(0).normal(size=(40, 3))
FRAME = pl.DataFrame({"session": SESSIONS, "symbol": "A", "value": VALUES[:, 0]})


def trailing_mean(values):
    return np.stack([values[max(row - 4, 0) : row + 1].mean(axis=0) for row in range(len(values))])


def centred_mean(values):
    return np.stack([np.nanmean(values[max(row - 2, 0) : row + 3], axis=0) for row in range(len(values))])


@pytest.mark.parametrize("row", [0, 17, 39])
def test_a_trailing_window_of_an_array_passes(row):
    assert_no_lookahead(
        lambda data: {"mean": trailing_mean(data["x"])}, {"x": VALUES}, at=SESSIONS[row], sessions=SESSIONS
    )


def test_a_planted_centred_window_of_an_array_is_caught_at_the_first_session_it_reaches():
    with pytest.raises(AssertionError, match=f"mean of {SESSIONS[16]} changed"):
        assert_no_lookahead(
            lambda data: {"mean": centred_mean(data["x"])}, {"x": VALUES}, at=SESSIONS[17], sessions=SESSIONS
        )


@pytest.mark.parametrize(("centred", "leaks"), [(False, False), (True, True)])
def test_a_rolling_mean_of_a_frame_is_caught_only_when_centred(centred, leaks):
    def compute(data):
        mean = pl.col("value").rolling_mean(5, min_samples=1, center=centred)
        return {"mean": data["bars"].with_columns(mean)}

    if leaks:
        with pytest.raises(AssertionError, match="look-ahead: mean of 2020-01-1"):
            assert_no_lookahead(compute, {"bars": FRAME}, at=SESSIONS[17], sessions=SESSIONS)
    else:
        assert_no_lookahead(compute, {"bars": FRAME}, at=SESSIONS[17], sessions=SESSIONS)


def test_a_normalisation_over_the_whole_history_is_caught():
    with pytest.raises(AssertionError, match=f"scaled of {SESSIONS[0]}"):
        assert_no_lookahead(
            lambda data: {"scaled": data["x"] / np.nanmax(np.abs(data["x"]), axis=0)},
            {"x": VALUES},
            at=SESSIONS[30],
            sessions=SESSIONS,
        )


def test_a_result_that_exists_only_because_of_the_future_is_caught():
    def survivors(data):
        alive = data["bars"].filter(pl.col("session") == SESSIONS[-1])["symbol"]
        return {"bars": data["bars"].filter(pl.col("symbol").is_in(alive.implode()))}

    with pytest.raises(AssertionError, match="became nothing"):
        assert_no_lookahead(survivors, {"bars": FRAME}, at=SESSIONS[20], sessions=SESSIONS)
