"""Correlation graphs, the factors behind them and their drift."""

from typing import Annotated

from pydantic import Field, model_validator

from gnn_assets.core.config.base import MOST_HALVINGS, Name, Positive, Share
from gnn_assets.core.execution import Count, Section

_MOST_SESSIONS = 32767  # of a window, and of neighbours: what 16 bits hold


class ExponentialConfig(Section):
    """The exponentially weighted correlation."""

    half_life: Positive


class LeadLagConfig(Section):
    """The lead-lag correlation."""

    lag: Annotated[int, Field(ge=1, le=_MOST_SESSIONS)]


class DriftConfig(Section):
    """When a correlation graph is farther from its reference than chance explains."""

    reference_windows: Count
    symbols: Annotated[int, Field(ge=2)]
    sessions_per_alarm: Count
    quiet_sessions: Count
    history_windows: Count
    paths: Count
    path_sessions: Count
    block: Count
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _history_holds_both_graphs(self) -> "DriftConfig":
        if self.history_windows <= self.reference_windows:
            raise ValueError(
                "graphs.drift.history_windows must be above graphs.drift.reference_windows "
                f"({self.reference_windows}), was {self.history_windows}"
            )
        return self


class FactorsConfig(Section):
    """The leading directions in which symbols move together."""

    window: Annotated[int, Field(ge=2)]
    refresh_weeks: Count
    min_share: Annotated[float, Field(gt=0, le=1)]
    clip: Positive
    count: Count
    max_share: Annotated[float, Field(gt=0, lt=1)]
    projected: Count

    @model_validator(mode="after")
    def _projected_fits(self) -> "FactorsConfig":
        if self.projected > self.count:
            raise ValueError(
                f"graphs.factors.projected must be at most graphs.factors.count ({self.count}), was {self.projected}"
            )
        return self

    @property
    def lookback(self) -> int:
        """Sessions, the last included, whose returns give the loadings known before the last one."""
        return self.window + 7 * self.refresh_weeks


class TemporalConfig(Section):
    """Edges through time."""

    lags: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _lags_ascend(self) -> "TemporalConfig":
        if list(self.lags) != sorted(set(self.lags)):
            raise ValueError(f"graphs.temporal.lags must ascend, was {list(self.lags)}")
        return self


class GraphsConfig(Section):
    """How correlation graphs are made and checked."""

    measure: Name
    signed: bool
    window: Annotated[int, Field(ge=2, le=_MOST_SESSIONS)]
    k: Annotated[int, Field(ge=1, le=_MOST_SESSIONS)]
    min_abs_corr: Share
    min_overlap: Annotated[int, Field(ge=2)]
    exponential: ExponentialConfig
    lead_lag: LeadLagConfig
    factors: FactorsConfig
    temporal: TemporalConfig
    max_density_change: Share
    history_sessions: Count
    min_history_sessions: Count
    max_churn_excess: Share
    max_churn_deviations: Positive
    drift: DriftConfig

    @model_validator(mode="after")
    def _oldest_session_counts(self) -> "GraphsConfig":
        if self.window > MOST_HALVINGS * self.exponential.half_life:
            raise ValueError(
                f"graphs.exponential.half_life must be at least graphs.window / {MOST_HALVINGS} "
                f"({self.window / MOST_HALVINGS}), was {self.exponential.half_life}"
            )
        return self

    @model_validator(mode="after")
    def _overlap_fits(self) -> "GraphsConfig":
        if self.min_overlap > self.window:
            raise ValueError(
                f"graphs.min_overlap must be at most graphs.window ({self.window}), was {self.min_overlap}"
            )
        return self
