import polars as pl
import pytest

from gnn_assets.backtests.graph_verdict import judge_graph
from gnn_assets.backtests.schema import SCORE_CARDS

ABLATIONS = {"gnn_no_graph": "no graph", "gnn_shuffled": "a shuffled graph"}
ABOVE, AROUND, BELOW = (0.01, 0.03), (-0.01, 0.03), (-0.03, -0.01)


@pytest.mark.parametrize(
    ("without", "shuffled", "word"),
    [
        (ABOVE, ABOVE, "more than nothing"),
        (ABOVE, AROUND, "cannot be told from nothing"),
        (AROUND, ABOVE, "cannot be told from nothing"),
        (AROUND, AROUND, "cannot be told from nothing"),
        ((0.0, 0.0), (0.0, 0.0), "cannot be told from nothing"),
        (BELOW, ABOVE, "it cost"),
        (ABOVE, BELOW, "it cost"),
        (BELOW, None, "it cost"),
        (ABOVE, None, "cannot be told from nothing"),
    ],
)
def test_the_rule_asks_both_comparisons(without, shuffled, word):
    found = _judged(without, shuffled)
    assert found.word == word
    assert found.sentence.endswith(f": {word}.")
    assert found.lower == (None if shuffled is None else min(without[0], shuffled[0]))


def test_the_sentence_tells_both_differences_with_their_intervals():
    assert _judged(ABOVE, AROUND).sentence == (
        "The graph added +0.0200 IC [+0.0100, +0.0300] over no graph and +0.0100 IC [-0.0100, +0.0300] "
        "over a shuffled graph: cannot be told from nothing."
    )


def test_a_comparison_that_was_not_made_is_told():
    assert "+0.0200 IC [+0.0100, +0.0300] over no graph and an IC that is not defined over a shuffled graph" in (
        _judged(ABOVE, None).sentence
    )


def test_other_slices_and_other_models_do_not_count():
    card = _card(ABOVE, ABOVE)
    elsewhere = _card(BELOW, BELOW)
    noisy = pl.concat(
        [card, elsewhere.with_columns(slice=pl.lit("year 2015")), elsewhere.with_columns(model=pl.lit("x"))]
    )
    assert judge_graph(noisy, candidate="gnn", ablations=ABLATIONS).word == "more than nothing"


def _judged(*ends):
    return judge_graph(_card(*ends), candidate="gnn", ablations=ABLATIONS)


def _card(*ends):
    rows = [
        ("v1", "gnn", "all", f"ic_minus_{model}", (lower + upper) / 2, lower, upper, 100)
        for model, (lower, upper) in ((model, pair) for model, pair in zip(ABLATIONS, ends, strict=True) if pair)
    ]
    return SCORE_CARDS.conform(pl.DataFrame(rows, schema=dict(SCORE_CARDS.columns), orient="row"))
