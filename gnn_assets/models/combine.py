"""Scores of several models as one."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from gnn_assets.models.dataset import Dataset
from gnn_assets.models.features.standardise import standardise


def combined(
    scores: Sequence[Float32[np.ndarray, "S N"]], data: Dataset, *, sessions: range
) -> Float32[np.ndarray, "S N"]:
    """The mean of several models' scores, each standardised per session, taken off the graph's leading directions.

    Args:
        scores: float32 (S, N) of each model; any value where masked out.
        data: mask and directions.
        sessions: the rows of `data` that were scored.

    Returns:
        float32 (S, N), standardised per session; NaN where masked out. A session's bits do not depend on which others
        are asked for with it.

    Known at:
        Each row at its session's close.
    """
    mask_SxN = data.mask_TxN[sessions.start : sessions.stop]
    mean_SxN = np.mean([standardise(each, mask_SxN) for each in scores], axis=0)
    projected_SxN = data.project_off(mean_SxN.astype(np.float32), sessions)
    return np.where(mask_SxN, standardise(projected_SxN, mask_SxN), np.nan).astype(np.float32)
