"""What a switch by hand must satisfy, and how the gate looks at what was gone back from. Records in, records out."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.core.checks import Check
from gnn_assets.core.errors import MissingArtefact, ModelError
from gnn_assets.registry.pointer import Champion, Move
from gnn_assets.registry.promotion import Contender, GateReport
from gnn_assets.registry.switch import (
    MANUAL,
    PLATFORM,
    ROLLBACK,
    Decision,
    by_hand,
    former_champions,
    held_out,
    hold,
    named,
    refuse_dishonest,
)

CHAMPION = Champion(
    version="a1",
    model="mlp",
    rule="bootstrap",
    reason="passed",
    verdict="ITERATE",
    config_hash="recipe",
    oos_predictions="p",
    portfolio_returns="r",
    backtest_scores="s",
    data_end="2022-12-28",
)
KNOWN = ["a1b2", "a1c3", "b4d5"]
FINE = {"mlp/refit": {"kernel": np.ones(2, dtype=np.float32), "text": np.zeros(3, dtype=np.uint8)}}


def decision(version: str, rule: str, *, publications: int, at: str = "2022-12-01") -> Decision:
    how = {"reason": "two bad days", "by": "ann@desk", "decided_at": at}
    return Decision.of(by_hand(replace(CHAMPION, version=version), rule=rule, publications=publications, **how))


def contender(**changes) -> Contender:
    predictions = pl.DataFrame(
        {"symbol": ["A"], "session": [date(2022, 12, 2)], "score": [0.5], "training_end": [date(2022, 12, 1)]}
    )
    fields = {"version": "c1", "config_hash": "recipe", "fill": "close_next", "horizon": 5, "failure": ""}
    return Contender(**{**fields, "predictions": predictions, "portfolio": pl.DataFrame(), **changes})


@pytest.mark.parametrize(("typed", "meant"), [("b", "b4d5"), ("a1c", "a1c3"), ("a1b2", "a1b2")])
def test_a_version_is_named_by_how_it_begins(typed, meant):
    assert named(typed, [*KNOWN, "b4d5"], what="champion") == meant


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("a1", "was that of 2 of 3; name one of a1b2, a1c3."),
        ("", "was that of 0 of 3"),
        ("x", "name one of a1b2, a1c3"),
    ],
)
def test_none_or_several_are_refused_with_those_that_may_be_meant(typed, told):
    with pytest.raises(MissingArtefact, match="exactly one champion") as refused:
        named(typed, KNOWN, what="champion")
    assert told in str(refused.value)


def test_a_record_put_in_place_by_hand_says_by_whom_why_and_when_and_keeps_the_rest():
    how = {"rule": MANUAL, "by": "ann@desk", "decided_at": "now", "publications": 3}
    assert by_hand(CHAMPION, reason=" it\nis better ", **how) == replace(CHAMPION, reason="it is better", **how)
    assert by_hand(CHAMPION, reason=" ", **how).reason == "no reason given"


@pytest.mark.parametrize(
    ("scored", "held"),
    [
        (1, True),
        # The one that was gone back from had the newest scores then.
        (2, True),
        # What is scored afterwards is news, whenever it was trained.
        (3, False),
    ],
)
def test_what_had_scores_when_a_person_decided_is_held_out(scored, held):
    back = decision("a", ROLLBACK, publications=2)
    assert held_out(scored, [back]) == (back if held else None)


@pytest.mark.parametrize("order", [1, -1])
def test_the_newest_decision_counts_in_whatever_order_they_are_told(order):
    back, chosen = decision("a", ROLLBACK, publications=2), decision("b", MANUAL, publications=4)
    confirmed = decision("b", MANUAL, publications=4, at="2022-12-02")
    told = [back, chosen, confirmed][::order]
    assert held_out(4, told) == confirmed
    assert held_out(5, told) is None


def test_what_has_no_scores_yet_is_held_out_by_nothing():
    assert held_out(None, [decision("a", ROLLBACK, publications=2)]) is None


def test_where_nobody_decided_by_hand_nothing_is_held_out():
    assert held_out(1, []) is None


def test_the_gate_refuses_what_is_held_out_however_good_it_is_and_says_who_decided_and_why():
    back = decision("a", ROLLBACK, publications=2)
    passed = GateReport("refresh", passed=True, checks=(), reason="b against champion a by rule refresh: passed.")
    report = hold(passed, back)
    assert not report.promotes
    (check,) = report.checks
    assert (check.name, check.passed, check.value) == (
        "not_held_out",
        False,
        "ann@desk chose a by rollback: two bad days",
    )
    assert report.reason.startswith("b against champion a by rule refresh: refused by not_held_out failed: value ann")


def test_what_fails_anyway_is_told_with_both_reasons():
    bad = Check("superior", passed=False, value=-1, threshold=0, description="Worse.")
    failed = GateReport("replace", passed=False, checks=(bad,), reason=f"b by rule replace: refused by {bad.sentence}")
    back = decision("a", ROLLBACK, publications=2)
    report = hold(failed, back)
    assert [check.name for check in report.checks] == ["superior", "not_held_out"]
    assert report.reason.startswith(f"{failed.reason}; not_held_out failed")


def test_what_no_decision_holds_out_is_judged_as_ever_and_the_check_says_so():
    passed = GateReport("refresh", passed=True, checks=(), reason="passed.")
    report = hold(passed, None)
    assert report.promotes
    assert (report.reason, [(check.name, check.passed) for check in report.checks]) == (
        "passed.",
        [("not_held_out", True)],
    )


def test_the_champion_itself_is_not_asked():
    same = GateReport("already_champion", passed=True, checks=(), reason="nothing to do.")
    assert hold(same, None) is same


def test_an_honest_candidate_may_be_promoted_by_hand_with_or_without_a_champion():
    overruled = {"superior", "refit_agrees"}
    refuse_dishonest(contender(), None, FINE, failed_before=())
    refuse_dishonest(contender(), contender(version="a1", config_hash="another recipe"), FINE, failed_before=overruled)


def test_what_the_gate_caught_looking_ahead_cannot_be_overruled():
    with pytest.raises(ModelError, match="no_look_ahead failed: value caught"):
        refuse_dishonest(contender(), None, FINE, failed_before=("superior", "no_look_ahead"))


@pytest.mark.parametrize(
    ("changes", "weights", "failed"),
    [
        ({"fill": "close_same"}, FINE, ["executable", "same_target"]),
        ({"horizon": 1}, FINE, ["same_target"]),
        ({"failure": "NaN"}, FINE, ["training_succeeded"]),
        ({}, {}, ["weights_finite"]),
        ({}, {**FINE, "mlp/fold_00": {"bias": np.array([0.0, np.nan])}}, ["weights_finite"]),
    ],
)
def test_what_makes_a_forecast_dishonest_cannot_be_overruled(changes, weights, failed):
    with pytest.raises(ModelError, match="which nobody can overrule") as refused:
        refuse_dishonest(contender(**changes), contender(version="a1"), weights, failed_before=())
    names = (
        "executable",
        "training_succeeded",
        "scores_finite",
        "scores_out_of_sample",
        "weights_finite",
        "same_target",
    )
    assert [name for name in names if f"{name} failed" in str(refused.value)] == failed
    assert str(refused.value).count("\n") == 0


def moves_of(*told: tuple[str, str]) -> list[Move]:
    """Moves of the pointer, each told as version and rule."""
    records = [replace(CHAMPION, version=version, rule=rule) for version, rule in told]
    before = [None, *records][: len(records)]
    moment = datetime(2022, 12, 28, tzinfo=UTC)
    return [
        Move(number, record, was, moment, "")
        for number, (record, was) in enumerate(zip(records, before, strict=True), 1)
    ]


GATE = "refresh"


@pytest.mark.parametrize(
    ("told", "former"),
    [
        ([], []),
        ([("a", GATE)], []),
        ([("a", GATE), ("b", GATE), ("c", GATE)], ["b", "a"]),
        # Gone back from c, then from b.
        ([("a", GATE), ("b", GATE), ("c", GATE), ("b", ROLLBACK)], ["a"]),
        ([("a", GATE), ("b", GATE), ("c", GATE), ("b", ROLLBACK), ("a", ROLLBACK)], []),
        # Put in place again since, and left for another.
        ([("a", GATE), ("b", GATE), ("a", ROLLBACK), ("b", MANUAL), ("c", GATE)], ["b", "a"]),
        # The newest is who was served last.
        ([("a", GATE), ("b", GATE), ("a", MANUAL), ("c", GATE)], ["a", "b"]),
    ],
)
def test_the_platform_goes_back_to_the_newest_that_nobody_went_back_from(told, former):
    assert [champion.version for champion in former_champions(moves_of(*told))] == former


def test_what_is_gone_back_to_is_the_record_it_was_served_by_last():
    moves = moves_of(("a", GATE), ("b", GATE), ("a", MANUAL), ("c", GATE))
    assert former_champions(moves)[0].rule == MANUAL


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from([GATE, MANUAL])), min_size=1, max_size=12))
def test_going_back_ends_and_meets_nobody_twice(told):
    """Whatever was served before: each step finds one fewer."""
    moves, met = moves_of(*told), []
    while former := former_champions(moves):
        met.append(former[0].version)
        told = [*told, (former[0].version, ROLLBACK)]
        moves = moves_of(*told)
        assert len(met) <= 5
    assert len(set(met)) == len(met)


def test_what_the_platform_decided_is_told_as_its_own():
    chosen = by_hand(CHAMPION, rule=ROLLBACK, reason="bad_output", by=PLATFORM, decided_at="", publications=2)
    report = hold(GateReport("refresh", passed=True, checks=(), reason="b: passed."), Decision.of(chosen))
    assert "the platform chose a1 by rollback: bad_output" in report.reason
