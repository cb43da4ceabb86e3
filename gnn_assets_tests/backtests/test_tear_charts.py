import re
from datetime import date, timedelta

import numpy as np

from gnn_assets.backtests.tear_charts import SERIES_COLOURS, Line, line_chart

SESSIONS = [date(2015, 1, 1) + timedelta(days=place) for place in range(2520)]


def walks(count):
    return np.exp(np.random.default_rng(1).normal(3e-4, 0.01, size=(count, len(SESSIONS))).cumsum(axis=1))


def test_a_line_takes_the_pages_colour_and_ink_is_its_text():
    drawing = line_chart(SESSIONS, [Line(walks(1)[0], colour=4, heavy=True)], name="one", y_label="value", log=True)
    assert drawing.startswith("<svg")
    assert drawing.endswith("</svg>")
    assert "stroke: var(--series-4)" in drawing
    assert "stroke: currentColor" in drawing
    assert not re.search(r"#[0-9a-f]{6}\b(?!\")", re.sub(r'(?:href="|url\()#\w+', "", drawing))


def test_nothing_in_it_leads_outside_and_no_name_is_given_twice_on_a_page():
    lines = [Line(walks(1)[0], colour=1)]
    drawings = [line_chart(SESSIONS, lines, name=name, y_label="value") for name in ("one", "two")]
    names = re.findall(r' id="([^"]*)"', "".join(drawings))
    assert names
    assert len(names) == len(set(names))
    for drawing in drawings:
        assert "http" not in drawing
        assert "<style" not in drawing
        assert set(re.findall(r'(?:href="|url\()(.)', drawing)) == {"#"}


def test_ten_years_of_nine_lines_are_drawn_in_less_than_a_third_of_a_megabyte():
    lines = [Line(walk_T, colour=1 + place) for place, walk_T in enumerate(walks(SERIES_COLOURS))]
    drawing = line_chart(SESSIONS, lines, name="many", y_label="value", log=True)
    assert len(drawing) < 333_000
    assert drawing == line_chart(SESSIONS, lines, name="many", y_label="value", log=True)


def test_what_is_not_there_or_not_above_nothing_is_a_hole():
    values_T = np.array([1.0, 0.0, np.nan, 2.0])
    drawing = line_chart(SESSIONS[:4], [Line(values_T, colour=1)], name="holes", y_label="value", log=True)
    assert "nan" not in drawing.lower()
