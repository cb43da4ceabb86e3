import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from statistics import median

import jax
import numpy as np
import polars as pl
import pytest

from gnn_assets.core.errors import DataError, DiskFull, ModelError
from gnn_assets.core.hashing import content_hash, json_hash
from gnn_assets.models.candidate import (
    candidate_folds,
    predict_out_of_sample,
    predict_sessions,
    train_candidate,
)
from gnn_assets.models.chain import train_chain
from gnn_assets.models.checkpoint import NO_CHECKPOINT
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.models.variants import expected_shapes, fold_part, refit_part, variants
from gnn_assets_tests.models.checkpoints import InMemory
from gnn_assets_tests.models.synthetic import CONFIG, PURGE, market_data, poisoned, silent, small_data, small_market

MODELS = CONFIG.models
NAME = MODELS.candidate
DATA = small_data()
FOLDS = candidate_folds(DATA, config=MODELS, purge=PURGE)


def _train(data=DATA, folds=FOLDS, progress=silent, checkpoint=NO_CHECKPOINT):
    return train_candidate(data, folds=folds, config=MODELS, purge=PURGE, progress=progress, checkpoint=checkpoint)


def _score(candidate, data=DATA, folds=FOLDS, facts=None):
    return predict_out_of_sample(
        candidate.parts.__getitem__, data, folds=folds, facts=facts or candidate.facts, config=MODELS, version="v1"
    )


def _bits(candidate):
    return {part: {name: array.tobytes() for name, array in arrays.items()} for part, arrays in candidate.parts.items()}


@pytest.fixture(scope="module")
def candidate():
    return _train()


@pytest.fixture(scope="module")
def again():
    """A second training, with what it kept and what it told."""
    checkpoint, told = InMemory(), []
    return _train(checkpoint=checkpoint, progress=lambda share, text: told.append((share, text))), checkpoint, told


@pytest.fixture(scope="module")
def scored(candidate):
    return _score(candidate)


def test_there_are_two_folds_and_they_fit_the_data():
    assert len(FOLDS) == 2
    assert FOLDS[-1].test.stop == len(DATA.sessions)


def test_every_model_has_a_part_a_fold_and_a_refit(candidate):
    due = {f"{each.model}/{name}" for each in variants(MODELS) for name in ("fold_00", "fold_01", "refit")}
    assert set(candidate.facts["parts"]) == due == set(candidate.seconds)
    assert set(candidate.parts) == {part for part in due if not part.startswith(("equal_weight", "reversal"))}


def test_stored_arrays_are_those_expected_at_load(candidate):
    for part in candidate.facts["parts"]:
        found = {name: (array.shape, str(array.dtype)) for name, array in candidate.parts.get(part, {}).items()}
        assert found == expected_shapes(DATA, part=part, config=MODELS)


def test_facts_are_json_and_hold_no_duration(candidate):
    facts = json.loads(json.dumps(candidate.facts, allow_nan=False))
    assert facts == candidate.facts
    assert "seconds" not in json.dumps(facts)
    assert facts["threads"] == CONFIG.runtime.threads
    assert set(facts["libraries"]) >= {"jax", "flax", "optax", "numpy"}
    part = facts["parts"][f"{NAME}/fold_00"]
    assert len(part["curve"]) >= part["best_epoch"] >= 1
    assert facts["models"][f"{NAME}_no_graph"] == {"plugin": NAME, "graph": "identity"}
    assert facts["success_rate"] == 1
    assert set(candidate.attempts.values()) == {1}


def test_training_again_gives_the_same_bits_and_facts(candidate, again):
    trained, _, _ = again
    assert _bits(trained) == _bits(candidate)
    assert json_hash(trained.facts) == json_hash(candidate.facts)


def test_training_ends_when_the_last_label_of_the_choice_is_known(candidate):
    for fold in FOLDS:
        told = candidate.facts["parts"][fold_part("ridge", fold.number)]
        assert told["training_end"] == DATA.sessions[fold.validation[-1] + PURGE].isoformat()
        assert told["training_end"] < told["test"][0] == DATA.sessions[fold.test[0]].isoformat()


