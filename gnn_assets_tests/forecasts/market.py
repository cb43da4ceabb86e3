"""A small market whose forecasts cost nothing to make: random walks, scored by the reversal baseline.

Its bars are whole, so that every group of features is made; `features_count` has the model read them all.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from gnn_assets.bars.fetched import VALUES
from gnn_assets.bars.returns import returns_of
from gnn_assets.bars.revisions import latest, new_revisions
from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS
from gnn_assets.core.config import build_config
from gnn_assets.core.hashing import canonical_json
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets.forecasts.card import make_card
from gnn_assets.forecasts.publish import Market as KnownMarket
from gnn_assets.forecasts.publish import Served, SessionForecasts, forecast_session
from gnn_assets.forecasts.verify import sources_on
from gnn_assets.graphs.correlation import correlation_neighbours
from gnn_assets.graphs.neighbours import graph_arrays, graph_frame
from gnn_assets.models.bars import Bars
from gnn_assets.models.candidate import predict_sessions
from gnn_assets.models.dataset import Dataset, Recipe, build_dataset
from gnn_assets.models.graph import Graph
from gnn_assets.models.zoo import reversal
from gnn_assets.store.panel import from_panel, to_panel
from gnn_assets_tests.bars.market import bars, judged, universe

CONFIG = build_config(
    "test",
    {
        "bars": {"from_session": "2021-06-01"},
        "execution": {"horizon": 2},
        "graphs": {
            "window": 20,
            "min_overlap": 15,
            "k": 3,
            "min_abs_corr": 0.0,
            "factors": {"window": 20, "refresh_weeks": 1, "count": 2, "projected": 1},
        },
        "models": {"features": {"lags": 1, "windows": [2, 5], "short": 3, "long": 6, "history": 3}},
        "forecasts": {"min_calibration_sessions": 20},
    },
)
MODEL = "reversal"
SYMBOLS = ("A", "B", "C", "D", "E", "F")
UNTIL = date(2022, 1, 31)
NOW = datetime(2022, 2, 1, 12, tzinfo=UTC)
# Sessions of each fold's test part.
TEST = 40


@cache
def calendar() -> SessionCalendar:
    return SessionCalendar.build("XNYS", first=date(2021, 1, 4), until=UNTIL, grace=timedelta(minutes=30))


EXCHANGES = Exchanges(primary=calendar(), others={})


@dataclass(frozen=True, eq=False)
class Market:
    """Everything a forecast is made from.

    Args:
        bars: a frame of `MARKET_BARS`.
        universe: a frame of `UNIVERSE`.
        returns: a frame of `RETURNS`.
        data: features and graph.
        served: the reversal baseline, as if the gate had let it pass.
    """

    bars: pl.DataFrame
    universe: pl.DataFrame
    returns: pl.DataFrame
    data: Dataset
    served: Served

    def known(self, session: date) -> KnownMarket:
        axes = {"sessions": self.data.sessions, "symbols": self.data.symbols}
        return KnownMarket(
            data=self.data,
            fill_returns_TxN=to_panel(self.returns, "fill_return", **axes),
            sources=sources_on(session, self.returns),
        )

    def forecast(
        self, session: date, *, served: Served | None = None, status: str = "ok", degraded: bool = False
    ) -> SessionForecasts:
        return forecast_session(
            session,
            served=served or self.served,
            market=self.known(session),
            calendar=calendar(),
            config=CONFIG,
            status=status,
            degraded=degraded,
        )

    def card(self, made: SessionForecasts, **changes: Any) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "nodes": self.data.symbols,
            "model": self.served.model,
            "versions": {"market_bars": "b", "gnn_weights": self.served.version},
            "part": made.part,
            "known_at": NOW.isoformat(),
            "code_version": "code",
            "config": CONFIG.slice("forecasts"),
            "config_hash": "config",
            "threads": 2,
            "calibration": json.loads(canonical_json(asdict(made.calibration))),
        }
        return make_card(made.rows, **{**facts, **changes})


@cache
def sessions() -> tuple[date, ...]:
    return calendar().between(CONFIG.bars.from_session, UNTIL)


def fetched() -> pl.DataFrame:
    """What the source says: six random walks, E without a bar on one session."""
    rng = np.random.default_rng(5)
    moves = rng.normal(scale=0.02, size=(len(sessions()), len(SYMBOLS)))
    closes = 100 * np.exp(moves.cumsum(axis=0))
    every = bars({symbol: closes[:, column] for column, symbol in enumerate(SYMBOLS)}, dates=sessions())
    opened, above, below, traded = (pl.Series(part) for part in np.exp(0.01 * rng.normal(size=(4, every.height))))
    whole = every.with_columns(open=pl.col("close") * opened, volume=(1e6 * traded).round()).with_columns(
        high=pl.max_horizontal("open", "close") * pl.max_horizontal(above, 1 / above),
        low=pl.min_horizontal("open", "close") * pl.min_horizontal(below, 1 / below),
    )
    return whole.filter((pl.col("symbol") != "E") | (pl.col("session") != sessions()[-30]))


def recorded(stored: pl.DataFrame, said: pl.DataFrame, *, at: datetime = NOW) -> pl.DataFrame:
    """The history with what the source says at a moment added to it."""
    (source,) = CONFIG.bars.sources
    added = new_revisions(
        stored,
        judged(said, basis="raw", at=at),
        source=source,
        basis="raw",
        exchanges=EXCHANGES,
        exchange_of={},
        run_id="",
    )
    return pl.concat([stored, added])


def universe_frame() -> pl.DataFrame:
    return universe(dict.fromkeys(SYMBOLS, "XNYS"), since=CONFIG.bars.from_session)


def returns_frame(history: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    """The returns that the bars stage makes of everything known."""
    return returns_of(
        history,
        actions,
        universe=universe_frame(),
        exchanges=EXCHANGES,
        sources=CONFIG.bars.sources,
        sessions=sessions(),
        symbols=SYMBOLS,
        fill=CONFIG.execution.fill,
        config=CONFIG.bars,
    )


def graph_of(returns: pl.DataFrame) -> pl.DataFrame:
    """The graph of every session that has a full window of returns behind it."""
    axis = calendar().between(returns["session"].min(), returns["session"].max())
    graphs = CONFIG.graphs
    neighbours = correlation_neighbours(
        to_panel(returns, "close_return", sessions=axis, symbols=SYMBOLS),
        window=graphs.window,
        k=graphs.k,
        min_abs_corr=graphs.min_abs_corr,
        min_overlap=graphs.min_overlap,
    )
    return graph_frame(neighbours, axis, SYMBOLS)


@cache
def market() -> Market:
    history = recorded(MARKET_BARS.empty(), fetched())
    returns = returns_frame(history, CORPORATE_ACTIONS.empty())
    axis = calendar().between(returns["session"].min(), returns["session"].max())
    axes = {"sessions": axis, "symbols": SYMBOLS}
    close_returns, fill_returns = (to_panel(returns, name, **axes) for name in ("close_return", "fill_return"))
    levels = latest(history)
    data = build_dataset(
        Bars.of(close_returns, {name: to_panel(levels, name, **axes) for name in VALUES}, **axes),
        Graph.of(
            close_returns,
            graph_arrays(graph_of(returns), **axes, k=CONFIG.graphs.k),
            sessions=axis,
            factors=CONFIG.graphs.factors,
        ),
        fill_returns,
        recipe=Recipe.of(CONFIG),
    )
    return Market(bars=history, universe=universe_frame(), returns=returns, data=data, served=_served(data))


def features_count(patch: pytest.MonkeyPatch) -> None:
    """Has every feature, every edge and every direction taken off move every score: all of it must come back."""
    own = reversal.predict

    def predict(arrays, data, *, sessions, config):
        rows = slice(sessions.start, sessions.stop)
        read = (data.features(sessions), data.graph.corr_TxNxK[rows], data.basis(sessions))
        scores = own(arrays, data, sessions=sessions, config=config)
        return scores + sum(values @ np.sqrt(np.arange(1, values.shape[2] + 1, dtype=np.float32)) for values in read)

    patch.setattr(reversal, "predict", predict)


def _served(data: Dataset) -> Served:
    tested = range(len(data.sessions) - 2 * TEST - 5, len(data.sessions))
    scores = predict_sessions(_nothing, data, model=MODEL, part="", sessions=tested, config=CONFIG.models)
    parts = {
        f"{MODEL}/fold_{number:02d}": {
            "test": [str(data.sessions[start]), str(data.sessions[min(start + TEST, len(data.sessions)) - 1])]
        }
        for number, start in enumerate(tested[::TEST])
    }
    return Served(
        version="w1",
        model=MODEL,
        verdict="ITERATE",
        facts={"data_end": str(data.sessions[-1]), "parts": {**parts, f"{MODEL}/refit": {"test": None}}},
        load_part=_nothing,
        predictions=from_panel(scores, "score", sessions=[data.sessions[row] for row in tested], symbols=data.symbols),
    )


def _nothing(part: str) -> dict[str, np.ndarray]:
    raise AssertionError(f"{part}: the reversal baseline has no weights")
