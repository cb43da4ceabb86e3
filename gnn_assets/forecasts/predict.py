"""One session's forecasts: scores, calibrated, ranked and dated."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.core.config import ExecutionConfig
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.forecasts.calibrate import Calibration
from gnn_assets.forecasts.schema import FORECASTS


def forecast_frame(
    scores_N: np.ndarray,
    calibration: Calibration,
    *,
    mask_N: np.ndarray,
    session: date,
    symbols: Sequence[str],
    calendar: SessionCalendar,
    execution: ExecutionConfig,
    champion: str,
    graph_session: date,
    sources: Mapping[str, str],
    served_by: str,
    degraded: bool,
    status: str,
    verdict: str,
) -> pl.DataFrame:
    """Forecasts for every symbol that can be scored; the others are absent, never invented.

    A symbol that can be scored and has no finite score is the model's fault: its row says so, for the checks to refuse.

    Args:
        scores_N: float (N,), unitless; any value where masked out.
        calibration: made at `session`'s close or before.
        mask_N: bool (N,), True where the symbol's features are whole.
        session: last close the scores used.
        symbols: the N names; equal scores are ranked in their order.
        calendar: the exchange's sessions, reaching past the target.
        execution: fill lag and horizon of the target.
        champion: `gnn_weights` version that scored.
        graph_session: session of the graph it scored on.
        sources: symbol → whose bars its newest return is from.
        served_by: part of the weights that scored.
        degraded: whether somebody else than the chosen champion scored.
        status: ok, stale or degraded.
        verdict: word on the champion.

    Returns:
        `forecasts` rows, ``card_id`` still empty.

    Known at: the close of `session`.
    """
    scored = np.flatnonzero(mask_N)
    expected_N = calibration.expected_returns(np.where(mask_N & np.isfinite(scores_N), scores_N, np.nan))
    rank_N = np.zeros(len(scores_N), dtype=np.int32)
    rank_N[scored[np.argsort(-scores_N[scored], kind="stable")]] = np.arange(1, scored.size + 1)
    return FORECASTS.conform(
        pl.DataFrame(
            {
                "session": session,
                "symbol": pl.Series([symbols[place] for place in scored], dtype=pl.String),
                "horizon": execution.horizon,
                "score": scores_N[scored],
                "expected_return": expected_N[scored],
                "lower": expected_N[scored] + calibration.lower_quantile,
                "upper": expected_N[scored] + calibration.upper_quantile,
                "rank": rank_N[scored],
                "target_start": calendar.offset(session, execution.fill_lag),
                "target_end": calendar.offset(session, execution.purge),
                "champion": champion,
                "graph_session": graph_session,
                "source": pl.Series([sources[symbols[place]] for place in scored], dtype=pl.String),
                "served_by": served_by,
                "degraded": degraded,
                "status": status,
                "verdict": verdict,
                "card_id": "",
            },
            schema_overrides=dict(FORECASTS.columns),
        )
    )
