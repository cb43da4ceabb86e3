"""The vendor takes every connection and never answers.

Its circuit must open after a few tries, nothing may be stored or invented, and people must be told: of the circuit and
the missing bars at once, of stale forecasts as the clock moves on. Once the vendor answers, all must be made up for.
"""

from datetime import datetime, timedelta
from time import sleep
from zoneinfo import ZoneInfo

from gnn_assets.bars.schema import MARKET_BARS, UNIVERSE
from gnn_assets.defs.drills.bench import DETECTED, RECOVERED, SERVED, Bench, Ran
from gnn_assets.defs.drills.market import market_until
from gnn_assets.defs.drills.vendor import Vendor, write_universe
from gnn_assets.defs.status import source_states, stale_sentence
from gnn_assets.defs.tables import stored

_SOURCE = "massive"
_FLOW = ("market_bars", "returns", "correlation_graphs", "forecasts")
# Seconds: a drill has less patience with a vendor than a home.
_PATIENCE, _PAUSE = 0.3, 1.0


def run(bench: Bench) -> None:
    """Stalls the vendor, lets a session and then a day go by, lets it answer."""
    calendar = bench.platform.calendar
    limit = timedelta(hours=bench.platform.config.ages["forecasts"].age_hours)
    early = market_until(bench.platform, bench.clock.now())
    close = calendar.available_at(early.days[-1])
    late = close + limit + timedelta(hours=1)
    market = market_until(bench.platform, late)
    vendor = Vendor(market, zone=ZoneInfo(calendar.timezone))
    try:
        _stall(bench, vendor, moments=(close, late))
    finally:
        vendor.stop()


def _stall(bench: Bench, vendor: Vendor, *, moments: tuple[datetime, datetime]) -> None:
    close, late = moments
    before, bars = bench.served(), bench.platform.versions(MARKET_BARS.name).current()
    file = bench.folder / "universe.yaml"
    write_universe(stored(bench.platform, UNIVERSE), file)
    changes = {
        "universe": {"file": str(file)},
        "bars": {"sources": [_SOURCE]},
        "sources": {
            _SOURCE: {"base_url": vendor.address, "timeout_seconds": _PATIENCE, "requests": 1000, "per_seconds": 1}
        },
        "failover": {"pause_seconds": _PAUSE, "max_pause_seconds": _PAUSE, "wait_initial_seconds": 0.1},
    }
    bench.let_time_pass(changes, to=close)
    bench.run(UNIVERSE.name)
    bench.look()
    bench.broken(
        f"the only source is a vendor that takes connections and never answers; it is {close:%Y-%m-%d %H:%M} UTC"
    )

    ran = bench.run(*_FLOW)
    state = source_states(bench.platform).get(_SOURCE, {})
    bench.claim(
        DETECTED,
        "the circuit opens, and the vendor is left alone",
        holds=state.get("state") == "open" and vendor.asked < len(set(vendor.market.bars["symbol"])),
        seen=f"circuit {state.get('state', 'unknown')} ({state.get('why', '')}) after {vendor.asked} requests",
    )
    now = bench.platform.versions(MARKET_BARS.name).current()
    bench.claim(
        DETECTED,
        "the bars are refused, the last good ones stay",
        holds="symbols_complete failed" in ran.failures.get("market_bars", "") and now == bars,
        seen=ran.failures.get("market_bars", "market_bars was published"),
    )
    bench.claim_alert("source_open massive", "run_failed market_bars")
    bench.claim_served_as(before)

    bench.let_time_pass(changes, to=late)
    bench.say("broken", f"still no answer; the clock moves on to {late:%Y-%m-%d %H:%M} UTC")
    bench.claim_alert("stale forecasts")
    told = stale_sentence(bench.platform, "forecasts")
    seen = f"expected {told}" if told else "nobody is told"
    bench.claim(SERVED, "whoever reads them is told that they are stale", holds=bool(told), seen=seen)

    vendor.well.set()
    bench.say(RECOVERED, "the vendor answers")
    ran = _again(bench)
    now = bench.served()
    newest = bench.platform.last_session
    bench.claim(
        RECOVERED,
        f"bars up to {newest} are stored and forecast from",
        holds=now is not None and now.session == newest and not ran.failures,
        seen=now.sentence if now and not ran.failures else ran.sentence,
    )
    bench.claim_over("run_failed/market_bars")


def _again(bench: Bench) -> Ran:
    """Runs once the circuit may be tried again."""
    sleep(_PAUSE)
    return bench.run(*_FLOW)
