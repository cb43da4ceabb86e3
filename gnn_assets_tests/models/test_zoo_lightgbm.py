from dataclasses import replace

import numpy as np
import pytest

from gnn_assets.core.errors import DataError, WeightsMismatch
from gnn_assets.models.checkpoint import NO_CHECKPOINT
from gnn_assets.models.zoo import lightgbm
from gnn_assets_tests.models.synthetic import CONFIG, changed, silent, small_data

DATA = small_data()
TRAIN, VALIDATION, ROWS = range(30, 94), range(97, 117), range(120, 160)


def _fit(config=CONFIG, data=DATA, *, validation=VALIDATION, progress=silent, checkpoint=NO_CHECKPOINT):
    return lightgbm.fit(
        data,
        train=TRAIN,
        validation=validation,
        config=config.models,
        seed=3,
        epochs=None,
        progress=progress,
        checkpoint=checkpoint,
    )


def _predict(arrays, config=CONFIG, data=DATA):
    return lightgbm.predict(arrays, data, sessions=ROWS, config=config.models)


def _following(column):
    """The data with labels that one feature tells, but for noise."""
    noise = np.random.default_rng(0).standard_normal(DATA.mask_TxN.shape)
    return replace(DATA, labels_TxN=(DATA.column(column) + 0.3 * noise).astype(np.float32))


@pytest.mark.parametrize("target", ["label", "residual", "scaled"])
def test_boosters_find_what_a_feature_tells(target):
    data = _following("residual_lag0")
    config = changed("lightgbm", targets=[target], trees=60, learning_rate=0.1, l2=1.0)
    scores = _predict(_fit(config, data).arrays, config, data)
    told = data.project_off(data.column("residual_lag0")[ROWS.start : ROWS.stop], ROWS)
    there = np.isfinite(scores)
    assert np.corrcoef(scores[there], told[there])[0, 1] > 0.6


def test_the_validation_part_trains_too():
    assert _fit(validation=None).arrays["scaled"].tobytes() != _fit().arrays["scaled"].tobytes()


def test_scores_of_targets_are_averaged_and_stand_off_the_directions():
    fitted = _fit()
    scores = _predict(fitted.arrays)
    basis = DATA.basis(ROWS)
    np.testing.assert_allclose(np.einsum("snd,sn->sd", basis, np.nan_to_num(scores)), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(scores, axis=1), 1.0, rtol=1e-5)
    alone = [
        _predict({target: fitted.arrays[target]}, changed("lightgbm", targets=[target]))
        for target in CONFIG.models.lightgbm.targets
    ]
    assert all(
        0.3 < np.corrcoef(np.nan_to_num(each).ravel(), np.nan_to_num(scores).ravel())[0, 1] < 1 for each in alone
    )


def test_a_booster_that_is_kept_is_not_trained_again():
    class Kept:
        def __init__(self):
            self.parts = {}

        def load(self, name):
            return self.parts.get(name)

        def save(self, name, arrays, facts):
            self.parts[name] = (dict(arrays), dict(facts))

    kept, told = Kept(), []
    whole = _fit(checkpoint=kept)
    assert set(kept.parts) == {"residual", "scaled"}
    del kept.parts["scaled"]
    resumed = _fit(checkpoint=kept, progress=lambda _share, text: told.append(text))
    assert {name: array.tobytes() for name, array in resumed.arrays.items()} == {
        name: array.tobytes() for name, array in whole.arrays.items()
    }
    assert all(text.startswith("booster scaled: tree") for text in told[:-1])


@pytest.mark.parametrize(("workers", "share"), [(1, 4), (2, 2), (8, 1)])
def test_models_trained_at_once_share_the_threads_and_no_bit_depends_on_it(monkeypatch, workers, share):
    taken, train = [], lightgbm.lightgbm.train

    def counted(parameters, *args, **kwargs):
        taken.append(parameters["num_threads"])
        return train(parameters, *args, **kwargs)

    monkeypatch.setattr(lightgbm, "thread_count", lambda: 4)
    monkeypatch.setattr(lightgbm.lightgbm, "train", counted)
    arrays = _fit(changed("training", workers=workers)).arrays
    assert taken == [share] * len(arrays)
    whole = _fit(changed("training", workers=1)).arrays
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in whole.items()
    }
    assert all(b"[num_threads: 4]" in array.tobytes() for array in arrays.values())


def test_a_booster_of_other_features_is_refused():
    arrays = _fit().arrays
    fewer = replace(DATA, linked={})
    with pytest.raises(WeightsMismatch, match=r"weights residual: expected a booster of the \d+ features"):
        _predict(arrays, data=fewer)
    first, second, *others = DATA.own
    renamed = replace(DATA, own={second: DATA.own[first], first: DATA.own[second], **{n: DATA.own[n] for n in others}})
    with pytest.raises(WeightsMismatch, match="not all of them the same"):
        _predict(arrays, data=renamed)


@pytest.mark.parametrize("damaged", [b"\xff\xfe", b"no booster", b""])
def test_a_text_that_is_no_booster_is_refused(damaged):
    arrays = {**_fit().arrays, "residual": np.frombuffer(damaged, dtype=np.uint8)}
    with pytest.raises(WeightsMismatch, match="weights residual: expected the text of a booster"):
        _predict(arrays)


def test_rows_without_a_target_are_no_training_data():
    empty = replace(DATA, labels_TxN=np.full_like(DATA.labels_TxN, np.nan))
    with pytest.raises(DataError, match="a row that has residual and scaled, was none in 87 sessions"):
        _fit(data=empty)


def test_nothing_is_printed_while_trees_grow(capfd):
    _predict(_fit().arrays)
    assert capfd.readouterr() == ("", "")
