"""What the tear sheet is made from, and the curves it compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.backtests.scores import series_by_model
from gnn_assets.backtests.tear_charts import SERIES_COLOURS
from gnn_assets.backtests.tear_tables import Curve
from gnn_assets.backtests.trials import Record
from gnn_assets.backtests.verdict import BENCHMARK, Verdict
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.models.bars import Bars


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the page is made from.

    Args:
        card: `score_cards` rows.
        portfolios: `portfolio_returns` rows.
        predictions: `oos_predictions` rows.
        returns: `returns` rows.
        sessions: the exchange's sessions, ascending, from the returns' first to their last.
        candidate: the model it is about.
        verdict: the word on it, with its conditions and the thresholds that were changed.
        trials: the ledger's.
        index: name and session → simple return of the index; None where the universe has none.
        market: which data these are, for people.
        versions: what of → version.
        bars: what `portfolio_returns` was given beside the returns.
        universe: likewise.
        calendar: likewise.
    """

    card: pl.DataFrame
    portfolios: pl.DataFrame
    predictions: pl.DataFrame
    returns: pl.DataFrame
    sessions: Sequence[date]
    candidate: str
    verdict: Verdict
    trials: Sequence[Record]
    index: tuple[str, Mapping[date, float]] | None
    market: str
    versions: Mapping[str, str]
    bars: Bars | None = None
    universe: pl.DataFrame | None = None
    calendar: SessionCalendar | None = None


class Compared:
    """The candidate, net and gross, beside equal weight (b), every other model and the index, on one axis of sessions.

    Args:
        given: tables and facts of one candidate.
    """

    def __init__(self, given: Inputs) -> None:
        models = given.portfolios["model"].unique().sort().to_list()
        others = sorted((model for model in models if model != given.candidate), key=lambda model: model != BENCHMARK)
        self.axis: list[date] = given.portfolios["session"].unique().sort().to_list()
        self.series = series_by_model(given.portfolios, sessions=self.axis, models=[given.candidate, *others])
        own = self.series[given.candidate]
        self.net, self.gross = (
            Curve.of(f"{given.candidate}, {name}", self.axis, own[name], own["turnover"]) for name in ("net", "gross")
        )
        self.others = [self._curve(model) for model in others]
        self.context = [] if given.index is None else [self._index(*given.index)]
        # A model has the same colour in every chart, the candidate the first, the index the last.
        self.colours = {model: 1 + place % SERIES_COLOURS for place, model in enumerate((*self.series, None))}

    @property
    def curves(self) -> list[Curve]:
        """All of them, in the order of the page."""
        return [self.net, self.gross, *self.others, *self.context]

    def gaps(self) -> list[str]:
        """What there is nothing of, and sessions that the curves lack, in words."""
        gaps = [] if self.context else ["There is no index to compare with."]
        for curve in (self.net, *self.others, *self.context):
            lacking = len(self.axis) - len(curve.sessions)
            if lacking:
                gaps.append(f"{curve.name}: no return on {lacking} of {len(self.axis)} sessions; they are left out.")
        return gaps

    def over_axis(self, curve: Curve, values_K: np.ndarray) -> np.ndarray:
        """Values of a curve's own sessions on the axis of all, float64 (T,), NaN elsewhere."""
        values_T = np.full(len(self.axis), np.nan)
        values_T[np.isin(np.array(self.axis), np.array(curve.sessions))] = values_K
        return values_T

    def _curve(self, model: str) -> Curve:
        series = self.series[model]
        name = f"{model} (b)" if model == BENCHMARK else model
        return Curve.of(name, self.axis, series["net"], series["turnover"])

    def _index(self, name: str, moves: Mapping[date, float]) -> Curve:
        returns_T = np.array([moves.get(day, np.nan) for day in self.axis], dtype=np.float64)
        return Curve.of(f"{name} (index, no costs)", self.axis, returns_T)
