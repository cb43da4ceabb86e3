"""Checks of scored forecasts: pure functions of what is about to be published."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.core.checks import Check, shown
from gnn_assets.core.config import ExecutionConfig
from gnn_assets.forecasts.live_scores import forecast_scores
from gnn_assets.forecasts.schema import FORECAST_SCORES

_SHOWN = 10


def score_checks(scores: pl.DataFrame, *, session: date, min_outcome_share: float) -> tuple[Check, ...]:
    """Whether every value is a number, and whether what has ended has an outcome.

    Args:
        scores: `forecast_scores` rows.
        session: the last close that counts.
        min_outcome_share: least share of the forecasts that ended by then whose outcome is known.
    """
    floats = [name for name, dtype in FORECAST_SCORES.columns.items() if dtype in {pl.Float32, pl.Float64}]
    broken = scores.filter(
        pl.col("score").is_null() | pl.any_horizontal(~pl.col(name).is_finite().fill_null(True) for name in floats)
    )
    ended = scores.filter(pl.col("target_end") <= session)
    unknown = ended.filter(pl.col("realised").is_null())
    share = 1 - unknown.height / ended.height if ended.height else float("nan")
    return (
        Check(
            "scores_finite",
            broken.is_empty(),
            broken.height,
            0,
            f"Rows without a score, or with a value that is no number, of {scores.height}.",
            offenders=_cells(broken),
        ),
        Check(
            "outcomes_known",
            not ended.height or share >= min_outcome_share,
            shown(share),
            min_outcome_share,
            f"Share of the {ended.height} forecasts that ended by {session} whose outcome is known; what has no price "
            "at its end has none.",
            severity="warn",
            offenders=_cells(unknown),
        ),
    )


def no_look_ahead(
    scores: pl.DataFrame,
    returns: pl.DataFrame,
    *,
    session: date,
    sessions: Sequence[date],
    execution: ExecutionConfig,
    others: Sequence[str],
) -> Check:
    """Whether nothing is told before it was known: outcomes to come are null, and a past session made again is the same.

    Args:
        scores: `forecast_scores` rows.
        returns: the `returns` they were made from.
        session: the platform's last session.
        sessions: the exchange's sessions, ascending, without holes.
        execution: as for `forecast_scores`.
        others: what else differed when it was made again, a phrase each.
    """
    early = scores.filter(pl.col("target_end") > session, pl.col("realised").is_not_null())
    drawn, other = _made_again(scores, returns, session=session, sessions=sessions, execution=execution)
    found = (*_cells(early), *_cells(other), *others)
    return Check(
        "no_look_ahead",
        not found,
        early.height + other.height + len(others),
        0,
        f"Outcomes known before their target ended, and rows of {drawn or 'any past session'} that differ when they are "
        "made again without anything later.",
        offenders=found[:_SHOWN],
    )


def drawn_session(ended: pl.DataFrame, *, session: date) -> date | None:
    """A past session to be made again: another one each day, the same one for the same day; None if there is none.

    Args:
        ended: rows with a column ``session``.
        session: the platform's last session.
    """
    known = ended["session"].unique().sort()
    if known.is_empty():
        return None
    return known[int(np.random.default_rng(session.toordinal()).integers(len(known)))]


def _made_again(
    scores: pl.DataFrame,
    returns: pl.DataFrame,
    *,
    session: date,
    sessions: Sequence[date],
    execution: ExecutionConfig,
) -> tuple[date | None, pl.DataFrame]:
    """One past session, and its rows that differ when returns end with its last outcome."""
    drawn = drawn_session(scores.filter(pl.col("target_end") <= session), session=session)
    stored = scores.filter(pl.col("session") == drawn) if drawn else scores.clear()
    if drawn is None:
        return None, stored
    end: date = stored["target_end"].max()  # ty: ignore[invalid-assignment] - a Date column
    start = sessions[sessions.index(drawn) + execution.fill_lag]
    forecasts = stored.rename({"version": "champion"}).with_columns(target_start=pl.lit(start))
    again = [
        forecast_scores(
            forecasts.filter(pl.col("served") == served).drop(
                "served", "realised", "error", "hit", "covered", "ic_share"
            ),
            returns.filter(pl.col("session") <= end),
            session=end,
            sessions=sessions,
            execution=execution,
            served=served,
        )
        for served in (True, False)
    ]
    return drawn, pl.concat([*again, stored]).filter(~pl.struct(pl.all()).is_duplicated())


def _cells(rows: pl.DataFrame) -> tuple[str, ...]:
    return tuple(
        f"{row['symbol']} {row['session']} by {row['version'][:12]}: score {row['score']}, outcome {row['realised']}"
        for row in rows.head(_SHOWN).iter_rows(named=True)
    )
