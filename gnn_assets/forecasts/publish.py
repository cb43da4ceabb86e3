"""From the champion to one session's forecasts: which part of its weights scores, and how the score is calibrated.

The same function makes a forecast the first time and when its card is verified: recomputing is not a second way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from gnn_assets.core.config import Config
from gnn_assets.core.errors import DataError
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.forecasts.calibrate import Calibration, fit_calibration
from gnn_assets.forecasts.predict import forecast_frame
from gnn_assets.models.candidate import predict_sessions
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.variants import refit_part
from gnn_assets.store.panel import to_panel


@dataclass(frozen=True)
class Served:
    """The weights that are served and what is known of them.

    Args:
        version: gnn_weights version.
        model: plug-in that scores.
        verdict: word on its backtest.
        facts: the weights' manifest facts.
        load_part: name of a part → its arrays, verified.
        predictions: the model's own `oos_predictions` rows.
    """

    version: str
    model: str
    verdict: str
    facts: Mapping[str, Any]
    load_part: Callable[[str], Mapping[str, np.ndarray]]
    predictions: pl.DataFrame


@dataclass(frozen=True, eq=False)
class Market:
    """What is known of the market at a session's close.

    Args:
        data: features, graph and labels.
        fill_returns_TxN: float64, log returns fill to fill over the axes of `data`.
        sources: symbol → whose bars its return on that session is from; symbols without one are absent.
    """

    data: Dataset
    fill_returns_TxN: np.ndarray
    sources: Mapping[str, str]


@dataclass(frozen=True)
class SessionForecasts:
    """One session's forecasts and what made them.

    Args:
        rows: FORECASTS rows, ``card_id`` still empty.
        part: part of the weights that scored.
        calibration: the line and interval that were used.
    """

    rows: pl.DataFrame
    part: str
    calibration: Calibration


def part_for(session: date, *, facts: Mapping[str, Any], model: str) -> str:
    """The part of the weights that may score a session without having seen its outcome.

    From the weights' own data end on, the final refit; before it, the fold whose test part holds the session.

    Raises:
        DataError: if the session lies before the first fold's test part.
    """
    if session >= date.fromisoformat(facts["data_end"]):
        return refit_part(model)
    tested = _tested(facts, model)
    for part, (first, last) in tested.items():
        if first <= session <= last:
            return part
    raise DataError.of(
        f"forecast of {session}",
        expected=f"a session from {min(first for first, _ in tested.values())} on",
        was=session,
        do="ask for a session that some fold was tested on",
    )


def forecast_session(
    session: date,
    *,
    served: Served,
    market: Market,
    calendar: SessionCalendar,
    config: Config,
    status: str,
) -> SessionForecasts:
    """Forecasts of one session from what was known at its close.

    Args:
        session: last close that may be used; a row of `data`.
        served: the champion.
        market: as it was known at its close; rows after `session` are not read.
        calendar: the exchange's sessions.
        config: models, execution and forecasts are used.
        status: ok, stale, degraded or missing.

    Known at: the session's close plus grace.

    Raises:
        DataError: if no part may score the session, or too few outcomes are known for a calibration.
    """
    data = market.data
    row = data.sessions.index(session)
    part = part_for(session, facts=served.facts, model=served.model)
    scores = predict_sessions(
        served.load_part, data, model=served.model, part=part, sessions=range(row, row + 1), config=config.models
    )
    calibration = fit_calibration(
        to_panel(served.predictions, "score", sessions=data.sessions, symbols=data.symbols),
        market.fill_returns_TxN,
        sessions=data.sessions,
        session=session,
        execution=config.execution,
        config=config.forecasts,
    )
    rows = forecast_frame(
        scores[0],
        calibration,
        mask_N=data.mask_TxN[row],
        session=session,
        symbols=data.symbols,
        calendar=calendar,
        execution=config.execution,
        champion=served.version,
        graph_session=session,
        sources=market.sources,
        served_by=part,
        status=status,
        verdict=served.verdict,
    )
    return SessionForecasts(rows=rows, part=part, calibration=calibration)


def sessions_to_publish(sessions: Sequence[date], *, facts: Mapping[str, Any], model: str, history: int) -> list[date]:
    """The newest session and up to `history` before it that some part of the weights may score."""
    first = min(first for first, _ in _tested(facts, model).values())
    return [session for session in sessions[-(history + 1) :] if session >= first]


def _tested(facts: Mapping[str, Any], model: str) -> dict[str, tuple[date, date]]:
    """Part of a fold → first and last session of its test part."""
    return {
        part: (date.fromisoformat(told["test"][0]), date.fromisoformat(told["test"][1]))
        for part, told in facts["parts"].items()
        if part.startswith(f"{model}/") and told["test"] is not None
    }
