"""What scores earn: the best names held in equal parts, with costs, with and without hysteresis; deciles."""

import numpy as np
from jaxtyping import Float, Float64

# Names held, cost of each side of a trade (share of its value), and what a held name is favoured by when names are
# chosen anew (standard deviations of the session's scores).
HELD = 50
COST = 10e-4
BONUS = 1.0
_DECILES = 10


def best(scores_SxN: Float[np.ndarray, "S N"], *, size: int, bonus: float) -> Float64[np.ndarray, "S N"]:
    """Weights of the names held on each session: the best ones in equal parts.

    Args:
        scores_SxN: float (S, N), NaN where a name cannot be held; of equal scores the first column comes first.
        size: names held, or all there are if fewer.
        bonus: added to the score of a name already held (standard deviations of the session's scores).

    Returns:
        float64 (S, N), rows summing to 1, or to 0 where nothing is scored.
    """
    weights_SxN = np.zeros(scores_SxN.shape)
    held_N = np.zeros(scores_SxN.shape[1], dtype=bool)
    for scores_N, weights_N in zip(scores_SxN.astype(np.float64), weights_SxN, strict=True):
        names = np.flatnonzero(np.isfinite(scores_N))
        scores = scores_N[names]
        favoured = scores + bonus * scores.std() * held_N[names] if names.size else scores
        chosen = names[np.argsort(-favoured, kind="stable")[:size]]
        held_N[:] = False
        held_N[chosen] = True
        weights_N[chosen] = 1.0 / max(chosen.size, 1)
    return weights_SxN


def gross(weights_SxN: Float64[np.ndarray, "S N"], labels_SxN: Float64[np.ndarray, "S N"]) -> Float64[np.ndarray, " S"]:
    """Return of each session before costs; a weight stands only where the label is known."""
    return (weights_SxN * np.nan_to_num(labels_SxN)).sum(axis=1)


def costs(weights_SxN: Float64[np.ndarray, "S N"], *, round_trip: bool) -> Float64[np.ndarray, " S"]:
    """What trading costs on each session: 10 basis points of all that is bought and of all that is sold.

    Args:
        weights_SxN: float (S, N); weights are taken not to drift between two sessions, and the first is bought from
            cash.
        round_trip: whether everything is bought and sold on each session.
    """
    if round_trip:
        return 2 * COST * np.abs(weights_SxN).sum(axis=1)
    return COST * np.abs(np.diff(weights_SxN, axis=0, prepend=0.0)).sum(axis=1)


def decile_spread(
    scores_SxN: Float[np.ndarray, "S N"], labels_SxN: Float64[np.ndarray, "S N"]
) -> Float64[np.ndarray, " S"]:
    """Mean label of the best tenth of the scored names less that of the worst; NaN where there are fewer than two."""
    spread_S = np.full(len(scores_SxN), np.nan)
    for at, (scores_N, labels_N) in enumerate(zip(scores_SxN, labels_SxN, strict=True)):
        names = np.flatnonzero(np.isfinite(scores_N))
        if names.size > 1:
            order = names[np.argsort(-scores_N[names], kind="stable")]
            size = max(names.size // _DECILES, 1)
            spread_S[at] = labels_N[order[:size]].mean() - labels_N[order[-size:]].mean()
    return spread_S
