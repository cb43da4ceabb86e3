"""What a trade costs: one object for the engine, for optimisers and for sizing.

    commission, half spread, slippage    shares of the traded value
    impact                               impact x daily volatility x root of (traded value / average daily traded value)
    borrow                               share of the short value a year, paid each session
    financing                            share of the borrowed cash a year, likewise

Where average or volatility is not known, the impact is absent, and who asks is told so. Cash is borrowed for the long
value above the portfolio's own: what short positions brought in stays with their lender.

References:
    R. Almgren, C. Thum, E. Hauptmann, H. Li, Direct Estimation of Equity Market Impact, Risk 18 (2005).
    R. Grinold, R. Kahn, Active Portfolio Management, McGraw-Hill 2000, ch. 16.
"""

from dataclasses import dataclass

import numpy as np

from gnn_assets.backtests import compiled
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig
from gnn_assets.models.bars import Bars
from gnn_assets.models.features.trailing import trailing_deviation, trailing_mean

_BASIS_POINT = 1e-4
# A mean of fewer than half of a window's sessions is none.
_MIN_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Costs:
    """Costs of trading N names, as known at the close of each of T sessions.

    Args:
        execution: rates, coefficient of the impact, largest participation.
        traded_TxN: float64, average daily traded value (quote currency). On a session that knows it of some names, 0 for
            the others: of what nobody is known to trade nothing can be bought or sold. On one that knows it of none,
            before a source's volumes begin, NaN: trades have no largest size. No rows if nothing is known at all.
        volatility_TxN: float64, standard deviation of daily log returns, NaN where unknown; no rows likewise.

    Known at: row d at the close of session d. A fill of session t pays by row t − fill lag.
    """

    execution: ExecutionConfig
    traded_TxN: np.ndarray
    volatility_TxN: np.ndarray

    @classmethod
    def of(cls, bars: Bars | None, *, execution: ExecutionConfig, n_sessions: int) -> "Costs":
        """Costs over the last `n_sessions` sessions of some bars; of bars without volumes only the fixed part is known."""
        if bars is None or not {"close", "volume"} <= bars.fields:
            nothing = np.empty((0, 0))
            return cls(execution, nothing, nothing)
        window, first = execution.liquidity_sessions, len(bars.sessions) - n_sessions
        traded_TxN = trailing_mean(bars.value_TxN, window, min_share=_MIN_SHARE)
        unknown_TxN = np.isnan(traded_TxN)
        traded_TxN[unknown_TxN & ~unknown_TxN.all(axis=1, keepdims=True)] = 0.0
        volatility_TxN = trailing_deviation(bars.close_return_TxN, window, min_share=_MIN_SHARE)
        return cls(
            execution, *(np.ascontiguousarray(values_TxN[first:]) for values_TxN in (traded_TxN, volatility_TxN))
        )

    @property
    def commission(self) -> float:
        """Commission and half spread, as a share of the traded value."""
        return (self.execution.commission_bps + self.execution.half_spread_bps) * _BASIS_POINT

    @property
    def slippage(self) -> float:
        """Slippage before impact, as a share of the traded value."""
        return self.execution.slippage_bps * _BASIS_POINT

    def borrow(self, config: BacktestsConfig) -> float:
        """Cost of one session, as a share of the short value."""
        return self.execution.borrow_bps_a_year * _BASIS_POINT / config.sessions_per_year

    def financing(self, config: BacktestsConfig) -> float:
        """Cost of one session, as a share of the borrowed cash."""
        return self.execution.financing_bps_a_year * _BASIS_POINT / config.sessions_per_year

    def impact(self, values_N: np.ndarray, *, row: int) -> np.ndarray:
        """What moving the market costs.

        Args:
            values_N: float64 (N,), value traded of each name, bought or sold, at least 0 (quote currency).
            row: the last session known.

        Returns:
            float64 (N,), quote currency; NaN where average or volatility is not known.
        """
        shares_N = np.full(len(values_N), np.nan)
        if len(self.traded_TxN):
            volatility_N, traded_N = self.volatility_TxN[row], self.traded_TxN[row]
            compiled.impact_shares(values_N, self.execution.impact, volatility_N, traded_N, shares_N)
        return values_N * shares_N

    def of_trades(self, values_N: np.ndarray, *, row: int) -> np.ndarray:
        """What trades cost altogether, the impact left out where it is not known.

        Args:
            values_N: float64 (N,), value traded of each name, bought or sold, at least 0 (quote currency).
            row: the last session known.

        Returns:
            float64 (N,), quote currency.
        """
        return values_N * (self.commission + self.slippage) + np.nan_to_num(self.impact(values_N, row=row))
