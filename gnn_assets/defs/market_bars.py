"""The asset market_bars: what is missing is asked for, judged, held against what is stored, and appended.

The daily update, a backfill and a retry are this one path; they differ in what they ask for. Each answer is durable
before the next question, so that a killed run asks nothing twice.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from gnn_assets.bars.actions import latest_actions, new_actions
from gnn_assets.bars.bad_sessions import PREFIX as BAD_SESSION
from gnn_assets.bars.bad_sessions import judge_sessions
from gnn_assets.bars.chain import Chain, open_chain, source_plugin, source_rate
from gnn_assets.bars.checks import bars_checks
from gnn_assets.bars.failover import Answered, gather
from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS
from gnn_assets.bars.findings import symbol_findings
from gnn_assets.bars.plan import merge_asked, needs
from gnn_assets.bars.restatements import classify, restatement_check, to_refetch, touched_sessions
from gnn_assets.bars.revisions import latest, new_revisions
from gnn_assets.bars.rules import judge_rows
from gnn_assets.bars.schema import BARS_ASKED, CORPORATE_ACTIONS, MARKET_BARS, QUARANTINE, UNIVERSE
from gnn_assets.bars.status import coverage_failures, failure_reasons, held_back
from gnn_assets.bars.venues import exchange_of
from gnn_assets.core.errors import ConfigError, CorruptArtefact, Malformed, MissingArtefact, UniverseError
from gnn_assets.core.hashing import json_hash
from gnn_assets.defs.plots import lines, table
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Report, StageRun
from gnn_assets.defs.status import dead_letters, source_states
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.store.files import write_atomic
from gnn_assets.store.landing import Landed
from gnn_assets.store.schema import MOMENT, Table
from gnn_assets.store.sealed import seal
from gnn_assets.store.versions import Lineage

# A symbol's bar before those told lies no further back than this, unless it has a gap that the rules judge anyway.
_BEFORE = timedelta(days=31)
# Rows shown of a table for people; all of them are in the lake.
_TABLE_ROWS = 50


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
class BarsUpdate:
    """What one update adds.

    Args:
        added: MARKET_BARS rows to append.
        actions: CORPORATE_ACTIONS rows to append.
        refused: rows for quarantine.
        asked: the whole of BARS_ASKED afterwards.
        failures: symbol → why no source gave its bars.
        kinds: what kind of revision each revised symbol had.
        landed: answers that are in here and need not be kept apart once this is published.
        not_asked: symbol → why it failed before, where it was not asked for again.
        metadata: how the asking went.
        intact: whether every stored file was whole; if not, the table is written anew instead of appended to.
        whole: where it was not, every row that could be saved.
    """

    added: pl.DataFrame
    actions: pl.DataFrame
    refused: pl.DataFrame
    asked: pl.DataFrame
    failures: Mapping[str, str]
    kinds: pl.DataFrame
    landed: Sequence[Landed]
    not_asked: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    whole: pl.DataFrame | None = None


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


def stored(platform: Platform, table: Table, **selection: Any) -> pl.DataFrame:
    """Rows of a table, or none if it was never published."""
    try:
        return platform.lake.read(table, **selection)
    except MissingArtefact:
        return table.empty().select(selection.get("columns", list(table.columns)))


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
    asking = _Asking(run, chain, universe, damaged=saved is not None)
    # What lies on this machine costs no request: it is read whole each time, so that any change of it shows.
    local = {source.name for source in chain.opened if source_rate(run.config, source.name) is None}
    whole = {(symbol, source) for symbol in wanted or universe["symbol"].unique() for source in local}
    landed = asking.ask(wanted, refetch=whole)
    merged = _merged(run, universe, saved, landed)
    failures = dict(asking.failures)
    # What lies before the overlap may have changed too: a source moves all earlier prices at a split, for one.
    moved = to_refetch(merged.kinds) - whole
    if moved:
        again = asking.ask(sorted({symbol for symbol, _ in moved}), refetch=moved)
        lost = moved - _given([answer for answer in again if answer not in landed])
        failures |= {
            symbol: f"{source}: its whole history has changed and was not given again" for symbol, source in lost
        }
        merged = _merged(run, universe, saved, again, without=lost)
    write_atomic(platform.source_states_file, seal({"states": chain.states(now=platform.clock.now())}))
    return replace(
        merged,
        failures=failures,
        not_asked={symbol: reason for symbol, reason in before.items() if symbol not in asking.asked_for},
        metadata=asking.metadata(),
        whole=pl.concat([saved, merged.added]) if saved is not None else None,
    )


class _Asking:
    """Asks the chain for what is missing, and keeps each answer as it comes."""

    def __init__(
        self,
        run: StageRun,
        chain: Chain,
        universe: pl.DataFrame,
        *,
        damaged: bool,
    ) -> None:
        self._run, self._chain, self._universe, self._damaged = run, chain, universe, damaged
        self.asked_for: set[str] = set()
        self.failures: dict[str, str] = {}
        self._served: dict[str, str] = {}
        self._requests: dict[str, int] = {}

    def ask(self, symbols: Sequence[str] | None, *, refetch: Collection[tuple[str, str]]) -> list[Landed]:
        """Asks for what is missing of some symbols (None: all), and for whole histories where `refetch` says so.

        Returns:
            Every answer that is not in the lake yet, those of a run that was killed included.
        """
        platform, request, config = self._run.platform, self._run.request, self._run.config
        # What a damaged file lost must be asked for again, all of it.
        asked = BARS_ASKED.empty() if self._damaged else stored(platform, BARS_ASKED)
        gaps = needs(
            self._universe,
            asked,
            landed=_answered(platform.landing.landed(), late=False).select(list(BARS_ASKED.columns)),
            sources=[source.name for source in self._chain.opened],
            exchanges=platform.exchanges,
            first=_day(request.first, "first") or config.bars.from_session,
            last=_day(request.last, "last"),
            now=platform.clock.now(),
            overlap=config.bars.overlap_sessions,
            symbols=symbols,
            refetch=refetch,
        )
        self.asked_for |= {need.symbol for need in gaps}
        self._run.progress(0.05, f"asking {', '.join(self._names())} for {len(gaps)} symbols")
        gathered = gather(
            gaps,
            chain=self._chain.opened,
            now=platform.clock.now,
            on_answer=self._land,
            on_refusal=self._refuse,
            # The first twentieth of the bar is for opening, the last quarter for judging and storing.
            progress=lambda done, of, text: self._run.progress(0.05 + 0.7 * done / max(of, 1), text),
        )
        self.failures |= gathered.failures
        self._served |= gathered.served
        for name, count in gathered.requests.items():
            self._requests[name] = self._requests.get(name, 0) + count
        return platform.landing.landed()

    def metadata(self) -> dict[str, Any]:
        """How the asking went, for people."""
        chain = self._chain
        simulated = [name for name in self._names() if source_plugin(name).SIMULATED]
        return {
            "source": "; ".join(source_plugin(name).NAME_FOR_PEOPLE for name in self._names()),
            "terms": "; ".join(source_plugin(name).TERMS for name in self._names()),
            **({"simulated": "SIMULATED BARS: no market, no result"} if simulated else {}),
            "passed_over": "; ".join(chain.passed_over.values()) or "none",
            "sources": table(
                pl.DataFrame(
                    [
                        {
                            "source": source.name,
                            "circuit": source.breaker.state,
                            "symbols_served": sum(by == source.name for by in self._served.values()),
                            "requests": self._requests.get(source.name, 0),
                        }
                        for source in chain.opened
                    ]
                ),
                digits=0,
            ),
        }

    def _names(self) -> list[str]:
        return [source.name for source in self._chain.opened]

    def _land(self, answer: Answered) -> None:
        ask, fetched = answer.ask, answer.fetched
        answered = [symbol for symbol in ask.symbols if symbol not in fetched.failures]
        present = set(fetched.bars.filter(pl.col("session") == ask.last)["symbol"])
        facts = {
            "source": answer.source,
            "basis": answer.basis,
            "symbols": answered,
            # Without a bar of the last session, which may still come.
            "late": [symbol for symbol in answered if symbol not in present],
            "first": ask.first.isoformat(),
            "last": ask.last.isoformat(),
            "fetched_at": answer.fetched_at.isoformat(),
            "payload_hash": fetched.payload_hash,
        }
        frames = {"bars": fetched.bars, "actions": fetched.actions}
        self._run.platform.landing.land(json_hash([facts, list(ask.symbols)]), frames, facts)

    def _refuse(self, source: str, error: Malformed) -> None:
        platform = self._run.platform
        kept = platform.refusals.keep(source, error.payload, str(error))
        platform.ledger.append(
            "events", {"event": "answer_refused", "source": source, "reason": str(error), "payload": kept}
        )


def _merged(
    run: StageRun,
    universe: pl.DataFrame,
    saved: pl.DataFrame | None,
    landed: Sequence[Landed],
    *,
    without: Collection[tuple[str, str]] = (),
) -> BarsUpdate:
    """What the landed answers add to what is stored, judged source by source.

    Args:
        run: the materialization.
        universe: a frame of `UNIVERSE`.
        saved: what could be saved of damaged bars; None if they are whole.
        landed: the answers.
        without: symbols and sources whose answers do not count.
    """
    platform = run.platform
    venue = exchange_of(universe)
    common = {"exchanges": platform.exchanges, "exchange_of": venue, "run_id": run.run_id}
    known_actions = stored(platform, CORPORATE_ACTIONS)
    added, actions, refused = [], [], []
    kinds = [classify(MARKET_BARS.empty(), MARKET_BARS.empty(), told=MARKET_BARS.empty())]
    asked = _answered(landed).filter(~_pairs_in(without))
    for source, answers in _by_source(landed).items():
        left_out = [symbol for symbol, by in without if by == source]
        told, told_actions = (
            _newest_told(platform, answers, name, key=key).filter(~pl.col("symbol").is_in(left_out))
            for name, key in (("bars", ("symbol", "session")), ("actions", ("symbol", "session", "kind")))
        )
        if told.is_empty():
            continue
        basis = str(answers[-1].facts["basis"])
        # Some sessions more, so that the first row told is held against the one before it.
        first: date = told["session"].min()  # ty: ignore[invalid-assignment] - a Date column
        first -= _BEFORE
        history = stored(platform, MARKET_BARS, first=first) if saved is None else saved
        history = history.filter(pl.col("source") == source)
        run.progress(0.8, f"judging {told.height} bars of {source}")
        judged = judge_sessions(
            judge_rows(
                told,
                source=source,
                basis=basis,
                actions=told_actions.select(list(ACTION_COLUMNS)),
                before=latest(history).select(list(FETCHED_COLUMNS)),
                exchange_of=venue,
                exchanges=platform.exchanges,
                now=platform.clock.now(),
                config=run.config.bars.rules,
            ),
            source=source,
            config=run.config.bars.rules,
        )
        new = new_revisions(history, judged.good, source=source, basis=basis, **common)
        new_acts, impossible = new_actions(
            known_actions, told_actions, asked.filter(pl.col("source") == source), history, source=source, **common
        )
        added.append(new)
        actions.append(new_acts)
        refused += [judged.refused, _as_quarantined(impossible, source)]
        kinds.append(classify(latest(history), new, told=judged.good.select("symbol", "session")))
    return BarsUpdate(
        added=pl.concat([MARKET_BARS.empty(), *added]),
        actions=pl.concat([CORPORATE_ACTIONS.empty(), *actions]),
        refused=pl.concat([QUARANTINE.empty(), *refused]).unique(QUARANTINE.key, keep="last", maintain_order=True),
        asked=merge_asked(stored(platform, BARS_ASKED) if saved is None else BARS_ASKED.empty(), asked),
        failures={},
        kinds=pl.concat(kinds),
        landed=landed,
    )


def _by_source(landed: Sequence[Landed]) -> dict[str, list[Landed]]:
    """Answers of each source, the oldest first; of two from one moment of a clock that stands still, the fuller last."""
    by_source: dict[str, list[Landed]] = {}
    for answer in sorted(landed, key=lambda one: (one.facts["fetched_at"], one.rows["bars"])):
        by_source.setdefault(str(answer.facts["source"]), []).append(answer)
    return by_source


def _newest_told(platform: Platform, answers: Sequence[Landed], name: str, *, key: Sequence[str]) -> pl.DataFrame:
    """One frame of every answer, with the answer's moment and hash; of a key told twice the newest answer's rows."""
    frames = [
        platform.landing.frames(answer, name).with_columns(
            fetched_at=pl.lit(datetime.fromisoformat(answer.facts["fetched_at"]), dtype=MOMENT),
            payload_hash=pl.lit(answer.facts["payload_hash"]),
            place=pl.lit(place, dtype=pl.Int32),
        )
        for place, answer in enumerate(answers)
    ]
    rows = pl.concat(frames)
    if len(frames) > 1:
        rows = rows.filter(pl.col("place") == pl.col("place").max().over(key))
    return rows.drop("place")


def _answered(landed: Sequence[Landed], *, late: bool = True) -> pl.DataFrame:
    """What answers were given for: ``symbol``, ``source``, ``first``, ``last``, ``fetched_at``, ``payload_hash``.

    Args:
        landed: the answers.
        late: whether symbols count whose bar of the last session was not among them.
    """
    rows = [
        {
            "symbol": symbol,
            "source": answer.facts["source"],
            "first": date.fromisoformat(answer.facts["first"]),
            "last": date.fromisoformat(answer.facts["last"]),
            "fetched_at": datetime.fromisoformat(answer.facts["fetched_at"]),
            "payload_hash": answer.facts["payload_hash"],
        }
        for answer in landed
        for symbol in answer.facts["symbols"]
        if late or symbol not in answer.facts["late"]
    ]
    return pl.DataFrame(rows, schema={**BARS_ASKED.columns, "payload_hash": pl.String})


def _given(answers: Sequence[Landed]) -> set[tuple[str, str]]:
    """Symbols and sources that answers were given for."""
    return {(symbol, str(answer.facts["source"])) for answer in answers for symbol in answer.facts["symbols"]}


def _pairs_in(pairs: Collection[tuple[str, str]]) -> pl.Expr:
    """Whether a row's symbol and source are one of the pairs."""
    return pl.any_horizontal(
        pl.lit(False), *((pl.col("symbol") == symbol) & (pl.col("source") == source) for symbol, source in pairs)
    )


