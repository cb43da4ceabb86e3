from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnn_assets.core.config import build_config
from gnn_assets.forecasts.calibrate import Calibration
from gnn_assets.forecasts.predict import forecast_frame
from gnn_assets.forecasts.schema import FORECASTS

EXECUTION = build_config("test").execution
SESSION = date(2021, 11, 23)
CALIBRATION = Calibration(
    session=SESSION,
    intercept=0.003,
    slope=0.01,
    fitted_slope=0.01,
    lower_quantile=-0.04,
    upper_quantile=0.05,
    largest_outcome=0.5,
    sessions=400,
    pairs=8000,
    first_session=date(2020, 1, 2),
    last_session=date(2021, 11, 16),
)


def test_the_highest_score_ranks_first_and_expects_most(calendar):
    frame = _forecast([0.1, 0.9, -0.5], calendar)
    assert dict(frame.select("symbol", "rank").iter_rows()) == {"A": 2, "B": 1, "C": 3}
    assert frame.sort("rank")["expected_return"].is_sorted(descending=True)
    assert frame["expected_return"].mean() == pytest.approx(0.003)
    assert (frame["upper"] - frame["expected_return"]).to_numpy() == pytest.approx(0.05)
    assert (frame["lower"] - frame["expected_return"]).to_numpy() == pytest.approx(-0.04)


def test_equal_scores_rank_in_the_order_of_symbols(calendar):
    assert _forecast([1.0, 2.0, 1.0], calendar).sort("rank")["symbol"].to_list() == ["B", "A", "C"]


@pytest.mark.parametrize("nothing", [np.nan, 7.0])
def test_a_symbol_that_cannot_be_scored_is_absent_whatever_its_score(calendar, nothing):
    frame = _forecast([nothing, 1.0, nothing], calendar, mask=[False, True, False])
    assert frame["symbol"].to_list() == ["B"]
    assert frame["rank"].to_list() == [1]
    assert frame["expected_return"].to_list() == [pytest.approx(0.003)]


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_a_symbol_that_can_be_scored_and_has_no_finite_score_says_so_and_moves_nobody_else(calendar, nothing):
    frame, without = (
        _forecast([0.1, nothing, 0.3], calendar),
        _forecast([0.1, 0.2, 0.3], calendar, mask=[True, False, True]),
    )
    broken = frame.filter(pl.col("symbol") == "B")
    assert not np.isfinite(broken.select("score", "expected_return", "lower", "upper").row(0)).any()
    sound = ("symbol", "expected_return", "lower", "upper")
    assert frame.filter(pl.col("symbol") != "B").select(sound).equals(without.select(sound))


def test_without_any_score_there_is_no_row(calendar):
    frame = _forecast([np.nan] * 3, calendar, mask=[False] * 3)
    assert frame.is_empty()
    assert FORECASTS.difference(frame.schema) == ()


@pytest.mark.parametrize(
    ("fill", "start", "end"),
    [
        # The Thursday after is Thanksgiving; the half day on Friday is a session like any other.
        ("close_next", date(2021, 11, 24), date(2021, 12, 2)),
        ("open_next", date(2021, 11, 24), date(2021, 12, 2)),
        ("close_same", date(2021, 11, 23), date(2021, 12, 1)),
    ],
)
def test_the_target_is_dated_by_the_exchanges_sessions(calendar, fill, start, end):
    frame = _forecast([1.0, 2.0, 3.0], calendar, execution=EXECUTION.model_copy(update={"fill": fill}))
    assert set(frame.select("session", "target_start", "target_end").iter_rows()) == {(SESSION, start, end)}
    assert set(frame["horizon"]) == {5}


def test_where_a_forecast_comes_from_is_written_down_and_the_card_left_open(calendar):
    row = _forecast([1.0, 2.0, 3.0], calendar).row(0, named=True)
    assert {
        name: row[name] for name in ("champion", "source", "served_by", "degraded", "status", "verdict", "card_id")
    } == {
        "champion": "w1",
        "source": "sample",
        "served_by": "refit",
        "degraded": True,
        "status": "ok",
        "verdict": "ITERATE",
        "card_id": "",
    }
    assert row["graph_session"] == SESSION


@given(
    scores=hnp.arrays(
        np.float32, 8, elements=st.one_of(st.floats(-10, 10, width=32), st.sampled_from([np.nan, np.inf]))
    )
)
def test_ranks_are_a_permutation_and_intervals_hold_their_forecast(calendar, scores):
    frame = _forecast(scores, calendar, mask=np.isfinite(scores))
    assert sorted(frame["rank"]) == list(range(1, int(np.isfinite(scores).sum()) + 1))
    assert frame.filter(~pl.col("expected_return").is_between("lower", "upper")).is_empty()
    assert frame.sort("rank")["score"].is_sorted(descending=True)


def _forecast(scores, calendar, *, mask=None, execution=EXECUTION):
    return forecast_frame(
        np.array(scores),
        CALIBRATION,
        mask_N=np.ones(len(scores), dtype=bool) if mask is None else np.array(mask),
        session=SESSION,
        symbols=["A", "B", "C", "D", "E", "F", "G", "H"][: len(scores)],
        calendar=calendar,
        execution=execution,
        champion="w1",
        graph_session=SESSION,
        sources=dict.fromkeys("ABCDEFGH", "sample"),
        served_by="refit",
        degraded=True,
        status="ok",
        verdict="ITERATE",
    )
