"""What a switch by hand must satisfy, and how the gate looks at what was gone back from. Records in, records out."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from gnn_assets.core.checks import Check
from gnn_assets.core.errors import MissingArtefact, ModelError
from gnn_assets.registry.pointer import Champion, Move
from gnn_assets.registry.promotion import Contender, GateReport
from gnn_assets.registry.switch import MANUAL, ROLLBACK, by_hand, held_out, hold, named, refuse_dishonest

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


def moves(*steps: tuple[str, str]) -> list[Move]:
    """Moves of the pointer from (version, rule) to (version, rule)."""
    made: list[Move] = []
    for number, (version, rule) in enumerate(steps, start=1):
        champion = replace(CHAMPION, version=version, rule=rule)
        if rule in {MANUAL, ROLLBACK}:
            # One candidate is trained before each move of the gate.
            seen = sum(before.champion.by == "" for before in made)
            words = {"reason": "two bad days", "by": "ann@desk", "decided_at": "now"}
            champion = by_hand(champion, rule=rule, publications=seen + (rule == MANUAL), **words)
        before = made[-1].champion if made else None
        made.append(Move(number, champion, before, datetime(2022, 12, number, tzinfo=UTC), ""))
    return made


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
    ("published", "held"),
    [
        (1, True),
        # The one that was gone back from was the newest then.
        (2, True),
        # What is trained afterwards is news.
        (3, False),
    ],
)
@pytest.mark.parametrize("since", [[], [("c", "refresh")]])
def test_what_was_there_when_a_person_decided_is_held_out_for_good(published, held, since):
    steps = moves(("a", "bootstrap"), ("b", "refresh"), ("a", ROLLBACK), *since)
    found = held_out(published, steps)
    assert found == (steps[2] if held else None)


def test_the_newest_decision_counts():
    steps = moves(("a", "bootstrap"), ("b", "refresh"), ("a", ROLLBACK), ("c", "refresh"), ("b", MANUAL))
    assert held_out(4, steps) == steps[-1]
    assert held_out(5, steps) is None


def test_where_nobody_decided_by_hand_nothing_is_held_out():
    assert held_out(1, moves(("a", "bootstrap"), ("b", "refresh"))) is None
    assert held_out(1, []) is None


def test_the_gate_refuses_what_is_held_out_however_good_it_is_and_says_who_decided_and_why():
    (*_, back) = moves(("a", "bootstrap"), ("b", "refresh"), ("a", ROLLBACK))
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
    (*_, back) = moves(("a", "bootstrap"), ("b", "refresh"), ("a", ROLLBACK))
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
    refuse_dishonest(contender(), None, FINE)
    refuse_dishonest(contender(), contender(version="a1", config_hash="another recipe"), FINE)


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
        refuse_dishonest(contender(**changes), contender(version="a1"), weights)
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
