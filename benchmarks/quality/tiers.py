"""What scores are held against: the labels of some test sessions, and the symbols that count on each.

Row d - 1 of a model's scores is its score for session d: nothing later may have gone into it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from benchmarks.quality.bars import Market
from gnn_assets.core.errors import DataError

# A symbol counts on d if it has a close on d and on the 16 sessions before.
CLOSES = 17
# Sessions whose median of close times volume says how liquid a symbol is, up to d - 1.
LIQUIDITY_WINDOW = 60
THIRDS = ("low", "middle", "high")
_Panel = Float64[np.ndarray, "S N"]


@dataclass(frozen=True, eq=False)
class Tier:
    """One question put to every model, over S test sessions and N symbols.

    Args:
        name: of the label and its symbols, for people.
        labels_SxN: float64, simple returns; NaN where the symbol does not count or the label is unknown.
        executable: whether the label begins after the score is known.
        round_trip: whether a position is bought and sold within the session.
        part: whether the symbols are those of one third.
        third_SxN: int64, which third by traded value a symbol is in, 0 the least; -1 where that is not known.
    """

    name: str
    labels_SxN: _Panel
    executable: bool
    round_trip: bool
    third_SxN: Int64[np.ndarray, "S N"]
    part: bool = False

    @cached_property
    def counted_SxN(self) -> Bool[np.ndarray, "S N"]:
        """Symbols that count."""
        return np.isfinite(self.labels_SxN)

    def of_third(self, third: int) -> "Tier":
        """The same label over the symbols of one third."""
        return replace(
            self,
            name=f"{self.name}, {THIRDS[third]} third by traded value",
            labels_SxN=np.where(self.third_SxN == third, self.labels_SxN, np.nan),
            part=True,
        )


def rows_between(sessions: Sequence[date], *, after: date | None, until: date) -> range:
    """Rows of the sessions later than `after`, or from the first on, up to `until` inclusive.

    Raises:
        DataError: if there is none.
    """
    rows = [row for row, session in enumerate(sessions) if (after is None or after < session) and session <= until]
    if not rows:
        raise DataError.of(
            "dates",
            expected=f"sessions up to {until}" if after is None else f"sessions after {after} and up to {until}",
            was=f"none in a file of {sessions[0]}..{sessions[-1]}",
            do="choose dates in order and within the file",
        )
    return range(rows[0], rows[-1] + 1)


def scores_for(scores_TxN: Float[np.ndarray, "T N"], rows: range) -> Float[np.ndarray, "S N"]:
    """The scores for some sessions: those known at the close of the session before each."""
    return scores_TxN[rows.start - 1 : rows.stop - 1]


def tiers(market: Market, rows: range) -> list[Tier]:
    """Tier C first, then the executable ones as far as the file has opens.

    Args:
        market: a file of bars.
        rows: test sessions d (S).

    Returns:
        close[d] / close[d-1] - 1 over all symbols that count; open[d] → close[d] and open[d] → open[d+1] over all and
        over the top third by traded value, where the file has volumes.
    """
    close_TxN = market.found["close"]
    counted_SxN = _counted(close_TxN, rows)
    third_SxN = _thirds(market, rows, counted_SxN)

    def tier(name: str, *, start_SxN: _Panel, end_SxN: _Panel, executable: bool, round_trip: bool) -> Tier:
        labels_SxN = np.where(counted_SxN, end_SxN / start_SxN - 1.0, np.nan)
        return Tier(name, labels_SxN, executable=executable, round_trip=round_trip, third_SxN=third_SxN)

    before, days = slice(rows.start - 1, rows.stop - 1), slice(rows.start, rows.stop)
    end_SxN = close_TxN[days]
    found = [tier("Close to close", start_SxN=close_TxN[before], end_SxN=end_SxN, executable=False, round_trip=False)]
    if "open" not in market.found:
        return found
    open_TxN = market.found["open"]
    start_SxN = open_TxN[days]
    next_open_SxN = np.vstack([open_TxN[1:], np.full_like(open_TxN[:1], np.nan)])[days]
    executable = [
        tier("Open to close", start_SxN=start_SxN, end_SxN=end_SxN, executable=True, round_trip=True),
        tier("Open to next open", start_SxN=start_SxN, end_SxN=next_open_SxN, executable=True, round_trip=False),
    ]
    for one in executable:
        found.append(one)
        if "volume" in market.found:
            found.append(one.of_third(len(THIRDS) - 1))
    return found


def _counted(close_TxN: Float64[np.ndarray, "T N"], rows: range) -> Bool[np.ndarray, "S N"]:
    counted_SxN = np.zeros((len(rows), close_TxN.shape[1]), dtype=bool)
    for at, row in enumerate(rows):
        if row + 1 >= CLOSES:
            counted_SxN[at] = np.isfinite(close_TxN[row + 1 - CLOSES : row + 1]).all(axis=0)
    return counted_SxN


def _thirds(market: Market, rows: range, counted_SxN: Bool[np.ndarray, "S N"]) -> Int64[np.ndarray, "S N"]:
    third_SxN = np.full(counted_SxN.shape, -1)
    if "volume" not in market.found:
        return third_SxN
    value_TxN = market.found["close"] * market.found["volume"]
    for at, row in enumerate(rows):
        before_WxN = value_TxN[max(row - LIQUIDITY_WINDOW, 0) : row]
        usable_N = counted_SxN[at] & np.isfinite(before_WxN).any(axis=0)
        median_N = np.nanmedian(before_WxN[:, usable_N], axis=0)
        order = np.argsort(median_N, kind="stable")
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        third_SxN[at, usable_N] = len(THIRDS) * place // max(len(order), 1)
    return third_SxN
