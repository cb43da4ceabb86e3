"""A notebook that loads data older than its limit is told, and may ask to be refused."""

import warnings
from datetime import timedelta

import pytest

from gnn_assets import notebook
from gnn_assets.core.clock import SnapshotClock
from gnn_assets.core.errors import StaleData
from gnn_assets.defs.status import stale_sentence
from gnn_assets_tests.defs.card_home import platform_at


@pytest.fixture
def platform(carded, monkeypatch):
    opened = platform_at(carded[0])
    monkeypatch.setattr(notebook, "_platform", lambda: opened)
    return opened


def later(platform, *, days):
    end = platform.lake.manifest(notebook.TABLES["returns"]).data_end
    platform.clock = SnapshotClock(platform.calendar.available_at(end) + timedelta(days=days))


def test_fresh_data_are_loaded_without_a_word(platform):
    later(platform, days=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert notebook.load("returns", refuse_stale=True).height


def test_stale_data_are_loaded_with_a_warning_that_says_how_old_they_are_and_what_to_do(platform):
    later(platform, days=9)
    with pytest.warns(UserWarning, match=r"returns: expected at most 24 h of market age, was .* h old .*; materialize"):
        assert notebook.load("returns").height


def test_stale_data_are_refused_where_that_is_asked(platform):
    later(platform, days=9)
    with pytest.raises(StaleData, match="gnn-assets status"):
        notebook.load("returns", refuse_stale=True)


def test_what_is_asked_for_by_version_or_moment_is_meant_and_never_stale(platform):
    later(platform, days=9)
    version = platform.versions("returns").current().version
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert notebook.load("returns", version=version, refuse_stale=True).height
        assert notebook.load("returns", as_of=platform.clock.now(), refuse_stale=True).height


def test_a_table_without_a_limit_is_never_stale(platform):
    later(platform, days=9)
    assert stale_sentence(platform, "symbol_status") == ""
