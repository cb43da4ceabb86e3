"""What nobody cites may go; what a card or a champion cites stays, and everything published still verifies."""

import json
from datetime import date

import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.core.settings import Settings
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.tables import TABLES

pytestmark = pytest.mark.slow

LAST = date(2022, 12, 28)
HASTY = {"GNN_ASSETS_CONFIG__RUNTIME__KEEP_VERSIONS": "1", "GNN_ASSETS_CONFIG__RUNTIME__GRACE_HOURS": "1e-9"}


def platform_of(home):
    return Platform(settings=Settings(home=home.path, profile="test"), config=build_config("test"))


def republished(home, factor):
    """Returns published anew, every one of them multiplied."""
    lake = platform_of(home).lake
    frame = lake.read(TABLES["returns"]).with_columns(pl.col("close_return") * factor)
    return lake.publish(TABLES["returns"], frame, lineage=None, data_end=LAST).version


def test_nothing_goes_while_there_are_few_versions(home_copy):
    assert home_copy.run("collect").stdout.startswith("0 files and versions removed")


def test_what_nobody_cites_goes_and_what_is_cited_stays(home_copy):
    cited = platform_of(home_copy).versions("returns").current().version
    orphan, current = republished(home_copy, 2.0), republished(home_copy, 3.0)
    told = home_copy.run("collect", **HASTY)
    assert told.returncode == 0, told.stderr
    assert "freed" in told.stdout
    lake = platform_of(home_copy).lake
    assert not lake.read(TABLES["returns"], version=cited).is_empty()
    assert not lake.read(TABLES["returns"], version=current).is_empty()
    with pytest.raises(MissingArtefact):
        lake.read(TABLES["returns"], version=orphan)
    verified = home_copy.run("verify", "--session", str(LAST))
    assert "every bit equal" in verified.stdout, verified.stderr
    assert json.loads(home_copy.run("status", "--json").stdout)["champion"] is not None
