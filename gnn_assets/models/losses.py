"""What training minimises: minus the information coefficient, session by session."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float32

# Added to variances: keeps the gradient finite where all scores of a session are equal.
_EPSILON = 1e-8


def session_ic(
    scores_SxN: Float32[jax.Array, "S N"], targets_SxN: Float32[jax.Array, "S N"], known_SxN: Bool[jax.Array, "S N"]
) -> tuple[Float32[jax.Array, " S"], Bool[jax.Array, " S"]]:
    """Pearson correlation of scores and targets across the known symbols of each session.

    Args:
        scores_SxN: float32 (S, N).
        targets_SxN: float32 (S, N); any finite value where unknown.
        known_SxN: bool (S, N).

    Returns:
        float32 (S,), 0 where it is not defined; bool (S,), True where two or more symbols with unequal targets are
        known.

    References:
        R. C. Grinold, R. N. Kahn, Active Portfolio Management, 2nd ed., McGraw-Hill 2000, ch. 6.
    """
    count_S = known_SxN.sum(axis=1)
    scores = _centred(scores_SxN, known_SxN)
    targets = _centred(targets_SxN, known_SxN)
    share = 1.0 / jnp.maximum(count_S, 1)
    covariance_S = (scores * targets).sum(axis=1) * share
    score_variance_S = jnp.square(scores).sum(axis=1) * share
    target_variance_S = jnp.square(targets).sum(axis=1) * share
    defined_S = (count_S > 1) & (target_variance_S > _EPSILON)
    ic_S = covariance_S / jnp.sqrt((score_variance_S + _EPSILON) * (target_variance_S + _EPSILON))
    return jnp.where(defined_S, ic_S, 0.0), defined_S


def mean_ic(
    scores_SxN: Float32[jax.Array, "S N"], targets_SxN: Float32[jax.Array, "S N"], known_SxN: Bool[jax.Array, "S N"]
) -> Float32[jax.Array, ""]:
    """Mean of `session_ic` over the sessions where it is defined; 0 if there is none."""
    ic_S, defined_S = session_ic(scores_SxN, targets_SxN, known_SxN)
    return ic_S.sum() / jnp.maximum(defined_S.sum(), 1)


def ic_loss(
    scores_SxN: Float32[jax.Array, "S N"], targets_SxN: Float32[jax.Array, "S N"], known_SxN: Bool[jax.Array, "S N"]
) -> Float32[jax.Array, ""]:
    """Minus `mean_ic`: ranking well within a session counts, the level of the market does not."""
    return -mean_ic(scores_SxN, targets_SxN, known_SxN)


def _centred(values_SxN: Float32[jax.Array, "S N"], known_SxN: Bool[jax.Array, "S N"]) -> Float32[jax.Array, "S N"]:
    inside = jnp.where(known_SxN, values_SxN, 0.0)
    mean = inside.sum(axis=1, keepdims=True) / jnp.maximum(known_SxN.sum(axis=1, keepdims=True), 1)
    return jnp.where(known_SxN, inside - mean, 0.0)
