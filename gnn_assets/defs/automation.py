"""When Dagster materializes an asset by itself: one table, read from the configuration.

Derived assets follow the one form that neither loses nor loops triggers: an upstream data version changed since this
asset was last handled. Equal content keeps its data version, so a rebuild that finds nothing new stops there.
"""

import dagster as dg

from gnn_assets.core.config import Config

AC = dg.AutomationCondition
SENSOR_NAME = "automation"


def upstream_changed() -> dg.AutomationCondition:
    """True from the tick an upstream data version changes until this asset has been handled."""
    return AC.any_deps_match(AC.data_version_changed()).since_last_handled() & ~AC.in_progress()


def deadline_missed(retry_cron: str) -> dg.AutomationCondition:
    """True while a freshness deadline is missed, at most once between two ticks of a cron line.

    Asking only at the moment the deadline is missed would forget one that was missed before the daemon started, and
    one whose rebuild failed; asking without a pause would ask at every evaluation.

    Args:
        retry_cron: when another try is allowed, UTC.
    """
    tried = (AC.newly_requested() | AC.newly_updated()).since(AC.cron_tick_passed(retry_cron))
    return AC.freshness_failed() & ~AC.in_progress() & ~tried


def condition_for(asset: str, *, has_deps: bool, config: Config) -> dg.AutomationCondition | None:
    """The automation condition of an asset.

    What reads the world outside is asked for by the clock, and only where the clock runs: a snapshot never changes.
    That is a root of the flow, which has nothing above it to follow, and `market_bars`, which follows its root too.
    A root read again with equal content keeps its data version, so the wave stops there.

    Args:
        asset: its name.
        has_deps: whether anything is above it; False for a root.
        config: clock, cron lines and age limits.

    Returns:
        The condition; None for a root of a snapshot.
    """
    automation = config.automation
    live = config.clock.kind == "live"
    cron = AC.cron_tick_passed(automation.bars_cron, automation.timezone).since_last_handled()
    if not has_deps:
        return cron if live else None
    condition = upstream_changed()
    if live and asset == "market_bars":
        condition |= cron
    if config.ages[asset].rebuild:
        condition |= deadline_missed(automation.rebuild_cron)
    return condition


def automation_sensor(config: Config) -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates every condition; running from the first start, not by a click."""
    return dg.AutomationConditionSensorDefinition(
        SENSOR_NAME,
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=config.automation.sensor_interval_seconds,
    )
