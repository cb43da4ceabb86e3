"""Pictures a person would look at on an asset's page, small enough to live in Dagster's event log."""

import base64
import io
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
_NAMED = 60  # more names than this cannot be read in a picture
_LEVEL = 8  # more names than this under an axis are turned
_DRAWN = 2000  # more edges than this are a ball of wool; the strongest are drawn


def heat_map(matrix: np.ndarray, *, labels: Sequence[str], title: str) -> dg.MarkdownMetadataValue:
    """A correlation matrix as colours, NaN left white.

    Args:
        matrix: float (N, N) in [-1, 1].
        labels: the N names; left out where they could not be read.
    """
    figure, axes = _figure(width=6.4, height=5.6, title=title)
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
    shown = labels if len(labels) <= _NAMED else []
    axes.set_xticks(range(len(shown)), shown, rotation=90, fontsize=7)
    axes.set_yticks(range(len(shown)), shown, fontsize=7)
    figure.colorbar(image, ax=axes, shrink=0.8)
    return _picture(figure, title)


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

    figure, axes = _figure(width=6.4, height=6.0, title=title)
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
    axes.add_collection(LineCollection(list(ends), colors=colours, linewidths=0.8))
    names = sorted(set(groups))
    for number, name in enumerate(names):
        own = [position for position, group in enumerate(groups) if group == name]
        axes.scatter(*place_Nx2[own].T, s=18, color=f"C{number % 10}", label=name, zorder=2)
    if len(labels) <= _NAMED:
        for label, angle, (x, y) in zip(labels, angle_N, place_Nx2, strict=True):
            turned = np.cos(angle) < 0
            degrees = np.degrees(angle) + (180 if turned else 0)
            axes.text(
                1.05 * x, 1.05 * y, label, fontsize=7, rotation=degrees, rotation_mode="anchor",
                ha="right" if turned else "left", va="center",
            )  # fmt: skip
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-1.3, 1.3)
    axes.set_ylim(-1.3, 1.3)
    axes.legend(fontsize=6, ncols=4, loc="lower center", frameon=False)
    return _picture(figure, title)


def lines(
    x: Sequence[Any], series: Mapping[str, Sequence[float] | np.ndarray], *, title: str, x_label: str, y_label: str
) -> dg.MarkdownMetadataValue:
    """Several series over one axis; the first is drawn thick."""
    figure, axes = _figure(width=7.2, height=3.4, title=title)
    for number, (name, values) in enumerate(series.items()):
        axes.plot(x[: len(values)], values, label=name, linewidth=1.8 if number == 0 else 0.9)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    if series:
        axes.legend(fontsize=7, ncols=2)
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
    figure, axes = _figure(width=7.2, height=3.4, title=title)
    width = 0.8 / max(len(series), 1)
    for number, (name, (values_G, lower_G, upper_G)) in enumerate(series.items()):
        at_G = np.arange(len(groups)) + (number - (len(series) - 1) / 2) * width
        axes.bar(at_G, values_G, width=width, label=name)
        axes.vlines(at_G, lower_G, upper_G, color="black", linewidth=0.8)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xticks(range(len(groups)), groups, rotation=45 if len(groups) > _LEVEL else 0, fontsize=7)
    axes.set_ylabel(y_label)
    axes.grid(axis="y", alpha=0.3)
    if series:
        axes.legend(fontsize=7, ncols=3)
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
    figure, axes = _figure(width=5.2, height=4.4, title=title)
    axes.axline((0, 0), slope=1, color="grey", linewidth=0.8, linestyle="--", label="as promised")
    axes.vlines(expected_D, lower_D, upper_D, color="C0", linewidth=0.8)
    axes.plot(expected_D, realised_D, "o", color="C0", label="deciles of scores")
    axes.set_xlabel(f"expected ({unit})")
    axes.set_ylabel(f"realised ({unit})")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return _picture(figure, title)


def training_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]], *, title: str) -> dg.MarkdownMetadataValue:
    """Loss and validation IC by epoch, a line a part."""
    figure, axes = _figure(width=7.2, height=3.4, title=title, columns=2)
    for panel, figure_name, label in zip(axes, ("loss", "validation_ic"), ("loss", "validation IC"), strict=True):
        for part, rows in curves.items():
            values = [row[figure_name] for row in rows]
            if any(value is not None for value in values):
                panel.plot([row["epoch"] for row in rows], values, linewidth=0.9, label=part)
        panel.set_xlabel("epoch")
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
    if axes[0].lines:
        axes[0].legend(fontsize=6)
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


def _figure(*, width: float, height: float, title: str, columns: int = 1) -> tuple["Figure", Any]:
    # The object interface draws without a display and without global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=9)
    axes: Axes | np.ndarray = figure.subplots(1, columns)
    return figure, axes


def _picture(figure: "Figure", title: str) -> dg.MarkdownMetadataValue:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return dg.MarkdownMetadataValue(f"![{title}](data:image/png;base64,{encoded})")
