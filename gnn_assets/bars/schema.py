"""Tables of the bars stage."""

import polars as pl

from gnn_assets.store.schema import MOMENT, Table

UNIVERSE = Table(
    name="universe",
    columns={
        "symbol": pl.String,
        "from_session": pl.Date,
        "to_session": pl.Date,
        "tier": pl.String,
        "sector": pl.String,
        "survivor_only": pl.Boolean,
        "exchange": pl.String,
        "priority": pl.Int32,
    },
    key=("symbol", "from_session"),
    descriptions={
        "from_session": "first session the symbol belongs to the universe",
        "to_session": "last session it belongs; null while it still does",
        "tier": "core: traded and graphed; context: shown beside results, never traded",
        "survivor_only": "chosen with hindsight: names that died are missing, results flatter",
        "exchange": "ISO 10383 code of the exchange whose sessions are the symbol's",
        "priority": "place in the file: a smaller one is asked for earlier",
    },
    schema_version=2,
)

MARKET_BARS = Table(
    name="market_bars",
    columns={
        "symbol": pl.String,
        "session": pl.Date,
        "source": pl.String,
        "rev": pl.Int32,
        "open": pl.Float64,
        "high": pl.Float64,
        "low": pl.Float64,
        "close": pl.Float64,
        "volume": pl.Float64,
        "flags": pl.String,
        "basis": pl.String,
        "backfilled": pl.Boolean,
        "known_at": MOMENT,
        "row_hash": pl.UInt64,
        "fetched_at": MOMENT,
        "payload_hash": pl.String,
        "run_id": pl.String,
    },
    key=("symbol", "session", "source", "rev"),
    descriptions={
        "rev": "0 for the first bar seen, one more for every change by the vendor",
        "open": "quote currency; null where the source has none",
        "high": "quote currency; null where the source has none",
        "low": "quote currency; null where the source has none",
        "close": "quote currency",
        "volume": "shares; null where the source has none",
        "flags": "rules that took a value away or make the row doubtful, sorted, joined by a comma; empty for none",
        "basis": "raw, split (adjusted for splits) or split_div (for splits and dividends)",
        "backfilled": "fetched after a later session had already closed",
        "known_at": "UTC; close + grace for rev 0, fetched_at for every later revision; as-of reads filter on it alone",
        "row_hash": "hash of prices, volume and basis as the source told them, before any rule",
        "fetched_at": "UTC moment of the fetch",
        "payload_hash": "SHA-256 of the vendor's answer",
        "run_id": "run that wrote the row",
    },
    monthly=True,
    provenance=("fetched_at", "payload_hash", "run_id"),
    schema_version=2,
)

CORPORATE_ACTIONS = Table(
    name="corporate_actions",
    columns={
        "symbol": pl.String,
        "session": pl.Date,
        "kind": pl.String,
        "source": pl.String,
        "rev": pl.Int32,
        "value": pl.Float64,
        "known_at": MOMENT,
        "fetched_at": MOMENT,
        "payload_hash": pl.String,
        "run_id": pl.String,
    },
    key=("symbol", "session", "kind", "source", "rev"),
    descriptions={
        "session": "ex-date: the first session that trades without it",
        "kind": "split or dividend",
        "rev": "0 for what was told first, one more for every change by the vendor",
        "value": "split: new shares for one old; dividend: cash a share on the bars' basis; null: withdrawn",
        "known_at": "UTC; that of the session's bar if both were new, else fetched_at; as-of reads filter on it alone",
        "fetched_at": "UTC moment of the fetch",
        "payload_hash": "SHA-256 of the vendor's answer",
        "run_id": "run that wrote the row",
    },
    provenance=("fetched_at", "payload_hash", "run_id"),
)

BARS_ASKED = Table(
    name="bars_asked",
    columns={
        "symbol": pl.String,
        "source": pl.String,
        "first": pl.Date,
        "last": pl.Date,
        "fetched_at": MOMENT,
    },
    key=("symbol", "source"),
    descriptions={
        "first": "first session the source was asked about and answered for",
        "last": "last session; from the first to it nothing was left out",
        "fetched_at": "UTC moment of the newest answer",
    },
)

RETURNS = Table(
    name="returns",
    columns={
        "session": pl.Date,
        "symbol": pl.String,
        "close_return": pl.Float64,
        "fill_return": pl.Float64,
        "held_return": pl.Float64,
        "source": pl.String,
    },
    key=("session", "symbol"),
    descriptions={
        "close_return": "log return from the previous session's close to this one's; features and graphs use it",
        "fill_return": "log return from the previous session's fill price to this one's, under the execution setting; "
        "labels use it",
        "held_return": "log return of who holds the symbol, from the last fill price to this session's: over a gap and "
        "on after the membership as well; backtests use it",
        "source": "whose bars the returns are from: the first of the chain that has both sides",
    },
    monthly=True,
    schema_version=3,
)

SYMBOL_STATUS = Table(
    name="symbol_status",
    columns={
        "stage": pl.String,
        "symbol": pl.String,
        "session": pl.Date,
        "state": pl.String,
        "reason": pl.String,
        "attempts": pl.Int32,
    },
    key=("stage", "symbol", "session"),
    descriptions={
        "session": "last session the stage covered",
        "state": "PENDING, RUNNING, SUCCESS or FAILED",
        "reason": "why it failed; empty on success",
    },
)

QUARANTINE = Table(
    name="quarantine",
    columns={
        "symbol": pl.String,
        "session": pl.Date,
        "source": pl.String,
        "rule": pl.String,
        "open": pl.Float64,
        "high": pl.Float64,
        "low": pl.Float64,
        "close": pl.Float64,
        "volume": pl.Float64,
    },
    key=("symbol", "session", "source", "rule"),
    descriptions={"rule": "the rule the row broke; the row stands as the source told it"},
    monthly=True,
)
