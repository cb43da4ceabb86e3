"""Why an asset is being made, found out when its run begins; kept in the run's tags, the metadata and the ledger.

A run that somebody started says `manual`. A run that the platform started by itself says what has changed since the
asset was last made, or which alarm it answers; a training names the order it takes up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gnn_assets.core.errors import CorruptArtefact
from gnn_assets.defs.candidates import WEIGHTS
from gnn_assets.defs.resources import Platform
from gnn_assets.monitoring.decide import State, Training
from gnn_assets.monitoring.orders import memory_of, open_order
from gnn_assets.monitoring.reasons import ANSWERS, CHAIN, Reason, Signal
from gnn_assets.store.versions import Lineage, Publication

# What Dagster tags a run with that nobody asked for by hand.
_BY_ITSELF = ("dagster/from_automation_condition", "dagster/sensor_name", "dagster/schedule_name")
# Who runs a run again from the UI takes its tags along; what Dagster runs again by itself is numbered.
_AGAIN, _AGAIN_BY_ITSELF = "dagster/parent_run_id", "dagster/retry_number"
REASON_TAG, VALUE_TAG, LIMIT_TAG, WHY_TAG = (f"gnn_assets/{name}" for name in ("reason", "value", "limit", "why"))
MADE, _TAKEN, _ANSWERED = "made", "order_taken", "order_answered"
_FATES = (MADE, "stage_refused", "stage_failed")
# A run that follows the platform's own going back says what that was for.
_GONE_BACK = (Reason.BAD_OUTPUT, Reason.CHAMPION_BEATEN)
_SHOWN = 8  # digits of a version that people see


@dataclass(frozen=True)
class Why:
    """One reason.

    Args:
        reason: of the closed list.
        sentence: with what was found, such as "graph_drift 3.4 > 2.1".
        value: what was found.
        limit: what it was held against; empty where nothing was.
    """

    reason: Reason
    sentence: str
    value: str = ""
    limit: str = ""

    @classmethod
    def of(cls, signal: Signal) -> "Why":
        """The reason a measured alarm is."""
        return cls(signal.reason, signal.sentence, f"{signal.value:.4g}", f"{signal.limit:.4g}")


def made_by_itself(tags: Mapping[str, str]) -> bool:
    """Whether a run was started by automation or a sensor, and not by a person."""
    if tags.get("reason") == Reason.MANUAL or (_AGAIN in tags and _AGAIN_BY_ITSELF not in tags):
        return False
    return any(name in tags for name in _BY_ITSELF)


def why_made(asset: str, platform: Platform, lineage: Lineage, *, by_itself: bool, told: str = "") -> tuple[Why, ...]:
    """Why an asset is being made now; never empty.

    Args:
        asset: its name.
        platform: the opened platform.
        lineage: what it is being made from.
        by_itself: whether the platform started the run.
        told: the reason that the run was started with, if any.

    Raises:
        CorruptArtefact: if the ledger is damaged.
    """
    if by_itself and told in _GONE_BACK:
        return (Why(Reason(told), platform.champion.moves()[-1].champion.reason),)
    if not by_itself:
        return (Why(Reason.MANUAL, "manual: somebody asked for it"),)
    if asset == WEIGHTS:
        return _ordered(platform)
    return _alarmed(asset, platform) or _changed(asset, platform, lineage, _last(platform, asset))


def sentence_of(reasons: Sequence[Why]) -> str:
    """All of them, as people read it."""
    return "; ".join(why.sentence for why in reasons)


def tags_of(asset: str, reasons: Sequence[Why]) -> dict[str, str]:
    """The tags of a run that makes an asset: the newest asset's reason, value and limit, and each asset's own words."""
    return {
        REASON_TAG: ",".join(dict.fromkeys(why.reason for why in reasons)),
        VALUE_TAG: ",".join(why.value for why in reasons),
        LIMIT_TAG: ",".join(why.limit for why in reasons),
        f"{WHY_TAG}/{asset}": sentence_of(reasons),
    }


def tell_made(platform: Platform, asset: str, version: str, reasons: Sequence[Why], *, run_id: str) -> None:
    """Enters that an asset was made, and why; not again what is the newest that became of it already.

    Told whenever a run ends well, so that a run which was killed before it could tell is made good by the next one.
    """
    told = told_of(platform, asset)
    if told and (told[-1]["event"], told[-1].get("version")) == (MADE, version):
        return
    platform.ledger.append(
        "events",
        {
            "event": MADE,
            "asset": asset,
            "version": version,
            "session": platform.last_session.isoformat(),
            "reasons": [
                {"reason": why.reason, "sentence": why.sentence, "value": why.value, "limit": why.limit}
                for why in reasons
            ],
            "run_id": run_id,
        },
    )


def take_order(platform: Platform, reasons: Sequence[Why], *, run_id: str) -> None:
    """Enters which run trains the challenger that was ordered; a run by hand takes no order up."""
    order = open_order(platform.ledger.read("decisions"))
    if order is not None and reasons[0].reason is not Reason.MANUAL:
        platform.ledger.append(
            "events",
            {
                "event": _TAKEN,
                "asset": WEIGHTS,
                "order": order.number,
                "attempt": order.attempt,
                "run_id": run_id,
            },
        )


def answer_order(platform: Platform, version: str, *, run_id: str) -> None:
    """Enters that the challenger which was ordered is trained, whoever asked for the run."""
    training = memory_of(platform.ledger.read("decisions")).training
    if training is None or fate_of(platform, training, ended=lambda _: False) == "trained":
        return
    platform.ledger.append(
        "events",
        {
            "event": _ANSWERED,
            "asset": WEIGHTS,
            "order": training.number,
            "attempt": training.attempt,
            "version": version,
            "run_id": run_id,
        },
    )


def fate_of(platform: Platform, training: Training, *, ended: Callable[[str], bool]) -> State:
    """What has become of the challenger that was ordered last.

    An order that a run has taken up has failed if the run is over without an answer: cut off, refused, or in error. One
    that no run takes up has failed after `retrain.taken_up_hours`: automation may have lost it, and is asked again.

    Args:
        platform: the opened platform.
        training: the order.
        ended: whether a run, by its id, is over.
    """
    told = [event for event in platform.ledger.read("events") if event.get("order") == training.number]
    if any(event["event"] == _ANSWERED for event in told):
        return "trained"
    if training.state != "asked":
        return training.state
    taken = [event for event in told if event["event"] == _TAKEN and event["attempt"] == training.attempt]
    if taken:
        return "failed" if ended(taken[-1]["run_id"]) else "asked"
    waits = timedelta(hours=platform.config.retrain.taken_up_hours)
    return "failed" if platform.clock.now() >= training.asked_at + waits else "asked"


def told_of(platform: Platform, asset: str, *, also: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Every event of the ledger that says what became of an asset, oldest first: made and why, refused, failed.

    Args:
        platform: the opened platform.
        asset: its name.
        also: further events that are wanted.
    """
    kinds = {*_FATES, *also}
    return [
        event for event in platform.ledger.read("events") if event.get("asset") == asset and event["event"] in kinds
    ]


