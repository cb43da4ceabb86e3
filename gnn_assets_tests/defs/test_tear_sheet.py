"""The tear sheet that score_cards keeps beside its card: what is on it, when it changes and the command that finds it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gnn_assets.backtests.schema import BACKTEST_SCORES, PORTFOLIO_RETURNS
from gnn_assets.cli import app
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.defs.counting import verdict_on
from gnn_assets.defs.reports import report_file, tear_sheet_file
from gnn_assets_tests.defs.card_home import MODEL, VERSION, platform_at, run, serve

pytestmark = pytest.mark.slow


def test_it_is_kept_beside_the_card_and_the_ui_says_where(carded):
    home, done = carded
    platform = platform_at(home)
    file = report_file(platform, VERSION, kind="html")
    assert file.parent == report_file(platform, VERSION).parent
    assert done.metadata["tear_sheet"].path == str(file)
    page = file.read_text(encoding="utf-8")
    assert f"<title>Tear sheet: {MODEL} {VERSION[:12]}</title>" in page
    verdict = verdict_on(
        platform, platform.lake.read(BACKTEST_SCORES), platform.lake.read(PORTFOLIO_RETURNS), candidate=MODEL
    )
    assert verdict.reason in page
    for table in ("returns", "oos_predictions", "portfolio_returns", "backtest_scores"):
        assert platform.versions(table).current().version in page
    # The portfolio simulated for other costs is the stored one.
    assert "simulated again" not in page


def test_trials_that_came_since_are_on_it_when_the_card_is_reused_and_else_no_byte_changes(carded_copy):
    platform = platform_at(carded_copy)
    file = report_file(platform, VERSION, kind="html")
    before = file.read_bytes()
    file.unlink()
    assert run(platform).metadata["reused"].value is True
    assert file.read_bytes() == before
    for number in range(40):
        platform.ledger.append("trials", {"trial": "training", "model": "m", "version": str(number)})
    assert run(platform).metadata["reused"].value is True
    assert "40, that amount to " in file.read_text(encoding="utf-8")


def test_the_command_says_where_the_champions_is_or_the_one_asked_for(carded_copy):
    platform = platform_at(carded_copy)
    serve(platform, VERSION)
    environment = {"GNN_ASSETS_PROFILE": "test", "GNN_ASSETS_HOME": str(carded_copy)}
    for arguments in ([], [VERSION], ["0123"]):
        told = CliRunner().invoke(app, ["report", "--html", *arguments], env=environment)
        assert (told.exit_code, Path(told.output.strip())) == (0, report_file(platform, VERSION, kind="html"))


def test_without_exactly_one_the_command_names_those_there_are(carded_copy):
    platform = platform_at(carded_copy)
    with pytest.raises(MissingArtefact, match="tear sheet of 9999: expected one page, was 0 of 1; name one of 0123"):
        tear_sheet_file(platform, "9999")
