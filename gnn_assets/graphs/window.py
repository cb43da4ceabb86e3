"""One trailing window of returns, as a measure wants it compared."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Window:
    """What the kernel correlates: receivers (rows of the graph, `src`) with senders (their neighbours, `dst`).

    Args:
        receivers_WxN: float64; NaN where missing.
        senders_WxN: float64; None where they are the receivers themselves, and the measure is symmetric.
        weights_W: float64, positive weight of each session; None where all count the same.
        ranked: whether each pair is compared by ranks (midranks where tied) taken anew over the sessions it shares.
        shrinkage: every correlation is multiplied by one minus this share, in [0, 1).
    """

    receivers_WxN: Float[np.ndarray, "W N"]
    senders_WxN: Float[np.ndarray, "W N"] | None = None
    weights_W: Float[np.ndarray, " W"] | None = None
    ranked: bool = False
    shrinkage: float = 0.0


def trailing(returns_TxN: Float[np.ndarray, "T N"], row: int, *, length: int) -> Float[np.ndarray, "W N"]:
    """The last sessions up to a row as a measure works on them: a float64 copy, NaN for whatever is not finite.

    Args:
        returns_TxN: float (T, N), log returns.
        row: the session the rows end at.
        length: sessions.

    Known at: the close of the session; later rows are never read.
    """
    rows = np.array(returns_TxN[row - length + 1 : row + 1], dtype=np.float64, order="C")
    rows[~np.isfinite(rows)] = np.nan
    return rows
