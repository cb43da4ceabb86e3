import numpy as np
import pytest

from gnn_assets.core.errors import ConfigError, PluginError
from gnn_assets.models.checkpoint import NO_CHECKPOINT
from gnn_assets.models.combine import combined
from gnn_assets.models.fitted import Fitted
from gnn_assets.models.zoo import blend, lightgbm, reversal, ridge
from gnn_assets_tests.models.synthetic import changed, silent, small_data

DATA = small_data()
TRAIN, VALIDATION, ROWS = range(30, 94), range(97, 117), range(120, 160)
CONFIG = changed("blend", members=["lightgbm", "reversal", "ridge"])


def _fit(model=blend, config=CONFIG, checkpoint=NO_CHECKPOINT):
    return model.fit(
        DATA,
        train=TRAIN,
        validation=VALIDATION,
        config=config.models,
        seed=3,
        epochs=None,
        progress=silent,
        checkpoint=checkpoint,
    )


def _predict(model, arrays):
    return model.predict(arrays, DATA, sessions=ROWS, config=CONFIG.models)


def test_a_blend_is_its_members_trained_alone_and_standardised():
    fitted = _fit()
    members = {"lightgbm": lightgbm, "reversal": reversal, "ridge": ridge}
    alone = {name: _fit(member) for name, member in members.items()}
    expected = {f"{name}/{key}": array for name, each in alone.items() for key, array in each.arrays.items()}
    assert fitted.arrays.keys() == expected.keys()
    assert all(fitted.arrays[key].tobytes() == array.tobytes() for key, array in expected.items())
    scores = [_predict(member, alone[name].arrays) for name, member in members.items()]
    assert _predict(blend, fitted.arrays).tobytes() == combined(scores, DATA, sessions=ROWS).tobytes()


def test_members_weigh_the_same_whatever_the_size_of_their_scores():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, len(ROWS), len(DATA.symbols))).astype(np.float32)
    plain, large = (combined([one, factor * other], DATA, sessions=ROWS) for factor in (1, 1000))
    np.testing.assert_allclose(plain, large, atol=1e-4)


def test_a_member_keeps_its_unfinished_work_under_its_own_name():
    class Named:
        def __init__(self):
            self.names = []

        def load(self, name):
            del name

        def save(self, name, arrays, facts):
            del arrays, facts
            self.names.append(name)

    named = Named()
    _fit(checkpoint=named)
    assert named.names == ["lightgbm/residual", "lightgbm/scaled"]


def test_a_blend_tells_of_its_longest_training_and_of_every_failure(monkeypatch):
    def told(epochs, ic, failure):
        return lambda *_, **__: Fitted({}, epochs, ({"epoch": epochs},), ic, failure)

    monkeypatch.setattr(lightgbm, "fit", told(0, None, "no rows"))
    monkeypatch.setattr(reversal, "fit", told(7, 0.5, ""))
    monkeypatch.setattr(ridge, "fit", told(2, 0.1, "NaN at epoch 3"))
    fitted = _fit()
    assert (fitted.best_epoch, fitted.validation_ic, fitted.curve) == (7, 0.5, ({"epoch": 7},))
    assert fitted.failure == "lightgbm: no rows; ridge: NaN at epoch 3"


@pytest.mark.parametrize("members", [["ridge", "blend"], ["ridge", "ridge"]])
def test_a_blend_of_itself_or_of_one_model_twice_is_refused(members):
    with pytest.raises(ConfigError, match="different models, none of them blend"):
        changed("blend", members=members)


def test_a_member_that_is_not_there_is_refused_by_name():
    with pytest.raises(PluginError, match="did you mean 'ridge'"):
        _fit(config=changed("blend", members=["rigde"]))
