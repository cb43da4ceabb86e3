"""What a model sees and what it is asked for, as dense arrays over (session, symbol)."""

from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64

from gnn_assets.core.config import Config, ExecutionConfig, FeaturesConfig, TargetsConfig
from gnn_assets.core.errors import DataError
from gnn_assets.models.bars import Bars, require_finite
from gnn_assets.models.features.build import graph_features, own_features
from gnn_assets.models.features.standardise import standardise
from gnn_assets.models.features.trailing import trailing_deviation
from gnn_assets.models.graph import Graph, GraphKind

# The label as it is; less its regression on the loadings known at the signal; that over the symbol's own volatility.
Target = Literal["label", "residual", "scaled"]


@dataclass(frozen=True)
class Recipe:
    """The settings a dataset is made by; `of` takes them from the configuration.

    Args:
        features: groups, windows, scaling.
        targets: how labels are cut.
        projected: leading directions taken off a score.
        execution: fixes fill, horizon and purge.
    """

    features: FeaturesConfig
    targets: TargetsConfig
    projected: int
    execution: ExecutionConfig

    @classmethod
    def of(cls, config: Config) -> "Recipe":
        """The settings of a configuration."""
        models = config.models
        return cls(models.features, models.targets, config.graphs.factors.projected, config.execution)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features, graph and labels over T sessions and N symbols.

    Args:
        bars: what features are made from.
        graph: neighbours and leading directions.
        recipe: the settings.
        own: name → float32 (T, N), features that do not read the graph; standardised across symbols per session, 0
            where the value is absent or the symbol masked out.
        linked: the same for features that read the graph.
        mask_TxN: bool, True where a symbol is scored.
        labels_TxN: float32, log return from fill to fill over the horizon; NaN where it is not known.

    Known at:
        Features, mask and graph of row d: the close of session d. Labels of row d: `horizon + fill lag` sessions on.
    """

    bars: Bars
    graph: Graph
    recipe: Recipe
    own: dict[str, Float32[np.ndarray, "T N"]]
    linked: dict[str, Float32[np.ndarray, "T N"]]
    mask_TxN: Bool[np.ndarray, "T N"]
    labels_TxN: Float32[np.ndarray, "T N"]

    @property
    def sessions(self) -> tuple[date, ...]:
        """The row axis."""
        return self.bars.sessions

    @property
    def symbols(self) -> tuple[str, ...]:
        """The node axis."""
        return self.bars.symbols

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The feature axis."""
        return (*self.own, *self.linked)

    def column(self, name: str) -> Float32[np.ndarray, "T N"]:
        """One feature; float32 (T, N).

        Raises:
            KeyError: if there is no such feature.
        """
        return self.own[name] if name in self.own else self.linked[name]

    def features(self, rows: range) -> Float32[np.ndarray, "S N F"]:
        """All features of some sessions; float32 (S, N, F)."""
        part = slice(rows.start, rows.stop)
        features_SxNxF = np.empty((len(rows), len(self.symbols), len(self.feature_names)), dtype=np.float32)
        for place, name in enumerate(self.feature_names):
            features_SxNxF[:, :, place] = self.column(name)[part]
        return features_SxNxF

    def basis(self, rows: range) -> Float32[np.ndarray, "S N D"]:
        """What is taken off the scores of some sessions; see `Graph.basis`."""
        return self.graph.basis(rows, self.mask_TxN[rows.start : rows.stop], count=self.recipe.projected)

    def project_off(self, scores_SxN: Float32[np.ndarray, "S N"], rows: range) -> Float32[np.ndarray, "S N"]:
        """Scores less what lies along `basis`, session by session; NaN stays NaN and counts as 0."""
        basis_SxNxD = self.basis(rows)
        filled = np.nan_to_num(scores_SxN).astype(np.float32)
        projected = np.empty_like(filled)
        for at, basis_NxD in enumerate(basis_SxNxD):
            # Where the directions span all there is, what rounding leaves would become a score once it is standardised.
            left = np.isfinite(scores_SxN[at]).sum() > np.count_nonzero(basis_NxD.any(axis=0))
            # OpenBLAS reads past a product of five columns: it drops what that gave, but not the flag that it raised.
            with np.errstate(invalid="ignore"):
                projected[at] = filled[at] - basis_NxD @ (basis_NxD.T @ filled[at]) if left else 0.0
        return np.where(np.isfinite(scores_SxN), projected, np.float32(np.nan))

    def seen(self, kind: GraphKind, *, seed: int) -> "Dataset":
        """The same data with another graph: whatever is made of the graph is made anew."""
        if kind == "true":
            return self
        graph = self.graph.of_kind(kind, seed=seed)
        linked = graph_features(self.bars, graph, own=self.own, mask_TxN=self.mask_TxN, config=self.recipe.features)
        return replace(self, graph=graph, linked=linked)

    def targets(self, target: Target, rows: range) -> tuple[Float32[np.ndarray, "S N"], Bool[np.ndarray, "S N"]]:
        """What models are trained on: standardised across the symbols of each session.

        Args:
            target: ``label``; ``residual``: the label less its regression on the loadings known at the signal, cut
                at `targets.clip` times the root of the horizon; ``scaled``: the residual over the deviation of the
                symbol's own residual returns, cut at `targets.clip_scaled`.
            rows: sessions wanted (S).

        Returns:
            float32 (S, N), 0 where unknown; bool (S, N), True where the symbol is masked in and its label known.
        """
        part = slice(rows.start, rows.stop)
        values, settings = self.labels_TxN[part].astype(np.float64), self.recipe.targets
        known = self.mask_TxN[part] & np.isfinite(values)
        if target != "label":
            root = np.sqrt(self.recipe.execution.horizon)
            values = np.where(known, self._residual_TxN[part], 0.0)
            known &= np.isfinite(values)
            if target == "scaled":
                own = self.graph.residual_TxN
                deviation = trailing_deviation(own, settings.window, min_share=settings.min_share)[part]
                known &= np.isfinite(deviation) & (deviation > 0)
                cut = settings.clip_scaled
                values = np.clip(values / np.where(known, root * deviation, 1.0), -cut, cut)
            else:
                values = np.clip(values, -settings.clip * root, settings.clip * root)
        return standardise(values, known).astype(np.float32), known

    @cached_property
    def _residual_TxN(self) -> Float64[np.ndarray, "T N"]:
        """Labels less their regression: folds overlap, and every model of a blend asks again for each target."""
        return self.graph.residual_label(self.labels_TxN.astype(np.float64), range(len(self.sessions)))

    @property
    def first_index(self) -> int:
        """Row of the first session with features, and with an edge if there is any edge at all.

        Raises:
            DataError: if no session has features.
        """
        warm = self.recipe.features.lookback - 1
        featured = np.flatnonzero(self.mask_TxN.any(axis=1))
        if featured.size == 0 or len(self.sessions) <= warm:
            raise DataError.of(
                "features",
                expected=f"at least one session with {warm + 1} sessions of history",
                was=f"none in {len(self.sessions)} sessions",
                do="start the bars earlier, or shorten models.features",
            )
        linked = np.flatnonzero((self.graph.neighbours_TxNxK >= 0).any(axis=(1, 2)))
        return int(max(featured[0], warm, linked[0] if linked.size else 0))


