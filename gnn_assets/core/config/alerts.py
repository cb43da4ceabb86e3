"""What people are told of, how often at most, and by which channel."""

from typing import Annotated

from pydantic import Field, model_validator

from gnn_assets.core.config.base import Name, Positive, Share
from gnn_assets.core.execution import Count, NonNegative, Section


class RoutesConfig(Section):
    """Which channels a message goes by: the first, and each next one where those before it are dead."""

    critical: tuple[Name, ...]
    warning: tuple[Name, ...]
    info: tuple[Name, ...]


class AlertsConfig(Section):
    """Alerts, their channels, and the heartbeat by which silence is noticed."""

    routes: RoutesConfig
    private_hosts: tuple[str, ...]
    look_seconds: Count
    group_seconds: NonNegative
    quiet_minutes: NonNegative
    most_an_hour: Count
    subjects: Count
    attempts: Count
    last_attempts: Count
    pause_seconds: NonNegative
    timeout_seconds: Positive
    sending_seconds: Positive
    heartbeat_seconds: Positive
    silence_seconds: Positive
    daily_loss: Annotated[float, Field(gt=0, lt=1)]
    training_success: Share
    trainings: Count
    least_trainings: Count

    @model_validator(mode="after")
    def _silence_is_longer_than_a_look_and_its_sending(self) -> "AlertsConfig":
        beat = self.look_seconds + self.sending_seconds + self.timeout_seconds
        if self.silence_seconds <= beat:
            raise ValueError(
                f"alerts.silence_seconds must be above {beat:g}, the longest time between two heartbeats of a platform "
                f"that is well (look_seconds + sending_seconds + timeout_seconds), was {self.silence_seconds:g}"
            )
        return self
