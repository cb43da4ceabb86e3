"""The history of a champion's drift: every session since the end of its data, each kind beside its limit.

References are of sessions that the champion's data hold, so that they and their limits are made once and stay. A
session's row depends on nothing later than itself; one whose inputs are unchanged is taken over as it stands.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from math import isnan, nan
from typing import Any

import numpy as np
import polars as pl

from gnn_assets.core.config import LiveDriftConfig
from gnn_assets.monitoring.change import residual_drift, residual_reference
from gnn_assets.monitoring.drift import feature_drift, feature_reference, prediction_drift, prediction_reference
from gnn_assets.monitoring.quiet import Drift, Recall
from gnn_assets.monitoring.reasons import Reason, Signal
from gnn_assets.monitoring.schema import MODEL_DRIFT
from gnn_assets.monitoring.watch import Watched

KINDS = (Reason.FEATURE_DRIFT, Reason.PREDICTION_DRIFT, Reason.RESIDUAL_DRIFT)
BETWEEN = "; "  # offenders

_NAMED = {name: MODEL_DRIFT.columns[name] for name in ("session", "inputs_hash")}

# What a kind says of the newest sessions, with the sessions its reference is made of.
_Judged = tuple[Sequence[Drift], Sequence[date]]


def model_drift(
    watched: Watched,
    *,
    version: str,
    hashes: Sequence[str],
    before: pl.DataFrame,
    config: LiveDriftConfig,
    hysteresis: float,
    recall: Callable[[Reason], Recall],
) -> pl.DataFrame:
    """What drifts in each session since the end of the champion's data, beside the limits.

    Args:
        watched: the champion's past and present.
        version: of the champion.
        hashes: of all that each live session's rows are made from; rows of another one are made again.
        before: a frame of `MODEL_DRIFT` that was made before; may be empty. It saves work and changes no bit.
        config: window, rate, pasts.
        hysteresis: share of the limit by which a value must be back before its alarm ends.
        recall: kind → gives back what equal references were calibrated to before.

    Returns:
        A frame of `MODEL_DRIFT`: a row for each kind and live session. With fewer live sessions than a window nothing
        is known yet, and the row says so.

    Known at: the close of each session.
    """
    sessions = watched.seen.sessions
    kept = before.filter(pl.col("version") == version).join(
        pl.DataFrame({"session": sessions, "inputs_hash": hashes}, schema=_NAMED), on=["session", "inputs_hash"]
    )
    made = {session for (session,), rows in kept.group_by("session") if rows.height == len(KINDS)}
    start = next((row for row, session in enumerate(sessions) if session not in made), len(sessions))
    rows = list(
        _rows(watched, start, version=version, hashes=hashes, config=config, hysteresis=hysteresis, recall=recall)
    )
    new = pl.DataFrame(rows, schema=dict(MODEL_DRIFT.columns), orient="row")
    return MODEL_DRIFT.conform(pl.concat([kept.filter(pl.col("session").is_in(sessions[:start])), new]))


def drift_signals(newest: pl.DataFrame) -> tuple[Signal, ...]:
    """What the newest session's drift says to whoever decides on a training.

    Args:
        newest: MODEL_DRIFT rows; those of the last session among them count.

    Returns:
        A signal for each kind; what is not known is no alarm.

    Known at: the close of that session.
    """
    rows = newest.filter(pl.col("session") == pl.col("session").max()).iter_rows(named=True)
    return tuple(
        Signal(
            reason=Reason(row["kind"]),
            asset=MODEL_DRIFT.name,
            value=nan if row["value"] is None else row["value"],
            limit=nan if row["limit"] is None else row["limit"],
            worse="above",
            window=row["window"],
            evidence=f"session {row['session']}, version {row['version']}",
            subject=row["version"],
        )
        for row in rows
    )


def _rows(
    watched: Watched,
    start: int,
    *,
    version: str,
    hashes: Sequence[str],
    config: LiveDriftConfig,
    hysteresis: float,
    recall: Callable[[Reason], Recall],
) -> Iterator[tuple[Any, ...]]:
    """The rows of the live sessions from row `start` on."""
    sessions = watched.seen.sessions
    if start == len(sessions):
        return
    for kind, judge in zip(KINDS, (_features, _predictions, _residuals), strict=True):
        drifts, reference = judge(watched, start, config, hysteresis, recall(kind))
        ends = (reference[0], reference[-1]) if reference else (None, None)
        for row, drift in enumerate(drifts, start):
            told = _in_time(drift, lived=row + 1, window=config.window)
            yield (
                sessions[row],
                str(kind),
                version,
                _known(told.value),
                _known(told.limit),
                told.window,
                BETWEEN.join(told.offenders),
                *ends,
                hashes[row],
            )


def _features(watched: Watched, start: int, config: LiveDriftConfig, hysteresis: float, recall: Recall) -> _Judged:
    learned, seen = watched.learned, watched.seen
    settings = {"config": config, "hysteresis": hysteresis, "recall": recall}
    reference = feature_reference(learned.features, learned.mask_TxN, **settings)
    newest = len(seen.sessions) - start
    return feature_drift(reference, seen.features, seen.mask_TxN, newest=newest, config=config), learned.sessions


def _predictions(watched: Watched, start: int, config: LiveDriftConfig, hysteresis: float, recall: Recall) -> _Judged:
    judged, said = watched.judged, watched.said
    reference = prediction_reference(judged.scores_TxN, config=config, hysteresis=hysteresis, recall=recall)
    newest = len(said.sessions) - start
    return prediction_drift(reference, said.scores_TxN, newest=newest, config=config), judged.sessions


def _residuals(watched: Watched, start: int, config: LiveDriftConfig, hysteresis: float, recall: Recall) -> _Judged:
    judged, said = watched.judged, watched.said
    reference = residual_reference(judged.losses_T, config=config, hysteresis=hysteresis, recall=recall)
    known = [session for session, loss in zip(judged.sessions, judged.losses_T, strict=True) if np.isfinite(loss)]
    drifts = []
    for row in range(start, len(said.sessions)):
        # A session's outcome is known so many sessions later, whatever is known by now.
        told_T = said.losses_T[: max(row + 1 - watched.purge, 0)]
        drifts.append(residual_drift(reference, told_T, sessions=said.sessions, config=config))
    return drifts, known


def _in_time(drift: Drift, *, lived: int, window: int) -> Drift:
    """What a champion that has not lived for a window says of itself is not told yet."""
    if lived >= window:
        return drift
    return replace(drift, value=nan, window=f"{lived} of {window} sessions", offenders=())


def _known(value: float) -> float | None:
    return None if isnan(value) else value
