"""What training minimises: one number for the scores of some sessions, judged session by session.

A loss is one function here and one line in `LOSSES`.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, Float32, Key

# Added to variances: keeps the gradient finite where all scores of a session are equal.
_EPSILON = 1e-8
# Symbols of a session that a soft rank counts, and the distance at which a comparison is half decided (deviations).
_REFERENCES = 64
_TEMPERATURE = 0.1
# Pairs that each symbol of a session is part of as the first one.
_PARTNERS = 8

_Scores = Float32[jax.Array, "S N"]
_Known = Bool[jax.Array, "S N"]
_Number = Float32[jax.Array, ""]


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


def ic_loss(scores_SxN: _Scores, targets_SxN: _Scores, known_SxN: _Known, key: Key[jax.Array, ""]) -> _Number:
    """Minus `mean_ic`: ranking well within a session counts, the level of the market does not."""
    del key
    return -mean_ic(scores_SxN, targets_SxN, known_SxN)


def huber_loss(scores_SxN: _Scores, targets_SxN: _Scores, known_SxN: _Known, key: Key[jax.Array, ""]) -> _Number:
    """Huber's loss of the scores as forecasts of the targets, which are standardised: it turns linear at one deviation.

    References:
        P. J. Huber, Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 35 (1964).
    """
    del key
    return _mean_of_means(optax.losses.huber_loss(scores_SxN, targets_SxN, delta=1.0), known_SxN)


def rank_loss(scores_SxN: _Scores, targets_SxN: _Scores, known_SxN: _Known, key: Key[jax.Array, ""]) -> _Number:
    """Minus the rank IC, with the ranks of scores made differentiable.

    A score's soft rank is how many reference symbols lie below it, each counted by a sigmoid of the distance. The
    references are drawn from the session's known symbols, all of them where they are few: the cost is linear in N.

    References:
        T. Qin, T.-Y. Liu, H. Li, A general approximation framework for direct optimization of information retrieval
        measures, Information Retrieval 13 (2010), eq. 11 (there against all symbols).
    """
    centred = _centred(scores_SxN, known_SxN)
    variance = jnp.square(centred).sum(axis=1, keepdims=True) / jnp.maximum(known_SxN.sum(axis=1, keepdims=True), 1)
    scaled_SxN = centred / jnp.sqrt(variance + _EPSILON)
    lot_SxN = jnp.where(known_SxN, jax.random.uniform(key, known_SxN.shape), -1.0)
    lot_SxM, drawn_SxM = jax.lax.top_k(lot_SxN, min(_REFERENCES, lot_SxN.shape[1]))
    reference_SxM = jnp.take_along_axis(scaled_SxN, drawn_SxM, axis=1)
    below_SxNxM = jax.nn.sigmoid((scaled_SxN[:, :, None] - reference_SxM[:, None, :]) / _TEMPERATURE)
    counted_SxM = lot_SxM >= 0
    soft_SxN = jnp.where(counted_SxM[:, None, :], below_SxNxM, 0.0).sum(axis=2)
    rank_SxN = jax.scipy.stats.rankdata(jnp.where(known_SxN, targets_SxN, jnp.inf), axis=1).astype(jnp.float32)
    soft_SxN /= jnp.maximum(counted_SxM.sum(axis=1, keepdims=True), 1)
    return -mean_ic(soft_SxN, rank_SxN / rank_SxN.shape[1], known_SxN)


def pairwise_loss(scores_SxN: _Scores, targets_SxN: _Scores, known_SxN: _Known, key: Key[jax.Array, ""]) -> _Number:
    """Logistic loss of drawn pairs of a session: the chance, as the scores have it, that the better one is the worse.

    References:
        C. Burges et al., Learning to Rank using Gradient Descent, ICML 2005, eq. 3; pairs are drawn, N times a fixed
        number, where the paper takes all.
    """
    order_N = jax.random.permutation(key, scores_SxN.shape[1])
    scores, targets, known = (array[:, order_N] for array in (scores_SxN, targets_SxN, known_SxN))

    def against(step: int) -> tuple[Float[jax.Array, "S N"], Bool[jax.Array, "S N"]]:
        better_SxN = jnp.sign(targets - jnp.roll(targets, step, axis=1))
        counted_SxN = known & jnp.roll(known, step, axis=1) & (better_SxN != 0)
        return jax.nn.softplus(-better_SxN * (scores - jnp.roll(scores, step, axis=1))), counted_SxN

    pairs = [against(step) for step in range(1, _PARTNERS + 1)]
    losses, counted = (jnp.concatenate(arrays, axis=1) for arrays in zip(*pairs, strict=True))
    return _mean_of_means(losses, counted)


Loss = Callable[[_Scores, _Scores, _Known, Key[jax.Array, ""]], _Number]
LOSSES: Mapping[str, Loss] = {"ic": ic_loss, "huber": huber_loss, "rank": rank_loss, "pairwise": pairwise_loss}


def _mean_of_means(values_SxP: Float[jax.Array, "S P"], counted_SxP: Bool[jax.Array, "S P"]) -> _Number:
    """Mean over sessions of the mean inside each; sessions where nothing counts are left out."""
    count_S = counted_SxP.sum(axis=1)
    mean_S = jnp.where(counted_SxP, values_SxP, 0.0).sum(axis=1) / jnp.maximum(count_S, 1)
    return mean_S.sum() / jnp.maximum((count_S > 0).sum(), 1)


def _centred(values_SxN: Float32[jax.Array, "S N"], known_SxN: Bool[jax.Array, "S N"]) -> Float32[jax.Array, "S N"]:
    inside = jnp.where(known_SxN, values_SxN, 0.0)
    mean = inside.sum(axis=1, keepdims=True) / jnp.maximum(known_SxN.sum(axis=1, keepdims=True), 1)
    return jnp.where(known_SxN, inside - mean, 0.0)
