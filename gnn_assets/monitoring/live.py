"""Alarms of what was served: it earns too little, errs too much, or its intervals hold too little.

Only what was served counts, whichever versions served it: a champion is often younger than the window, and would never
be judged if each were judged alone. Errors and intervals are those of the newest sessions whose outcome is known, as many
as the window has: a session that was missed makes it reach further back. Until there are so many nothing is known.
"""

from datetime import date

import polars as pl

from gnn_assets.core.config import Config
from gnn_assets.forecasts.live_portfolio import live_sharpe
from gnn_assets.forecasts.live_scores import live_measures
from gnn_assets.forecasts.schema import FORECAST_SCORES
from gnn_assets.monitoring.reasons import Reason, Signal

_UNKNOWN = float("nan")


def live_signals(scores: pl.DataFrame, portfolio: pl.DataFrame, *, session: date, config: Config) -> tuple[Signal, ...]:
    """What was served over the last sessions, against its limits.

    Args:
        scores: `forecast_scores` rows; outcomes known only after `session` do not count.
        portfolio: what `live_portfolio` made of the served forecasts; rows after `session` do not count.
        session: the last close that counts.
        config: `live`, `gate.max_rmse_ratio`, `forecasts.coverage` and `backtests.sessions_per_year` are used.

    Returns:
        ``sharpe_below_benchmark``, ``accuracy_drop`` and ``coverage_miss``, in this order; NaN for what is not known.

    Known at: the close of `session`.
    """
    served = scores.filter(pl.col("served"), pl.col("session") <= session).sort("session", "symbol")
    measures, outcomes = _measures(served, session=session, config=config)
    ratios = live_sharpe(
        portfolio.filter(pl.col("session") <= session),
        live=config.live,
        sessions_per_year=config.backtests.sessions_per_year,
    )
    newest = ratios.row(-1, named=True) if ratios.height else {}
    evidence = _evidence(served)
    return (
        Signal(
            reason=Reason.SHARPE_BELOW_BENCHMARK,
            asset=FORECAST_SCORES.name,
            value=_known(newest.get("sharpe")),
            limit=_known(newest.get("limit")),
            worse="below",
            window=f"{config.live.window_sessions} sessions to {newest.get('session', session)}",
            evidence=evidence,
        ),
        Signal(
            reason=Reason.ACCURACY_DROP,
            asset=FORECAST_SCORES.name,
            value=_known(measures.get("rmse_ratio")),
            limit=config.gate.max_rmse_ratio,
            worse="above",
            window=outcomes,
            evidence=evidence,
        ),
        Signal(
            reason=Reason.COVERAGE_MISS,
            asset=FORECAST_SCORES.name,
            value=_known(measures.get("coverage")),
            limit=config.forecasts.coverage - config.live.coverage_shortfall,
            worse="below",
            window=outcomes,
            evidence=evidence,
        ),
    )


def _measures(served: pl.DataFrame, *, session: date, config: Config) -> tuple[dict[str, object], str]:
    """`live_measures` of all that was served, as if one version had, and their window in words; empty until it is full."""
    window = config.live.window_sessions
    # Outcomes of another horizon are another thing; only the present one's are judged.
    alike = served.filter(pl.col("horizon") == pl.col("horizon").last()).with_columns(pl.col("version").last())
    known = alike.filter(pl.col("target_end") <= session, pl.col("realised").is_not_null())
    ended = known["target_end"].unique().sort().to_list()
    if len(ended) < window:
        return {}, f"{window} sessions with outcomes, of which there are {len(ended)}"
    measures = live_measures(alike, session=ended[-1], sessions=ended, window=window)
    return measures.row(0, named=True), f"{window} sessions with outcomes, {ended[-window]} to {ended[-1]}"


def _evidence(served: pl.DataFrame) -> str:
    if served.is_empty():
        return "nothing was served yet"
    newest = served.row(-1, named=True)
    return f"{newest['version']} served on {newest['session']}"


def _known(value: object) -> float:
    return value if isinstance(value, float) else _UNKNOWN
