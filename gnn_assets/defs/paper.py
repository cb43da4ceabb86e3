"""What pictures are drawn on: paper whose margins hold what is written there, at half of matplotlib's cost.

A picture is drawn at every materialisation. Left to itself, matplotlib spends most of its time on a layout that draws
everything twice, on ticks of four artists each, and on the search for a legend's best place. Here a scale is text and
one bundle of lines, each text is measured once, and the legend stands above the plot, where it hides nothing.
"""

import base64
import io
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

_DPI = 90
POINT = 72 / _DPI  # points a pixel
GAP = 6  # pixels between what is written, and to the edge
SMALL = 7.0  # size of small text, points
_WRITTEN = 9.0  # size of other text, points

_COLOURS = 256  # of a palette; it takes a third of the bytes, and nothing can be seen of it but in shades
_LETTER = 0.65  # mean width of a letter, of the size of its text
_ROW = 1.6  # height of a row of the legend, of the size of its text
_ABOVE = 0.8  # of the width of the paper, a row of the legend above the plot
_BESIDE = 0.7  # of the height of the paper, a row of the label beside the plot
_HANDLE = 40  # pixels beside a name in the legend
_LEGEND = 40  # pixels of height; a legend beyond them gets paper of its own, or a crowd would leave no plot
_TICKS = 5  # about so many along a scale
_WEEK = 7  # days; over less the ticks of a scale of dates would be hours
_MARGIN = 0.05  # of what a scale spans, left free at both of its ends
_POWERS = (-5, 6)  # numbers beyond these powers of ten are written with an exponent in the label

Ticks = tuple[Sequence[float], Sequence[str]]  # where they are, and what is written there


def new_figure(*, width: float, height: float, title: str) -> "Figure":
    """Paper of so many inches with a title at its upper edge, drawn without a display and without global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    place = figure.transFigure + _moved(figure, 0, -GAP)
    text = _wrapped(title, room=figure.bbox.width)
    figure.text(0.5, 1, text, fontsize=_WRITTEN, ha="center", va="top", transform=place)
    return figure


def new_axes(figure: "Figure") -> "Axes":
    """A plot without ticks; `seat` says where."""
    return figure.add_axes((0, 0, 1, 1), xticks=[], yticks=[])


def seat(axes: "Axes", left: float, bottom: float, width: float, height: float) -> None:
    """Puts a plot where these pixels of its paper are."""
    paper = _paper(axes).bbox
    axes.set_position((left / paper.width, bottom / paper.height, width / paper.width, height / paper.height))


def widest(texts: Sequence["Text"]) -> float:
    """Width of the widest, pixels."""
    return max((_box(text).width for text in texts), default=0.0)


def highest(texts: Sequence["Text"]) -> float:
    """Height of the highest, pixels."""
    return max((_box(text).height for text in texts), default=0.0)


def under_title(figure: "Figure") -> float:
    """Pixels from the upper edge to where there is room."""
    return highest(figure.texts) + 2 * GAP


def value_ticks(low: float, high: float, *, whole: bool = False) -> tuple[Ticks, str]:
    """Round numbers between two, and what a label has to add where all of them share a power of ten."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    locator = MaxNLocator(nbins=_TICKS, steps=[1, 2, 2.5, 5, 10], integer=whole)
    places = [place for place in locator.tick_values(low, high) if low <= place <= high]
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_powerlimits(_POWERS)
    formatter.create_dummy_axis()
    assert formatter.axis is not None
    formatter.axis.set_view_interval(low, high)
    names = formatter.format_ticks(places)
    power = formatter.get_offset()
    return (places, names), f" ({power})" if power else ""


def whole_ticks(axes: "Axes") -> Ticks:
    """Whole numbers along a plot."""
    return value_ticks(*axes.get_xlim(), whole=True)[0]


