import subprocess
import sys
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from gnn_assets.core.errors import MissingArtefact, StoreError
from gnn_assets.store.files import locked
from gnn_assets.store.panel import from_panel, to_panel
from gnn_assets.store.panels import PanelData, Panels
from gnn_assets_tests.store.states import temporaries
from gnn_assets_tests.store.worker import PROJECT, wait_for

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


AXES = {"sessions": [date(2020, 1, 1) + timedelta(days=row) for row in range(90)], "symbols": ["BBB", "AAA", "CCC"]}


def _data(*, seed: int = 0) -> PanelData:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2, 90, 3)).astype(np.float32).astype(np.float64)
    values[:, rng.random((90, 3)) < 0.2] = np.nan
    return PanelData(**AXES, values={"close": values[0], "volume": values[1]})


def _never() -> PanelData:
    raise AssertionError("it is stored: nothing is built")


def _panels(folder: Path, *, keep: int = 4) -> Panels:
    return Panels(folder / "panels", lock_timeout_seconds=20, keep=keep)


KEY = "0123456789abcdef"


def test_a_panel_is_built_once_and_mapped_by_whoever_comes_later(tmp_path):
    data = _data()
    for panel in (_panels(tmp_path).open(KEY, lambda: data), _panels(tmp_path).open(KEY, _never)):
        assert (panel.sessions, panel.symbols, panel.fields) == (
            tuple(data.sessions),
            tuple(data.symbols),
            ("close", "volume"),
        )
        for name, values in data.values.items():
            assert np.array_equal(panel.field(name), values.astype(np.float32), equal_nan=True)
    assert temporaries(tmp_path) == []


def test_a_window_is_a_read_only_view_of_its_sessions(tmp_path):
    data = _data()
    panel = _panels(tmp_path).open(KEY, lambda: data)
    window = panel.window("volume", end_row=panel.row(AXES["sessions"][70]), length=60)
    assert window.dtype == np.float32
    assert np.array_equal(window, data.values["volume"][11:71].astype(np.float32), equal_nan=True)
    assert np.shares_memory(window, panel.field("volume"))
    for view in (window, panel.field("close")):
        with pytest.raises(ValueError, match="read-only"):
            view[0, 0] = 1


@pytest.mark.parametrize(("end_row", "length"), [(90, 1), (58, 60), (-1, 1), (5, 0)])
def test_a_window_the_panel_does_not_hold_is_refused(tmp_path, end_row, length):
    panel = _panels(tmp_path).open(KEY, _data)
    with pytest.raises(ValueError, match="window: expected rows of 0 to 89, was"):
        panel.window("close", end_row=end_row, length=length)


def test_a_session_or_field_the_panel_does_not_hold_is_refused_by_name(tmp_path):
    panel = _panels(tmp_path).open(KEY, _data)
    with pytest.raises(MissingArtefact, match="a field it holds, was open"):
        panel.field("open")
    with pytest.raises(MissingArtefact, match="a session it holds, was 2019-01-01"):
        panel.row(date(2019, 1, 1))


@settings(deadline=None, max_examples=40)
@given(
    panel=_PANELS,
    rows=st.lists(st.integers(0, 8), max_size=8),
    columns=st.lists(st.sampled_from(["S0", "S1", "S2", "S3", "S4", "S5", "S6", "Z"]), max_size=8),
)
def test_values_equal_the_tables_panel_bit_for_bit_on_any_axes(tmp_path_factory, panel, rows, columns):
    """Whatever float32 can hold: the table and the map are the same numbers, -0.0 and NaN included."""
    panel = panel.astype(np.float32).astype(np.float64)
    axes = _axes(panel)
    table = from_panel(panel, "value", **axes)
    wanted = {"sessions": [date(2020, 1, 1) + timedelta(days=row) for row in rows], "symbols": columns}
    panels = _panels(tmp_path_factory.mktemp("panel"))
    values = panels.open(KEY, lambda: PanelData(**axes, values={"value": panel})).values("value", **wanted)
    expected = to_panel(table, "value", **wanted)
    assert values.dtype == np.float64
    assert values.shape == expected.shape
    assert values.tobytes() == expected.tobytes()


def test_values_may_be_written_to_and_leave_the_panel_alone(tmp_path):
    panel = _panels(tmp_path).open(KEY, _data)
    before = panel.field("close").copy()
    panel.values("close", **AXES)[:] = 0
    assert np.array_equal(panel.field("close"), before, equal_nan=True)


@pytest.mark.parametrize(
    "data",
    [
        PanelData([], ["A"], {"close": np.empty((0, 1))}),
        PanelData([date(2020, 1, 1)], [], {"close": np.empty((1, 0))}),
        PanelData([date(2020, 1, 1)], ["A"], {}),
    ],
)
def test_a_panel_may_be_empty(tmp_path, data):
    for build in (lambda: data, _never):
        panel = _panels(tmp_path).open(KEY, build)
        assert panel.sessions == tuple(data.sessions)
        assert panel.symbols == tuple(data.symbols)
    assert all(panel.field(name).size == 0 for name in panel.fields)


def test_a_panel_of_another_shape_than_its_axes_is_refused_and_leaves_nothing(tmp_path):
    data = PanelData(**AXES, values={"close": np.zeros((3, 90))})
    with pytest.raises(ValueError, match=r"expected close of shape \(90, 3\), was \(3, 90\)"):
        _panels(tmp_path).open(KEY, lambda: data)
    assert [path.name for path in (tmp_path / "panels").iterdir()] == [".lock"]


