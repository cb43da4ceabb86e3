import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.backtests.cross_section import information_coefficients, realised_labels
from gnn_assets.core.config import build_config
from gnn_assets.forecasts.live_scores import forecast_scores, live_measures
from gnn_assets.forecasts.shadow import Choice, choices, role_of, session_ics, shadow_forecasts, shadow_ledger
from gnn_assets_tests.forecasts.live import forecast_rows, names, panels, return_rows

EXECUTION = build_config("test").execution.model_copy(update={"horizon": 1})
N_SESSIONS, N_NAMES = 30, 6
SCORES_TXN, RETURNS_TXN = panels(N_SESSIONS, N_NAMES)
OTHER_TXN = np.random.default_rng(9).normal(size=SCORES_TXN.shape)


def scored(rows, calendar, *, served=False, at=N_SESSIONS - 1):
    return forecast_scores(
        rows,
        return_rows(RETURNS_TXN, calendar),
        session=calendar.sessions[at],
        sessions=calendar.sessions,
        execution=EXECUTION,
        served=served,
    )


def shadow(scores_SxN, calendar, *, version="shadow", first=0):
    return shadow_forecasts(
        scores_SxN,
        version=version,
        sessions=calendar.sessions[first : first + len(scores_SxN)],
        symbols=names(scores_SxN),
        calendar=calendar,
        execution=EXECUTION,
    )


def both(calendar, *, first=0):
    """Scores of the version `kept` on all sessions, and of `tried` from session number `first` on."""
    kept = scored(forecast_rows(SCORES_TXN, calendar, execution=EXECUTION, version="kept"), calendar, served=True)
    tried = scored(shadow(OTHER_TXN[first:], calendar, version="tried", first=first), calendar)
    return pl.concat([kept, tried])


def mean_score(rows):
    """A portfolio that needs no market: each session earns a hundredth of its mean score."""
    return rows.group_by("session").agg(net=pl.col("score").cast(pl.Float64).mean() / 100).sort("session")


def ledger(scores, *made):
    return shadow_ledger(made, scores, portfolio=mean_score)


def choice(calendar, *, since=0, chosen="kept", other="tried"):
    return Choice("refused", "replace", chosen, other, calendar.sessions[since])


# ---- scores that were not served ---------------------------------------------------------------------------------


def test_a_shadow_is_held_against_the_same_outcomes_and_expects_no_return(calendar):
    scores = scored(shadow(SCORES_TXN.astype(np.float32), calendar), calendar)
    served = scored(forecast_rows(SCORES_TXN, calendar, execution=EXECUTION), calendar, served=True)
    same = ["session", "symbol", "horizon", "score", "realised", "hit", "ic_share", "target_end"]
    assert scores.select(same).equals(served.select(same))
    unknown = ["expected_return", "lower", "upper", "error", "covered"]
    assert scores.select(unknown).null_count().row(0) == (scores.height,) * 5
    assert set(scores["served"]) == {False}


def test_a_shadow_has_the_measures_of_scores_and_none_of_returns_or_intervals(calendar):
    scores = scored(shadow(SCORES_TXN.astype(np.float32), calendar), calendar)
    (measures,) = live_measures(
        scores, session=calendar.sessions[N_SESSIONS - 1], sessions=calendar.sessions, window=10
    ).iter_rows(named=True)
    assert measures["sessions"] == 10
    assert measures["ic"] > 0
    assert measures["hit_rate"] > 0
    assert [measures[name] for name in ("coverage", "rmse", "rmse_naive", "rmse_ratio")] == [None] * 4


def test_a_name_without_a_score_has_no_row(calendar):
    holed_TxN = np.where(np.eye(N_SESSIONS, N_NAMES, dtype=bool), np.nan, SCORES_TXN)
    assert shadow(holed_TxN, calendar).height == SCORES_TXN.size - N_NAMES


def test_ics_are_those_of_the_backtest_and_add_up(calendar):
    ics = session_ics(both(calendar)).filter(pl.col("version") == "tried")
    known = N_SESSIONS - EXECUTION.purge
    labels_TxN = realised_labels(RETURNS_TXN, execution=EXECUTION)
    by_hand = information_coefficients(OTHER_TXN.astype(np.float32), labels_TxN)[:known]
    np.testing.assert_allclose(ics["ic"], by_hand, atol=1e-9)
    np.testing.assert_allclose(ics["cumulated"], by_hand.cumsum(), atol=1e-9)
    assert ics["session"].to_list() == list(calendar.sessions[:known])


# ---- decisions ---------------------------------------------------------------------------------------------------


def event(calendar, kind, *, candidate="new", champion="old", at=3):
    told = {"event": kind, "candidate": candidate, "champion": champion, "rule": "refresh"}
    return {**told, "recorded_at": calendar.available_at(calendar.sessions[at]).isoformat()}


