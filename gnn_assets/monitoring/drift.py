"""Whether features and scores of the newest sessions are still distributed as in the champion's past.

Values are counted, session by session, in bins of the reference's quantiles; what is missing has a bin of its own. From
these counts come the population stability index and the Kolmogorov-Smirnov distance of a window. `family` judges all of
them at once, `quiet` says what chance does.

Ranks and scores standardised across their session are distributed alike every session: nothing drifts in them.
Features are watched as they are before they are set against the other symbols.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from gnn_assets.backtests.cross_section import rank_information_coefficients
from gnn_assets.core.config import LiveDriftConfig
from gnn_assets.monitoring.family import (
    FamilyReference,
    Member,
    family_drift,
    family_reference,
    kolmogorov_distance,
    log_ratio_distance,
    mean_distance,
    stability_index,
    sum_rows,
)
from gnn_assets.monitoring.quiet import Drift, Recall, compute

_PAIR = 2  # fewer scores have no spread


@dataclass(frozen=True, eq=False)
class DriftReference:
    """What features, or scores, are held against.

    Args:
        edges: name → ascending inner edges of the bins.
        family: sums, scales and limit.
    """

    edges: Mapping[str, Float[np.ndarray, " E"]]
    family: FamilyReference


def feature_reference(
    values: Mapping[str, Float[np.ndarray, "T N"]],
    mask_TxN: Bool[np.ndarray, "T N"],
    *,
    config: LiveDriftConfig,
    hysteresis: float,
    recall: Recall = compute,
) -> DriftReference:
    """Calibrates the drift of features on what the champion learned from.

    Args:
        values: name → float (T, N), before any scaling across symbols; what is not finite is missing.
        mask_TxN: bool, symbols that were scored.
        config: window, bins, rate, pasts.
        hysteresis: share of the limit by which a value must be back before its alarm ends.
        recall: gives back what equal sessions were calibrated to before.

    Known at: the last session given.
    """
    edges = {name: _edges(values_TxN[mask_TxN], bins=config.bins) for name, values_TxN in values.items()}
    members = _feature_members(values, mask_TxN, edges)
    series_TxK = np.stack([series_T for member in members[::2] for series_T in _places(member.rows_TxB)], axis=1)
    family = family_reference(members, series_TxK, config=config, hysteresis=hysteresis, recall=recall)
    return DriftReference(edges, family)


def feature_drift(
    reference: DriftReference,
    values: Mapping[str, Float[np.ndarray, "T N"]],
    mask_TxN: Bool[np.ndarray, "T N"],
    *,
    newest: int,
    config: LiveDriftConfig,
) -> tuple[Drift, ...]:
    """Holds the features of the windows that end with the newest sessions against the reference.

    Args:
        reference: of the champion that is served.
        values: name → float (T, N) over live sessions, ascending; every feature of the reference.
        mask_TxN: bool, symbols that are scored.
        newest: how many of the last of these sessions are looked at.
        config: as the reference was made with.

    Returns:
        For each of them, ascending, the largest distance of any feature, over what it passes by chance; NaN where there
        were fewer sessions than a window by then. Offenders with their PSI or KS distance.

    Known at: each of these sessions.
    """
    known = {name: values[name] for name in reference.edges}
    members = _feature_members(known, mask_TxN, reference.edges)
    return family_drift(reference.family, members, newest=newest, config=config)


def prediction_reference(
    scores_TxN: Float[np.ndarray, "T N"], *, config: LiveDriftConfig, hysteresis: float, recall: Recall = compute
) -> DriftReference:
    """Calibrates the drift of scores on the champion's scores out of sample: those it learned from lie too far apart.

    Args:
        scores_TxN: float (T, N), NaN where there is none.
        config: window, bins, rate, pasts.
        hysteresis: share of the limit by which a value must be back before its alarm ends.
        recall: gives back what equal sessions were calibrated to before.

    Known at: the last session given.
    """
    edges = {"score": _edges(scores_TxN.ravel(), bins=config.bins)}
    members = _score_members(scores_TxN, edges)
    spread_T, order_T = _spread(scores_TxN), _order_kept(scores_TxN)
    series_TxK = np.stack([*_places(members[0].rows_TxB), spread_T, order_T], axis=1)
    family = family_reference(members, series_TxK, config=config, hysteresis=hysteresis, recall=recall)
    return DriftReference(edges, family)


def prediction_drift(
    reference: DriftReference, scores_TxN: Float[np.ndarray, "T N"], *, newest: int, config: LiveDriftConfig
) -> tuple[Drift, ...]:
    """Holds the scores of the newest windows against the reference: distribution, spread, rank autocorrelation.

    Args:
        reference: of the champion that is served.
        scores_TxN: float (T, N) over live sessions, ascending, NaN where there is none; one session more than a window
            tells how far the first of them kept the order before it.
        newest: how many of the last of these sessions are looked at.
        config: as the reference was made with.

    Returns:
        As `feature_drift`.

    Known at: each of these sessions.
    """
    members = _score_members(scores_TxN, reference.edges)
    return family_drift(reference.family, members, newest=newest, config=config)


def session_counts(
    values_TxN: Float[np.ndarray, "T N"], mask_TxN: Bool[np.ndarray, "T N"], edges_E: Float[np.ndarray, " E"]
) -> Float[np.ndarray, "T B"]:
    """How many of each session's values lie in each bin.

    Args:
        values_TxN: float; what is not finite is missing.
        mask_TxN: bool, values that count.
        edges_E: ascending; a value on an edge lies below it.

    Returns:
        float64 whole numbers, B = E + 2: the last bin is for what is missing.
    """
    n_bins = edges_E.size + 2
    bins_TxN = np.where(np.isfinite(values_TxN), np.searchsorted(edges_E, values_TxN), n_bins - 1)
    cells_TxN = np.arange(len(values_TxN))[:, None] * n_bins + bins_TxN
    counts = np.bincount(cells_TxN[mask_TxN], minlength=len(values_TxN) * n_bins)
    return counts.reshape(len(values_TxN), n_bins).astype(np.float64)


def _feature_members(
    values: Mapping[str, np.ndarray], mask_TxN: np.ndarray, edges: Mapping[str, np.ndarray]
) -> list[Member]:
    return [
        member
        for name, values_TxN in values.items()
        for member in _distributed(name, session_counts(values_TxN, mask_TxN, edges[name]))
    ]


def _score_members(scores_TxN: np.ndarray, edges: Mapping[str, np.ndarray]) -> list[Member]:
    counts_TxB = session_counts(scores_TxN, np.isfinite(scores_TxN), edges["score"])
    return [
        *_distributed("score", counts_TxB),
        Member("spread log ratio", sum_rows(_spread(scores_TxN)), log_ratio_distance),
        Member("rank autocorrelation", sum_rows(_order_kept(scores_TxN)), mean_distance),
    ]


def _distributed(name: str, counts_TxB: np.ndarray) -> Sequence[Member]:
    return (
        Member(f"{name} psi", counts_TxB, stability_index),
        Member(f"{name} ks", counts_TxB, kolmogorov_distance),
    )


def _edges(values: np.ndarray, *, bins: int) -> np.ndarray:
    """Inner quantiles of what is known, each once; of a constant the two sides of it."""
    known = values[np.isfinite(values)].astype(np.float64)
    if known.size == 0:
        return np.empty(0)
    edges = np.unique(np.quantile(known, np.arange(1, bins) / bins))
    return edges if edges.size > 1 else np.array([np.nextafter(edges[0], -np.inf), edges[0]])


def _places(counts_TxB: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each session's mean bin, and its mean distance from the middle one: where its values lie, and how far apart."""
    there_TxB = counts_TxB[:, :-1]
    total_T = there_TxB.sum(axis=1)
    place_B = np.arange(there_TxB.shape[1], dtype=np.float64)
    weighed = (there_TxB @ place_B, there_TxB @ np.abs(place_B - place_B.mean()))
    where, apart = (
        np.divide(sums_T, total_T, out=np.full(len(total_T), np.nan), where=total_T > 0) for sums_T in weighed
    )
    return where, apart


def _spread(scores_TxN: np.ndarray) -> np.ndarray:
    """Each session's standard deviation over symbols; NaN for fewer than two scores."""
    known_TxN = np.isfinite(scores_TxN)
    count_T = known_TxN.sum(axis=1)
    means_T = np.where(known_TxN, scores_TxN, 0.0).sum(axis=1) / np.maximum(count_T, 1)
    squares_T = np.where(known_TxN, (scores_TxN - means_T[:, None]) ** 2, 0.0).sum(axis=1)
    return np.where(count_T >= _PAIR, np.sqrt(squares_T / np.maximum(count_T, 1)), np.nan)


def _order_kept(scores_TxN: np.ndarray) -> np.ndarray:
    """Rank correlation of each session's scores with those of the session before; NaN for the first."""
    kept_T = np.full(len(scores_TxN), np.nan)
    kept_T[1:] = rank_information_coefficients(scores_TxN[:-1], scores_TxN[1:])
    return kept_T
