"""Long closures of the exchange: what is held over them is cut by what they are expected to add to the variance.

Two sessions farther apart than so many calendar days have a gap between them: 3 days are a weekend, 4 a long one. A
position cannot be left in it, and news of several days arrive at once. How much more a name moves over a gap is
measured, all names together: one name has seen too few of them.

References:
    K. French, R. Roll, Stock return variances: the arrival of information and the reaction of traders, Journal of
    Financial Economics 17(1), 1986: a weekend's variance is a tenth above a weekday's.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np

from gnn_assets.backtests.calendar import rebalances
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig, GapConfig
from gnn_assets.core.sessions import SessionCalendar

# Sessions looked ahead for the next week's or month's first: more than any month has.
_REACH = 40


def gap_sizes(
    rows_R: np.ndarray,
    returns_TxN: np.ndarray,
    *,
    sessions: Sequence[date],
    calendar: SessionCalendar,
    execution: ExecutionConfig,
    config: BacktestsConfig,
) -> np.ndarray:
    """The share of its weights that each row holds, so that gaps before the next row's fill add no variance.

    With n sessions until then, k of them after a gap, and a gap's variance g times that of another session, the share
    is the root of n / (n − k + k g); 1 without gaps, where they are no wilder, or where too few of them were seen.

    Args:
        rows_R: int (R,), rows of the returns that are traded.
        returns_TxN: float (T, N), close-to-close log returns, NaN where absent.
        sessions: the row axis, ascending.
        calendar: the exchange's sessions; a row beyond whose next fill it does not reach sees what there is.
        execution: fill lag.
        config: `sizing.gap`, and the calendar of rebalances.

    Returns:
        float64 (R,), above 0, at most 1.

    Known at: row r at the close of its session. Closures ahead are those of the calendar, which knows every one of
        the past, the few that were declared overnight included.

    Raises:
        ConfigError: if a traded session is none of the calendar's.
    """
    gap = config.sizing.gap
    assert gap.days is not None
    after_gap_T = np.append(False, _days_apart(sessions) > gap.days)
    sizes_R = np.ones(len(rows_R))
    for place, row in enumerate(rows_R):
        ahead = _held_over(sessions[row], calendar=calendar, execution=execution, config=config)
        n_sessions, n_gaps = len(ahead) - 1, int((_days_apart(ahead) > gap.days).sum())
        if n_gaps:
            wilder = max(_variance_ratio(returns_TxN, after_gap_T, int(row), gap), 1.0)
            sizes_R[place] = np.sqrt(n_sessions / (n_sessions - n_gaps + n_gaps * wilder))
    return sizes_R


def _days_apart(sessions: Sequence[date]) -> np.ndarray:
    """Calendar days between neighbouring sessions."""
    return np.diff(np.array(sessions, dtype="datetime64[D]")).astype(np.int64)


def _held_over(
    session: date, *, calendar: SessionCalendar, execution: ExecutionConfig, config: BacktestsConfig
) -> Sequence[date]:
    """Sessions from the fill of a session's signal to the fill of the next one's, both included."""
    at = calendar.position(session)
    following = calendar.sessions[at : at + _REACH]
    if config.rebalance == "sessions":
        until_next = config.rebalance_sessions
    else:
        later = np.flatnonzero(rebalances(len(following), sessions=following, config=config))[1:]
        until_next = int(later[0]) if len(later) else len(following)
    first = at + execution.fill_lag
    return calendar.sessions[first : first + until_next + 1]


def _variance_ratio(returns_TxN: np.ndarray, after_gap_T: np.ndarray, row: int, gap: GapConfig) -> float:
    """Mean squared return after a gap in units of each name's own mean squared return otherwise; 1 where not known."""
    window = slice(max(row - gap.window + 1, 0), row + 1)
    after_gap_W = after_gap_T[window]
    if after_gap_W.sum() < gap.min_gaps:
        return 1.0
    squares_WxN = returns_TxN[window].astype(np.float64) ** 2
    there_WxN = np.isfinite(squares_WxN)
    usual_WxN = there_WxN & ~after_gap_W[:, None]
    usual_N = np.where(usual_WxN, squares_WxN, 0.0).sum(axis=0) / np.maximum(usual_WxN.sum(axis=0), 1)
    counted_WxN = there_WxN & after_gap_W[:, None] & (usual_N > 0.0)
    if not counted_WxN.any():
        return 1.0
    return float((squares_WxN / np.where(usual_N > 0.0, usual_N, 1.0))[counted_WxN].mean())
