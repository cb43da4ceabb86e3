"""Many distances of one window from one reference, judged together by a single value and a single limit.

Each member measures one thing in its own unit. Divided by what it passes by chance, all are alike, and the largest of
them is the family's value; its limit comes from pasts that all members live through together. That is Westfall and
Young's single-step maxT: it holds the rate over the whole family, as Holm's step-down over the members' own p-values
does, and loses nothing to members that move together, which features do. The members above the limit are the offenders.

References:
    P. Westfall, S. Young, Resampling-Based Multiple Testing, Wiley 1993, ch. 2.
    S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6(2), 1979.
    B. Yurdakul, J. Naranjo, Statistical Properties of the Population Stability Index, Journal of Risk Model Validation
    14(4), 2020.
    W. J. Conover, Practical Nonparametric Statistics, 3rd ed., Wiley 1999, ch. 6 (Kolmogorov-Smirnov).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnn_assets.core.config import LiveDriftConfig
from gnn_assets.monitoring.quiet import SHOWN, Drift, QuietPasts, Recall, aimed_limit, compute, enough, quiet_pasts

# Half a value more in every bin, Jeffreys' prior: an empty one has a logarithm.
_PRIOR = 0.5

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Member:
    """One thing that is measured.

    Args:
        name: of what, and by which distance.
        rows_TxB: float64, what each session adds to a window's sums.
        distance: (sums of windows (..., B), sums of the reference (B,)) → (...).
    """

    name: str
    rows_TxB: Float[np.ndarray, "T B"]
    distance: Distance


@dataclass(frozen=True, eq=False)
class FamilyReference:
    """What a family's windows are held against.

    Args:
        sums: each member's, over the reference.
        scales_M: float64, distance that each passes by chance; NaN for one that is never known.
        limit: of the largest distance over its scale; NaN if the reference is too short.
    """

    sums: tuple[Float[np.ndarray, " B"], ...]
    scales_M: Float[np.ndarray, " M"]
    limit: float


def family_reference(
    members: Sequence[Member],
    series_TxK: Float[np.ndarray, "T K"],
    *,
    config: LiveDriftConfig,
    hysteresis: float,
    recall: Recall = compute,
) -> FamilyReference:
    """Calibrates a family on its reference.

    Args:
        members: over the T sessions of the reference.
        series_TxK: float64, series of theirs whose memory sets the bootstrap's block.
        config: window, rate, pasts, least distance.
        hysteresis: share of the limit by which a value must be back before its alarm ends.
        recall: gives back what equal sessions were calibrated to before.

    Known at: the last session of the reference.
    """
    sums = tuple(member.rows_TxB.sum(axis=0) for member in members)
    if not enough(len(series_TxK), config=config):
        return FamilyReference(sums, np.full(len(members), np.nan), np.nan)

    def calibrate() -> Float[np.ndarray, " K"]:
        return np.append(*_calibrated(members, series_TxK, config=config, hysteresis=hysteresis))

    limits = recall([series_TxK, *(member.rows_TxB for member in members)], calibrate)
    return FamilyReference(sums, limits[:-1], float(limits[-1]))


def _calibrated(
    members: Sequence[Member], series_TxK: Float[np.ndarray, "T K"], *, config: LiveDriftConfig, hysteresis: float
) -> tuple[Float[np.ndarray, " M"], float]:
    """Scales of the members, and the limit of the family."""
    pasts = quiet_pasts(series_TxK, lived=config.window + config.path_sessions - 1, config=config)
    largest_RxS = np.full((config.paths, config.path_sessions), np.nan)
    scales_M = np.empty(len(members))
    # An alarm lasts about a window: so large a share of its sessions is what one alarm takes.
    beyond = min(config.window / config.sessions_per_alarm, 0.5)
    for place, member in enumerate(members):
        distances_RxS = _chance(member, pasts, window=config.window)
        known = distances_RxS[np.isfinite(distances_RxS)]
        scales_M[place] = max(np.quantile(known, 1 - beyond), config.least_change) if known.size else np.nan
        largest_RxS = np.fmax(largest_RxS, distances_RxS / scales_M[place])
    limit = aimed_limit(largest_RxS, config=config, hysteresis=hysteresis)
    # What is not beyond a member's least distance never counts.
    return scales_M, max(limit, 1.0)


def family_drift(
    reference: FamilyReference, members: Sequence[Member], *, newest: int, config: LiveDriftConfig
) -> tuple[Drift, ...]:
    """Holds the windows that end with the newest sessions against the reference of a family.

    Args:
        reference: made of members in the same order.
        members: over live sessions, ascending.
        newest: how many of the last of these sessions are looked at.
        config: window.

    Returns:
        For each of them, ascending, the largest distance over its scale (unitless); NaN where there were fewer sessions
        than a window by then.

    Known at: each of these sessions.
    """
    n_sessions = len(members[0].rows_TxB)
    return tuple(
        _held_against(reference, members, end=end, config=config)
        for end in range(n_sessions - newest + 1, n_sessions + 1)
    )


def _held_against(reference: FamilyReference, members: Sequence[Member], *, end: int, config: LiveDriftConfig) -> Drift:
    words = f"{config.window} sessions"
    # Nothing is known too early, nor where no member ever was.
    if end < config.window or np.isnan(reference.scales_M).all():
        return Drift(np.nan, reference.limit, words)
    distances_M = np.array(
        [
            member.distance(member.rows_TxB[end - config.window : end].sum(axis=0), sums_B)
            for member, sums_B in zip(members, reference.sums, strict=True)
        ]
    )
    ratios_M = distances_M / reference.scales_M
    if np.isnan(ratios_M).all():
        return Drift(np.nan, reference.limit, words)
    order = np.argsort(-ratios_M, kind="stable")  # NaN comes last
    offenders = [
        f"{members[place].name} {distances_M[place]:.3g}" for place in order if ratios_M[place] > reference.limit
    ]
    return Drift(float(ratios_M[order[0]]), reference.limit, words, tuple(offenders[:SHOWN]))


def stability_index(counts: Float[np.ndarray, "... B"], reference_B: Float[np.ndarray, " B"]) -> np.ndarray:
    """Population stability index: sum over bins of (p − q) ln(p / q), at least 0.

    Args:
        counts: of each bin, in one window or many.
        reference_B: of each bin, in the reference.
    """
    shares, reference_shares = (
        (values + _PRIOR) / (values.sum(axis=-1, keepdims=True) + _PRIOR * values.shape[-1])
        for values in (counts, reference_B)
    )
    return ((shares - reference_shares) * np.log(shares / reference_shares)).sum(axis=-1)


def kolmogorov_distance(counts: Float[np.ndarray, "... B"], reference_B: Float[np.ndarray, " B"]) -> np.ndarray:
    """Kolmogorov-Smirnov distance at the bins' edges: the largest difference of cumulative shares, from 0 to 1.

    Args:
        counts: of each bin, in order, in one window or many; NaN comes of a window without any.
        reference_B: of each bin, in the reference.
    """
    shares, reference_shares = (_over(np.cumsum(v, axis=-1), v.sum(axis=-1)[..., None]) for v in (counts, reference_B))
    return np.abs(shares - reference_shares).max(axis=-1)


def mean_distance(sums: Float[np.ndarray, "... 2"], reference_2: Float[np.ndarray, " 2"]) -> np.ndarray:
    """How far two means lie apart, in their unit.

    Args:
        sums: sum and number of the known values, of one window or many.
        reference_2: those of the reference.
    """
    return np.abs(_means(sums) - _means(reference_2))


def log_ratio_distance(sums: Float[np.ndarray, "... 2"], reference_2: Float[np.ndarray, " 2"]) -> np.ndarray:
    """Size of the logarithm of two means' quotient; infinite where one of them is 0, NaN where both are.

    Args:
        sums: sum and number of the known values, at least 0, of one window or many.
        reference_2: those of the reference.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(np.log(_means(sums)) - np.log(_means(reference_2)))


