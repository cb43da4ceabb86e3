"""A day on which every price is a hundred times too high, and a challenger that has learned from such a day.

The day must be refused where bars come in, and nothing below it may change; the challenger must be refused by a hard
check of the gate, whatever its other evidence. Once the day's bars are mended, the day must be forecast as any other.
"""

from datetime import date

import polars as pl

from gnn_assets.backtests.schema import BACKTEST_SCORES, PORTFOLIO_RETURNS
from gnn_assets.bars.schema import MARKET_BARS
from gnn_assets.defs.candidates import WEIGHTS
from gnn_assets.defs.drills.bench import ALERTED, DETECTED, RECOVERED, Bench
from gnn_assets.defs.drills.market import market_until
from gnn_assets.defs.tables import stored
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.store.versions import Lineage

_POISON = 100.0
_FLOW = ("market_bars", "returns", "correlation_graphs", "forecasts")
# What the gate has against scores unlike all before them.
_HARD = {"newest_mean", "newest_spread", "newest_outside"}


def run(bench: Bench) -> None:
    """Tells the poisoned day, judges the challenger, tells the true day."""
    before, champion = bench.served(), bench.champion
    folder = bench.folder / "bars"
    market = market_until(bench.platform, bench.clock.now())
    day = market.days[-1]
    market.times(_POISON, on=day).write(folder)
    bench.let_time_pass(market.settings(folder), to=bench.platform.calendar.available_at(day))
    bench.broken(f"every price of {day} is told {_POISON:g} times too high; the daily update runs")

    ran = bench.run(*_FLOW)
    kept = stored(bench.platform, MARKET_BARS, columns=("session",))["session"]
    bench.claim(
        DETECTED,
        "the day is refused at market_bars, by its checks, and no bar of it is stored",
        holds="bad_sessions" in ran.checks and "market_bars" in ran.failures and day not in set(kept),
        seen=f"{ran.checks.get('bad_sessions', 'bad_sessions passed')}\n{ran.failures.get('market_bars', 'published')}",
    )
    bench.claim_alert("run_failed market_bars", "not published")
    bench.claim_served_as(before)
    _judge_challenger(bench)
    bench.claim(
        DETECTED,
        "the champion is the one before",
        holds=bench.champion.version == champion.version,
        seen=bench.champion.version,
    )

    market.write(folder)
    bench.reopen(market.settings(folder))
    ran = bench.run(*_FLOW)
    now = bench.served()
    bench.claim(
        RECOVERED,
        f"with the true bars {day} is forecast by the champion, which never saw the others",
        holds=not ran.failures and now is not None and now.session == day and now.champion == champion.version,
        seen=now.sentence if now and not ran.failures else ran.sentence,
    )
    bench.claim_over("run_failed/market_bars")


def _judge_challenger(bench: Bench) -> None:
    """Puts before the gate the champion's own bundle, but that the newest scores are a hundred times those before."""
    version = _challenger(bench)
    # Judged by the bars it says it was trained on.
    bench.reopen({})
    bench.say("broken", f"a challenger {version[:12]}, whose newest scores are {_POISON:g} times all its others")
    ran = bench.run("champion")
    events = [event for event in bench.platform.ledger.read("events") if event.get("candidate") == version]
    refused = [event for event in events if event["event"] == "refused"]
    failed = set(refused[-1]["failed"]) if refused else set()
    bench.claim(
        DETECTED,
        "the gate refuses the challenger by a hard check",
        holds=bool(failed & _HARD),
        seen=refused[-1]["reason"]
        if refused
        else f"not refused: {[event['event'] for event in events]}; {ran.sentence}",
    )
    heard = bench.look()
    told = [one for one in heard if f"refused {version[:12]}" in one.text]
    bench.claim(
        ALERTED,
        "people are told that it was refused",
        holds=bool(told),
        seen=told[0].text if told else f"arrived: {[one.title for one in heard]}",
    )


def _challenger(bench: Bench) -> str:
    """Stores the challenger and everything that judges it; its version."""
    champion, weights, lake = bench.champion, bench.platform.weights, bench.platform.lake
    parts = {part: weights.load(champion.version, part) for part in weights.parts(champion.version)}
    version = weights.save(parts, {**weights.facts(champion.version), "drill": "poisoned_day"})
    weights.publish(version, lineage=_lineage({"drill": "poisoned_day"}))
    made = {WEIGHTS: version}
    for table in (OOS_PREDICTIONS, PORTFOLIO_RETURNS, BACKTEST_SCORES):
        old = getattr(champion, table.name)
        rows = lake.read(table, version=old).with_columns(version=pl.lit(version))
        if table is OOS_PREDICTIONS:
            rows = rows.with_columns(pl.col("score") / _POISON)
        before = next(one for one in lake.versions(table.name).good() if one.version == old)
        assert before.lineage is not None  # what a champion cites was published by its stage
        inputs = {name: made.get(name, was) for name, was in before.lineage.inputs.items()}
        end = date.fromisoformat(champion.data_end)
        made[table.name] = lake.publish(table, rows, lineage=_lineage(inputs), data_end=end).version
    return version


def _lineage(inputs: dict[str, str]) -> Lineage:
    return Lineage(inputs=inputs, code_version="drill", config_hash="drill")
