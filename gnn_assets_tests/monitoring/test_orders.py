from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from math import inf

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.core.config import build_config
from gnn_assets.core.hashing import canonical_json
from gnn_assets.monitoring.decide import Decision, Memory, decide
from gnn_assets.monitoring.orders import answered, entry_of, memory_of, open_order, orders, says_something_new
from gnn_assets.monitoring.reasons import RESPONSES, Reason, Response, Signal

CONFIG = build_config("test").retrain
DAYS = [day for day in (date(2020, 1, 1) + timedelta(days=n) for n in range(60)) if day.weekday() < 5]
NOW = datetime(2020, 1, 1, 22, tzinfo=UTC)
TRAINING = [reason for reason in Reason if RESPONSES[reason] is Response.TRAIN]


def signals_of(reasons, value=3.4):
    return [Signal(reason, "graph_drift", value, 2.1, "above", "60 sessions", "2020-01-01") for reason in reasons]


def decision_on(reasons, memory=None, *, day=DAYS[0], now=NOW) -> Decision:
    return decide(signals_of(reasons), memory or Memory(), session=day, sessions=DAYS, now=now, config=CONFIG)


def entry(decision, *, day=DAYS[0], now=NOW):
    return entry_of(decision, session=day, now=now, run_id="a run")


@given(st.sets(st.sampled_from(list(Reason))))
def test_what_the_ledger_keeps_gives_the_memory_back(reasons):
    decision = decision_on(sorted(reasons))
    kept = entry(decision)
    assert canonical_json(kept)  # it fits the ledger
    assert memory_of([kept]) == decision.memory


def test_an_age_of_everything_fits_the_ledger_as_any_other_value():
    decision = decide(
        signals_of([Reason.WEIGHTS_STALE], value=149_000.0),
        Memory(),
        session=DAYS[0],
        sessions=DAYS,
        now=NOW,
        config=CONFIG,
    )
    assert decision.sentence == "weights_stale 1.49e+05 > 2.1"
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"value": inf})


def test_the_table_has_a_row_a_reason_of_each_try_and_nothing_of_what_ordered_nothing():
    first = decision_on([Reason.GRAPH_DRIFT, Reason.FEATURE_DRIFT])
    failed = answered(first.memory, state="failed", now=NOW)
    later = NOW + timedelta(hours=CONFIG.retry_hours)
    again = decision_on([Reason.GRAPH_DRIFT], failed, now=later)
    nothing = decision_on([], Memory())
    table = orders([entry(nothing), entry(first), entry(again, now=later)])
    assert table.select("number", "attempt", "reason").rows() == [
        (1, 1, "feature_drift"),
        (1, 1, "graph_drift"),
        (1, 2, "feature_drift"),
        (1, 2, "graph_drift"),
    ]
    assert table["decided_at"].to_list() == [NOW, NOW, later, later]
    assert table["value"].unique().to_list() == [3.4]


@given(st.lists(st.sets(st.sampled_from(TRAINING), max_size=2), max_size=20))
def test_the_table_grows_with_each_order_and_with_nothing_else(days):
    """Its content is what automation looks at: a look without an order must not change it."""
    entries, memory, before = [], Memory(), orders([])
    for day, reasons in zip(DAYS, days, strict=False):
        memory = answered(memory, state="trained", now=NOW)
        decision = decision_on(sorted(reasons), memory, day=day)
        entries.append(entry(decision, day=day))
        memory, table = decision.memory, orders(entries)
        assert (table.height > before.height) == decision.asks
        assert table.filter(pl.col("number") <= (before["number"].max() or 0)).equals(before)
        before = table


def test_an_order_is_open_until_it_is_answered():
    given_order = decision_on([Reason.GRAPH_DRIFT])
    assert open_order([entry(given_order)]).number == 1
    done = replace(given_order, action="none", memory=answered(given_order.memory, state="trained", now=NOW))
    assert open_order([entry(given_order), entry(done)]) is None
    assert open_order([]) is None


def test_a_look_that_finds_nothing_new_is_not_entered_again():
    nothing = entry(decision_on([]))
    assert says_something_new(nothing, None)
    assert not says_something_new({**nothing, "run_id": "another run", "session": "2020-01-02"}, nothing)
    assert says_something_new(entry(decision_on([Reason.GRAPH_DRIFT])), nothing)
