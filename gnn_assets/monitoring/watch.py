"""What is watched of a champion: what it learned from, how it fared out of sample, and what it meets since.

Three stretches of sessions, which do not overlap where it matters:

    learned    what the final refit learned from           features
    judged     out of sample, scored by the folds          scores, losses
    live       since the end of its data, by the refit     features, scores, losses
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Float32, Float64

from gnn_assets.backtests.cross_section import information_coefficients
from gnn_assets.core.hashing import json_hash
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.features.build import raw_features
from gnn_assets.store.panel import to_panel

_HASH_DIGITS = 16


@dataclass(frozen=True, eq=False)
class Seen:
    """Features of some sessions, before they are set against the other symbols.

    Args:
        sessions: the row axis, ascending.
        features: name → float32 (T, N), in the feature's own unit; not finite where absent.
        mask_TxN: bool, symbols that are scored.
    """

    sessions: Sequence[date]
    features: Mapping[str, Float32[np.ndarray, "T N"]]
    mask_TxN: Bool[np.ndarray, "T N"]


@dataclass(frozen=True, eq=False)
class Said:
    """Scores of some sessions, and how far they were from what happened.

    Args:
        sessions: the row axis, ascending.
        scores_TxN: float, out of sample; NaN where there is none.
        losses_T: float64, one minus the session's information coefficient; NaN where its outcome is not known.
    """

    sessions: Sequence[date]
    scores_TxN: Float[np.ndarray, "T N"]
    losses_T: Float64[np.ndarray, " T"]


@dataclass(frozen=True, eq=False)
class Watched:
    """A champion as drift looks at it.

    Args:
        learned: what its final refit learned from.
        judged: what its folds said out of sample; losses as they were known when its data ended.
        seen: features of the sessions since the end of its data.
        said: what its final refit says of the same sessions.
        purge: sessions until an outcome is known.
    """

    learned: Seen
    judged: Said
    seen: Seen
    said: Said
    purge: int


def watched(
    data: Dataset,
    *,
    learned: tuple[date, date],
    predictions: pl.DataFrame,
    live: range,
    live_scores_LxN: Float32[np.ndarray, "L N"],
) -> Watched:
    """What is watched of a champion.

    Args:
        data: features, graph and labels, over all of these sessions.
        learned: first and last session its final refit learned from.
        predictions: OOS_PREDICTIONS rows of its own model.
        live: rows of `data` after the end of its data.
        live_scores_LxN: float32, scores of its final refit; NaN for no score.

    Known at: the last session of `data`; features and scores of a session at its close, losses `purge` sessions later.
    """
    first, last = learned
    rows = [row for row, session in enumerate(data.sessions) if first <= session <= last]
    learnt = slice(rows[0], rows[-1] + 1) if rows else slice(0, 0)
    since = slice(live.start, live.stop)
    own, newer = {}, {}
    for name, values_TxN in raw_features(data.bars, data.graph, config=data.recipe.features):
        # Beyond what float32 holds is as good as infinite.
        with np.errstate(over="ignore"):
            own[name], newer[name] = (values_TxN[part].astype(np.float32) for part in (learnt, since))
    purge = data.recipe.execution.purge
    return Watched(
        learned=Seen(data.sessions[learnt], own, data.mask_TxN[learnt]),
        judged=_judged(data, predictions, known=live.start - purge),
        seen=Seen(data.sessions[since], newer, data.mask_TxN[since]),
        said=Said(data.sessions[since], live_scores_LxN, _losses(live_scores_LxN, data.labels_TxN[since])),
        purge=purge,
    )


def input_hashes(data: Dataset, *, recipe: str) -> list[str]:
    """For each session, a name for all that was known of the market by its close, with dates and symbols.

    Args:
        data: bars, graph and labels.
        recipe: names whatever else counts: code, settings, champion.
    """
    digest = hashlib.sha256(json_hash([recipe, list(data.symbols), sorted(data.bars.values)]).encode())
    known = (
        data.bars.close_return_TxN,
        *(data.bars.values[name] for name in sorted(data.bars.values)),
        data.graph.neighbours_TxNxK,
        data.graph.corr_TxNxK,
    )
    purge, hashes = data.recipe.execution.purge, []
    for row, session in enumerate(data.sessions):
        digest.update(session.isoformat().encode())
        for values in known:
            digest.update(np.ascontiguousarray(values[row]).tobytes())
        if row >= purge:
            digest.update(np.ascontiguousarray(data.labels_TxN[row - purge]).tobytes())
        hashes.append(digest.hexdigest()[:_HASH_DIGITS])
    return hashes


def _judged(data: Dataset, predictions: pl.DataFrame, *, known: int) -> Said:
    """What the folds said; `known` rows of the data had an outcome when the champion's data ended."""
    row_of = {session: row for row, session in enumerate(data.sessions)}
    sessions = [session for session in predictions["session"].unique().sort() if session in row_of]
    scores_TxN = to_panel(predictions, "score", sessions=sessions, symbols=data.symbols)
    rows = np.array([row_of[session] for session in sessions], dtype=np.intp)
    losses_T = _losses(scores_TxN, data.labels_TxN[rows])
    return Said(sessions, scores_TxN, np.where(rows < known, losses_T, np.nan))


def _losses(scores_TxN: Float[np.ndarray, "T N"], labels_TxN: Float[np.ndarray, "T N"]) -> Float64[np.ndarray, " T"]:
    return 1.0 - information_coefficients(scores_TxN, labels_TxN)
