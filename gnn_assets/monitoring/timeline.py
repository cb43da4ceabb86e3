"""The timeline of a replay as one page of HTML, the same bytes for the same walk.

The page needs nothing beside itself: no network, no files. Every text is escaped by the template, and the one script that
may run is the page's own, named by its hash. The script only moves a cursor over the panels: without it what they say of
the last session stands beside them, and the table has every session.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from gnn_assets.backtests.tear_charts import SERIES_COLOURS
from gnn_assets.backtests.tear_tables import DASH
from gnn_assets.core.pages import page_environment
from gnn_assets.monitoring.reasons import RESPONSES, Reason
from gnn_assets.monitoring.timeline_panels import NOT_KNOWN, Curve, Panel, known, months, panel, reigns
from gnn_assets.monitoring.timeline_story import (
    PROMOTED,
    REFUSED,
    SHOWN,
    WEIGHTS,
    events_of,
    failed_runs,
    figures,
    first_alarms,
    measured_of,
    story,
    told,
)
from gnn_assets.monitoring.walk import Measured, Ran, Walk, Walked

# Entries of the ledger that have a lane of their own, and how they are marked.
_EVENTS = {
    PROMOTED: "diamond",
    "confirmed": "ring",
    REFUSED: "cross",
    "rolled_back": "back",
    "degraded": "square",
    "recovered": "disc",
}
_DECISIONS = {"train": "up", "retry": "again", "hold": "bar"}
# Series colours of a measured value and of what it is held against.
_VALUE, _LIMIT = 1, 3
_LEADS_TO = {str(reason): str(response) for reason, response in RESPONSES.items()}


class Mark(NamedTuple):
    """Something that happened in a session: the session's place, from 0, and what it was."""

    place: int
    text: str


@dataclass(frozen=True)
class Lane:
    """Marks of one kind.

    Args:
        name: of the kind.
        sign: its symbol on the page.
        count: how often it happened.
        marks: one a session at most.
    """

    name: str
    sign: str
    count: int
    marks: Sequence[Mark]


def timeline_page(walk: Walk) -> str:
    """The page.

    Args:
        walk: what a replay saw.

    Returns:
        HTML, whole: drawings, style and script are in it.
    """
    sessions, lanes, panels = walk.sessions, _lanes(walk), _panels(walk.sessions)
    script = (_HERE / "timeline.js").read_text(encoding="utf-8")
    return _ENVIRONMENT.get_template("timeline.html.jinja").render(
        walk=walk,
        script=Markup(script),  # noqa: S704 - a file of this package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        figures=figures(walk),
        story=story(walk),
        panels=panels,
        lanes=lanes,
        reigns=reigns(sessions, colours=SERIES_COLOURS),
        months=months([walked.session for walked in sessions]),
        readings={
            "sessions": [_headline(walked) for walked in sessions],
            "panels": [drawn.readings for drawn in panels],
            "happened": [_happened(lanes, place) for place in range(len(sessions))],
        },
        alarms=[(alarm, _LEADS_TO.get(alarm.reason, DASH)) for alarm in first_alarms(walk)],
        gate=events_of(walk, PROMOTED, "confirmed", REFUSED, "rolled_back"),
        failed=failed_runs(walk),
        rows=[_row(walked) for walked in sessions],
        measure=told,
        digits=SHOWN,
    )


def _panels(sessions: Sequence[Walked]) -> list[Panel]:
    """Every panel but the lanes of marks, from the top."""
    earned = [
        Curve("served, net", [walked.served for walked in sessions], 1, heavy=True),
        Curve("equal weight, net", [walked.equal_weight for walked in sessions], 3),
        Curve("market, gross", [walked.market for walked in sessions], 9, dash=True),
    ]
    return [
        panel("Market and P&L", "earned from the first session on", earned, shown=_share, zero=True),
        _judged(
            "Graph drift",
            "distance of the correlation graph from its reference",
            [walked.drift for walked in sessions],
        ),
        _reason(sessions, Reason.SHARPE_BELOW_BENCHMARK, "Live Sharpe ratio", "of what was served; an alarm below"),
        _reason(
            sessions,
            Reason.COVERAGE_MISS,
            "Coverage",
            "of the intervals that were served; an alarm below",
            shown=_share,
        ),
        _reason(sessions, Reason.ACCURACY_DROP, "Accuracy drop", "ratio of errors; an alarm above"),
        _reason(sessions, Reason.FEATURE_DRIFT, "Feature drift", "an alarm above", low=True),
        _reason(sessions, Reason.PREDICTION_DRIFT, "Prediction drift", "an alarm above", low=True),
        _reason(sessions, Reason.RESIDUAL_DRIFT, "Residual drift", "an alarm above", low=True),
    ]


