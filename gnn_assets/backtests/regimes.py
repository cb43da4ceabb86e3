"""Calm and wild sessions: the market's volatility against its own past."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from gnn_assets.core.config import RegimesConfig

REGIMES = ("low", "middle", "high")


def volatility_regimes(
    returns: pl.DataFrame, *, sessions: Sequence[date], symbols: Sequence[str], config: RegimesConfig
) -> pl.DataFrame:
    """Whether each session's volatility is in the lowest, middle or highest third of those before it.

    The volatility is the standard deviation (n − 1) of the equal-weight market's simple returns over the trailing
    window. It is held against the terciles of the volatilities of the sessions before, its own left out.

    Args:
        returns: `returns` rows; only ``close_return`` is read.
        sessions: the exchange's sessions, ascending.
        symbols: the names that make up the market.
        config: window and history (sessions).

    Returns:
        ``session`` and ``regime``, a row a session; null until window and history are full, or where the market has
        no return in the window.

    Known at: the session's close.
    """
    market = (
        returns.filter(pl.col("symbol").is_in(list(symbols)))
        .group_by("session")
        .agg(market=(pl.col("close_return").exp() - 1).mean())
    )
    axis = pl.DataFrame({"session": pl.Series(sessions, dtype=pl.Date)})
    lower, upper = (
        pl.col("volatility").shift(1).rolling_quantile(third / 3, interpolation="linear", window_size=config.history)
        for third in (1, 2)
    )
    low, middle, high = (pl.lit(regime) for regime in REGIMES)
    return (
        axis.join(market, on="session", how="left", maintain_order="left")
        .with_columns(volatility=pl.col("market").rolling_std(config.volatility_window))
        .with_columns(lower=lower, upper=upper)
        .select(
            "session",
            regime=pl.when(pl.any_horizontal(pl.col("volatility", "lower", "upper").is_null()))
            .then(None)
            .when(pl.col("volatility") < pl.col("lower"))
            .then(low)
            .when(pl.col("volatility") > pl.col("upper"))
            .then(high)
            .otherwise(middle),
        )
    )
