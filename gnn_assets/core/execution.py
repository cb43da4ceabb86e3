"""When a signal is filled, what its label is and what trading costs: one setting behind backtest, label and purge.

It stands apart from the other settings because it computes: what it says is part of every result's code version.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A frozen group of settings that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ExecutionConfig(Section):
    """The one setting behind fill, label, purge and engine, and the one set of costs."""

    fill: Literal["open_next", "close_next", "close_same"]
    horizon: Count
    commission_bps: NonNegative
    half_spread_bps: NonNegative
    slippage_bps: NonNegative

    @property
    def fill_lag(self) -> int:
        """Sessions from the signal's close to the fill."""
        return 0 if self.fill == "close_same" else 1

    @property
    def purge(self) -> int:
        """Sessions until a label is known: horizon + fill lag."""
        return self.horizon + self.fill_lag

    @property
    def cost_per_side(self) -> float:
        """Cost of trading one unit of value, as a share of it."""
        return (self.commission_bps + self.half_spread_bps + self.slippage_bps) * 1e-4