def _reason(sessions: Sequence[Walked], reason: Reason, title: str, about: str, **how: Any) -> Panel:
    return _judged(title, about, [walked.measured.get(reason) for walked in sessions], **how)


def _judged(
    title: str,
    about: str,
    measured: Sequence[Measured | None],
    *,
    shown: Callable[[float], str] = told,
    **how: Any,
) -> Panel:
    """A value with its limit, its alarms shaded."""
    curves = [
        Curve("value", [None if one is None else one.value for one in measured], _VALUE, heavy=True),
        Curve("limit", [None if one is None else one.limit for one in measured], _LIMIT, dash=True),
    ]
    alarms = [one is not None and one.alarm for one in measured]
    return panel(title, about, curves, shown=shown, alarms=alarms, **how)


def _lanes(walk: Walk) -> list[Lane]:
    """Lanes of marks, from the top."""
    return [
        *(
            _lane(walk, action, sign, lambda one, action=action: _decided(one, action))
            for action, sign in _DECISIONS.items()
        ),
        _lane(walk, "trained", "disc", lambda one: [run.why[WEIGHTS] for run in one.runs if WEIGHTS in run.why]),
        *(
            _lane(
                walk,
                name.replace("_", " "),
                sign,
                lambda one, name=name: [f"{own.what}: {own.reason}" for own in one.events if own.event == name],
            )
            for name, sign in _EVENTS.items()
        ),
        _lane(
            walk,
            "others",
            "ring",
            lambda one: [f"{own.event}, {own.what}: {own.reason}" for own in one.events if own.event not in _EVENTS],
        ),
        _lane(walk, "failed runs", "cross", lambda one: [_failure(run) for run in one.runs if run.failed]),
        _lane(walk, "alerts", "bell", lambda one: one.alerts),
    ]


def _lane(walk: Walk, name: str, sign: str, texts: Callable[[Walked], Sequence[str]]) -> Lane:
    found = [(place, texts(walked)) for place, walked in enumerate(walk.sessions)]
    marks = [Mark(place, "; ".join(own)) for place, own in found if own]
    return Lane(name, sign, sum(len(own) for _, own in found), marks)


def _decided(walked: Walked, action: str) -> list[str]:
    because = "; ".join(text for text in (walked.why, walked.cause) if text)
    return [because or "no reason was recorded"] if walked.decision == action else []


def _failure(run: Ran) -> str:
    return "; ".join(f"{asset}: {sentence}" for asset, sentence in run.failed.items())


def _happened(lanes: Sequence[Lane], place: int) -> str:
    """All that is marked in one session."""
    marks = ((lane.name, mark.text) for lane in lanes for mark in lane.marks if mark.place == place)
    return " · ".join(f"{name}: {text}" for name, text in marks)


def _headline(walked: Walked) -> str:
    champion = "no champion" if walked.champion is None else f"champion {walked.champion[:SHOWN]}"
    return f"{walked.session}: {champion}, decision {walked.decision}"


def _row(walked: Walked) -> dict[str, Any]:
    """One session of the table."""
    earned = {"served": walked.served, "equal weight": walked.equal_weight, "market": walked.market}
    return {
        "walked": walked,
        "runs": [(run, list(_made(run))) for run in sorted(walked.runs, key=lambda run: not run.failed)],
        "alarms": [(reason, one) for reason, one in measured_of(walked).items() if one.alarm],
        "earned": {name: _share_or_not(value) for name, value in earned.items()},
    }


def _made(run: Ran) -> Iterator[tuple[str, str]]:
    """Assets and the reason they have in common, and those of which nothing came."""
    for why in dict.fromkeys(run.why.values()):
        yield ", ".join(asset for asset, own in run.why.items() if own == why), why
    silent = [asset for asset in run.assets if asset not in run.why and asset not in run.failed]
    if silent:
        yield ", ".join(silent), "not made"


def _share_or_not(value: float | None) -> str:
    value = known(value)
    return NOT_KNOWN if value is None else _share(value)


def _share(value: float) -> str:
    """A share for people, to a hundredth of a per cent, without digits that say nothing."""
    return f"{round(100 * value, 2):g}\N{NO-BREAK SPACE}%".replace("-", "−")


_HERE = Path(__file__).parent
_ENVIRONMENT = page_environment(_HERE)
