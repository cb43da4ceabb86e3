"""One section a strategy that has settings of its own."""

from typing import Annotated

from pydantic import Field, model_validator

from gnn_assets.core.config.base import Positive
from gnn_assets.core.config.models import ReversalConfig
from gnn_assets.core.execution import Count, Section


class LongShortConfig(Section):
    """The best names against the worst."""

    exposure: Positive


class MomentumConfig(Section):
    """The past year's winners, its last month left out."""

    window: Count
    skip: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _something_is_left(self) -> "MomentumConfig":
        if self.skip >= self.window:
            raise ValueError(
                "backtests.strategies.momentum.skip must be below backtests.strategies.momentum.window "
                f"({self.window}), was {self.skip}"
            )
        return self


class EmaCrossConfig(Section):
    """Two exponential averages of the price."""

    fast: Annotated[int, Field(ge=2)]
    slow: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _fast_is_faster(self) -> "EmaCrossConfig":
        if self.fast >= self.slow:
            raise ValueError(
                "backtests.strategies.ema_cross.fast must be below backtests.strategies.ema_cross.slow "
                f"({self.slow}), was {self.fast}"
            )
        return self


class RsiConfig(Section):
    """The relative strength index."""

    window: Annotated[int, Field(ge=2)]
    low: Annotated[float, Field(gt=0, lt=100)]
    high: Annotated[float, Field(gt=0, lt=100)]

    @model_validator(mode="after")
    def _bought_below_sold(self) -> "RsiConfig":
        if self.low >= self.high:
            raise ValueError(
                f"backtests.strategies.rsi.low must be below backtests.strategies.rsi.high ({self.high}), was {self.low}"
            )
        return self


class BollingerConfig(Section):
    """Bands about the mean price."""

    window: Annotated[int, Field(ge=2)]
    deviations: Positive


class IchimokuConfig(Section):
    """The cloud."""

    conversion: Annotated[int, Field(ge=2)]
    base: Annotated[int, Field(ge=2)]
    span: Annotated[int, Field(ge=2)]


class VwapConfig(Section):
    """The volume-weighted average price."""

    window: Annotated[int, Field(ge=2)]


class StrategiesConfig(Section):
    """One section a strategy that has settings of its own."""

    long_short: LongShortConfig
    momentum: MomentumConfig
    reversal: ReversalConfig
    ema_cross: EmaCrossConfig
    rsi: RsiConfig
    bollinger: BollingerConfig
    ichimoku: IchimokuConfig
    vwap: VwapConfig
