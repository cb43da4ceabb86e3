"""What every model of the zoo promises, whoever adds it."""

from dataclasses import replace

import numpy as np
import pytest

from gnn_assets.core.plugins import load_plugin, plugin_names
from gnn_assets.models import runtime, zoo
from gnn_assets.models.fitted import Fitted
from gnn_assets_tests.models.synthetic import CONFIG, silent, small_data

MODELS = CONFIG.models
DATA = small_data()
TRAIN, VALIDATION, ROWS = range(30, 94), range(97, 117), range(120, 160)
every_model = pytest.mark.parametrize("name", plugin_names(zoo.__name__))


@pytest.fixture(scope="module", autouse=True)
def _jax_runs(tmp_path_factory):
    runtime.start(threads=CONFIG.runtime.threads, cache=tmp_path_factory.mktemp("xla"))


def _fit(name, data=DATA, *, validation=VALIDATION, epochs=None, progress=silent) -> Fitted:
    return load_plugin(zoo.__name__, name).fit(
        data, train=TRAIN, validation=validation, config=MODELS, seed=1, epochs=epochs, progress=progress
    )


def _predict(name, fitted, data=DATA, rows=ROWS):
    return load_plugin(zoo.__name__, name).predict(fitted.arrays, data, sessions=rows, config=MODELS)


def _bits(fitted):
    return {key: array.tobytes() for key, array in fitted.arrays.items()}


def _after(session, *, labels_from):
    """The data with garbage in every later session."""
    later = np.arange(len(DATA.sessions)) > session
    noise = np.random.default_rng(0).normal(size=DATA.features_TxNxF.shape, scale=30).astype(np.float32)
    return replace(
        DATA,
        features_TxNxF=np.where(later[:, None, None], noise, DATA.features_TxNxF),
        labels_TxN=np.where(np.arange(len(later))[:, None] > labels_from, noise[..., 0], DATA.labels_TxN),
        neighbours_TxNxK=np.where(later[:, None, None], -1, DATA.neighbours_TxNxK),
        mask_TxN=DATA.mask_TxN & ~later[:, None],
    )


def test_the_default_models_are_among_them():
    assert {MODELS.candidate, *MODELS.baselines} <= set(plugin_names(zoo.__name__))


@every_model
def test_arrays_are_those_expected_and_scores_are_finite_where_features_are(name):
    fitted = _fit(name)
    assert isinstance(fitted, Fitted)
    assert fitted.failure == ""
    found = {key: (array.shape, str(array.dtype)) for key, array in fitted.arrays.items()}
    assert found == load_plugin(zoo.__name__, name).expected_shapes(DATA, MODELS)
    scores = _predict(name, fitted)
    assert scores.shape == (len(ROWS), len(DATA.symbols))
    assert scores.dtype == np.float32
    assert (np.isfinite(scores) == DATA.mask_TxN[ROWS.start : ROWS.stop]).all()
    assert not DATA.mask_TxN[ROWS.start : ROWS.stop].all()


@every_model
def test_training_twice_gives_the_same_bits(name):
    assert _bits(_fit(name)) == _bits(_fit(name))


@every_model
def test_training_without_validation_is_possible(name):
    assert _fit(name, validation=None, epochs=1).validation_ic is None


@every_model
def test_training_reads_nothing_after_its_last_session(name):
    last = VALIDATION[-1]
    assert _bits(_fit(name, _after(last, labels_from=last))) == _bits(_fit(name))


@every_model
def test_a_score_is_the_same_bits_whatever_else_is_scored(name):
    fitted = _fit(name)
    together = _predict(name, fitted)
    for first in (ROWS.start, ROWS.start + 1, ROWS.start + 17):
        for length in (1, 16, ROWS.stop - first):
            part = _predict(name, fitted, rows=range(first, first + length))
            assert part.tobytes() == together[first - ROWS.start :][:length].tobytes()


@every_model
def test_a_score_knows_neither_later_sessions_nor_any_label(name):
    fitted = _fit(name)
    known = 140
    altered = _predict(name, fitted, _after(known, labels_from=-1))
    kept = known + 1 - ROWS.start
    assert altered[:kept].tobytes() == _predict(name, fitted)[:kept].tobytes()


@every_model
def test_progress_ends_at_one(name):
    shares = []
    _fit(name, progress=lambda share, _text: shares.append(share))
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