def _as_quarantined(actions: pl.DataFrame, source: str) -> pl.DataFrame:
    """Refused corporate actions as rows of QUARANTINE; their value stands where a price would, as the close."""
    shown = actions.select(
        "symbol",
        "session",
        "rule",
        source=pl.lit(source),
        open=pl.lit(None, dtype=pl.Float64),
        high=pl.lit(None, dtype=pl.Float64),
        low=pl.lit(None, dtype=pl.Float64),
        close="value",
        volume=pl.lit(None, dtype=pl.Float64),
    )
    return shown.drop_nulls(["symbol", "session"]).select(*QUARANTINE.columns)


def open_sources(platform: Platform) -> Chain:
    """The chain of sources that the configuration names, opened; nobody is asked anything.

    Raises:
        PluginError, ConfigError: as `open_chain`.
    """
    return open_chain(
        platform.config,
        keys=platform.settings.keys,
        exchanges=platform.exchanges,
        now=platform.clock.now,
        home=platform.settings.home.resolve(),
        scratch=platform.data / "sources",
        states=source_states(platform),
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


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError.of(f"market_bars.{name}", expected="a date YYYY-MM-DD", was=text, do="correct it") from error


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


def report(run: StageRun, update: BarsUpdate) -> Report:
    """Checks and metadata of an update: what is stored, what is wrong with it, and how the asking went."""
    config, platform = run.config, run.platform
    universe = run.read(UNIVERSE)
    newest = _newest_with(platform, update)
    actions = latest_actions(pl.concat([stored(platform, CORPORATE_ACTIONS), update.actions]))
    venue = exchange_of(universe)
    findings = symbol_findings(
        newest,
        actions,
        exchange_of=venue,
        exchanges=platform.exchanges,
        universe=universe,
        config=config.bars,
    )
    failures = dict(update.not_asked) | failure_reasons(
        fetch=update.failures,
        held=held_back(_recent_splits(findings, platform)),
        coverage=coverage_failures(
            newest,
            universe=universe,
            exchanges=platform.exchanges,
            first=config.bars.from_session,
            now=platform.clock.now(),
            min_symbol_coverage=config.bars.min_symbol_coverage,
        ),
    )
    data_end: date = newest["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    touched = _touched_forecasts(platform, update)
    _tell(run, update, failures, touched)
    revisions = restatement_check(
        update.kinds,
        symbols=universe["symbol"].unique().to_list(),
        touched_forecasts=touched,
        max_share=config.bars.max_revised_share,
    )
    if run.request.accept_revisions:
        revisions = replace(revisions, severity="warn")
    checks = (
        *bars_checks(
            newest,
            refused=update.refused,
            findings=findings,
            failures=failures,
            universe=universe,
            exchanges=platform.exchanges,
            now=platform.clock.now(),
            config=config.bars,
        ),
        revisions,
    )
    if any(check.blocks for check in checks):
        # What is refused for what it says, not for what it lacks, is asked for anew: its source may have corrected it.
        platform.landing.clear(*(update.landed if revisions.blocks else _of_bad_sessions(update, platform)))
    return Report(
        data_end=data_end,
        checks=checks,
        metadata={
            "dagster/row_count": newest.height,
            "rows_added": update.added.height,
            "revised_bars": update.added.filter(pl.col("rev") > 0).height,
            "quarantined_rows": update.refused.height,
            "failed_symbols": len(failures),
            **update.metadata,
            **_pictures(newest, update, findings, failures),
        },
        failures=failures,
    )


def _of_bad_sessions(update: BarsUpdate, platform: Platform) -> list[Landed]:
    """Answers of sources that had a session refused whole among those that are still asked for again."""
    bad = update.refused.filter(
        pl.col("rule").str.starts_with(BAD_SESSION), pl.col("session") >= _overlap_starts(platform)
    )
    sources = set(bad["source"])
    return [answer for answer in update.landed if answer.facts["source"] in sources]


def _overlap_starts(platform: Platform) -> date:
    """The first session that is still asked for again."""
    return platform.calendar.offset(platform.last_session, -platform.config.bars.overlap_sessions)


def _newest_with(platform: Platform, update: BarsUpdate) -> pl.DataFrame:
    """The newest revision of each bar, once the update is stored; provenance left out."""
    columns = [name for name in MARKET_BARS.columns if name not in MARKET_BARS.provenance]
    before = stored(platform, MARKET_BARS, columns=columns) if update.whole is None else MARKET_BARS.empty()
    added = update.added if update.whole is None else update.whole
    return latest(pl.concat([before.select(columns), added.select(columns)]))


def _recent_splits(findings: pl.DataFrame, platform: Platform) -> pl.DataFrame:
    """Split-like moves of sessions that are still asked for again: older ones are history, and give no return."""
    return findings.filter((pl.col("finding") == "split_like") & (pl.col("last") >= _overlap_starts(platform))).select(
        "symbol", "source", session="last", ratio="value"
    )


def _touched_forecasts(platform: Platform, update: BarsUpdate) -> list[str]:
    """Published forecasts whose inputs this update changes, as text."""
    changed = update.added.filter(pl.col("rev") > 0)
    if changed.is_empty():
        return []
    config = platform.config
    published = stored(platform, FORECASTS, columns=("session",))["session"].unique().to_list()
    touched = touched_sessions(
        changed,
        published,
        lookback=max(config.graphs.window, config.models.features.lookback) + 1,
        calendar=platform.calendar,
    )
    return [f"every forecast of {session}" for session in touched]


def _tell(run: StageRun, update: BarsUpdate, failures: Mapping[str, str], touched: Sequence[str]) -> None:
    """Events, for alerts and audit."""
    ledger = run.platform.ledger
    if not update.kinds.is_empty():
        ledger.append(
            "events",
            {
                "event": "bars_revised",
                "asset": run.asset,
                "symbols": update.kinds.select("symbol", "source", "kind", "sessions").rows(),
                "forecasts_touched": list(touched),
            },
        )
    if failures and dict(failures) != dead_letters(run.platform):
        ledger.append("events", {"event": "symbols_failed", "asset": run.asset, "symbols": dict(failures)})


def _pictures(
    newest: pl.DataFrame, update: BarsUpdate, findings: pl.DataFrame, failures: Mapping[str, str]
) -> dict[str, Any]:
    """Tables and plots for people, and numbers by source that Dagster plots over time."""
    sources = newest["source"].unique().sort()
    by_session = newest.group_by("session", "source").agg(symbols=pl.col("close").count()).sort("session")
    axis = by_session["session"].unique(maintain_order=True)
    counts = {
        source: axis.to_frame().join(by_session.filter(pl.col("source") == source), on="session", how="left")["symbols"]
        for source in sources
    }
    summary = (
        newest.group_by("symbol", "source")
        .agg(
            first=pl.col("session").min().cast(pl.String),
            last=pl.col("session").max().cast(pl.String),
            closes=pl.col("close").count(),
            last_close=pl.col("close").sort_by("session").last(),
            flagged=(pl.col("flags") != "").sum(),
        )
        .sort("symbol", "source")
    )
    rules = update.refused.group_by("source", "rule").agg(rows=pl.len()).sort("rows", "rule", descending=(True, False))
    dirt = {
        f"{finding}_{source}": findings.filter((pl.col("finding") == finding) & (pl.col("source") == source)).height
        for source in sources
        for finding in ("gap", "stale_run", "split_like")
    }
    refused = {f"refused_{source}": update.refused.filter(pl.col("source") == source).height for source in sources}
    return {
        **dirt,
        **refused,
        "bars_by_symbol": table(summary.head(_TABLE_ROWS), digits=2),
        "refused_by_rule": table(rules, digits=0),
        "findings": table(findings.sort("last", descending=True).head(_TABLE_ROWS), digits=4),
        "revisions": table(update.kinds.head(_TABLE_ROWS), digits=6),
        "dead_letters": table(
            pl.DataFrame(
                {"symbol": list(failures)[:_TABLE_ROWS], "reason": list(failures.values())[:_TABLE_ROWS]},
                schema={"symbol": pl.String, "reason": pl.String},
            ),
            digits=0,
        ),
        "coverage": lines(
            axis.to_list(),
            {source: values.to_list() for source, values in counts.items()},
            title="Symbols with a close, by session and source",
            x_label="session",
            y_label="symbols",
        ),
    }
