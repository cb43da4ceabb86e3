import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from gnn_assets.core.errors import DataError, DiskFull
from gnn_assets.models import programs
from gnn_assets.models.checkpoint import NO_CHECKPOINT
from gnn_assets.models.train import fit_network
from gnn_assets.models.zoo.high_pass import HighPass, predict
from gnn_assets.store.checkpoints import Checkpoints
from gnn_assets_tests.models.checkpoints import InMemory
from gnn_assets_tests.models.synthetic import CONFIG, changed, features_changed, poisoned, silent, small_data

DATA = small_data()
TRAIN, VALIDATION = range(30, 94), range(97, 117)
# Fast enough to overshoot: the best epoch is not the last.
LONG = changed("training", epochs=12, patience=1, learning_rate=0.1)


def _fit(
    data=DATA,
    *,
    config=CONFIG,
    train=TRAIN,
    validation=VALIDATION,
    seed=3,
    epochs=None,
    progress=silent,
    checkpoint=NO_CHECKPOINT,
):
    return fit_network(
        HighPass,
        config.models.high_pass,
        data,
        train=train,
        validation=validation,
        config=config.models,
        seed=seed,
        epochs=epochs,
        progress=progress,
        checkpoint=checkpoint,
    )


def _bits(fitted):
    return {name: array.tobytes() for name, array in fitted.arrays.items()}


def _validation_ic(fitted, config):
    scores = predict(fitted.arrays, DATA, sessions=VALIDATION, config=config.models)
    (target,) = config.models.training.targets
    targets, known = DATA.targets(target, VALIDATION)
    return np.mean([np.corrcoef(s[k], t[k])[0, 1] for s, t, k in zip(scores, targets, known, strict=True)])


def test_training_lowers_the_loss():
    curve = _fit(config=LONG).curve
    assert curve[-1]["loss"] < curve[0]["loss"] - 0.02


def test_each_target_trains_another_network():
    bits = [_bits(_fit(config=changed("training", targets=[target]))) for target in ("label", "residual", "scaled")]
    assert bits[0] != bits[1] != bits[2] != bits[0]


@pytest.mark.slow
def test_with_several_targets_the_loss_and_the_judgement_are_means_over_them():
    def first(*targets):
        return _fit(config=changed("training", targets=targets, learning_rate=1e-30, epochs=1)).curve[0]

    alone, both = [first("label"), first("scaled")], first("label", "scaled")
    for told in ("loss", "validation_ic"):
        assert both[told] == pytest.approx(np.mean([each[told] for each in alone]), abs=1e-5)


def test_arrays_are_float32_and_all_seeds_differ():
    fitted = _fit()
    assert {str(array.dtype) for array in fitted.arrays.values()} == {"float32"}
    assert not np.array_equal(*fitted.arrays["encoder.kernel"])
    assert fitted.failure == ""


def test_the_best_epochs_parameters_are_returned():
    fitted = _fit(config=LONG)
    ics = [point["validation_ic"] for point in fitted.curve]
    assert fitted.best_epoch == 1 + int(np.argmax(ics))
    assert fitted.validation_ic == max(ics)
    assert _validation_ic(fitted, LONG) == pytest.approx(fitted.validation_ic, abs=1e-5)


def test_training_stops_after_so_many_epochs_without_a_better_one():
    fitted = _fit(config=LONG)
    assert len(fitted.curve) == fitted.best_epoch + 1 < 12


def test_without_validation_the_last_of_the_epochs_asked_for_is_returned():
    fitted = _fit(validation=None, epochs=2)
    assert fitted.best_epoch == len(fitted.curve) == 2
    assert fitted.validation_ic is None
    assert {point["validation_ic"] for point in fitted.curve} == {None}


def test_a_refit_walks_the_path_the_fold_walked():
    fold = _fit(config=LONG)
    assert _bits(_fit(config=LONG, validation=None, epochs=fold.best_epoch)) == _bits(fold)


@pytest.mark.slow
def test_what_is_kept_is_the_debiased_moving_average_of_the_parameters():
    def after(epochs, average):
        # One step an epoch, so that each step's parameters can be had: those of no average at all.
        fitted = _fit(config=changed("training", average=average), train=range(30, 46), validation=None, epochs=epochs)
        return fitted.arrays["encoder.kernel"].astype(float)

    first, second = after(1, 0.0), after(2, 0.0)
    np.testing.assert_allclose(after(1, 0.75), first, rtol=1e-6)
    np.testing.assert_allclose(after(2, 0.75), (0.75 * first + second) / 1.75, rtol=1e-5)


def test_equal_seeds_give_equal_bits_and_others_do_not():
    assert _bits(_fit()) == _bits(_fit())
    assert _bits(_fit()) != _bits(_fit(seed=4))


@pytest.mark.slow
def test_a_shape_is_compiled_once():
    _fit(config=LONG)
    before = programs.compiled_count()
    _fit(config=LONG, seed=8)
    _fit(config=LONG, train=range(33, 97), validation=range(100, 120))
    _fit(config=LONG, train=range(30, 114), validation=None, epochs=2)
    _fit(config=changed("training", epochs=2, weight_decay=0.3, average=0.0, gradient_clip=0.1, targets=["label"]))
    assert programs.compiled_count() == before
    _fit(config=changed("training", epochs=1), train=range(30, 62))
    assert programs.compiled_count() == before + 1