def test_the_refit_uses_the_newest_known_labels_for_the_median_best_epoch(candidate):
    parts = candidate.facts["parts"]
    told = parts[refit_part(NAME)]
    newest = len(DATA.sessions) - 1 - PURGE
    length = MODELS.folds.train + MODELS.folds.validation
    assert told["train"] == [DATA.sessions[newest - length + 1].isoformat(), DATA.sessions[newest].isoformat()]
    assert told["training_end"] == DATA.sessions[-1].isoformat()
    best = [parts[fold_part(NAME, fold.number)]["best_epoch"] for fold in FOLDS]
    assert told["best_epoch"] == max(1, round(median(best)))
    assert np.isfinite(DATA.labels_TxN[newest]).any()
    assert not np.isfinite(DATA.labels_TxN[newest + 1]).any()


def test_a_model_and_its_ablations_start_from_the_same_seed(candidate):
    parts = candidate.facts["parts"]
    for name in ("fold_00", "fold_01", "refit"):
        assert len({parts[f"{model}/{name}"]["seed"] for model in (NAME, f"{NAME}_no_graph", f"{NAME}_shuffled")}) == 1
    assert len({parts[f"{NAME}/{name}"]["seed"] for name in ("fold_00", "fold_01", "refit")}) == 3


def test_garbage_after_a_folds_training_end_changes_no_bit_of_its_weights(candidate):
    fold = FOLDS[0]
    market = small_market()
    market.returns_TxN[fold.validation[-1] + PURGE + 1 :] *= -3
    market.returns_TxN[fold.validation[-1] + PURGE + 1 :, ::2] += 0.05
    other = _bits(_train(market_data(market)))
    for variant in variants(MODELS):
        part = fold_part(variant.model, fold.number)
        assert other.get(part) == _bits(candidate).get(part)
    for part in (fold_part(NAME, 1), refit_part("ridge")):
        assert other[part] != _bits(candidate)[part]


def test_later_sessions_change_no_earlier_fold(candidate):
    market, cut = small_market(), len(DATA.sessions) - 20
    market = replace(
        market,
        sessions=market.sessions[:cut],
        returns_TxN=market.returns_TxN[:cut],
        oracle_TxN=market.oracle_TxN[:cut],
    )
    data = market_data(market)
    folds = candidate_folds(data, config=MODELS, purge=PURGE)
    part = fold_part(NAME, 0)
    assert _bits(_train(data, folds))[part] == _bits(candidate)[part]


def test_out_of_sample_scores_cover_every_test_session_and_symbol_with_features(scored):
    OOS_PREDICTIONS.conform(scored)
    tested = range(FOLDS[0].test.start, FOLDS[-1].test.stop)
    for variant in variants(MODELS):
        rows = scored.filter(pl.col("model") == variant.model)
        assert rows["session"].unique().sort().to_list() == list(DATA.sessions[tested.start : tested.stop])
        assert rows.height == DATA.mask_TxN[tested.start : tested.stop].sum()
    assert scored["score"].is_finite().all()
    assert scored["version"].unique().to_list() == ["v1"]
    assert (scored["training_end"] < scored["session"]).all()


def test_the_ablation_never_sees_an_edge(candidate, scored):
    bare = _score(candidate, DATA.seen("identity", seed=0))
    for model, same in ((f"{NAME}_no_graph", True), (NAME, False)):
        pair = [frame.filter(pl.col("model") == model) for frame in (bare, scored)]
        assert (content_hash(pair[0]) == content_hash(pair[1])) is same


def test_a_shuffled_graph_gives_other_weights_and_other_scores(candidate, scored):
    assert _bits(candidate)[f"{NAME}_shuffled/fold_00"] != _bits(candidate)[f"{NAME}/fold_00"]
    of = {model: scored.filter(pl.col("model") == model)["score"].to_list() for model in (NAME, f"{NAME}_shuffled")}
    assert of[NAME] != of[f"{NAME}_shuffled"]


def test_sessions_scored_for_a_forecast_are_the_bits_of_the_out_of_sample_table(candidate, scored):
    row = FOLDS[1].test[5]
    for model in (NAME, "ridge"):
        alone = predict_sessions(
            candidate.parts.__getitem__,
            DATA,
            model=model,
            part=fold_part(model, 1),
            sessions=range(row, row + 1),
            config=MODELS,
        )
        told = scored.filter((pl.col("model") == model) & (pl.col("session") == DATA.sessions[row])).sort("symbol")
        assert alone[0][DATA.mask_TxN[row]].tobytes() == told["score"].to_numpy().tobytes()


def test_weights_that_knew_a_tested_session_are_refused(candidate):
    facts = json.loads(json.dumps(candidate.facts))
    facts["parts"]["ridge/fold_01"]["training_end"] = DATA.sessions[FOLDS[1].test[0]].isoformat()
    with pytest.raises(ModelError, match="weights ridge/fold_01: expected training that ended before"):
        _score(candidate, facts=facts)


