"""On which sessions a portfolio is made anew: every so many, or on the first one of each week or month."""

from collections.abc import Sequence
from datetime import date

import numpy as np

from gnn_assets.core.config import BacktestsConfig
from gnn_assets.core.errors import ConfigError

_PERIODS = {"week": lambda session: session.isocalendar()[:2], "month": lambda session: (session.year, session.month)}


def rebalances(n_sessions: int, *, sessions: Sequence[date] | None, config: BacktestsConfig) -> np.ndarray:
    """Marks the rows whose signal is traded; the first row is always one of them.

    Args:
        n_sessions: length T of the row axis.
        sessions: the row axis, ascending, without holes; only weeks and months need it.
        config: `rebalance` and `rebalance_sessions`.

    Returns:
        bool (T,).

    Known at: row t depends on the sessions t − 1 and t: that a week is new is known from its first session on.

    Raises:
        ConfigError: if weeks or months are wanted of rows without dates.
    """
    if config.rebalance == "sessions":
        return np.arange(n_sessions) % config.rebalance_sessions == 0
    if sessions is None:
        raise ConfigError.of(
            "backtests.rebalance",
            expected="'sessions' for rows without dates",
            was=repr(config.rebalance),
            do="set it to sessions, or give the rows their sessions",
        )
    periods = [_PERIODS[config.rebalance](session) for session in sessions]
    return np.array([row == 0 or period != periods[row - 1] for row, period in enumerate(periods)], dtype=bool)
