"""Lead-lag correlation: who moved first.

Each series is compared with every other as it was some sessions earlier, so the graph is directed: an edge i -> j says
that j ran ahead of i, and j's latest returns are news for i. Such edges are weak in daily data, often a slow price
catching up with a fast one; a threshold that suits Pearson's leaves few of them. Both sides have the full window of
rows; row w of one is held against row w - lag of the calendar, gaps included. Cost: a whole product of receivers and
senders where a symmetric measure needs half of it.

References:
    A. W. Lo, A. C. MacKinlay (1990), When are contrarian profits due to stock market overreaction?, Rev. Financial
    Studies 3: lead-lag as cross-autocorrelation.
    C. Curme, M. Tumminello, R. N. Mantegna, H. E. Stanley, D. Y. Kenett (2015), Emergence of statistically validated
    financial intraday lead-lag relationships, Quantitative Finance 15: its directed network.
"""

import numpy as np
from jaxtyping import Float

from gnn_assets.core.config import GraphsConfig
from gnn_assets.graphs.window import Window, trailing


def lookback(config: GraphsConfig) -> int:
    """Trailing sessions read: the window and the lag before it."""
    return config.window + config.lead_lag.lag


def window_at(returns_TxN: Float[np.ndarray, "T N"], row: int, *, config: GraphsConfig) -> Window:
    """The trailing window as receivers, and the one that ends `lead_lag.lag` sessions earlier as senders.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        row: the session.
        config: `window` and `lead_lag.lag` are used.

    Known at: the close of the session.
    """
    rows_LxN = trailing(returns_TxN, row, length=lookback(config))
    return Window(rows_LxN[config.lead_lag.lag :], rows_LxN[: config.window])
