"""What a model sees and what it is asked for, as dense arrays over (session, symbol)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64, Int32

from gnn_assets.core.config import ExecutionConfig, FeaturesConfig
from gnn_assets.core.errors import DataError
from gnn_assets.graphs.neighbours import graph_arrays
from gnn_assets.models.features import feature_names, node_features, standardise


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features, graph and labels over T sessions and N symbols.

    Args:
        sessions: the row axis, ascending.
        symbols: the node axis.
        feature_names: the feature axis.
        features_TxNxF: float32, standardised across symbols per session; 0 where masked out.
        mask_TxN: bool, True where a symbol's features are complete.
        labels_TxN: float32, log return from fill to fill over the horizon; NaN where it is not known.
        neighbours_TxNxK: int32, position of each neighbour; -1 where absent.
        corr_TxNxK: float32, correlation with it; 0 where absent.

    Known at:
        Features, mask and graph of row d: the close of session d. Labels of row d: `horizon + fill lag` sessions on.
    """

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    feature_names: tuple[str, ...]
    features_TxNxF: Float32[np.ndarray, "T N F"]
    mask_TxN: Bool[np.ndarray, "T N"]
    labels_TxN: Float32[np.ndarray, "T N"]
    neighbours_TxNxK: Int32[np.ndarray, "T N K"]
    corr_TxNxK: Float32[np.ndarray, "T N K"]

    def without_graph(self) -> "Dataset":
        """The same data with every neighbour absent: the ablation keeps network and parameters, and loses edges."""
        return replace(
            self, neighbours_TxNxK=np.full_like(self.neighbours_TxNxK, -1), corr_TxNxK=np.zeros_like(self.corr_TxNxK)
        )

    def targets(self) -> tuple[Float32[np.ndarray, "T N"], Bool[np.ndarray, "T N"]]:
        """Labels standardised across the symbols of each session, as models are trained on them.

        Returns:
            float32 (T, N), 0 where unknown; bool (T, N), True where features and label are both there.
        """
        known_TxN = self.mask_TxN & np.isfinite(self.labels_TxN)
        return standardise(self.labels_TxN, known_TxN).astype(np.float32), known_TxN

    @property
    def first_index(self) -> int:
        """Row of the first session with complete features, and with an edge if there is any edge at all.

        Raises:
            DataError: if no session has complete features.
        """
        featured = np.flatnonzero(self.mask_TxN.any(axis=1))
        if featured.size == 0:
            raise DataError.of(
                "features",
                expected="at least one session with a full history behind it",
                was=f"none in {len(self.sessions)} sessions",
                do="start the bars earlier, or shorten models.features",
            )
        linked = np.flatnonzero((self.neighbours_TxNxK >= 0).any(axis=(1, 2)))
        return int(max(featured[0], linked[0] if linked.size else 0))


def build_dataset(
    close_return_TxN: Float64[np.ndarray, "T N"],
    fill_return_TxN: Float64[np.ndarray, "T N"],
    graph: pl.DataFrame,
    *,
    sessions: Sequence[date],
    symbols: Sequence[str],
    features: FeaturesConfig,
    execution: ExecutionConfig,
    k: int,
) -> Dataset:
    """Makes the arrays from the stored tables.

    Args:
        close_return_TxN: float64, log returns close to close over both axes; NaN where absent.
        fill_return_TxN: float64, log returns fill to fill over both axes; NaN where absent.
        graph: a frame of `CORRELATION_GRAPHS`.
        sessions: the row axis, ascending, without holes.
        symbols: the node axis.
        features: windows and clip.
        execution: fixes which return is the label.
        k: neighbours a node.

    Raises:
        DataError: if a return is infinite.
    """
    for name, panel_TxN in (("close_return", close_return_TxN), ("fill_return", fill_return_TxN)):
        if np.isinf(panel_TxN).any():
            row, column = np.argwhere(np.isinf(panel_TxN))[0]
            raise DataError.of(
                f"returns.{name}",
                expected="finite values or nulls",
                was=f"an infinite one for {symbols[column]} on {sessions[row]}",
                do="refuse the bar",
            )
    features_TxNxF, mask_TxN = node_features(close_return_TxN, features)
    neighbours_TxNxK, corr_TxNxK = graph_arrays(graph, sessions=sessions, symbols=symbols, k=k)
    return Dataset(
        sessions=tuple(sessions),
        symbols=tuple(symbols),
        feature_names=feature_names(features),
        features_TxNxF=features_TxNxF,
        mask_TxN=mask_TxN,
        labels_TxN=forward_sum(fill_return_TxN, lag=execution.fill_lag, horizon=execution.horizon),
        neighbours_TxNxK=neighbours_TxNxK,
        corr_TxNxK=corr_TxNxK,
    )


def forward_sum(fill_return_TxN: Float64[np.ndarray, "T N"], *, lag: int, horizon: int) -> Float32[np.ndarray, "T N"]:
    """Labels: row d holds the sum of rows d + lag + 1 to d + lag + horizon.

    Args:
        fill_return_TxN: float64 (T, N), log returns fill to fill.
        lag: sessions from signal to fill.
        horizon: sessions from fill to the end of the label.

    Returns:
        float32 (T, N); NaN where any of the rows is missing.

    Known at:
        Row d at the fill of session d + lag + horizon.
    """
    n_sessions = len(fill_return_TxN)
    total_TxN = np.full_like(fill_return_TxN, np.nan)
    reach = lag + horizon
    if reach < n_sessions:
        ahead = [fill_return_TxN[lag + step : n_sessions - horizon + step] for step in range(1, horizon + 1)]
        total_TxN[: n_sessions - reach] = sum(ahead[1:], start=ahead[0].copy())
    return total_TxN.astype(np.float32)
