"""Pictures: whatever is written on one can be read, and equal arrays give equal bytes."""

import base64
import io
import itertools
import re
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from PIL import Image

from gnn_assets.defs import plots

SEED = 7
FIRST = date(2015, 1, 5)
LONG_NAMES = [f"BRK.B-WARR{number:02d}" for number in range(60)]
SECTORS = ["Consumer Discretionary", "Communication Services", "Information Technology", "Real Estate", "Utilities"]
TWO_LINES = "How far the graph is from its reference, and how far it may be by chance, as of the newest session here"
SAID = "root mean square difference of correlations over the trailing window"


def days(count, step=1):
    return [FIRST + timedelta(days=step * number) for number in range(count)]


def walk(count, scale=1.0):
    return scale * np.cumsum(np.random.default_rng(SEED).normal(size=count))


def correlations(count):
    return np.corrcoef(np.random.default_rng(SEED).normal(size=(count, 2 * count)))


def network(count):
    corr_NxN = correlations(count)
    dst_Nxk = np.argsort(-np.abs(corr_NxN), axis=1)[:, 1:5]
    groups = [SECTORS[number % len(SECTORS)] for number in range(count)]
    corr_Nxk = np.take_along_axis(corr_NxN, dst_Nxk, axis=1)
    return plots.network(dst_Nxk, corr_Nxk, labels=LONG_NAMES[:count], groups=groups, title=TWO_LINES)


def bars(names, *, scale=1.0):
    values_G = walk(len(names), scale)
    series = {f"graph_attention_{number}": (values_G, values_G - scale, values_G + scale) for number in range(5)}
    return plots.bars(names, series, title=TWO_LINES, y_label=SAID)


def lines(x, series):
    return plots.lines(x, series, title=TWO_LINES, x_label="session", y_label=SAID)


def curves(folds):
    epochs = [
        {"epoch": epoch, "loss": 1e-4 / epoch, "validation_ic": None if epoch < 3 else -2.5e-4 / epoch}
        for epoch in range(1, 41)
    ]
    return plots.training_curves({f"fold of {fold}": epochs for fold in days(folds)}, title=TWO_LINES)


def calibration(scale):
    at_D = np.linspace(-scale, scale, 10)
    return plots.calibration(
        at_D, at_D / 2, at_D / 2 - scale, at_D / 2 + scale, title=TWO_LINES, unit="basis points a session, net of costs"
    )


HOSTILE = {
    "five years of sessions": lambda: lines(days(1300), {f"series {k}": walk(1300) for k in range(3)}),
    "one session": lambda: lines(days(1), {"spread": [-0.00025]}),
    "two sessions": lambda: lines(days(2), {"spread": [-0.00025, 0.00025]}),
    "a few sessions": lambda: lines(days(9), {"spread": walk(9)}),
    "no session": lambda: lines([], {}),
    "only gaps": lambda: lines(days(30), {"never": np.full(30, np.nan)}),
    "small numbers": lambda: lines(days(90), {"spread": walk(90, 1e-9)}),
    "great numbers": lambda: lines(days(90), {"growth": walk(90, 1e12)}),
    "numbers far from nought": lambda: lines(days(90), {"level": 1234.5 + walk(90, 1e-3)}),
    "a crowd": lambda: lines(days(90), {f"graph_attention_no_graph_{k}": walk(90) for k in range(30)}),
    "folds": lambda: lines(list(range(12)), {"ridge": walk(12)}),
    "20 symbols": lambda: plots.heat_map(correlations(20), labels=LONG_NAMES[:20], title=TWO_LINES),
    "60 symbols": lambda: plots.heat_map(correlations(60), labels=LONG_NAMES, title=TWO_LINES),
    "a network of 20": lambda: network(20),
    "a network of 60": lambda: network(60),
    "a few years": lambda: bars(["2019", "2020", "2021", "all"]),
    "many years": lambda: bars([str(1990 + number) for number in range(33)], scale=1e-7),
    "training": lambda: curves(3),
    "training of many folds": lambda: curves(40),
    "calibration": lambda: calibration(12.5),
    "calibration of small numbers": lambda: calibration(1e-8),
}


