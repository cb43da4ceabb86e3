from datetime import date, timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from gnn_assets.store.panel import from_panel, to_panel

_SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 5))
_PANELS = _SHAPES.flatmap(
    lambda shape: nps.arrays(np.float64, shape, elements=st.floats(-1e6, 1e6) | st.just(float("nan")))
)


def _axes(panel: np.ndarray) -> dict[str, list]:
    rows, columns = panel.shape
    # Symbols in no alphabetical order: their position is the axis, not their name.
    return {
        "sessions": [date(2020, 1, 1) + timedelta(days=row) for row in range(rows)],
        "symbols": [f"S{(column * 7) % 5}" for column in range(columns)],
    }


@settings(deadline=None, max_examples=50)
@given(_PANELS)
def test_a_panel_goes_to_a_table_and_back(panel):
    axes = _axes(panel)
    assert np.array_equal(to_panel(from_panel(panel, "value", **axes), "value", **axes), panel, equal_nan=True)


@settings(deadline=None, max_examples=50)
@given(_PANELS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(panel, random):
    axes = _axes(panel)
    rows = from_panel(panel, "value", **axes)
    order = list(range(rows.height))
    random.shuffle(order)
    assert np.array_equal(to_panel(rows[order], "value", **axes), panel, equal_nan=True)


def test_the_table_is_sorted_by_session_then_symbol_position():
    panel = np.array([[1.0, 2.0], [np.nan, 3.0]])
    rows = from_panel(panel, "close", sessions=[date(2020, 1, 2), date(2020, 1, 3)], symbols=["B", "A"])
    assert rows.rows() == [(date(2020, 1, 2), "B", 1.0), (date(2020, 1, 2), "A", 2.0), (date(2020, 1, 3), "A", 3.0)]
    assert rows.schema == {"session": pl.Date, "symbol": pl.String, "close": pl.Float64}


def test_rows_outside_the_axes_are_left_out_and_nulls_are_absent():
    rows = pl.DataFrame(
        {
            "session": [date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 2), date(2020, 1, 2)],
            "symbol": ["A", "A", "B", "Z"],
            "close": [9, 1, None, 9],
        }
    )
    panel = to_panel(rows, "close", sessions=[date(2020, 1, 2), date(2020, 1, 3)], symbols=["B", "A"])
    assert np.array_equal(panel, [[np.nan, 1.0], [np.nan, np.nan]], equal_nan=True)
