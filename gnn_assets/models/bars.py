"""Bars as dense arrays, as features are made from them: what happened inside a session, and from one to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from gnn_assets.core.errors import DataError

_Panel = Float64[np.ndarray, "T N"]


@dataclass(frozen=True, eq=False)
class Bars:
    """Bars over T sessions and N symbols.

    Prices of different sessions are never compared, only their ratios inside a session: a vendor's later splits
    cannot enter. What passes from one session to the next is told by `close_return_TxN`.

    Args:
        sessions: the row axis, ascending, without holes.
        symbols: the column axis.
        close_return_TxN: float64, adjusted log return from the close before to the close; NaN where absent.
        values: field → float64 (T, N), NaN where absent: open, high, low, close (quote currency of that session) and
            volume (shares of that session). A field the source does not have is absent from the mapping.

    Known at:
        Row d at the close of session d.

    Raises:
        DataError: if a return is infinite.
    """

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    close_return_TxN: _Panel
    values: dict[str, _Panel] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        close_return_TxN: _Panel,
        values: Mapping[str, _Panel],
        *,
        sessions: Sequence[date],
        symbols: Sequence[str],
    ) -> "Bars":
        """Bars with values as stored panels hold them: rounded to float32, whichever way they came here.

        Raises:
            DataError: if a return is infinite.
        """
        rounded = {name: values_TxN.astype(np.float32).astype(np.float64) for name, values_TxN in values.items()}
        return cls(tuple(sessions), tuple(symbols), close_return_TxN, rounded)

    def __post_init__(self) -> None:
        require_finite(self.close_return_TxN, "close_return", sessions=self.sessions, symbols=self.symbols)

    @property
    def fields(self) -> frozenset[str]:
        """Fields of which at least one value is there."""
        return frozenset(self._present)

    @cached_property
    def _present(self) -> dict[str, _Panel]:
        return {name: values for name, values in self.values.items() if np.isfinite(values).any()}

    @cached_property
    def intraday_TxN(self) -> _Panel:
        """Log return from open to close, 0 or more being a rise; NaN where one of them is absent."""
        return _log_ratio(self._present["close"], self._present["open"])

    @cached_property
    def overnight_TxN(self) -> _Panel:
        """Log return from the close before to the open: what the adjusted return leaves of the intraday one."""
        return self.close_return_TxN - self.intraday_TxN

    @cached_property
    def range_TxN(self) -> _Panel:
        """Log of high over low; NaN where one of them is absent or the high is below the low."""
        range_TxN = _log_ratio(self._present["high"], self._present["low"])
        return np.where(range_TxN >= 0, range_TxN, np.nan)

    @cached_property
    def close_location_TxN(self) -> _Panel:
        """Where the close lies between low (-1) and high (1); 0 for a flat bar, NaN where the high is below the low."""
        high, low, close = (self._present[name] for name in ("high", "low", "close"))
        width = high - low
        with np.errstate(invalid="ignore", divide="ignore"):
            location = np.where(width > 0, (2 * close - high - low) / width, 0.0)
        there = np.isfinite(width) & (width >= 0) & np.isfinite(close)
        return np.where(there, np.clip(location, -1.0, 1.0), np.nan)

    @cached_property
    def value_TxN(self) -> _Panel:
        """Traded value, close times volume (quote currency): the one volume that splits leave alone."""
        return self._present["close"] * self._present["volume"]


def require_finite(values_TxN: _Panel, name: str, *, sessions: Sequence[date], symbols: Sequence[str]) -> None:
    """Refuses infinite returns.

    Raises:
        DataError: naming the first one.
    """
    if np.isinf(values_TxN).any():
        row, column = np.argwhere(np.isinf(values_TxN))[0]
        raise DataError.of(
            f"returns.{name}",
            expected="finite values or nulls",
            was=f"an infinite one for {symbols[column]} on {sessions[row]}",
            do="refuse the bar",
        )


def _log_ratio(over_TxN: _Panel, under_TxN: _Panel) -> _Panel:
    there = (over_TxN > 0) & (under_TxN > 0)
    return np.log(np.where(there, over_TxN, 1.0) / np.where(there, under_TxN, 1.0)) + np.where(there, 0.0, np.nan)