def build_dataset(
    bars: Bars,
    graph: Graph,
    fill_return_TxN: Float64[np.ndarray, "T N"],
    *,
    recipe: Recipe,
    newest_only: bool = False,
) -> Dataset:
    """Makes the arrays.

    Args:
        bars: over T sessions and N symbols.
        graph: over the same.
        fill_return_TxN: float64, log returns fill to fill over both axes; NaN where absent.
        recipe: the settings.
        newest_only: nobody is scored before the last session: its features are the same, and the others', most of the
            work, are not set against each other.

    Raises:
        DataError: if a return is infinite.
        PluginError: if a group of features is not known.
    """
    require_finite(fill_return_TxN, "fill_return", sessions=bars.sessions, symbols=bars.symbols)
    mask_TxN = scored(bars.close_return_TxN, history=recipe.features.history, min_share=recipe.features.min_share)
    if newest_only:
        mask_TxN[:-1] = False
    own = own_features(bars, graph, mask_TxN=mask_TxN, config=recipe.features)
    linked = graph_features(bars, graph, own=own, mask_TxN=mask_TxN, config=recipe.features)
    execution = recipe.execution
    return Dataset(
        bars=bars,
        graph=graph,
        recipe=recipe,
        own=own,
        linked=linked,
        mask_TxN=mask_TxN,
        labels_TxN=forward_sum(fill_return_TxN, lag=execution.fill_lag, horizon=execution.horizon),
    )


def scored(close_return_TxN: Float64[np.ndarray, "T N"], *, history: int, min_share: float) -> Bool[np.ndarray, "T N"]:
    """Which symbols are scored: those with a return on the session, and on enough of the last ones.

    Args:
        close_return_TxN: float64, NaN where absent.
        history: trailing sessions looked at, the session's own included.
        min_share: least share of them with a return.

    Known at:
        Row d at the close of session d.
    """
    there = np.isfinite(close_return_TxN)
    total = np.cumsum(np.concatenate([np.zeros((1, there.shape[1]), dtype=int), there]), axis=0)
    count = total[1:].copy()
    count[history:] -= total[1:-history]
    return there & (count >= min_share * history)


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
