"""One word on a candidate, by a rule that was written down before any score was seen.

In this order, on all out-of-sample sessions together, every interval at the configured level:

1. NOT_ENOUGH_DATA  fewer than `backtests.min_sessions` sessions, or an interval below cannot be taken.
2. KILL             the whole paired interval of net Sharpe minus equal weight's lies below 0.
3. SCALE            that interval lies above 0, and the interval of the mean IC lies above 0.
4. ITERATE          anything else.

The word goes beside every forecast; it promotes and demotes nothing. A change of the rule is an entry in CHANGELOG.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from gnn_assets.backtests.scores import ALL_FOLDS
from gnn_assets.core.config import BacktestsConfig

BENCHMARK = "equal_weight"


@dataclass(frozen=True)
class Verdict:
    """The word and the sentence behind it."""

    word: Literal["KILL", "ITERATE", "SCALE", "NOT_ENOUGH_DATA"]
    reason: str


def judge_scores(scores: pl.DataFrame, *, candidate: str, config: BacktestsConfig) -> Verdict:
    """Applies the rule above to the candidate's `backtest_scores`.

    Args:
        scores: `backtest_scores` rows.
        candidate: the model judged.
        config: the fewest sessions a verdict needs.
    """
    overall = scores.filter(pl.col("model") == candidate, pl.col("fold") == ALL_FOLDS)
    rows = {row["metric"]: row for row in overall.iter_rows(named=True)}
    sessions = int(rows["sessions"]["value"]) if "sessions" in rows else 0
    if sessions < config.min_sessions:
        return Verdict("NOT_ENOUGH_DATA", f"{sessions} out-of-sample sessions; a verdict needs {config.min_sessions}.")
    paired, ic = rows.get(f"sharpe_net_minus_{BENCHMARK}", {}), rows.get("ic", {})
    if paired.get("lower") is None or ic.get("lower") is None:
        return Verdict("NOT_ENOUGH_DATA", f"no interval for IC or for net Sharpe minus that of {BENCHMARK}.")
    evidence = (
        f"net Sharpe minus that of {BENCHMARK} {paired['value']:+.2f} [{paired['lower']:+.2f}, {paired['upper']:+.2f}],"
        f" IC {ic['value']:+.4f} [{ic['lower']:+.4f}, {ic['upper']:+.4f}], {sessions} sessions."
    )
    if paired["upper"] < 0:
        return Verdict("KILL", f"Worse than {BENCHMARK}: {evidence}")
    if paired["lower"] > 0 and ic["lower"] > 0:
        return Verdict("SCALE", f"Better than {BENCHMARK}: {evidence}")
    return Verdict("ITERATE", f"Neither worse than {BENCHMARK} nor better in both Sharpe and IC: {evidence}")
