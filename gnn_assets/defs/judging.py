"""What landed answers add to what is stored: judged by the rules, held against the history, told apart."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from gnn_assets.bars.actions import new_actions
from gnn_assets.bars.bad_sessions import judge_sessions
from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS
from gnn_assets.bars.plan import merge_asked
from gnn_assets.bars.restatements import classify
from gnn_assets.bars.revisions import latest, new_revisions
from gnn_assets.bars.rules import judge_rows
from gnn_assets.bars.schema import BARS_ASKED, CORPORATE_ACTIONS, MARKET_BARS, QUARANTINE
from gnn_assets.bars.venues import exchange_of
from gnn_assets.defs.asking import answered
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import StageRun
from gnn_assets.defs.tables import stored
from gnn_assets.store.landing import Landed
from gnn_assets.store.schema import MOMENT

# A symbol's bar before those told lies no further back than this, unless it has a gap that the rules judge anyway.
_BEFORE = timedelta(days=31)
# Hash and run of each old answer are long, and nothing is held against them.
_HISTORY = [name for name in MARKET_BARS.columns if name not in {"payload_hash", "run_id"}]


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
        whole: where it was not, all bars and all actions that are to be stored.
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
    whole: tuple[pl.DataFrame, pl.DataFrame] | None = None


def judge_answers(
    run: StageRun,
    universe: pl.DataFrame,
    saved: tuple[pl.DataFrame, pl.DataFrame] | None,
    landed: Sequence[Landed],
    *,
    without: Collection[tuple[str, str]] = (),
) -> BarsUpdate:
    """What the landed answers add to what is stored, judged source by source.

    Args:
        run: the materialization.
        universe: a frame of `UNIVERSE`.
        saved: what could be saved of damaged bars and actions; None if they are whole.
        landed: the answers.
        without: symbols and sources whose answers do not count.
    """
    platform = run.platform
    venue = exchange_of(universe)
    common = {"exchanges": platform.exchanges, "exchange_of": venue, "run_id": run.run_id}
    known_actions = stored(platform, CORPORATE_ACTIONS) if saved is None else saved[1]
    asked_before = stored(platform, BARS_ASKED) if saved is None else BARS_ASKED.empty()
    added, actions, refused = [], [], []
    kinds = [classify(MARKET_BARS.empty(), MARKET_BARS.empty(), told=MARKET_BARS.empty())]
    asked = answered(landed).filter(~_pairs_in(without))
    for source, answers in _by_source(landed).items():
        left_out = [symbol for symbol, by in without if by == source]
        told, told_actions = (
            _newest_told(platform, answers, name).filter(~pl.col("symbol").is_in(left_out))
            for name in ("bars", "actions")
        )
        if told.is_empty():
            continue
        basis = str(answers[-1].facts["basis"])
        # Some sessions more, so that the first row told is held against the one before it.
        first: date = told["session"].min()  # ty: ignore[invalid-assignment] - a Date column
        first -= _BEFORE
        history = stored(platform, MARKET_BARS, first=first, columns=_HISTORY) if saved is None else saved[0]
        history = history.select(_HISTORY).filter(pl.col("source") == source)
        newest = latest(history)
        run.progress(0.8, f"judging {told.height} bars of {source}")
        judged = judge_sessions(
            judge_rows(
                told,
                source=source,
                basis=basis,
                actions=told_actions.select(list(ACTION_COLUMNS)),
                before=newest.select(list(FETCHED_COLUMNS)),
                exchange_of=venue,
                exchanges=platform.exchanges,
                now=platform.clock.now(),
                config=run.config.bars.rules,
            ),
            source=source,
            config=run.config.bars.rules,
        )
        new = new_revisions(history, judged.good, asked=asked_before, source=source, basis=basis, **common)
        new_acts, impossible = new_actions(
            known_actions, told_actions, asked.filter(pl.col("source") == source), history, source=source, **common
        )
        added.append(new)
        actions.append(new_acts)
        refused += [judged.refused, _as_quarantined(impossible, source)]
        kinds.append(classify(newest, new, told=judged.good.select("symbol", "session")))
    return BarsUpdate(
        added=pl.concat([MARKET_BARS.empty(), *added]),
        actions=pl.concat([CORPORATE_ACTIONS.empty(), *actions]),
        refused=pl.concat([QUARANTINE.empty(), *refused]).unique(QUARANTINE.key, keep="last", maintain_order=True),
        asked=merge_asked(asked_before, asked),
        failures={},
        kinds=pl.concat(kinds),
        landed=landed,
    )


def _by_source(landed: Sequence[Landed]) -> dict[str, list[Landed]]:
    """Answers of each source, the oldest first; their number decides where the clock stood still between two."""
    by_source: dict[str, list[Landed]] = {}
    for answer in sorted(landed, key=lambda one: (one.facts["fetched_at"], one.facts["number"])):
        by_source.setdefault(str(answer.facts["source"]), []).append(answer)
    return by_source


def _newest_told(platform: Platform, answers: Sequence[Landed], name: str) -> pl.DataFrame:
    """One frame of every answer, with the answer's moment and hash; where two cover a symbol's session, the newer one's.

    A row that a newer answer leaves out has been withdrawn by its source.
    """
    frames = [
        platform.landing.frames(answer, name).with_columns(
            fetched_at=pl.lit(datetime.fromisoformat(answer.facts["fetched_at"]), dtype=MOMENT),
            payload_hash=pl.lit(answer.facts["payload_hash"]),
            place=pl.lit(place, dtype=pl.Int32),
        )
        for place, answer in enumerate(answers)
    ]
    rows = pl.concat(frames)
    spans = pl.DataFrame(
        [
            (symbol, date.fromisoformat(answer.facts["first"]), date.fromisoformat(answer.facts["last"]), place)
            for place, answer in enumerate(answers)
            for symbol in answer.facts["symbols"]
        ],
        schema={"symbol": pl.String, "first": pl.Date, "last": pl.Date, "newer": pl.Int32},
        orient="row",
    )
    if spans["symbol"].is_unique().all():
        return rows.drop("place")
    superseded = (
        rows.select("symbol", "session", "place")
        .unique()
        .join(spans, on="symbol")
        .filter(pl.col("newer") > pl.col("place"), pl.col("session").is_between("first", "last"))
    )
    return rows.join(superseded, on=("symbol", "session", "place"), how="anti", maintain_order="left").drop("place")


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