def date_ticks(axes: "Axes", first: float, last: float) -> Ticks:
    """First days of years or of months along a plot, or days between them, in ISO 8601.

    Args:
        first: day the plot begins with, as matplotlib counts days.
        last: day it ends with.
    """
    from matplotlib.dates import AutoDateFormatter, AutoDateLocator, num2date

    margin = max(_MARGIN * (last - first), (_WEEK - (last - first)) / 2)
    low, high = axes.set_xlim(first - margin, last + margin)
    locator = AutoDateLocator(minticks=_TICKS - 2, maxticks=_TICKS + 2)
    formatter = AutoDateFormatter(locator)
    days = [day for day in locator.tick_values(num2date(low), num2date(high)) if low <= day <= high]
    # The first of a month may follow upon the last of the month before; a name needs more than a day.
    name = len(formatter(first)) * _letter(_WRITTEN) / (_ABOVE * _paper(axes).bbox.width) * (high - low)
    apart: list[float] = []
    for day in days:
        if not apart or day - apart[-1] >= name:
            apart.append(day)
    return apart, [formatter(day) for day in apart]


def scale(
    axes: "Axes", edge: Literal["left", "right", "bottom"], ticks: Ticks, *, size: float = _WRITTEN, rotation: float = 0
) -> list["Text"]:
    """Writes the names of ticks beside an edge of a plot; under it, turned by so many degrees."""
    written = []
    how: dict[str, Any]
    for at, name in zip(*ticks, strict=True):
        if edge == "bottom":
            x, y, place, (right, up) = at, 0.0, axes.get_xaxis_transform(), (0, -GAP)
            how = {"ha": "center", "va": "top", "rotation": rotation}
        else:
            outwards = 1 if edge == "right" else -1
            x, y, place, (right, up) = float(edge == "right"), at, axes.get_yaxis_transform(), (outwards * GAP, 0)
            how = {"ha": "left" if edge == "right" else "right", "va": "center"}
        written.append(axes.text(x, y, name, fontsize=size, transform=place + _moved(_paper(axes), right, up), **how))
    return written


def around(axes: "Axes", angle_N: np.ndarray, labels: Sequence[str]) -> list["Text"]:
    """Names outside the unit circle, each turned as the ray it stands on.

    Args:
        angle_N: float (N,), radians.
        labels: the N names.
    """
    written = []
    for label, angle in zip(labels, angle_N.tolist(), strict=True):
        x, y = math.cos(angle), math.sin(angle)
        place = axes.transData + _moved(_paper(axes), GAP * x, GAP * y)
        how: dict[str, Any] = {"ha": "right" if x < 0 else "left", "va": "center", "rotation_mode": "anchor"}
        turned = math.degrees(angle) + (180 if x < 0 else 0)
        written.append(axes.text(x, y, label, fontsize=SMALL, rotation=turned, transform=place, **how))
    return written


def legend(axes: "Axes", *, room: float, under: bool = False) -> float:
    """Names the series above their plot, or at the lower edge of the paper.

    Args:
        room: pixels it may be wide.

    Returns:
        Pixels it is high at most; 0 if nothing has a name.
    """
    _, names = axes.get_legend_handles_labels()
    if not names:
        return 0.0
    widest_name = max(len(name) for name in names) * _letter(SMALL) + _HANDLE
    columns = max(min(int(room / widest_name), len(names)), 1)
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
    if under:
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 0), "bbox_transform": _paper(axes).transFigure}
    axes.legend(fontsize=SMALL, ncols=columns, frameon=False, borderaxespad=0, labelspacing=0.3, **place)
    return math.ceil(len(names) / columns) * _ROW * SMALL / POINT + GAP


