"""What a node's neighbours have of any node feature, and how far the node stands from them."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int32

Hops = Literal[1, 2]


def neighbour_mean(
    values_TxNxF: Float[np.ndarray, "*T N F"],
    dst_TxNxk: Int32[np.ndarray, "*T N k"],
    *,
    hops: Hops = 1,
    mask_TxN: Bool[np.ndarray, "*T N"] | None = None,
    weights_TxNxk: Float[np.ndarray, "*T N k"] | None = None,
) -> Float[np.ndarray, "*T N F"]:
    """Mean of each feature over a node's neighbours one hop away, or two.

    One hop: the mean over the neighbours that have a finite value.

    Two hops: the mean, over the neighbours j of node i, of the mean over j's neighbours other than i. It is what a
    second layer of message passing brings to a node, with the way back to itself closed: otherwise a node would be
    held against its own value. Each neighbour speaks with one voice however many neighbours it has, where a mean over
    the set of nodes two hops away would be ruled by the best connected (and would need N² memory). A node one hop
    away counts too where another neighbour leads to it. A neighbour without a value of its own still passes on its
    neighbours'.

    Args:
        values_TxNxF: float (T, N, F), or (N, F) for one session; what is not finite is missing.
        dst_TxNxk: int32 (T, N, k) or (N, k), position of each neighbour, -1 where absent; none is the node itself.
        hops: 1 or 2.
        mask_TxN: bool (T, N) or (N,), nodes whose values count; every node when None.
        weights_TxNxk: float (T, N, k) or (N, k), weight of each neighbour, such as |corr|, in every mean it enters;
            NaN counts as 0. All neighbours weigh the same when None.

    Returns:
        float64, shape of the values; NaN where a node has no neighbour with a value.

    Known at: when the session's values and graph are; sessions are computed one by one.

    Raises:
        ValueError: if a weight is negative.
    """
    if weights_TxNxk is not None and (weights_TxNxk < 0).any():
        raise ValueError(f"weights: expected none below 0, was {np.nanmin(weights_TxNxk)}")
    mean_TxNxF = np.empty(values_TxNxF.shape)
    for session in np.ndindex(values_TxNxF.shape[:-2]):
        values_NxF = values_TxNxF[session].astype(np.float64)
        there_NxF = np.isfinite(values_NxF)
        if mask_TxN is not None:
            there_NxF &= mask_TxN[session][:, None]
        if not there_NxF.any():
            mean_TxNxF[session] = np.nan
            continue
        dst_Nxk = dst_TxNxk[session]
        weights_Nxk = np.ones(dst_Nxk.shape) if weights_TxNxk is None else np.nan_to_num(weights_TxNxk[session])
        weights_Nxk = np.where(dst_Nxk >= 0, weights_Nxk, 0.0)
        values_NxF = np.where(there_NxF, values_NxF, 0.0)
        mean = _one_hop if hops == 1 else _two_hops
        mean_TxNxF[session] = mean(values_NxF, there_NxF.astype(np.float64), dst_Nxk, weights_Nxk)
    return mean_TxNxF


def own_minus_neighbours(
    values_TxNxF: Float[np.ndarray, "*T N F"],
    dst_TxNxk: Int32[np.ndarray, "*T N k"],
    *,
    hops: Hops = 1,
    mask_TxN: Bool[np.ndarray, "*T N"] | None = None,
    weights_TxNxk: Float[np.ndarray, "*T N k"] | None = None,
) -> Float[np.ndarray, "*T N F"]:
    """Each node's value less `neighbour_mean`: the graph as a high-pass filter.

    Args:
        values_TxNxF: as for `neighbour_mean`, and so are the others.
        dst_TxNxk: position of each neighbour.
        hops: 1 or 2.
        mask_TxN: nodes whose values count.
        weights_TxNxk: weight of each neighbour.

    Returns:
        float64, shape of the values; NaN where the node has no value, or no neighbour to hold it against: a 0 there
        would say that it moves as its neighbours do.

    Known at: when the session's values and graph are.
    """
    mean_TxNxF = neighbour_mean(values_TxNxF, dst_TxNxk, hops=hops, mask_TxN=mask_TxN, weights_TxNxk=weights_TxNxk)
    own_TxNxF = np.where(np.isfinite(values_TxNxF), values_TxNxF, np.nan)
    if mask_TxN is not None:
        own_TxNxF = np.where(mask_TxN[..., None], own_TxNxF, np.nan)
    return own_TxNxF - mean_TxNxF


def _one_hop(values_NxF: np.ndarray, there_NxF: np.ndarray, dst_Nxk: np.ndarray, weights_Nxk: np.ndarray) -> np.ndarray:
    own_Nx2xF = np.stack([values_NxF, there_NxF], axis=1)
    sums_Nx2xF = _sums(own_Nx2xF, dst_Nxk, weights_Nxk[:, :, None])
    return _ratio(sums_Nx2xF[:, 0], sums_Nx2xF[:, 1])


def _two_hops(
    values_NxF: np.ndarray, there_NxF: np.ndarray, dst_Nxk: np.ndarray, weights_Nxk: np.ndarray
) -> np.ndarray:
    edge_Nxk = (weights_Nxk > 0).astype(np.float64)
    # The third plane counts edges: they say exactly whether anybody is left once the way back is closed, where sums
    # of weights leave a rounding error.
    own_Nx3xF = np.stack([values_NxF, there_NxF, there_NxF], axis=1)
    sums_Nx3xF = _sums(own_Nx3xF, dst_Nxk, np.stack([weights_Nxk, weights_Nxk, edge_Nxk], axis=2))
    returning_Nxkxk = dst_Nxk[dst_Nxk] == np.arange(len(dst_Nxk))[:, None, None]
    back_Nxk, back_edge_Nxk = ((returning_Nxkxk * of[dst_Nxk]).sum(axis=2) for of in (weights_Nxk, edge_Nxk))
    back_Nxkx3 = np.stack([back_Nxk, back_Nxk, back_edge_Nxk], axis=2)
    mean_NxF, weight_NxF = np.zeros((2, *values_NxF.shape))
    for via_N, back_Nx3, weights_N in zip(dst_Nxk.T, back_Nxkx3.swapaxes(0, 1), weights_Nxk.T, strict=True):
        others_Nx3xF = sums_Nx3xF[via_N] - back_Nx3[:, :, None] * own_Nx3xF
        known_NxF = others_Nx3xF[:, 2] > 0
        inner_NxF = np.divide(others_Nx3xF[:, 0], others_Nx3xF[:, 1], out=np.zeros_like(mean_NxF), where=known_NxF)
        mean_NxF += weights_N[:, None] * inner_NxF
        weight_NxF += weights_N[:, None] * known_NxF
    return _ratio(mean_NxF, weight_NxF)


def _sums(own_NxPxF: np.ndarray, dst_Nxk: np.ndarray, weights_NxkxP: np.ndarray) -> np.ndarray:
    """Weighted sum of P planes over each node's neighbours, rank by rank: never N × k × F at once."""
    sums_NxPxF = np.zeros(own_NxPxF.shape)
    for dst_N, weights_NxP in zip(dst_Nxk.T, weights_NxkxP.swapaxes(0, 1), strict=True):
        sums_NxPxF += weights_NxP[:, :, None] * own_NxPxF[dst_N]
    return sums_NxPxF


def _ratio(total_NxF: np.ndarray, weight_NxF: np.ndarray) -> np.ndarray:
    return np.divide(total_NxF, weight_NxF, out=np.full(total_NxF.shape, np.nan), where=weight_NxF > 0)
