"""How far two graphs of a market that did not change lie apart by chance, and the limit that follows from it.

The distance of two graphs is the root mean square difference of their pairwise-complete correlations, the Frobenius
distance of the two matrices for one pair: bounded by 2, in units of correlation, and defined on missing data. It sees
planted changes as well as the mean absolute difference and Fisher's z do, and sooner than the largest difference alone;
one minus the cosine hardly sees a common rise. The figures stand in docs/results.

A market that did not change is the past with its sessions drawn anew in blocks: correlations, tails and the clustering
of volatility within a block stay, dates do not. The limit is the smallest at which such markets, watched session by
session, start no more alarm episodes than the configured rate.

References:
    M. Münnix et al., Identifying states of a financial market, Scientific Reports 2:644, 2012: the distance of two
    correlation matrices as a measure of change. They take the mean absolute difference; here it is the root mean square.
    D. Politis, J. Romano, The Stationary Bootstrap, JASA 89(428), 1994.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from gnn_assets.core.config import DriftConfig

# A series counts as constant when its standard deviation is below this share of its root mean square ...
_CONSTANT = 1e-8
# ... and inside a window when its variance is below this share of the whole block's: running sums tell no less.
_CONSTANT_WINDOW = 1e-10


def rolling_correlations(
    returns_LxN: Float[np.ndarray, "L N"], *, window: int, min_overlap: int
) -> Float[np.ndarray, "P S"]:
    """Pearson correlation of every pair over each trailing window, on the sessions both have a return.

    Args:
        returns_LxN: float64 log returns; what is not finite is missing.
        window: sessions of a window.
        min_overlap: fewer shared sessions give NaN.

    Returns:
        float64 with P = N (N − 1) / 2 pairs in the order of `np.triu_indices` and S = L − window + 1 windows; NaN for
        a pair that shares too little or of which one is constant.

    Known at: the last session of each window; the bits of a window alone (L = window) depend on nothing else.
    """
    # A series a row: what is read together then lies together.
    returns_NxL = np.ascontiguousarray(returns_LxN.T, dtype=np.float64)
    present = np.isfinite(returns_NxL)
    values = _standardised(returns_NxL, present)
    if present.all():
        return np.clip(_complete(values, window=window), -1.0, 1.0)
    return np.clip(_with_gaps(values, present, window=window, min_overlap=min_overlap), -1.0, 1.0)


def distances(now_PxS: Float[np.ndarray, "P S"], reference_PxS: Float[np.ndarray, "P S"]) -> Float[np.ndarray, " S"]:
    """Root mean square difference of correlations over the pairs both graphs know; NaN where there is none.

    Args:
        now_PxS: correlations, NaN where unknown.
        reference_PxS: those they are held against.
    """
    squares = (now_PxS - reference_PxS) ** 2
    known = np.isfinite(squares)
    counts = known.sum(axis=0)
    total = np.where(known, squares, 0.0).sum(axis=0)
    return np.sqrt(np.divide(total, counts, out=np.full(len(total), np.nan), where=counts > 0))


def null_statistics(
    history_HxN: Float[np.ndarray, "H N"], *, window: int, lag: int, min_overlap: int, config: DriftConfig
) -> Float[np.ndarray, "R S"]:
    """The drift statistic, session by session, of markets that did not change.

    Args:
        history_HxN: float64 log returns the markets are drawn from.
        window: sessions of a graph.
        lag: sessions from the reference graph's end to the graph's.
        min_overlap: sessions a pair must share in a graph.
        config: number of paths R, counted sessions of each, mean block, seed.

    Returns:
        float64 with S = `config.quiet_sessions` + `config.path_sessions`: the first only say whether an episode was
        open before counting began.
    """
    length = window + lag + config.quiet_sessions + config.path_sessions - 1
    statistics = []
    for rows_L in _drawn_rows(len(history_HxN), length, config=config):
        corr_PxS = rolling_correlations(history_HxN[rows_L], window=window, min_overlap=min_overlap)
        statistics.append(distances(corr_PxS[:, lag:], corr_PxS[:, :-lag]))
    return np.stack(statistics)


def episode_limit(statistics_RxS: Float[np.ndarray, "R S"], *, quiet_sessions: int, sessions_per_alarm: int) -> float:
    """The smallest limit from which on upwards episodes are no more frequent than one in `sessions_per_alarm`.

    An episode begins with a session above the limit c if none of the `quiet_sessions` before it is above: c lies below
    the statistic and not below the largest M of those before. So the number of episodes at every c is the number of
    statistics above c less the number of min(statistic, M) above c, and nothing need be searched for.

    Args:
        statistics_RxS: paths of the statistic; the first `quiet_sessions` of each only show what was before. NaN is
            never above a limit.
        quiet_sessions: sessions in a row within the limit that end an episode.
        sessions_per_alarm: sessions for one episode.
    """
    known_RxS = np.where(np.isnan(statistics_RxS), -np.inf, statistics_RxS)
    before = sliding_window_view(known_RxS, quiet_sessions, axis=1)[:, :-1].max(axis=-1)
    counted = known_RxS[:, quiet_sessions:]
    above, again = np.sort(counted, axis=None), np.sort(np.minimum(counted, before), axis=None)
    episodes = np.searchsorted(again, above, side="right") - np.searchsorted(above, above, side="right")
    too_many = np.flatnonzero(episodes > counted.size / sessions_per_alarm)
    return float(above[too_many[-1] + 1] if too_many.size else above[0])


def _standardised(returns_NxL: Float[np.ndarray, "N L"], present: np.ndarray) -> Float[np.ndarray, "N L"]:
    """Each series with mean 0 and variance 1 over the block, 0 where missing and 0 throughout if it is constant."""
    known = np.where(present, returns_NxL, 0.0)
    counts = np.maximum(present.sum(axis=1, keepdims=True), 1)
    centred = np.where(present, known - known.sum(axis=1, keepdims=True) / counts, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / counts)
    size = np.sqrt((known**2).sum(axis=1, keepdims=True) / counts)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > _CONSTANT * size)


def _complete(values_NxL: Float[np.ndarray, "N L"], *, window: int) -> Float[np.ndarray, "P S"]:
    """Correlations where nothing is missing: mean and variance are each series' own."""
    first, second = np.triu_indices(len(values_NxL), 1)
    sums_NxS = _rolled(values_NxL, window)
    variances_NxS = _rolled(values_NxL**2, window) - sums_NxS**2 / window
    scales_NxS = 1 / np.sqrt(np.where(variances_NxS > _CONSTANT_WINDOW * window, variances_NxS, np.nan))
    means_NxS = sums_NxS * scales_NxS / np.sqrt(window)
    corr_PxS = _rolled(values_NxL[first] * values_NxL[second], window)
    corr_PxS *= scales_NxS[first]
    corr_PxS *= scales_NxS[second]
    corr_PxS -= means_NxS[first] * means_NxS[second]
    return corr_PxS


