"""Ridge regression of standardised labels on standardised features: what a straight line knows.

References:
    A. E. Hoerl, R. W. Kennard, Ridge Regression, Technometrics 12 (1970).
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Shaped

from gnn_assets.core.config import ModelsConfig
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress, Shapes, require_shapes


def fit(
    data: Dataset,
    *,
    train: range,
    validation: range | None,
    config: ModelsConfig,
    seed: int,
    epochs: int | None,
    progress: Progress,
) -> Fitted:
    """Solves the normal equations; `seed` and `epochs` have nothing to decide.

    With nothing to stop, the validation part trains too: the baseline sees every label the network has seen.

    Args:
        data: features and labels; only rows from the first of `train` to the last of `validation` are read.
        train: rows whose labels train.
        validation: further rows whose labels train, or None.
        config: ``ridge.penalty`` on the squared coefficients, against the sum of squared errors.
        seed: not used.
        epochs: not used.
        progress: called once.
    """
    del seed, epochs
    rows = slice(train.start, train.stop if validation is None else validation.stop)
    targets_TxN, known_TxN = data.targets()
    features_RxF = data.features_TxNxF[rows][known_TxN[rows]].astype(np.float64)
    targets_R = targets_TxN[rows][known_TxN[rows]].astype(np.float64)
    penalty_FxF = config.ridge.penalty * np.eye(features_RxF.shape[1])
    # Pseudo-inverse: without penalty, features may be collinear or constant.
    coefficient_F = np.linalg.pinv(features_RxF.T @ features_RxF + penalty_FxF, hermitian=True) @ (
        features_RxF.T @ targets_R
    )
    progress(1.0, "solved")
    return Fitted({"coefficient": coefficient_F.astype(np.float32)})


def predict(
    arrays: Mapping[str, Shaped[np.ndarray, "..."]], data: Dataset, *, sessions: range, config: ModelsConfig
) -> Float32[np.ndarray, "S N"]:
    """Scores, float32 (S, N), NaN where masked out.

    Known at:
        Each row at its session's close.

    Raises:
        WeightsMismatch: if the coefficients are not those of these features.
    """
    require_shapes(arrays, expected_shapes(data, config))
    rows = slice(sessions.start, sessions.stop)
    # A sum feature by feature: a matrix product may round a row by the company it is in.
    scores_SxN = np.zeros((len(sessions), len(data.symbols)), dtype=np.float32)
    for feature, coefficient in enumerate(arrays["coefficient"]):
        scores_SxN += coefficient * data.features_TxNxF[rows, :, feature]
    return np.where(data.mask_TxN[rows], scores_SxN, np.float32(np.nan))


def expected_shapes(data: Dataset, config: ModelsConfig) -> Shapes:
    """Name → (shape, dtype) of the arrays `predict` needs."""
    del config
    return {"coefficient": ((len(data.feature_names),), "float32")}
