"""The words of a message: what is the matter in the first line, the worst of it below, the rest counted."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gnn_assets.monitoring.alerts import Condition

_MOST = 300  # letters of one condition's sentence; channels cut a message that is too long
# How long it was, in the largest of these that it reaches.
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1), "s": timedelta(seconds=1)}


def alert_text(conditions: Sequence["Condition"], *, most: int) -> tuple[str, str]:
    """Title and body of a message.

    Args:
        conditions: what it tells of, worst first.
        most: lines; of what is beyond only the number is told.
    """
    severity = conditions[0].severity
    return f"[{severity}] {_what(conditions)}", _lines(conditions, most=most)


def resolve_text(title: str, conditions: Sequence["Condition"], *, lasted: timedelta, most: int) -> tuple[str, str]:
    """Title and body of the message that all is over.

    Args:
        title: of the message that told of it.
        conditions: what is over, worst first.
        lasted: from its beginning to now.
        most: as for `alert_text`.
    """
    _, _, what = title.partition("] ")
    told = ", ".join(f"{condition.kind} {_line(condition.subject)}" for condition in conditions[:most])
    return f"[resolved] {what}", f"Over after {_long(lasted)}: {told}{_and_more(len(conditions) - most)}."


def _what(conditions: Sequence["Condition"]) -> str:
    if len(conditions) == 1:
        return f"{conditions[0].kind}: {_line(conditions[0].subject)}"
    kinds = Counter(condition.kind for condition in conditions)
    return f"{len(conditions)} alerts: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}"


def _lines(conditions: Sequence["Condition"], *, most: int) -> str:
    lines = []
    for condition in conditions[:most]:
        sentence = _line(condition.sentence)
        told = sentence if len(sentence) <= _MOST else f"{sentence[: _MOST - 1]}…"
        evidence = f" ({condition.evidence})" if condition.evidence else ""
        lines.append(f"{condition.severity}: {condition.kind} {_line(condition.subject)}: {told}{evidence}")
    more = _and_more(len(conditions) - most).strip()
    return "\n".join([*lines, *([more] if more else [])])


def _line(text: str) -> str:
    """On one line, as each condition has one: an error's words may be of several."""
    return " ".join(text.split())


def _and_more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def _long(lasted: timedelta) -> str:
    unit, size = next(((unit, size) for unit, size in _UNITS.items() if lasted >= size), ("s", _UNITS["s"]))
    return f"{lasted / size:.0f} {unit}"
