"""How scores become portfolios, measures and a verdict."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gnn_assets.core.config.base import Name
from gnn_assets.core.config.sizing import PortfoliosConfig, SizingConfig
from gnn_assets.core.config.strategies import StrategiesConfig
from gnn_assets.core.execution import Count, ExecutionConfig, NonNegative, Section

# Most sessions from one first session of a week or month to the next one's.
_LONGEST = {"week": 5, "month": 23}


class CombinatorialConfig(Section):
    """How history is cut for combinatorial purged cross-validation."""

    groups: Annotated[int, Field(ge=3)]
    tested: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _something_trains(self) -> "CombinatorialConfig":
        if self.tested >= self.groups:
            raise ValueError(
                f"backtests.combinatorial.tested must be below backtests.combinatorial.groups ({self.groups}), "
                f"was {self.tested}"
            )
        return self


class RegimesConfig(Section):
    """What counts as a calm and as a wild market."""

    volatility_window: Annotated[int, Field(ge=2)]
    history: Annotated[int, Field(ge=2)]


class BrakeConfig(Section):
    """When exposure is cut after losses, and when it comes back."""

    # Below one per cent an ordinary session would set it off.
    drawdown: Annotated[float, Field(ge=0.01, lt=1)] | None
    # Without any exposure what was lost could never be won back, and the brake never be let go.
    exposure: Annotated[float, Field(gt=0, lt=1)]
    restore: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _restored_above_the_cut(self) -> "BrakeConfig":
        if self.drawdown is not None and self.restore >= self.drawdown:
            raise ValueError(
                f"backtests.brake.restore must be below backtests.brake.drawdown ({self.drawdown}), was {self.restore}"
            )
        return self


class BacktestsConfig(Section):
    """How out-of-sample scores become portfolios and intervals."""

    strategy: Name
    held: Count
    hysteresis: NonNegative
    max_weight: Annotated[float, Field(gt=0, le=1)]
    rebalance: Literal["sessions", "week", "month"]
    rebalance_sessions: Count
    brake: BrakeConfig
    sizing: SizingConfig
    portfolios: PortfoliosConfig
    strategies: StrategiesConfig
    sessions_per_year: Count
    bootstrap_block: Count
    bootstrap_resamples: Count
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    power: Annotated[float, Field(gt=0.5, lt=1)]
    seed: Annotated[int, Field(ge=0)]
    min_sessions: Count
    overfitting_blocks: Annotated[int, Field(ge=4, le=20, multiple_of=2)]
    combinatorial: CombinatorialConfig
    regimes: RegimesConfig

    def longest_hold(self, execution: ExecutionConfig) -> int:
        """Sessions from the fill of one rebalance to that of the next, at most, counted from its signal."""
        between = _LONGEST.get(self.rebalance, self.rebalance_sessions)
        return between + execution.fill_lag

    @model_validator(mode="after")
    def _cap_below_the_strategy_s(self) -> "BacktestsConfig":
        if self.sizing.name_cap is not None and self.sizing.name_cap > self.max_weight:
            raise ValueError(
                f"backtests.sizing.name_cap must be at most backtests.max_weight ({self.max_weight}), "
                f"was {self.sizing.name_cap}"
            )
        return self


class VerdictConfig(Section):
    """What a hypothesis must show for each word."""

    scale_sharpe: float
    scale_ratio: Annotated[float, Field(ge=1)]
    probability: Annotated[float, Field(gt=0.5, lt=1)]
    iterate_sharpe: float
    iterate_lead: NonNegative
    ready: Literal["SCALE", "ITERATE"]

    @model_validator(mode="after")
    def _scale_is_harder(self) -> "VerdictConfig":
        if self.scale_sharpe < self.iterate_sharpe:
            raise ValueError(
                f"verdict.scale_sharpe must be at least verdict.iterate_sharpe ({self.iterate_sharpe}), "
                f"was {self.scale_sharpe}"
            )
        return self
