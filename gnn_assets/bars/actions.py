"""Splits and dividends: append-only, like bars, so that every past return can be made again as it was.

A vendor's adjusted history is never stored for its own sake: one later dividend would restate all of it. What is
stored is the action, and prices are adjusted when they are read.
"""

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from gnn_assets.bars.fetched import ACTION_COLUMNS
from gnn_assets.bars.revisions import as_of, newest_of
from gnn_assets.bars.schema import CORPORATE_ACTIONS
from gnn_assets.bars.venues import with_moments
from gnn_assets.core.sessions import Exchanges

KINDS = ("split", "dividend")
_KEY = ("symbol", "session", "kind")
_ACTION = (*_KEY, "source")


def new_actions(
    stored: pl.DataFrame,
    told: pl.DataFrame,
    asked: pl.DataFrame,
    stored_bars: pl.DataFrame,
    *,
    source: str,
    exchanges: Exchanges,
    exchange_of: Mapping[str, str],
    run_id: str,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that answers add to the history of actions, and those that are impossible.

    Of several answers the newest counts. In one, equal copies of an action count once, and different dividends on one
    ex-date are added up, because a regular and a special one may share it. An action told before, in the range asked, and told no more is withdrawn: its newest
    revision has no value. One of an unfinished session is left out until the session is known.

    Rules, the first one broken names the refusal:
        action_kind: neither a split nor a dividend.
        action_not_a_session: the ex-date is no session of the symbol's exchange.
        action_value: null, NaN or infinite, a split that is not positive, or a negative dividend.
        action_doubled: different splits on one ex-date; which one is right is not ours to choose.

    Args:
        stored: a frame of `CORPORATE_ACTIONS`, any sources.
        told: `ACTION_COLUMNS`, and of each row's answer ``fetched_at`` (UTC microseconds) and ``payload_hash``.
        asked: what was answered for: ``symbol``, ``first``, ``last`` (dates, both included), ``fetched_at`` and
            ``payload_hash``; a symbol that the source failed on must not be in it.
        stored_bars: columns ``symbol``, ``session``, ``source``: the bars stored before this fetch.
        source: name of the source's plug-in.
        exchanges: the calendars.
        exchange_of: symbol → exchange.
        run_id: run that fetched.

    Returns:
        A frame of `CORPORATE_ACTIONS` to append, and the refused rows: the columns of `told` and ``rule``.

    Known at: each row's `known_at`: that of the session's bar where both are new, else the moment of the fetch.
    """
    rows, refused = _judged(with_moments(told, exchanges=exchanges, exchange_of=exchange_of))
    known = newest_of(stored.filter(pl.col("source") == source), _ACTION).select(
        *_KEY, stored_rev="rev", stored_value="value", stored_at="fetched_at"
    )
    had_bar = stored_bars.filter(pl.col("source") == source).select("symbol", "session", had_bar=pl.lit(True)).unique()
    changed = (
        rows.filter(pl.col("available_at") <= pl.col("fetched_at"))
        .join(known, on=_KEY, how="left")
        .filter(
            pl.col("stored_rev").is_null()
            | (pl.col("value").ne_missing(pl.col("stored_value")) & (pl.col("stored_at") <= pl.col("fetched_at")))
        )
        .join(had_bar, on=("symbol", "session"), how="left")
        .with_columns(
            known_at=pl.when(pl.col("stored_rev").is_null() & pl.col("had_bar").is_null())
            .then("available_at")
            .otherwise("fetched_at")
        )
    )
    # A refused row still says that there is an action: what was stored of it is not withdrawn.
    withdrawn = _no_longer_told(known, told, asked).with_columns(
        value=pl.lit(None, dtype=pl.Float64), known_at="fetched_at"
    )
    columns = (*_KEY, "stored_rev", "value", "known_at", "fetched_at", "payload_hash")
    added = pl.concat([changed.select(columns), withdrawn.select(columns)]).with_columns(
        rev=(pl.col("stored_rev") + 1).fill_null(0).cast(pl.Int32), source=pl.lit(source), run_id=pl.lit(run_id)
    )
    return CORPORATE_ACTIONS.conform(added.select(*CORPORATE_ACTIONS.columns)), refused


def latest_actions(actions: pl.DataFrame, *, known_at: datetime | None = None) -> pl.DataFrame:
    """The newest revision of each action of each source; withdrawn ones are left out.

    Args:
        actions: a frame of `CORPORATE_ACTIONS`, any sources.
        known_at: aware UTC moment; only what was known by then counts. None for everything.

    Returns:
        A frame of `CORPORATE_ACTIONS`, one row a (symbol, session, kind, source).

    Known at: `known_at`.
    """
    return newest_of(as_of(actions, known_at), _ACTION).filter(pl.col("value").is_not_null())


def _judged(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One row an action, and the rows refused, with the rule each broke."""
    split, value = pl.col("kind") == "split", pl.col("value")
    possible = value.is_finite() & pl.when(split).then(value > 0).otherwise(value >= 0)
    rows = rows.with_columns(
        rule=pl.coalesce(
            pl.when(~pl.col("kind").is_in(KINDS)).then(pl.lit("action_kind")),
            pl.when(pl.col("position").is_null()).then(pl.lit("action_not_a_session")),
            pl.when(~possible.fill_null(False)).then(pl.lit("action_value")),
        )
    )
    newest = (pl.col("fetched_at") == pl.col("fetched_at").max()).over(_KEY)
    sound = (
        rows.filter(pl.col("rule").is_null())
        .filter(newest)
        .with_columns(rule=pl.when(split & (value.n_unique().over(_KEY) > 1)).then(pl.lit("action_doubled")))
    )
    refused = pl.concat([rows.filter(pl.col("rule").is_not_null()), sound.filter(pl.col("rule").is_not_null())])
    good = (
        sound.filter(pl.col("rule").is_null())
        .sort(*_KEY, "value", "payload_hash")
        .unique((*_KEY, "value"), keep="last", maintain_order=True)
        .group_by(_KEY, maintain_order=True)
        .agg(pl.col("value").sum(), pl.col("fetched_at", "payload_hash", "available_at").last())
    )
    columns = (*ACTION_COLUMNS, "fetched_at", "payload_hash", "rule")
    return good, refused.select(columns).sort(*_KEY, "value", "rule")


def _no_longer_told(known: pl.DataFrame, told: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Stored actions that an answer covered and did not repeat, each with the newest such answer."""
    return (
        known.filter(pl.col("stored_value").is_not_null())
        .join(told, on=_KEY, how="anti")
        .join(asked.select("symbol", "first", "last", "fetched_at", "payload_hash"), on="symbol")
        .filter(pl.col("session").is_between("first", "last"), pl.col("stored_at") <= pl.col("fetched_at"))
        .sort(*_KEY, "fetched_at")
        .unique(_KEY, keep="last", maintain_order=True)
    )
