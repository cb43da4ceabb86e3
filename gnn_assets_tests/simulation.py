"""Simulated markets whose truth is known, to show what a model can and cannot find.

Symbols come in clusters with a common factor, so that correlations show who belongs together. What is new in the
returns of a symbol's cluster moves the symbol one session later, less the share of it that the symbol's own news
foretells: past returns of the symbol itself say nothing, only those of its neighbours do.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from gnn_assets.bars.schema import RETURNS
from gnn_assets.core.config import GraphsConfig
from gnn_assets.graphs.correlation import correlation_neighbours
from gnn_assets.graphs.neighbours import graph_frame
from gnn_assets.store.panel import from_panel


@dataclass(frozen=True, eq=False)
class Market:
    """A simulated market, traded at the close.

    Args:
        sessions: consecutive weekdays.
        symbols: names.
        returns_TxN: float64, log returns close to close.
        oracle_TxN: float64, expected return of the next session given all news of this one.
    """

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    returns_TxN: np.ndarray
    oracle_TxN: np.ndarray

    def returns_frame(self) -> pl.DataFrame:
        """A frame of `RETURNS`; fills are closes."""
        frame = from_panel(self.returns_TxN, "close_return", sessions=self.sessions, symbols=self.symbols)
        return RETURNS.conform(
            frame.with_columns(
                fill_return=pl.col("close_return"), held_return=pl.col("close_return"), source=pl.lit("simulated")
            )
        )

    def graph_frame(self, config: GraphsConfig) -> pl.DataFrame:
        """A frame of `CORRELATION_GRAPHS`, estimated from the returns: the truth is not told."""
        neighbours = correlation_neighbours(
            self.returns_TxN,
            window=config.window,
            k=config.k,
            min_abs_corr=config.min_abs_corr,
            min_overlap=config.min_overlap,
        )
        return graph_frame(neighbours, self.sessions, self.symbols)


def lead_lag_market(
    *,
    seed: int,
    n_sessions: int,
    n_clusters: int = 10,
    cluster_size: int = 6,
    correlation: float = 0.6,
    strength: float = 0.4,
    deviation: float = 0.01,
) -> Market:
    """A market in which neighbours' returns lead a symbol's own by one session.

    With news e of covariance S and M the mean over a symbol's cluster mates, returns are
    r[t + 1] = e[t + 1] + strength * (M - beta) e[t]. Beta is the coefficient of M e on e within a session,
    tr(P M S) / tr(P S) with P = I - 1 1' / N, so a symbol's own returns carry no information on its next one.

    Args:
        seed: of the news.
        n_sessions: length.
        n_clusters: groups of symbols.
        cluster_size: symbols in each.
        correlation: of the news within a cluster.
        strength: of the lead.
        deviation: of the news (log return a session).
    """
    rng = np.random.default_rng(seed)
    n_symbols = n_clusters * cluster_size
    common = np.repeat(rng.standard_normal((n_sessions, n_clusters)), cluster_size, axis=1)
    own = rng.standard_normal((n_sessions, n_symbols))
    news = deviation * (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own)

    same = np.kron(np.eye(n_clusters), np.ones((cluster_size, cluster_size)))
    mates = (same - np.eye(n_symbols)) / (cluster_size - 1)
    covariance = correlation * same + (1 - correlation) * np.eye(n_symbols)
    centring = np.eye(n_symbols) - 1 / n_symbols
    beta = np.trace(centring @ mates @ covariance) / np.trace(centring @ covariance)

    oracle_TxN = strength * (news @ mates.T - beta * news)
    returns_TxN = news.copy()
    returns_TxN[1:] += oracle_TxN[:-1]
    return Market(weekdays(n_sessions), tuple(f"S{number:03d}" for number in range(n_symbols)), returns_TxN, oracle_TxN)


def weekdays(n_sessions: int, *, first: date = date(2010, 1, 4)) -> tuple[date, ...]:
    """Consecutive weekdays from a Monday on."""
    return tuple(first + timedelta(days=number // 5 * 7 + number % 5) for number in range(n_sessions))
