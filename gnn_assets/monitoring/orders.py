"""Decisions as the ledger keeps them, and the orders among them as a table.

A decision is entered when it says something new; an order, which is a decision that asks for a challenger, is a row a
reason of the table `retrain_decision`. The table's content is its data version, so it changes with each new order and
with nothing else: that is all that automation needs to look at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import polars as pl
from pydantic import TypeAdapter

from gnn_assets.monitoring.decide import Decision, Memory, State, Training
from gnn_assets.monitoring.reasons import Signal
from gnn_assets.store.schema import MOMENT, Table

RETRAIN_DECISION = Table(
    name="retrain_decision",
    columns={
        "number": pl.Int32,
        "attempt": pl.Int32,
        "reason": pl.String,
        "session": pl.Date,
        "decided_at": MOMENT,
        "asset": pl.String,
        "value": pl.Float64,
        "limit": pl.Float64,
        "worse": pl.String,
        "window": pl.String,
        "evidence": pl.String,
    },
    key=("number", "attempt", "reason"),
    descriptions={
        "number": "of the order, from 1",
        "attempt": "try of the same order, from 1",
        "reason": "why a challenger was asked for",
        "session": "newest complete session at which the order was first given",
        "decided_at": "moment of this try, by the platform's clock",
        "asset": "what was measured",
        "value": "as measured when the alarm began",
        "limit": "what it was held against",
        "worse": "side of the limit that is an alarm: above or below",
        "window": "what the value was measured over",
        "evidence": "what it was measured on",
    },
)

_OF_A_SIGNAL = ("reason", "asset", "value", "limit", "worse", "window", "evidence")
_MEMORY = TypeAdapter(Memory)
_SIGNALS = TypeAdapter(tuple[Signal, ...])


def entry_of(decision: Decision, *, session: date, now: datetime, run_id: str) -> dict[str, Any]:
    """What the ledger says of a decision.

    Args:
        decision: of `decide`.
        session: the newest complete one.
        now: aware UTC moment, by the platform's clock.
        run_id: run that decided.
    """
    return {
        "action": decision.action,
        "sentence": decision.sentence,
        "cause": decision.cause,
        "session": session.isoformat(),
        "decided_at": now.isoformat(),
        "signals": _SIGNALS.dump_python(decision.signals, mode="json"),
        "memory": _MEMORY.dump_python(decision.memory, mode="json"),
        "run_id": run_id,
    }


def says_something_new(entry: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    """Whether an entry says more than the one before it: an order always does."""
    told = ("action", "sentence", "cause", "memory")
    return before is None or any(entry[name] != before[name] for name in told)


def memory_of(entries: Sequence[Mapping[str, Any]]) -> Memory:
    """What the newest entry remembers; nothing before the first."""
    return _MEMORY.validate_python(entries[-1]["memory"]) if entries else Memory()


def open_order(entries: Sequence[Mapping[str, Any]]) -> Training | None:
    """The order that asks for a challenger and has not been answered, as far as the entries say."""
    training = memory_of(entries).training
    return training if training is not None and training.state == "asked" else None


def answered(memory: Memory, *, state: State, now: datetime) -> Memory:
    """The memory once it is known what has become of the training that was asked for.

    Args:
        memory: of the newest entry.
        state: what has become of it.
        now: aware UTC moment at which that was found.
    """
    training = memory.training
    if training is None or state == training.state:
        return memory
    ended_at = now if state == "failed" else None
    return replace(memory, training=replace(training, state=state, ended_at=ended_at))


def orders(entries: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Every try of every order.

    Args:
        entries: `decisions` of the ledger, oldest first.

    Returns:
        `RETRAIN_DECISION` rows.
    """
    rows = []
    for entry in entries:
        training = _MEMORY.validate_python(entry["memory"]).training
        if entry["action"] not in ("train", "retry") or training is None:
            continue
        rows += [
            {
                "number": training.number,
                "attempt": training.attempt,
                "session": training.session,
                "decided_at": training.asked_at,
                **{name: getattr(signal, name) for name in _OF_A_SIGNAL},
            }
            for signal in training.signals
        ]
    return RETRAIN_DECISION.conform(pl.DataFrame(rows, schema=RETRAIN_DECISION.columns))