def drawn(make):
    """Draws a picture and returns its figure."""
    figures = []
    made = plots._picture

    def kept(figure, *given, **named):
        figures.append(figure)
        return made(figure, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_picture", kept)
        make()
    return figures.pop()


def beyond_the_scale(axis):
    """Names of the ticks that a scale has in store outside what it spans; they are not drawn."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    ticks = [tick for tick in axis.get_major_ticks() if not low - slack <= tick.get_loc() <= high + slack]
    return {text for tick in ticks for text in (tick.label1, tick.label2)}


def written(figure):
    """Every text with its box, pixels from the lower left corner."""
    renderer = figure.canvas.get_renderer()
    unseen = {text for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in beyond_the_scale(axis)}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text() and text not in unseen]
    return [(text, text.get_window_extent(renderer)) for text in texts]


def overlap(one, other):
    return min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1


def assert_legible(figure):
    texts = written(figure)
    paper = figure.bbox
    for text, box in texts:
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= paper.x1 and box.y1 <= paper.y1
        assert inside, f"{text.get_text()!r} at {box} is cut off by the edge of {paper}"
    drawn = np.asarray(figure.canvas.buffer_rgba())
    assert drawn.shape[:2] == (int(paper.height), int(paper.width))
    edges = [drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]]
    assert all((edge == 255).all() for edge in edges), "something goes on beyond the edge"
    # The box of a text that is turned halfway is larger than the text.
    level = [(text, box) for text, box in texts if text.get_rotation() % 90 == 0]
    for (text, box), (other, its_box) in itertools.combinations(level, 2):
        assert not overlap(box, its_box), f"{text.get_text()!r} is written over {other.get_text()!r}"
    for axes in figure.axes:
        assert min(axes.bbox.width, axes.bbox.height) > 15, "nothing is left of the plot"
        for text, box in level:
            if axes.axison:
                assert not overlap(box, axes.bbox), f"{text.get_text()!r} is written over a plot"


def png(shown):
    _, encoded = shown.md_str.removesuffix(")").split("base64,")
    return base64.b64decode(encoded)


def pixels(shown):
    return np.asarray(Image.open(io.BytesIO(png(shown))).convert("RGB"))


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_written_is_cut_off_or_written_over(make):
    assert_legible(drawn(make))


PHRASES = st.lists(st.text("abeimnrstw", min_size=1, max_size=12), min_size=1, max_size=8).map(" ".join)


@settings(max_examples=25)
@given(
    sessions=st.builds(days, st.integers(1, 400), st.integers(1, 30)),
    scale=st.integers(-12, 12).map(lambda power: 10.0**power),
    level=st.floats(-1000, 1000),
    names=st.lists(PHRASES.filter(lambda name: len(name) <= 40), min_size=1, max_size=12, unique=True),
    label=PHRASES,
)
def test_nothing_is_cut_off_whatever_the_sessions_the_numbers_and_the_names(sessions, scale, level, names, label):
    series = dict.fromkeys(names, scale * (level + np.sin(np.arange(len(sessions)))))
    assert_legible(drawn(lambda: plots.lines(sessions, series, title=label, x_label="session", y_label=label)))


def test_a_long_title_and_a_long_label_are_broken_to_the_size_of_their_plot():
    figure = drawn(HOSTILE["five years of sessions"])
    (plot,) = figure.axes
    (title,) = [box for text, box in written(figure) if text.get_text().startswith("How far")]
    (label,) = [box for text, box in written(figure) if text.get_text().startswith("root")]
    assert plot.bbox.width / 2 < title.width < plot.bbox.width
    assert plot.bbox.height / 2 < label.height < plot.bbox.height


def test_all_that_was_named_is_written():
    def texts(name):
        return {text.get_text() for text, _ in written(drawn(HOSTILE[name]))}

    assert set(LONG_NAMES) <= texts("60 symbols")
    assert set(LONG_NAMES) | set(SECTORS) <= texts("a network of 60")
    assert {f"graph_attention_no_graph_{number}" for number in range(30)} | {"session"} <= texts("a crowd")
    assert {"2019", "2020", "2021", "all"} <= texts("a few years")
    assert {"epoch", "loss", "validation IC"} <= {text.split(" (")[0] for text in texts("training")}


def test_numbers_that_share_a_power_of_ten_say_so_in_the_label():
    (label,) = [text.get_text() for text, _ in written(drawn(HOSTILE["small numbers"])) if "root" in text.get_text()]
    assert re.search(r"\(1e−\d+\)$", label)


def test_numbers_far_from_nought_are_written_in_full():
    texts = [text.get_text() for text, _ in written(drawn(HOSTILE["numbers far from nought"]))]
    assert sum(re.fullmatch(r"1234\.\d+", text) is not None for text in texts) >= 3


@pytest.mark.parametrize("name", ["one session", "two sessions", "a few sessions", "five years of sessions"])
def test_a_scale_of_sessions_is_written_in_dates(name):
    dates = [text.get_text() for text, _ in written(drawn(HOSTILE[name])) if re.match(r"20\d\d", text.get_text())]
    assert 3 <= len(dates) <= 7
    whole = r"\d{4}" if name.startswith("five") else r"\d{4}-\d{2}-\d{2}"
    assert all(re.fullmatch(whole, text) for text in dates)


@pytest.mark.parametrize("count", range(6, 30, 2))
def test_the_first_of_a_month_is_not_written_over_the_last_of_the_month_before(count):
    sessions = [date(2020, 1, 24) + timedelta(days=number) for number in range(count)]
    assert_legible(drawn(lambda: lines(sessions, {"spread": walk(count)})))


def test_a_value_that_is_lacking_is_a_gap():
    gap = [1.0, 2.0, None, 4.0, 5.0]
    assert png(lines(days(5), {"symbols": gap})) == png(lines(days(5), {"symbols": np.array(gap, dtype=float)}))


def test_no_correlation_has_another_colour_than_none_known():
    told = np.array([[1.0, 0.0], [0.0, 1.0]])
    lacking = np.array([[1.0, np.nan], [np.nan, 1.0]])
    one, other = (pixels(plots.heat_map(matrix, labels=["A", "B"], title="")) for matrix in (told, lacking))
    middle = one.shape[0] // 4, one.shape[1] * 5 // 8
    assert tuple(one[middle]) == (247, 246, 246)  # the middle of the colour map
    assert tuple(other[middle]) == (255, 255, 255)


def test_every_shade_of_a_correlation_is_told_from_the_next():
    ramp = np.linspace(-1, 1, 15 * 15).reshape(15, 15)
    shown = pixels(plots.heat_map(ramp, labels=[], title=""))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) >= ramp.size


def test_equal_arrays_give_equal_bytes_and_few_of_them():
    series = {"churn": walk(1300), "density": walk(1300)}
    first, second = (png(lines(days(1300), series)) for _ in range(2))
    assert first == second
    # Dagster's event log keeps each of a session's nine pictures for good.
    assert len(first) < 30_000
