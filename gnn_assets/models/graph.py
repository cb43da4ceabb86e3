"""The correlation graph as models see it, and what it is replaced by to tell what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int32

from gnn_assets.core.config import FactorsConfig
from gnn_assets.graphs.factors import (
    Factors,
    factor_loadings,
    projection_bases,
    residual_returns,
    residual_rows,
)
from gnn_assets.graphs.one_thread import one_thread

# As it is; every symbol alone; the same graph with the symbols' places in it exchanged.
GraphKind = Literal["true", "identity", "shuffled"]


@dataclass(frozen=True, eq=False)
class Graph:
    """Neighbours and leading directions over T sessions and N symbols.

    Args:
        sessions: the row axis.
        close_return_TxN: float64, adjusted log returns; NaN where absent.
        neighbours_TxNxK: int32, position of each neighbour; -1 where absent.
        corr_TxNxK: float32, correlation with it; 0 where absent.
        factors: leading directions over the same symbols.

    Known at:
        Row d at the close of session d.
    """

    sessions: tuple[date, ...]
    close_return_TxN: Float64[np.ndarray, "T N"]
    neighbours_TxNxK: Int32[np.ndarray, "T N K"]
    corr_TxNxK: Float32[np.ndarray, "T N K"]
    factors: Factors

    @classmethod
    def of(
        cls,
        close_return_TxN: Float64[np.ndarray, "T N"],
        edges: tuple[Int32[np.ndarray, "T N K"], Float32[np.ndarray, "T N K"]],
        *,
        sessions: Sequence[date],
        factors: FactorsConfig,
    ) -> "Graph":
        """The graph of some returns.

        Args:
            close_return_TxN: float64, adjusted log returns; NaN where absent.
            edges: neighbours and their correlations, as `graph_arrays` gives them.
            sessions: the row axis.
            factors: how leading directions are fitted.
        """
        loadings = factor_loadings(close_return_TxN, sessions=sessions, config=factors)
        return cls(tuple(sessions), close_return_TxN, *edges, loadings)

    def of_kind(self, kind: GraphKind, *, seed: int) -> "Graph":
        """The graph, or what stands in for it in an ablation.

        Args:
            kind: ``true``; ``identity``: nobody has neighbours, and nothing is common to all but the mean;
                ``shuffled``: edges, loadings and betas of another symbol that is in the graph too, so that everything
                about the graph is kept but who is who. One draw puts all symbols in a circle; at each session every
                symbol takes the place of the next one in it, so that places change only where a neighbour in the
                circle comes or goes.
            seed: of the draw.
        """
        if kind == "identity":
            return self._alone()
        return self._shuffled(seed) if kind == "shuffled" else self

    @cached_property
    def residual_TxN(self) -> Float64[np.ndarray, "T N"]:
        """Each session's returns less their regression on the loadings known before; see `residual_returns`."""
        return residual_returns(self.close_return_TxN, self.factors, sessions=self.sessions)

    def residual_label(self, labels_SxN: Float64[np.ndarray, "S N"], rows: range) -> Float64[np.ndarray, "S N"]:
        """Labels of some sessions less their regression on the loadings known at each signal's close.

        Args:
            labels_SxN: float64, NaN where unknown.
            rows: sessions of the signals (S).

        Returns:
            float64 (S, N); NaN where the label is unknown, or nothing is known to regress it on.
        """
        return residual_rows(labels_SxN, self.factors, self._known(rows))

    def basis(self, rows: range, mask_SxN: np.ndarray, *, count: int) -> Float32[np.ndarray, "S N D"]:
        """What is taken off a score: orthonormal columns over the masked-in symbols of each session.

        Args:
            rows: sessions wanted (S).
            mask_SxN: bool, symbols that are scored.
            count: leading directions; the constant and beta come with them.

        Returns:
            float32 (S, N, count + 2); 0 where masked out, and in columns beyond the rank. Where no fit is known yet,
            the constant alone.

        Known at:
            The close of each session.
        """
        basis_SxNxD = np.zeros((*mask_SxN.shape, count + 2), dtype=np.float32)
        known = self._known(rows)
        for at, fit in enumerate(known):
            if fit is None and mask_SxN[at].any():
                basis_SxNxD[at, mask_SxN[at], 0] = mask_SxN[at].sum() ** -0.5
        with one_thread():
            for run, found_NxD in projection_bases(self.factors, known, mask_SxN, count=count):
                basis_SxNxD[run.start : run.stop, :, : found_NxD.shape[1]] = found_NxD
        return basis_SxNxD

    def _known(self, rows: range) -> list[int | None]:
        """The fit known at each session's close."""
        return [self.factors.known_at(self.sessions[row]) for row in rows]

    def _alone(self) -> "Graph":
        factors = self.factors
        lonely = replace(
            factors,
            loadings_RxNxC=np.where(np.isnan(factors.loadings_RxNxC), np.nan, 0.0),
            beta_RxN=np.where(np.isnan(factors.beta_RxN), np.nan, 0.0),
            explained_RxC=np.zeros_like(factors.explained_RxC),
        )
        return replace(
            self,
            neighbours_TxNxK=np.full_like(self.neighbours_TxNxK, -1),
            corr_TxNxK=np.zeros_like(self.corr_TxNxK),
            factors=lonely,
        )

    def _shuffled(self, seed: int) -> "Graph":
        circle_N = np.random.default_rng(seed).permutation(self.neighbours_TxNxK.shape[1])
        neighbours, corr = np.full_like(self.neighbours_TxNxK, -1), np.zeros_like(self.corr_TxNxK)
        for row, present_NxK in enumerate(self.neighbours_TxNxK >= 0):
            place_N = _next_in(circle_N, present_NxK.any(axis=1)).astype(np.int32)
            neighbours[row, place_N] = np.where(present_NxK, place_N[self.neighbours_TxNxK[row]], -1)
            corr[row, place_N] = self.corr_TxNxK[row]
        factors = self.factors
        # Deviations stay with their symbols: how much a symbol moves is no matter of the graph.
        loadings, beta = np.empty_like(factors.loadings_RxNxC), np.empty_like(factors.beta_RxN)
        for fit, deviation_N in enumerate(factors.deviation_RxN):
            place_N = _next_in(circle_N, np.isfinite(deviation_N))
            loadings[fit, place_N], beta[fit, place_N] = factors.loadings_RxNxC[fit], factors.beta_RxN[fit]
        return replace(
            self,
            neighbours_TxNxK=neighbours,
            corr_TxNxK=corr,
            factors=replace(factors, loadings_RxNxC=loadings, beta_RxN=beta),
        )


def _next_in(circle_N: np.ndarray, there_N: np.ndarray) -> np.ndarray:
    """For each symbol that is there the next one in the circle that is; for the others themselves."""
    place_N = np.arange(len(circle_N))
    present = circle_N[there_N[circle_N]]
    place_N[present] = np.roll(present, -1)
    return place_N
