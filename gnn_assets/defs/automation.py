"""When Dagster materializes an asset by itself: one table, read from the configuration.

Derived assets follow the one form that neither loses nor loops triggers: an upstream data version changed since this
asset was last handled. Equal content keeps its data version, so a rebuild that finds nothing new stops there.

    asset                    made anew when
    a root                   the clock says so, or it was never made (live)
    market_bars              its root changed, or the clock says so (live)
    gnn_weights              `retrain_decision` has a new order
    the challenger's chain   the asset above it on the chain changed: a session alone judges nobody anew
    retrain_decision         anything it looks at changed, or the clock says so (live): ages grow and pauses end by themselves
    every other              anything above it changed, or it was never made
    `ages`: rebuild          ... or its freshness deadline is missed
    correlation_graphs       ... or the newest decision found it older than it may be, though there are newer returns
    all but gnn_weights      ... or its last run failed; a failed training is tried again by the next order
"""

import dagster as dg

from gnn_assets.core.config import Config
from gnn_assets.defs.candidates import WEIGHTS
from gnn_assets.monitoring.orders import RETRAIN_DECISION
from gnn_assets.monitoring.reasons import ANSWERS, CHAIN, Reason

AC = dg.AutomationCondition
SENSOR_NAME = "automation"


def upstream_changed(*only: str) -> dg.AutomationCondition:
    """True from the tick an upstream data version changes until this asset has been handled.

    Args:
        only: the upstream assets that count; all of them by default.
    """
    deps = AC.any_deps_match(AC.data_version_changed())
    if only:
        deps = deps.allow(dg.AssetSelection.assets(*only))
    return deps.since_last_handled() & ~AC.in_progress()


def order_given() -> dg.AutomationCondition:
    """True from the tick there is a new order until the weights have been handled.

    The decision lies below the weights, so it is no dependency of theirs: it is looked at by name. Its data version
    is that of its orders, and changes with nothing else.
    """
    return AC.asset_matches(RETRAIN_DECISION.name, AC.data_version_changed()).since_last_handled() & ~AC.in_progress()


def alarm_raised(reason: Reason) -> dg.AutomationCondition:
    """True while the newest decision raises an alarm that nothing was done about since.

    A decision waits for what is being made below the asset, and its alarm stands until then: each decision asks once.

    Args:
        reason: the alarm; the check of the decision that is named after it.
    """
    check = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(RETRAIN_DECISION.name), str(reason)))
    raised = AC.asset_matches(RETRAIN_DECISION.name, AC.any_checks_match(AC.check_failed()).allow(check))
    decided = AC.asset_matches(RETRAIN_DECISION.name, AC.newly_updated())
    # Each by itself: joined, they forget when they became true, and what followed the decision at once would not count.
    answered = AC.newly_requested().since(decided) | AC.newly_updated().since(decided)
    return raised & ~AC.in_progress() & ~answered


def deadline_missed(retry_cron: str) -> dg.AutomationCondition:
    """True while a freshness deadline is missed, at most once between two ticks of a cron line.

    Asking only at the moment the deadline is missed would forget one that was missed before the daemon started, and
    one whose rebuild failed; asking without a pause would ask at every evaluation.

    Args:
        retry_cron: when another try is allowed, UTC.
    """
    return AC.freshness_failed() & ~AC.in_progress() & ~_tried(retry_cron)


def not_there(retry_cron: str) -> dg.AutomationCondition:
    """True while the asset's last run failed or it was never made though all above it was, once a cron line's tick.

    A change that was handled by a run which failed would otherwise be forgotten until the next one; and a first
    evaluation knows of no change, so a platform that begins would wait for the next one.

    Args:
        retry_cron: when another try is allowed, UTC.
    """
    absent = AC.missing() & ~AC.any_deps_missing()
    return (absent | AC.execution_failed()) & ~AC.in_progress() & ~_tried(retry_cron)


def _tried(retry_cron: str) -> dg.AutomationCondition:
    return (AC.newly_requested() | AC.newly_updated()).since(AC.cron_tick_passed(retry_cron))


def _due() -> dg.AutomationCondition:
    """True while an asset of the daily wave has something newer to be made from, and all of it is there."""
    return AC.any_deps_match(AC.data_version_changed()).since_last_handled() & ~AC.any_deps_missing()


def _above_is_next() -> dg.AutomationCondition:
    """True while something above is being made or about to be: made now, the asset would be made twice.

    What belongs to a challenger is not waited for: a training would hold back the session's forecasts.
    """
    soon = AC.in_progress() | AC.will_be_requested() | _due()
    return AC.any_deps_match(soon).ignore(dg.AssetSelection.assets(WEIGHTS, *CHAIN))


def condition_for(asset: str, *, has_deps: bool, config: Config) -> dg.AutomationCondition | None:
    """The automation condition of an asset: the table above.

    What reads the world outside is asked for by the clock, and only where the clock runs: a snapshot never changes.
    A root read again with equal content keeps its data version, so the wave stops there.

    Args:
        asset: its name.
        has_deps: whether anything is above it; False for a root.
        config: clock, cron lines and age limits.

    Returns:
        The condition; None for a root of a snapshot.
    """
    if asset == WEIGHTS:
        return order_given()
    automation = config.automation
    live = config.clock.kind == "live"
    cron = AC.cron_tick_passed(automation.bars_cron, automation.timezone).since_last_handled()
    if not has_deps:
        return cron | not_there(automation.failed_cron) if live else None
    if asset in CHAIN:
        condition = upstream_changed(CHAIN[asset]) & ~AC.any_deps_missing()
    elif asset == RETRAIN_DECISION.name:
        # The decision works with what is there; all others would only fail, and their change is kept until they can.
        condition = upstream_changed() & ~_above_is_next()
    else:
        condition = upstream_changed() & ~AC.any_deps_missing() & ~_above_is_next()
    condition |= not_there(automation.failed_cron)
    if live and asset == "market_bars":
        condition |= cron
    if live and asset == RETRAIN_DECISION.name:
        condition |= AC.cron_tick_passed(automation.decision_cron).since_last_handled() & ~AC.in_progress()
    if config.ages[asset].rebuild:
        condition |= deadline_missed(automation.rebuild_cron)
    if asset in ANSWERS:
        condition |= alarm_raised(ANSWERS[asset])
    return condition


def automation_sensor(config: Config) -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates every condition; running from the first start, not by a click."""
    return dg.AutomationConditionSensorDefinition(
        SENSOR_NAME,
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=config.automation.sensor_interval_seconds,
    )
