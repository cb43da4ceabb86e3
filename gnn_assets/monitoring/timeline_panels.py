"""Panels of a replay's timeline: lines, shaded alarms and marks, all over one axis of sessions.

The tear sheet's charts hold their own axes and words, so that no two of them line up and a phone shrinks their text. Here
a drawing holds nothing but lines, in units of a session across and of a hundredth of the panel's height down; it is
stretched to whatever width there is, and the page sets words and marks beside it. What is not known is a gap.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby, pairwise
from typing import NamedTuple

from gnn_assets.monitoring.walk import Walked

NOT_KNOWN = "not known yet"
# A drawn value farther from 0 lies at the panel's edge: the scale is made from the others.
_FARTHEST = 1e6
_TICKS = 4  # intervals between marks of a scale, at most
_LABELS = 8  # months named under the panels, at most
_FLAT = 1e-6  # a span that is a smaller part of its values is drawn as one value
_BOTTOM = 100.0
_ROOM = 0.1  # of its size, about a value that is all there is


class Curve(NamedTuple):
    """One line of a panel.

    Args:
        name: for people.
        values: one a session; None while not known.
        colour: number of the page's series colour.
        dash: whether it is broken, as limits are.
        heavy: whether it is the one to be looked at.
    """

    name: str
    values: Sequence[float | None]
    colour: int
    dash: bool = False
    heavy: bool = False


class Stretch(NamedTuple):
    """Some sessions in a row: the first one's place, from 0, and how many they are."""

    start: int
    length: int


@dataclass(frozen=True)
class Panel:
    """A panel as the page shows it.

    Args:
        title: for people.
        about: what is drawn, in words.
        curves: each line with the data of its path; empty where it has no value.
        alarms: sessions that are shaded.
        ticks: place of a mark from the top (per cent of the height) and its text.
        readings: what it says of each session.
        low: whether it is one of several lanes.
    """

    title: str
    about: str
    curves: Sequence[tuple[Curve, str]]
    alarms: Sequence[Stretch]
    ticks: Sequence[tuple[float, str]]
    readings: Sequence[str]
    low: bool = False


def known(value: float | None) -> float | None:
    """The value, None where it is NaN."""
    return None if value is None or math.isnan(value) else value


def panel(
    title: str,
    about: str,
    curves: Sequence[Curve],
    *,
    shown: Callable[[float], str],
    alarms: Sequence[bool] = (),
    zero: bool = False,
    low: bool = False,
) -> Panel:
    """Draws curves on one scale.

    Args:
        title: for people.
        about: what is drawn, in words.
        curves: at least one, of one value a session each.
        shown: a value for people.
        alarms: whether a session is shaded; empty for none.
        zero: whether the scale holds 0 in any case.
        low: whether it is one of several lanes.
    """
    curves = [curve._replace(values=[known(value) for value in curve.values]) for curve in curves]
    drawn = [value for curve in curves for value in curve.values if value is not None and abs(value) <= _FARTHEST]
    marks = _marks([*drawn, 0.0] if zero else drawn)

    def place(value: float) -> float:
        share = (value - marks[0]) / (marks[-1] - marks[0])
        return _BOTTOM * (1.0 - min(max(share, 0.0), 1.0))

    return Panel(
        title=title,
        about=about,
        curves=[(curve, _path(curve.values, place)) for curve in curves],
        alarms=stretches(alarms),
        ticks=[(place(mark), shown(mark)) for mark in marks] if drawn else [],
        readings=[_reading(curves, at, shown=shown) for at in range(len(curves[0].values))],
        low=low,
    )


def stretches(flags: Sequence[bool]) -> list[Stretch]:
    """The sessions in a row for which something holds."""
    found, start = [], 0
    for holds, run in groupby(flags):
        length = len(list(run))
        if holds:
            found.append(Stretch(start, length))
        start += length
    return found


class Reign(NamedTuple):
    """A champion's sessions in a row.

    Args:
        version: of its weights.
        colour: number of the page's series colour; the same whenever it serves.
        stretch: its sessions.
    """

    version: str
    colour: int
    stretch: Stretch


def reigns(sessions: Sequence[Walked], *, colours: int) -> list[Reign]:
    """Who was served when; sessions without a champion belong to none.

    Args:
        sessions: in order.
        colours: series colours that the page has.
    """
    versions = [walked.champion for walked in sessions]
    order = list(dict.fromkeys(version for version in versions if version is not None))
    return [
        Reign(version, 1 + order.index(version) % colours, stretch)
        for version in order
        for stretch in stretches([one == version for one in versions])
    ]


def months(sessions: Sequence[date]) -> list[tuple[int, str, str]]:
    """Places of the sessions that months begin with, their names, few enough to stand side by side, and each new year."""
    begins = ((before.year, before.month) != (day.year, day.month) for before, day in pairwise(sessions))
    starts = [0, *(at for at, begun in enumerate(begins, start=1) if begun)]
    named: list[tuple[int, str, str]] = []
    year = None
    for at in starts if sessions else []:
        if named and (at - named[-1][0]) * _LABELS < len(sessions):
            continue
        day = sessions[at]
        named.append((at, f"{day:%b}", "" if day.year == year else str(day.year)))
        year = day.year
    return named


def _marks(values: Sequence[float]) -> list[float]:
    """Round numbers from below the lowest value to above the highest."""
    from matplotlib.ticker import MaxNLocator

    lowest, highest = min(values, default=0.0), max(values, default=1.0)
    if highest - lowest <= _FLAT * max(abs(lowest), abs(highest)):
        room = _ROOM * (abs(lowest) or 1.0)
        lowest, highest = lowest - room, highest + room
    return [float(mark) for mark in MaxNLocator(_TICKS, steps=[1, 2, 2.5, 5, 10]).tick_values(lowest, highest)]


def _path(values: Sequence[float | None], place: Callable[[float], float]) -> str:
    """Data of an SVG path through the middles of the sessions; a known value between gaps is a dot."""
    parts = []
    for stretch in stretches([value is not None for value in values]):
        run = values[stretch.start : stretch.start + stretch.length]
        points = [
            f"{stretch.start + at + 0.5:g} {place(value):.2f}" for at, value in enumerate(run) if value is not None
        ]
        parts.append(f"M{'L'.join(points)}" if len(points) > 1 else f"M{points[0]}h0")
    return "".join(parts)


def _reading(curves: Sequence[Curve], at: int, *, shown: Callable[[float], str]) -> str:
    told = ((curve.name, curve.values[at]) for curve in curves)
    return ", ".join(f"{name} {NOT_KNOWN if value is None else shown(value)}" for name, value in told)
