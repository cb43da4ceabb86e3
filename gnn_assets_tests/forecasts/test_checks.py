from datetime import date

import numpy as np
import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.forecasts.checks import MODEL_CHECKS, forecast_checks, remade_check
from gnn_assets.forecasts.schema import FORECASTS

EXECUTION = build_config("test").execution
SESSION, BEFORE = date(2021, 11, 23), date(2021, 11, 22)
SYMBOLS = [f"S{number}" for number in range(10)]
NAMES = {
    *("forecasts_finite", "forecasts_in_interval", "forecasts_in_range", "forecasts_dated"),
    *("graph_is_fresh", "symbols_covered"),
}


def test_sound_forecasts_of_several_sessions_pass(calendar):
    checks = _check(pl.concat([_frame(calendar), _frame(calendar, session=BEFORE)]), calendar)
    assert set(checks) == NAMES
    assert all(check.passed for check in checks.values())


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("forecasts_finite", "score", float("nan")),
        ("forecasts_finite", "expected_return", float("inf")),
        ("forecasts_finite", "upper", None),
        ("forecasts_in_interval", "lower", 0.02),
        ("forecasts_in_interval", "upper", -0.01),
        ("forecasts_in_interval", "lower", None),
        ("forecasts_in_range", "expected_return", 0.31),
        ("forecasts_in_range", "expected_return", -0.31),
        ("forecasts_dated", "target_start", SESSION),
        ("forecasts_dated", "target_end", date(2021, 12, 1)),
        ("forecasts_dated", "target_end", None),
        ("forecasts_dated", "horizon", 4),
        ("forecasts_dated", "session", date(2021, 11, 24)),
        ("forecasts_dated", "session", date(2021, 11, 21)),
        ("graph_is_fresh", "graph_session", BEFORE),
        ("graph_is_fresh", "graph_session", None),
    ],
)
def test_one_wrong_row_is_an_error_and_named(calendar, name, column, value):
    check = _check(_spoil(_frame(calendar), column, value), calendar)[name]
    assert check.blocks
    assert check.value == 1
    assert check.offenders[0].startswith("S0 2021-11-2")


def test_a_forecast_from_a_session_yet_to_come_is_an_error(calendar):
    frame = pl.concat([_frame(calendar), _frame(calendar, session=date(2021, 11, 24))])
    assert _check(frame, calendar)["forecasts_dated"].value == len(SYMBOLS)


@pytest.mark.parametrize(("missing", "passed"), [(2, True), (3, False), (10, False)])
def test_exactly_the_least_share_of_symbols_is_enough(calendar, missing, passed):
    frame = pl.concat([_frame(calendar).tail(10 - missing), _frame(calendar, session=BEFORE)])
    check = _check(frame, calendar)["symbols_covered"]
    assert (check.passed, check.value) == (passed, round(1 - missing / 10, 4))
    assert check.offenders == tuple(SYMBOLS[:missing])


def test_the_checks_that_judge_who_forecast_are_among_them_and_count_rows(calendar):
    checks = _check(_spoil(_frame(calendar), "score", float("nan")), calendar)
    assert set(MODEL_CHECKS) < NAMES
    assert {(checks[name].threshold, type(checks[name].value)) for name in MODEL_CHECKS} == {(0, int)}


def test_the_same_forecasts_again_pass_whatever_their_card(calendar):
    made = _frame(calendar)
    check = remade_check(made.with_columns(card_id=pl.lit("x")), made, session=SESSION)
    assert (check.passed, check.value) == (True, 0)
    assert str(SESSION) in check.description


@pytest.mark.parametrize("column", ["score", "expected_return", "upper"])
def test_a_bit_that_changes_without_the_future_is_an_error_and_named(calendar, column):
    made = _frame(calendar)
    nudged = float(np.nextafter(made[column].to_numpy()[0], np.inf, dtype=made[column].to_numpy().dtype))
    check = remade_check(made, _spoil(made, column, nudged), session=SESSION)
    assert check.blocks
    assert (check.value, check.offenders) == (1, (f"S0 {SESSION}",))


def test_a_forecast_that_only_one_of_the_two_has_is_an_error(calendar):
    made = _frame(calendar)
    for first, second in ((made, made.head(9)), (made.head(9), made)):
        check = remade_check(first, second, session=SESSION)
        assert check.blocks
        assert (check.value, check.offenders) == (1, (f"S9 {SESSION}",))


def test_without_a_past_session_there_is_nothing_to_compare():
    check = remade_check(FORECASTS.empty(), FORECASTS.empty(), session=None)
    assert check.passed
    assert "no past session" in check.description


def test_an_empty_universe_is_not_covered(calendar):
    assert _check(FORECASTS.empty(), calendar, symbols=[])["symbols_covered"].blocks


def _check(frame, calendar, *, symbols=SYMBOLS):
    checks = forecast_checks(
        frame,
        session=SESSION,
        calendar=calendar,
        execution=EXECUTION,
        symbols=symbols,
        largest_outcome=0.3,
        min_symbol_share=0.8,
    )
    return {check.name: check for check in checks}


def _frame(calendar, *, session=SESSION):
    return FORECASTS.conform(
        pl.DataFrame(
            {
                "session": session,
                "symbol": SYMBOLS,
                "horizon": 5,
                "score": 0.5,
                "expected_return": 0.01,
                "lower": -0.03,
                "upper": 0.05,
                "rank": range(1, 11),
                "champion": "w1",
                "graph_session": session,
                "target_start": calendar.offset(session, 1),
                "target_end": calendar.offset(session, 6),
                "source": "sample",
                "served_by": "refit",
                "degraded": False,
                "status": "ok",
                "verdict": "ITERATE",
                "card_id": "c",
            },
            schema_overrides=dict(FORECASTS.columns),
        )
    )


def _spoil(frame, column, value):
    first = pl.col("symbol") == "S0"
    return frame.with_columns(
        pl.when(first).then(pl.lit(value, dtype=frame.schema[column])).otherwise(column).alias(column)
    )
