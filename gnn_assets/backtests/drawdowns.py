"""How deep a portfolio fell, how long that lasted, and how much of the time it stood below what it had been worth."""

from dataclasses import dataclass

import numpy as np

# Losing a tenth and winning it back ends a bit above or below the old peak: that is rounding, no drawdown.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Drawdowns:
    """The falls of one series of returns.

    Args:
        depth: the deepest fall below an earlier peak, the start counted as one; between −1 and 0.
        length: sessions of that fall, from the first below its peak to the one that regained it, or to the end.
        recovered: whether it was regained.
        longest: most sessions in a row below a peak, whatever the depth.
        under_water: share of sessions that ended below a peak.
    """

    depth: float
    length: int
    recovered: bool
    longest: int
    under_water: float


def drawdown_curve(returns_T: np.ndarray) -> np.ndarray:
    """Compounded value over its highest so far, the start counted, less 1.

    Args:
        returns_T: float (..., T), simple returns without NaN; leading axes are series of their own.

    Returns:
        float64 (..., T), between −1 and 0.

    References:
        M. Magdon-Ismail, A. Atiya, Maximum Drawdown, Risk Magazine 17(10), 2004.
    """
    value_T = np.cumprod(1.0 + returns_T, axis=-1)
    return value_T / np.maximum.accumulate(np.maximum(value_T, 1.0), axis=-1) - 1.0


def drawdowns(returns_T: np.ndarray) -> Drawdowns:
    """Depth, length and time under water of a series of returns.

    Args:
        returns_T: float (T,), simple returns without NaN.

    Returns:
        The falls; depth and share are NaN of an empty series.
    """
    if returns_T.size == 0:
        return Drawdowns(depth=float("nan"), length=0, recovered=False, longest=0, under_water=float("nan"))
    curve_T = drawdown_curve(returns_T)
    below_T = curve_T < -_ROUNDING
    # One number a spell: every session at a peak begins the next.
    spell_T = np.cumsum(~below_T)
    lengths = np.bincount(spell_T[below_T], minlength=1)
    lowest = int(curve_T.argmin())
    fell = bool(below_T[lowest])
    last = int(np.flatnonzero(below_T & (spell_T == spell_T[lowest]))[-1]) if fell else lowest
    recovered = last + 1 < returns_T.size
    return Drawdowns(
        depth=float(curve_T[lowest]) if fell else 0.0,
        length=int(lengths[spell_T[lowest]]) + int(recovered) if fell else 0,
        recovered=recovered or not fell,
        longest=int(lengths.max()),
        under_water=float(below_T.mean()),
    )
