"""What the graph added to the candidate, in one sentence, by a rule written down beforehand.

The candidate is held against itself without graph and with a shuffled one, paired session by session on the mean IC:

* more than nothing            every interval of the difference lies above 0.
* it cost                      any of them lies below 0.
* cannot be told from nothing  anything else, also where an interval cannot be taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from gnn_assets.backtests.score_card import ALL


@dataclass(frozen=True)
class GraphVerdict:
    """The rule's words, the sentence with the evidence, and the lowest lower end; None if an interval is missing."""

    word: Literal["more than nothing", "cannot be told from nothing", "it cost"]
    sentence: str
    lower: float | None


def judge_graph(card: pl.DataFrame, *, candidate: str, ablations: Mapping[str, str]) -> GraphVerdict:
    """Applies the rule above.

    Args:
        card: `score_cards` rows.
        candidate: the model judged.
        ablations: the same model shown another graph → what that graph is, in words.
    """
    rows = {
        row["metric"]: row
        for row in card.filter(pl.col("model") == candidate, pl.col("slice") == ALL).iter_rows(named=True)
    }
    paired = {words: rows.get(f"ic_minus_{model}", {}) for model, words in ablations.items()}
    told = [row for row in paired.values() if row.get("lower") is not None]
    complete = bool(paired) and len(told) == len(paired)
    if any(row["upper"] < 0 for row in told):
        word = "it cost"
    elif complete and all(row["lower"] > 0 for row in told):
        word = "more than nothing"
    else:
        word = "cannot be told from nothing"
    evidence = " and ".join(f"{_interval(row)} over {words}" for words, row in paired.items())
    return GraphVerdict(
        word=word,
        sentence=f"The graph added {evidence or 'an IC that was not measured'}: {word}.",
        lower=min(row["lower"] for row in told) if complete else None,
    )


def _interval(row: Mapping[str, float | None]) -> str:
    if row.get("value") is None:
        return "an IC that is not defined"
    ends = "" if row["lower"] is None else f" [{row['lower']:+.4f}, {row['upper']:+.4f}]"
    return f"{row['value']:+.4f} IC{ends}"