def test_a_promotion_chooses_the_candidate_and_a_refusal_the_champion(calendar):
    events = [event(calendar, kind) for kind in ("promoted", "rolled_back", "refused", "gate_try", "confirmed")]
    made = choices(events, calendar=calendar)
    assert [(one.event, one.chosen, one.other) for one in made] == [
        ("promoted", "new", "old"),
        ("rolled_back", "new", "old"),
        ("refused", "old", "new"),
    ]
    assert {one.since for one in made} == {calendar.sessions[3]}


def test_the_first_candidate_is_chosen_against_nobody_and_its_refusal_chooses_nobody(calendar):
    events = [event(calendar, kind, champion=None) for kind in ("promoted", "refused")]
    (made,) = choices(events, calendar=calendar)
    assert (made.chosen, made.other) == ("new", None)


@pytest.mark.parametrize(
    ("version", "role"), [("now", "champion"), ("then", "former"), ("bad", "refused"), ("unjudged", "candidate")]
)
def test_a_version_has_one_role(calendar, version, role):
    events = [event(calendar, "refused", candidate=name) for name in ("bad", "then", "now")]
    assert role_of(version, champion="now", former=["then", "now"], events=events) == role


# ---- what a decision was worth -----------------------------------------------------------------------------------


def test_a_decision_is_worth_the_difference_on_the_sessions_both_scored_since(calendar):
    scores = both(calendar, first=10)
    (row,) = ledger(scores, choice(calendar, since=5)).iter_rows(named=True)
    known = slice(10, N_SESSIONS - EXECUTION.purge)
    labels_TxN = realised_labels(RETURNS_TXN, execution=EXECUTION)
    kept_T, tried_T = (
        information_coefficients(each_TxN.astype(np.float32), labels_TxN)[known] for each_TxN in (SCORES_TXN, OTHER_TXN)
    )
    assert row["ic_sessions"] == known.stop - known.start
    assert row["ic_difference"] == pytest.approx((kept_T - tried_T).mean(), abs=1e-7)
    # Portfolios earn on until today: they need no outcome.
    assert row["return_sessions"] == N_SESSIONS - 10
    earned = [np.prod(1 + each_TxN[10:].mean(axis=1) / 100) for each_TxN in (SCORES_TXN, OTHER_TXN)]
    assert row["return_difference"] == pytest.approx(earned[0] - earned[1], abs=1e-6)
    assert (row["since"], row["chosen"], row["other"]) == (calendar.sessions[5], "kept", "tried")


def test_what_was_before_the_decision_does_not_count(calendar):
    scores = both(calendar)
    late, whole = ledger(scores, choice(calendar, since=20), choice(calendar)).iter_rows(named=True)
    assert (late["ic_sessions"], whole["ic_sessions"]) == (8, 28)
    only = scores.filter(pl.col("session") >= calendar.sessions[20])
    assert ledger(only, choice(calendar)).row(0, named=True)["ic_difference"] == late["ic_difference"]


def test_where_nothing_is_known_yet_nothing_is_said(calendar):
    scores = both(calendar, first=N_SESSIONS - 1)
    today, nobody, gone = ledger(
        scores, choice(calendar), choice(calendar, other=None), choice(calendar, other="cleaned up")
    ).iter_rows(named=True)
    assert (today["ic_sessions"], today["ic_difference"]) == (None, None)
    for row in (nobody, gone):
        assert [row[name] for name in ("ic_sessions", "ic_difference", "return_sessions", "return_difference")] == (
            [None] * 4
        )


def test_a_portfolio_before_its_first_fill_says_nothing(calendar):
    unfilled = pl.DataFrame(schema={"session": pl.Date, "net": pl.Float64})
    row = shadow_ledger([choice(calendar)], both(calendar), portfolio=lambda _: unfilled).row(0, named=True)
    assert (row["return_sessions"], row["return_difference"]) == (None, None)
    assert row["ic_sessions"] == 28


@given(since=st.integers(0, N_SESSIONS - 1), first=st.integers(0, N_SESSIONS - 1))
def test_had_the_other_been_chosen_the_gain_were_a_loss(calendar, since, first):
    scores = both(calendar, first=first)
    one, other = ledger(
        scores, choice(calendar, since=since), choice(calendar, since=since, chosen="tried", other="kept")
    ).iter_rows(named=True)
    for name in ("ic", "return"):
        assert one[f"{name}_sessions"] == other[f"{name}_sessions"]
        gained, lost = one[f"{name}_difference"], other[f"{name}_difference"]
        assert gained is lost is None or gained == pytest.approx(-lost, abs=1e-12)


def test_no_decisions_are_an_empty_ledger(calendar):
    assert ledger(both(calendar)).is_empty()
