"""A simulated market through the real command: labelled wherever it is shown, and adjusted back to its truth."""

import json

import numpy as np
import polars as pl
import pytest

from gnn_assets.bars.sources.simulated import true_returns
from gnn_assets.core.config import build_config
from gnn_assets.core.settings import Settings
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.tables import TABLES
from gnn_assets_tests.conftest import Home

pytestmark = pytest.mark.slow

CHANGES = {
    "bars": {"sources": ["simulated"], "from_session": "2021-01-04"},
    "universe": {"file": "simulated.yaml"},
    "execution": {"fill": "open_next"},
    "sources": {"simulated": {"first_session": "2021-01-04", "split_share": 1.0, "regime_session": "2022-03-01"}},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    made = Home.fresh(tmp_path_factory.mktemp("simulated") / "home")
    (made.path / "mine.yaml").write_text(json.dumps(CHANGES), encoding="utf-8")
    return made


def test_it_says_so_wherever_it_is_shown_and_its_returns_are_the_truth(home):
    setting = {"GNN_ASSETS_CONFIG_FILE": str(home.path / "mine.yaml")}
    updated = home.run("update", **setting)
    assert updated.returncode == 0, updated.stdout + updated.stderr
    assert "SIMULATED BARS" in home.run("status", **setting).stdout
    config = build_config("test", CHANGES)
    platform = Platform(settings=Settings(profile="test", home=home.path), config=config)
    returns = platform.lake.read(TABLES["returns"])
    assert returns["source"].unique().to_list() == ["simulated"]
    symbols = returns["symbol"].unique().sort().to_list()
    assert len(symbols) > 80
    # Splits and dividends are in the prices, so only their adjustment leads back to what was simulated.
    actions = platform.lake.read(TABLES["corporate_actions"])
    assert set(actions["kind"]) == {"split", "dividend"}
    gaps = []
    for symbol in symbols:
        truth = true_returns(symbol, config.sources.simulated, platform.calendar)
        both = returns.filter(symbol=symbol).join(truth, on="session", suffix="_true").drop_nulls("close_return")
        gaps.append((both["close_return"] - both["close_return_true"]).abs())
    errors = pl.concat(gaps)
    assert errors.len() > 40_000
    # Prices are rounded to cents, and some rows are dirt: nearly all the others come back.
    assert float(np.quantile(errors, 0.99)) < 2e-3
