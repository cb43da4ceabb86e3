"""What became of forecasts: each beside its outcome, and how well each version did over the last sessions.

Champion, challengers and retired versions are scored alike: a version is told by the rows that name it, not by its role.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.backtests.cross_section import (
    information_coefficients,
    rank_information_coefficients,
    realised_labels,
    standardise,
)
from gnn_assets.backtests.metrics import mean
from gnn_assets.core.config import ExecutionConfig
from gnn_assets.core.errors import DataError
from gnn_assets.forecasts.schema import FORECAST_SCORES
from gnn_assets.store.panel import from_panel, to_panel

# Closer to its mean than this (deviations) a value lies on no side of it: scores are stored as float32.
_AT_MEAN = 1e-6
_CELL = ("session", "symbol")
_VERSION = ("version", "horizon")
_MEASURES = {
    "session": pl.Date,
    "version": pl.String,
    "horizon": pl.Int16,
    "window": pl.Int32,
    "sessions": pl.Int32,
    "forecasts": pl.Int32,
    "unknown": pl.Int32,
    "ic": pl.Float64,
    "rank_ic": pl.Float64,
    "hit_rate": pl.Float64,
    "coverage": pl.Float64,
    "rmse": pl.Float64,
    "rmse_naive": pl.Float64,
    "rmse_ratio": pl.Float64,
}


def forecast_scores(
    forecasts: pl.DataFrame,
    returns: pl.DataFrame,
    *,
    session: date,
    sessions: Sequence[date],
    execution: ExecutionConfig,
    served: bool,
) -> pl.DataFrame:
    """Every forecast beside what happened, as far as it is known.

    The outcome is the label that models learn and backtests judge by: the log return from the fill over the row's
    horizon. A symbol's share of the session's IC is the product of standardised score and standardised outcome over
    the number of symbols with both; a hit is a forecast on the right side of the mean, so that a market that rises as
    a whole makes no hits.

    Args:
        forecasts: `forecasts` rows of one or more versions; ``champion`` names the one that scored. Rows of sessions
            that are not among `sessions`, or after `session`, are left out. A score without calibration has neither
            expected return nor interval.
        returns: `returns` rows.
        session: the last close that counts; returns after it are not looked at.
        sessions: the exchange's sessions, ascending, without holes.
        execution: fill lag of the forecasts, and fill that the returns are of; the horizon is each row's own.
        served: whether these are what was served, for whoever reads the rows.

    Returns:
        `forecast_scores` rows. What is not known yet is null; so are hit and share where fewer than three symbols of
        the session have an outcome, or all have the same score or the same outcome.

    Known at: the close of `session`; a row's outcome at the close of its ``target_end``.

    Raises:
        DataError: if a version has two forecasts of one symbol, session and horizon, or a forecast's target is not
            what `execution` makes it.

    References:
        R. Grinold, R. Kahn, Active Portfolio Management, 2nd ed., McGraw-Hill 2000, ch. 6 (information coefficient).
        M. Pesaran, A. Timmermann, A Simple Nonparametric Test of Predictive Performance, Journal of Business &
        Economic Statistics 10(4), 1992 (proportion of directions that were right); here the direction is that against
        the session's mean.
    """
    past = list(sessions[: sessions.index(session) + 1])
    rows = forecasts.rename({"champion": "version"}).filter(pl.col("session").is_in(past)).with_columns(served=served)
    _require_one_each(rows)
    _require_targets(rows, past, execution=execution)
    frames = [FORECAST_SCORES.empty()]
    for _, own in rows.group_by(_VERSION, maintain_order=True):
        compared = _compared(own, returns, sessions=past, execution=execution)
        frames.append(compared.select(*FORECAST_SCORES.columns))
    return FORECAST_SCORES.conform(pl.concat(frames))


def live_measures(scores: pl.DataFrame, *, session: date, sessions: Sequence[date], window: int) -> pl.DataFrame:
    """How well each version did, over the forecasts whose outcome became known in the last sessions.

    The naive forecast says of every symbol what the version expects of the session's symbols on average. That is the
    intercept of its calibration: what would have been served had the score said nothing, so that a ratio of 1 is a
    score that adds nothing. Targets of neighbouring sessions overlap where the horizon is longer than a session: the
    window holds less than its number of sessions says.

    Args:
        scores: `forecast_scores` rows; outcomes known only after `session` do not count.
        session: the last close that counts.
        sessions: the exchange's sessions, ascending, without holes.
        window: trailing sessions, `session` included, in which an outcome must have become known.

    Returns:
        A row for each version and horizon with a forecast that ended in the window: ``session``, ``version``,
        ``horizon``, ``window``; ``sessions`` and ``forecasts`` with an outcome, and forecasts whose outcome stays
        ``unknown``, as counts; ``ic`` and ``rank_ic``, means over sessions; ``hit_rate`` and ``coverage``, shares of
        forecasts; ``rmse``, ``rmse_naive`` (log return) and ``rmse_ratio``. A measure that is not defined is null, as
        those of returns and intervals are for scores without calibration.

    Known at: the close of `session`.

    References:
        J. Campbell, S. Thompson, Predicting Excess Stock Returns Out of Sample, Review of Financial Studies 21(4), 2008
        (error against that of the historical mean).
    """
    last = sessions.index(session)
    ended = sessions[max(last + 1 - window, 0) : last + 1]
    naive = pl.col("expected_return").mean().over("session", *_VERSION)
    rows = scores.filter(pl.col("target_end").is_in(list(ended))).with_columns(
        naive_error=pl.col("realised") - naive, known=pl.col("realised").is_not_null()
    )
    measures = []
    for (version, horizon), own in rows.group_by(_VERSION, maintain_order=True):
        rmse, rmse_naive = (float(np.sqrt(mean(own[name].to_numpy() ** 2))) for name in ("error", "naive_error"))
        ic, rank_ic = _coefficients(own)
        measures.append(
            {
                "session": session,
                "version": version,
                "horizon": horizon,
                "window": window,
                "sessions": own.filter("known")["session"].n_unique(),
                "forecasts": own["known"].sum(),
                "unknown": (~own["known"]).sum(),
                "ic": ic,
                "rank_ic": rank_ic,
                "hit_rate": own["hit"].mean(),
                "coverage": own["covered"].mean(),
                "rmse": rmse,
                "rmse_naive": rmse_naive,
                "rmse_ratio": rmse / rmse_naive if rmse_naive > 0 else None,
            }
        )
    return pl.DataFrame(measures, schema=_MEASURES).with_columns(pl.col(pl.Float64).fill_nan(None)).sort(_VERSION)


def _compared(
    own: pl.DataFrame, returns: pl.DataFrame, *, sessions: Sequence[date], execution: ExecutionConfig
) -> pl.DataFrame:
    """One version's forecasts of one horizon, with their outcomes."""
    first: date = own["session"].min()  # ty: ignore[invalid-assignment] - a Date column
    horizon: int = own["horizon"][0]
    axes = {"sessions": sessions[sessions.index(first) :], "symbols": own["symbol"].unique().sort().to_list()}
    labels_TxN = realised_labels(
        to_panel(returns, "fill_return", **axes), execution=execution.model_copy(update={"horizon": horizon})
    )
    share_TxN, hit_TxN = _shares(to_panel(own, "score", **axes), labels_TxN)
    outcome = pl.col("realised")
    for name, panel_TxN in (("realised", labels_TxN), ("ic_share", share_TxN), ("hit", hit_TxN)):
        own = own.join(from_panel(panel_TxN, name, **axes), on=_CELL, how="left")
    return own.with_columns(
        pl.col("hit").cast(pl.Boolean),
        error=outcome - pl.col("expected_return"),
        covered=outcome.is_between("lower", "upper"),
    )


