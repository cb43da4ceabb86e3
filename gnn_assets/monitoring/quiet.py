"""What chance does to a detector while nothing changes, and the limit that follows from it.

A past without change is the reference with its sessions drawn anew in blocks: the symbols of a session stay together,
so that they count as the one draw they are, and what has a memory keeps it within a block. Each past draws a reference
of its own too: that the true one is known no better than its sessions tell is part of the chance.

An alarm is counted as `decide` counts it: it begins above the limit and ends only when the value is back by the
hysteresis. The limit is the smallest at which pasts without change, watched session by session, begin no more of them
than the stated rate. So neither overlapping windows nor the number of looks need a correction. One thing does: how much
the reference scatters is an estimate too, and since a limit that is too low costs more alarms than one that is too high
saves, the rate comes out too high on average. It is aimed `drift.optimism` times lower, by what quiet years showed.

References:
    D. Politis, J. Romano, The Stationary Bootstrap, JASA 89(428), 1994.
    D. Politis, H. White, Automatic Block-Length Selection for the Dependent Bootstrap, Econometric Reviews 23(1), 2004;
    corrected by A. Patton, D. Politis, H. White, Econometric Reviews 28(4), 2009.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Bool, Float, Int

from gnn_assets.core.config import LiveDriftConfig

SHOWN = 10  # most offenders that are named
_FARTHER = 1.25  # by how much more values are let above the limit, until alarms are too many

# Given the arrays of a reference and what calibrates on them: the numbers it gives, from now or from before.
Recall = Callable[[Sequence[np.ndarray], Callable[[], np.ndarray]], np.ndarray]


def compute(_arrays: Sequence[np.ndarray], calibrate: Callable[[], np.ndarray]) -> np.ndarray:
    """A `Recall` that remembers nothing."""
    return calibrate()


@dataclass(frozen=True)
class Drift:
    """One detector's newest value against its limit; above it is an alarm.

    Args:
        value: as measured; NaN while it is not known.
        limit: what chance passes at the stated rate; NaN while the reference is too short to tell.
        window: what it was measured over, in words.
        offenders: what is behind an alarm, the worst first, at most ten; empty without one.
    """

    value: float
    limit: float
    window: str
    offenders: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class QuietPasts:
    """Rows of the reference, as each of R pasts without change lives them.

    Args:
        reference_RxT: the reference of each.
        lived_RxL: the sessions after it.
    """

    reference_RxT: Int[np.ndarray, "R T"]
    lived_RxL: Int[np.ndarray, "R L"]


def quiet_pasts(series_TxK: Float[np.ndarray, "T K"], *, lived: int, config: LiveDriftConfig) -> QuietPasts:
    """Draws pasts without change from a reference.

    Args:
        series_TxK: float64, what is known of each session of the reference; the longest memory of any of it sets the
            mean block, where that is longer than `drift.block`. NaN where unknown.
        lived: sessions L after the reference.
        config: number of pasts, least block, seed.
    """
    from arch.bootstrap import StationaryBootstrap

    n_reference = len(series_TxK)
    pieces = 1 + ceil(lived / n_reference)
    block = max(config.block, _memory(series_TxK))
    bootstrap = StationaryBootstrap(block, np.arange(n_reference), seed=config.seed)
    drawn = np.stack([data[0] for data, _ in bootstrap.bootstrap(config.paths * pieces)])
    drawn = drawn.reshape(config.paths, pieces * n_reference)
    return QuietPasts(drawn[:, :n_reference], drawn[:, n_reference : n_reference + lived])


def enough(n_sessions: int, *, config: LiveDriftConfig) -> bool:
    """Whether a reference of so many sessions can be calibrated on."""
    return n_sessions >= config.history_windows * config.window


def alarms_begun(values_RxS: Float[np.ndarray, "R S"], limit: float, *, hysteresis: float) -> Bool[np.ndarray, "R S"]:
    """Sessions at which an alarm begins: above the limit, after the last one's value was back by the hysteresis.

    Args:
        values_RxS: paths of a detector's value, session by session; NaN is neither above nor back.
        limit: above it is an alarm.
        hysteresis: share of the limit's size.
    """
    above_RxS = values_RxS > limit
    tells_RxS = above_RxS | (values_RxS <= limit - hysteresis * abs(limit))
    newest_RxS = np.maximum.accumulate(np.where(tells_RxS, np.arange(values_RxS.shape[1]), 0), axis=1)
    open_RxS = np.take_along_axis(above_RxS, newest_RxS, axis=1)
    begun_RxS = open_RxS.copy()
    begun_RxS[:, 1:] &= ~open_RxS[:, :-1]
    return begun_RxS


def aimed_limit(values_RxS: Float[np.ndarray, "R S"], *, config: LiveDriftConfig, hysteresis: float) -> float:
    """The limit at which a detector keeps to the stated rate, though it was learned from one past alone.

    Args:
        values_RxS: paths of its value without change, session by session.
        config: rate, and how much rarer it is aimed at.
        hysteresis: share of the limit's size by which a value must be back before its alarm ends.
    """
    aimed = ceil(config.sessions_per_alarm * config.optimism)
    return alarm_limit(values_RxS, hysteresis=hysteresis, sessions_per_alarm=aimed)


def alarm_limit(values_RxS: Float[np.ndarray, "R S"], *, hysteresis: float, sessions_per_alarm: int) -> float:
    """The limit down to which alarms are no more frequent than one in `sessions_per_alarm`.

    It is looked for from above. Far below it alarms grow rare again, because they no longer end: that is no limit.

    Args:
        values_RxS: paths of a detector's value without change, session by session; NaN is never above a limit.
        hysteresis: share of the limit's size by which a value must be back before its alarm ends.
        sessions_per_alarm: sessions for one alarm.

    Returns:
        NaN if no value is known.
    """
    falling = -np.sort(-values_RxS[np.isfinite(values_RxS)])
    if falling.size == 0:
        return np.nan
    allowed = int(values_RxS.size / sessions_per_alarm)

    def kept(place: int) -> bool:
        return alarms_begun(values_RxS, falling[place], hysteresis=hysteresis).sum() <= allowed

    last = falling.size - 1
    good = min(allowed, last)  # no more than `allowed` values are above that one
    bad = good
    while kept(bad):
        good = bad
        if good == last:
            return float(falling[good])
        bad = min(ceil(bad * _FARTHER) + 1, last)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if kept(middle) else (good, middle)
    return float(falling[good])


def _memory(series_TxK: Float[np.ndarray, "T K"]) -> int:
    """The longest mean block that any of some series asks for; 1 if none of them moves."""
    from arch.bootstrap import optimal_block_length

    known_TxK = np.isfinite(series_TxK)
    means_K = np.where(known_TxK, series_TxK, 0.0).sum(axis=0) / np.maximum(known_TxK.sum(axis=0), 1)
    filled_TxK = np.where(known_TxK, series_TxK, means_K)
    moves_K = np.ptp(filled_TxK, axis=0) > 0
    if not moves_K.any():
        return 1
    lengths = optimal_block_length(filled_TxK[:, moves_K])["stationary"].to_numpy()
    return ceil(lengths.max())