def test_a_fold_that_was_not_trained_is_refused(candidate):
    extra = replace(FOLDS[-1], number=7)
    with pytest.raises(ModelError, match=f"{NAME}/fold_07: expected to be among the trained parts"):
        _score(candidate, folds=[*FOLDS, extra])


def test_too_few_known_labels_for_a_refit_are_refused():
    with pytest.raises(DataError, match="refit: expected at least 84 sessions with known labels"):
        train_candidate(DATA, folds=FOLDS, config=MODELS, purge=100, progress=silent)


def test_progress_rises_to_one_and_names_the_part(again):
    _, _, told = again
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert any(text.startswith(f"{NAME}_no_graph/refit: epoch 1 of") for _, text in told)
    assert told[-1][1].endswith("s left")


def test_training_cut_off_between_and_inside_parts_goes_on_to_the_same_bits_and_facts(candidate):
    checkpoint, saved = InMemory(), []

    def cut(name):
        saved.append(name)
        if len(saved) in (3, 9, 20):
            raise KeyboardInterrupt

    checkpoint.before = cut
    runs = 1
    while True:
        try:
            resumed = _train(checkpoint=checkpoint)
        except KeyboardInterrupt:
            runs += 1
        else:
            break
    assert runs == 4
    assert _bits(resumed) == _bits(candidate)
    assert json_hash(resumed.facts) == json_hash(candidate.facts)


def test_a_part_that_is_done_is_not_trained_again(candidate, again, monkeypatch):
    _, checkpoint, _ = again

    def unwanted(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr("gnn_assets.models.chain.attempted", unwanted)
    assert _bits(_train(checkpoint=checkpoint)) == _bits(candidate)


def test_baselines_are_trained_alone_with_every_thread_and_the_others_share_them(again, monkeypatch):
    (_, checkpoint, _), workers = again, {}

    def noted(variant, plan, progress):
        workers[variant.model] = plan.config.training.workers
        return train_chain(variant, plan, progress)

    monkeypatch.setattr("gnn_assets.models.candidate.train_chain", noted)
    _train(checkpoint=checkpoint)
    assert {workers.pop(name) for name in MODELS.baselines} == {1}
    assert set(workers.values()) == {MODELS.training.workers} != {1}


def test_a_full_disk_is_met_by_another_try_which_is_counted(candidate):
    full = iter([True, True])

    def before(name):
        if name == f"{NAME}/fold_01/epoch" and next(full, False):
            raise DiskFull("no room")

    trained = _train(checkpoint=InMemory(before))
    assert trained.attempts[fold_part(NAME, 1)] == 3
    assert _bits(trained) == _bits(candidate)
    assert json_hash(trained.facts) == json_hash(candidate.facts)


def test_a_part_that_fails_loses_no_other():
    data, checkpoint = poisoned(DATA, FOLDS[0].train[0]), InMemory()
    models = MODELS.model_copy(update={"baselines": ()})
    trained = train_candidate(data, folds=FOLDS, config=models, purge=PURGE, progress=silent, checkpoint=checkpoint)
    parts = trained.facts["parts"]
    assert parts[fold_part(NAME, 0)]["failure"] == "NaN at epoch 1"
    assert parts[fold_part(NAME, 1)]["failure"] == ""
    assert trained.facts["success_rate"] == pytest.approx(2 / 3)
    assert f"{fold_part(NAME, 0)}/trained" not in checkpoint.kept


FRESH = """
import sys
from pathlib import Path
from gnn_assets.models import runtime
from gnn_assets_tests.models import test_candidate as small
runtime.start(threads=small.CONFIG.runtime.threads, cache=Path(sys.argv[1]))
trained = small._train()
print(small.fingerprint(trained, small._score(trained)))
"""


def fingerprint(trained, scores) -> str:
    """Hash of all that training and scoring gave."""
    digest = hashlib.sha256(json_hash(trained.facts).encode())
    for part, arrays in sorted(_bits(trained).items()):
        digest.update(part.encode() + b"".join(arrays[name] for name in sorted(arrays)))
    digest.update(content_hash(scores).encode())
    return digest.hexdigest()


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_bits(candidate, scored):
    # It runs the programs that this process compiled and kept.
    told = subprocess.run(
        [sys.executable, "-c", FRESH, str(jax.config.jax_compilation_cache_dir)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert told == fingerprint(candidate, scored)
