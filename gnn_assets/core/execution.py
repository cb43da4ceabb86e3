"""When a signal is filled, what its label is and what trading costs: one setting behind backtest, label and purge.

It stands apart from the other settings because it computes: what it says is part of every result's code version.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
# Of a tenth of what is traded, or more, no market takes a side; a larger number is a mistaken unit.
BasisPoints = Annotated[float, Field(ge=0, le=1000)]


class Section(BaseModel):
    """A frozen group of settings that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DelistingConfig(Section):
    """What becomes of a held name that has no bars any more."""

    sessions: Count
    # Never above 0: a takeover's price is the last one traded, and a short position must not gain from silence.
    simple_return: Annotated[float, Field(ge=-1, le=0)]


class ExecutionConfig(Section):
    """The one setting behind fill, label, purge and engine, and the one set of costs."""

    fill: Literal["open_next", "close_next", "close_same"]
    horizon: Count
    commission_bps: BasisPoints
    half_spread_bps: BasisPoints
    slippage_bps: BasisPoints
    # Currency; a smaller one is no portfolio, and a larger one no market holds.
    capital: Annotated[float, Field(ge=1, le=1e13)]
    impact: Annotated[float, Field(ge=0, le=10)]
    max_participation: Annotated[float, Field(gt=0, le=1)]
    liquidity_sessions: Annotated[int, Field(ge=2)]
    borrow_bps_a_year: Annotated[float, Field(ge=0, le=100_000)]
    financing_bps_a_year: Annotated[float, Field(ge=0, le=100_000)]
    delisting: DelistingConfig
    # Beyond that no broker lends on shares.
    leverage: Annotated[float, Field(gt=0, le=4)]

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
        """Cost of trading one unit of value in a market that does not move for it, as a share of the value."""
        return (self.commission_bps + self.half_spread_bps + self.slippage_bps) * 1e-4
