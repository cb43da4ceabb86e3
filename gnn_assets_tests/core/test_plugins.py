import sys

import pytest

from gnn_assets.core.errors import PluginError
from gnn_assets.core.plugins import load_plugin, plugin_names


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "probe_plugins"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "zebra.py").write_text("STRIPES = True")
    (folder / "aardvark.py").write_text("STRIPES = False")
    (folder / "notes.txt").write_text("not a plug-in")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "probe_plugins"
    for name in [name for name in sys.modules if name.split(".")[0] == "probe_plugins"]:
        del sys.modules[name]


def test_a_file_in_the_folder_is_a_plugin_and_nothing_else_registers_it(package, tmp_path):
    assert plugin_names(package) == ("aardvark", "zebra")
    (tmp_path / package / "yak.py").write_text("")
    assert plugin_names(package) == ("aardvark", "yak", "zebra")


def test_a_plugin_is_loaded_by_name(package):
    assert load_plugin(package, "zebra").STRIPES


@pytest.mark.parametrize(
    ("name", "hint"), [("zebr", "did you mean 'zebra'?"), ("quokka", "choose one of them"), ("../zebra", "zebra")]
)
def test_an_unknown_name_is_refused_with_those_that_exist(package, name, hint):
    with pytest.raises(PluginError) as refused:
        load_plugin(package, name)
    assert "expected one of aardvark, zebra" in str(refused.value)
    assert repr(name) in str(refused.value)
    assert hint in str(refused.value)