def _ordered(platform: Platform) -> tuple[Why, ...]:
    order = open_order(platform.ledger.read("decisions"))
    if order is None:
        return (Why(Reason.RETRY, "retry: a run that was cut off is run again"),)
    again = (
        ()
        if order.attempt == 1
        else (Why(Reason.RETRY, f"retry {order.attempt} of {platform.config.retrain.attempts}"),)
    )
    return (*again, *(Why.of(signal) for signal in order.signals))


def _alarmed(asset: str, platform: Platform) -> tuple[Why, ...]:
    """The alarm of the newest decision that making the asset answers."""
    if asset not in ANSWERS:
        return ()
    try:
        episode = memory_of(platform.ledger.read("decisions")).episodes.get(ANSWERS[asset])
    except CorruptArtefact:
        return ()  # what is damaged there must not stop what only wants to say why
    return (Why.of(episode.signal),) if episode else ()


def _changed(asset: str, platform: Platform, lineage: Lineage, before: Publication | None) -> tuple[Why, ...]:
    """What is not as it was when the asset was last made."""
    if before is None or before.lineage is None:
        told = "made for the first time" if before is None else "moved without the gate, and shown since"
        return (Why(Reason.UPSTREAM_CHANGED, f"upstream_changed: {told}"),)
    found = []
    then, now = before.lineage, lineage
    made_at = platform.calendar.last_complete(before.published_at)
    # A session alone asks for nobody on the challenger's chain.
    if made_at < platform.last_session and asset not in CHAIN:
        text = f"new_session {platform.last_session}: last made for {made_at}"
        found.append(Why(Reason.NEW_SESSION, text, str(platform.last_session), str(made_at)))
    if then.code_version != now.code_version:
        found.append(_moved(Reason.CODE_CHANGED, "code", then.code_version, now.code_version))
    if then.config_hash != now.config_hash:
        found.append(_moved(Reason.CONFIG_CHANGED, "configuration", then.config_hash, now.config_hash))
    found += [
        _moved(Reason.UPSTREAM_CHANGED, name, then.inputs.get(name, "none"), version)
        for name, version in now.inputs.items()
        if name != "session" and then.inputs.get(name) != version
    ]
    return tuple(found) or (Why(Reason.DEADLINE, "deadline: looked at by the clock, nothing it depends on changed"),)


def _moved(reason: Reason, what: str, then: str, now: str) -> Why:
    return Why(reason, f"{reason}: {what} {then[:_SHOWN]} → {now[:_SHOWN]}", now[:_SHOWN], then[:_SHOWN])


def _last(platform: Platform, asset: str) -> Publication | None:
    """What was last made of an asset; None before the first, and where it is damaged and made again."""
    try:
        return platform.versions(asset).current()
    except CorruptArtefact:
        return None
