"""The asset score_cards on a small platform: what it publishes, the page it keeps and the command that prints it."""

import dagster as dg
import pytest
from typer.testing import CliRunner

from gnn_assets.backtests.schema import SCORE_CARDS
from gnn_assets.cli import app
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.defs import score_card
from gnn_assets.defs.reports import report_file, report_of
from gnn_assets_tests.defs.card_home import MODEL, VERSION, fill_lake, platform_at, run, serve

pytestmark = pytest.mark.slow


def test_the_card_is_published_and_shown_as_a_page_and_pictures(carded):
    home, done = carded
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


def test_a_graph_that_cost_warns_without_blocking_and_the_page_before_stays(carded, carded_copy):
    assert carded[1].checks["graph_added"].passed
    platform = platform_at(carded_copy)
    fill_lake(platform, version="fedcba9876543210", graph_helps=False)
    check = run(platform).checks["graph_added"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert "over a shuffled graph: it cost." in check.description
    assert set(platform.lake.read(SCORE_CARDS)["version"]) == {"fedcba9876543210"}
    assert report_of(platform, VERSION).startswith(f"# Score card: {MODEL} {VERSION[:12]}")
    assert report_of(platform, "fedc").startswith(f"# Score card: {MODEL} fedcba987654")


def test_the_same_again_computes_nothing_and_writes_a_lost_page_anew(carded_copy, monkeypatch):
    platform = platform_at(carded_copy)
    page = report_file(platform, VERSION)
    before = page.read_bytes()
    page.unlink()
    monkeypatch.setattr(score_card, "score_card", lambda *_, **__: pytest.fail("computed again"))
    assert run(platform).metadata["reused"].value is True
    assert page.read_bytes() == before


def test_the_command_prints_the_champions_page_or_the_one_asked_for(carded_copy):
    platform = platform_at(carded_copy)
    serve(platform, VERSION)
    environment = {"GNN_ASSETS_PROFILE": "test", "GNN_ASSETS_HOME": str(carded_copy)}
    page = report_file(platform, VERSION).read_text(encoding="utf-8")
    for arguments in (["report"], ["report", VERSION], ["report", "0123"]):
        told = CliRunner().invoke(app, arguments, env=environment)
        assert (told.exit_code, told.output) == (0, page)


def test_a_version_without_exactly_one_page_is_refused_and_those_there_are_named(carded_copy):
    platform = platform_at(carded_copy)
    with pytest.raises(MissingArtefact, match="expected one page, was 0 of 1; name one of 0123456789abcdef, or"):
        report_of(platform, "9999")
    with pytest.raises(MissingArtefact, match="was 0 of 1"):
        report_of(platform, f"../reports/{VERSION}")
    report_file(platform, "0123x").write_text("another", encoding="utf-8")
    with pytest.raises(MissingArtefact, match="was 2 of 2; name one of 0123456789abcdef, 0123x, or"):
        report_of(platform, "0123")
    with pytest.raises(MissingArtefact, match="champion: expected one, was none yet"):
        report_of(platform, None)
