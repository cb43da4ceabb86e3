"""Which exchange a bar belongs to, whether its date is a session there, and when its bar was known."""

from collections.abc import Mapping
from functools import lru_cache

import polars as pl

from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets.store.schema import MOMENT


def exchange_of(universe: pl.DataFrame) -> dict[str, str]:
    """Symbol → exchange.

    Args:
        universe: a frame of `UNIVERSE`.
    """
    return dict(universe.select("symbol", "exchange").iter_rows())


def with_moments(rows: pl.DataFrame, *, exchanges: Exchanges, exchange_of: Mapping[str, str]) -> pl.DataFrame:
    """The rows, each with what its own exchange's calendar says of its date; order is kept.

    Args:
        rows: columns ``symbol`` and ``session``, and any others.
        exchanges: the calendars.
        exchange_of: symbol → exchange; a symbol without one trades on the primary exchange.

    Returns:
        The rows with ``position`` (Int32, the session's place in its calendar; null when the date is no session
        there), ``available_at`` and ``next_close`` (UTC moments; null likewise).

    Raises:
        ConfigError: if an exchange is not configured.
    """
    venues = pl.DataFrame(
        {
            "symbol": pl.Series(exchange_of.keys(), dtype=pl.String),
            "venue": pl.Series(exchange_of.values(), dtype=pl.String),
        }
    )
    wanted = [exchanges.primary.exchange, *venues["venue"].unique().sort()]
    moments = pl.concat([_moments(exchanges.of(code)) for code in dict.fromkeys(wanted)])
    return (
        rows.join(venues, on="symbol", how="left", maintain_order="left")
        .with_columns(pl.col("venue").fill_null(exchanges.primary.exchange))
        .join(moments, on=("venue", "session"), how="left", maintain_order="left")
        .drop("venue")
    )


def counted_at(calendar: SessionCalendar, primary: SessionCalendar) -> pl.DataFrame:
    """The primary session at which each session of another exchange counts: the first that is known no earlier.

    So nothing is seen before it could be, wherever on earth the exchange closes.

    Args:
        calendar: the other exchange's sessions.
        primary: the platform's sessions.

    Returns:
        ``session`` (of `calendar`) and ``counts_at`` (of `primary`), ascending; sessions later than the last primary
        one are left out.
    """
    known = pl.DataFrame(
        {"session": pl.Series(calendar.sessions, dtype=pl.Date), "moment": _available(calendar)}
    ).set_sorted("moment")
    axis = pl.DataFrame(
        {"counts_at": pl.Series(primary.sessions, dtype=pl.Date), "moment": _available(primary)}
    ).set_sorted("moment")
    return known.join_asof(axis, on="moment", strategy="forward").drop("moment").drop_nulls("counts_at")


def _available(calendar: SessionCalendar) -> pl.Series:
    return pl.Series("moment", calendar.closes, dtype=MOMENT) + calendar.grace


# Thousands of moments are slow to hand to polars, and every stage asks for those of the same few exchanges.
@lru_cache(maxsize=16)
def _moments(calendar: SessionCalendar) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "venue": pl.repeat(calendar.exchange, len(calendar.sessions), eager=True),
            "session": pl.Series(calendar.sessions, dtype=pl.Date),
            "position": pl.int_range(len(calendar.sessions), dtype=pl.Int32, eager=True),
            "available_at": _available(calendar),
            "next_close": pl.Series(calendar.closes, dtype=MOMENT).shift(-1),
        }
    )
