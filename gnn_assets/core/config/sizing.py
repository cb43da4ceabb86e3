"""What becomes of a strategy's weights before they are traded."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gnn_assets.core.config.base import MOST_HALVINGS, Positive
from gnn_assets.core.execution import Count, Section


class ForecastRiskConfig(Section):
    """How volatilities and correlations are forecast from trailing returns."""

    window: Annotated[int, Field(ge=20)]
    half_life: Positive | None
    min_share: Annotated[float, Field(ge=0.1, le=1)]

    @model_validator(mode="after")
    def _oldest_session_counts(self) -> "ForecastRiskConfig":
        if self.half_life is not None and self.window > MOST_HALVINGS * self.half_life:
            raise ValueError(
                f"backtests.sizing.forecast.half_life must be at least backtests.sizing.forecast.window / "
                f"{MOST_HALVINGS} ({self.window / MOST_HALVINGS}), was {self.half_life}"
            )
        return self


class CorrelationConfig(Section):
    """When two names count as one."""

    limit: Annotated[float, Field(gt=0, lt=1)] | None
    way: Literal["leave_out", "share"]


class KellyConfig(Section):
    """How much of the portfolio past outcomes speak for."""

    form: Literal["binary", "moments"] | None
    fraction: Annotated[float, Field(gt=0, le=1)]
    cap: Annotated[float, Field(gt=0, le=1)]
    # A share of wins among fewer is a guess.
    min_outcomes: Annotated[int, Field(ge=10)]


class GapConfig(Section):
    """What is held over long closures of the exchange."""

    days: Count | None
    window: Annotated[int, Field(ge=20)]
    min_gaps: Annotated[int, Field(ge=2)]


class SizingConfig(Section):
    """What becomes of a strategy's weights before they are traded."""

    forecast: ForecastRiskConfig
    # Outside of 1 % to 100 % a year it is a mistaken unit.
    volatility: Annotated[float, Field(ge=0.01, le=1)] | None
    name_cap: Annotated[float, Field(gt=0, le=1)] | None
    sector_cap: Annotated[float, Field(gt=0, le=1)] | None
    correlation: CorrelationConfig
    kelly: KellyConfig
    gap: GapConfig

    @model_validator(mode="after")
    def _sector_holds_a_name(self) -> "SizingConfig":
        if self.name_cap is not None and self.sector_cap is not None and self.sector_cap < self.name_cap:
            raise ValueError(
                f"backtests.sizing.sector_cap must be at least backtests.sizing.name_cap ({self.name_cap}), "
                f"was {self.sector_cap}"
            )
        return self


class PortfoliosConfig(Section):
    """Whether an optimiser shares out among the names that a strategy holds."""

    method: Literal["min_variance", "max_ratio", "hierarchical", "risk_budgeting"] | None
    # Beyond a tenth nobody has forecast anything; a larger number is a mistaken unit.
    information_coefficient: Annotated[float, Field(gt=0, le=0.3)]
