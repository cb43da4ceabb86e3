"""From the champion to one session's forecasts: which part of its weights scores, and how the score is calibrated.

The same function makes a forecast the first time and when its card is verified: recomputing is not a second way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from gnn_assets.core.config import Config
from gnn_assets.core.errors import DataError, MissingArtefact
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.forecasts.calibrate import Calibration, fit_calibration
from gnn_assets.forecasts.predict import forecast_frame
from gnn_assets.models.candidate import predict_sessions
from gnn_assets.models.dataset import Dataset, scored
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.models.variants import refit_part, untrained_part
from gnn_assets.store.panel import to_panel


@dataclass(frozen=True)
class Served:
    """The weights that are served and what is known of them.

    Args:
        version: gnn_weights version.
        model: who scores: the champion's own, or one of its baselines.
        verdict: word on its backtest.
        facts: the weights' manifest facts; none where it is served without weights.
        load_part: name of a part → its arrays, verified.
        predictions: the model's own `oos_predictions` rows; none likewise, and it scores the past anew.
    """

    version: str
    model: str
    verdict: str
    facts: Mapping[str, Any]
    load_part: Callable[[str], Mapping[str, np.ndarray]]
    predictions: pl.DataFrame

    @property
    def untrained(self) -> bool:
        """Whether it is a model with nothing to train, served without weights because they are gone."""
        return not self.facts


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


def untrained(model: str, *, version: str, verdict: str) -> Served:
    """A model with nothing to train, served without any weights.

    Args:
        model: of the zoo.
        version: gnn_weights version of the champion in whose place it stands.
        verdict: word on that champion's backtest.
    """

    def load_part(part: str) -> Mapping[str, np.ndarray]:
        raise MissingArtefact.of(
            f"part {part}", expected="a model with nothing to train", was="one that needs weights", do="restore them"
        )

    return Served(
        version=version,
        model=model,
        verdict=verdict,
        facts={},
        load_part=load_part,
        predictions=OOS_PREDICTIONS.empty(),
    )


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
    degraded: bool,
) -> SessionForecasts:
    """Forecasts of one session from what was known at its close.

    Args:
        session: last close that may be used; a row of `data`.
        served: the champion, or who serves in its place.
        market: as it was known at its close; rows after `session` are not read.
        calendar: the exchange's sessions.
        config: models, execution and forecasts are used.
        status: ok, stale or degraded.
        degraded: whether `served` is not the chosen champion.

    Known at: the session's close plus grace.

    Raises:
        DataError: if no part may score the session, or too few outcomes are known for a calibration.
        ModelError: if the model raises, or needs weights where there are none.
    """
    data = market.data
    row = data.sessions.index(session)
    own = untrained_part(served.model)
    part = own if served.untrained else part_for(session, facts=served.facts, model=served.model)
    scores = predict_sessions(
        served.load_part, data, model=served.model, part=part, sessions=range(row, row + 1), config=config.models
    )
    calibration = fit_calibration(
        _past_scores(served, data, until=row, config=config),
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
        degraded=degraded,
        status=status,
        verdict=served.verdict,
    )
    return SessionForecasts(rows=rows, part=part, calibration=calibration)


def sessions_to_publish(sessions: Sequence[date], *, facts: Mapping[str, Any], model: str, history: int) -> list[date]:
    """The newest session and up to `history` before it that some part of the weights may score."""
    first = min(first for first, _ in _tested(facts, model).values())
    return [session for session in sessions[-(history + 1) :] if session >= first]


def _past_scores(served: Served, data: Dataset, *, until: int, config: Config) -> Float[np.ndarray, "T N"]:
    """What the model said of each session before it knew the outcome; NaN where it said nothing.

    A model with nothing to train has seen no outcome anywhere: all of the past is out of sample for it. Whom it scored
    then is told from returns alone, as data that are made for one session have features of no other.
    """
    if not served.untrained:
        return to_panel(served.predictions, "score", sessions=data.sessions, symbols=data.symbols)
    features = data.recipe.features
    mask_TxN = scored(data.bars.close_return_TxN, history=features.history, min_share=features.min_share)
    scores_TxN = np.full(mask_TxN.shape, np.nan)
    scores_TxN[: until + 1] = predict_sessions(
        served.load_part,
        replace(data, mask_TxN=mask_TxN),
        model=served.model,
        part=untrained_part(served.model),
        sessions=range(until + 1),
        config=config.models,
    )
    return scores_TxN


def _tested(facts: Mapping[str, Any], model: str) -> dict[str, tuple[date, date]]:
    """Part of a fold → first and last session of its test part."""
    return {
        part: (date.fromisoformat(told["test"][0]), date.fromisoformat(told["test"][1]))
        for part, told in facts["parts"].items()
        if part.startswith(f"{model}/") and told["test"] is not None
    }
