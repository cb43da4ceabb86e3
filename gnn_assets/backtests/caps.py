"""Caps by name and by sector: what is over goes to the other names in proportion, and stays cash where none can take it.

Each side, long and short, is seen by itself. Its weights become

    min(name cap, level of the sector x weight)

where the level is the same for all sectors but those that it would lift above the sector's cap; each of these has the
level at which it holds just its cap. The level is the one at which the side's sum is what it was. If all names and
sectors at their caps hold less than that, they are at their caps, and the rest is cash.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.core.errors import DataError

# Sums of float64 differ by so much with the order of their terms (share).
_ROUNDING = 1e-12


def sector_rows(universe: pl.DataFrame, *, sessions: Sequence[date], symbols: Sequence[str]) -> np.ndarray:
    """The sector of each name on some sessions, as a number.

    A symbol with several memberships has the sector of the one that began last by the session; before the first
    began, and for a symbol outside the universe, all are of one further sector, −1.

    Args:
        universe: a frame of `UNIVERSE`.
        sessions: the row axis, ascending.
        symbols: the column axis.

    Returns:
        int64 (R, N).

    Known at: what the universe file says is known throughout; it is written with hindsight.
    """
    numbers = {name: number for number, name in enumerate(sorted(universe["sector"].unique()))}
    sectors_RxN = np.full((len(sessions), len(symbols)), -1)
    column = {symbol: place for place, symbol in enumerate(symbols)}
    days_R = np.array(sessions, dtype="datetime64[D]")
    for symbol, begin, sector in universe.sort("from_session").select("symbol", "from_session", "sector").iter_rows():
        if symbol in column:
            sectors_RxN[days_R >= np.datetime64(begin), column[symbol]] = numbers[sector]
    return sectors_RxN


def capped(
    weights_RxN: np.ndarray, sectors_RxN: np.ndarray | None, *, name_cap: float, sector_cap: float | None
) -> np.ndarray:
    """Weights within the caps, the sum of each side kept as far as the caps allow. Names without weight get none.

    Args:
        weights_RxN: float64 (R, N), shares of the portfolio's value, negative for short positions.
        sectors_RxN: int (R, N), the sector of each name; only needed where sectors have a cap.
        name_cap: most of the portfolio in one name, long or short (share).
        sector_cap: most of the portfolio long, and most short, in one sector (share); None for no cap.

    Returns:
        float64 (R, N); a row within the caps is returned bit for bit.

    Known at: row r depends on row r alone.

    Raises:
        DataError: if sectors have a cap, and nobody says which they are.
    """
    if sector_cap is not None and sectors_RxN is None:
        raise DataError.of(
            "backtests.sizing.sector_cap",
            expected="the sector of each name",
            was="none",
            do="set it to null, or give them",
        )
    capped_RxN = weights_RxN.copy()
    for row, weights_N in enumerate(weights_RxN):
        for sign in (1.0, -1.0):
            names_M = np.flatnonzero(sign * weights_N > 0.0)
            numbers_M = names_M if sectors_RxN is None else sectors_RxN[row, names_M]
            sectors_M = np.unique(numbers_M, return_inverse=True)[1]
            most = np.inf if sector_cap is None else sector_cap
            capped_RxN[row, names_M] = sign * _capped_side(np.abs(weights_N[names_M]), sectors_M, name_cap, most)
    return capped_RxN


def _capped_side(sizes_M: np.ndarray, sectors_M: np.ndarray, name_cap: float, sector_cap: float) -> np.ndarray:
    """Sizes of one side within the caps."""
    if not _over(sizes_M, sectors_M, sector_cap).any() and (sizes_M <= name_cap).all():
        return sizes_M
    total, shared_M = sizes_M.sum(), sizes_M.copy()
    full_M = np.zeros(len(sizes_M), dtype=bool)
    while not full_M.all():
        # Sectors at their cap stay there: whatever they hand on lifts the level of the others.
        shared_M[~full_M] = _shared(sizes_M[~full_M], total - shared_M[full_M].sum(), name_cap)
        over_M = _over(shared_M, sectors_M, sector_cap) & ~full_M
        if not over_M.any():
            break
        for sector in np.unique(sectors_M[over_M]):
            own_M = sectors_M == sector
            shared_M[own_M] = _shared(sizes_M[own_M], sector_cap, name_cap)
        full_M |= over_M
    return shared_M


def _over(sizes_M: np.ndarray, sectors_M: np.ndarray, sector_cap: float) -> np.ndarray:
    """Names (M,) of sectors that hold more than their cap."""
    if not len(sizes_M):
        return np.zeros(0, dtype=bool)
    return np.bincount(sectors_M, weights=sizes_M)[sectors_M] > sector_cap * (1.0 + _ROUNDING)


def _shared(sizes_M: np.ndarray, total: float, name_cap: float) -> np.ndarray:
    """A total shared out in proportion to sizes, at most the cap to each: min(cap, level x size)."""
    if total >= name_cap * len(sizes_M):
        return np.full(len(sizes_M), name_cap)
    falling_M = np.sort(sizes_M)[::-1]
    smaller_M = np.cumsum(falling_M[::-1])[::-1]
    # The level, were the k largest at the cap; they are the fewest with which no other is above it.
    levels_M = (total - name_cap * np.arange(len(sizes_M))) / smaller_M
    at_cap = int(np.argmax(levels_M * falling_M <= name_cap))
    return np.minimum(levels_M[at_cap] * sizes_M, name_cap)
