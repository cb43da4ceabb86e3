from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import zscore
from sklearn.linear_model import Ridge

from gnn_assets.core.errors import WeightsMismatch
from gnn_assets.models.checkpoint import NO_CHECKPOINT
from gnn_assets.models.zoo import reversal, ridge
from gnn_assets_tests.models.synthetic import CONFIG, changed, silent, small_data

DATA = small_data()
TRAIN, VALIDATION = range(30, 94), range(97, 117)


def _ridge(config, validation=VALIDATION, *, data=DATA):
    fitted = ridge.fit(
        data,
        train=TRAIN,
        validation=validation,
        config=config.models,
        seed=0,
        epochs=None,
        progress=silent,
        checkpoint=NO_CHECKPOINT,
    )
    return fitted.arrays["coefficient"]


@pytest.mark.parametrize("penalty", [1.0, 1000.0])
@pytest.mark.parametrize("target", ["label", "residual", "scaled"])
@pytest.mark.parametrize("validation", [VALIDATION, None])
def test_ridge_is_scikit_learns_on_all_labels_known_before_the_test(penalty, target, validation):
    rows = range(TRAIN.start, validation.stop if validation else TRAIN.stop)
    targets, known = DATA.targets(target, rows)
    oracle = Ridge(alpha=penalty, fit_intercept=False).fit(
        DATA.features(rows)[known].astype(float), targets[known].astype(float)
    )
    found = _ridge(changed("ridge", penalty=penalty, target=target), validation)
    np.testing.assert_allclose(found, oracle.coef_, rtol=1e-4, atol=1e-7)


def test_ridge_without_penalty_takes_features_that_say_the_same():
    twice = replace(DATA, own={**DATA.own, "again": DATA.own["return_lag0"]})
    single, double = (_ridge(changed("ridge", penalty=0.0), data=data) for data in (DATA, twice))
    at = DATA.feature_names.index("return_lag0"), twice.feature_names.index("again")
    assert double[at[0]] == pytest.approx(double[at[1]], rel=1e-3)
    assert double[at[0]] + double[at[1]] == pytest.approx(single[at[0]], rel=1e-3)


def test_ridge_coefficients_of_other_features_are_refused():
    message = rf"weights coefficient: expected float32 \({len(DATA.feature_names)},\), was float32 \(4,\)"
    with pytest.raises(WeightsMismatch, match=message):
        ridge.predict({"coefficient": np.zeros(4, np.float32)}, DATA, sessions=range(100, 101), config=CONFIG.models)


@pytest.mark.parametrize("window", [1, 5, 7])
@pytest.mark.parametrize("first", [4, 100])
def test_reversal_bets_against_the_return_of_its_window_whatever_the_features_are(window, first):
    sessions = range(first, first + 20)
    scores = reversal.predict({}, DATA, sessions=sessions, config=changed("reversal", window=window).models)
    returns = DATA.bars.close_return_TxN
    for row, score in zip(sessions, scores, strict=True):
        mask = DATA.mask_TxN[row]
        total = np.nansum(returns[max(0, row + 1 - window) : row + 1], axis=0)
        np.testing.assert_allclose(score[mask], -zscore(total[mask]), atol=1e-5)
