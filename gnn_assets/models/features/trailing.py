"""Statistics of trailing windows, column by column: each row is made of itself and rows before it.

A window counts when at least a given share of it is there; the missing rest is left out of means and deviations, and
counts as 0 in sums.
"""

import numpy as np
from jaxtyping import Float

_Panel = Float[np.ndarray, "T N"]


def lagged(values_TxN: _Panel, back: int) -> _Panel:
    """The values of `back` rows before; NaN in the first rows."""
    return _moved(values_TxN, back, np.nan)


def trailing_sum(values_TxN: _Panel, window: int, *, min_share: float) -> _Panel:
    """Sum of the last `window` rows; NaN where less than `min_share` of them is there."""
    total, count = _windowed(values_TxN, window)
    return np.where(count >= min_share * window, total, np.nan)


def trailing_mean(values_TxN: _Panel, window: int, *, min_share: float) -> _Panel:
    """Mean of those of the last `window` rows that are there; NaN where they are less than `min_share` of them."""
    total, count = _windowed(values_TxN, window)
    return np.where(count >= min_share * window, total / np.maximum(count, 1), np.nan)


def trailing_deviation(values_TxN: _Panel, window: int, *, min_share: float) -> _Panel:
    """Standard deviation of those of the last `window` rows that are there, about their mean."""
    mean = trailing_mean(values_TxN, window, min_share=min_share)
    square = trailing_mean(np.square(values_TxN), window, min_share=min_share)
    return np.sqrt(np.maximum(square - np.square(mean), 0.0))


def trailing_highest(values_TxN: _Panel, window: int) -> _Panel:
    """Largest of those of the last `window` rows that are there; NaN where none is."""
    return _trailing(np.fmax, values_TxN, window, empty=np.nan)


def trailing_lowest(values_TxN: _Panel, window: int) -> _Panel:
    """Smallest of those of the last `window` rows that are there; NaN where none is."""
    return _trailing(np.fmin, values_TxN, window, empty=np.nan)


def _windowed(values_TxN: _Panel, window: int) -> tuple[_Panel, _Panel]:
    """Sum and number of the values in each trailing window."""
    there = np.isfinite(values_TxN)
    return (
        _trailing(np.add, np.where(there, values_TxN, 0.0), window, empty=0.0),
        _trailing(np.add, there.astype(np.float64), window, empty=0.0),
    )


def _trailing(combine: np.ufunc, values_TxN: _Panel, window: int, *, empty: float) -> _Panel:
    """Each trailing window combined from pieces of 1, 2, 4, ... rows.

    It takes log(window) passes, and a window's bits depend on its own rows alone: a running sum would carry rounding
    along from the first row.
    """
    total = np.full(values_TxN.shape, empty)
    piece, size, taken, left = values_TxN, 1, 0, window
    while left:
        if left & 1:
            total = combine(total, _moved(piece, taken, empty))
            taken += size
        left >>= 1
        if left:
            piece = combine(piece, _moved(piece, size, empty))
            size *= 2
    return total


def _moved(values_TxN: _Panel, back: int, empty: float) -> _Panel:
    moved = np.full(values_TxN.shape, empty)
    if back < len(values_TxN):
        moved[back:] = values_TxN[: len(values_TxN) - back]
    return moved