def _with_gaps(
    values_NxL: Float[np.ndarray, "N L"], present: np.ndarray, *, window: int, min_overlap: int
) -> Float[np.ndarray, "P S"]:
    """Correlations where every sum of a pair runs over the sessions that both have."""
    first, second = np.triu_indices(len(values_NxL), 1)
    both = (present[first] & present[second]).astype(np.float64)
    shared = _rolled(both, window)
    count = np.maximum(shared, 1.0)
    totals = [_rolled(values_NxL[side] * both, window) for side in (first, second)]
    variances = [
        _rolled(values_NxL[side] ** 2 * both, window) - total**2 / count
        for side, total in zip((first, second), totals, strict=True)
    ]
    usable = (shared >= min_overlap) & (np.minimum(*variances) > _CONSTANT_WINDOW * count)
    deviation = np.sqrt(np.where(usable, variances[0] * variances[1], np.nan))
    return (_rolled(values_NxL[first] * values_NxL[second], window) - totals[0] * totals[1] / count) / deviation


def _rolled(values_PxL: np.ndarray, window: int) -> np.ndarray:
    """Sums over each trailing window. Unlike a product of matrices, no number of threads changes its bits."""
    sums = np.cumsum(values_PxL, axis=1)
    rolled = sums[:, window - 1 :].copy()
    rolled[:, 1:] -= sums[:, :-window]
    return rolled


def _drawn_rows(n_history: int, length: int, *, config: DriftConfig) -> Int[np.ndarray, "R L"]:
    """Rows of the history in the order each path lives them; a path longer than the history is drawn in pieces."""
    from arch.bootstrap import StationaryBootstrap

    pieces = -(-length // n_history)
    bootstrap = StationaryBootstrap(config.block, np.arange(n_history), seed=config.seed)
    drawn = np.concatenate([data[0] for data, _ in bootstrap.bootstrap(config.paths * pieces)])
    return drawn.reshape(config.paths, pieces * n_history)[:, :length]
