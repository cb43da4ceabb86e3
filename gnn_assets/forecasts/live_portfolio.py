"""What the served forecasts would have earned, net of costs, beside equal weight: the two sides of the Sharpe rule.

    live Sharpe < max(ratio × b, b)        b: equal weight's, on the same window; the larger also where b is negative

Both portfolios are traded by the engine of the backtests: the same names, calendar, fill and costs. The rule is noisy:
over a quarter of a year the ratio of an undegraded model is often below. It may ask for a challenger, never demote.
"""

from datetime import date

import numpy as np
import polars as pl

from gnn_assets.backtests.caps import sector_rows
from gnn_assets.backtests.engine import simulate
from gnn_assets.backtests.metrics import sharpe
from gnn_assets.backtests.portfolio import BENCHMARK
from gnn_assets.backtests.shaping import unshaped
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig, LiveConfig
from gnn_assets.core.errors import DataError
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.models.bars import Bars
from gnn_assets.store.panel import to_panel


def live_portfolio(
    served: pl.DataFrame,
    returns: pl.DataFrame,
    bars: Bars,
    *,
    session: date,
    execution: ExecutionConfig,
    config: BacktestsConfig,
    universe: pl.DataFrame | None = None,
    calendar: SessionCalendar | None = None,
) -> pl.DataFrame:
    """Trades the forecasts that were served by the configured strategy, and every name they score in equal parts.

    A new champion takes the old one's portfolio over: the change is traded and paid for. A session without forecasts
    is no signal, and what is held stays held. The rows of one challenger give its shadow portfolio.

    Args:
        served: `forecasts` rows, of whichever version was served on each session, of which ``session``, ``symbol``,
            ``score`` and ``champion`` are read; those after `session`, or of symbols without bars, are left out.
        returns: `returns` rows; ``held_return`` is earned.
        bars: over sessions without holes up to `session` or later: the axes, and what strategies read besides scores.
        session: the last close that counts; nothing after it is looked at.
        execution: fill, costs.
        config: strategy, rebalance calendar, optimiser, sizes; equal weight goes without the last two.
        universe: a frame of `UNIVERSE`; only needed by a cap on sectors.
        calendar: the exchange's sessions; only needed by sizes for gaps.

    Returns:
        ``session``, from the first fill to `session`, ``net`` and ``net_equal_weight``, simple returns after costs; no
        rows before the first fill.

    Known at: each row at its session's fill.

    Raises:
        DataError: if no forecast falls on the sessions and symbols of the bars, one session's are by two versions, or
            the strategy needs what is not there.
    """
    known = bars.sessions[: bars.sessions.index(session) + 1]
    rows = served.filter(pl.col("session").is_in(list(known)), pl.col("symbol").is_in(list(bars.symbols)))
    _require_one_version_each(rows)
    first: date = rows["session"].min()  # ty: ignore[invalid-assignment] - a Date column
    axis = known[known.index(first) :]
    axes = {"sessions": axis, "symbols": bars.symbols}
    scores_TxN = to_panel(rows, "score", **axes)
    held_TxN = to_panel(returns, "held_return", **axes)
    past = Bars(
        known,
        bars.symbols,
        bars.close_return_TxN[: len(known)],
        {name: panel_TxN[: len(known)] for name, panel_TxN in bars.values.items()},
    )
    sectors_TxN = None if universe is None else sector_rows(universe, **axes)
    own, equal = (
        simulate(
            scores_TxN,
            held_TxN,
            execution=execution,
            config=each,
            bars=past,
            sectors_TxN=sectors_TxN,
            calendar=calendar,
        )
        for each in (config, unshaped(config).model_copy(update={"strategy": BENCHMARK}))
    )
    return pl.DataFrame(
        {"session": pl.Series(axis, dtype=pl.Date), "net": own.net_T, "net_equal_weight": equal.net_T}
    ).slice(execution.fill_lag)


def no_portfolio() -> pl.DataFrame:
    """What `live_portfolio` returns before the first fill: no rows."""
    return pl.DataFrame(schema={"session": pl.Date, "net": pl.Float64, "net_equal_weight": pl.Float64})


def live_sharpe(portfolio: pl.DataFrame, *, live: LiveConfig, sessions_per_year: int) -> pl.DataFrame:
    """Running net Sharpe ratio of what was served, beside the limit of the Sharpe rule.

    Args:
        portfolio: what `live_portfolio` made.
        live: window and ratio.
        sessions_per_year: annualisation.

    Returns:
        A row for each session of the portfolio: ``session``, ``sharpe`` and ``benchmark``, a year, over the trailing
        window, and ``limit``, the larger of the benchmark and `live.sharpe_ratio` times it. Null until the portfolio is
        as old as the window, and where a window's returns are all equal.

    Known at: each row at its session's fill.

    References:
        W. Sharpe, The Sharpe Ratio, Journal of Portfolio Management 21(1), 1994.
    """
    ratios = {
        name: _trailing_sharpe(portfolio[column].to_numpy(), live.window_sessions, sessions_per_year=sessions_per_year)
        for name, column in (("sharpe", "net"), ("benchmark", "net_equal_weight"))
    }
    frame = pl.DataFrame({"session": portfolio["session"], **ratios}).with_columns(pl.col(*ratios).fill_nan(None))
    return frame.with_columns(limit=pl.max_horizontal("benchmark", live.sharpe_ratio * pl.col("benchmark")))


def _trailing_sharpe(net_T: np.ndarray, window: int, *, sessions_per_year: int) -> np.ndarray:
    """Sharpe ratio of the last `window` returns of each row; NaN while there are fewer."""
    ratios_T = np.full(len(net_T), np.nan)
    for end in range(window, len(net_T) + 1):
        ratios_T[end - 1] = sharpe(net_T[end - window : end], sessions_per_year=sessions_per_year)
    return ratios_T


def _require_one_version_each(rows: pl.DataFrame) -> None:
    if rows.is_empty():
        raise DataError.of(
            "served forecasts",
            expected="forecasts on the sessions and symbols of the bars",
            was="none",
            do="materialize forecasts for this universe",
        )
    versions = rows.group_by("session").agg(pl.col("champion").unique().sort()).sort("session")
    mixed = versions.filter(pl.col("champion").list.len() > 1)
    if not mixed.is_empty():
        first = mixed.row(0, named=True)
        raise DataError.of(
            f"served forecasts of {first['session']}",
            expected="one version",
            was=", ".join(first["champion"]),
            do="give the rows of the version that was served",
        )
