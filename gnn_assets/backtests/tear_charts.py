"""Lines over sessions or horizons as inline SVG for a page, the same bytes for the same data.

A chart has no colours of its own: ink is the page's text colour, and each line takes one of the page's series colours
(``--series-1`` and on), so that one drawing is read on light and dark ground. It holds no names: what lines are called
stands in the page's legend, which escapes them.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES_COLOURS = 9
# Colours nobody else draws with, to be told apart in the drawing and put in terms of the page.
_INK = "#000000"
_STAND_INS = {f"#00000{number}": f"var(--series-{number})" for number in range(1, SERIES_COLOURS + 1)}
_WIDTH, _HEIGHT = 9.0, 2.9  # inches; the page scales them
# Values that span more than this many times are marked at 1, 2 and 5 of every power of ten.
_WIDE = 8.0
_STYLE = {
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": False,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}
# What an SVG file needs and a drawing inside of a page does not; the names of groups would be there once a chart.
_OF_A_FILE = re.compile(
    r"""<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>"""
    r"""| xmlns(?::\w+)?="[^"]*"| version="1\.1"| (?:width|height)="[^"]*pt"|(?<=<g) id="[^"]*\"""",
    re.DOTALL,
)
_FONTS = re.compile(r"(?<=font-family: )[^;\"]*")
# A hundredth of a pixel is finer than any screen or printer.
_LONG = re.compile(r"\d+\.\d{3,}")


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart.

    Args:
        values_T: float (T,), NaN where the line has a hole.
        colour: number of the page's series colour, from 1 to `SERIES_COLOURS`.
        dash: what the line is made of, in lengths of stroke and of hole; empty for a solid one.
        heavy: whether it is the one to be looked at.
        lower_T: lower end of a band around it, float (T,); None for no band.
        upper_T: upper end, likewise.
    """

    values_T: np.ndarray
    colour: int
    dash: tuple[float, ...] = ()
    heavy: bool = False
    lower_T: np.ndarray | None = None
    upper_T: np.ndarray | None = None


def line_chart(
    x: Sequence[Any],
    lines: Sequence[Line],
    *,
    name: str,
    y_label: str,
    x_label: str = "",
    log: bool = False,
    share: bool = False,
    filled: bool = False,
) -> str:
    """An ``<svg>`` element for a page, without sizes, names or references to anything outside of it.

    Args:
        x: the T places under the axis: sessions or numbers.
        lines: drawn in reverse, so that the first lies on top.
        name: unlike that of any other chart of the page; from the program, not from data.
        y_label: from the program likewise.
        x_label: likewise; empty where the axis speaks for itself.
        log: equal ratios are equal heights; values that are not positive are left out. Else a line is drawn at 0.
        share: values are shares, told in per cent.
        filled: whether the first line's distance from 0 is shaded.
    """
    from matplotlib import style

    # Settings of the machine's own user would change what is drawn.
    with style.context(["default", {**_STYLE, "svg.hashsalt": name}]):
        from matplotlib.figure import Figure

        # The object interface draws without a display.
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        _draw(axes, x, lines, filled=filled)
        axes.set_ylabel(y_label)
        axes.set_xlabel(x_label)
        axes.grid(color=_INK, alpha=0.15, linewidth=0.6)
        axes.margins(x=0.01)
        if len(x) and isinstance(x[0], int):
            axes.set_xticks(x)
        _scale(axes, lines, log=log, share=share)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return _inline(buffer.getvalue())


def _draw(axes: "Axes", x: Sequence[Any], lines: Sequence[Line], *, filled: bool) -> None:
    for place, line in reversed(list(enumerate(lines))):
        colour = list(_STAND_INS)[line.colour - 1]
        style = (0, line.dash) if line.dash else "solid"
        axes.plot(x, line.values_T, color=colour, linewidth=1.8 if line.heavy else 1.0, linestyle=style)
        if line.lower_T is not None and line.upper_T is not None:
            axes.fill_between(x, line.lower_T, line.upper_T, color=colour, alpha=0.2, linewidth=0)
        if filled and place == 0:
            axes.fill_between(x, line.values_T, 0.0, color=colour, alpha=0.2, linewidth=0)


def _scale(axes: "Axes", lines: Sequence[Line], *, log: bool, share: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

    if log:
        values = np.concatenate([line.values_T for line in lines])
        values = values[np.isfinite(values) & (values > 0)]
        wide = bool(values.size) and values.max() / values.min() > _WIDE
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if wide else MaxNLocator(6))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
        return
    axes.axhline(0.0, color=_INK, linewidth=0.8)
    if share:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def _inline(drawing: str) -> str:
    """The element of a file's drawing, in the colours of the page that it will stand in."""
    element = _FONTS.sub("inherit", _OF_A_FILE.sub("", drawing[drawing.index("<svg") :]))
    element = _LONG.sub(lambda number: f"{float(number[0]):.2f}", element)
    for stand_in, colour in {_INK: "currentColor", **_STAND_INS}.items():
        element = element.replace(stand_in, colour)
    return element.strip()
