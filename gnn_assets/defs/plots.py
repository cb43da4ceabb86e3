"""Pictures a person would look at on an asset's page, small enough to live in Dagster's event log.

A plot has a size, and the paper is cut around all that is written beside it, so nothing is ever cut off. That takes one
look at the texts; matplotlib's constrained layout draws everything twice.
"""

import base64
import io
import textwrap
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 90
_INCH = 72  # points
_SMALL = 7.0  # size of names, points
_WRITTEN = 9.0  # size of titles and labels, points
_NUMBERS = 8.0  # size of what is written along scales, points
_EDGE = 0.08  # inches left white around a picture
_WIDE = (6.2, 2.3)  # width and height of the plot of a series, inches
_HALF = 2.9  # width of each of two plots side by side, inches
_SQUARE = 4.2  # side of a square plot, inches
_REACH = 1.06  # where the names around a circle begin, of its radius

_COLOURS = 256  # of a palette; it takes a third of the bytes, and nothing can be seen of it but in shades
_LETTER = 0.6  # mean width of a letter, of the size of its text
_HANDLE = 0.45  # inches beside a name in the legend
_TICKS = 5  # about so many along a scale
_POWERS = (-5, 6)  # numbers beyond these powers of ten are written with an exponent in the label
_WEEK = 7  # days; over less the ticks of a scale of dates would be hours
_QUARTER = 92  # days; over more its ticks are first days of months or of years

_NAMED = 60  # more names than this cannot be read in a picture
_LEVEL = 8  # more names than this under an axis are turned
_DRAWN = 2000  # more edges than this are a ball of wool; the strongest are drawn


def heat_map(matrix: np.ndarray, *, labels: Sequence[str], title: str) -> dg.MarkdownMetadataValue:
    """A correlation matrix as colours, NaN left white.

    Args:
        matrix: float (N, N) in [-1, 1].
        labels: the N names; left out where they could not be read.
    """
    figure = _figure()
    axes = figure.add_axes((0, 0, _SQUARE, _SQUARE))
    bar = figure.add_axes((1.04 * _SQUARE, 0, 0.04 * _SQUARE, _SQUARE))
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    figure.colorbar(image, cax=bar, ticks=[-1, -0.5, 0, 0.5, 1])
    shown = labels if len(labels) <= _NAMED else []
    # No name is higher than its row.
    size = min(_SMALL, _SQUARE * _INCH / max(len(labels), 1))
    axes.set_xticks(range(len(shown)), shown)
    axes.set_yticks(range(len(shown)), shown)
    axes.tick_params(labelsize=size)
    axes.tick_params(axis="x", labelrotation=90)
    bar.tick_params(labelsize=_NUMBERS)
    _head(axes, title, width=_SQUARE)
    return _picture(figure, title, shades=True)


def network(
    dst_Nxk: np.ndarray, corr_Nxk: np.ndarray, *, labels: Sequence[str], groups: Sequence[str], title: str
) -> dg.MarkdownMetadataValue:
    """A graph on a circle, group beside group; red edges move together, blue ones apart, strong ones are darker.

    Args:
        dst_Nxk: int (N, k), position of each neighbour, -1 where absent.
        corr_Nxk: float (N, k), correlation with it.
        labels: the N names.
        groups: the N groups, such as sectors.
    """
    from matplotlib.collections import LineCollection

    figure = _figure()
    axes = figure.add_axes((0, 0, _SQUARE, _SQUARE))
    order = np.argsort(np.array(groups, dtype=object), kind="stable")
    angle_N = np.empty(len(labels))
    angle_N[order] = 2 * np.pi * np.arange(len(labels)) / max(len(labels), 1)
    place_Nx2 = np.stack([np.cos(angle_N), np.sin(angle_N)], axis=1)
    src, rank = np.nonzero(dst_Nxk >= 0)
    strongest = np.argsort(-np.abs(corr_Nxk[src, rank]), kind="stable")[:_DRAWN]
    src, rank = src[strongest], rank[strongest]
    corr = corr_Nxk[src, rank]
    colours = [(0.7, 0.1, 0.1, abs(r) / 2) if r > 0 else (0.1, 0.2, 0.7, abs(r) / 2) for r in corr.tolist()]
    ends = np.stack([place_Nx2[src], place_Nx2[dst_Nxk[src, rank]]], axis=1)
    axes.add_collection(LineCollection(list(ends), colors=colours, linewidths=0.8), autolim=False)
    names = sorted(set(groups))
    for number, name in enumerate(names):
        own = [position for position, group in enumerate(groups) if group == name]
        axes.plot(*place_Nx2[own].T, "o", markersize=4.2, color=f"C{number % 10}", label=name)
    axes.set_axis_off()
    axes.set(xlim=(-_REACH, _REACH), ylim=(-_REACH, _REACH))
    shown = labels if len(labels) <= _NAMED else []
    for label, angle, (x, y) in zip(shown, angle_N, _REACH * place_Nx2, strict=False):
        turned = np.cos(angle) < 0
        axes.text(
            x, y, label, fontsize=_SMALL, rotation=np.degrees(angle) + 180 * turned, rotation_mode="anchor",
            ha="right" if turned else "left", va="center",
        )  # fmt: skip
    # The names at the top reach beyond the plot.
    _head(axes, title, width=_SQUARE, above=figure.get_tightbbox().y1 / _SQUARE)
    return _picture(figure, title)


