import polars as pl
import pytest

from gnn_assets.backtests.score_page import score_page

MODEL = "graph_attention"
ABLATIONS = {f"{MODEL}_no_graph": "no graph", f"{MODEL}_shuffled": "a shuffled graph"}
MEASURES = ("IC", "rank IC", "ICIR", "MAE (bp)", "RMSE (bp)", "calibration slope")


def test_it_says_what_it_is_about_and_what_the_graph_added_before_anything_else(page, market):
    heading, about, section, verdict, *_ = [line for line in page.splitlines() if line]
    assert heading == "# Score card: graph_attention v1"
    assert about == (
        f"a made-up market; 340 out-of-sample sessions, {market.sessions[60]} to {market.sessions[-1]}; "
        "execution close_next, horizon 5; weights v1."
    )
    assert section == "## What the graph added"
    assert verdict.startswith("The graph added +0.")


def test_the_candidate_stands_first_and_every_model_beside_it(page):
    rows = _table(page, "## Beside the baselines")
    assert rows[0][1:] == [*MEASURES, "net Sharpe"]
    assert [row[0] for row in rows[1:]] == [MODEL, "equal_weight", f"{MODEL}_no_graph"]
    assert all("[" in cell for cell in rows[1][1:])
    assert rows[2][1:4] == ["-", "-", "-"]


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_has_a_row_a_year_and_a_regime_and_a_column_a_model(page, card, measure):
    rows = _table(page, f"### {measure}")
    assert rows[0][2:] == [MODEL, "equal_weight", f"{MODEL}_no_graph"]
    named = [row[0] for row in rows[1:]]
    assert named[:3] == ["all", "year 2015", "year 2016"]
    assert set(named) == {name for name in card["slice"] if not name.startswith("decile")}


def test_numbers_are_those_of_the_card(page, card):
    def cell(name, metric):
        rows = card.filter(pl.col("model") == MODEL, pl.col("slice") == name, pl.col("metric") == metric)
        return rows.row(0, named=True)

    ic, rmse = cell("year 2016", "ic"), cell("all", "rmse")
    (year,) = [row for row in _table(page, "### IC") if row[0] == "year 2016"]
    assert year[1] == str(ic["sessions"])
    assert year[2] == f"{ic['value']:.4f} [{ic['lower']:.4f}, {ic['upper']:.4f}]"
    assert _table(page, "### RMSE (bp)")[1][2].startswith(f"{1e4 * rmse['value']:.2f} [")
    top = _table(page, f"## Calibration of {MODEL} by decile of its scores")[-1]
    assert top[0] == "10"
    assert top[2].startswith(f"{1e4 * cell('decile 10', 'realised_return')['value']:+.2f} [")


def test_a_graph_that_was_not_tried_is_a_dash(page):
    rows = _table(page, "## What the graph added")
    assert [row[0] for row in rows[1:3]] == [
        f"minus {MODEL}_no_graph (no graph)",
        f"minus {MODEL}_shuffled (a shuffled graph)",
    ]
    assert rows[1][1].startswith("+")
    assert rows[2][1:] == ["-", "-", "-"]


def test_nothing_of_python_shows_through(page):
    cells = [cell for line in page.splitlines() if line.startswith("|") for cell in line.split("|")]
    assert not any("None" in cell or "nan" in cell for cell in cells)
    assert page.endswith("\n")


def test_scores_nobody_could_have_traded_are_told(card, market):
    execution = market.config.execution.model_copy(update={"fill": "close_same"})
    assert "execution close_same (not executable)" in _page(card, market, execution=execution)


def test_the_order_of_rows_does_not_matter(page, card, market):
    assert _page(card.sample(fraction=1, shuffle=True, seed=2), market) == page


@pytest.fixture(scope="module")
def page(card, market):
    return _page(card, market)


def _page(card, market, execution=None):
    # Ridge stands for the same network without its graph.
    renamed = pl.col("model", "metric").str.replace("ridge", f"{MODEL}_no_graph")
    return score_page(
        card.with_columns(renamed),
        candidate=MODEL,
        ablations=ABLATIONS,
        sessions=(market.sessions[60], market.sessions[-1]),
        market="a made-up market",
        execution=execution or market.config.execution,
        config=market.config.backtests,
    )


def _table(page, heading):
    """The rows of the first table under a heading, its rule left out."""
    lines = page.partition(f"\n{heading}\n")[2].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return [row for row in rows if not row[0].startswith("--")]
