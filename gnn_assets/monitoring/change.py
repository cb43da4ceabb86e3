"""Whether the champion's errors, or the costs it pays, have risen beyond chance.

Losses: Page-Hinkley's test, the one-sided cumulative sum. It adds up by how much each session's loss exceeds the
reference's mean plus an allowance, and measures how far the sum has risen above its lowest point: a small rise that
lasts is found as well as a large one, and no window has to be guessed. ADWIN does the same for bounded values with
guarantees that hold for independent ones; session losses are neither, so the limit comes from pasts without change.

Costs: what was paid over what was modelled, in basis points of traded value, over a window; only more is an alarm.

References:
    E. S. Page, Continuous Inspection Schemes, Biometrika 41(1/2), 1954.
    D. Hinkley, Inference about the Change-Point from Cumulative Sum Tests, Biometrika 58(3), 1971.
    A. Bifet, R. Gavaldà, Learning from Time-Changing Data with Adaptive Windowing, SDM 2007 (ADWIN).
    A. Perold, The Implementation Shortfall, Journal of Portfolio Management 14(3), 1988.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnn_assets.core.config import LiveDriftConfig
from gnn_assets.monitoring.family import window_sums
from gnn_assets.monitoring.quiet import SHOWN, Drift, Recall, aimed_limit, compute, enough, quiet_pasts

_BASIS_POINTS = 1e4


@dataclass(frozen=True)
class LossReference:
    """What a session's loss is held against.

    Args:
        mean: of the reference's losses.
        deviation: of the same.
        limit: of the risen sum (deviations); NaN if the reference is too short, or all its losses are equal.
    """

    mean: float
    deviation: float
    limit: float


def residual_reference(
    losses_T: Float[np.ndarray, " T"], *, config: LiveDriftConfig, hysteresis: float, recall: Recall = compute
) -> LossReference:
    """Calibrates the drift of residuals on the champion's losses out of sample.

    Args:
        losses_T: float, one a session, larger is worse, such as mean squared error over that of expecting nothing, or
            one minus the information coefficient. A squared error alone follows the market's volatility, and tells of
            it rather than of the model. NaN where the outcome is not known.
        config: allowance, rate, pasts.
        hysteresis: share of the limit by which a value must be back before its alarm ends.
        recall: gives back what equal losses were calibrated to before.

    Known at: once the outcome of the last session given is.
    """
    known_T = losses_T[np.isfinite(losses_T)]
    if not enough(known_T.size, config=config) or np.ptp(known_T) == 0:
        return LossReference(np.nan, np.nan, np.nan)
    (limit,) = recall([known_T], lambda: np.array([_loss_limit(known_T, config=config, hysteresis=hysteresis)]))
    return LossReference(float(known_T.mean()), float(known_T.std()), float(limit))


def _loss_limit(known_T: Float[np.ndarray, " T"], *, config: LiveDriftConfig, hysteresis: float) -> float:
    pasts = quiet_pasts(known_T[:, None], lived=config.path_sessions, config=config)
    references_RxT = known_T[pasts.reference_RxT]
    means_Rx1, deviations_Rx1 = (of(references_RxT, axis=1, keepdims=True) for of in (np.mean, np.std))
    # A past that drew one loss alone has no deviation to measure by.
    moves_R = deviations_Rx1[:, 0] > 0
    excess_RxL = (known_T[pasts.lived_RxL] - means_Rx1)[moves_R] / deviations_Rx1[moves_R]
    return aimed_limit(risen_sum(excess_RxL, allowance=config.allowance), config=config, hysteresis=hysteresis)


def residual_drift(
    reference: LossReference, losses_T: Float[np.ndarray, " T"], *, sessions: Sequence[object], config: LiveDriftConfig
) -> Drift:
    """Holds the losses since the champion went live against the reference.

    Args:
        reference: of the champion that is served.
        losses_T: float, of every session since its first, ascending; NaN where the outcome is not known yet.
        sessions: names of the same.
        config: as the reference was made with.

    Returns:
        How far the sum of excess losses has risen above its lowest point (deviations of the reference); the window are
        the sessions since then, Page's estimate of when the change came; offenders are its worst.

    Known at: once the outcome of the last known session is.
    """
    known = np.flatnonzero(np.isfinite(losses_T))
    if known.size == 0 or np.isnan(reference.limit):
        return Drift(np.nan, reference.limit, "no session")
    excess_K = (losses_T[known] - reference.mean) / reference.deviation
    risen_K = risen_sum(excess_K, allowance=config.allowance)
    zeros = np.flatnonzero(risen_K == 0)
    since = zeros[-1] + 1 if zeros.size else 0
    value = float(risen_K[-1])
    worst = since + np.argsort(-excess_K[since:], kind="stable")[:SHOWN]
    offenders = tuple(f"{sessions[known[place]]} {excess_K[place]:+.2f}" for place in worst)
    words = f"{known.size - since} sessions"
    return Drift(value, reference.limit, words, offenders if value > reference.limit else ())


def risen_sum(excess: Float[np.ndarray, "... T"], *, allowance: float) -> Float[np.ndarray, "... T"]:
    """Page-Hinkley's statistic: how far the sum of (excess − allowance) lies above its lowest point so far, 0 included.

    Args:
        excess: by how much each session's loss is above the mean, in deviations, ascending.
        allowance: rise that is let pass; half of the rise that is to be found soonest (deviations).

    Known at: each session.
    """
    sums = np.cumsum(excess - allowance, axis=-1)
    return sums - np.minimum(np.minimum.accumulate(sums, axis=-1), 0.0)


def cost_limit(
    paid_TxN: Float[np.ndarray, "T N"],
    modelled_TxN: Float[np.ndarray, "T N"],
    traded_TxN: Float[np.ndarray, "T N"],
    *,
    config: LiveDriftConfig,
    hysteresis: float,
) -> float:
    """What costs exceed the model by, by chance, if the model is right: the past's scatter, centred at the model.

    Args:
        paid_TxN: float, costs that were paid (quote currency); NaN where not known.
        modelled_TxN: float, what the model said of the same trades (quote currency).
        traded_TxN: float, value traded, bought or sold (quote currency).
        config: window, rate, pasts, least excess.
        hysteresis: share of the limit by which a value must be back before its alarm ends.

    Returns:
        Basis points of traded value, at least `drift.least_cost_bps`; NaN if the past is too short.

    Known at: the last session given.
    """
    rows_Tx2 = _excess(paid_TxN, modelled_TxN, traded_TxN)
    excess_T, value_T = rows_Tx2.T
    if not enough(int((value_T > 0).sum()), config=config):
        return np.nan
    rows_Tx2 = np.stack([excess_T - value_T * excess_T.sum() / value_T.sum(), value_T], axis=1)
    pasts = quiet_pasts(rows_Tx2[:, :1], lived=config.window + config.path_sessions - 1, config=config)
    chance_RxS = np.stack(
        [_basis_points(window_sums(rows_Tx2[lived_L], window=config.window)) for lived_L in pasts.lived_RxL]
    )
    limit = aimed_limit(chance_RxS, config=config, hysteresis=hysteresis)
    return max(limit, config.least_cost_bps)


def cost_drift(
    limit: float,
    paid_TxN: Float[np.ndarray, "T N"],
    modelled_TxN: Float[np.ndarray, "T N"],
    traded_TxN: Float[np.ndarray, "T N"],
    *,
    symbols: Sequence[str],
    config: LiveDriftConfig,
) -> Drift:
    """Holds what the newest window's trades cost above the model against its limit.

    Args:
        limit: basis points of traded value.
        paid_TxN: float, costs that were paid (quote currency); NaN where not known.
        modelled_TxN: float, what the model said of the same trades (quote currency).
        traded_TxN: float, value traded, bought or sold (quote currency).
        symbols: the column axis.
        config: window.

    Returns:
        Basis points of traded value, below 0 where the model says too much; NaN with fewer sessions than a window, and
        where nothing was traded. Offenders are the symbols that cost most above the model.

    Known at: the last session given.
    """
    words = f"{config.window} sessions"
    newest = slice(-config.window, None)
    if len(paid_TxN) < config.window:
        return Drift(np.nan, limit, words)
    paid_WxN, modelled_WxN, traded_WxN = paid_TxN[newest], modelled_TxN[newest], traded_TxN[newest]
    value = float(_basis_points(_excess(paid_WxN, modelled_WxN, traded_WxN).sum(axis=0)))
    if not value > limit:
        return Drift(value, limit, words)
    excess_N = np.nansum(paid_WxN - modelled_WxN, axis=0)
    worst = np.argsort(-excess_N, kind="stable")[:SHOWN]
    return Drift(value, limit, words, tuple(f"{symbols[n]} {excess_N[n]:+.2f}" for n in worst if excess_N[n] > 0))


def _excess(paid_TxN: np.ndarray, modelled_TxN: np.ndarray, traded_TxN: np.ndarray) -> np.ndarray:
    """Each session's excess cost and traded value, over the trades whose cost is known; float64 (T, 2)."""
    excess_TxN = paid_TxN - modelled_TxN
    known_TxN = np.isfinite(excess_TxN) & np.isfinite(traded_TxN)
    return np.stack([np.where(known_TxN, values, 0.0).sum(axis=1) for values in (excess_TxN, traded_TxN)], axis=1)


def _basis_points(sums: np.ndarray) -> np.ndarray:
    """Excess over traded value; NaN where nothing was traded."""
    excess, value = sums[..., 0], sums[..., 1]
    return np.divide(_BASIS_POINTS * excess, value, out=np.full(excess.shape, np.nan), where=value > 0)