def lines(
    x: Sequence[Any], series: Mapping[str, Sequence[float] | np.ndarray], *, title: str, x_label: str, y_label: str
) -> dg.MarkdownMetadataValue:
    """Several series over one axis; the first is drawn thick.

    Args:
        x: sessions, or numbers of folds.
        series: name → values, from the first of `x` on; NaN where there is none.
    """
    figure = _figure()
    axes = figure.add_axes((0, 0, *_WIDE))
    dated = len(x) > 0 and isinstance(x[0], date)
    at_T = np.array(x, dtype="datetime64[D]" if dated else float)
    for number, (name, values) in enumerate(series.items()):
        axes.plot(at_T[: len(values)], values, label=name, linewidth=1.8 if number == 0 else 0.9)
    if dated:
        _date(axes, x[0], x[-1])
    else:
        axes.locator_params(axis="x", nbins=_TICKS, integer=True)
    _rule(axes, x_label=x_label, y_label=y_label)
    _head(axes, title, width=_WIDE[0])
    return _picture(figure, title)


def bars(
    groups: Sequence[str],
    series: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    title: str,
    y_label: str,
) -> dg.MarkdownMetadataValue:
    """Bars with intervals, side by side in each group.

    Args:
        groups: the G names under the axis.
        series: name → values, lower and upper ends, float (G,) each; NaN where there is none.
    """
    figure = _figure()
    axes = figure.add_axes((0, 0, *_WIDE))
    width = 0.8 / max(len(series), 1)
    for number, (name, (values_G, lower_G, upper_G)) in enumerate(series.items()):
        at_G = np.arange(len(groups)) + (number - (len(series) - 1) / 2) * width
        axes.bar(at_G, values_G, width=width, label=name)
        axes.vlines(at_G, lower_G, upper_G, color="black", linewidth=0.8)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xticks(range(len(groups)), groups, rotation=45 if len(groups) > _LEVEL else 0)
    _rule(axes, x_label="", y_label=y_label)
    axes.grid(visible=False, axis="x")
    _head(axes, title, width=_WIDE[0])
    return _picture(figure, title)


def calibration(
    expected_D: np.ndarray, realised_D: np.ndarray, lower_D: np.ndarray, upper_D: np.ndarray, *, title: str, unit: str
) -> dg.MarkdownMetadataValue:
    """What was expected against what came, each with its interval, beside the line of a forecast that keeps its word.

    Args:
        expected_D: float (D,).
        realised_D: float (D,).
        lower_D: lower ends of the intervals of what came, float (D,).
        upper_D: upper ends, float (D,).
    """
    figure = _figure()
    axes = figure.add_axes((0, 0, _SQUARE, 0.8 * _SQUARE))
    axes.axline((0, 0), slope=1, color="grey", linewidth=0.8, linestyle="--", label="as promised")
    axes.vlines(expected_D, lower_D, upper_D, color="C0", linewidth=0.8)
    axes.plot(expected_D, realised_D, "o", color="C0", label="deciles of scores")
    axes.locator_params(axis="x", nbins=_TICKS)
    _rule(axes, x_label=f"expected ({unit})", y_label=f"realised ({unit})")
    _head(axes, title, width=_SQUARE)
    return _picture(figure, title)


def training_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]], *, title: str) -> dg.MarkdownMetadataValue:
    """Loss and validation IC by epoch, a line a part."""
    figure = _figure()
    left = figure.add_axes((0, 0, _HALF, _WIDE[1]))
    right = figure.add_axes((_WIDE[0] - _HALF, 0, _HALF, _WIDE[1]))
    right.yaxis.tick_right()
    right.yaxis.set_label_position("right")
    for panel, figure_name, label in ((left, "loss", "loss"), (right, "validation_ic", "validation IC")):
        for part, rows in curves.items():
            values = [row[figure_name] for row in rows]
            if any(value is not None for value in values):
                panel.plot([row["epoch"] for row in rows], values, linewidth=0.9, label=part)
        panel.locator_params(axis="x", nbins=_TICKS, integer=True)
        _rule(panel, x_label="epoch", y_label=label)
    _head(left, title, width=_WIDE[0])
    return _picture(figure, title)


