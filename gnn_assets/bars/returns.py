"""Log returns between adjacent sessions of the calendar."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

import numpy as np
import polars as pl

from gnn_assets.bars.schema import RETURNS
from gnn_assets.store.panel import to_panel

Fill = Literal["open_next", "close_next", "close_same"]


def log_returns(
    latest_bars: pl.DataFrame, *, sessions: Sequence[date], symbols: Sequence[str], fill: Fill
) -> pl.DataFrame:
    """Log returns of each symbol; a missing session gives none across it.

    Args:
        latest_bars: one row a (symbol, session), with ``open`` and ``close`` in the quote currency.
        sessions: consecutive sessions of the calendar, ascending.
        symbols: symbols wanted, core and context.
        fill: the execution setting; it says whether `fill_return` runs from open to open or from close to close.

    Returns:
        A frame of `RETURNS`; a row where at least one return is finite, null for the other.

    Known at: the session's close plus grace.
    """
    close_return = _differences(to_panel(latest_bars, "close", sessions=sessions, symbols=symbols))
    fill_return = close_return
    if fill == "open_next":
        fill_return = _differences(to_panel(latest_bars, "open", sessions=sessions, symbols=symbols))
    row, column = np.nonzero(np.isfinite(close_return) | np.isfinite(fill_return))
    return RETURNS.conform(
        pl.DataFrame(
            {
                "session": pl.Series(sessions, dtype=pl.Date).gather(row),
                "symbol": pl.Series(symbols, dtype=pl.String).gather(column),
                "close_return": pl.Series(close_return[row, column]).fill_nan(None),
                "fill_return": pl.Series(fill_return[row, column]).fill_nan(None),
            }
        )
    )


def _differences(prices_TxN: np.ndarray) -> np.ndarray:
    """Log price differences (T, N); NaN in the first session and wherever either price is no positive number."""
    usable = np.isfinite(prices_TxN) & (prices_TxN > 0)
    logs = np.log(np.where(usable, prices_TxN, np.nan))
    return np.diff(logs, axis=0, prepend=np.full((1, logs.shape[1]), np.nan))
