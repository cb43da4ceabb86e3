"""The small platform with one score card that more than one file of tests looks at."""

import shutil
from pathlib import Path

import pytest

from gnn_assets_tests.defs import ridge_home
from gnn_assets_tests.defs.card_home import Done, fill_lake, platform_at, run


@pytest.fixture(scope="session")
def carded(tmp_path_factory) -> tuple[Path, Done]:
    """A home in which score_cards ran once, and what it said. Read it; to change something, take a copy."""
    home = tmp_path_factory.mktemp("carded") / "home"
    platform = platform_at(home)
    fill_lake(platform)
    return home, run(platform)


@pytest.fixture
def carded_copy(carded, tmp_path) -> Path:
    """That home, to be changed."""
    return Path(shutil.copytree(carded[0], tmp_path / "home"))


@pytest.fixture(scope="session")
def ridge_flow(tmp_path_factory) -> Path:
    """A home in which everything from bars to forecasts was made once. Take a copy."""
    home = tmp_path_factory.mktemp("ridge") / "home"
    done = ridge_home.run(ridge_home.platform_at(home), *ridge_home.FLOW)
    assert done.success, done.failures
    return home
