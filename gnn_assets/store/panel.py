"""Dense panels: a long table's value as an array over (session, symbol)."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl


def to_panel(frame: pl.DataFrame, value: str, *, sessions: Sequence[date], symbols: Sequence[str]) -> np.ndarray:
    """Scatters one column into an array; rows of other sessions or symbols are left out.

    Args:
        frame: columns ``session`` (Date), ``symbol`` (String) and `value` (numeric, nulls allowed); one row a cell.
        sessions: the row axis, ascending.
        symbols: the column axis.

    Returns:
        float64 (T, N); NaN where there is no row or the value is null.
    """
    panel = np.full((len(sessions), len(symbols)), np.nan)
    rows = pl.DataFrame({"session": pl.Series(sessions, dtype=pl.Date)}).with_row_index("row")
    columns = pl.DataFrame({"symbol": pl.Series(symbols, dtype=pl.String)}).with_row_index("column")
    cells = (
        frame.select("session", "symbol", pl.col(value).cast(pl.Float64).alias("value"))
        .join(rows, on="session")
        .join(columns, on="symbol")
    )
    panel[cells["row"].to_numpy(), cells["column"].to_numpy()] = cells["value"].to_numpy()
    return panel


def from_panel(panel_TxN: np.ndarray, value: str, *, sessions: Sequence[date], symbols: Sequence[str]) -> pl.DataFrame:
    """The long table of a panel, NaN cells left out.

    Args:
        panel_TxN: float (T, N).

    Returns:
        ``session`` (Date), ``symbol`` (String), `value` (Float64), sorted by session then symbol position.
    """
    row, column = np.nonzero(~np.isnan(panel_TxN))
    return pl.DataFrame(
        {
            "session": pl.Series(sessions, dtype=pl.Date).gather(row),
            "symbol": pl.Series(symbols, dtype=pl.String).gather(column),
            value: panel_TxN[row, column].astype(np.float64),
        }
    )
