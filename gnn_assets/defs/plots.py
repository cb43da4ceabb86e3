"""Pictures a person would look at on an asset's page, small enough to live in Dagster's event log."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from gnn_assets.defs.paper import (
    GAP,
    POINT,
    SMALL,
    around,
    date_ticks,
    highest,
    legend,
    new_axes,
    new_figure,
    picture,
    ruled,
    scale,
    seat,
    under_title,
    value_ticks,
    whole_ticks,
    widest,
)

_NAMED = 60  # more names than this cannot be read in a picture
_ROWS = 380  # pixels that the names beside a matrix share
_LEVEL = 8  # more names than this under an axis are turned
_DRAWN = 2000  # more edges than this are a ball of wool; the strongest are drawn


def heat_map(matrix: np.ndarray, *, labels: Sequence[str], title: str) -> dg.MarkdownMetadataValue:
    """A correlation matrix as colours, NaN left white.

    Args:
        matrix: float (N, N) in [-1, 1].
        labels: the N names; left out where they could not be read.
    """
    figure = new_figure(width=6.4, height=5.6, title=title)
    axes, bar = new_axes(figure), new_axes(figure)
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    figure.colorbar(image, cax=bar, ticks=[])
    ticks = (range(len(labels)), labels) if len(labels) <= _NAMED else ([], [])
    # No name is higher than its row.
    size = min(SMALL, _ROWS * POINT / max(len(labels), 1))
    left = widest(scale(axes, "left", ticks, size=size)) + 2 * GAP
    bottom = highest(scale(axes, "bottom", ticks, size=size, rotation=90)) + 2 * GAP
    right = widest(scale(bar, "right", value_ticks(-1, 1)[0], size=SMALL)) + 7 * GAP
    top = figure.bbox.height - under_title(figure)
    side = min(figure.bbox.width - left - right, top - bottom)
    seat(axes, left, top - side, side, side)
    seat(bar, left + side + 2 * GAP, top - side, 3 * GAP, side)
    return picture(figure, title, shades=True)


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

    figure = new_figure(width=6.4, height=6.0, title=title)
    axes = new_axes(figure)
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
    written = around(axes, angle_N, labels) if len(labels) <= _NAMED else []
    bottom = legend(axes, room=figure.bbox.width, under=True)
    room = min(figure.bbox.width, figure.bbox.height - under_title(figure) - bottom)
    # The widest name has its place outside the circle wherever it stands.
    reach = room / (room - 2 * (max(widest(written), highest(written)) + 3 * GAP))
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    seat(axes, (figure.bbox.width - room) / 2, bottom, room, room)
    return picture(figure, title)


def lines(
    x: Sequence[Any], series: Mapping[str, Sequence[float] | np.ndarray], *, title: str, x_label: str, y_label: str
) -> dg.MarkdownMetadataValue:
    """Several series over one axis; the first is drawn thick.

    Args:
        x: sessions, or numbers of folds.
        series: name → values, from the first of `x` on; NaN where there is none.
    """
    from matplotlib.dates import date2num

    figure = new_figure(width=7.2, height=3.4, title=title)
    axes = new_axes(figure)
    dated = len(x) > 0 and isinstance(x[0], date)
    at_T = date2num(np.array(x, dtype="datetime64[D]")) if dated else np.array(x, dtype=float)
    for number, (name, values) in enumerate(series.items()):
        axes.plot(at_T[: len(values)], values, label=name, linewidth=1.8 if number == 0 else 0.9)
    ticks = date_ticks(axes, at_T[0], at_T[-1]) if dated else whole_ticks(axes)
    ruled([axes], [ticks], x_label=x_label, y_labels=[y_label])
    return picture(figure, title)


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
    figure = new_figure(width=7.2, height=3.4, title=title)
    axes = new_axes(figure)
    width = 0.8 / max(len(series), 1)
    for number, (name, (values_G, lower_G, upper_G)) in enumerate(series.items()):
        at_G = np.arange(len(groups)) + (number - (len(series) - 1) / 2) * width
        axes.bar(at_G, values_G, width=width, label=name)
        axes.vlines(at_G, lower_G, upper_G, color="black", linewidth=0.8)
    axes.axhline(0, color="black", linewidth=0.6)
    ticks = (range(len(groups)), groups)
    ruled([axes], [ticks], x_label="", y_labels=[y_label], turned=len(groups) > _LEVEL)
    return picture(figure, title)


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
    figure = new_figure(width=5.2, height=4.4, title=title)
    axes = new_axes(figure)
    axes.axline((0, 0), slope=1, color="grey", linewidth=0.8, linestyle="--", label="as promised")
    axes.vlines(expected_D, lower_D, upper_D, color="C0", linewidth=0.8)
    axes.plot(expected_D, realised_D, "o", color="C0", label="deciles of scores")
    ticks, power = value_ticks(*axes.get_xlim())
    ruled([axes], [ticks], x_label=f"expected ({unit}){power}", y_labels=[f"realised ({unit})"])
    return picture(figure, title)


def training_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]], *, title: str) -> dg.MarkdownMetadataValue:
    """Loss and validation IC by epoch, a line a part."""
    figure = new_figure(width=7.2, height=3.4, title=title)
    panels = [new_axes(figure), new_axes(figure)]
    for panel, figure_name in zip(panels, ("loss", "validation_ic"), strict=True):
        for part, rows in curves.items():
            values = [row[figure_name] for row in rows]
            if any(value is not None for value in values):
                panel.plot([row["epoch"] for row in rows], values, linewidth=0.9, label=part)
    ticks = [whole_ticks(panel) for panel in panels]
    ruled(panels, ticks, x_label="epoch", y_labels=["loss", "validation IC"])
    return picture(figure, title)


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