def ruled(
    panels: Sequence["Axes"], ticks: Sequence[Ticks], *, x_label: str, y_labels: Sequence[str], turned: bool = False
) -> None:
    """Scales, grids, labels and the legend of plots side by side, and margins that hold them.

    Args:
        ticks: along each plot; those of values it finds itself.
        y_labels: one a plot.
        turned: whether the names along a plot are turned; they name groups then, which need no grid.
    """
    figure = _paper(panels[0])
    named = legend(panels[0], room=_ABOVE * figure.bbox.width / len(panels))
    beside = _BESIDE * figure.bbox.height
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + max(named - _LEGEND, 0) / _DPI)
    labels = [_wrapped(label, room=beside) for label in y_labels]
    margins = [_margins(*each, x_label=x_label, turned=turned) for each in zip(panels, ticks, labels, strict=True)]
    below = max(bottom for _, bottom, _ in margins)
    height = figure.bbox.height - under_title(figure) - named - below
    width = (figure.bbox.width - sum(left + right for left, _, right in margins)) / len(panels)
    edge = 0.0
    for panel, (left, _, right) in zip(panels, margins, strict=True):
        seat(panel, edge + left, below, width, height)
        edge += left + width + right


def picture(figure: "Figure", title: str, *, shades: bool = False) -> dg.MarkdownMetadataValue:
    """The figure as a PNG inside Markdown; in full colours where shades tell something."""
    from PIL import Image

    canvas: Any = figure.canvas
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    if not shades:
        drawn = drawn.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    drawn.save(buffer, format="png")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return dg.MarkdownMetadataValue(f"![{title}](data:image/png;base64,{encoded})")


def _margins(axes: "Axes", x_ticks: Ticks, y_label: str, *, x_label: str, turned: bool) -> tuple[float, float, float]:
    """Writes what stands around a plot; pixels needed on its left, below it and on its right."""
    figure = _paper(axes)
    y_ticks, power = value_ticks(*axes.get_ylim())
    _grid(axes, [] if turned else x_ticks[0], y_ticks[0])
    left = widest(scale(axes, "left", y_ticks)) + 2 * GAP
    names = scale(axes, "bottom", x_ticks, rotation=45 if turned else 0)
    below = highest(names) + 2 * GAP
    how: dict[str, Any] = {"fontsize": _WRITTEN, "multialignment": "center"}
    place = axes.transAxes + _moved(figure, -left, 0)
    y_text = axes.text(0, 0.5, y_label + power, rotation=90, ha="right", va="center", transform=place, **how)
    place = axes.transAxes + _moved(figure, 0, -below)
    x_text = axes.text(0.5, 0, x_label, ha="center", va="top", transform=place, **how)
    # Half of the last name may stand beyond the plot.
    return left + widest([y_text]) + GAP, below + highest([x_text]) + GAP, max(widest(names[-1:]) / 2, 2 * GAP)


def _grid(axes: "Axes", columns: Sequence[float], rows: Sequence[float]) -> None:
    from matplotlib.collections import LineCollection

    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    drawn = [((left, at), (right, at)) for at in rows] + [((at, low), (at, high)) for at in columns]
    axes.add_collection(LineCollection(drawn, colors="0.9", linewidths=0.8, zorder=0.5), autolim=False)
    # What is drawn sets the limits no more, or the grid would end short of the edge.
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)


def _moved(figure: "Figure", x: float, y: float) -> Any:
    """So many pixels to the right, and up."""
    from matplotlib.transforms import ScaledTranslation

    return ScaledTranslation(x / _DPI, y / _DPI, figure.dpi_scale_trans)


def _letter(size: float) -> float:
    return _LETTER * size / POINT


def _wrapped(text: str, *, room: float) -> str:
    return textwrap.fill(text, max(int(room / _letter(_WRITTEN)), 1))


def _paper(artist: "Artist") -> "Figure":
    figure = artist.get_figure(root=True)
    assert figure is not None
    return figure


def _box(text: "Text") -> "Bbox":
    # The renderer that draws it afterwards remembers what it has measured.
    canvas: Any = _paper(text).canvas
    return text.get_window_extent(canvas.get_renderer())
