"""What names earned over past sessions, as strategies rank them."""

import numpy as np

from gnn_assets.models.bars import Bars
from gnn_assets.models.features.trailing import lagged, trailing_sum

# A missing bar or two in a year do not hide what the year was.
_MIN_SHARE = 0.9


def past_return(bars: Bars, window: int, *, skip: int) -> np.ndarray:
    """Log return over `window` sessions that ended `skip` sessions ago.

    Returns:
        float64 (T, N); NaN where more than a tenth of the window has no return, or the row itself has none.

    Known at: row d at the close of session d.
    """
    past_TxN = lagged(trailing_sum(bars.close_return_TxN, window, min_share=_MIN_SHARE), skip)
    return np.where(np.isfinite(bars.close_return_TxN), past_TxN, np.nan)
