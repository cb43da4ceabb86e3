import numpy as np
import pytest
from sklearn.linear_model import Ridge

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError, WeightsMismatch
from gnn_assets.models.zoo import reversal, ridge
from gnn_assets_tests.models.synthetic import CONFIG, SMALL, changed, silent, small_data

DATA = small_data()
TRAIN, VALIDATION = range(30, 94), range(97, 117)


def _ridge(config, validation=VALIDATION):
    return ridge.fit(
        DATA, train=TRAIN, validation=validation, config=config.models, seed=0, epochs=None, progress=silent
    ).arrays["coefficient"]


@pytest.mark.parametrize("penalty", [1.0, 1000.0])
@pytest.mark.parametrize("validation", [VALIDATION, None])
def test_ridge_is_scikit_learns_on_all_labels_known_before_the_test(penalty, validation):
    rows = slice(TRAIN.start, validation.stop if validation else TRAIN.stop)
    targets, known = (array[rows] for array in DATA.targets())
    oracle = Ridge(alpha=penalty, fit_intercept=False).fit(
        DATA.features_TxNxF[rows][known].astype(float), targets[known].astype(float)
    )
    np.testing.assert_allclose(_ridge(changed("ridge", penalty=penalty), validation), oracle.coef_, rtol=1e-4)


def test_ridge_without_penalty_takes_features_that_say_the_same():
    windows = {"return_windows": [1, 5], "volatility_window": 5, "range_window": 2}
    config = build_config("test", SMALL, {"models": {"features": windows, "ridge": {"penalty": 0.0}}})
    data = small_data(config=config)
    fitted = ridge.fit(data, train=TRAIN, validation=None, config=config.models, seed=0, epochs=None, progress=silent)
    assert np.isfinite(fitted.arrays["coefficient"]).all()


def test_ridge_coefficients_of_other_features_are_refused():
    with pytest.raises(WeightsMismatch, match="weights coefficient: expected float32 \\(5,\\), was float32 \\(4,\\)"):
        ridge.predict({"coefficient": np.zeros(4, np.float32)}, DATA, sessions=range(100, 101), config=CONFIG.models)


def test_reversal_over_a_window_that_is_no_feature_is_refused():
    config = changed("reversal", window=7).models
    with pytest.raises(ConfigError, match=r"models.reversal.window: expected one of .*\(1, 5\), was 7"):
        reversal.predict({}, DATA, sessions=range(100, 101), config=config)
