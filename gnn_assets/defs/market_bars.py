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
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, UniverseError
from gnn_assets.defs.asking import Asking, given, open_sources
from gnn_assets.defs.judging import BarsUpdate, judge_answers
from gnn_assets.defs.stage import StageRun
from gnn_assets.defs.status import dead_letters
from gnn_assets.store.files import write_atomic
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
        lake.append(CORPORATE_ACTIONS, artefact.actions, lineage=None, data_end=data_end, run_id=run.run_id)
        write = lake.append if artefact.whole is None else lake.publish
        rows = artefact.added if artefact.whole is None else artefact.whole
        version = write(MARKET_BARS, rows, lineage=lineage, data_end=data_end, run_id=run.run_id).version
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
    saved = _saved_bars(run)
    chain = open_sources(platform)
    before = dead_letters(platform)
    wanted = _wanted(run.request, universe, before)
    asking = Asking(run, chain, universe, damaged=saved is not None)
    # What lies on this machine costs no request: it is read whole each time, so that any change of it shows.
    local = {source.name for source in chain.opened if source_rate(run.config, source.name) is None}
    whole = {(symbol, source) for symbol in wanted or universe["symbol"].unique() for source in local}
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
    write_atomic(platform.source_states_file, seal({"states": chain.states(now=platform.clock.now())}))
    return replace(
        merged,
        failures=failures,
        not_asked={symbol: reason for symbol, reason in before.items() if symbol not in asking.asked_for},
        metadata=asking.metadata(),
        whole=pl.concat([saved, merged.added]) if saved is not None else None,
    )


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


def _saved_bars(run: StageRun) -> pl.DataFrame | None:
    """None while every stored file is whole; else every row that can be saved.

    A damaged file must not stop bars for ever: the newest whole publication is built upon, and what it lacks is asked
    for again. Revisions that only the damaged file held are lost, which is an event.
    """
    lake = run.platform.lake
    try:
        if lake.manifest(MARKET_BARS) is not None:
            lake.read(MARKET_BARS, columns=("symbol",))
    except (CorruptArtefact, MissingArtefact) as error:
        run.platform.ledger.append("events", {"event": "bars_damaged", "asset": run.asset, "reason": str(error)})
        run.log(str(error))
        try:
            return lake.last_good(MARKET_BARS)[1]
        except CorruptArtefact:
            return MARKET_BARS.empty()
    return None
