"""What became of an asset and why, as lines for people; needs no Dagster."""

from collections.abc import Iterator, Mapping
from typing import Any

from gnn_assets.core.errors import MissingArtefact
from gnn_assets.defs.candidates import WEIGHTS
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.why import MADE, told_of
from gnn_assets.forecasts.fallback import DEGRADED, RECOVERED

_SHOWN = 8  # digits of versions and runs that people see


def story(platform: Platform, asset: str, *, last: int) -> Iterator[str]:
    """The newest events of an asset, oldest first, and for the weights what is decided now.

    Args:
        platform: the opened platform.
        asset: its name.
        last: most events.

    Raises:
        MissingArtefact: if there is no such asset.
        CorruptArtefact: if the ledger is damaged.
    """
    if asset not in platform.config.ages:
        known = ", ".join(platform.config.ages)
        raise MissingArtefact.of("asset", expected=f"one of {known}", was=repr(asset), do="see gnn-assets status")
    told = told_of(platform, asset, also=(DEGRADED, RECOVERED))
    if not told:
        yield f"{asset} was never made since reasons are kept."
    for event in told[-last:]:
        yield _line(asset, event)
    if asset == WEIGHTS:
        yield from _decided(platform)


def _line(asset: str, event: Mapping[str, Any]) -> str:
    moment = event["recorded_at"][:16].replace("T", " ")
    if event["event"] == MADE:
        verb = "retrained" if asset == WEIGHTS else "made"
        reasons = "; ".join(reason["sentence"] for reason in event["reasons"])
        return (
            f"{verb} {event['session']}: {reasons} (version {event['version'][:_SHOWN]}, run {event['run_id'][:_SHOWN]}, "
            f"{moment} UTC)"
        )
    return f"{event['event'].removeprefix('stage_')} {moment} UTC: {event['reason']}"


def _decided(platform: Platform) -> Iterator[str]:
    entries = platform.ledger.read("decisions")
    if not entries:
        yield "nothing was decided yet: `retrain_decision` was never made."
        return
    newest = entries[-1]
    why = f": {newest['sentence']}" if newest["sentence"] else ""
    because = f", because {newest['cause']}" if newest["cause"] else ""
    yield f"decided {newest['session']}: {newest['action']}{why}{because} ({newest['decided_at'][:16]} UTC)"
