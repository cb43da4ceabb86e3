"""Who stands in for a champion that cannot forecast: its baselines, the best first, and how their rows are told apart."""

from collections.abc import Mapping, Sequence

import polars as pl

from gnn_assets.backtests.portfolio import BENCHMARK
from gnn_assets.backtests.scores import ALL_FOLDS

# Events of the ledger: somebody else than the chosen champion serves; a chosen one does again.
DEGRADED, RECOVERED = "degraded", "recovered"


def baselines_in_order(baselines: Sequence[str], scores: pl.DataFrame) -> list[str]:
    """The baselines as they are asked to stand in, the best first.

    By the IC each had out of sample beside the champion, so that nobody is chosen by what came later. One without an IC
    comes after those that have one, in the order of the configuration; equal weight, which has no opinion, is last.

    Args:
        baselines: of the configuration the champion was trained by, the champion's own model left out.
        scores: the champion's `backtest_scores`; none where these are gone.
    """
    whole = scores.filter(pl.col("metric") == "ic", pl.col("fold") == ALL_FOLDS, pl.col("value").is_not_null())
    ic = dict(whole.select("model", "value").iter_rows())
    return sorted(baselines, key=lambda model: (model == BENCHMARK, model not in ic, -ic.get(model, 0.0)))


def by_scorer(rows: pl.DataFrame, models: Mapping[str, str]) -> pl.DataFrame:
    """Forecasts whose ``champion`` names who scored: what a baseline said is nothing the champion said.

    Args:
        rows: `forecasts` rows; ``champion`` names the champion, also where a baseline stood in for it.
        models: version of every champion → its own model.

    Returns:
        The same rows; ``champion`` is ``<baseline>/<version>`` where a baseline stood in for that version.
    """
    model = pl.col("served_by").str.split("/").list.first()
    own = pl.col("champion").replace_strict(dict(models), default=None, return_dtype=pl.String)
    stood_in = pl.col("degraded").fill_null(False) & (model != own).fill_null(False)
    return rows.with_columns(
        champion=pl.when(stood_in).then(model + "/" + pl.col("champion")).otherwise(pl.col("champion"))
    )
