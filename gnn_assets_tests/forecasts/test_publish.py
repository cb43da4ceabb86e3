"""Who may score a session, what a session's forecast may know, and how far back forecasts are published."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.core.errors import DataError
from gnn_assets.forecasts import publish
from gnn_assets.forecasts.publish import forecast_session, part_for, sessions_to_publish
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.forecasts.market import CONFIG, MODEL, SYMBOLS, TEST, calendar, market

FACTS = {
    "data_end": "2022-12-28",
    "parts": {
        "gnn/fold_00": {"test": ["2022-01-03", "2022-06-30"]},
        "gnn/fold_01": {"test": ["2022-07-01", "2022-12-28"]},
        "gnn/refit": {"test": None},
        "gnn_no_graph/fold_00": {"test": ["2021-01-04", "2022-12-28"]},
    },
}
FIRST, END = date(2022, 1, 3), date(2022, 12, 28)


@pytest.mark.parametrize(
    ("session", "part"),
    [
        (date(2022, 1, 3), "gnn/fold_00"),
        (date(2022, 6, 30), "gnn/fold_00"),
        (date(2022, 7, 1), "gnn/fold_01"),
        (date(2022, 12, 27), "gnn/fold_01"),
        # From where its own data end, the refit has seen no outcome either; newer data only lie further ahead.
        (date(2022, 12, 28), "gnn/refit"),
        (date(2023, 5, 2), "gnn/refit"),
    ],
)
def test_a_session_is_scored_by_weights_that_had_not_seen_it(session, part):
    assert part_for(session, facts=FACTS, model="gnn") == part


def test_a_session_before_every_test_part_is_scored_by_nobody():
    with pytest.raises(DataError, match="forecast of 2021-12-31: expected a session from 2022-01-03 on"):
        part_for(date(2021, 12, 31), facts=FACTS, model="gnn")


def test_another_models_folds_do_not_count():
    assert part_for(date(2021, 3, 1), facts=FACTS, model="gnn_no_graph") == "gnn_no_graph/fold_00"


@given(day=st.dates(FIRST, END + timedelta(days=400)))
def test_a_fold_scores_only_inside_its_own_test_part(day):
    part = part_for(day, facts=FACTS, model="gnn")
    if part == "gnn/refit":
        assert day >= END
    else:
        first, last = FACTS["parts"][part]["test"]
        assert first <= str(day) <= last


@pytest.mark.parametrize(("history", "published"), [(0, 1), (3, 4), (500, 100)])
def test_the_newest_session_and_its_past_are_published_as_far_as_some_fold_reaches(history, published):
    days = [FIRST + timedelta(days=offset) for offset in range(-50, 100)]
    chosen = sessions_to_publish(days, facts=FACTS, model="gnn", history=history)
    assert chosen == days[-published:]
    assert min(chosen) >= FIRST


def test_a_forecast_carries_its_champion_its_part_and_its_dates():
    session = market().data.sessions[-1]
    made = market().forecast(session, status="stale")
    row = made.rows.row(0, named=True)
    assert made.part == row["served_by"] == f"{MODEL}/refit"
    assert (row["champion"], row["verdict"], row["status"], row["source"]) == ("w1", "ITERATE", "stale", "sample")
    assert row["session"] == row["graph_session"] == made.calibration.session == session
    assert row["target_start"] == calendar().offset(session, 1)
    assert row["target_end"] == calendar().offset(session, 3)
    assert row["card_id"] == ""
    assert sorted(made.rows["symbol"]) == list(SYMBOLS)


def test_a_name_with_too_few_returns_behind_it_is_absent():
    after_the_gap = market().forecast(market().data.sessions[-29]).rows
    assert sorted(after_the_gap["symbol"]) == sorted(set(SYMBOLS) - {"E"})


def test_the_model_is_asked_for_one_session_by_the_part_that_may_score_it(monkeypatch):
    asked = []

    def predict(load_part, data, *, model, part, sessions, config):
        asked.append((model, part, [data.sessions[row] for row in sessions]))
        return np.arange(len(data.symbols), dtype=np.float32)[np.newaxis]

    monkeypatch.setattr(publish, "predict_sessions", predict)
    sessions = market().data.sessions
    for row in (-1, -2, -TEST):
        market().forecast(sessions[row])
    assert asked == [
        (MODEL, f"{MODEL}/refit", [sessions[-1]]),
        (MODEL, f"{MODEL}/fold_02", [sessions[-2]]),
        (MODEL, f"{MODEL}/fold_01", [sessions[-TEST]]),
    ]


def test_nothing_after_the_session_is_read():
    session = market().data.sessions[-10]
    rows = len(market().data.sessions) - 9
    data, served = market().data, market().served
    graph = replace(
        data.graph,
        **{
            name: _nothing_after(getattr(data.graph, name), rows)
            for name in ("neighbours_TxNxK", "corr_TxNxK", "close_return_TxN")
        },
    )
    blind = replace(
        data,
        **{name: _nothing_after(getattr(data, name), rows) for name in ("mask_TxN", "labels_TxN")},
        **{
            name: {feature: _nothing_after(values, rows) for feature, values in getattr(data, name).items()}
            for name in ("own", "linked")
        },
        bars=replace(data.bars, close_return_TxN=_nothing_after(data.bars.close_return_TxN, rows), values={}),
        graph=graph,
    )
    fill_returns = to_panel(market().returns, "fill_return", sessions=data.sessions, symbols=data.symbols)
    garbage = np.where(pl.Series(data.sessions).gt(session).to_numpy()[:, np.newaxis], 1e6, fill_returns)
    later = pl.when(pl.col("session") > session).then(9e9).otherwise("score").alias("score")
    again = forecast_session(
        session,
        served=replace(served, predictions=served.predictions.with_columns(later)),
        market=publish.Market(data=blind, fill_returns_TxN=garbage, sources=market().known(session).sources),
        calendar=calendar(),
        config=CONFIG,
        status="ok",
        degraded=False,
    )
    assert again.rows.equals(market().forecast(session).rows)
    assert again.calibration == market().forecast(session).calibration


def test_too_few_known_outcomes_give_no_forecast_instead_of_a_bold_one():
    first_tested = date.fromisoformat(market().served.facts["parts"][f"{MODEL}/fold_00"]["test"][0])
    needed = CONFIG.forecasts.min_calibration_sessions + CONFIG.execution.purge
    enough = calendar().offset(first_tested, needed - 1)
    assert market().forecast(enough).calibration.sessions == CONFIG.forecasts.min_calibration_sessions
    with pytest.raises(DataError, match="expected at least 20 out-of-sample sessions with a known outcome, was 19"):
        market().forecast(calendar().offset(enough, -1))


def _nothing_after(array, rows):
    blank = array.copy()
    blank[rows:] = 0
    return blank
