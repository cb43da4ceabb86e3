import re
from pathlib import Path

import pytest

from gnn_assets.core.errors import ConfigError
from gnn_assets.core.settings import (
    Settings,
    ensure_dagster_home,
    failpoint,
    pin_threads,
    read_settings,
    subprocess_environment,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "dagster.yaml").write_text("")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("GNN_ASSETS_HOME", str(tmp_path))
    return tmp_path


def test_data_lie_under_the_home_as_an_absolute_path(home):
    assert read_settings().data == home / "data"
    assert Settings(home=Path()).data == Path.cwd() / "data"


def test_dagster_gets_the_home_unless_it_already_has_one(home, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert ensure_dagster_home(Settings(home=Path("/nowhere"))) == home
    # Set first, so that the test's end also undoes what the call writes.
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("DAGSTER_HOME")
    assert ensure_dagster_home(read_settings()) == home


def test_a_home_without_its_file_is_refused(home):
    (home / "dagster.yaml").unlink()
    with pytest.raises(ConfigError, match=r"expected a folder with dagster\.yaml in it, was .*; run from the project"):
        ensure_dagster_home(read_settings())


def test_threads_are_pinned_for_every_library_and_a_chosen_platform_stays(monkeypatch):
    names = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    for name in names:
        monkeypatch.setenv(name, "9")
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    pin_threads(1)
    environment = subprocess_environment(Settings(profile="test"))
    assert {environment[name] for name in names} == {"1"}
    assert environment["JAX_PLATFORMS"] == "cuda"


def test_a_process_of_our_own_gets_the_same_home_and_profile(home):
    environment = subprocess_environment(Settings(profile="test", home=home / "." / "sub" / ".."))
    assert (environment["GNN_ASSETS_HOME"], environment["GNN_ASSETS_PROFILE"]) == (str(home), "test")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("GNN_ASSETS_PROFIEL", "did you mean 'GNN_ASSETS_PROFILE'?"),
        ("GNN_ASSETS_CONFIG_GRAPHS__K", "did you mean 'GNN_ASSETS_CONFIG__'?"),
        ("GNN_ASSETS_CONFIG", "did you mean 'GNN_ASSETS_CONFIG__'?"),
        ("gnn_assets_profiel", "did you mean 'GNN_ASSETS_PROFILE'?"),
        ("GNN_ASSETS_XQZWXQZWXQZWXQZWXQZWXQZW", "remove it"),
    ],
)
def test_a_variable_nobody_reads_is_refused(monkeypatch, name, hint):
    monkeypatch.setenv(name, "live")
    with pytest.raises(ConfigError, match=re.escape(f"{name}: no such variable; {hint}")):
        read_settings()


def test_the_known_variables_are_read(home, monkeypatch):
    monkeypatch.setenv("GNN_ASSETS_PROFILE", "live")
    monkeypatch.setenv("GNN_ASSETS_CONFIG_FILE", "mine.yaml")
    monkeypatch.setenv("GNN_ASSETS_CONFIG__GRAPHS__K", "7")
    monkeypatch.setenv("GNN_ASSETS_FAILPOINT", "step")
    # Another program's variables are none of ours.
    monkeypatch.setenv("GNN_ASSETSX", "1")
    assert read_settings().model_dump() == {
        "profile": "live",
        "home": home,
        "config_file": Path("mine.yaml"),
        "config": {"graphs": {"k": 7}},
        "failpoint": "step",
        "massive_key": None,
        "alpaca_key": None,
        "alpaca_secret": None,
        "alerts": {},
        "alerts_heartbeat": None,
    }


def test_channels_of_alerts_are_read_and_shown_to_nobody(home, monkeypatch):
    monkeypatch.setenv("GNN_ASSETS_ALERTS", '{"team": "slack://canary-1", "mail": "mailtos://canary-2"}')
    monkeypatch.setenv("GNN_ASSETS_ALERTS_HEARTBEAT", "https://canary-3")
    settings = read_settings()
    assert settings.channels == {"team": "slack://canary-1", "mail": "mailtos://canary-2"}
    assert "canary" not in repr(settings)
    assert "canary" not in str(settings.model_dump())


def test_secrets_are_read_and_shown_to_nobody(home, monkeypatch):
    monkeypatch.setenv("GNN_ASSETS_MASSIVE_KEY", "canary-1")
    monkeypatch.setenv("GNN_ASSETS_ALPACA_SECRET", "canary-2")
    settings = read_settings()
    assert settings.keys == {"massive_key": "canary-1", "alpaca_secret": "canary-2"}
    assert "canary" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_misspelt_secret_is_refused_without_being_told(monkeypatch):
    monkeypatch.setenv("GNN_ASSETS_MASIVE_KEY", "canary")
    with pytest.raises(ConfigError, match="did you mean 'GNN_ASSETS_MASSIVE_KEY'") as refused:
        read_settings()
    assert "canary" not in str(refused.value)


def test_the_failpoint_is_read_once(monkeypatch):
    failpoint.cache_clear()
    monkeypatch.setenv("GNN_ASSETS_FAILPOINT", "before_rename")
    assert failpoint() == "before_rename"
    monkeypatch.setenv("GNN_ASSETS_FAILPOINT", "other")
    assert failpoint() == "before_rename"
    failpoint.cache_clear()
