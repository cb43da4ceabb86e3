"""Who stands in for a champion, what it says without weights, and whose forecasts these are."""

import numpy as np
import polars as pl
import pytest

from gnn_assets.backtests.schema import BACKTEST_SCORES
from gnn_assets.bars.schema import CORPORATE_ACTIONS
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.forecasts.fallback import baselines_in_order, by_scorer
from gnn_assets.forecasts.publish import untrained
from gnn_assets.forecasts.verify import recompute
from gnn_assets.models.candidate import predict_sessions
from gnn_assets.models.zoo import reversal
from gnn_assets_tests.forecasts.market import CONFIG, EXCHANGES, MODEL, market

SESSION = market().data.sessions[-10]


def scores(*rows):
    """BACKTEST_SCORES rows: model, fold, metric and value."""
    told = [("v1", model, fold, metric, value, None, None, "close_next") for model, fold, metric, value in rows]
    return pl.DataFrame(told, schema=dict(BACKTEST_SCORES.columns), orient="row")


def test_the_baseline_with_the_best_ic_out_of_sample_is_asked_first_and_equal_weight_last():
    told = scores(
        *[("ridge", -1, "ic", 0.01), ("lightgbm", -1, "ic", 0.03), ("reversal", -1, "ic", -0.02)],
        *[("equal_weight", -1, "ic", None), ("mlp", -1, "ic", None)],
        # Neither one fold nor another measure counts.
        *[("reversal", 0, "ic", 0.9), ("reversal", -1, "sharpe_net", 9.0), ("graph", -1, "ic", 0.5)],
    )
    asked = baselines_in_order(["equal_weight", "mlp", "reversal", "ridge", "lightgbm"], told)
    assert asked == ["lightgbm", "ridge", "reversal", "mlp", "equal_weight"]


def test_without_scores_the_configuration_says_who_is_first():
    asked = baselines_in_order(["equal_weight", "reversal", "ridge"], BACKTEST_SCORES.empty())
    assert asked == ["reversal", "ridge", "equal_weight"]


def without_weights():
    return untrained(MODEL, version="w1", verdict="KILL")


def test_a_model_with_nothing_to_train_is_calibrated_on_what_it_would_have_said_of_all_the_past():
    made = market().forecast(SESSION, served=without_weights(), degraded=True)
    row = made.rows.row(0, named=True)
    assert made.part == row["served_by"] == f"{MODEL}/untrained"
    assert (row["champion"], row["degraded"], row["verdict"]) == ("w1", True, "KILL")
    # By the same function as ever, asked for each session of the past by itself.
    data = market().data
    first = int(np.flatnonzero(data.mask_TxN.any(axis=1))[0])
    last = data.sessions.index(SESSION)
    said = [
        predict_sessions(lambda _: {}, data, model=MODEL, part="", sessions=range(at, at + 1), config=CONFIG.models)[0]
        for at in range(first, last + 1)
    ]
    assert made.calibration.first_session == data.sessions[first]
    by_weights = market().forecast(SESSION)
    assert made.calibration.sessions > by_weights.calibration.sessions
    # Whoever is scored the same is scored the same, with weights or without.
    assert made.rows["score"].equals(by_weights.rows["score"])
    outcomes = market().data.labels_TxN[first : last - CONFIG.execution.purge + 1]
    known = np.isfinite(outcomes) & np.isfinite(said)[: len(outcomes)]
    assert made.calibration.pairs == known.sum()


def test_what_is_made_without_weights_comes_back_bit_for_bit_from_bars_alone():
    made = market().forecast(SESSION, served=without_weights(), degraded=True)
    again = recompute(
        market().card(made),
        bars=market().bars,
        actions=CORPORATE_ACTIONS.empty(),
        universe=market().universe,
        served=without_weights(),
        exchanges=EXCHANGES,
        config=CONFIG,
    )
    assert again.equals(made.rows)


def test_a_model_that_was_trained_is_not_served_without_its_weights(monkeypatch):
    monkeypatch.setattr(reversal, "expected_shapes", lambda _data, _config: {"kernel": ((1,), "float32")})
    with pytest.raises(MissingArtefact, match="expected a model with nothing to train"):
        market().forecast(SESSION, served=without_weights(), degraded=True)


def told_of(champion, served_by, degraded):
    rows = market().forecast(SESSION).rows.head(1)
    columns = {"champion": pl.lit(champion), "served_by": pl.lit(served_by)}
    return rows.with_columns(**columns, degraded=pl.lit(degraded, dtype=pl.Boolean))


@pytest.mark.parametrize(
    ("champion", "served_by", "degraded", "whose"),
    [
        ("v2", "gnn/refit", False, "v2"),
        # A former champion is itself, whyever it serves.
        ("v1", "ridge/fold_01", True, "v1"),
        ("v2", "reversal/refit", True, "reversal/v2"),
        ("v2", "reversal/untrained", True, "reversal/v2"),
        # Nobody told before there was the column, and baselines did not serve.
        ("v1", "refit", None, "v1"),
        ("v9", "reversal/refit", True, "v9"),
    ],
)
def test_what_a_baseline_said_is_nothing_the_champion_said(champion, served_by, degraded, whose):
    rows = told_of(champion, served_by, degraded)
    told = by_scorer(rows, {"v1": "ridge", "v2": "gnn"})
    assert told["champion"].to_list() == [whose]
    assert told.drop("champion").equals(rows.drop("champion"))