def sum_rows(values_T: Float[np.ndarray, " T"]) -> Float[np.ndarray, "T 2"]:
    """Each session's value and whether it is known: what windows of means add up."""
    known_T = np.isfinite(values_T)
    return np.stack([np.where(known_T, values_T, 0.0), known_T.astype(np.float64)], axis=1)


def window_sums(rows_LxB: Float[np.ndarray, "L B"], *, window: int) -> Float[np.ndarray, "S B"]:
    """Sums over each whole window, S = L − window + 1 of them."""
    sums_LxB = np.cumsum(rows_LxB, axis=0)
    rolled_SxB = sums_LxB[window - 1 :].copy()
    rolled_SxB[1:] -= sums_LxB[:-window]
    return rolled_SxB


def _chance(member: Member, pasts: QuietPasts, *, window: int) -> Float[np.ndarray, "R S"]:
    return np.stack(
        [
            member.distance(
                window_sums(member.rows_TxB[lived_L], window=window), member.rows_TxB[reference_T].sum(axis=0)
            )
            for reference_T, lived_L in zip(pasts.reference_RxT, pasts.lived_RxL, strict=True)
        ]
    )


def _means(sums: np.ndarray) -> np.ndarray:
    return _over(sums[..., 0], sums[..., 1])


def _over(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, NaN where the denominator is 0."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    return np.divide(numerator, denominator, out=np.full(shape, np.nan), where=denominator > 0)