def test_a_number_beyond_float32_is_refused_rather_than_made_infinite(tmp_path):
    data = PanelData(**AXES, values={"close": np.full((90, 3), 1e300)})
    with pytest.raises(FloatingPointError):
        _panels(tmp_path).open(KEY, lambda: data)


@pytest.mark.parametrize("key", ["", "../../x", "ABCDEF0123", "0123456789abcdef\n", "0" * 65])
def test_a_key_is_a_hash(tmp_path, key):
    with pytest.raises(StoreError, match="panel: expected a key of 8 to 64 hex digits"):
        _panels(tmp_path).open(key, _never)


@pytest.mark.parametrize("name", ["manifest.json", "values.f32"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "gone"])
def test_a_damaged_panel_is_built_again(tmp_path, name, damage):
    _panels(tmp_path).open(KEY, _data)
    path = tmp_path / "panels" / KEY / name
    whole = path.read_bytes()
    match damage:
        case "flipped":
            path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        case "cut":
            path.write_bytes(whole[:-4])
        case "longer":
            path.write_bytes(whole + b"\0\0\0\0")
        case _:
            path.unlink()
    with pytest.raises(AssertionError, match="nothing is built"):
        _panels(tmp_path).open(KEY, _never)

    panel = _panels(tmp_path).open(KEY, _data)

    assert np.array_equal(panel.values("close", **AXES), _data().values["close"], equal_nan=True)
    assert path.read_bytes() == whole
    assert temporaries(tmp_path) == []


def test_a_panel_under_another_key_is_another_panel(tmp_path):
    panels = _panels(tmp_path)
    one = panels.open("0" * 16, lambda: _data(seed=0)).field("close")
    two = panels.open("1" * 16, lambda: _data(seed=1)).field("close")
    assert not np.array_equal(one, two, equal_nan=True)


def test_only_the_panels_opened_last_stay_and_one_that_is_held_stays_readable(tmp_path):
    panels = _panels(tmp_path, keep=2)
    held = panels.open("0" * 16, _data)
    expected = held.field("close").copy()
    for number in range(1, 4):
        panels.open(f"{number}" * 16, _data)
        time.sleep(0.01)  # the file system's clock tells which was opened last
        if number == 2:
            panels.open("1" * 16, _never)
            time.sleep(0.01)
    assert sorted(path.name for path in (tmp_path / "panels").iterdir()) == [".lock", "1" * 16, "3" * 16]
    assert np.array_equal(held.field("close"), expected, equal_nan=True)
    assert np.array_equal(panels.open("0" * 16, _data).field("close"), expected, equal_nan=True)


_OPENER = """
import sys, time
from pathlib import Path
from gnn_assets_tests.store.test_panel import KEY, _data, _panels
folder, me = Path(sys.argv[1]), sys.argv[2]
def build():
    (folder / f"built-{me}").touch()
    time.sleep(0.3)
    return _data()
(folder / f"ready-{me}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
panel = _panels(folder).open(KEY, build)
(folder / f"read-{me}").write_bytes(panel.field("close").tobytes())
"""


def _start(folder: Path, me: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _OPENER, str(folder), me], cwd=PROJECT)


@pytest.mark.slow
def test_of_processes_that_want_the_same_panel_one_builds_and_all_read_it(tmp_path):
    openers = [_start(tmp_path, str(me)) for me in range(3)]
    for me in range(3):
        wait_for(tmp_path / f"ready-{me}")
    (tmp_path / "go").touch()
    assert [opener.wait() for opener in openers] == [0, 0, 0]
    assert len(list(tmp_path.glob("built-*"))) == 1
    expected = _data().values["close"].astype(np.float32).tobytes()
    assert [path.read_bytes() == expected for path in tmp_path.glob("read-*")] == [True, True, True]


@pytest.mark.slow
def test_a_builder_that_is_killed_leaves_no_half_panel_and_holds_nobody_up(tmp_path):
    (tmp_path / "go").touch()
    builder = _start(tmp_path, "first")
    wait_for(tmp_path / "built-first")
    builder.kill()
    builder.wait()
    panel = _panels(tmp_path).open(KEY, _data)
    assert np.array_equal(panel.values("close", **AXES), _data().values["close"], equal_nan=True)
    assert temporaries(tmp_path) == []


def test_a_reader_never_meets_a_half_panel(tmp_path):
    """Damaged and rebuilt over and over under a reader: it sees the panel or builds it, and nothing else."""
    panels, wrong, over = _panels(tmp_path), [], threading.Event()
    expected = _data().values["close"].astype(np.float32).tobytes()
    panels.open(KEY, _data)

    def read() -> None:
        while not over.is_set():
            try:
                if panels.open(KEY, _data).field("close").tobytes() != expected:
                    wrong.append("mixed")
            except BaseException as error:
                wrong.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        path = tmp_path / "panels" / KEY / ("manifest.json", "values.f32")[number % 2]
        # What is damaged while it is being built is a broken disk, and told as one.
        with locked(tmp_path / "panels" / ".lock", timeout_seconds=60):
            path.unlink(missing_ok=True)
        panels.open(KEY, _data)
    over.set()
    reader.join()
    assert wrong == []
