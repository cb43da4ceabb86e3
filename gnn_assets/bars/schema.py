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
    },
    key=("symbol", "from_session"),
    descriptions={
        "from_session": "first session the symbol belongs to the universe",
        "to_session": "last session it belongs; null while it still does",
        "tier": "core: traded and graphed; context: shown beside results, never traded",
        "survivor_only": "chosen with hindsight: names that died are missing, results flatter",
    },
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
        "basis": "raw, split (adjusted for splits) or split_div (for splits and dividends)",
        "backfilled": "fetched after a later session had already closed",
        "known_at": "UTC; close + grace for rev 0, fetched_at for every later revision; as-of reads filter on it alone",
        "row_hash": "hash of prices, volume and basis",
        "fetched_at": "UTC moment of the fetch",
        "payload_hash": "SHA-256 of the vendor's answer",
        "run_id": "run that wrote the row",
    },
    monthly=True,
    provenance=("fetched_at", "payload_hash", "run_id"),
)

RETURNS = Table(
    name="returns",
    columns={"session": pl.Date, "symbol": pl.String, "close_return": pl.Float64, "fill_return": pl.Float64},
    key=("session", "symbol"),
    descriptions={
        "close_return": "log return from the previous session's close to this one's; features and graphs use it",
        "fill_return": "log return from the previous session's fill price to this one's, under the execution setting; "
        "labels and backtests use it",
    },
    monthly=True,
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
    descriptions={"rule": "the rule the refused row broke"},
    monthly=True,
)
