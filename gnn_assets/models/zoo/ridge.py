"""Ridge regression: what a straight line knows of the features every model sees.

For: the baseline that says how much of a score is linear.

Known at:
    Each score at its session's close: a session is scored from its own features alone.

References:
    A. E. Hoerl, R. W. Kennard, Ridge Regression, Technometrics 12 (1970).

Where it differs from it: no intercept, features and targets having mean 0 in every session; a pseudo-inverse, so that
features may say the same where there is no penalty.

Cost: F² products a row (a session and symbol), and F² numbers in memory, with one block of sessions at a time.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Shaped

from gnn_assets.core.config import ModelsConfig
from gnn_assets.models.checkpoint import Checkpoint
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Fitted, Progress, Shapes, require_shapes

# Sessions whose features are held in float64 at once: memory, and the order of a sum.
_BLOCK = 32


def fit(
    data: Dataset,
    *,
    train: range,
    validation: range | None,
    config: ModelsConfig,
    seed: int,
    epochs: int | None,
    progress: Progress,
    checkpoint: Checkpoint,
) -> Fitted:
    """Solves the normal equations; `seed` and `epochs` have nothing to decide.

    With nothing to stop, the validation part trains too: the baseline sees every label the network has seen.

    Args:
        data: features and labels; only rows from the first of `train` to the last of `validation` are read.
        train: rows whose labels train.
        validation: further rows whose labels train, or None.
        config: ``ridge.target``, and ``ridge.penalty`` on the squared coefficients, against the sum of squared errors.
        seed: not used.
        epochs: not used.
        progress: called after each block of sessions.
        checkpoint: not used.
    """
    del seed, epochs, checkpoint
    rows = range(train.start, train.stop if validation is None else validation.stop)
    targets_SxN, known_SxN = data.targets(config.ridge.target, rows)
    n_features = len(data.feature_names)
    gram_FxF, moment_F = config.ridge.penalty * np.eye(n_features), np.zeros(n_features)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        features_RxF = data.features(rows[part])[known_SxN[part]].astype(np.float64)
        gram_FxF += features_RxF.T @ features_RxF
        moment_F += features_RxF.T @ targets_SxN[part][known_SxN[part]].astype(np.float64)
        done = min(part.stop, len(rows))
        progress(done / len(rows), f"{done} of {len(rows)} sessions")
    coefficient_F = np.linalg.pinv(gram_FxF, hermitian=True) @ moment_F
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
    for name, coefficient in zip(data.feature_names, arrays["coefficient"], strict=True):
        scores_SxN += coefficient * data.column(name)[rows]
    return np.where(data.mask_TxN[rows], scores_SxN, np.float32(np.nan))


def expected_shapes(data: Dataset, config: ModelsConfig) -> Shapes:
    """Name → (shape, dtype) of the arrays `predict` needs."""
    del config
    return {"coefficient": ((len(data.feature_names),), "float32")}
