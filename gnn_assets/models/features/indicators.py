"""TA-Lib's indicators over panels: symbol by symbol, on adjusted prices without gaps."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from gnn_assets.models.bars import Bars
from gnn_assets.models.features.series import Named


def indicators(bars: Bars, wanted: Mapping[str, pl.Expr]) -> Named:
    """Values of some expressions over columns close, and high, low and volume where the bars have them.

    Adjusted prices begin at 1 and follow the adjusted returns; a session without a return moves nothing, and one without
    a high or low has its close for them: TA-Lib's recursions would carry a gap along for ever. Volumes are traded value
    over adjusted price, so that splits leave them alone.

    Args:
        bars: over T sessions and N symbols.
        wanted: name → expression.

    Returns:
        name → float64 (T, N); NaN where the session has no return, or the indicator no history.

    Known at:
        Row d at the close of session d.
    """
    there = np.isfinite(bars.close_return_TxN)
    # Prices beyond any number are no error: nothing is said of them.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        close = np.exp(np.cumsum(np.where(there, bars.close_return_TxN, 0.0), axis=0))
        columns = {"close": close}
        if {"high", "low", "close"} <= bars.fields:
            for name in ("high", "low"):
                ratio = bars.values[name] / bars.values["close"]
                columns[name] = close * np.where(np.isfinite(ratio), ratio, 1.0)
        if {"close", "volume"} <= bars.fields:
            columns["volume"] = np.nan_to_num(bars.value_TxN) / close
    n_sessions, n_symbols = close.shape
    frame = pl.DataFrame({name: values.T.ravel() for name, values in columns.items()}).with_columns(
        symbol=pl.Series(np.repeat(np.arange(n_symbols), n_sessions))
    )
    found = frame.select(expression.over("symbol").alias(name) for name, expression in wanted.items())
    return {name: np.where(there, found[name].to_numpy().reshape(n_symbols, n_sessions).T, np.nan) for name in wanted}