def test_only_rows_of_training_and_validation_are_read():
    outside = np.ones(len(DATA.sessions), dtype=bool)
    outside[[*TRAIN, *VALIDATION]] = False
    garbage = replace(
        features_changed(DATA, lambda column: np.where(outside[:, None], np.float32(9e9), column)),
        labels_TxN=np.where(outside[:, None], np.float32(-9e9), DATA.labels_TxN),
        graph=replace(
            DATA.graph,
            neighbours_TxNxK=np.where(outside[:, None, None], 0, DATA.graph.neighbours_TxNxK).astype("int32"),
        ),
    )
    assert _bits(_fit(garbage)) == _bits(_fit())


def test_symbols_without_a_label_do_not_train():
    unlabelled = DATA.labels_TxN.copy()
    unlabelled[:, 3] = np.nan
    other = unlabelled.copy()
    other[:, 3] = np.inf
    assert _bits(_fit(replace(DATA, labels_TxN=unlabelled))) == _bits(_fit(replace(DATA, labels_TxN=other)))


@pytest.mark.parametrize("row", [60, VALIDATION.start])
def test_a_poisoned_session_stops_training_with_the_last_finite_parameters(row):
    fitted = _fit(poisoned(DATA, row))
    assert fitted.failure == "NaN at epoch 1"
    assert fitted.curve == ()
    assert all(np.isfinite(array).all() for array in fitted.arrays.values())


def test_an_absurd_learning_rate_stops_training_with_the_last_finite_parameters():
    fitted = _fit(config=changed("training", learning_rate=1e30, gradient_clip=1e30))
    assert fitted.failure.startswith("NaN at epoch ")
    assert all(np.isfinite(array).all() for array in fitted.arrays.values())


def test_a_spent_time_budget_is_a_failure_and_not_a_shorter_training():
    fitted = _fit(config=changed("training", budget_seconds=1e-9))
    assert fitted.failure == "out of time after epoch 1 of 3"
    assert len(fitted.curve) == 1
    assert _fit(config=changed("training", budget_seconds=1e-9, epochs=1)).failure == ""


def test_progress_tells_epoch_loss_and_ic():
    told = []
    _fit(progress=lambda share, text: told.append((share, text)))
    assert [share for share, _ in told] == pytest.approx([1 / 3, 2 / 3, 1])
    assert told[0][1].startswith("epoch 1 of 3: loss ")
    assert "validation IC" in told[0][1]


def test_a_training_part_shorter_than_a_step_is_refused():
    with pytest.raises(DataError, match=r"training part: expected at least models\.training\.sessions_per_step"):
        _fit(train=range(30, 40))


@pytest.mark.parametrize("epochs", [1, 5, 12])
def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(epochs):
    whole = _fit(config=LONG)
    checkpoint, seen = InMemory(), []

    def cut(share, text):
        seen.append(text)
        if len(seen) == epochs:
            raise KeyboardInterrupt

    if epochs <= len(whole.curve):
        with pytest.raises(KeyboardInterrupt):
            _fit(config=LONG, checkpoint=checkpoint, progress=cut)
    else:
        _fit(config=LONG, checkpoint=checkpoint)
    told = []
    resumed = _fit(config=LONG, checkpoint=checkpoint, progress=lambda _, text: told.append(text))
    assert _bits(resumed) == _bits(whole)
    assert (resumed.curve, resumed.best_epoch, resumed.validation_ic) == (
        whole.curve,
        whole.best_epoch,
        whole.validation_ic,
    )
    assert len(told) == max(0, len(whole.curve) - epochs)


def test_a_checkpoint_that_cannot_be_written_is_told():
    def full(name):
        raise DiskFull("no room")

    with pytest.raises(DiskFull):
        _fit(checkpoint=InMemory(full))


KILLED = """
import sys, time
from pathlib import Path
from gnn_assets.models import runtime
from gnn_assets.store.checkpoints import Checkpoints
from gnn_assets_tests.models import test_train as small

def wait(share, text):
    print(text, flush=True)
    if text.startswith("epoch 2 "):
        time.sleep(600)

runtime.start(threads=small.CONFIG.runtime.threads, cache=Path(sys.argv[1]))
small._fit(config=small.LONG, checkpoint=Checkpoints(Path(sys.argv[2])).of("key"), progress=wait)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_what_another_finishes_to_the_same_bits(tmp_path):
    command = [
        sys.executable,
        "-c",
        KILLED,
        str(jax.config.jax_compilation_cache_dir),
        str(tmp_path / "kept"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("epoch 2 "):
                child.kill()
    assert child.returncode == -9
    told = []
    resumed = _fit(
        config=LONG,
        checkpoint=Checkpoints(tmp_path / "kept").of("key"),
        progress=lambda _, text: told.append(text),
    )
    assert told[0].startswith("epoch 3 ")
    assert _bits(resumed) == _bits(_fit(config=LONG))
