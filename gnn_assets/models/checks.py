"""Checks of weights and of out-of-sample scores, as pure functions."""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from gnn_assets.core.checks import Check

LOOK_AHEAD_CHECK = "no_look_ahead"
_SHOWN = 10


def weights_checks(facts: Mapping[str, Any], *, candidate: str, n_folds: int) -> tuple[Check, ...]:
    """Whether a candidate may be used at all.

    Args:
        facts: of the candidate.
        candidate: name of the model the gate judges.
        n_folds: folds there should be.
    """
    parts = facts["parts"]
    failed = [f"{part}: {told['failure']}" for part, told in parts.items() if told["failure"]]
    unscored = [f"{part}: {told['validation_ic']}" for part, told in parts.items() if not _plausible(told)]
    due = [
        f"{model}/{name}"
        for model, name in product(facts["models"], [*(f"fold_{number:02d}" for number in range(n_folds)), "refit"])
    ]
    missing = [part for part in due if part not in parts]
    trained = [part for part in due if part in parts and not parts[part]["failure"]]
    chosen = [
        told["validation_ic"]
        for part, told in parts.items()
        if part.startswith(f"{candidate}/") and told["validation_ic"] is not None
    ]
    mean_ic = float(np.mean(chosen)) if chosen else 0.0
    return (
        Check(
            name="loss_finite",
            passed=not failed,
            value=len(failed),
            threshold=0,
            description="Parts whose loss, gradient or parameters became NaN or infinite.",
            offenders=tuple(failed[:_SHOWN]),
        ),
        Check(
            name="curves_finite",
            passed=not unscored,
            value=len(unscored),
            threshold=0,
            description="Parts with a loss that is not finite, or a validation IC that no correlation can have.",
            offenders=tuple(unscored[:_SHOWN]),
        ),
        Check(
            name="all_folds_trained",
            passed=not missing,
            value=len(due) - len(missing),
            threshold=len(due),
            description="Trained parts: each model once a fold and once more for serving.",
            offenders=tuple(missing[:_SHOWN]),
        ),
        Check(
            name="parts_trained",
            passed=len(trained) == len(due),
            value=round(len(trained) / len(due), 6),
            threshold=1.0,
            description="Success rate of training: parts that ended well over parts that were due.",
            offenders=tuple(part for part in due if part not in trained)[:_SHOWN],
            severity="warn",
        ),
        Check(
            name="validation_ic",
            passed=mean_ic > 0,
            value=round(mean_ic, 6),
            threshold=0.0,
            description="Mean validation IC of the candidate at its best epochs; chosen with hindsight, so it flatters.",
            severity="warn",
        ),
    )


def predictions_checks(
    predictions: pl.DataFrame,
    *,
    sessions: Sequence[date],
    models: Sequence[str],
    n_symbols: int,
    min_symbol_share: float,
) -> tuple[Check, ...]:
    """Whether out-of-sample scores are complete, finite and out of sample.

    Args:
        predictions: a frame of `OOS_PREDICTIONS`.
        sessions: sessions that should be scored.
        models: models that should have scored them.
        n_symbols: symbols of the universe.
        min_symbol_share: smallest share of them that may have a finite score in a session.
    """
    early = predictions.filter(pl.col("training_end") >= pl.col("session"))
    counted = pl.DataFrame({"model": list(models)}, schema={"model": pl.String}).join(
        pl.DataFrame({"session": list(sessions)}, schema={"session": pl.Date}), how="cross"
    )
    finite = predictions.filter(pl.col("score").is_finite()).group_by("model", "session").len()
    share = counted.join(finite, on=["model", "session"], how="left").select(
        "model", "session", share=pl.col("len").fill_null(0) / n_symbols
    )
    thin = share.filter(pl.col("share") < min_symbol_share).sort("share", "model", "session")
    smallest = share["share"].min()
    infinite = predictions.filter(~pl.col("score").is_finite().fill_null(value=False))
    return (
        Check(
            name="training_end_before_session",
            passed=early.is_empty(),
            value=early.height,
            threshold=0,
            description="Scores by weights that used a label known only at the scored session or later: look-ahead.",
            offenders=_rows(early),
        ),
        Check(
            name="scores_finite",
            passed=infinite.is_empty(),
            value=infinite.height,
            threshold=0,
            description="Scores that are NaN, infinite or missing.",
            offenders=_rows(infinite),
        ),
        Check(
            name="scored_share",
            passed=thin.is_empty(),
            value=round(float(smallest), 6) if isinstance(smallest, float) else 0.0,
            threshold=min_symbol_share,
            description="Smallest share of the universe with a finite score, over all models and test sessions.",
            offenders=tuple(
                f"{model} {session}: {value:.0%}" for model, session, value in thin.head(_SHOWN).iter_rows()
            ),
        ),
    )


def no_look_ahead(
    scores_KxN: np.ndarray, again_KxN: np.ndarray, *, sessions: Sequence[date], symbols: Sequence[str]
) -> Check:
    """Whether scores saw what was still to come: the same sessions, scored again without it.

    Args:
        scores_KxN: float (K, N), NaN for no score; from all data.
        again_KxN: likewise, each session from data that end with it.
        sessions: K sessions with later ones after them; none is a failure, as nothing was looked at.
        symbols: the N names.
    """
    scores_KxN, again_KxN = (values.astype(np.float32) for values in (scores_KxN, again_KxN))
    # Bit for bit, a missing score being one of them: what was not there must not come from what is.
    changed_KxN = ~((scores_KxN == again_KxN) | (np.isnan(scores_KxN) & np.isnan(again_KxN)))
    first = [
        f"{symbols[place]} {sessions[row]}: score {scores_KxN[row, place]}, "
        f"{again_KxN[row, place]} without what came later"
        for row, place in np.argwhere(changed_KxN)[:_SHOWN]
    ]
    return Check(
        name=LOOK_AHEAD_CHECK,
        passed=bool(sessions) and not changed_KxN.any(),
        value=int(changed_KxN.sum()),
        threshold=0,
        description=f"Scores of {len(sessions)} sessions that change when data end with the session: look-ahead "
        "of a feature, of the graph or of the model.",
        offenders=tuple(first),
    )


def _plausible(told: Mapping[str, Any]) -> bool:
    ics = [told["validation_ic"], *(point["validation_ic"] for point in told["curve"])]
    losses = [point["loss"] for point in told["curve"]]
    return all(ic is None or abs(ic) <= 1 for ic in ics) and bool(np.isfinite(losses).all())


def _rows(frame: pl.DataFrame) -> tuple[str, ...]:
    shown = frame.head(_SHOWN).select("model", "session", "symbol").iter_rows()
    return tuple(f"{model} {session} {symbol}" for model, session, symbol in shown)
