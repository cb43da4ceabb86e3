"""The asset score_cards on a small platform: what it publishes, the page it keeps and the command that prints it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from gnn_assets.backtests.cross_section import realised_labels
from gnn_assets.backtests.portfolio import portfolio_returns
from gnn_assets.backtests.schema import PORTFOLIO_RETURNS, SCORE_CARDS
from gnn_assets.bars.schema import RETURNS
from gnn_assets.cli import app
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.core.settings import Settings
from gnn_assets.defs import score_card
from gnn_assets.defs.io import stage_asset
from gnn_assets.defs.reports import report_file, report_of
from gnn_assets.defs.resources import Platform
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.panel import from_panel
from gnn_assets.store.versions import Lineage

pytestmark = pytest.mark.slow

MODEL = build_config("test").models.candidate
SYMBOLS = [f"S{number}" for number in range(12)]
VERSION = "0123456789abcdef"
N_SESSIONS, TRAINED = 400, 100


@dataclass(frozen=True)
class Done:
    """What one materialization said."""

    metadata: dict
    checks: dict


def platform_at(home):
    return Platform(settings=Settings(profile="test", home=home), config=build_config("test"))


def fill_lake(platform, *, version=VERSION, graph_helps=True):
    """Returns, predictions and portfolios of a made-up market in which the candidate sees a little ahead."""
    rng = np.random.default_rng(8)
    config = platform.config
    sessions = list(platform.calendar.between(platform.calendar.sessions[0], platform.last_session))[-N_SESSIONS:]
    fill_TxN = rng.normal(scale=0.01, size=(N_SESSIONS, len(SYMBOLS)))
    ahead_TxN = np.nan_to_num(realised_labels(fill_TxN, execution=config.execution))
    without = 0.5 if graph_helps else 0.005
    noise = {MODEL: 0.02, f"{MODEL}_no_graph": without, f"{MODEL}_shuffled": without, "equal_weight": 0.5}
    predictions = [
        from_panel(
            (ahead_TxN + rng.normal(scale=scale, size=ahead_TxN.shape))[TRAINED:],
            "score",
            sessions=sessions[TRAINED:],
            symbols=SYMBOLS,
        ).with_columns(pl.col("score").cast(pl.Float32), model=pl.lit(model))
        for model, scale in noise.items()
    ]
    returns = RETURNS.conform(
        from_panel(fill_TxN, "fill_return", sessions=sessions, symbols=SYMBOLS).with_columns(
            close_return=pl.col("fill_return"), source=pl.lit("simulated")
        )
    )
    scores = OOS_PREDICTIONS.conform(
        pl.concat(predictions).with_columns(
            version=pl.lit(version), fold=pl.lit(0, dtype=pl.Int16), training_end=pl.lit(sessions[TRAINED - 10])
        )
    )
    portfolios = portfolio_returns(
        scores, returns, sessions=sessions, symbols=SYMBOLS, execution=config.execution, config=config.backtests
    )
    for table, frame in ((RETURNS, returns), (OOS_PREDICTIONS, scores), (PORTFOLIO_RETURNS, portfolios)):
        platform.lake.publish(table, frame, lineage=None, data_end=sessions[-1])


def run(platform) -> Done:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral(tempdir=str(platform.settings.home)) as instance:
        result = dg.materialize(
            [stage_asset(score_card.STAGE, platform.config)],
            instance=instance,
            resources={"platform": platform},
            run_config=quiet,
        )
    (made,) = result.asset_materializations_for_node("score_cards")
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    return Done(metadata=dict(made.metadata), checks=checks)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("score_card") / "home"
    platform = platform_at(home)
    fill_lake(platform)
    return home, run(platform)


@pytest.fixture
def home(made, tmp_path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "home"))


def serve(platform, version):
    champion = Champion(
        version=version,
        model=MODEL,
        rule="bootstrap",
        reason="nobody was served yet",
        verdict="ITERATE",
        config_hash="recipe",
        oos_predictions="p",
        portfolio_returns="r",
        backtest_scores="s",
        data_end="2022-12-28",
    )
    lineage = Lineage(inputs={}, code_version="c", config_hash="h")
    platform.champion.promote(champion, expected=None, lineage=lineage, run_id="run")


def test_the_card_is_published_and_shown_as_a_page_and_pictures(made):
    home, done = made
    platform = platform_at(home)
    card = platform.lake.read(SCORE_CARDS)
    assert set(card["version"]) == {VERSION}
    assert {f"{MODEL}_no_graph", f"{MODEL}_shuffled"} < set(card["model"])
    page = report_file(platform, VERSION).read_text(encoding="utf-8")
    assert done.metadata["score_card"].value == page
    assert page.startswith(f"# Score card: {MODEL} {VERSION[:12]}\n\nstatic snapshot to ")
    assert done.metadata["report"].value == str(report_file(platform, VERSION))
    assert done.metadata["graph"].value in page
    assert done.metadata["ic"].value > 0.1
    assert all(done.metadata[picture].value.startswith("![") for picture in ("ic_by_year", "calibration"))


def test_a_graph_that_cost_warns_without_blocking_and_the_page_before_stays(made, home):
    assert made[1].checks["graph_added"].passed
    platform = platform_at(home)
    fill_lake(platform, version="fedcba9876543210", graph_helps=False)
    check = run(platform).checks["graph_added"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert "over a shuffled graph: it cost." in check.description
    assert set(platform.lake.read(SCORE_CARDS)["version"]) == {"fedcba9876543210"}
    assert report_of(platform, VERSION).startswith(f"# Score card: {MODEL} {VERSION[:12]}")
    assert report_of(platform, "fedc").startswith(f"# Score card: {MODEL} fedcba987654")


def test_the_same_again_computes_nothing_and_writes_a_lost_page_anew(home, monkeypatch):
    platform = platform_at(home)
    page = report_file(platform, VERSION)
    before = page.read_bytes()
    page.unlink()
    monkeypatch.setattr(score_card, "score_card", lambda *_, **__: pytest.fail("computed again"))
    assert run(platform).metadata["reused"].value is True
    assert page.read_bytes() == before


def test_the_command_prints_the_champions_page_or_the_one_asked_for(home):
    platform = platform_at(home)
    serve(platform, VERSION)
    environment = {"GNN_ASSETS_PROFILE": "test", "GNN_ASSETS_HOME": str(home)}
    page = report_file(platform, VERSION).read_text(encoding="utf-8")
    for arguments in (["report"], ["report", VERSION], ["report", "0123"]):
        told = CliRunner().invoke(app, arguments, env=environment)
        assert (told.exit_code, told.output) == (0, page)


def test_a_version_without_exactly_one_page_is_refused_and_those_there_are_named(home):
    platform = platform_at(home)
    with pytest.raises(MissingArtefact, match="expected one page, was 0 of 1; name one of 0123456789abcdef, or"):
        report_of(platform, "9999")
    with pytest.raises(MissingArtefact, match="was 0 of 1"):
        report_of(platform, f"../reports/{VERSION}")
    report_file(platform, "0123x").write_text("another", encoding="utf-8")
    with pytest.raises(MissingArtefact, match="was 2 of 2; name one of 0123456789abcdef, 0123x, or"):
        report_of(platform, "0123")
    with pytest.raises(MissingArtefact, match="champion: expected one, was none yet"):
        report_of(platform, None)
