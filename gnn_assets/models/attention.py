"""Attention over arrays of fixed degree, with the backward pass written out.

A node hears the weighted mean of what its neighbours say:

    message_i = sum_j alpha_ij v_j,   alpha_ij = softmax_j(leaky_relu(s_j + b_ij))

with s_j what the sender alone adds to a weight and b_ij whatever else does: the receiver, the edge. What is gathered
for a weight is one number a head, not a row, and the rows are gathered once in each direction.

References:
    P. Velickovic et al., Graph Attention Networks, ICLR 2018 (eq. 3-6).

Cost:
    2 N K H multiplications forward, twice as many backward; memory N K H, for the gathered rows.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float32, Int32

# Slope of the leaky unit below zero, as in the paper.
SLOPE = 0.2
_LEAST = float(jnp.finfo(jnp.float32).min)

Saved = tuple[jax.Array, ...]


@jax.custom_vjp
def attend(
    values_NxAxD: Float32[jax.Array, "N A D"],
    sender_NxA: Float32[jax.Array, "N A"],
    bias_KxNxA: Float32[jax.Array, "K N A"],
    neighbours_KxN: Int32[jax.Array, "K N"],
) -> Float32[jax.Array, "N A D"]:
    """Messages to each node, a head at a time.

    Args:
        values_NxAxD: float32, what each node says, in A heads of width D.
        sender_NxA: float32, what a node adds to the logit of every edge it sends along.
        bias_KxNxA: float32, what else is added to the logit of the k-th edge into a node.
        neighbours_KxN: int32, whom a node hears, below N; -1 where absent. They lead, so that sums over them run over
            whole rows.

    Returns:
        float32 (N, A, D); 0 where a node has no neighbour.
    """
    return _forward(values_NxAxD, sender_NxA, bias_KxNxA, neighbours_KxN)[0]


def _forward(
    values_NxAxD: Float32[jax.Array, "N A D"],
    sender_NxA: Float32[jax.Array, "N A"],
    bias_KxNxA: Float32[jax.Array, "K N A"],
    neighbours_KxN: Int32[jax.Array, "K N"],
) -> tuple[Float32[jax.Array, "N A D"], Saved]:
    there_KxNx1 = (neighbours_KxN >= 0)[..., None]
    place_KxN = jnp.maximum(neighbours_KxN, 0)
    raw_KxNxA = _gather(sender_NxA, place_KxN) + bias_KxNxA
    logit_KxNxA = jnp.where(there_KxNx1, jax.nn.leaky_relu(raw_KxNxA, SLOPE), _LEAST)
    raised_KxNxA = jnp.where(there_KxNx1, jnp.exp(logit_KxNxA - logit_KxNxA.max(axis=0)), 0.0)
    # The largest is raised to one: only a node without neighbours has a smaller sum.
    share_KxNxA = raised_KxNxA / jnp.maximum(raised_KxNxA.sum(axis=0), 1.0)
    messages_NxAxD = jnp.einsum("kna,knad->nad", share_KxNxA, _gather(values_NxAxD, place_KxN))
    return messages_NxAxD, (values_NxAxD, place_KxN, raw_KxNxA, share_KxNxA, messages_NxAxD)


def _backward(saved: Saved, slope_NxAxD: Float32[jax.Array, "N A D"]) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    """Gradients of `attend`; differentiated by itself, XLA takes two passes more over the gathered rows."""
    values_NxAxD, place_KxN, raw_KxNxA, share_KxNxA, messages_NxAxD = saved
    of_share_KxNxA = jnp.einsum("nad,knad->kna", slope_NxAxD, _gather(values_NxAxD, place_KxN))
    # The mean of the shares' gradients by the shares, without a sum over neighbours.
    mean_NxA = (slope_NxAxD * messages_NxAxD).sum(axis=-1)
    of_logit_KxNxA = share_KxNxA * (of_share_KxNxA - mean_NxA)
    of_bias_KxNxA = of_logit_KxNxA * jnp.where(raw_KxNxA >= 0, 1.0, SLOPE)
    of_sender_NxA = _scatter(of_bias_KxNxA, place_KxN)
    # One row a node, heads side by side: a scatter of short rows takes longer.
    heard_KxNxH = (share_KxNxA[..., None] * slope_NxAxD).reshape(*place_KxN.shape, -1)
    of_values_NxAxD = _scatter(heard_KxNxH, place_KxN).reshape(values_NxAxD.shape)
    return of_values_NxAxD, of_sender_NxA, of_bias_KxNxA, None


attend.defvjp(_forward, _backward)


def _gather(rows_N: Float32[jax.Array, "N ..."], place_KxN: Int32[jax.Array, "K N"]) -> Float32[jax.Array, "K N ..."]:
    return rows_N.at[place_KxN].get(mode="promise_in_bounds")


def _scatter(
    rows_KxN: Float32[jax.Array, "K N ..."], place_KxN: Int32[jax.Array, "K N"]
) -> Float32[jax.Array, "N ..."]:
    empty = jnp.zeros(rows_KxN.shape[1:], dtype=rows_KxN.dtype)
    return empty.at[place_KxN].add(rows_KxN, mode="promise_in_bounds")