def equity(
    frame: pl.DataFrame, *, index_return: Mapping[date, float], first: str, title: str
) -> dg.MarkdownMetadataValue:
    """Growth of one unit, net of costs, a line a model, beside the index as context.

    Args:
        frame: PORTFOLIO_RETURNS rows.
        index_return: session → simple return of the index.
        first: model drawn thick.
    """
    sessions = frame["session"].unique().sort().to_list()
    models = [first, *(name for name in frame["model"].unique().sort().to_list() if name != first)]
    series: dict[str, np.ndarray] = {}
    for model in models:
        rows = frame.filter(pl.col("model") == model).sort("session")
        series[model] = np.cumprod(1 + rows["net"].fill_null(0).to_numpy())
    series["index (no costs, context)"] = np.cumprod([1 + index_return.get(session, 0.0) for session in sessions])
    return lines(sessions, series, title=title, x_label="session", y_label="growth of 1, net")


def table(frame: pl.DataFrame, *, digits: int) -> dg.MarkdownMetadataValue:
    """A small frame as a Markdown table."""
    header = "| " + " | ".join(frame.columns) + " |"
    rule = "|" + "---|" * frame.width
    rows = ["| " + " | ".join(_cell(value, digits) for value in row) + " |" for row in frame.iter_rows()]
    return dg.MarkdownMetadataValue("\n".join([header, rule, *rows]))


def _cell(value: object, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _figure() -> "Figure":
    """Paper of one inch, so that places on it are inches until it is cut; drawn without display and global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1), dpi=_DPI)
    FigureCanvasAgg(figure)
    return figure


def _head(axes: "Axes", title: str, *, width: float, above: float = 1) -> None:
    """Title and legend, so many inches wide, where they hide nothing: from so many of its heights above a plot on."""
    handles, names = axes.get_legend_handles_labels()
    column = _HANDLE + max(map(len, names), default=0) * _letter(_SMALL)
    axes.legend(
        handles, names, title=_wrapped(title, width=width), ncols=max(int(width / column), 1), loc="lower left",
        bbox_to_anchor=(0, above), alignment="left", frameon=False, fontsize=_SMALL, title_fontsize=_WRITTEN,
        borderpad=0, borderaxespad=0.5,
    )  # fmt: skip


def _rule(axes: "Axes", *, x_label: str, y_label: str) -> None:
    """Scales, labels and a grid; a power of ten that all numbers share is in the label, or it would be in the legend."""
    from matplotlib.ticker import ScalarFormatter

    axes.locator_params(axis="y", nbins=_TICKS)
    axes.tick_params(labelsize=_NUMBERS)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    room = axes.get_position()
    for axis, label, width in ((axes.xaxis, x_label, room.width), (axes.yaxis, y_label, room.height)):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, ScalarFormatter):
            formatter.set_useOffset(False)
            formatter.set_powerlimits(_POWERS)
        formatter.format_ticks(list(axis.get_majorticklocs()))  # finds the power
        power = formatter.get_offset()
        axis.set_label_text(_wrapped(f"{label} ({power})" if power else label, width=width), fontsize=_WRITTEN)
        axis.offsetText.set_visible(False)


def _date(axes: "Axes", first: date, last: date) -> None:
    """Some days from the first to the last, in ISO 8601; first days of years or of months if there are many."""
    from matplotlib.dates import AutoDateFormatter, AutoDateLocator, date2num

    begin, end = date2num(first), date2num(last)
    margin = max(axes.get_xmargin() * (end - begin), (_WEEK - (end - begin)) / 2)
    axes.set_xlim(begin - margin, end + margin)
    # Days counted from the first of each month would write the first over the last of the month before.
    locator = AutoDateLocator(minticks=_TICKS - 2, maxticks=_TICKS + 2, interval_multiples=end - begin > _QUARTER)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(AutoDateFormatter(locator))


def _picture(figure: "Figure", title: str, *, shades: bool = False) -> dg.MarkdownMetadataValue:
    """The figure as a PNG inside Markdown; in full colours where shades tell something."""
    from PIL import Image

    _cut(figure)
    canvas: Any = figure.canvas
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    if not shades:
        drawn = drawn.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    drawn.save(buffer, format="png")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return dg.MarkdownMetadataValue(f"![{title}](data:image/png;base64,{encoded})")


def _cut(figure: "Figure") -> None:
    """Cuts the paper around what will be drawn, and leaves every plot its size."""
    paper = figure.get_tightbbox().padded(_EDGE)
    places = [axes.get_position() for axes in figure.axes]
    figure.set_size_inches(paper.width, paper.height)
    for axes, place in zip(figure.axes, places, strict=True):
        left, bottom = (place.x0 - paper.x0) / paper.width, (place.y0 - paper.y0) / paper.height
        axes.set_position((left, bottom, place.width / paper.width, place.height / paper.height))


def _letter(size: float) -> float:
    """Mean width of a letter, inches."""
    return _LETTER * size / _INCH


def _wrapped(text: str, *, width: float) -> str:
    return textwrap.fill(text, max(int(width / _letter(_WRITTEN)), 1))
