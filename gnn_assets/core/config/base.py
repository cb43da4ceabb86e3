"""What every part of the configuration is made of, and the time it lives by."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gnn_assets.core.execution import NonNegative, Section

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
MOST_HALVINGS = 40  # beyond this a series that moved early in the window alone would count as constant


class ClockConfig(Section):
    """Which clock the platform lives by."""

    kind: Literal["live", "snapshot"]
    session: date | None

    @model_validator(mode="after")
    def _snapshot_needs_session(self) -> "ClockConfig":
        if (self.kind == "snapshot") != (self.session is not None):
            raise ValueError("clock.session must be a date for a snapshot clock and null for a live one")
        return self


class CalendarConfig(Section):
    """The exchange whose sessions count."""

    exchange: str
    others: tuple[str, ...]
    first_session: date
    grace_minutes: NonNegative