def _shares(scores_TxN: np.ndarray, labels_TxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each name's share of its session's IC, and 1 where it is a hit, 0 where it is none; NaN where undefined."""
    common_TxN = np.isfinite(scores_TxN) & np.isfinite(labels_TxN)
    score_TxN, label_TxN = (
        standardise(np.where(common_TxN, values_TxN, np.nan)) for values_TxN in (scores_TxN, labels_TxN)
    )
    defined_Tx1 = np.isfinite(information_coefficients(scores_TxN, labels_TxN))[:, None]
    product_TxN = np.where(defined_Tx1, score_TxN * label_TxN, np.nan)
    sided_TxN = np.minimum(np.abs(score_TxN), np.abs(label_TxN)) > _AT_MEAN
    hit_TxN = np.where(sided_TxN & defined_Tx1, product_TxN > 0, np.nan)
    return product_TxN / np.maximum(common_TxN.sum(axis=1), 1)[:, None], hit_TxN


def _coefficients(own: pl.DataFrame) -> tuple[float, float]:
    """Mean IC and mean rank IC of one version's forecasts."""
    sessions, symbols = (own[name].unique().sort().to_list() for name in _CELL)
    panels = [to_panel(own, name, sessions=sessions, symbols=symbols) for name in ("score", "realised")]
    return mean(information_coefficients(*panels)), mean(rank_information_coefficients(*panels))


def _require_one_each(rows: pl.DataFrame) -> None:
    doubled = rows.filter(rows.select(FORECAST_SCORES.key).is_duplicated()).sort(FORECAST_SCORES.key)
    if not doubled.is_empty():
        first = doubled.row(0, named=True)
        raise DataError.of(
            f"forecasts of {first['version']}",
            expected="one forecast of a symbol, session and horizon",
            was=f"more of {first['symbol']} on {first['session']} over {first['horizon']} sessions",
            do="give the rows that were published last",
        )


def _require_targets(rows: pl.DataFrame, sessions: Sequence[date], *, execution: ExecutionConfig) -> None:
    """Refuses forecasts of another fill: their outcomes are not in these returns."""
    axis = pl.DataFrame({"place": pl.int_range(len(sessions), eager=True), "day": pl.Series(sessions, dtype=pl.Date)})
    places = {name: f"{name}_place" for name in ("session", "target_start", "target_end")}
    placed = rows
    for name, place in places.items():
        placed = placed.join(axis.rename({"day": name, "place": place}), on=name, how="left")
    start, end = (pl.col(places[name]) - pl.col(places["session"]) for name in ("target_start", "target_end"))
    lag = execution.fill_lag
    other = placed.filter((start != lag) | (end != pl.col("horizon") + lag)).sort(FORECAST_SCORES.key)
    if not other.is_empty():
        first = other.row(0, named=True)
        raise DataError.of(
            f"forecast of {first['symbol']} on {first['session']} by {first['version']}",
            expected=f"a target of {first['horizon']} sessions from the fill by {execution.fill}",
            was=f"{first['target_start']} to {first['target_end']}",
            do="score it against returns of the fill it was made for",
        )
