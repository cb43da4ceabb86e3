from copy import deepcopy
from datetime import date

import polars as pl
import pytest

from gnn_assets.models.checks import predictions_checks, weights_checks
from gnn_assets.models.schema import OOS_PREDICTIONS

SESSIONS = (date(2020, 1, 2), date(2020, 1, 3))
TOLD = {"failure": "", "validation_ic": 0.02, "curve": [{"epoch": 1, "loss": -0.1, "validation_ic": 0.02}]}
FACTS = {
    "models": {"network": {}, "baseline": {}},
    "parts": {f"{model}/{part}": dict(TOLD) for model in ("network", "baseline") for part in ("fold_00", "refit")},
}


def _weights(**changes):
    facts = deepcopy(FACTS)
    for part, change in changes.items():
        facts["parts"][part.replace("__", "/")] |= change
    return {check.name: check for check in weights_checks(facts, candidate="network", n_folds=1)}


def _predictions(frame):
    checks = predictions_checks(frame, sessions=SESSIONS, models=["network"], n_symbols=4, min_symbol_share=0.75)
    return {check.name: check for check in checks}


def _frame(score=0.1, training_end=date(2020, 1, 1), symbols=("A", "B", "C")):
    rows = [("v", "network", 0, session, symbol, score, training_end) for session in SESSIONS for symbol in symbols]
    return pl.DataFrame(rows, schema=dict(OOS_PREDICTIONS.columns), orient="row")


def test_a_sound_candidate_passes():
    assert all(check.passed for check in _weights().values())


def test_a_failed_part_blocks_and_is_named():
    check = _weights(network__fold_00={"failure": "NaN at epoch 3"})["loss_finite"]
    assert check.blocks
    assert check.offenders == ("network/fold_00: NaN at epoch 3",)


@pytest.mark.parametrize(
    "change",
    [
        {"validation_ic": float("nan")},
        {"validation_ic": 1.5},
        {"curve": [{"epoch": 1, "loss": float("inf"), "validation_ic": None}]},
        {"curve": [{"epoch": 1, "loss": 0.1, "validation_ic": -2.0}]},
    ],
)
def test_a_curve_no_correlation_can_have_blocks(change):
    assert _weights(network__refit=change)["curves_finite"].blocks


def test_a_loss_need_not_be_a_correlation():
    assert _weights(network__refit={"curve": [{"epoch": 1, "loss": 7.0, "validation_ic": None}]})[
        "curves_finite"
    ].passed


def test_the_success_rate_is_told():
    check = _weights(network__fold_00={"failure": "out of time after epoch 3 of 9"})["parts_trained"]
    assert (check.passed, check.blocks, check.value) == (False, False, 0.75)
    assert check.offenders == ("network/fold_00",)


def test_a_missing_part_blocks_and_is_named():
    facts = deepcopy(FACTS)
    del facts["parts"]["baseline/refit"]
    checks = {check.name: check for check in weights_checks(facts, candidate="network", n_folds=1)}
    assert checks["all_folds_trained"].blocks
    assert checks["all_folds_trained"].offenders == ("baseline/refit",)
    assert (checks["all_folds_trained"].value, checks["all_folds_trained"].threshold) == (3, 4)


def test_a_candidate_that_validates_badly_is_only_warned_of():
    bad = _weights(network__fold_00={"validation_ic": -0.05}, network__refit={"validation_ic": None})["validation_ic"]
    assert not bad.passed
    assert not bad.blocks
    assert bad.value == -0.05


def test_a_candidate_without_validation_is_only_warned_of():
    checks = _weights(network__fold_00={"validation_ic": None}, network__refit={"validation_ic": None})
    assert checks["validation_ic"].value == 0.0


def test_complete_scores_pass():
    checks = _predictions(_frame())
    assert all(check.passed for check in checks.values())
    assert checks["scored_share"].value == 0.75


def test_a_score_by_weights_that_knew_its_session_blocks():
    check = _predictions(_frame(training_end=SESSIONS[0]))["training_end_before_session"]
    assert check.blocks
    assert (check.value, len(check.offenders)) == (3, 3)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None])
def test_a_score_that_is_no_number_blocks_and_does_not_count_as_coverage(score):
    checks = _predictions(_frame(score=score))
    assert checks["scores_finite"].blocks
    assert checks["scores_finite"].value == 6
    assert checks["scored_share"].value == 0.0


def test_too_few_symbols_block_and_the_session_is_named():
    check = _predictions(_frame(symbols=("A", "B")))["scored_share"]
    assert check.blocks
    assert check.offenders[0] == "network 2020-01-02: 50%"


def test_a_session_without_scores_blocks():
    frame = _frame().filter(pl.col("session") == SESSIONS[0])
    assert _predictions(frame)["scored_share"].value == 0.0


def test_no_scores_at_all_block():
    assert _predictions(OOS_PREDICTIONS.empty())["scored_share"].blocks
    checks = predictions_checks(OOS_PREDICTIONS.empty(), sessions=(), models=[], n_symbols=4, min_symbol_share=0.75)
    assert {check.name: check.value for check in checks}["scored_share"] == 0.0
