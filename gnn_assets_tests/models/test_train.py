from dataclasses import replace

import numpy as np
import pytest

from gnn_assets.core.errors import DataError
from gnn_assets.models.train import fit_network
from gnn_assets.models.zoo.graph_attention import GraphAttention, predict
from gnn_assets_tests.models.synthetic import CONFIG, changed, silent, small_data

DATA = small_data()
TRAIN, VALIDATION = range(30, 94), range(100, 120)
# Fast enough to overshoot: the best epoch is not the last.
LONG = changed("training", epochs=12, patience=3, learning_rate=0.05)


def _fit(data=DATA, *, config=CONFIG, train=TRAIN, validation=VALIDATION, seed=3, epochs=None, progress=silent):
    return fit_network(
        GraphAttention,
        data,
        train=train,
        validation=validation,
        config=config.models,
        seed=seed,
        epochs=epochs,
        progress=progress,
    )


def _bits(fitted):
    return {name: array.tobytes() for name, array in fitted.arrays.items()}


def _validation_ic(fitted, data=DATA):
    scores = predict(fitted.arrays, data, sessions=VALIDATION, config=CONFIG.models)
    targets, known = (array[VALIDATION.start : VALIDATION.stop] for array in data.targets())
    return np.mean([np.corrcoef(s[k], t[k])[0, 1] for s, t, k in zip(scores, targets, known, strict=True)])


def test_training_lowers_the_loss():
    curve = _fit(config=LONG).curve
    assert curve[-1]["loss"] < curve[0]["loss"] - 0.02


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
    assert _validation_ic(fitted) == pytest.approx(fitted.validation_ic, abs=1e-5)


def test_training_stops_after_so_many_epochs_without_a_better_one():
    fitted = _fit(config=LONG)
    assert len(fitted.curve) == fitted.best_epoch + 3 < 12


def test_without_validation_the_last_of_the_epochs_asked_for_is_returned():
    fitted = _fit(validation=None, epochs=2)
    assert fitted.best_epoch == len(fitted.curve) == 2
    assert fitted.validation_ic is None
    assert {point["validation_ic"] for point in fitted.curve} == {None}


def test_a_refit_walks_the_path_the_fold_walked():
    fold = _fit(config=LONG)
    assert _bits(_fit(config=LONG, validation=None, epochs=fold.best_epoch)) == _bits(fold)


def test_equal_seeds_give_equal_bits_and_others_do_not():
    assert _bits(_fit()) == _bits(_fit())
    assert _bits(_fit()) != _bits(_fit(seed=4))


def test_only_rows_of_training_and_validation_are_read():
    outside = np.ones(len(DATA.sessions), dtype=bool)
    outside[[*TRAIN, *VALIDATION]] = False
    garbage = replace(
        DATA,
        features_TxNxF=np.where(outside[:, None, None], np.float32(9e9), DATA.features_TxNxF),
        labels_TxN=np.where(outside[:, None], np.float32(-9e9), DATA.labels_TxN),
        neighbours_TxNxK=np.where(outside[:, None, None], 0, DATA.neighbours_TxNxK),
    )
    assert _bits(_fit(garbage)) == _bits(_fit())


def test_symbols_without_a_label_do_not_train():
    unlabelled = DATA.labels_TxN.copy()
    unlabelled[:, 3] = np.nan
    other = unlabelled.copy()
    other[:, 3] = np.inf
    assert _bits(_fit(replace(DATA, labels_TxN=unlabelled))) == _bits(_fit(replace(DATA, labels_TxN=other)))


def test_a_poisoned_session_stops_training_with_the_last_finite_parameters():
    poisoned = DATA.features_TxNxF.copy()
    poisoned[60, 0, 0] = np.inf
    fitted = _fit(replace(DATA, features_TxNxF=poisoned))
    assert fitted.failure == "NaN at epoch 1"
    assert fitted.curve == ()
    assert all(np.isfinite(array).all() for array in fitted.arrays.values())


def test_an_absurd_learning_rate_stops_training_with_the_last_finite_parameters():
    fitted = _fit(config=changed("training", learning_rate=1e30, gradient_clip=1e30))
    assert fitted.failure.startswith("NaN at epoch ")
    assert all(np.isfinite(array).all() for array in fitted.arrays.values())


def test_a_validation_part_that_cannot_be_scored_is_a_failure():
    poisoned = DATA.features_TxNxF.copy()
    poisoned[VALIDATION.start, 0, 0] = np.inf
    assert _fit(replace(DATA, features_TxNxF=poisoned)).failure == "NaN at epoch 1"


def test_progress_tells_epoch_loss_and_ic():
    told = []
    _fit(progress=lambda share, text: told.append((share, text)))
    assert [share for share, _ in told] == pytest.approx([1 / 3, 2 / 3, 1])
    assert told[0][1].startswith("epoch 1 of 3: loss ")
    assert "validation IC" in told[0][1]


def test_a_training_part_shorter_than_a_step_is_refused():
    with pytest.raises(DataError, match=r"training part: expected at least models\.training\.sessions_per_step"):
        _fit(train=range(30, 40))
