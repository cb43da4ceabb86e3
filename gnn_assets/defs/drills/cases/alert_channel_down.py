"""The first channel of the alerts' route refuses every connection, then the second one does too.

What is wrong meanwhile: the clock runs ahead, so that the forecasts count as stale. The alert must arrive by the second
channel; what no channel takes must stay as a dead letter, and arrive once it is sent again.
"""

from gnn_assets.core.clock import ReplayClock
from gnn_assets.defs.alert_commands import send_again
from gnn_assets.defs.alerting import outbox_now
from gnn_assets.defs.drills.bench import ALERTED, CHANNEL, DETECTED, RECOVERED, Bench
from gnn_assets.defs.drills.listener import Listener

_SECOND = "second"
_SESSIONS = 3  # that the clock runs ahead


def run(bench: Bench) -> None:
    """Closes one channel, then both; opens one; each time something is to be told."""
    first, second = bench.channels[CHANNEL], bench.channels.setdefault(_SECOND, Listener())
    bench.reopen({})
    before, right = bench.served(), bench.clock.now()
    first.close()
    calendar = bench.platform.calendar
    ahead = calendar.available_at(calendar.offset(bench.platform.last_session, _SESSIONS))
    bench.clock.advance_to(ahead)
    bench.broken(f"nobody listens at the first channel; the clock runs ahead to {ahead:%Y-%m-%d %H:%M} UTC")

    bench.look()
    told = [one for one in second.heard if "stale forecasts" in one.text]
    failures = [reason for (_, name), (_, _, reason) in outbox_now(bench.platform).failures.items() if name == CHANNEL]
    bench.claim(
        DETECTED,
        "the first channel's failure is entered in the ledger",
        holds=bool(failures),
        seen=f"{CHANNEL}: {failures[0]}" if failures else "nothing",
    )
    bench.claim(
        ALERTED,
        "the alert arrives by the second channel",
        holds=bool(told) and not first.heard,
        seen=told[0].text if told else "nothing arrived",
    )
    bench.claim_served_as(before)

    second.close()
    bench.say("broken", "nobody listens at the second channel either; the clock is put right")
    bench.clock = ReplayClock(right)
    bench.reopen({})
    bench.look()
    letters = bench.dead_letters()
    resolved = [title for title in letters if title.startswith("[resolved]")]
    bench.claim(ALERTED, "what nobody takes is a dead letter", holds=bool(resolved), seen=", ".join(letters) or "none")

    first.open()
    lines = list(send_again(bench.platform))
    arrived = [one for one in first.heard if one.title in resolved]
    bench.claim(
        RECOVERED,
        "with the first channel back, the dead letter arrives as it is sent again",
        holds=bool(arrived) and not bench.dead_letters(),
        seen="\n".join([*lines, *(one.text for one in arrived)]),
    )
