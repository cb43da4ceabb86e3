"""Recomputing a published forecast from its card, from nothing later than its session.

Bars are cut off at the session and at the moment the card was made; returns, graph, features, score, calibration and
interval are then made again by the code that made them, and compared bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from gnn_assets.bars.fetched import VALUES
from gnn_assets.bars.returns import returns_of
from gnn_assets.bars.revisions import chosen, latest
from gnn_assets.core.config import Config
from gnn_assets.core.errors import DataError
from gnn_assets.core.sessions import Exchanges
from gnn_assets.forecasts.card import libraries, rows_hash
from gnn_assets.forecasts.publish import Market, Served, forecast_session
from gnn_assets.graphs.correlation import measured_neighbours
from gnn_assets.graphs.neighbours import graph_arrays, graph_frame
from gnn_assets.models.bars import Bars
from gnn_assets.models.dataset import Recipe, build_dataset
from gnn_assets.models.graph import Graph
from gnn_assets.store.panel import to_panel


@dataclass(frozen=True)
class Verification:
    """What recomputing said.

    Args:
        session: the session verified.
        matches: whether every bit agreed.
        differences: what differs, a phrase each; empty when it matches.
        sentence: the outcome for people.
    """

    session: date
    matches: bool
    differences: tuple[str, ...]
    sentence: str


def recompute(
    card: Mapping[str, Any],
    *,
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    universe: pl.DataFrame,
    served: Served,
    exchanges: Exchanges,
    config: Config,
) -> pl.DataFrame:
    """The session's forecasts again, from bars no later than the session.

    Args:
        card: the card of the forecasts.
        bars: MARKET_BARS rows of the version the card names; later rows and revisions are cut off here.
        actions: CORPORATE_ACTIONS rows; later ones are cut off here.
        universe: UNIVERSE rows of the version the card names.
        served: the weights and predictions the card names.
        exchanges: the exchanges' sessions.
        config: the configuration the card names.

    Returns:
        FORECASTS rows, ``card_id`` empty.
    """
    session = date.fromisoformat(card["session"])
    market = market_at(
        session,
        symbols=card["nodes"],
        known_at=datetime.fromisoformat(card["known_at"]),
        bars=bars,
        actions=actions,
        universe=universe,
        exchanges=exchanges,
        config=config,
    )
    return forecast_session(
        session,
        served=served,
        market=market,
        calendar=exchanges.primary,
        config=config,
        status=card["status"],
        degraded=card["degraded"],
    ).rows


def market_at(
    session: date,
    *,
    symbols: Sequence[str],
    known_at: datetime,
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    universe: pl.DataFrame,
    exchanges: Exchanges,
    config: Config,
) -> Market:
    """What a forecast of a session is made from, made from bars no later than the session.

    Args:
        session: the last session that counts, and the only one that has a graph and is scored.
        symbols: nodes of the graph, in order.
        known_at: moment up to which revisions count.
        bars: MARKET_BARS rows; later rows and revisions are cut off here.
        actions: CORPORATE_ACTIONS rows; later ones are cut off here.
        universe: UNIVERSE rows.
        exchanges: the exchanges' sessions.
        config: bars, execution, graphs and models are used.

    Returns:
        Features, graph, labels, fill returns and sources.

    Known at: the session's close plus grace.

    Raises:
        DataError: if no source of the configuration has a return up to the session.
    """
    calendar = exchanges.primary
    returns = returns_of(
        bars.filter(pl.col("session") <= session),
        actions.filter(pl.col("session") <= session),
        universe=universe,
        exchanges=exchanges,
        sources=config.bars.sources,
        sessions=calendar.between(config.bars.from_session, session),
        symbols=sorted({*symbols, *universe["symbol"]}),
        fill=config.execution.fill,
        config=config.bars,
        known_at=known_at,
    )
    if returns.is_empty():
        raise DataError.of(
            f"market of {session}",
            expected=f"returns by {', '.join(config.bars.sources)}",
            was="none",
            do="ask the sources that it was made by then for their bars, or train anew",
        )
    sessions = calendar.between(returns["session"].min(), session)  # ty: ignore[invalid-argument-type] - a Date column
    graphs = config.graphs
    close_return_TxN, fill_return_TxN = (
        to_panel(returns, name, sessions=sessions, symbols=symbols) for name in ("close_return", "fill_return")
    )
    # No feature reads the neighbours of an earlier session.
    neighbours = measured_neighbours(close_return_TxN, config=graphs, sessions=[len(sessions) - 1])
    levels = chosen(latest(bars.filter(pl.col("session") <= session), known_at=known_at), config.bars.sources)
    data = build_dataset(
        Bars.of(
            close_return_TxN,
            {name: to_panel(levels, name, sessions=sessions, symbols=symbols) for name in VALUES},
            sessions=sessions,
            symbols=symbols,
        ),
        Graph.of(
            close_return_TxN,
            graph_arrays(graph_frame(neighbours, sessions, symbols), sessions=sessions, symbols=symbols, k=graphs.k),
            sessions=sessions,
            factors=graphs.factors,
        ),
        fill_return_TxN,
        recipe=Recipe.of(config),
        newest_only=True,
    )
    return Market(data=data, fill_returns_TxN=fill_return_TxN, sources=sources_on(session, returns))


def sources_on(session: date, returns: pl.DataFrame) -> dict[str, str]:
    """Symbol → whose bars its return on a session is from.

    Args:
        returns: a frame of `RETURNS`.
    """
    return dict(returns.filter(pl.col("session") == session).select("symbol", "source").iter_rows())


def compare(
    card: Mapping[str, Any], again: pl.DataFrame, *, published: pl.DataFrame, code_version: str, threads: int
) -> Verification:
    """Holds recomputed and published rows against the card.

    Args:
        card: the card of the published forecasts.
        again: what `recompute` returned.
        published: the session's stored rows, ``card_id`` emptied.
        code_version: version of the code that recomputed.
        threads: compute threads it ran with.
    """
    session = date.fromisoformat(card["session"])
    here = {"code_version": code_version, "threads": threads, **libraries()}
    there = {"code_version": card["code_version"], "threads": card["threads"], **card["libraries"]}
    differences = tuple(
        f"{name} was {there.get(name)}, is {here[name]}" for name in here if here[name] != there.get(name)
    )
    cause = f" ({'; '.join(differences)})" if differences else ""
    matches = rows_hash(again) == rows_hash(published) == card["rows_hash"]
    if matches:
        sentence = f"{session}: {again.height} forecasts recomputed from their card, every bit equal{cause}"
    elif rows_hash(published) != card["rows_hash"]:
        sentence = f"{session}: the stored forecasts are not those their card was made for"
    else:
        sentence = f"{session}: recomputed forecasts differ from those published{cause or ' with nothing else changed'}"
    return Verification(session=session, matches=matches, differences=differences, sentence=sentence)
