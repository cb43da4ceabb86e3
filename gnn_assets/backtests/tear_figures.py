"""What the tear sheet counts that no table holds: spells below a peak, months, rolling windows, other costs, horizons."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.backtests.caps import sector_rows
from gnn_assets.backtests.decay import ic_by_horizon, ic_decay
from gnn_assets.backtests.drawdowns import drawdown_curve
from gnn_assets.backtests.engine import Simulation, Variant, sweep
from gnn_assets.backtests.significance import draw_counts, percentile_interval, resampled_means
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.models.bars import Bars
from gnn_assets.store.panel import to_panel

# What everything that is paid is multiplied by; 1 is the portfolio as it is.
COST_MULTIPLES = (0.0, 0.5, 1.0, 2.0, 4.0)
HORIZONS = 20
_PAID = ("commission_bps", "half_spread_bps", "slippage_bps", "impact", "borrow_bps_a_year", "financing_bps_a_year")
MONTHS = 12
# Below that a fall is rounding, as in `drawdowns`.
_ROUNDING = 1e-12
# Of less than two blocks a bootstrap draws nearly the same sessions again and again: its ends would be too narrow.
FEWEST_BLOCKS = 2


@dataclass(frozen=True)
class Spell:
    """One stretch of sessions below a peak.

    Args:
        peak: session of the peak; None where the fall began with the first session.
        trough: session of the lowest value.
        regained: session that was worth as much as the peak again; None while it is not.
        depth: lowest value over the peak, less 1.
        length: sessions from the first below the peak to the one that regained it, or to the last.
    """

    peak: date | None
    trough: date
    regained: date | None
    depth: float
    length: int


@dataclass(frozen=True, eq=False)
class Decay:
    """Mean IC by horizon, 1 to H sessions, all on the same sessions.

    Args:
        mean_H: float64 (H,), NaN without a session on which all horizons are known.
        lower_H: lower ends of the bootstrap intervals, float64 (H,), NaN likewise and on less than two blocks.
        upper_H: upper ends, likewise.
        sessions: sessions on which all horizons are known.
    """

    mean_H: np.ndarray
    lower_H: np.ndarray
    upper_H: np.ndarray
    sessions: int


def worst_spells(returns_T: np.ndarray, sessions: Sequence[date], *, most: int) -> list[Spell]:
    """The deepest falls, the deepest first; of equally deep ones the earlier.

    Args:
        returns_T: float (T,), simple returns without NaN.
        sessions: the T sessions.
        most: how many at most.
    """
    curve_T = drawdown_curve(returns_T)
    below_T = np.concatenate([[False], curve_T < -_ROUNDING, [False]])
    starts, ends = (np.flatnonzero(np.diff(below_T.astype(int)) == step) for step in (1, -1))
    spells = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        lowest = start + int(curve_T[start:end].argmin())
        regained = end < len(sessions)
        spells.append(
            Spell(
                peak=sessions[start - 1] if start else None,
                trough=sessions[lowest],
                regained=sessions[end] if regained else None,
                depth=float(curve_T[lowest]),
                length=end - start + int(regained),
            )
        )
    return sorted(spells, key=lambda spell: spell.depth)[:most]


def monthly_returns(returns_T: np.ndarray, sessions: Sequence[date]) -> dict[int, tuple[list[float], float]]:
    """Compounded returns by calendar month and year.

    Args:
        returns_T: float (T,), simple returns without NaN.
        sessions: the T sessions; a return counts for the month of its session.

    Returns:
        Year → its twelve months, NaN where there is no session, and the year altogether.
    """
    year_T, month_T = (np.array([getattr(day, part) for day in sessions], dtype=int) for part in ("year", "month"))
    table = {}
    for year in np.unique(year_T).tolist():
        own_T = year_T == year
        inside = [own_T & (month_T == month) for month in range(1, MONTHS + 1)]
        months = [float(np.prod(1 + returns_T[in_T]) - 1) if in_T.any() else float("nan") for in_T in inside]
        table[year] = (months, float(np.prod(1 + returns_T[own_T]) - 1))
    return table


def rolling_sharpe(returns_T: np.ndarray, *, sessions_per_year: int) -> np.ndarray:
    """Annualised Sharpe ratio of the trailing year, float64 (T,); NaN until a year is full, and of a flat one.

    Args:
        returns_T: float (T,), simple returns without NaN.
        sessions_per_year: the window, and the annualisation.

    Known at: row t at the close of session t.
    """
    means_T, deviations_T = np.full(returns_T.size, np.nan), np.full(returns_T.size, np.nan)
    if returns_T.size >= sessions_per_year:
        # Windows themselves rather than running sums: what a crash leaves of those is no rounding any more.
        windows = np.lib.stride_tricks.sliding_window_view(returns_T, sessions_per_year)
        means_T[sessions_per_year - 1 :] = windows.mean(axis=1)
        deviations_T[sessions_per_year - 1 :] = np.where(
            np.ptp(windows, axis=1) > 0, windows.std(axis=1, ddof=1), np.nan
        )
    return np.sqrt(sessions_per_year) * means_T / deviations_T


def rolling_mean(values_T: np.ndarray, *, window: int) -> np.ndarray:
    """Mean of what is known of the trailing window, float64 (T,); NaN until it is full, and with less than half known.

    Args:
        values_T: float (T,), NaN where not known.
        window: sessions.

    Known at: row t once the values up to row t are.
    """
    column = pl.Series(values_T).fill_nan(None).rolling_mean(window, min_samples=-(-window // 2))
    means_T = column.to_numpy().astype(np.float64)
    means_T[: window - 1] = np.nan
    return means_T


def at_costs(execution: ExecutionConfig, multiple: float) -> ExecutionConfig:
    """The same execution, everything that is paid so many times as dear."""
    return execution.model_copy(update={name: multiple * getattr(execution, name) for name in _PAID})


def cost_simulations(
    predictions: pl.DataFrame,
    returns: pl.DataFrame,
    *,
    axis: Sequence[date],
    sessions: Sequence[date],
    symbols: Sequence[str],
    execution: ExecutionConfig,
    config: BacktestsConfig,
    bars: Bars | None,
    universe: pl.DataFrame | None,
    calendar: SessionCalendar | None,
) -> dict[float, Simulation]:
    """One model's portfolio at every multiple of its costs: where an optimiser or Kelly's sizes read them, another one.

    Args:
        predictions: `oos_predictions` rows of one model.
        returns: `returns` rows.
        axis: the sessions of the portfolio.
        sessions: the exchange's sessions, ascending, from the returns' first to at least the axis' last.
        symbols: the names that may be held.
        execution: costs that are multiplied.
        config: strategy, optimiser, sizes, rebalance calendar.
        bars: over the sessions and symbols, as `portfolio_returns` was given them.
        universe: likewise.
        calendar: likewise.

    Returns:
        Multiple → simulation over the axis.
    """
    known = sessions[: sessions.index(axis[-1]) + 1]
    close_return_TxN = to_panel(returns, "close_return", sessions=known, symbols=symbols)
    values = {} if bars is None else {name: panel_TxN[: len(known)] for name, panel_TxN in bars.values.items()}
    past = Bars(tuple(known), tuple(symbols), close_return_TxN, values)
    simulations = sweep(
        to_panel(predictions, "score", sessions=axis, symbols=symbols),
        to_panel(returns, "held_return", sessions=axis, symbols=symbols),
        [Variant(at_costs(execution, multiple), config) for multiple in COST_MULTIPLES],
        threads=1,
        bars=past,
        sectors_TxN=None if universe is None else sector_rows(universe, sessions=axis, symbols=symbols),
        calendar=calendar,
    )
    return dict(zip(COST_MULTIPLES, simulations, strict=True))


def decay(
    predictions: pl.DataFrame,
    returns: pl.DataFrame,
    *,
    sessions: Sequence[date],
    symbols: Sequence[str],
    execution: ExecutionConfig,
    config: BacktestsConfig,
) -> Decay:
    """How one model's IC fades with the horizon, with bootstrap intervals.

    Args:
        predictions: `oos_predictions` rows of one model.
        returns: `returns` rows.
        sessions: the exchange's sessions from the portfolio's first to the last that outcomes are known of.
        symbols: the names that were scored.
        execution: fill lag.
        config: level, block, resamples and seed of the intervals.
    """
    scores_TxN = to_panel(predictions, "score", sessions=sessions, symbols=symbols)
    fill_returns_TxN = to_panel(returns, "fill_return", sessions=sessions, symbols=symbols)
    ic_TxH = ic_by_horizon(scores_TxN, fill_returns_TxN, horizons=HORIZONS, execution=execution)
    common_TxH = ic_TxH[np.isfinite(ic_TxH).all(axis=1)]
    ends = np.full((2, HORIZONS), np.nan)
    if len(common_TxH) >= FEWEST_BLOCKS * config.bootstrap_block:
        counts_RxT = draw_counts(len(common_TxH), config=config)
        for column, ic_T in enumerate(common_TxH.T):
            ends[:, column] = percentile_interval(resampled_means(ic_T, counts_RxT), confidence=config.confidence)
    return Decay(mean_H=ic_decay(ic_TxH), lower_H=ends[0], upper_H=ends[1], sessions=len(common_TxH))
