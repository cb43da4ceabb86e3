"""From the source to the forecast: whatever comes after a session, no bit up to that session changes.

The stages are put together as their assets put them together, on the sample's real prices. Everything after a session
is then replaced by garbage, or was never there, and the two flows are held against each other stage by stage, so that
a leak is named by the first stage it shows in. Leaks planted in one function each show that the test can fail.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, cached_property
from typing import Any

import numpy as np
import polars as pl
import pytest

from gnn_assets.backtests.portfolio import portfolio_returns
from gnn_assets.bars import returns as returns_stage
from gnn_assets.bars.quarantine import split
from gnn_assets.bars.revisions import latest, new_revisions
from gnn_assets.bars.schema import MARKET_BARS, UNIVERSE
from gnn_assets.bars.sources import sample
from gnn_assets.bars.universe import read_universe, symbols_of, within_membership
from gnn_assets.core import folds as fold_rules
from gnn_assets.core.config import build_config
from gnn_assets.core.folds import Fold
from gnn_assets.core.hashing import content_hash
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.forecasts import publish
from gnn_assets.forecasts.publish import Served, SessionForecasts, forecast_session
from gnn_assets.graphs import correlation
from gnn_assets.graphs.neighbours import graph_frame
from gnn_assets.graphs.statistics import graph_statistics
from gnn_assets.models import candidate as candidate_stage
from gnn_assets.models import features, runtime
from gnn_assets.models.candidate import Candidate, candidate_folds, predict_out_of_sample, train_candidate
from gnn_assets.models.dataset import Dataset, build_dataset
from gnn_assets.models.variants import fold_part, variants
from gnn_assets.store.panel import to_panel

pytestmark = pytest.mark.slow

CONFIG = build_config(
    "test",
    {
        # A wild price must get past the refusal of jumps, to do its harm further down.
        "bars": {"from_session": "2020-06-01", "max_abs_log_return": 1000.0},
        "graphs": {"window": 40, "min_overlap": 30},
        "models": {
            "features": {"return_windows": [1, 5, 20], "range_window": 20},
            "folds": {"train": 128, "validation": 32, "test": 63},
            "training": {"epochs": 2, "ensemble": 1},
        },
        "forecasts": {"min_calibration_sessions": 20},
    },
)
LAST = date(2022, 12, 28)
CALENDAR = SessionCalendar.build("XNYS", first=date(2019, 12, 2), until=LAST, grace=timedelta(minutes=30))
MODEL = CONFIG.models.candidate
NEWCOMER = "ZZZZ"


@dataclass(frozen=True, eq=False)
class Flow:
    """The platform's stages over one answer of the source and one universe, each made when it is first looked at."""

    fetched: pl.DataFrame
    universe: pl.DataFrame

    @cached_property
    def bars(self) -> pl.DataFrame:
        good, _refused = split(self.fetched, config=CONFIG.bars, calendar=CALENDAR)
        added = new_revisions(
            MARKET_BARS.empty(),
            good,
            source=CONFIG.bars.source,
            basis=sample.BASIS,
            calendar=CALENDAR,
            fetched_at=CALENDAR.available_at(LAST),
            payload_hash="",
            run_id="",
        )
        return latest(added)

    @cached_property
    def returns(self) -> pl.DataFrame:
        every = returns_stage.log_returns(
            self.bars,
            sessions=CALENDAR.between(CONFIG.bars.from_session, LAST),
            symbols=sorted(self.universe["symbol"].unique()),
            fill=CONFIG.execution.fill,
        )
        return within_membership(every, self.universe)

    @property
    def sessions(self) -> tuple[date, ...]:
        return CALENDAR.between(self.returns["session"].min(), self.returns["session"].max())

    @property
    def symbols(self) -> tuple[str, ...]:
        return symbols_of(self.universe, "core")

    @cached_property
    def graphs(self) -> pl.DataFrame:
        neighbours = correlation.correlation_neighbours(
            to_panel(self.returns, "close_return", sessions=self.sessions, symbols=self.symbols),
            window=CONFIG.graphs.window,
            k=CONFIG.graphs.k,
            min_abs_corr=CONFIG.graphs.min_abs_corr,
            min_overlap=CONFIG.graphs.min_overlap,
        )
        return graph_frame(neighbours, self.sessions, self.symbols)

    @cached_property
    def statistics(self) -> pl.DataFrame:
        with_graph = self.sessions[CONFIG.graphs.window - 1 :]
        return graph_statistics(self.graphs, returns=self.returns, sessions=with_graph, symbols=self.symbols)

    @cached_property
    def data(self) -> Dataset:
        return build_dataset(
            self.returns,
            self.graphs,
            sessions=self.sessions,
            symbols=self.symbols,
            features=CONFIG.models.features,
            execution=CONFIG.execution,
            k=CONFIG.graphs.k,
        )

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        return candidate_folds(self.data, config=CONFIG.models, purge=CONFIG.execution.purge)

    @cached_property
    def candidate(self) -> Candidate:
        return train_candidate(
            self.data, folds=self.folds, config=CONFIG.models, purge=CONFIG.execution.purge, progress=lambda *_: None
        )

    @cached_property
    def predictions(self) -> pl.DataFrame:
        return predict_out_of_sample(
            self.candidate.parts.__getitem__,
            self.data,
            folds=self.folds,
            facts=self.candidate.facts,
            config=CONFIG.models,
            version="any",
        )

    @cached_property
    def portfolios(self) -> pl.DataFrame:
        return portfolio_returns(
            self.predictions,
            self.returns,
            sessions=self.sessions,
            symbols=self.predictions["symbol"].unique().sort().to_list(),
            execution=CONFIG.execution,
            config=CONFIG.backtests,
        )

    def forecasts(self, session: date) -> SessionForecasts:
        served = Served(
            version="any",
            model=MODEL,
            verdict="",
            facts={**self.candidate.facts, "data_end": self.sessions[-1].isoformat()},
            load_part=self.candidate.parts.__getitem__,
            predictions=self.predictions.filter(pl.col("model") == MODEL),
        )
        return forecast_session(
            session,
            served=served,
            data=self.data,
            fill_returns_TxN=to_panel(self.returns, "fill_return", sessions=self.sessions, symbols=self.symbols),
            calendar=CALENDAR,
            config=CONFIG,
            status="ok",
        )
