import numpy as np
import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.forecasts import live_scores
from gnn_assets.forecasts.live_scores import forecast_scores
from gnn_assets.forecasts.schema import FORECAST_SCORES
from gnn_assets.forecasts.score_checks import drawn_session, no_look_ahead, score_checks
from gnn_assets_tests.forecasts.live import forecast_rows, panels, return_rows

EXECUTION = build_config("test").execution
N_SESSIONS = 30


@pytest.fixture
def returns_TxN():
    return panels(N_SESSIONS, 5)[1]


def scored(returns_TxN, calendar):
    """Half of the sessions served, half of them not."""
    rows = forecast_rows(panels(N_SESSIONS, 5)[0], calendar, execution=EXECUTION)
    half = pl.col("session") < calendar.sessions[N_SESSIONS // 2]
    axis = {"session": calendar.sessions[N_SESSIONS - 1], "sessions": calendar.sessions, "execution": EXECUTION}
    returns = return_rows(returns_TxN, calendar)
    frames = [
        forecast_scores(rows.filter(part), returns, served=served, **axis)
        for served, part in ((True, ~half), (False, half))
    ]
    return FORECAST_SCORES.conform(pl.concat(frames))


def wire(scores, returns_TxN, calendar, *, others=()):
    return no_look_ahead(
        scores,
        return_rows(returns_TxN, calendar),
        session=calendar.sessions[N_SESSIONS - 1],
        sessions=calendar.sessions,
        execution=EXECUTION,
        others=others,
    )


def checks(scores, calendar):
    today = calendar.sessions[N_SESSIONS - 1]
    return score_checks(scores, session=today, min_outcome_share=0.8)


def test_sound_scores_pass(calendar, returns_TxN):
    scores = scored(returns_TxN, calendar)
    finite, known = checks(scores, calendar)
    assert finite.passed
    assert (known.passed, known.value) == (True, 1.0)
    assert wire(scores, returns_TxN, calendar).passed


@pytest.mark.parametrize("column", ["score", "expected_return", "realised", "error", "ic_share"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_blocks(calendar, returns_TxN, column, value):
    scores = scored(returns_TxN, calendar)
    dtype = FORECAST_SCORES.columns[column]
    first = pl.int_range(pl.len()) == 0
    broken = scores.with_columns(pl.when(first).then(pl.lit(value, dtype=dtype)).otherwise(column).alias(column))
    finite, _ = checks(broken, calendar)
    assert finite.blocks
    assert finite.value == 1
    assert finite.offenders[0].startswith("S00")


def test_a_row_without_a_score_blocks_and_one_without_expected_return_does_not(calendar, returns_TxN):
    scores = scored(returns_TxN, calendar)
    assert checks(scores.with_columns(score=pl.lit(None, dtype=pl.Float32)), calendar)[0].blocks
    assert checks(scores.with_columns(expected_return=pl.lit(None, dtype=pl.Float64)), calendar)[0].passed


def test_outcomes_that_stay_unknown_warn(calendar, returns_TxN):
    returns_TxN[:, :2] = np.nan
    finite, known = checks(scored(returns_TxN, calendar), calendar)
    assert finite.passed
    assert (known.passed, known.blocks) == (False, False)
    assert known.value == pytest.approx(0.6)
    assert len(known.offenders) == 10


def test_before_any_forecast_has_ended_no_outcome_is_missed(calendar, returns_TxN):
    young = scored(returns_TxN, calendar).filter(pl.col("target_end") > calendar.sessions[N_SESSIONS - 1])
    _, known = checks(young, calendar)
    assert known.passed
    assert wire(young, returns_TxN, calendar).passed


def test_an_outcome_before_its_time_blocks(calendar, returns_TxN):
    scores = scored(returns_TxN, calendar)
    early = scores.with_columns(realised=pl.col("realised").fill_null(0.01))
    check = wire(early, returns_TxN, calendar)
    assert check.blocks
    assert check.value == 5 * EXECUTION.purge


def test_an_outcome_that_reads_on_is_found_when_it_is_made_again(calendar, returns_TxN, monkeypatch):
    honest = live_scores.realised_labels
    # Two sessions' returns, the next one's included.
    monkeypatch.setattr(
        live_scores, "realised_labels", lambda fill_TxN, *, execution: honest(fill_TxN, execution=execution.model_copy(update={"horizon": execution.horizon + 1}))
    )  # fmt: skip
    check = wire(scored(returns_TxN, calendar), returns_TxN, calendar)
    assert check.blocks
    assert check.value > 0


def test_outcomes_over_the_spread_of_all_history_are_found_when_they_are_made_again(calendar, returns_TxN, monkeypatch):
    honest = live_scores.to_panel

    def scaled(frame, value, **axes):
        spread = frame[value].std() if value == "fill_return" else 1.0
        return honest(frame, value, **axes) / spread

    monkeypatch.setattr(live_scores, "to_panel", scaled)
    assert wire(scored(returns_TxN, calendar), returns_TxN, calendar).blocks


def test_a_changed_row_of_the_session_that_is_made_again_is_found_and_named(calendar, returns_TxN):
    scores = scored(returns_TxN, calendar)
    today = calendar.sessions[N_SESSIONS - 1]
    drawn = drawn_session(scores.filter(pl.col("target_end") <= today), session=today)
    at = (pl.col("session") == drawn) & (pl.col("symbol") == "S02")
    check = wire(scores.with_columns(realised=pl.col("realised") + pl.when(at).then(1e-9).otherwise(0)), returns_TxN, calendar)  # fmt: skip
    assert check.blocks
    assert check.value == 2  # as it is stored, and as it is made again
    assert all(f"S02 {drawn}" in offender for offender in check.offenders)


def test_what_differed_elsewhere_blocks_as_well(calendar, returns_TxN):
    check = wire(scored(returns_TxN, calendar), returns_TxN, calendar, others=("a score",))
    assert check.blocks
    assert check.offenders == ("a score",)


def test_every_past_session_is_drawn_some_day(calendar, returns_TxN):
    scores = scored(returns_TxN, calendar)
    drawn = {drawn_session(scores, session=day) for day in calendar.sessions[:400]}
    assert drawn == set(scores["session"])
    assert drawn_session(scores.clear(), session=calendar.sessions[0]) is None
