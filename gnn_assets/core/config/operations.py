"""What is promoted and published, and the machine's side of things."""

from typing import Annotated

from pydantic import Field

from gnn_assets.core.config.base import Positive, Share
from gnn_assets.core.execution import Count, NonNegative, Section


class GateConfig(Section):
    """Limits of the promotion gate."""

    non_inferiority_margin: NonNegative
    max_rmse_ratio: Positive
    spread_sigma: Positive
    max_outside_share: Share
    min_symbol_share: Share
    refit_agreement: Annotated[float, Field(ge=-1, lt=1)]
    agreement_sessions: Count
    look_ahead_sessions: Count


class ForecastsConfig(Section):
    """What is published."""

    coverage: Annotated[float, Field(gt=0, lt=1)]
    history_sessions: Annotated[int, Field(ge=0)]
    min_calibration_sessions: Count


class LiveConfig(Section):
    """Over what and against what published forecasts are judged."""

    # One return has no deviation.
    window_sessions: Annotated[int, Field(ge=2)]
    # Below 1 the limit would be under equal weight's own ratio, which it never is.
    sharpe_ratio: Annotated[float, Field(ge=1)]
    coverage_shortfall: Share
    shadows: Annotated[int, Field(ge=0)]
    shadow_sessions: Count
    fills: Annotated[str, Field(pattern=r"\.(csv|parquet)$")] | None


class AgeLimit(Section):
    """One asset's limits: see the comment above `ages` in the defaults file."""

    age_hours: Positive
    deadline_hours: Positive
    rebuild: bool


class RuntimeConfig(Section):
    """The machine's side of things."""

    threads: Count
    lock_timeout_seconds: NonNegative
    keep_versions: Count
    grace_hours: Positive
    retries: Annotated[int, Field(ge=0)]
    retry_delay_seconds: NonNegative
    log_megabytes: Positive
    log_files: Count


class RetrainConfig(Section):
    """When an alarm trains a challenger, and how often at most."""

    pause_sessions: Count
    most_a_session: Count
    attempts: Count
    retry_hours: Positive
    taken_up_hours: Positive
    hysteresis: Share


class LiveDriftConfig(Section):
    """When what the champion sees, says, misses or pays is no longer what it was."""

    window: Annotated[int, Field(ge=2)]
    history_windows: Count
    sessions_per_alarm: Count
    optimism: Annotated[float, Field(ge=1)]
    paths: Count
    path_sessions: Count
    block: Count
    seed: Annotated[int, Field(ge=0)]
    bins: Annotated[int, Field(ge=2)]
    least_change: Positive
    allowance: Positive
    least_cost_bps: Positive


class AutomationConfig(Section):
    """When Dagster looks and asks by itself."""

    bars_cron: str
    timezone: str
    rebuild_cron: str
    decision_cron: str
    failed_cron: str
    sensor_interval_seconds: Count
    follow_attempts: Count
    follow_delay_seconds: NonNegative
    ended_seconds: Count
