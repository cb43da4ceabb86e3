import importlib
import sys
from datetime import UTC, date, datetime
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.core import hashing
from gnn_assets.core.hashing import canonical_json, code_version, content_hash, json_hash, sha256_hex

FRAME = pl.DataFrame(
    {
        "symbol": ["A", "B", "C"],
        "session": [date(2020, 1, 2), None, date(2020, 1, 6)],
        "moment": [datetime(2020, 1, 2, tzinfo=UTC)] * 3,
        "close": [1.0, None, 3.0],
        "rank": pl.Series([1, 2, None], dtype=pl.Int16),
        "alive": [True, None, False],
    }
)


def test_a_hash_of_bytes_is_sha256():
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_json_is_canonical_and_refuses_what_json_does_not_know():
    assert canonical_json({"b": 1, "a": date(2020, 1, 2), "ü": 0.1}) == '{"a":"2020-01-02","b":1,"ü":0.1}'
    assert json_hash({"a": 1, "b": 2}) == json_hash({"b": 2, "a": 1}) != json_hash({"a": 2, "b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


@pytest.mark.parametrize(
    "other",
    [
        FRAME.with_columns(pl.col("close").fill_null(0.0)),
        FRAME.with_columns(pl.col("close").fill_null(float("nan"))),
        FRAME.with_columns(pl.col("rank").fill_null(0)),
        FRAME.with_columns(pl.col("alive").fill_null(False)),
        FRAME.with_columns(pl.col("session").fill_null(date(1970, 1, 1))),
        FRAME.with_columns(symbol=pl.Series(["A", "", "C"])),
        FRAME.with_columns(symbol=pl.Series(["A", None, "C"])),
        FRAME.with_columns(symbol=pl.Series(["AB", "", "C"])),
        FRAME.with_columns(pl.col("rank").cast(pl.Int32)),
        FRAME.rename({"rank": "place"}),
        FRAME[[1, 0, 2]],
        FRAME[:2],
        FRAME.with_columns(close=pl.Series([1.0, None, 3.0000000000000004])),
        FRAME.drop("rank"),
    ],
)
def test_any_difference_in_name_type_value_null_or_order_counts(other):
    assert content_hash(other) != content_hash(FRAME)


def test_an_empty_text_is_no_null():
    empty, null = (pl.DataFrame({"a": pl.Series([value], dtype=pl.String)}) for value in ("", None))
    assert content_hash(empty) != content_hash(null)


def test_where_one_text_ends_and_the_next_begins_counts():
    assert content_hash(pl.DataFrame({"a": ["ab", "c"]})) != content_hash(pl.DataFrame({"a": ["a", "bc"]}))


def test_provenance_does_not_count():
    other = FRAME.with_columns(alive=pl.lit(None, pl.Boolean))
    assert content_hash(other) != content_hash(FRAME)
    assert content_hash(other, exclude=["alive"]) == content_hash(FRAME, exclude=["alive"])
    assert content_hash(FRAME, exclude=["alive"]) == content_hash(FRAME.drop("alive"))


@given(st.lists(st.integers(0, 12), max_size=6))
@settings(deadline=None)
def test_how_a_frame_is_chunked_does_not_count(cuts):
    whole = pl.concat([FRAME] * 4, rechunk=True)
    edges = sorted({0, 12, *cuts})
    parts = [whole[start:stop] for start, stop in pairwise(edges)]
    divided = pl.concat(parts, rechunk=False)
    assert content_hash(divided) == content_hash(whole)
    assert content_hash(divided.rechunk()) == content_hash(whole)


def test_a_trip_through_parquet_does_not_count(tmp_path):
    FRAME.write_parquet(tmp_path / "f.parquet", compression="zstd", row_group_size=2)
    assert content_hash(pl.read_parquet(tmp_path / "f.parquet")) == content_hash(FRAME)


def test_a_hash_is_the_same_on_every_machine_and_release():
    assert content_hash(FRAME) == "dbf387b2c1f45dd842f27e4669fac07023a00d0b837afb5b363cd5b62a704fdd"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose modules are written by the test; returns the version of one of them as it now stands."""
    folder = tmp_path / "probe_code"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(hashing, "PACKAGE", "probe_code")

    def version(name="main", **sources):
        for module, source in sources.items():
            path = folder.joinpath(*module.split("__", 1)).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)
        importlib.invalidate_caches()
        forget()
        return code_version(f"probe_code.{name}")

    yield version
    forget()
    for name in [name for name in sys.modules if name.split(".")[0] == "probe_code"]:
        del sys.modules[name]


def forget() -> None:
    for known in (code_version, hashing._code):
        known.cache_clear()


CODE = '"""What it does."""\n\ndef double(x):\n    """Twice x."""\n    return x + x\n'


def test_comments_docstrings_and_layout_leave_a_code_version(package):
    version = package(main=CODE)
    assert len(version) == 16
    assert package(main=CODE.replace("What it does", "Something else")) == version
    assert package(main=CODE.replace("Twice x.", "x, doubled.")) == version
    assert package(main=CODE.replace("return x + x", "# a reason\n    return (x  +  x)")) == version
    assert package(main=CODE.replace('    """Twice x."""\n', "")) == version


def test_a_change_of_code_changes_the_version_also_where_a_docstring_is_all_there_was(package):
    versions = {
        package(main=source)
        for source in (
            CODE,
            CODE.replace("x + x", "2 * x"),
            CODE.replace("double", "twice"),
            CODE + "\nLIMIT = 3\n",
            CODE + "\nLIMIT = 4\n",
            'class Empty:\n    """Nothing."""\n',
        )
    }
    assert len(versions) == 6


def test_what_a_module_imports_from_the_package_counts_at_any_depth(package):
    helper, deep = "from probe_code.deep import z\ny = z\n", "z = 1\n"
    for line in ("from probe_code.helper import y", "from probe_code import helper", "import probe_code.helper"):
        version = package(main=f"{line}\n", helper=helper, deep=deep)
        assert package(helper="from probe_code.deep import z\ny = z + 1\n") != version
        assert package(helper=helper) == version
        assert package(deep="z = 2\n") != version
    inside = package(main="def f():\n    from probe_code.deep import z\n    return z\n", deep=deep)
    assert package(deep="z = 2\n") != inside


def test_a_version_imports_none_of_the_modules_it_is_of(package):
    assert package(main="from probe_code.helper import y\n", helper="raise SystemExit\n")
    assert {name for name in sys.modules if name.startswith("probe_code.")} == set()


def test_modules_that_import_each_other_and_other_packages_are_no_trouble(package):
    first = package(main="import json\nfrom probe_code import helper\n", helper="from probe_code import main\n")
    assert package(helper="from probe_code import main\nx = 1\n") != first


def test_storage_settings_and_error_texts_do_not_count_but_the_panel_does(package):
    version = package(
        main="from probe_code.store import lake, panel\nfrom probe_code.core import errors\n",
        store____init__="",
        core____init__="",
        store__lake="a = 1\n",
        store__panel="a = 1\n",
        core__errors="a = 1\n",
    )
    assert package(store__lake="a = 2\n", core__errors="a = 2\n") == version
    assert package(store__panel="a = 2\n") != version


def test_a_module_that_does_not_exist_is_refused_because_its_version_would_never_change(package):
    with pytest.raises(ModuleNotFoundError, match=r"no module probe_code\.absent"):
        package(name="absent")


def test_a_folder_without_code_adds_nothing(package, tmp_path):
    (tmp_path / "probe_code" / "folder").mkdir()
    version = package(main="import probe_code.folder\n")
    (tmp_path / "probe_code" / "folder" / "data.yaml").write_text("")
    assert package() == version


def test_versions_of_real_modules_differ():
    modules = [f"gnn_assets.{name}" for name in ("bars.returns", "graphs.correlation", "core.folds")]
    assert len({code_version(module) for module in modules}) == 3
    assert code_version(*modules) == code_version(*reversed(modules))
