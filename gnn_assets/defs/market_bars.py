"""The asset market_bars: what is missing is asked for, judged, held against what is stored, and appended.

The daily update, a backfill and a retry are this one path; they differ in what they ask for. Each answer is durable
before the next question, so that a killed run asks nothing twice.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from gnn_assets.bars.chain import source_rate
from gnn_assets.bars.restatements import to_refetch
from gnn_assets.bars.schema import BARS_ASKED, CORPORATE_ACTIONS, MARKET_BARS, QUARANTINE, UNIVERSE
from gnn_assets.core.clock import LiveClock
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, UniverseError
from gnn_assets.defs.asking import Asking, answered, given, open_sources
from gnn_assets.defs.judging import BarsUpdate, judge_answers
from gnn_assets.defs.stage import StageRun
from gnn_assets.defs.status import dead_letters
from gnn_assets.defs.tables import stored
from gnn_assets.store.files import write_atomic
from gnn_assets.store.lake import Lake
from gnn_assets.store.schema import Table
from gnn_assets.store.sealed import seal
from gnn_assets.store.versions import Lineage


class BarsRequest(dg.Config):
    """What an update asks for; everything that is missing by default."""

    symbols: list[str] = Field(default=[], description="Symbols of the universe; all of them when empty.")
    failed_only: bool = Field(default=False, description="Only symbols whose bars failed last time.")
    first: str = Field(default="", description="First session wanted (YYYY-MM-DD); bars.from_session when empty.")
    last: str = Field(default="", description="Last session wanted (YYYY-MM-DD); the newest when empty.")
    accept_revisions: bool = Field(
        default=False, description="Store corrected history even where the `revisions` check refuses it."
    )


@dataclass(frozen=True)
class BarsShelf:
    """Appends revisions; the history is never rewritten."""

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """Nothing: only a source can say whether it has something new."""
        del run, lineage

    def load(self, run: StageRun, version: str) -> Any:
        """Not reached: nothing is reused."""
        raise AssertionError(run.asset, version)

    def publish(self, run: StageRun, artefact: BarsUpdate, *, lineage: Lineage, data_end: date | None) -> str:
        """Appends what is new, then the bars, which make all of it count; then the landed answers may go."""
        lake = run.platform.lake
        lake.upsert(QUARANTINE, artefact.refused, run_id=run.run_id)
        told = {"data_end": data_end, "run_id": run.run_id}
        if artefact.whole is None:
            lake.append(CORPORATE_ACTIONS, artefact.actions, lineage=None, **told)
            version = lake.append(MARKET_BARS, artefact.added, lineage=lineage, **told).version
        else:
            bars, actions = artefact.whole
            lake.publish(CORPORATE_ACTIONS, actions, lineage=None, **told)
            version = lake.publish(MARKET_BARS, bars, lineage=lineage, **told).version
        lake.publish(BARS_ASKED, artefact.asked, lineage=None, data_end=data_end, run_id=run.run_id)
        run.platform.landing.clear(*artefact.landed)
        return version


def update(run: StageRun) -> BarsUpdate:
    """What each source said about each session, every revision kept, and the moment it was known.

    Append-only: a bar that a vendor changes later becomes a new revision, known from the moment it was fetched.
    Nothing is filled, repaired or invented; refused rows go to quarantine with the rule they broke. The first source
    of the chain that answers for a symbol serves it; a symbol that no source serves keeps its last good bars.
    """
    platform = run.platform
    universe = run.read(UNIVERSE)
    saved = _saved(run)
    chain = open_sources(platform)
    before = dead_letters(platform)
    wanted = _wanted(run.request, universe, before)
    asking = Asking(run, chain, universe, damaged=saved is not None)
    # What lies on this machine costs no request: it is read whole each time, so that any change of it shows.
    local = {source.name for source in chain.opened if source_rate(run.config, source.name) is None}
    # Who asks for a symbol again wants its history mended, not only its newest days.
    mended = {source.name for source in chain.opened} if _is_retry(run.request) else set()
    symbols = universe["symbol"].unique().to_list() if wanted is None else wanted
    whole = {(symbol, source) for symbol in symbols for source in local | mended}
    landed = asking.ask(wanted, refetch=whole)
    merged = judge_answers(run, universe, saved, landed)
    failures = dict(asking.failures)
    # What lies before the overlap may have changed too: a source moves all earlier prices at a split, for one.
    moved = to_refetch(merged.kinds) - whole
    if moved:
        again = asking.ask(sorted({symbol for symbol, _ in moved}), refetch=moved)
        lost = moved - given([answer for answer in again if answer not in landed])
        failures |= {
            symbol: f"{source}: its whole history has changed and was not given again" for symbol, source in lost
        }
        merged = judge_answers(run, universe, saved, again, without=lost)
    # A pause runs by the machine's clock, whatever the market's says.
    write_atomic(platform.source_states_file, seal({"states": chain.states(now=LiveClock().now())}))
    return replace(
        merged,
        failures=failures,
        not_asked={
            symbol: reason
            for symbol, reason in before.items()
            if symbol not in asking.asked_for and symbol not in set(answered(landed)["symbol"])
        },
        metadata=asking.metadata(),
        whole=None if saved is None else (pl.concat([saved[0], merged.added]), pl.concat([saved[1], merged.actions])),
    )


def _is_retry(request: BarsRequest) -> bool:
    return request.failed_only or (bool(request.symbols) and not request.first)


def _wanted(request: BarsRequest, universe: pl.DataFrame, failed: Collection[str]) -> list[str] | None:
    """The symbols a request names; None for all.

    Raises:
        UniverseError: if it names one that is not in the universe.
    """
    known = set(universe["symbol"])
    strangers = [symbol for symbol in request.symbols if symbol not in known]
    if strangers:
        raise UniverseError.of(
            "symbols", expected="symbols of the universe", was=strangers[0], do="add it to the universe file"
        )
    if request.failed_only:
        return [symbol for symbol in failed if symbol in known]
    return list(request.symbols) or None


def _saved(run: StageRun) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """None while bars and actions are whole; else every row of both that can be saved.

    A damaged file must not stop bars for ever: the newest whole publication is built upon, and everything is asked for
    again. Revisions that only the damaged file held are lost, which is an event.
    """
    lake, damaged = run.platform.lake, False
    for table in (MARKET_BARS, CORPORATE_ACTIONS, BARS_ASKED):
        try:
            stored(run.platform, table, columns=table.key[:1])
        except (CorruptArtefact, MissingArtefact) as error:
            damaged = True
            run.platform.ledger.append("events", {"event": "bars_damaged", "asset": run.asset, "reason": str(error)})
            run.log(str(error))
    return (_last_good(lake, MARKET_BARS), _last_good(lake, CORPORATE_ACTIONS)) if damaged else None


def _last_good(lake: Lake, table: Table) -> pl.DataFrame:
    try:
        return lake.last_good(table)[1]
    except (CorruptArtefact, MissingArtefact):
        return table.empty()
